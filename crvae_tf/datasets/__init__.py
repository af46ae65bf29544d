"""Image data: images in a fixed order, preprocessing, and input pipelines."""

from crvae_tf.datasets.images import NO_LABEL, ArrayImages, Images
from crvae_tf.datasets.pipelines import evaluation_batches, training_batches, validation_pairs
from crvae_tf.datasets.preprocessing import Preprocessing
from crvae_tf.datasets.sources import (
    FOLDER_PREFIX,
    ImageData,
    defaults,
    is_prepared,
    load,
    open_images,
)

__all__ = [
    "FOLDER_PREFIX",
    "NO_LABEL",
    "ArrayImages",
    "ImageData",
    "Images",
    "Preprocessing",
    "defaults",
    "evaluation_batches",
    "is_prepared",
    "load",
    "open_images",
    "training_batches",
    "validation_pairs",
]
