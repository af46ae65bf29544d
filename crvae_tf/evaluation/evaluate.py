"""One call from a model and data to the numbers of a table row.

Images pass by in batches; of each, a few numbers stay. Draws are made for groups of images and chunks
of samples, each of a fixed size and keyed by its number, of which a batch takes its own: no figure
depends on the size of a batch, and the samples of a smaller K are the first of a larger one.
"""

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
from crvae_tf.evaluation import embeddings, metrics, quantities
from crvae_tf.evaluation.embeddings import CONSISTENCY_IMAGES, Embedder
from crvae_tf.randomness import Purpose
from crvae_tf.transforms import RandomAffine

MUTUAL_INFORMATION_IMAGES = 10_000
"""Its cost grows with the square of their number, and its lower bound with the logarithm."""

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

    All are at beta = 1, whatever the model was trained on; sums over pixels and latents, means over
    images, in nats. The mutual information is that of 10,000 images, the consistency that of 1,000.
    Where these are not all there are, they are a fixed sample, spread over the whole. Retrieval,
    distances and probes are of the encoder as it is served, on gray images; the KLs are of what the
    model was trained on. Both are of the content alone where z has a pose.

    Args:
      model: offers `posterior(images)`, `likelihood(latents)` and `prior`, as `VAE` and `CRVAE` do.
      data: the images.
      binarization: as the model was trained with.
      transformation: t(x~|x) of the training.
      test_transformation: that of the transformed test set.
      nll_samples: K, the importance samples of the negative log-likelihood, 1 or more.
      num_images: how many of the test images to use, 2 or more; all where this is None.
      batch_size: images at a time; it changes no figure.
      progress: called with the work done and the whole of it.

    Returns:
      `splits`, `consistency` and, where the test images' classes are those of the training images,
      `probe`; see the README for the names within.

    Raises:
      InputError: there are fewer than two images, or no samples.
      NotFiniteError: an embedding is NaN or infinite.
    """
    num_images = data.test.up_to(num_images)
    if num_images < 2:
        raise InputError("num_images", "2 or more test images", num_images)

    def batches(view: RandomAffine | None, limit: int = num_images) -> tf.data.Dataset:
        return evaluation_batches(data.test, batch_size, binarization, view, limit)

    whole = 2 * num_images
    test = split_figures(model, batches(None), nll_samples, lambda n: progress(n, whole))
    transformed = split_figures(
        model, batches(test_transformation), nll_samples, lambda n: progress(num_images + n, whole)
    )
    views = {"train_transform": transformation, "test_transform": test_transformation}
    embedder, nearest = Embedder(model), min(CONSISTENCY_IMAGES, num_images)
    found = embeddings.figures_of(embedder.means, data, views, num_images, batch_size)
    clean = embedder(batches(None, nearest))
    for name, view in views.items():
        kls = metrics.divergence(*clean, *embedder(batches(view, nearest)))
        found["consistency"][name] = kls | found["consistency"][name]
    return {"splits": {"test": test, "transformed_test": transformed}} | found


def split_figures(
    model: keras.Model,
    batches: tf.data.Dataset,
    nll_samples: int,
    progress: Callable[[int], None] = lambda images: None,
) -> dict[str, Any]:
    """Returns the figures of one split.

    Args:
      model: as for `evaluate`.
      batches: (indices, images, labels), indices consecutive.
      nll_samples: K of the negative log-likelihood.
      progress: called with the number of images that are done.

    Raises:
      InputError: there are no samples.
    """
    if nll_samples < 1:
        raise InputError("nll_samples", "1 or more", nll_samples)
    figures_of = tf.function(
        lambda indices, images: _image_figures(model, indices, images, nll_samples),
        input_signature=batches.element_spec[:2],
    )
    parts, done = [], 0
    for indices, images, _ in batches:
        parts.append(figures_of(indices, images))
        done += len(indices)
        progress(done)
    figures = {name: np.concatenate([p[name] for p in parts]).astype(np.float64) for name in parts[0]}
    return _summary(figures, nll_samples) | _without_constant(model, figures)


def _summary(figures: dict[str, np.ndarray], nll_samples: int) -> dict[str, Any]:
    number = len(figures["nll"])
    sample = spread(min(MUTUAL_INFORMATION_IMAGES, number), number)
    posteriors = (figures[name][sample] for name in ("sample", "mean", "stddev"))
    information = metrics.mutual_information(*posteriors)
    rate, distortion = float(figures["rate"].mean()), float(figures["distortion"].mean())
    return {
        "num_images": number,
        "nll": float(figures["nll"].mean()),
        "nll_stderr": float(scipy.stats.sem(figures["nll"])),
        "nll_samples": nll_samples,
        "elbo": -(rate + distortion),
        "rate": rate,
        "distortion": distortion,
        **{f"mutual_information_{name}": value for name, value in information.items()},
        "active_units": metrics.active_units(figures["mean"].var(axis=0)),
    }


def _without_constant(model: keras.Model, figures: dict[str, np.ndarray]) -> dict[str, float]:
    """Returns half the squared error plus the rate, where the likelihood is a unit Gaussian.

    It is what Sinha et al. 2020 can only have reported as CelebA's negative log-likelihood.
    """
    likelihood = model.likelihood(model.prior.sample(1, seed=randomness.key(_EVALUATION_SEED)))
    pixels = getattr(likelihood, "distribution", None)
    if not (isinstance(pixels, tfp.distributions.Normal) and np.all(pixels.stddev() == 1.0)):
        return {}
    constant = objectives.gaussian_constant(likelihood.event_shape.num_elements())
    bound = float((figures["rate"] + figures["distortion"]).mean())
    return {quantities.GAUSSIAN.key: bound - constant}


def _image_figures(
    model: keras.Model, indices: tf.Tensor, images: tf.Tensor, nll_samples: int
) -> dict[str, tf.Tensor]:
    """Returns the figures of each image, `[batch]` or `[batch, latent_dim]`."""
    posterior = model.posterior(images)
    key = randomness.key(_EVALUATION_SEED, Purpose.POSTERIOR_EVALUATION)
    noise = _noise(posterior, indices, key, samples=1)
    latents = _latents(posterior, noise)
    return {
        "nll": negative_log_likelihood(model, images, indices, nll_samples),
        "rate": objectives.rate(posterior, model.prior),
        "distortion": objectives.distortion(model.likelihood(latents[0]), images),
        "sample": latents[0],
        "mean": posterior.mean(),
        "stddev": posterior.stddev(),
    }


def negative_log_likelihood(
    model: keras.Model, images: tf.Tensor, indices: tf.Tensor, samples: int
) -> tf.Tensor:
    """Returns -log (1/K) sum_k p(x, z_k) / q(z_k|x), `[batch]`, nats (Burda et al. 2015).

    The samples pass by a few at a time, so the memory does not grow with K.

    Args:
      model: as for `evaluate`.
      images: `[batch, H, W, C]`.
      indices: int64 `[batch]`, consecutive: the images' places in their split.
      samples: K, 1 or more.
    """
    posterior, prior = model.posterior(images), model.prior
    key = randomness.key(_EVALUATION_SEED, Purpose.IMPORTANCE_SAMPLES)
    total = tf.fill(tf.shape(indices), -math.inf)
    for step in tf.range(math.ceil(samples / _SAMPLES_PER_STEP)):
        noise = _noise(posterior, indices, randomness.fold_in(key, step), _SAMPLES_PER_STEP)
        noise = noise[: samples - step * _SAMPLES_PER_STEP]
        latents = _latents(posterior, noise)
        joint = model.likelihood(latents).log_prob(images) + prior.log_prob(latents)
        weights = joint - _log_density(posterior, noise)
        total = tfp.math.log_add_exp(total, tf.reduce_logsumexp(weights, axis=0))
    return math.log(samples) - total


def estimate_seconds(model: keras.Model, num_images: int, nll_samples: int) -> float:
    """Returns about how long the likelihoods of both splits will take here, by timing the decoder."""
    latents = model.prior.sample(_TIMED_LATENTS, seed=randomness.key(_EVALUATION_SEED))

    @tf.function  # As in the evaluation: of a small network, Python would take most of the time.
    def scored():
        likelihood = model.likelihood(latents)
        return likelihood.log_prob(likelihood.mean())

    for _ in range(3):  # The first call builds what the others use, the second warms it up.
        began = time.perf_counter()
        scored().numpy()
    return 2.0 * num_images * nll_samples * (time.perf_counter() - began) / _TIMED_LATENTS


def _noise(
    posterior: tfp.distributions.Distribution, indices: tf.Tensor, key: tf.Tensor, samples: int
) -> tf.Tensor:
    """Returns standard normal numbers `[samples, batch, latent_dim]`, keyed by the indices."""
    shape = [_IMAGES_PER_STEP, samples, posterior.event_shape[-1]]
    noise = randomness.draw_run(
        lambda group: tf.random.stateless_normal(shape, group), key, indices, _IMAGES_PER_STEP
    )
    return tf.transpose(noise, [1, 0, 2])


def _latents(posterior: tfp.distributions.Distribution, noise: tf.Tensor) -> tf.Tensor:
    return posterior.mean() + posterior.stddev() * noise


def _log_density(posterior: tfp.distributions.Distribution, noise: tf.Tensor) -> tf.Tensor:
    """Returns log q(z|x) `[samples, batch]` of the latents that were made of `noise`.

    Latents are rounded: with a small standard deviation their own density is wrong by nats.
    """
    standard = tfp.distributions.Normal(0.0, 1.0).log_prob(noise)
    return tf.reduce_sum(standard - tf.math.log(posterior.stddev()), axis=-1)
