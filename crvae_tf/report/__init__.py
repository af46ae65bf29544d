"""One self-contained page that compares runs: figures, configurations, curves and pictures."""

from crvae_tf.report.exhibits import Exhibit, TestImages, exhibit, test_images
from crvae_tf.report.page import remarks, render
from crvae_tf.report.records import RunRecord, read

__all__ = [
    "Exhibit",
    "RunRecord",
    "TestImages",
    "exhibit",
    "read",
    "remarks",
    "render",
    "test_images",
]
