"""How an embedding changes with the size of each transformation alone; the paper does not have this."""

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
"""How far each goes: pixels, degrees, a fraction."""
_IMAGES_PER_STEP = 50


def measure(
    model: keras.Model,
    data: ImageData,
    binarization: str,
    test_transformation: RandomAffine,
    num_images: int = CONSISTENCY_IMAGES,
) -> InvarianceCurves:
    """Returns how far views move an embedding, and what survives, for views of growing size.

    Views are moved by one transformation alone, uniformly up to its size. Retrieval and probes are of
    gray images, as the encoder is served. The KL is of what the model was trained on: where images are
    binarised, an image and its view are binarised apart, so it is above 0 at size 0.

    Args:
      model: offers `posterior(images)`.
      data: the images.
      binarization: as the model was trained with.
      test_transformation: the sizes go from 0 to twice its range, or as far as a transformation goes.
      num_images: how many of the test images to use, a fixed sample, 2 or more.

    Returns:
      For each of `translation` (pixels), `rotation` (degrees) and `scaling` (a fraction) nine
      dictionaries: the `size`; `kl`, mean KL(q(z|x) || q(z~|x~)), nats; `retrieval_at_1`; and the
      accuracies of probes fitted on clean training images, `linear` and `nearest_neighbours`, None
      where the images have no classes that could be learned.
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
    """Returns nine sizes of a transformation from 0 to twice its range in the transformed test set.

    >>> sizes_of("translation", 4.0)
    [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0]
    >>> sizes_of("rotation", 120.0)[-1]
    180.0
    """
    largest = min(2.0 * test_range, _LARGEST[name])
    return np.linspace(0.0, largest, SIZES).tolist()
