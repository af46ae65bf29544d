"""One self-contained page that compares runs: figures, configurations, curves and pictures."""

from crvae_tf.studies.report.gallery import Served, serve
from crvae_tf.studies.report.page import render
from crvae_tf.studies.report.records import RunRecord, read

__all__ = ["RunRecord", "Served", "read", "render", "serve"]
