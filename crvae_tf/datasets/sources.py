"""Loads images from the embedded digits, TensorFlow Datasets, arrays and folders of files."""

import contextlib
import dataclasses
import hashlib
import json
import logging
import os
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from crvae_tf.datasets.folders import UNREADABLE, FileImages, stamp, stored_pixels
from crvae_tf.datasets.images import (
    NO_LABEL,
    ArrayImages,
    ImageData,
    Images,
    digits,
    fingerprint_of,
    kept,
    opened_array,
    spread,
    with_test,
)
from crvae_tf.datasets.preprocessing import Preprocessing
from crvae_tf.errors import InputError, check_choice, reason

_LOGGER = logging.getLogger(__name__)

FOLDER_PREFIX, ARRAY_SUFFIX, DIGITS = "folder:", ".npy", "digits"
_CROPS = {"celeb_a": 140}  # Tolstikhin et al. 2017.
_INK = {"channels": 1, "binarization": "dynamic", "likelihood": "bernoulli"}
_GRAY = {"channels": 1, "binarization": "none", "likelihood": "continuous_bernoulli"}
_COLOUR = {"channels": 3, "binarization": "none", "likelihood": "gaussian"}
_BINARIZED = (DIGITS, "mnist", "omniglot", "binarized_mnist")
_DARK_ON_LIGHT = ("omniglot",)
_LIGHT_ON_DARK = (DIGITS, "mnist", "emnist", "kmnist", "fashion_mnist", "binarized_mnist")


def defaults(dataset: str, data_dir: str | None = None, channels: int | None = None) -> dict[str, Any]:
    """Returns a data set's `image_size`, `channels`, `invert`, `binarization` and `likelihood`.

    MNIST, OMNIGLOT and digits are binarised and Bernoulli. Other gray images are continuous Bernoulli,
    colour images Gaussian; given `channels` decide. The side is the least of 28, 32 and 64 pixels that
    fits the height, or 64. Raises InputError if there is no such data set.
    """
    if _base_name(dataset) in _BINARIZED:
        return {"image_size": 28, "invert": _base_name(dataset) in _DARK_ON_LIGHT} | _INK
    height, own = None, 3
    is_folder = dataset.startswith(FOLDER_PREFIX)
    if not is_folder and dataset.endswith(ARRAY_SUFFIX):
        _, height, _, own = opened_array(dataset, "dataset").shape
    elif not is_folder:
        builder = _builder(dataset, data_dir, "dataset")
        height, _, own = builder.info.features[_image_key(builder, "dataset")].shape
    side = next((side for side in (28, 32) if height and height <= side), 64)
    is_gray = (channels or own) in (1, 2)
    return {"image_size": side, "invert": False} | (_GRAY if is_gray else _COLOUR)


def is_prepared(dataset: str, data_dir: str | None = None) -> bool:
    """Returns whether `load` needs no download; raises InputError if there is no such data set."""
    builder = None if dataset == DIGITS or _is_own(dataset) else _builder(dataset, data_dir, "dataset")
    return builder is None or bool(builder.info.splits)


