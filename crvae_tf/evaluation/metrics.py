"""The figures of `evaluation.json`: their names and units, and pure functions that compute them.

The functions take arrays and compute in float64 and in bounded memory. Posteriors are diagonal
Gaussians with means and standard deviations `[images, latent_dim]`.
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.spatial.distance import cdist
from scipy.special import logsumexp
from scipy.stats import norm

ACTIVE_UNIT_VARIANCE = 0.01
DISJOINT_POSTERIORS = 64
_ROWS = 512


class Quantity(NamedTuple):
    """A figure of a model: `key` names it in `evaluation.json`, `label` in tables.

    `better` is `lower`, `higher`, or empty. `metric` names it in tables of many runs, if not its key.
    """

    key: str
    label: str
    unit: str = ""
    better: str = ""
    decimals: int = 2
    metric: str = ""

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
GAUSSIAN = Quantity("half_squared_error_plus_rate", "half the squared error + rate", "nats", "lower")
CONSISTENCY = (
    Quantity("kl", "KL(q(z|x) || q(z~|x~))", "nats", "lower", metric="consistency_kl"),
    Quantity("symmetric_kl", "symmetric KL", "nats", "lower"),
    Quantity("distance_ratio", "distance of pair / of strangers", "", "lower", decimals=3),
    Quantity("retrieval_at_1", "retrieval at 1", "", "higher", decimals=3),
)
PROBE = (
    Quantity("linear", "linear probe", "", "higher", 3, "probe_linear"),
    Quantity("nearest_neighbours", "5 nearest neighbours", "", "higher", 3, "probe_nearest_neighbours"),
)
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


def active_units(variance_of_means: np.ndarray) -> int:
    """Returns the number of latent dimensions with Var_x(E_q[z]) > 0.01 (Burda et al. 2015)."""
    return int(np.sum(variance_of_means > ACTIVE_UNIT_VARIANCE))


def gaussian_kl(mean, stddev, other_mean, other_stddev) -> np.ndarray:
    """Returns KL(N(mean, stddev^2) || N(other_mean, other_stddev^2)), `[images]`, nats."""
    ratio = stddev / other_stddev
    shift = (mean - other_mean) / other_stddev
    return 0.5 * np.sum(ratio**2 + shift**2 - 1.0 - 2.0 * np.log(ratio), axis=-1)


def divergence(mean, stddev, view_mean, view_stddev) -> dict[str, float]:
    """Returns `kl`, the mean KL(q(z|x) || q(z~|x~)), and `symmetric_kl`, of both directions, nats."""
    arrays = [np.asarray(array, np.float64) for array in (mean, stddev, view_mean, view_stddev)]
    kl = gaussian_kl(*arrays).mean()
    reverse = gaussian_kl(*arrays[2:], *arrays[:2]).mean()
    return {"kl": float(kl), "symmetric_kl": float(0.5 * (kl + reverse))}


def gaussian_log_density(samples: np.ndarray, mean: np.ndarray, stddev: np.ndarray) -> np.ndarray:
    """Returns log q(z_i|x_j) for every sample i and posterior j, `[samples, posteriors]`, nats."""
    precision = 1.0 / np.square(stddev)
    squared = (
        np.square(samples) @ precision.T
        - 2.0 * samples @ (mean * precision).T
        + np.sum(np.square(mean) * precision, axis=-1)
    )
    log_scale = np.sum(np.log(stddev), axis=-1) + 0.5 * mean.shape[-1] * np.log(2.0 * np.pi)
    return -0.5 * squared - log_scale


def mutual_information(samples: np.ndarray, mean: np.ndarray, stddev: np.ndarray) -> dict[str, float]:
    """Returns estimates of I_q(x; z), nats, from one sample of each of N >= 2 images' posteriors.

    Each is the mean over images of log q(z|x) minus the log of an aggregated posterior. That of all N
    images gives `lower`, which cannot exceed `cap` = ln N (Dieng et al. 2018); that of the other N - 1,
    `upper` (leave-one-out; Poole et al. 2019). That of the first 64, for samples of the others, gives
    `disjoint`: no bound, but of the magnitude of what Sinha et al. 2020 report.
    """
    samples, mean, stddev = (np.asarray(a, np.float64) for a in (samples, mean, stddev))
    own, others = _own_and_others(samples, mean, stddev)
    number, first = len(samples), min(DISJOINT_POSTERIORS, len(samples) - 1)
    of_first = gaussian_log_density(samples[first:], mean[:first], stddev[:first])
    disjoint = np.mean(own[first:] - logsumexp(of_first, axis=1)) + np.log(first)
    return {
        "lower": float(np.mean(own - np.logaddexp(own, others)) + np.log(number)),
        "upper": float(np.mean(own - others) + np.log(number - 1)),
        "cap": float(np.log(number)),
        "disjoint": float(disjoint),
    }


def _own_and_others(samples, mean, stddev) -> tuple[np.ndarray, np.ndarray]:
    """Returns log q(z_i|x_i) and log sum_(j != i) q(z_i|x_j), each `[N]`."""
    # The expanded squares of `gaussian_log_density` lose the digits of narrow posteriors.
    own, others = norm.logpdf(samples, mean, stddev).sum(axis=-1), np.empty(len(samples))
    for start in range(0, len(samples), _ROWS):
        rows = np.arange(start, min(start + _ROWS, len(samples)))
        densities = gaussian_log_density(samples[rows], mean, stddev)
        densities[rows - start, rows] = -np.inf
        others[rows] = logsumexp(densities, axis=1)
    return own, others


def agreement(
    embeddings: np.ndarray, view_embeddings: np.ndarray, identities: np.ndarray | None = None
) -> dict[str, float]:
    """Returns how well embeddings `[N, dimensions]` of N >= 2 images and of a view of each agree.

    `distance_ratio` is the mean Euclidean distance of a view to its own image, divided by that to the
    others: 0 for an invariant encoder, about 1 for one that does not recognise views. `retrieval_at_1`
    is the share of views whose nearest image is their own or its copy, by `identities_of`; each of n
    equally near images counts 1/n.
    """
    distances = cdist(np.asarray(view_embeddings, np.float64), np.asarray(embeddings, np.float64))
    number = len(distances)
    identities = np.arange(number) if identities is None else identities
    pairs = np.trace(distances) / number
    strangers = (distances.sum() - np.trace(distances)) / (number * (number - 1))
    nearest = distances == distances.min(axis=1, keepdims=True)
    hits = nearest & (identities[:, np.newaxis] == identities)
    return {
        "distance_ratio": float(pairs / strangers) if strangers > 0.0 else float(pairs > 0.0),
        "retrieval_at_1": float(np.mean(hits.sum(axis=1) / nearest.sum(axis=1))),
    }


def identities_of(images: np.ndarray) -> np.ndarray:
    """Returns an integer for each of `images` `[N, ...]`, equal for exact copies."""
    return np.unique(images.reshape(len(images), -1), axis=0, return_inverse=True)[1].reshape(-1)


def as_text(result: dict[str, Any]) -> str:
    """Returns `evaluation.json` as tables with units and standard errors."""
    splits = result["splits"]
    nll = NLL._replace(label=f"NLL, K = {splits['test']['nll_samples']}")
    measured = (Quantity("num_images", "images"), nll, *SPLIT, GAUSSIAN)
    parts = [_table(measured, splits), _table(CONSISTENCY, result["consistency"])]
    if "probe" in result:
        probe = dict(result["probe"])
        number = probe.pop("num_train_images")
        parts.append(f"accuracy of probes fitted on {number} clean training images")
        parts.append(_table(PROBE, probe))
    shares = [f"{100.0 * view['retrieval_at_1']:.0f}" for view in result["consistency"].values()]
    verdict = "A view's nearest image is its own for {} of 100 (training transformation)\n"
    verdict += "and for {} of 100 (test transformation)."
    return "\n\n".join([*parts, verdict.format(*shares)])


def _table(measured: Iterable[Quantity], columns: Mapping[str, dict[str, Any]]) -> str:
    """Returns a row for each quantity that all columns have."""
    rows = [q for q in measured if all(q.key in column for column in columns.values())]
    texts = {
        name.replace("_", " "): [q.text(column[q.key], column.get(f"{q.key}_stderr")) for q in rows]
        for name, column in columns.items()
    }
    return pd.DataFrame(texts, [[q.label for q in rows], [q.unit for q in rows]]).to_string()
