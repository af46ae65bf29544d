"""The figures of `evaluation.json`: what each is called, its unit and which way is better."""

from typing import NamedTuple


class Quantity(NamedTuple):
    """One figure that models are compared by."""

    key: str
    """Its name in `evaluation.json`."""
    label: str
    """What tables call it."""
    unit: str = ""
    better: str = ""
    """`lower`, `higher`, or nothing where neither is better."""


SPLIT = (
    Quantity("elbo", "ELBO", "nats", "higher"),
    Quantity("rate", "rate", "nats"),
    Quantity("distortion", "distortion", "nats"),
    Quantity("mutual_information_lower", "mutual information, lower bound", "nats"),
    Quantity("mutual_information_upper", "mutual information, upper bound", "nats"),
    Quantity("mutual_information_cap", "cap of the lower bound, ln N", "nats"),
    Quantity("mutual_information_disjoint", "against 64 other posteriors (no bound)", "nats"),
    Quantity("active_units", "active units"),
)
"""Of each of `splits`; the NLL, with its standard error and K, comes before them."""

GAUSSIAN = Quantity("half_squared_error_plus_rate", "half the squared error + rate", "nats", "lower")
"""Of a split whose likelihood is a unit Gaussian: the negative ELBO without its constant."""

CONSISTENCY = (
    Quantity("kl", "KL(q(z|x) || q(z~|x~))", "nats", "lower"),
    Quantity("symmetric_kl", "symmetric KL", "nats", "lower"),
    Quantity("distance_ratio", "distance of pair / of strangers", "", "lower"),
    Quantity("retrieval_at_1", "retrieval at 1", "", "higher"),
)
"""Of each transformation in `consistency`."""

PROBE = (
    Quantity("linear", "linear probe", "", "higher"),
    Quantity("nearest_neighbours", "5 nearest neighbours", "", "higher"),
)
"""Of each condition in `probe`: accuracies."""


def formatted(value: float) -> str:
    """Returns a figure as tables show it.

    >>> formatted(360), formatted(0.68912), formatted(139.684)
    ('360', '0.689', '139.68')
    """
    if isinstance(value, int):
        return str(value)
    return f"{value:.3f}" if abs(value) < 10.0 else f"{value:.2f}"