def load(
    dataset: str,
    data_dir: str | None = None,
    image_size: int | None = None,
    channels: int | None = None,
    validation_images: int = 0,
    invert: bool | None = None,
    test_fraction: float = 0.1,
) -> ImageData:
    """Returns the training, validation and test images of a data set.

    It keeps a data set's own split: TFDS splits, or the folders `train`, `validation` and `test`. It
    holds out a fixed sample otherwise, spread over the whole. For files, a hash of the name decides
    which are test images, so other files change nothing.

    Args:
      dataset: `digits`, the name of a TFDS image data set, `folder:PATH` or an array, `FILE.npy`.
      data_dir: the folder of TFDS data; None is TFDS's default.
      image_size, channels: the side in pixels, and 1 or 3; None is the data set's default.
      validation_images: how many training images to hold out, or own validation images to use; 0 is all
        of a folder's own, and none of TFDS.
      invert: whether dark becomes light; None is the data set's default.
      test_fraction: the share of test images, if the data set has none of its own.

    Raises:
      InputError: there is no such data set, it cannot be fetched, or it holds too few images.

    >>> data = load("digits", validation_images=100)
    >>> data.train.num_images, data.validation.num_images, data.test.num_images
    (1337, 100, 360)
    """
    preset = defaults(dataset, data_dir, channels)
    given = Preprocessing(image_size or preset["image_size"], channels or preset["channels"])
    found = _opened(dataset, data_dir, _usual(dataset, given, invert), "dataset")
    if "test" in found and not validation_images:
        found.pop("validation", None)
    preprocessing = found["train"].examined("dataset", stretch=True)
    for part, images in found.items():
        images.preprocessing = preprocessing
        if part != "train":
            images.examined("dataset")
    parts = with_test(_kept(found), test_fraction)
    fingerprint = found["train"].fingerprint or fingerprint_of(parts)
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
      name, data_dir: as `dataset` and `data_dir` of `load`.
      preprocessing: that of the training; some data sets have a crop and an inversion of their own.
      split: of a data set; `train` where this is None.

    Raises:
      InputError: there is nothing of that name, or no image in it.
    """
    usual = _usual(name, preprocessing, None)
    if split and _is_own(name):
        raise InputError("split", f"left out with input={name}", split)
    if usual.invert != preprocessing.invert:
        told = "%s: invert is %s, as usual for these images; for files the encoder has %s"
        _LOGGER.warning(told, name, usual.invert, preprocessing.invert)
    images = _opened(name, data_dir, usual, "input", split)["train"]
    if _is_own(name):
        stamps = [stamp(path) for path in getattr(images, "paths", [name])]
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
        invert = base in _DARK_ON_LIGHT or (given.invert and base not in _LIGHT_ON_DARK)
    return dataclasses.replace(given, crop=_CROPS.get(base, given.crop), invert=invert)


def _opened(
    name: str, data_dir: str | None, usual: Preprocessing, argument: str, split: str | None = None
) -> dict[str, Images]:
    """Returns the images of `split`, or for training, or all, as `train`, and any `test` images."""
    if name.startswith(FOLDER_PREFIX):
        return {"train": FileImages(name.removeprefix(FOLDER_PREFIX), usual, argument)}
    if name.endswith(ARRAY_SUFFIX):
        images = ArrayImages(opened_array(name, argument), None, usual)
        images.origin = os.path.abspath(name)
        return {"train": images}
    if name == DIGITS:
        parts = digits(usual)
        check_choice("split", split or "train", parts)
        return {"train": parts[split]} if split else parts
    builder = _prepared(name, data_dir, argument)
    splits = {"train": split} if split else _splits(builder, argument)
    return {part: StoredImages(builder, split, usual) for part, split in splits.items()}


def _kept(found: dict[str, Images]) -> dict[str, ArrayImages]:
    """Returns preprocessed images by part: a folder's own parts, or those found."""
    files = found["train"]
    if not isinstance(files, FileImages):
        return {part: kept(images)[0] for part, images in found.items()}
    whole, read = kept(files)
    whole.names = [files.names[index] for index in read]
    part_of = np.full(len(read), "train") if files.parts is None else files.parts[read]
    return {part: whole.subset(np.flatnonzero(part_of == part)) for part in np.unique(part_of)}


class StoredImages(Images):
    """A split, as in `train[:10%]+test`, in stored order; raises InputError if it has no image."""

    def __init__(self, builder: tfds.core.DatasetBuilder, split: str, preprocessing: Preprocessing):
        known = builder.info.splits
        try:
            self.num_images = known[split].num_examples
        except (ValueError, AssertionError, KeyError) as error:
            raise InputError("split", f"{', '.join(known)}, or slices of them", split) from error
        if not self.num_images:
            raise InputError("split", "one with images", split)
        self.preprocessing = preprocessing
        self._builder, self._split = builder, split
        self._image, self._label = _image_key(builder, "dataset"), _label_key(builder)
        # TFDS would drop the alpha and the orientation of a file.
        self._is_encoded = builder.info.features[self._image].np_dtype == np.uint8
        self.has_labels, self.origin = self._label is not None, builder.name
        names = builder.info.features[self._label].names if self.has_labels else []
        self.class_names = None if names == [*map(str, range(len(names)))] else names
        sizes = {
            name: [split.num_examples, split.num_bytes, list(split.shard_lengths or [])]
            for name, split in sorted(known.items())
        }
        described = json.dumps([builder.info.full_name, sizes]).encode()
        self.fingerprint = hashlib.sha256(described).hexdigest()

    def _examples(self) -> tf.data.Dataset:
        """Returns all (image, label), one file after the other."""
        # By default TFDS interleaves files and caches small ones.
        config = tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False)
        images = _features(self._builder, tfds.features.Image)
        left = [key for key in images if self._is_encoded or key != self._image]
        skipped = dict.fromkeys(left, tfds.decode.SkipDecoding())
        stored = self._builder.as_dataset(split=self._split, read_config=config, decoders=skipped)
        return stored.map(lambda example: (example[self._image], example.get(self._label, NO_LABEL)))

    def raw(self, limit):
        read = stored_pixels if self._is_encoded else np.asarray
        for image, _ in self._examples().take(self.up_to(limit)).as_numpy_iterator():
            with contextlib.suppress(*UNREADABLE):  # `read` tells it.
                yield read(image)

    def ranges(self, bounds):
        read = self.preprocessing.decode if self._is_encoded else self.preprocessing

        def preprocess(index, example):
            return index, read(example[0]), tf.cast(example[1], tf.int64)

        wanted = np.zeros(bounds[-1][1], bool)
        wanted[np.concatenate([np.arange(*bound) for bound in bounds])] = True
        images = self._examples().enumerate().take(len(wanted))
        images = images.filter(lambda index, _: tf.constant(wanted)[index])
        images = images.map(preprocess, num_parallel_calls=tf.data.AUTOTUNE)
        return images.batch(1).rebatch([stop - start for start, stop in bounds])


