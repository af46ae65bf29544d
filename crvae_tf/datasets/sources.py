"""Where images come from: the embedded digits, TensorFlow Datasets, arrays and folders of files."""

import dataclasses
import hashlib
import logging
import os
import tokenize

import numpy as np
import tensorflow as tf
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from crvae_tf.datasets import tfds_source
from crvae_tf.datasets.folders import FileImages
from crvae_tf.datasets.images import ArrayImages, Images, kept
from crvae_tf.datasets.preprocessing import Preprocessing
from crvae_tf.errors import InputError, check_choice

_LOGGER = logging.getLogger(__name__)

FOLDER_PREFIX, ARRAY_SUFFIX, DIGITS = "folder:", ".npy", "digits"
TEST_FRACTION = 0.1

_DIGITS_BOX, _DIGITS_SIDE, _DIGITS_TEST_IMAGES = 20, 28, 360
_ARRAY_TYPES = ("uint8", "uint16", "bool", "float32", "float64")
_DARK, _SAMPLED = 0.1, 1000
"""Images whose brightest pixel is a smaller share of what their type can hold look black."""
_CROPS = {"celeb_a": 140}  # Tolstikhin et al. 2017.
_LIGHT_ON_DARK = ("mnist", "emnist", "kmnist", "fashion_mnist", "binarized_mnist")
_ONES_ARE_WHITE = ("binarized_mnist", "binary_alpha_digits", "dsprites")
"""TFDS stores their pixels as 0 and 1."""


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
    train: Images
    test: Images
    validation: Images | None
    """Images held out from the training set, or the user's own; None where there are none."""
    preprocessing: Preprocessing
    fingerprint: str
    """Changes when the data do."""


_INK = {"binarization": "dynamic", "likelihood": "bernoulli"}
_GRAY = {"binarization": "none", "likelihood": "continuous_bernoulli"}
_COLOUR = {"binarization": "none", "likelihood": "gaussian"}
_BINARIZED = (DIGITS, "mnist", "omniglot", "binarized_mnist")


def defaults(dataset: str, data_dir: str | None = None) -> Defaults:
    """Returns what a data set is modelled as by default.

    Ink on paper is binarised and Bernoulli, other gray images are continuous Bernoulli, colour is
    Gaussian. Images are brought to a side of 28, 32 or 64 pixels, the first that is not less than
    their height, or 64.

    Raises:
      InputError: there is no such data set.
    """
    if _base_name(dataset) in _BINARIZED:
        return Defaults(_DIGITS_SIDE, 1, **_INK)
    if dataset.startswith(FOLDER_PREFIX):
        return Defaults(64, 3, **_COLOUR)
    if dataset.endswith(ARRAY_SUFFIX):
        _, height, _, channels = _opened_array(dataset, "dataset").shape
    else:
        builder = tfds_source.open_builder(dataset, data_dir, "dataset")
        height, _, channels = builder.info.features[tfds_source.image_key(builder, "dataset")].shape
    side = next((s for s in (28, 32) if height and height <= s), 64)
    return Defaults(side, 1, **_GRAY) if channels in (1, 2) else Defaults(side, 3, **_COLOUR)


