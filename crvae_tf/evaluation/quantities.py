"""The names and units of the figures in `evaluation.json`, and which direction is better."""

from typing import NamedTuple

import pandas as pd


class Quantity(NamedTuple):
    """A figure of a model."""

    key: str
    """Its name in `evaluation.json`."""
    label: str
    """Its name in tables."""
    unit: str = ""
    better: str = ""
    """`lower`, `higher`, or empty if neither is better."""
    decimals: int = 2
    metric: str = ""
    """Its name in tables of many runs, if not its key."""

    @property
    def name(self) -> str:
        """Its name in tables of many runs."""
        return self.metric or self.key

    def text(self, value: float | None, error: float | None = None) -> str:
        """Returns a value as tables show it, with its error if it has one.

        >>> Quantity("nll", "NLL").text(83.714, 0.32), Quantity("active_units", "").text(36)
        ('83.71 ± 0.32', '36')
        """
        if pd.isna(value):
            return ""
        shown = str(value) if isinstance(value, int) else f"{value:.{self.decimals}f}"
        return shown if pd.isna(error) else f"{shown} ± {error:.{self.decimals}f}"


NLL = Quantity("nll", "NLL", "nats", "lower")
"""A figure of a split; its standard error and K have keys of their own."""

SPLIT = (
    Quantity("elbo", "ELBO", "nats", "higher"),
    Quantity("rate", "rate", "nats"),
    Quantity("distortion", "distortion", "nats"),
    Quantity("mutual_information_lower", "mutual information, lower bound", "nats"),
    Quantity("mutual_information_upper", "mutual information, upper bound", "nats"),
    Quantity("mutual_information_cap", "cap of the lower bound, ln N", "nats"),
    Quantity("mutual_information_disjoint", "mutual information, disjoint, no bound", "nats"),
    Quantity("active_units", "active units", decimals=1),
)
"""The other figures of each of `splits`."""

GAUSSIAN = Quantity("half_squared_error_plus_rate", "half the squared error + rate", "nats", "lower")
"""The negative ELBO without its constant, for unit Gaussian likelihoods."""

CONSISTENCY = (
    Quantity("kl", "KL(q(z|x) || q(z~|x~))", "nats", "lower", metric="consistency_kl"),
    Quantity("symmetric_kl", "symmetric KL", "nats", "lower"),
    Quantity("distance_ratio", "distance of pair / of strangers", "", "lower", decimals=3),
    Quantity("retrieval_at_1", "retrieval at 1", "", "higher", decimals=3),
)
"""The figures of each transformation in `consistency`."""

PROBE = (
    Quantity("linear", "linear probe", "", "higher", 3, "probe_linear"),
    Quantity("nearest_neighbours", "5 nearest neighbours", "", "higher", 3, "probe_nearest_neighbours"),
)
"""The accuracies of each condition in `probe`."""

PARTS = {"splits": (NLL, *SPLIT, GAUSSIAN), "consistency": CONSISTENCY, "probe": PROBE}
"""The quantities by the part of `evaluation.json` that holds them."""

BY_NAME = {quantity.name: quantity for quantities in PARTS.values() for quantity in quantities}

CONDITIONS = {
    "test": "test",
    "transformed_test": "transformed test",
    "clean": "clean",
    "train_transform": "training transformation",
    "test_transform": "test transformation",
}
"""The titles of splits, transformations and clean images."""


def heading(name: str, split: str) -> str:
    """Returns the column heading of a quantity under a condition."""
    return f"{BY_NAME[name].label}, {CONDITIONS[split]}"
