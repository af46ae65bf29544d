"""Computes the numbers of a table row from a model and data.

Streams the images, keeping a few numbers per image. Random numbers are drawn for groups of images and
chunks of samples of fixed sizes. So no figure depends on the batch size, and a larger K extends the
samples of a smaller one.
"""

import functools
import math
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import scipy.stats
import tensorflow as tf
import tensorflow_probability as tfp

from crvae_tf import objectives, randomness
from crvae_tf.datasets import ImageData, evaluation_batches
from crvae_tf.datasets.images import spread
from crvae_tf.errors import InputError
from crvae_tf.evaluation import embeddings, metrics
from crvae_tf.evaluation.embeddings import CONSISTENCY_IMAGES, Embedder
from crvae_tf.randomness import Purpose
from crvae_tf.transforms import RandomAffine

MUTUAL_INFORMATION_IMAGES = 10_000
"""The cost grows with the square of their number, the lower bound with the logarithm."""

_EVALUATION_SEED = 0
_IMAGES_PER_STEP = 50
_SAMPLES_PER_STEP = 20
_TIMED_LATENTS = 200


def evaluate(
    model: keras.Model,
    data: ImageData,
    binarization: str,
    transformation: RandomAffine,
    test_transformation: RandomAffine,
    nll_samples: int = 1000,
    num_images: int | None = None,
    batch_size: int = _IMAGES_PER_STEP,
    progress: Callable[[int, int], None] = lambda done, whole: None,
) -> dict[str, Any]:
    """Returns the figures of a model on the test set and on the transformed test set.

    All have beta = 1, whatever the training's, and are in nats: sums over pixels and latents, means
    over images. Mutual information uses a fixed sample of at most 10,000 images, consistency of 1,000.
    Retrieval, distances and probes measure the encoder as it is served, without binarisation; the KLs,
    as it was trained. Both use the content alone if z has a pose.

    Args:
      model: has `posterior(images)`, a diagonal Gaussian, `likelihood(latents)` for latents
        `[samples, batch, latent_dim]`, and `prior`, like `VAE` and `CRVAE`.
      data: the images.
      binarization, transformation: those of the training.
      test_transformation: that of the transformed test set.
      nll_samples: K, the importance samples of the negative log-likelihood, 1 or more.
      num_images: the number of test images to use, 2 or more; None uses all.
      batch_size: images in a batch; it changes figures by rounding alone.
      progress: called with the work done and all work.

    Returns:
      `splits`, `consistency` and, if classes can be learned, `probe`: see docs/run_folder.md.

    Raises:
      InputError: there are fewer than two images, no samples, or another kind of posterior.
      NotFiniteError: an embedding is NaN or infinite.
    """
    num_images = data.test.up_to(num_images)
    if num_images < 2:
        raise InputError("num_images", "2 or more test images", num_images)
    if nll_samples < 1:
        raise InputError("nll_samples", "1 or more", nll_samples)
    batches = functools.partial(evaluation_batches, data.test, batch_size, binarization)
    both = batches(None, num_images).concatenate(batches(test_transformation, num_images))
    figures = image_figures(model, both, nll_samples, lambda done: progress(done, 2 * num_images))
    test, transformed = (
        split_figures(model, {name: values[half] for name, values in figures.items()}, nll_samples)
        for half in (slice(num_images), slice(num_images, None))
    )
    views = {"train_transform": transformation, "test_transform": test_transformation}
    embedder, nearest = Embedder(model), min(CONSISTENCY_IMAGES, num_images)
    found = embeddings.figures_of(embedder.means, data, views, num_images)
    clean = embedder(batches(None, nearest))
    for name, view in views.items():
        kls = metrics.divergence(*clean, *embedder(batches(view, nearest)))
        found["consistency"][name] = kls | found["consistency"][name]
    return {"splits": {"test": test, "transformed_test": transformed}} | found


def image_figures(
    model: keras.Model, batches: tf.data.Dataset, nll_samples: int, progress: Callable[[int], None]
) -> dict[str, np.ndarray]:
    """Returns figures of each image of `batches`, float64 `[images]` or `[images, latent_dim]`."""
    posterior = model.posterior(tf.zeros([1, *batches.element_spec[1].shape[1:]]))
    if not _is_diagonal_gaussian(posterior):
        raise InputError("model", "one whose posterior is a diagonal Gaussian", posterior)
    figures_of = tf.function(
        lambda indices, images: _batch_figures(model, indices, images, nll_samples),
        input_signature=batches.element_spec[:2],
    )
    parts, done = [], 0
    for indices, images, _ in batches:
        parts.append(figures_of(indices, images))
        done += len(indices)
        progress(done)
    return {name: np.concatenate([p[name] for p in parts]).astype(np.float64) for name in parts[0]}


