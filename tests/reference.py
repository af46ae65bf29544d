"""Slow and plain oracles in NumPy and SciPy."""

import math

import numpy as np
import scipy.ndimage
import scipy.special


def mutual_information(samples, mean, stddev, disjoint=64):
    """I_q(x; z) by two loops: Dieng et al. 2018 (own included), Poole et al. 2019 (own left out).

    `disjoint` scores each later image's sample against the first images' posteriors only.
    """
    number = len(samples)
    disjoint = min(disjoint, number - 1)
    lower, upper, apart = [], [], []
    for i in range(number):
        row = [normal_log_density(samples[i], mean[j], stddev[j]).sum() for j in range(number)]
        lower.append(row[i] - log_mean_exp(row))
        upper.append(row[i] - log_mean_exp(row[:i] + row[i + 1 :]))
        if i >= disjoint:
            apart.append(row[i] - log_mean_exp(row[:disjoint]))
    return {
        "lower": sum(lower) / len(lower),
        "upper": sum(upper) / len(upper),
        "cap": math.log(number),
        "disjoint": sum(apart) / len(apart),
    }


def nearest_neighbours(train, train_labels, test, number):
    """The class that most of the `number` nearest training points have; ties go to the smaller one."""
    found = []
    for point in test:
        nearest = np.argsort(((train - point) ** 2).sum(axis=1), kind="stable")[:number]
        found.append(np.bincount(train_labels[nearest]).argmax())
    return np.array(found)


def affine_warp(image, right, down, angle, scale):
    """`image` [H, W, C] scaled, then turned counter-clockwise about its centre, then moved.

    Three 3x3 matrices of (row, column, 1), multiplied and inverted; SciPy interpolates each pixel of
    the result once between the four that its origin lies between, 0 outside.
    """
    height, width = image.shape[:2]
    centre = np.array([[1.0, 0.0, (height - 1) / 2], [0.0, 1.0, (width - 1) / 2], [0.0, 0.0, 1.0]])
    grow = np.diag([scale, scale, 1.0])
    c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    turn = np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])
    move = np.array([[1.0, 0.0, down], [0.0, 1.0, right], [0.0, 0.0, 1.0]])
    backwards = np.linalg.inv(move @ centre @ turn @ grow @ np.linalg.inv(centre))
    options = {"order": 1, "mode": "grid-constant"}
    channels = np.moveaxis(image, -1, 0)
    warped = [scipy.ndimage.affine_transform(each, backwards, **options) for each in channels]
    return np.stack(warped, axis=-1)


def antialiased_resize(image, side):
    """`image` [H, W, C] as float [side, side, C], through a triangle as wide as a pixel of the result.

    The definition of `tf.image.resize(..., antialias=True)`, one axis after the other.
    """

    def weights(size):
        ratio = size / side
        rows = []
        for place in range(side):
            centre = (place + 0.5) * ratio
            distance = np.abs(np.arange(size) + 0.5 - centre) / max(ratio, 1.0)
            row = np.maximum(0.0, 1.0 - distance)
            rows.append(row / row.sum())
        return np.array(rows)

    vertical, horizontal = weights(image.shape[0]), weights(image.shape[1])
    return np.einsum("rh,cw,hwk->rck", vertical, horizontal, image.astype(np.float64), optimize=True)


def normal_log_density(values: np.ndarray, mean: np.ndarray, stddev: np.ndarray) -> np.ndarray:
    """Returns log N(values; mean, stddev^2) of each element, by the definition."""
    return -0.5 * np.square((values - mean) / stddev) - np.log(stddev) - 0.5 * np.log(2.0 * np.pi)


def diagonal_gaussian_kl(mean, stddev, other_mean, other_stddev) -> np.ndarray:
    """Returns KL(N(mean, stddev^2) || N(other_mean, other_stddev^2)), summed over the last axis.

    Each element: log(s2/s1) + (s1^2 + (m1 - m2)^2) / (2 s2^2) - 1/2 (Kingma, Welling 2013).
    """
    total = np.square(stddev) + np.square(np.subtract(mean, other_mean))
    elements = np.log(np.divide(other_stddev, stddev)) + total / (2.0 * np.square(other_stddev)) - 0.5
    return np.sum(elements, axis=-1)


