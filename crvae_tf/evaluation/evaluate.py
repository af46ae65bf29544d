"""One call from a model and data to the numbers of a table row.

Images pass by in batches; of each, a few numbers stay. Draws are made for groups of images and chunks
of samples, each of a fixed size and keyed by its number, of which a batch takes its own: no figure
depends on the size of a batch, and the samples of a smaller K are the first of a larger one.
"""

import logging
import math
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp

from crvae_tf import objectives, randomness
from crvae_tf.datasets import ImageData, evaluation_batches
from crvae_tf.datasets.images import spread
from crvae_tf.errors import InputError, NotFiniteError
from crvae_tf.evaluation import metrics, quantities
from crvae_tf.evaluation.probes import Probes
from crvae_tf.randomness import Purpose
from crvae_tf.training import strategies
from crvae_tf.training.strategies import OnEachReplica
from crvae_tf.transforms import RandomAffine

_LOGGER = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
Embed = Callable[[tf.data.Dataset], np.ndarray]
"""From batches (indices, images, labels) to embeddings `[images, dimensions]`."""

CONSISTENCY_IMAGES = 1000
MUTUAL_INFORMATION_IMAGES = 10_000
"""Its cost grows with the square of their number, and its lower bound with the logarithm."""
PROBE_IMAGES = 10_000

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
    progress: Progress | None = None,
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
    if nll_samples < 1:
        raise InputError("nll_samples", "1 or more", nll_samples)
    tell = _Progress(progress, 2 * num_images)

    def batches(transform: RandomAffine | None) -> tf.data.Dataset:
        return evaluation_batches(data.test, batch_size, binarization, transform, num_images)

    splits = {
        name: split_figures(model, batches(transform), nll_samples, tell.advance)
        for name, transform in (("test", None), ("transformed_test", test_transformation))
    }
    views = {"train_transform": transformation, "test_transform": test_transformation}
    embedder = Embedder(model)
    found = embedding_figures(embedder.means, data, views, num_images, batch_size)
    nearest = min(CONSISTENCY_IMAGES, num_images)
    clean = embedder(evaluation_batches(data.test, batch_size, binarization, None, nearest))
    for name, transform in views.items():
        moved = embedder(evaluation_batches(data.test, batch_size, binarization, transform, nearest))
        found["consistency"][name] = metrics.divergence(*clean, *moved) | found["consistency"][name]
    return {"splits": splits} | found


def embedding_figures(
    embed: Embed,
    data: ImageData,
    views: dict[str, RandomAffine],
    num_images: int,
    batch_size: int = _IMAGES_PER_STEP,
) -> dict[str, Any]:
    """Returns the figures of anything that embeds images, as it is served: of gray images.

    Args:
      embed: see `Embed`.
      data: the images.
      views: transformations by name.
      num_images: how many test images to use, 2 or more.
      batch_size: images at a time.

    Returns:
      `consistency`, without KLs, and `probe` where there is one; see `evaluate`.
    """

    def batches(transform: RandomAffine | None, limit: int = num_images) -> tf.data.Dataset:
        return evaluation_batches(data.test, batch_size, "none", transform, limit)

    nearest = min(CONSISTENCY_IMAGES, num_images)
    clean, identities = embed(batches(None, nearest)), identities_of(batches(None, nearest))
    consistency = {
        name: metrics.agreement(clean, embed(batches(transform, nearest)), identities)
        for name, transform in views.items()
    }
    return {"consistency": consistency} | _probe(embed, data, batches, views)


def split_figures(
    model: keras.Model,
    batches: tf.data.Dataset,
    nll_samples: int,
    advance: Callable[[int], None] = lambda images: None,
) -> dict[str, Any]:
    """Returns the figures of one split.

    Args:
      model: as for `evaluate`.
      batches: (indices, images, labels), indices consecutive.
      nll_samples: K of the negative log-likelihood.
      advance: called with the number of images of each batch that is done.
    """
    figures_of = OnEachReplica(
        strategies.of(model),
        lambda indices, images: _image_figures(model, indices, images, nll_samples),
    )
    moments = {name: metrics.RunningMoments() for name in ("nll", "rate", "distortion", "mean")}
    kept = []
    for tensors in figures_of((indices, images) for indices, images, _ in batches):
        figures = {name: values.numpy() for name, values in tensors.items()}
        for name, running in moments.items():
            running.update(figures[name])
        kept.append([figures[name] for name in ("sample", "mean", "stddev")])
        advance(len(figures["nll"]))
    posteriors = [np.concatenate(arrays) for arrays in zip(*kept, strict=True)]
    return _summary(moments, posteriors, nll_samples) | _without_constant(model, moments)


