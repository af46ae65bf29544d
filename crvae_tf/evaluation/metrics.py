"""The numbers that models are compared by, from arrays: pure, in float64, and in bounded memory.

Posteriors are diagonal Gaussians, given as their means and standard deviations `[images, latent_dim]`.
"""

import numpy as np
from scipy.spatial.distance import cdist
from scipy.special import logsumexp
from scipy.stats import norm

ACTIVE_UNIT_VARIANCE = 0.01
DISJOINT_POSTERIORS = 64
_ROWS = 512


def active_units(variance_of_means: np.ndarray) -> int:
    """Returns the number of latent dimensions with Var_x(E_q[z]) > 0.01 (Burda et al. 2015).

    Args:
      variance_of_means: of each dimension over images, `[latent_dim]`.

    >>> active_units(np.array([0.5, 0.0099, 0.02]))
    2
    """
    return int(np.sum(variance_of_means > ACTIVE_UNIT_VARIANCE))


def gaussian_kl(
    mean: np.ndarray, stddev: np.ndarray, other_mean: np.ndarray, other_stddev: np.ndarray
) -> np.ndarray:
    """Returns KL(N(mean, stddev^2) || N(other_mean, other_stddev^2)), `[images]`, nats."""
    ratio = stddev / other_stddev
    shift = (mean - other_mean) / other_stddev
    return 0.5 * np.sum(ratio**2 + shift**2 - 1.0 - 2.0 * np.log(ratio), axis=-1)


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
    """Returns estimates of I_q(x; z), nats, from one sample of each image's posterior.

    Each is a mean over images of log q(z|x) less the log of an aggregated posterior:

    * `lower`: of all N images, the sample's own included, so a lower bound that cannot exceed
      `cap` = ln N (Dieng et al. 2018);
    * `upper`: of the other N - 1 images, an upper bound (leave-one-out; Poole et al. 2019);
    * `disjoint`: of the first 64 images, over the images after these. No bound: far above either where
      posteriors are narrow, and of the magnitude that Sinha et al. 2020 report, which exceeds what a
      mutual information can be.

    Args:
      samples: z_i ~ q(z|x_i), `[N, latent_dim]`, N of 2 or more.
      mean: `[N, latent_dim]`.
      stddev: `[N, latent_dim]`.
    """
    samples, mean, stddev = (np.asarray(a, np.float64) for a in (samples, mean, stddev))
    own, others = _own_and_others(samples, mean, stddev)
    number = len(samples)
    return {
        "lower": float(np.mean(own - np.logaddexp(own, others)) + np.log(number)),
        "upper": float(np.mean(own - others) + np.log(number - 1)),
        "cap": float(np.log(number)),
        "disjoint": _disjoint(samples, mean, stddev, own),
    }


def _own_and_others(
    samples: np.ndarray, mean: np.ndarray, stddev: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns log q(z_i|x_i) and log sum_(j != i) q(z_i|x_j), each `[N]`."""
    # Not from the pairs' squares, whose differences lose the digits of narrow posteriors.
    own, others = norm.logpdf(samples, mean, stddev).sum(axis=-1), np.empty(len(samples))
    for start in range(0, len(samples), _ROWS):
        rows = np.arange(start, min(start + _ROWS, len(samples)))
        densities = gaussian_log_density(samples[rows], mean, stddev)
        densities[rows - start, rows] = -np.inf
        others[rows] = logsumexp(densities, axis=1)
    return own, others


def _disjoint(samples: np.ndarray, mean: np.ndarray, stddev: np.ndarray, own: np.ndarray) -> float:
    """Scores all but the first images' samples against the first images' posteriors."""
    size = min(DISJOINT_POSTERIORS, len(samples) - 1)
    densities = gaussian_log_density(samples[size:], mean[:size], stddev[:size])
    return float(np.mean(own[size:] - logsumexp(densities, axis=1)) + np.log(size))


def divergence(
    mean: np.ndarray, stddev: np.ndarray, view_mean: np.ndarray, view_stddev: np.ndarray
) -> dict[str, float]:
    """Returns how far the posteriors of images and of their views lie apart, in nats.

    Args:
      mean: of q(z|x), `[N, latent_dim]`.
      stddev: of q(z|x).
      view_mean: of q(z~|x~).
      view_stddev: of q(z~|x~).

    Returns:
      `kl`: mean KL(q(z|x) || q(z~|x~)); `symmetric_kl`: the mean of both directions.
    """
    arrays = (np.asarray(a, np.float64) for a in (mean, stddev, view_mean, view_stddev))
    mean, stddev, view_mean, view_stddev = arrays
    kl = gaussian_kl(mean, stddev, view_mean, view_stddev).mean()
    reverse = gaussian_kl(view_mean, view_stddev, mean, stddev).mean()
    return {"kl": float(kl), "symmetric_kl": float(0.5 * (kl + reverse))}


def agreement(
    embeddings: np.ndarray, view_embeddings: np.ndarray, identities: np.ndarray | None = None
) -> dict[str, float]:
    """Returns how well the embeddings of images and of their views agree.

    Args:
      embeddings: of the images, `[N, dimensions]`, N of 2 or more.
      view_embeddings: of one view of each.
      identities: equal for images that are exact copies, integers `[N]`; see `identities_of`. By
        default each image is its own.

    Returns:
      `distance_ratio`: the mean Euclidean distance of a view to its own image over that to the others;
      0 for an encoder that views do not move, about 1 for one that does not know them.
      `retrieval_at_1`: the share of views whose nearest image is their own or its copy; of n equally
      near images each counts 1/n.
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
    """Returns an integer for each of `images` `[N, ...]`, equal where they are exact copies."""
    return np.unique(images.reshape(len(images), -1), axis=0, return_inverse=True)[1].reshape(-1)
