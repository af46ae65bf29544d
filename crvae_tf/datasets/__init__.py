"""Image data: sources, splits, preprocessing and the pipelines that models are fed by."""

from crvae_tf.datasets.pipelines import (
    BINARIZATIONS,
    evaluation_batches,
    training_batches,
    validation_pairs,
)
from crvae_tf.datasets.preprocessing import Preprocessing
from crvae_tf.datasets.sources import (
    DIGITS,
    FOLDER_PREFIX,
    Defaults,
    ImageData,
    defaults,
    is_prepared,
    load,
)
from crvae_tf.datasets.splits import NO_LABEL, ArraySplit, FileSplit, Split, StreamSplit

__all__ = [
    "BINARIZATIONS",
    "DIGITS",
    "FOLDER_PREFIX",
    "NO_LABEL",
    "ArraySplit",
    "Defaults",
    "FileSplit",
    "ImageData",
    "Preprocessing",
    "Split",
    "StreamSplit",
    "defaults",
    "evaluation_batches",
    "is_prepared",
    "load",
    "training_batches",
    "validation_pairs",
]
