"""Loads images from the embedded digits, TensorFlow Datasets, arrays and folders of files."""

import contextlib
import dataclasses
import hashlib
import logging
import os
import tokenize

import numpy as np
import tensorflow as tf

from crvae_tf.datasets import tfds_source
from crvae_tf.datasets.folders import FileImages
from crvae_tf.datasets.images import ArrayImages, Images, kept, spread
from crvae_tf.datasets.preprocessing import Preprocessing
from crvae_tf.errors import InputError, check_choice

_LOGGER = logging.getLogger(__name__)

FOLDER_PREFIX, ARRAY_SUFFIX, DIGITS = "folder:", ".npy", "digits"
TEST_FRACTION = 0.1
_ARRAY_TYPES = ("uint8", "uint16", "bool", "float32", "float64")
_HASHED = 1000
_CROPS = {"celeb_a": 140}  # Tolstikhin et al. 2017.
_INK = {"binarization": "dynamic", "likelihood": "bernoulli"}
_GRAY = {"binarization": "none", "likelihood": "continuous_bernoulli"}
_COLOUR = {"binarization": "none", "likelihood": "gaussian"}
_BINARIZED = (DIGITS, "mnist", "omniglot", "binarized_mnist")
_LIGHT_ON_DARK = (DIGITS, "mnist", "emnist", "kmnist", "fashion_mnist", "binarized_mnist")


@dataclasses.dataclass(frozen=True)
class ImageData:
    """A data set, ready for training."""

    name: str
    train: ArrayImages
    test: ArrayImages
    validation: ArrayImages | None
    """Images held out from the training set, or the user's own; may be None."""
    preprocessing: Preprocessing
    fingerprint: str
    """Changes when the data change."""


def defaults(dataset: str, data_dir: str | None = None) -> dict[str, int | str]:
    """Returns the default `image_size`, `channels`, `binarization` and `likelihood` of a data set.

    MNIST, OMNIGLOT and digits are binarised and Bernoulli. Other gray images are continuous Bernoulli,
    colour images Gaussian. The side is the least of 28, 32 and 64 pixels that fits the height, or 64.

    Raises:
      InputError: there is no such data set.
    """
    if _base_name(dataset) in _BINARIZED:
        return {"image_size": 28, "channels": 1} | _INK
    height, channels = None, 3
    if dataset.endswith(ARRAY_SUFFIX):
        _, height, _, channels = _opened_array(dataset, "dataset").shape
    elif not dataset.startswith(FOLDER_PREFIX):
        builder = tfds_source.open_builder(dataset, data_dir, "dataset")
        height, _, channels = builder.info.features[tfds_source.image_key(builder, "dataset")].shape
    side = next((side for side in (28, 32) if height and height <= side), 64)
    if channels in (1, 2):
        return {"image_size": side, "channels": 1} | _GRAY
    return {"image_size": side, "channels": 3} | _COLOUR


def is_prepared(dataset: str, data_dir: str | None = None) -> bool:
    """Returns whether `load` needs no download; raises InputError if there is no such data set."""
    if dataset == DIGITS or _is_own(dataset):
        return True
    return bool(tfds_source.open_builder(dataset, data_dir, "dataset").info.splits)