def _builder(name: str, data_dir: str | None, argument: str) -> tfds.core.DatasetBuilder:
    try:
        return tfds.builder(name, data_dir=data_dir)
    except (AssertionError, ModuleNotFoundError, ValueError, tfds.core.DatasetNotFoundError) as error:
        expected = "digits, folder:PATH, FILE.npy or the name of a TFDS data set"
        raise InputError(argument, expected, f"{name} in {data_dir}" if data_dir else name) from error


def _prepared(name: str, data_dir: str | None, argument: str) -> tfds.core.DatasetBuilder:
    """Returns the builder of a data set, after fetching and preparing it if necessary."""
    builder = _builder(name, data_dir, argument)
    image, label = _image_key(builder, argument), _label_key(builder)
    keys = builder.info.supervised_keys
    why = "supervised_keys name none" if keys else "no ClassLabel is called label"
    classes = f"the classes are {label}" if label else f"no classes: {why}"
    _LOGGER.info("%s: the images are %s, %s", name, image, classes)
    if builder.info.splits:
        return builder
    # TFDS stores a data set below this folder by name and version.
    place = Path(builder.data_dir).parents[len(Path(builder.info.full_name).parts) - 1]
    told = "fetching %s into %s; without a network this fails after some minutes"
    _LOGGER.info(told, builder.info.full_name, place)
    try:
        builder.download_and_prepare()
    except Exception as error:  # The downloader may raise anything.
        expected = f"digits, a data set prepared below {place}, or a network to fetch it"
        received = f"{name}, and {type(error).__name__}: {reason(error)}"
        raise InputError(argument, expected, received) from error
    return builder


def _splits(builder: tfds.core.DatasetBuilder, argument: str) -> dict[str, str]:
    """Returns the splits to train, to validate and to test on; a data set may lack the last two."""
    splits = list(builder.info.splits)
    train = splits[0] if len(splits) == 1 else "train"
    if train not in splits:
        received = f"{builder.name}, with {', '.join(splits)}"
        raise InputError(argument, "a data set with a split train", received)
    return {"train": train} | {n: n for n in ("validation", "test") if n in splits and n != train}


def _image_key(builder: tfds.core.DatasetBuilder, argument: str) -> str:
    """Returns the one image feature: of those in supervised_keys, or of all, `image`, else no mask."""
    keys, images = builder.info.supervised_keys, _features(builder, tfds.features.Image)
    masks = _features(builder, tfds.features.LabeledImage)
    images = [key for key in _named(keys[0] if keys else None) if key in images] or images
    found = ["image"] if "image" in images else [key for key in images if key not in masks] or images
    if len(found) != 1:
        expected = "a data set with an Image feature, called image where there are several"
        received = f"{builder.name}, with {', '.join(sorted(found or builder.info.features or ()))}"
        raise InputError(argument, expected, received)
    return found[0]


def _label_key(builder: tfds.core.DatasetBuilder) -> str | None:
    """Returns the class feature: of those in supervised_keys `label` or the first, else `label`."""
    keys, classes = builder.info.supervised_keys, _features(builder, tfds.features.ClassLabel)
    found = [key for key in _named(keys[1] if keys else "label") if key in classes]
    return "label" if "label" in found else next(iter(found), None)


def _named(keys: Any) -> list[str]:
    """Returns the names in a part of supervised_keys, which may be a dictionary."""
    return [key for key in tf.nest.flatten(keys) if key]


def _features(builder: tfds.core.DatasetBuilder, kind: type) -> list[str]:
    """Returns the features of a kind, in an order that differs from process to process."""
    features = builder.info.features or {}
    return [key for key, feature in features.items() if isinstance(feature, kind)]