def is_prepared(dataset: str, data_dir: str | None = None) -> bool:
    """Returns whether `load` would fetch nothing.

    Raises:
      InputError: there is no such data set.
    """
    if dataset == DIGITS or dataset.startswith(FOLDER_PREFIX) or dataset.endswith(ARRAY_SUFFIX):
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

    The user's own split is kept: the splits of TFDS, the folders `train`, `validation` and `test`. What
    is held out otherwise is a fixed sample, spread over the whole; of files, a hash of their names
    decides which are test images, whatever other files there are.

    Args:
      dataset: `digits`, the name of a TFDS image data set, `folder:PATH` or an array, `FILE.npy`.
      data_dir: where TFDS keeps its data; TFDS's own place where this is None.
      image_size: side of the images, pixels; the data set's default where this is None.
      channels: 1 or 3; the data set's default where this is None.
      validation_images: how many training images to hold out; of the user's own, how many to use.
      invert: whether dark becomes light; the data set's default where this is None.
      test_fraction: of the images to test on where the data set has no test images of its own.

    Raises:
      InputError: there is no such data set, it cannot be fetched, or it holds too few images.

    >>> data = load("digits", validation_images=100)
    >>> data.train.num_images, data.validation.num_images, data.test.num_images
    (1337, 100, 360)
    """
    preset = defaults(dataset, data_dir)
    given = Preprocessing(image_size or preset.image_size, channels or preset.channels)
    preprocessing = _usual(dataset, given, invert)
    if dataset == DIGITS:
        parts, fingerprint = _digits(preprocessing)
    else:
        found = _sources(dataset, data_dir, preprocessing)
        preprocessing = _stretched(found["train"])
        for images in found.values():
            images.preprocessing = preprocessing
        if isinstance(found["train"], FileImages):
            parts = _of_folder(found["train"], test_fraction)
        else:
            parts = {part: kept(images)[0] for part, images in found.items()}
        fingerprint = found["train"].fingerprint or _fingerprint(parts)
    train, validation, test = _divided(parts, validation_images, test_fraction)
    copies = int(np.isin(test.digests(), train.digests()).sum())
    if copies:
        told = "%d of %d test images equal training images, byte by byte"
        _LOGGER.warning(told, copies, test.num_images)
    return ImageData(dataset, train, test, validation, preprocessing, fingerprint)


def open_images(
    name: str,
    preprocessing: Preprocessing,
    data_dir: str | None = None,
    split: str | None = None,
    argument: str = "input",
) -> Images:
    """Returns images to be embedded, none of which has been read yet.

    Args:
      name: as `dataset` of `load`.
      preprocessing: that of the training; some data sets have a crop and an inversion of their own.
      data_dir: where TFDS keeps its data.
      split: of a data set; `train` where this is None.
      argument: that errors name.

    Raises:
      InputError: there is nothing of that name, or no image in it.
    """
    is_own = name.startswith(FOLDER_PREFIX) or name.endswith(ARRAY_SUFFIX)
    if split and is_own:
        raise InputError("split", f"left out with {argument}={name}", split)
    usual = _usual(name, preprocessing, None)
    if is_own:
        images = _own_images(name, preprocessing, argument)
        stamps = [_stamp(path) for path in getattr(images, "paths", [name])]
        described = repr([preprocessing, images.num_images, images.names, stamps])
        images.fingerprint = hashlib.sha256(described.encode()).hexdigest()
    elif name == DIGITS:
        parts, fingerprint = _digits(usual)
        check_choice("split", split or "train", parts)
        images = parts[split or "train"]
        images.fingerprint = f"{fingerprint} {split} {preprocessing.image_shape}"
    else:
        builder = tfds_source.prepared(name, data_dir, argument)
        images = tfds_source.StoredImages(builder, split or "train", usual)
    images.origin = images.origin if is_own else name
    return images


def _base_name(name: str) -> str:
    """Returns a TFDS name without its configuration and version."""
    return name.split("/")[0].split(":")[0]


def _usual(name: str, given: Preprocessing, invert: bool | None) -> Preprocessing:
    """Returns a preprocessing with what is usual for a data set in the place of what is given."""
    base = _base_name(name)
    if invert is None:
        invert = base == "omniglot" or (given.invert and base not in (DIGITS, *_LIGHT_ON_DARK))
    crop = _CROPS.get(base, given.crop)
    white = 1.0 / 255.0 if base in _ONES_ARE_WHITE else given.brightest
    return dataclasses.replace(given, crop=crop, invert=invert, brightest=white)


def _sources(dataset: str, data_dir: str | None, preprocessing: Preprocessing) -> dict[str, Images]:
    """Returns the images to train on, or all there are, and those to test on, if there are any."""
    if dataset.startswith(FOLDER_PREFIX) or dataset.endswith(ARRAY_SUFFIX):
        return {"train": _own_images(dataset, preprocessing, "dataset")}
    builder = tfds_source.prepared(dataset, data_dir, "dataset")
    splits = tfds_source.parts(builder)
    found = {
        part: tfds_source.StoredImages(builder, split, preprocessing) for part, split in splits.items()
    }
    found["train"].fingerprint = tfds_source.fingerprint(builder)
    return found


def _own_images(name: str, preprocessing: Preprocessing, argument: str) -> Images:
    if name.startswith(FOLDER_PREFIX):
        return FileImages(name.removeprefix(FOLDER_PREFIX), preprocessing, argument)
    images = ArrayImages(_opened_array(name, argument), None, preprocessing)
    images.origin = os.path.abspath(name)
    _brightest(images, argument)  # Floats may lie outside [0, 1].
    return images


def _stretched(images: Images) -> Preprocessing:
    """Returns the preprocessing that makes images white where they are brightest, if they look black.

    They are stretched where one factor serves all of them, or warned of.
    """
    found = _brightest(images, "dataset")
    for kind, share in found.items():
        if share >= _DARK or images.preprocessing.brightest < 1.0:
            continue
        told = f"{images.origin}: the brightest pixel of {kind} is {share:.2%} of what that can hold"
        if len(found) == 1 and share > 0.0:
            _LOGGER.warning("%s: all are stretched to the whole of it", told)
            return dataclasses.replace(images.preprocessing, brightest=share)
        _LOGGER.warning("%s: these images look black", told)
    return images.preprocessing


def _brightest(images: Images, argument: str) -> dict[str, float]:
    """Returns the brightest value of each type of image, as a share of what it can hold.

    Where the first images are bright, the others are not looked at.

    Raises:
      InputError: there are floats outside [0, 1].
    """
    for limit in (_SAMPLED, None):
        found = {}
        for image in images.raw(limit):
            kind, low, high = image.dtype.name, float(image.min()), float(image.max())
            if image.dtype.kind == "f" and not (low >= 0.0 and high <= 1.0):
                received = f"{images.origin}, with {low:g} to {high:g}"
                raise InputError(argument, "images in [0, 1] where they are floats", received)
            scale = np.iinfo(kind).max if image.dtype.kind == "u" else 1.0
            share = high / scale if image.shape[-1] % 2 else 1.0  # It may be transparent, on white.
            found[kind] = max(found.get(kind, 0.0), share)
        if all(share >= _DARK and not kind.startswith("float") for kind, share in found.items()):
            break
    return found


def _of_folder(files: FileImages, test_fraction: float) -> dict[str, ArrayImages]:
    """Returns the user's own parts of a folder, or holds test images out of it."""
    whole, read = kept(files)
    part_of = np.full(len(read), "train") if files.parts is None else files.parts[read]
    whole.names = [files.names[index] for index in read]
    if set(part_of) == {"train"}:
        is_test = np.array([_hash_fraction(name) < test_fraction for name in whole.names])
        part_of = np.where(is_test, "test", "train")
        if is_test.all() or not is_test.any():
            received = f"{files.origin}, with {len(read)}"
            raise InputError("dataset", _enough(test_fraction), received)
        _LOGGER.info("held out to test on: %d of %d images", is_test.sum(), len(read))
    return {part: whole.subset(np.flatnonzero(part_of == part)) for part in np.unique(part_of)}


