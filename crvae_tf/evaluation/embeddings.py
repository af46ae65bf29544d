"""Measures embeddings: how well those of views agree, and how well classifiers do on them.

An embedder is a function from batches (indices, images, labels) to `[images, dimensions]`.
"""

import logging
import warnings
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from crvae_tf.datasets import ImageData, evaluation_batches
from crvae_tf.errors import NotFiniteError
from crvae_tf.evaluation import metrics
from crvae_tf.transforms import RandomAffine

_LOGGER = logging.getLogger(__name__)

Embed = Callable[[tf.data.Dataset], np.ndarray]

CONSISTENCY_IMAGES = 1000
PROBE_IMAGES = 10_000
NEIGHBOURS = 5
PROBES = ("linear", "nearest_neighbours")

InvarianceCurves = dict[str, list[dict[str, float | None]]]

SIZES = 9
_LARGEST = {"translation": np.inf, "rotation": 180.0, "scaling": 0.99}
"""The largest sizes: pixels, degrees, a fraction."""

_IMAGES_PER_STEP = 50


class Embedder:
    """Maps batches of images to posteriors of their content: of z without any pose."""

    def __init__(self, model: keras.Model):
        def embed(images):
            posterior, pose = model.posterior(images), getattr(model, "pose", None)
            content = pose.content(posterior) if pose else posterior
            return content.mean(), content.stddev()

        self._embed = tf.function(embed, reduce_retracing=True)

    def __call__(self, batches: tf.data.Dataset) -> tuple[np.ndarray, np.ndarray]:
        """Returns (mean, stddev), each `[images, dimensions]`.

        Raises:
          NotFiniteError: a mean or a standard deviation is NaN or infinite.
        """
        pairs = [self._embed(images) for _, images, _ in batches]
        mean, stddev = (np.concatenate(arrays) for arrays in zip(*pairs, strict=True))
        broken = np.flatnonzero(~np.isfinite(mean + stddev).all(axis=-1))
        if len(broken):
            raise NotFiniteError(
                f"the posterior of image {broken[0]}: expected a finite mean and standard deviation; "
                f"received {mean[broken[0]].tolist()} and {stddev[broken[0]].tolist()}"
            )
        return mean, stddev

    def means(self, batches: tf.data.Dataset) -> np.ndarray:
        """Returns the means alone: the embeddings."""
        return self(batches)[0]