def load(
    dataset: str,
    data_dir: str | None = None,
    image_size: int | None = None,
    channels: int | None = None,
    validation_images: int = 0,
    invert: bool | None = None,
    test_fraction: float = TEST_FRACTION,
) -> ImageData:
    """Returns the training, validation and test images of a data set.

    It keeps a data set's own split: TFDS splits, or the folders `train`, `validation` and `test`. It
    holds out a fixed sample otherwise, spread over the whole. For files, a hash of the name decides
    which are test images, so other files change nothing.

    Args:
      dataset: `digits`, the name of a TFDS image data set, `folder:PATH` or an array, `FILE.npy`.
      data_dir: the folder of TFDS data; None is TFDS's default.
      image_size, channels: the side in pixels, and 1 or 3; None is the data set's default.
      validation_images: how many training images to hold out, or own validation images to use.
      invert: whether dark becomes light; None is the data set's default.
      test_fraction: the share of test images, if the data set has none of its own.

    Raises:
      InputError: there is no such data set, it cannot be fetched, or it holds too few images.

    >>> data = load("digits", validation_images=100)
    >>> data.train.num_images, data.validation.num_images, data.test.num_images
    (1337, 100, 360)
    """
    preset = defaults(dataset, data_dir)
    given = Preprocessing(image_size or preset["image_size"], channels or preset["channels"])
    found = _opened(dataset, data_dir, _usual(dataset, given, invert), "dataset")
    preprocessing = found["train"].examined("dataset", stretch=True)
    for images in found.values():
        images.preprocessing = preprocessing
    parts = _with_test(_kept(found), test_fraction)
    fingerprint = found["train"].fingerprint or _fingerprint(parts)
    train, test = parts["train"], parts["test"]
    if "validation" in parts:
        validation = parts["validation"].sample(validation_images or None)
    elif validation_images in range(train.num_images):
        train, validation = train.hold_out(spread(validation_images, train.num_images))
    else:
        expected = f"fewer than the {train.num_images} training images"
        raise InputError("validation_images", expected, validation_images)
    if copies := int(np.isin(test.hashes(), train.hashes()).sum()):
        told = "%d of %d test images are exact copies of training images"
        _LOGGER.warning(told, copies, test.num_images)
    validation = validation if validation.num_images else None
    return ImageData(dataset, train, test, validation, preprocessing, fingerprint)


def open_images(
    name: str, preprocessing: Preprocessing, data_dir: str | None = None, split: str | None = None
) -> Images:
    """Returns images to be embedded, which are read as they are needed.

    Args:
      name: as `dataset` of `load`.
      preprocessing: that of the training; some data sets have a crop and an inversion of their own.
      data_dir: where TFDS keeps its data.
      split: of a data set; `train` where this is None.

    Raises:
      InputError: there is nothing of that name, or no image in it.
    """
    usual = _usual(name, preprocessing, None)
    if split and _is_own(name):
        raise InputError("split", f"left out with input={name}", split)
    images = _opened(name, data_dir, usual, "input", split)["train"]
    if _is_own(name):
        stamps = [_stamp(path) for path in getattr(images, "paths", [name])]
        described = repr([preprocessing, images.num_images, images.names, stamps])
        images.fingerprint = hashlib.sha256(described.encode()).hexdigest()
    else:
        images.origin, images.fingerprint = name, f"{images.fingerprint} {split or 'train'} {usual}"
    images.examined("input")
    return images


def _is_own(name: str) -> bool:
    return name.startswith(FOLDER_PREFIX) or name.endswith(ARRAY_SUFFIX)


def _base_name(name: str) -> str:
    """Returns a TFDS name without its configuration and version."""
    return "" if _is_own(name) else name.split("/")[0].split(":")[0]


def _usual(name: str, given: Preprocessing, invert: bool | None) -> Preprocessing:
    """Returns the preprocessing `given`, with the data set's usual crop and inversion."""
    base = _base_name(name)
    if invert is None:
        invert = base == "omniglot" or (given.invert and base not in _LIGHT_ON_DARK)
    return dataclasses.replace(given, crop=_CROPS.get(base, given.crop), invert=invert)


def _opened(
    name: str, data_dir: str | None, usual: Preprocessing, argument: str, split: str | None = None
) -> dict[str, Images]:
    """Returns the images of `split`, or for training, or all, as `train`, and any `test` images."""
    if name.startswith(FOLDER_PREFIX):
        return {"train": FileImages(name.removeprefix(FOLDER_PREFIX), usual, argument)}
    if name.endswith(ARRAY_SUFFIX):
        images = ArrayImages(_opened_array(name, argument), None, usual)
        images.origin = os.path.abspath(name)
        return {"train": images}
    if name == DIGITS:
        parts = _digits(usual)
        check_choice("split", split or "train", parts)
        return {"train": parts[split]} if split else parts
    builder = tfds_source.prepared(name, data_dir, argument)
    splits = {"train": split} if split else tfds_source.parts(builder, argument)
    return {part: tfds_source.StoredImages(builder, split, usual) for part, split in splits.items()}


def _kept(found: dict[str, Images]) -> dict[str, ArrayImages]:
    """Returns preprocessed images by part: a folder's own parts, or those found."""
    files = found["train"]
    if not isinstance(files, FileImages):
        return {part: kept(images)[0] for part, images in found.items()}
    whole, read = kept(files)
    whole.names = [files.names[index] for index in read]
    part_of = np.full(len(read), "train") if files.parts is None else files.parts[read]
    return {part: whole.subset(np.flatnonzero(part_of == part)) for part in np.unique(part_of)}