def _hash_fraction(name: str) -> float:
    """Returns a number in [0, 1) that depends on the name alone."""
    return int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) / 2**32


def _enough(test_fraction: float) -> str:
    return f"images enough to train on when {test_fraction:g} of them are held out to test on"


def _fingerprint(parts: dict[str, ArrayImages]) -> str:
    digest = hashlib.sha256()
    for part, images in sorted(parts.items()):
        digest.update(repr((part, images.names)).encode())
        for _, pixels, labels in images.batches(_SAMPLED).as_numpy_iterator():
            digest.update(pixels.tobytes() + labels.tobytes())
    return digest.hexdigest()


def _divided(
    parts: dict[str, ArrayImages], validation_images: int, test_fraction: float
) -> tuple[ArrayImages, ArrayImages | None, ArrayImages]:
    """Returns training, validation and test images."""
    train, validation, test = (parts.get(part) for part in ("train", "validation", "test"))
    if test is None and validation is not None:
        _LOGGER.info("no test images: the validation images are tested on")
        test, validation = validation, None
    if test is None:
        number = round(test_fraction * train.num_images)
        if not 0 < number < train.num_images:
            raise InputError("dataset", _enough(test_fraction), train.num_images)
        _LOGGER.info("held out to test on: %d of %d images", number, train.num_images)
        train, test = train.hold_out(number)
    if validation is not None:
        return train, validation.sample(validation_images or None), test
    if not 0 <= validation_images < train.num_images:
        expected = f"fewer than the {train.num_images} training images"
        raise InputError("validation_images", expected, validation_images)
    if not validation_images:
        return train, None, test
    return *train.hold_out(validation_images), test


