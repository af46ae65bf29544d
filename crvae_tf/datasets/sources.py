"""Where images come from: the embedded digits, TensorFlow Datasets and folders of image files."""

import dataclasses
import hashlib

import numpy as np
import tensorflow as tf
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from crvae_tf.datasets import folders, tfds_source
from crvae_tf.datasets.preprocessing import Preprocessing
from crvae_tf.datasets.splits import ArraySplit, Split, hold_out

FOLDER_PREFIX = "folder:"
DIGITS = "digits"

_DIGITS_BOX = 20
_DIGITS_SIDE = 28
_DIGITS_TEST_IMAGES = 360


@dataclasses.dataclass(frozen=True)
class Defaults:
    """What a data set is modelled as unless the user says otherwise."""

    image_size: int
    channels: int
    binarization: str
    likelihood: str


@dataclasses.dataclass(frozen=True)
class ImageData:
    """A data set, ready to be trained on."""

    name: str
    train: Split
    test: Split
    validation: Split | None
    """Images held out from the training set, or None."""
    preprocessing: Preprocessing
    fingerprint: str
    """Changes when the data do."""


_INK = {"binarization": "dynamic", "likelihood": "bernoulli"}
_GRAY = {"binarization": "none", "likelihood": "continuous_bernoulli"}
_COLOUR = {"binarization": "none", "likelihood": "gaussian"}
_BINARIZED = (DIGITS, "mnist", "omniglot", "binarized_mnist")


def defaults(name: str, data_dir: str | None = None) -> Defaults:
    """Returns what the data set called `name` is modelled as by default.

    Ink on paper is binarised and Bernoulli, other gray images are continuous Bernoulli, colour is
    Gaussian. Images are brought to a side of 28, 32 or 64 pixels, the first that is not less than
    their height, or 64.

    Raises:
      InputError: there is no such data set.
    """
    if name == DIGITS:
        return Defaults(_DIGITS_SIDE, 1, **_INK)
    if name.startswith(FOLDER_PREFIX):
        return Defaults(64, 3, **_COLOUR)
    height, channels = tfds_source.image_geometry(name, data_dir)
    if _base_name(name) in _BINARIZED:
        return Defaults(_DIGITS_SIDE, 1, **_INK)
    side = next((s for s in (28, 32) if height and height <= s), 64)
    return Defaults(side, channels, **(_GRAY if channels == 1 else _COLOUR))


def load(
    name: str,
    data_dir: str | None = None,
    image_size: int | None = None,
    channels: int | None = None,
    validation_images: int = 0,
) -> ImageData:
    """Returns the training, validation and test split of a data set.

    Args:
      name: `digits`, the name of a TFDS image data set, or `folder:PATH`.
      data_dir: where TFDS keeps its data; TFDS's own place where this is None.
      image_size: side of the images, pixels; the data set's default where this is None.
      channels: 1 or 3; the data set's default where this is None.
      validation_images: how many of the last training images to hold out.

    Raises:
      InputError: there is no such data set, it cannot be fetched, or it holds too few images.

    >>> data = load("digits", validation_images=100)
    >>> data.train.num_images, data.validation.num_images, data.test.num_images
    (1337, 100, 360)
    """
    preset = defaults(name, data_dir)
    image_size, channels = image_size or preset.image_size, channels or preset.channels
    if name == DIGITS:
        return _digits(Preprocessing(image_size, channels), validation_images)
    if name.startswith(FOLDER_PREFIX):
        path = name.removeprefix(FOLDER_PREFIX)
        preprocessing = Preprocessing(image_size, channels)
        splits = folders.splits(path, preprocessing, validation_images)
    else:
        preprocessing = tfds_preprocessing(name, image_size, channels)
        splits = tfds_source.splits(name, data_dir, preprocessing, validation_images)
    train, validation, test, fingerprint = splits
    return ImageData(name, train, test, validation, preprocessing, fingerprint)


def is_prepared(name: str, data_dir: str | None = None) -> bool:
    """Returns whether `load` would fetch nothing.

    Raises:
      InputError: there is no such data set.
    """
    embedded = name == DIGITS or name.startswith(FOLDER_PREFIX)
    return embedded or tfds_source.is_prepared(name, data_dir)


def tfds_preprocessing(name: str, image_size: int, channels: int) -> Preprocessing:
    """Returns the preprocessing that is usual for a data set of TFDS."""
    crops = {"celeb_a": 140}  # Tolstikhin et al. 2017.
    return Preprocessing(
        image_size,
        channels,
        crop=crops.get(_base_name(name)),
        invert=_base_name(name) == "omniglot",
    )


def _base_name(name: str) -> str:
    """Returns a TFDS name without its configuration and version."""
    return name.split("/")[0].split(":")[0]


def _digits(preprocessing: Preprocessing, validation_images: int) -> ImageData:
    """Returns scikit-learn's digits as MNIST shows its own: 20 pixels high in a 28-pixel frame.

    A fifth of the images of each class, 360 in all, are test images.
    """
    scans, labels = load_digits(return_X_y=True)
    framed = tf.data.Dataset.from_tensor_slices(_framed(scans.reshape(-1, 8, 8, 1)))
    images = next(framed.map(preprocessing).batch(len(scans)).as_numpy_iterator())
    train_images, test_images, train_labels, test_labels = train_test_split(
        images, labels, test_size=_DIGITS_TEST_IMAGES, stratify=labels, random_state=0
    )
    train, validation = hold_out(train_images, train_labels, validation_images)
    test = ArraySplit(test_images, test_labels)
    fingerprint = hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest()
    return ImageData(DIGITS, train, test, validation, preprocessing, fingerprint)


def _framed(scans: np.ndarray) -> tf.Tensor:
    """Returns uint8 `[n, 28, 28, 1]` for scans `[n, 8, 8, 1]` of 17 gray levels."""
    margin = (_DIGITS_SIDE - _DIGITS_BOX) // 2
    enlarged = tf.image.resize(scans / 16.0 * 255.0, [_DIGITS_BOX] * 2, method="bicubic")
    enlarged = tf.cast(tf.clip_by_value(tf.round(enlarged), 0.0, 255.0), tf.uint8)
    return tf.pad(enlarged, [[0, 0], [margin] * 2, [margin] * 2, [0, 0]])