def split_figures(model: keras.Model, figures: dict[str, np.ndarray], nll_samples: int) -> dict:
    """Returns the figures of a split from those of its images."""
    number = len(figures["nll"])
    sample = spread(min(MUTUAL_INFORMATION_IMAGES, number), number)
    sampled = (figures[name][sample] for name in ("sample", "mean", "stddev"))
    information = metrics.mutual_information(*sampled)
    means = {name: float(figures[name].mean()) for name in ("nll", "rate", "distortion")}
    return {
        "num_images": number,
        "nll_samples": nll_samples,
        **means,
        "nll_stderr": float(scipy.stats.sem(figures["nll"])),
        "elbo": -(means["rate"] + means["distortion"]),
        **{f"mutual_information_{name}": value for name, value in information.items()},
        "active_units": metrics.active_units(figures["mean"].var(axis=0)),
        **_without_constant(model, figures),
    }


def _without_constant(model: keras.Model, figures: dict[str, np.ndarray]) -> dict[str, float]:
    """Returns half the squared error plus the rate, if the likelihood is a unit Gaussian.

    Only this can be the negative log-likelihood that Sinha et al. 2020 report for CelebA.
    """
    likelihood = model.likelihood(model.prior.sample(1, seed=randomness.key(_EVALUATION_SEED)))
    pixels = getattr(likelihood, "distribution", None)
    if not (isinstance(pixels, tfp.distributions.Normal) and np.all(pixels.stddev() == 1.0)):
        return {}
    constant = objectives.gaussian_constant(likelihood.event_shape.num_elements())
    bound = float((figures["rate"] + figures["distortion"]).mean())
    return {metrics.GAUSSIAN.key: bound - constant}


def _batch_figures(
    model: keras.Model, indices: tf.Tensor, images: tf.Tensor, nll_samples: int
) -> dict[str, tf.Tensor]:
    posterior = model.posterior(images)
    key = randomness.key(_EVALUATION_SEED, Purpose.POSTERIOR_EVALUATION)
    noise = _noise(posterior, indices, key, samples=1)[0]
    latents = posterior.mean() + posterior.stddev() * noise
    return {
        "nll": negative_log_likelihood(model, images, indices, nll_samples),
        "rate": objectives.rate(posterior, model.prior),
        "distortion": objectives.distortion(model.likelihood(latents), images),
        "sample": latents,
        "mean": posterior.mean(),
        "stddev": posterior.stddev(),
    }


def _is_diagonal_gaussian(posterior: tfp.distributions.Distribution) -> bool:
    if isinstance(posterior, tfp.distributions.Independent):
        return isinstance(posterior.distribution, tfp.distributions.Normal)
    return isinstance(posterior, tfp.distributions.MultivariateNormalDiag)


def negative_log_likelihood(
    model: keras.Model, images: tf.Tensor, indices: tf.Tensor, samples: int
) -> tf.Tensor:
    """Returns -log (1/K) sum_k p(x, z_k) / q(z_k|x), `[batch]`, nats (Burda et al. 2015).

    `indices`, int64 `[batch]`, are the images' consecutive indices in their split. The K samples are
    streamed, so memory does not grow with their number.
    """
    posterior = model.posterior(images)
    key = randomness.key(_EVALUATION_SEED, Purpose.IMPORTANCE_SAMPLES)
    total = tf.fill(tf.shape(indices), -math.inf)
    for step in tf.range(math.ceil(samples / _SAMPLES_PER_STEP)):
        noise = _noise(posterior, indices, randomness.fold_in(key, step), _SAMPLES_PER_STEP)
        noise = noise[: samples - step * _SAMPLES_PER_STEP]
        latents = posterior.mean() + posterior.stddev() * noise
        # The latents are rounded: at a small standard deviation, their own density is nats off.
        standard = tfp.distributions.Normal(0.0, 1.0).log_prob(noise)
        density = tf.reduce_sum(standard - tf.math.log(posterior.stddev()), axis=-1)
        joint = model.likelihood(latents).log_prob(images) + model.prior.log_prob(latents)
        total = tfp.math.log_add_exp(total, tf.reduce_logsumexp(joint - density, axis=0))
    return math.log(samples) - total


def _noise(
    posterior: tfp.distributions.Distribution, indices: tf.Tensor, key: tf.Tensor, samples: int
) -> tf.Tensor:
    """Returns standard normal numbers `[samples, batch, latent_dim]`, keyed by the indices."""
    shape = [_IMAGES_PER_STEP, samples, posterior.event_shape[-1]]
    noise = randomness.draw_run(
        lambda group: tf.random.stateless_normal(shape, group), key, indices, _IMAGES_PER_STEP
    )
    return tf.transpose(noise, [1, 0, 2])


def estimate_seconds(model: keras.Model, num_images: int, nll_samples: int) -> float:
    """Estimates the time that both splits' likelihoods will take, by timing the decoder."""
    latents = model.prior.sample(_TIMED_LATENTS, seed=randomness.key(_EVALUATION_SEED))

    @tf.function  # As in the evaluation; Python would dominate small networks.
    def scored():
        likelihood = model.likelihood(latents)
        return likelihood.log_prob(likelihood.mean())

    for _ in range(3):  # The first call traces, the second warms up.
        began = time.perf_counter()
        scored().numpy()
    return 2.0 * num_images * nll_samples * (time.perf_counter() - began) / _TIMED_LATENTS