class Probes:
    """A linear and a nearest-neighbour classifier, fitted on embeddings of clean training images.

    Args:
      embeddings: `[images, latent_dim]`.
      labels: integers `[images]`, of two classes or more.
    """

    def __init__(self, embeddings: np.ndarray, labels: np.ndarray):
        self.num_images = len(embeddings)
        linear = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        neighbours = KNeighborsClassifier(min(NEIGHBOURS, len(embeddings)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            self._classifiers = [each.fit(embeddings, labels) for each in (linear, neighbours)]

    def accuracies(self, embeddings: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        """Returns the accuracy of each of `PROBES`, in [0, 1]."""
        scores = (float(each.score(embeddings, labels)) for each in self._classifiers)
        return dict(zip(PROBES, scores, strict=True))


def fit_probes(embed: Embed, data: ImageData, test_labels: np.ndarray) -> Probes | None:
    """Returns probes fitted on clean training images, or logs why there are none.

    There are none if the images have no classes or one, or if test images have classes of their own.
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


def figures_of(
    embed: Embed,
    data: ImageData,
    views: dict[str, RandomAffine],
    num_images: int,
    batch_size: int = _IMAGES_PER_STEP,
) -> dict[str, Any]:
    """Returns the figures of an embedder on images without binarisation, as it is served.

    Args:
      embed: the embedder.
      data: the images.
      views: transformations by name.
      num_images: the number of test images to use, 2 or more.
      batch_size: images in a batch.

    Returns:
      `consistency` without KLs, and `probe` if the images have classes; see `evaluate`.
    """

    def batches(view: RandomAffine | None, limit: int = num_images) -> tf.data.Dataset:
        return evaluation_batches(data.test, batch_size, "none", view, limit)

    nearest = min(CONSISTENCY_IMAGES, num_images)
    clean, identities = embed(batches(None, nearest)), identities_of(batches(None, nearest))
    consistency = {
        name: metrics.agreement(clean, embed(batches(view, nearest)), identities)
        for name, view in views.items()
    }
    labels = labels_of(batches(None))
    probes = fit_probes(embed, data, labels)
    if probes is None:
        return {"consistency": consistency}
    probe = {
        name: probes.accuracies(embed(batches(view)), labels)
        for name, view in ({"clean": None} | views).items()
    }
    return {"consistency": consistency, "probe": {"num_train_images": probes.num_images} | probe}


def labels_of(batches: tf.data.Dataset) -> np.ndarray:
    """Returns the labels of (indices, images, labels), `[images]`."""
    return np.concatenate([labels for _, _, labels in batches.as_numpy_iterator()])


def identities_of(batches: tf.data.Dataset) -> np.ndarray:
    """Returns `metrics.identities_of` for the images of (indices, images, labels)."""
    return metrics.identities_of(np.concatenate([x for _, x, _ in batches.as_numpy_iterator()]))


def measure_invariance(
    model: keras.Model,
    data: ImageData,
    binarization: str,
    test_transformation: RandomAffine,
    num_images: int = CONSISTENCY_IMAGES,
) -> InvarianceCurves:
    """Returns figures of an embedding for views of growing size.

    A view is transformed in one way alone, uniformly up to the size. Retrieval and probes use images
    without binarisation, as the encoder is served. The KL uses images as in training. There an image
    and its view are binarised separately, so it is above 0 even at size 0.

    Args:
      model: has `posterior(images)`.
      data: the images.
      binarization: that of the training.
      test_transformation: the sizes go from 0 to twice its ranges, if possible.
      num_images: the size of a fixed sample of test images, 2 or more.

    Returns:
      Nine dictionaries for each of `translation` (pixels), `rotation` (degrees) and `scaling` (a
      fraction). They have the `size`; `kl`, the mean KL(q(z|x) || q(z~|x~)) in nats; `retrieval_at_1`;
      and the accuracies `linear` and `nearest_neighbours` of probes fitted on clean training images,
      None without classes.
    """
    embedder = Embedder(model)
    num_images = data.test.up_to(num_images)

    def batches(transform: RandomAffine | None, kept: str = "none"):
        return evaluation_batches(data.test, _IMAGES_PER_STEP, kept, transform, num_images)

    clean, labels = embedder.means(batches(None)), labels_of(batches(None))
    identities, posteriors = identities_of(batches(None)), embedder(batches(None, binarization))
    probes = fit_probes(embedder.means, data, labels)

    def point(name: str, size: float) -> dict[str, float | None]:
        alone = dict.fromkeys(_LARGEST, 0.0) | {name: size}
        transform = RandomAffine(**alone, fill=test_transformation.fill)
        views = embedder.means(batches(transform))
        kl = metrics.divergence(*posteriors, *embedder(batches(transform, binarization)))["kl"]
        retrieval = metrics.agreement(clean, views, identities)["retrieval_at_1"]
        accuracies = probes.accuracies(views, labels) if probes else dict.fromkeys(PROBES)
        return {"size": size, "kl": kl, "retrieval_at_1": retrieval} | accuracies

    return {
        name: [point(name, size) for size in sizes_of(name, getattr(test_transformation, name))]
        for name in _LARGEST
    }


def sizes_of(name: str, test_range: float) -> list[float]:
    """Returns nine sizes of a transformation, from 0 to twice its range in the test.

    >>> sizes_of("translation", 4.0)
    [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]
    >>> sizes_of("rotation", 120.0)[-1]
    180.0
    """
    largest = min(2.0 * test_range, _LARGEST[name])
    return np.linspace(0.0, largest, SIZES).tolist()
