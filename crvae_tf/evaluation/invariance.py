"""Measures embeddings against the size of each transformation alone. The paper has no such figure."""

import keras
import numpy as np

from crvae_tf.datasets import ImageData, evaluation_batches
from crvae_tf.evaluation import metrics
from crvae_tf.evaluation.embeddings import (
    CONSISTENCY_IMAGES,
    PROBES,
    Embedder,
    fit_probes,
    identities_of,
    labels_of,
)
from crvae_tf.transforms import RandomAffine

InvarianceCurves = dict[str, list[dict[str, float | None]]]

SIZES = 9
_LARGEST = {"translation": np.inf, "rotation": 180.0, "scaling": 0.99}
"""The largest sizes: pixels, degrees, a fraction."""
_IMAGES_PER_STEP = 50


def measure(
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