def _summary(
    moments: dict[str, metrics.RunningMoments], posteriors: list[np.ndarray], nll_samples: int
) -> dict[str, Any]:
    number = len(posteriors[0])
    sample = spread(min(MUTUAL_INFORMATION_IMAGES, number), number)
    information = metrics.mutual_information(*(array[sample] for array in posteriors))
    rate, distortion = float(moments["rate"].mean), float(moments["distortion"].mean)
    return {
        "num_images": moments["nll"].count,
        "nll": float(moments["nll"].mean),
        "nll_stderr": moments["nll"].standard_error,
        "nll_samples": nll_samples,
        "elbo": -(rate + distortion),
        "rate": rate,
        "distortion": distortion,
        **{f"mutual_information_{name}": value for name, value in information.items()},
        "active_units": metrics.active_units(moments["mean"].variance),
    }


def _without_constant(
    model: keras.Model, moments: dict[str, metrics.RunningMoments]
) -> dict[str, float]:
    """Returns half the squared error plus the rate, where the likelihood is a unit Gaussian.

    It is what Sinha et al. 2020 can only have reported as CelebA's negative log-likelihood.
    """
    likelihood = model.likelihood(model.prior.sample(1, seed=randomness.key(_EVALUATION_SEED)))
    pixels = getattr(likelihood, "distribution", None)
    if not (isinstance(pixels, tfp.distributions.Normal) and np.all(pixels.stddev() == 1.0)):
        return {}
    constant = objectives.gaussian_constant(likelihood.event_shape.num_elements())
    bound = float(moments["rate"].mean + moments["distortion"].mean)
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


class Embedder:
    """Maps batches of images to the posteriors of their content: all of z, unless z has a pose."""

    def __init__(self, model: keras.Model):
        def embed(images):
            posterior, pose = model.posterior(images), getattr(model, "pose", None)
            content = pose.content(posterior) if pose else posterior
            return content.mean(), content.stddev()

        self._embed = OnEachReplica(strategies.of(model), embed)

    def __call__(self, batches: tf.data.Dataset) -> tuple[np.ndarray, np.ndarray]:
        """Returns (mean, stddev), each `[images, dimensions]`, of (indices, images, labels).

        Raises:
          NotFiniteError: one of them is NaN or infinite.
        """
        pairs = self._embed((images,) for _, images, _ in batches)
        mean, stddev = (np.concatenate(arrays) for arrays in zip(*pairs, strict=True))
        for name, values in (("mean", mean), ("standard deviation", stddev)):
            broken = np.flatnonzero(~np.isfinite(values).all(axis=-1))
            if len(broken):
                raise NotFiniteError(
                    f"the {name} of the posterior of image {broken[0]}: expected finite numbers; "
                    f"received {values[broken[0]].tolist()}"
                )
        return mean, stddev

    def means(self, batches: tf.data.Dataset) -> np.ndarray:
        """Returns the means alone: the embeddings."""
        return self(batches)[0]


def _probe(
    embed: Embed,
    data: ImageData,
    batches: Callable[[RandomAffine | None], tf.data.Dataset],
    views: dict[str, RandomAffine],
) -> dict[str, Any]:
    """Returns the entry `probe`, or nothing where the test images' classes cannot be learned."""
    test_labels = labels_of(batches(None))
    probes = fit_probes(embed, data, test_labels)
    if probes is None:
        return {}
    accuracies = {
        name: probes.accuracies(embed(batches(transform)), test_labels)
        for name, transform in ({"clean": None} | views).items()
    }
    return {"probe": {"num_train_images": probes.num_images} | accuracies}


def fit_probes(embed: Embed, data: ImageData, test_labels: np.ndarray) -> Probes | None:
    """Returns probes fitted on clean training images.

    None where the images have no classes, or the test images' are not those of the training images;
    which it is, is logged.
    """
    if not (data.train.has_labels and data.test.has_labels):
        _LOGGER.info("no probe: the images have no classes")
        return None
    train = evaluation_batches(data.train, _IMAGES_PER_STEP, "none", limit=PROBE_IMAGES)
    labels = labels_of(train)
    missing = np.setdiff1d(test_labels, labels).tolist()
    if len(np.unique(labels)) < 2 or missing:
        why = f"lack the classes {missing} of test images" if missing else "are of one class"
        _LOGGER.warning("no probe: the training images %s", why)
        return None
    return Probes(embed(train), labels)


def labels_of(batches: tf.data.Dataset) -> np.ndarray:
    """Returns the labels of (indices, images, labels), `[images]`."""
    return np.concatenate([labels for _, _, labels in batches.as_numpy_iterator()])


def identities_of(batches: tf.data.Dataset) -> np.ndarray:
    """Returns `metrics.identities_of` the images of (indices, images, labels)."""
    return metrics.identities_of(np.concatenate([x for _, x, _ in batches.as_numpy_iterator()]))


class _Progress:
    """Adds up what is done and passes it on."""

    def __init__(self, report: Progress | None, whole: int):
        self._report = report
        self._whole = whole
        self._done = 0

    def advance(self, images: int) -> None:
        self._done += images
        if self._report:
            self._report(self._done, self._whole)