def _with_test(parts: dict[str, ArrayImages], test_fraction: float) -> dict[str, ArrayImages]:
    """Returns the parts with test images: if there are none, validation or some training images."""
    if "test" in parts:
        return parts
    if "validation" in parts:
        _LOGGER.info("no test images: testing on the validation images")
        return {"train": parts["train"], "test": parts["validation"]}
    whole = parts["train"]
    places = spread(round(test_fraction * whole.num_images), whole.num_images)
    if whole.names:
        is_test = [_hash_fraction(name) < test_fraction for name in whole.names]
        places = np.flatnonzero(is_test)
    if not 0 < len(places) < whole.num_images:
        expected = f"enough images to hold out {test_fraction:g} of them for testing"
        raise InputError("dataset", expected, f"{whole.origin}, with {whole.num_images}")
    _LOGGER.info("held out %d of %d images for testing", len(places), whole.num_images)
    return dict(zip(("train", "test"), whole.hold_out(places), strict=True))


def _hash_fraction(name: str) -> float:
    """Returns a number in [0, 1) that depends on the name alone."""
    return int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) / 2**32


def _fingerprint(parts: dict[str, ArrayImages]) -> str:
    digest = hashlib.sha256()
    for part, images in sorted(parts.items()):
        digest.update(repr((np.str_(part), images.names)).encode())  # As always: it tells runs apart.
        for _, pixels, labels in images.batches(_HASHED).as_numpy_iterator():
            digest.update(pixels.tobytes() + labels.tobytes())
    return digest.hexdigest()


def _digits(preprocessing: Preprocessing) -> dict[str, ArrayImages]:
    """Returns scikit-learn's digits in MNIST's format: 20 pixels high in a 28-pixel frame.

    A fifth of each class are test images, 360 in all.
    """
    from sklearn.datasets import load_digits  # Its import takes longer than most folders.
    from sklearn.model_selection import train_test_split

    scans, labels = load_digits(return_X_y=True)
    levels = tf.constant(scans.reshape(-1, 8, 8, 1) / 16.0 * 255.0)
    enlarged = tf.image.resize(levels, [20, 20], method="bicubic")
    enlarged = tf.saturate_cast(tf.round(enlarged), tf.uint8)
    framed = tf.pad(enlarged, [[0, 0], [4, 4], [4, 4], [0, 0]]).numpy()
    whole = ArrayImages(framed, labels, preprocessing)
    stored = preprocessing(framed).numpy().tobytes() + labels.tobytes()
    whole.origin, whole.fingerprint = DIGITS, hashlib.sha256(stored).hexdigest()
    places = train_test_split(np.arange(len(labels)), test_size=360, stratify=labels, random_state=0)
    return dict(zip(("train", "test"), map(whole.subset, places), strict=True))


def _opened_array(path: str, argument: str) -> np.memmap:
    """Returns the images of a `.npy` file, `[N, h, w, c]`."""
    expected = "an array of images, [N, h, w] or [N, h, w, 1 to 4], of uint8, uint16, bool or floats"
    try:
        with np.errstate(over="ignore"):  # The header may claim any size.
            array = np.lib.format.open_memmap(path, mode="r")
    except (OSError, ValueError, TypeError, OverflowError, tokenize.TokenError) as error:
        received = "another file" if os.path.exists(path) else "no such file"
        raise InputError(argument, expected, f"{path}, {received}") from error
    shape, is_one = list(array.shape), array.shape[2:] in ((1,), (3,), (4,))
    if is_one:
        _LOGGER.warning("%s: reading %s as one image", path, shape)
    if array.ndim == 3:
        array = array[np.newaxis] if is_one else array[..., np.newaxis]
    if array.ndim != 4 or not array.size or array.shape[3] > 4 or array.dtype.name not in _ARRAY_TYPES:
        raise InputError(argument, expected, f"{path}, {array.dtype} {shape}")
    return array


def _stamp(path: str | bytes) -> tuple[int, int] | None:
    """Returns a file's size and time of writing, or None for a broken link."""
    with contextlib.suppress(OSError):
        status = os.stat(path)
        return status.st_size, status.st_mtime_ns