def divergence(direction, posterior, view_posterior) -> np.ndarray:
    """Returns the consistency of two posteriors, (mean, stddev) each, by the closed form."""
    forward = diagonal_gaussian_kl(*posterior, *view_posterior)
    reverse = diagonal_gaussian_kl(*view_posterior, *posterior)
    return {"forward": forward, "reverse": reverse, "symmetric": 0.5 * (forward + reverse)}[direction]


def log_mean_exp(values: np.ndarray, axis: int = 0) -> np.ndarray:
    """Returns the log of the mean of exp(values), in float64."""
    values = np.asarray(values, np.float64)
    return scipy.special.logsumexp(values, axis=axis) - math.log(values.shape[axis])


def bernoulli_log_prob(logits: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Returns x log p + (1 - x) log(1 - p) of each pixel, p = 1/(1 + exp(-logit))."""
    logits, images = np.asarray(logits, np.float64), np.asarray(images, np.float64)
    log_p, log_not_p = -np.logaddexp(0.0, -logits), -np.logaddexp(0.0, logits)
    return images * log_p + (1.0 - images) * log_not_p


_ROOTS, _WEIGHTS = np.polynomial.legendre.leggauss(100)
_NODES, _SHARES = (_ROOTS + 1.0) / 2.0, _WEIGHTS / 2.0
"""For quadrature over [0, 1]."""


def continuous_bernoulli_log_prob(logits: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Returns the Bernoulli's expression less the log of its integral over x in [0, 1] (by quadrature).

    Loaiza-Ganem and Cunningham 2019, equation 6, where the integral's inverse is called C.
    """
    densities = np.exp(bernoulli_log_prob(np.asarray(logits)[..., None], _NODES))
    return bernoulli_log_prob(logits, images) - np.log(densities @ _SHARES)


def continuous_bernoulli_mean(logits: np.ndarray) -> np.ndarray:
    """Returns the mean of the density above, by quadrature."""
    densities = np.exp(continuous_bernoulli_log_prob(np.asarray(logits)[..., None], _NODES))
    return densities @ (_NODES * _SHARES)


def gaussian_log_prob(logits: np.ndarray, images: np.ndarray) -> np.ndarray:
    """Returns log N(x; sigmoid(logit), 1) of each pixel."""
    mean = 1.0 / (1.0 + np.exp(-np.asarray(logits, np.float64)))
    return normal_log_density(np.asarray(images, np.float64), mean, 1.0)


LOG_PROBS = {
    "bernoulli": bernoulli_log_prob,
    "continuous_bernoulli": continuous_bernoulli_log_prob,
    "gaussian": gaussian_log_prob,
}


def convolve_same(images: np.ndarray, kernel: np.ndarray, stride: int) -> np.ndarray:
    """Returns the SAME-padded cross-correlation of `[N, H, W, C]` with `[h, w, C, D]`.

    TensorFlow's convention: ceil(size/stride) outputs, the odd pixel of the padding at the end.
    """
    sizes = zip(images.shape[1:3], kernel.shape[:2], strict=True)
    missing = [max((-(-size // stride) - 1) * stride + taps - size, 0) for size, taps in sizes]
    top, left = [(each // 2, each - each // 2) for each in missing]
    padded = np.pad(images, [(0, 0), top, left, (0, 0)])
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel.shape[:2], axis=(1, 2))
    return np.einsum("nijchw,hwcd->nijd", windows[:, ::stride, ::stride], kernel, optimize=True)


def transpose_convolve_same(images: np.ndarray, kernel: np.ndarray, stride: int) -> np.ndarray:
    """Returns the adjoint of `convolve_same`, by the transpose of its matrix.

    Of `[N, H, W, C]` with the kernel `[h, w, D, C]` it makes `[N, stride H, stride W, D]`.
    """
    shape = (stride * images.shape[1], stride * images.shape[2], kernel.shape[2])
    pixels = np.eye(math.prod(shape)).reshape(-1, *shape)
    matrix = convolve_same(pixels, kernel, stride).reshape(len(pixels), -1)
    return (images.reshape(len(images), -1) @ matrix.T).reshape(-1, *shape)
