"""One self-contained page that compares runs: figures, configurations, curves and pictures."""

from crvae_tf.report.gallery import Served, serve
from crvae_tf.report.page import render
from crvae_tf.report.records import RunRecord, read

__all__ = ["RunRecord", "Served", "read", "render", "serve"]
