"""Measures embeddings: how well those of views agree, and how well classifiers do on them.

An embedder is a function from batches (indices, images, labels) to `[images, dimensions]`.
"""

import functools
import logging
import warnings
from collections.abc import Callable, Hashable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from crvae_tf.datasets import NO_LABEL, ImageData, evaluation_batches
from crvae_tf.errors import NotFiniteError
from crvae_tf.evaluation import metrics
from crvae_tf.transforms import RandomAffine

_LOGGER = logging.getLogger(__name__)

Embed = Callable[[tf.data.Dataset], np.ndarray]
InvarianceCurves = dict[str, list[dict[str, float | None]]]

CONSISTENCY_IMAGES = 1000
PROBE_IMAGES = 10_000
NEIGHBOURS = 5
PROBES = ("linear", "nearest_neighbours")
SIZES = 9

_LARGEST = {"translation": np.inf, "rotation": 180.0, "scaling": 0.99}
"""The largest sizes of invariance curves: pixels, degrees, a fraction."""
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
        """Returns (mean, stddev), `[images, dimensions]`; raises NotFiniteError at NaN and infinity."""
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
    """Classifiers fitted on `embeddings` `[images, dimensions]` and integer `labels` `[images]`."""

    def __init__(self, embeddings: np.ndarray, labels: np.ndarray):
        self.num_images = len(embeddings)
        linear = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        neighbours = KNeighborsClassifier(min(NEIGHBOURS, len(embeddings)))
        with warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
            self._classifiers = [each.fit(embeddings, labels) for each in (linear, neighbours)]

    def accuracies(self, embeddings: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        """Returns the accuracy of each of `PROBES`, in [0, 1]."""
        scores = (float(each.score(embeddings, labels)) for each in self._classifiers)
        return dict(zip(PROBES, scores, strict=True))


def _column(batches: tf.data.Dataset, number: int) -> np.ndarray:
    return np.concatenate([batch[number] for batch in batches.as_numpy_iterator()])


def _fit_probes(embed: Embed, data: ImageData, test_labels: np.ndarray) -> Probes | None:
    """Returns probes, or logs why there are none: the test classes cannot be learned."""
    tested = {*test_labels.tolist()} - {NO_LABEL}
    if not (data.train.has_labels and tested):
        _LOGGER.info("no probe: the images have no classes")
        return None
    train = evaluation_batches(data.train, _IMAGES_PER_STEP, "none", limit=PROBE_IMAGES)
    labels = _column(train, 2)
    learned = {*labels.tolist()} - {NO_LABEL}
    missing, names = sorted(tested - learned), data.train.class_names
    missing = missing if names is None else [names[label] for label in missing]
    if missing or len(learned) < 2:
        why = f"lack the classes {missing} of test images" if missing else "are of one class"
        _LOGGER.warning("no probe: the training images %s", why)
        return None
    labelled = labels != NO_LABEL
    return Probes(embed(train)[labelled], labels[labelled])


def figures_of(
    embed: Embed, data: ImageData, views: dict[Hashable, RandomAffine], num_images: int
) -> dict[str, Any]:
    """Returns `consistency` without KLs and, if classes can be learned, `probe`; see `evaluate`.

    `views` are transformations by name. `embed` gets images without binarisation, as it is served, of
    which it measures a sample of `num_images`, 2 or more.
    """
    batches = functools.partial(evaluation_batches, data.test, _IMAGES_PER_STEP, "none")
    embedded = functools.lru_cache(maxsize=1)(lambda view, limit: embed(batches(view, limit)))
    nearest, labels = min(CONSISTENCY_IMAGES, num_images), _column(batches(None, num_images), 2)
    identities = metrics.identities_of(_column(batches(None, nearest), 1))
    probes, labelled = _fit_probes(embed, data, labels), labels != NO_LABEL
    clean, agreements, accuracies = embedded(None, nearest), {}, {}
    for name, view in ({"clean": None} | views).items():
        if view:
            agreements[name] = metrics.agreement(clean, embedded(view, nearest), identities)
        if probes:
            of_view = embedded(view, num_images)[labelled]
            accuracies[name] = probes.accuracies(of_view, labels[labelled])
    probe = {"probe": {"num_train_images": probes.num_images} | accuracies} if probes else {}
    return {"consistency": agreements} | probe


def measure_invariance(
    model: keras.Model, data: ImageData, binarization: str, test_transformation: RandomAffine
) -> InvarianceCurves:
    """Returns figures of an embedding for views of growing size, which the paper does not have.

    It uses a fixed sample of 1,000 test images. A view is transformed in one way alone, uniformly up to
    the size, from 0 to twice the range of `test_transformation`, if possible. The KL uses images as in
    training: an image and its view are binarised separately, so it is above 0 even at size 0.

    Returns:
      Nine dictionaries for each of `translation` (pixels), `rotation` (degrees) and `scaling` (a
      fraction): the `size`; `kl`, in nats; `retrieval_at_1`; and the accuracies of `PROBES`, None
      without classes.
    """
    embedder, num_images = Embedder(model), data.test.up_to(CONSISTENCY_IMAGES)
    sizes = {name: sizes_of(name, getattr(test_transformation, name)) for name in _LARGEST}
    still = dict.fromkeys(_LARGEST, 0.0) | {"fill": test_transformation.fill}
    views = {(n, size): RandomAffine(**still | {n: size}) for n in sizes for size in sizes[n]}
    found = figures_of(embedder.means, data, views, num_images)
    accuracies = found.get("probe", dict.fromkeys(views, dict.fromkeys(PROBES)))
    trained_on = functools.partial(evaluation_batches, data.test, _IMAGES_PER_STEP, binarization)
    clean = embedder(trained_on(None, num_images))

    def point(*place: Any) -> dict[str, float | None]:
        retrieval = found["consistency"][place]["retrieval_at_1"]
        kl = metrics.divergence(*clean, *embedder(trained_on(views[place], num_images)))["kl"]
        return {"size": place[1], "kl": kl, "retrieval_at_1": retrieval} | accuracies[place]

    return {name: [point(name, size) for size in of_name] for name, of_name in sizes.items()}


def sizes_of(name: str, test_range: float) -> list[float]:
    """Returns nine sizes of a transformation, from 0 to twice its range in the test.

    >>> sizes_of("translation", 4.0)
    [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]
    >>> sizes_of("rotation", 120.0)[-1]
    180.0
    """
    return np.linspace(0.0, min(2.0 * test_range, _LARGEST[name]), SIZES).tolist()