def _digits(preprocessing: Preprocessing) -> tuple[dict[str, ArrayImages], str]:
    """Returns scikit-learn's digits as MNIST shows its own: 20 pixels high in a 28-pixel frame.

    A fifth of the images of each class, 360 in all, are test images.
    """
    scans, labels = load_digits(return_X_y=True)
    margin = (_DIGITS_SIDE - _DIGITS_BOX) // 2
    levels = tf.constant(scans.reshape(-1, 8, 8, 1) / 16.0 * 255.0)
    enlarged = tf.image.resize(levels, [_DIGITS_BOX] * 2, method="bicubic")
    enlarged = tf.cast(tf.clip_by_value(tf.round(enlarged), 0.0, 255.0), tf.uint8)
    framed = tf.pad(enlarged, [[0, 0], [margin] * 2, [margin] * 2, [0, 0]])
    images = preprocessing(framed).numpy()
    train_images, test_images, train_labels, test_labels = train_test_split(
        images, labels, test_size=_DIGITS_TEST_IMAGES, stratify=labels, random_state=0
    )
    fingerprint = hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest()
    train, test = ArrayImages(train_images, train_labels), ArrayImages(test_images, test_labels)
    return {"train": train, "test": test}, fingerprint


def _opened_array(path: str, argument: str) -> np.memmap:
    """Returns the images of a file `.npy`, `[N, h, w, c]`."""
    expected = "an array of images, [N, h, w] or [N, h, w, 1 to 4], of uint8, uint16, bool or floats"
    try:
        with np.errstate(over="ignore"):  # Of a size that the header claims.
            array = np.lib.format.open_memmap(path, mode="r")
    except (OSError, ValueError, TypeError, OverflowError, tokenize.TokenError) as error:
        received = "another file" if os.path.exists(path) else "no such file"
        raise InputError(argument, expected, f"{path}, {received}") from error
    shaped = array
    if array.ndim == 3 and array.shape[-1] in (1, 3, 4):
        _LOGGER.warning("%s: %s is taken as one image", path, list(array.shape))
        shaped = array[np.newaxis]
    elif array.ndim == 3:
        shaped = array[..., np.newaxis]
    if (
        shaped.ndim != 4
        or not shaped.size
        or shaped.shape[3] > 4
        or array.dtype.name not in _ARRAY_TYPES
    ):
        raise InputError(argument, expected, f"{path}, {array.dtype} {list(array.shape)}")
    return shaped


def _stamp(path: str | bytes) -> tuple[int, int] | None:
    """Returns a file's size and when it was written; None where a link leads nowhere or to itself."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns
