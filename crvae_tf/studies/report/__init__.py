"""One self-contained page that compares runs: figures, configurations, curves and pictures."""

from crvae_tf.studies.report.page import RunRecord, read, render
from crvae_tf.studies.report.pictures import Served, serve

__all__ = ["RunRecord", "Served", "read", "render", "serve"]
