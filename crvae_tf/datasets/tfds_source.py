"""Image data sets of TensorFlow Datasets."""

import hashlib
import json
import logging
from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from crvae_tf.datasets.images import NO_LABEL, Images
from crvae_tf.datasets.preprocessing import Preprocessing
from crvae_tf.errors import InputError, reason

_LOGGER = logging.getLogger(__name__)


class StoredImages(Images):
    """A split of a prepared TFDS data set, in stored order; `split` as in `train[:10%]+test`.

    Raises:
      InputError: there is no such split, or it has no image.
    """

    def __init__(self, builder: tfds.core.DatasetBuilder, split: str, preprocessing: Preprocessing):
        known = builder.info.splits
        try:
            self.num_images = known[split].num_examples
        except (ValueError, AssertionError, KeyError) as error:
            raise InputError("split", f"one or more of {', '.join(known)}", split) from error
        if not self.num_images:
            raise InputError("split", "one with images", split)
        self.preprocessing = preprocessing
        self._builder, self._split = builder, split
        self._image, self._label = image_key(builder, "dataset"), _label_key(builder)
        self.has_labels, self.origin = self._label is not None, builder.name
        sizes = {
            name: [split.num_examples, split.num_bytes, list(split.shard_lengths or [])]
            for name, split in sorted(known.items())
        }
        described = json.dumps([builder.info.full_name, sizes])
        self.fingerprint = hashlib.sha256(described.encode()).hexdigest()

    def _examples(self) -> tf.data.Dataset:
        """Returns all (image, label), one file after the other."""
        # By default TFDS interleaves files and caches small ones.
        config = tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False)
        others = set(_features(self._builder, tfds.features.Image)) - {self._image}
        skipped = dict.fromkeys(others, tfds.decode.SkipDecoding())
        stored = self._builder.as_dataset(split=self._split, read_config=config, decoders=skipped)
        return stored.map(lambda example: (example[self._image], example.get(self._label, NO_LABEL)))

    def raw(self, limit):
        images = self._examples().take(-1 if limit is None else limit)
        return (image for image, _ in images.as_numpy_iterator())

    def ranges(self, bounds):
        def preprocess(index, example):
            return index, self.preprocessing(example[0]), tf.cast(example[1], tf.int64)

        wanted = np.zeros(bounds[-1][1], bool)
        wanted[np.concatenate([np.arange(*bound) for bound in bounds])] = True
        images = self._examples().enumerate().take(len(wanted))
        images = images.filter(lambda index, _: tf.constant(wanted)[index])
        images = images.map(preprocess, num_parallel_calls=tf.data.AUTOTUNE)
        return images.batch(1).rebatch([stop - start for start, stop in bounds])


def open_builder(name: str, data_dir: str | None, argument: str) -> tfds.core.DatasetBuilder:
    """Returns the builder of a data set, prepared or not.

    Raises:
      InputError: TFDS has no such data set; it names `argument`.
    """
    try:
        return tfds.builder(name, data_dir=data_dir)
    except (AssertionError, ModuleNotFoundError, ValueError, tfds.core.DatasetNotFoundError) as error:
        expected = "digits, folder:PATH, FILE.npy or the name of a TFDS data set"
        raise InputError(argument, expected, name) from error


def prepared(name: str, data_dir: str | None, argument: str) -> tfds.core.DatasetBuilder:
    """Returns the builder of a data set, after fetching and preparing it if necessary.

    Raises:
      InputError: it is unknown, has no images or cannot be fetched; it names `argument`.
    """
    builder = open_builder(name, data_dir, argument)
    image, label = image_key(builder, argument), _label_key(builder)
    why = "supervised_keys name none" if builder.info.supervised_keys else "no feature is called label"
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


def parts(builder: tfds.core.DatasetBuilder, argument: str) -> dict[str, str]:
    """Returns the split to train on and that to test on, which a single split lacks.

    Raises:
      InputError: there are several splits, none called `train`; it names `argument`.
    """
    splits = list(builder.info.splits)
    train = splits[0] if len(splits) == 1 else "train"
    if train not in splits:
        received = f"{builder.name}, with {', '.join(splits)}"
        raise InputError(argument, "a data set with a split train", received)
    test = [split for split in ("test", "validation") if split in splits and split != train]
    return dict(zip(("train", "test"), (train, *test), strict=False))


def image_key(builder: tfds.core.DatasetBuilder, argument: str) -> str:
    """Returns the image feature: that of supervised_keys, else `image`, else the first."""
    images = _features(builder, tfds.features.Image)
    named = tf.nest.flatten(builder.info.supervised_keys[0]) if builder.info.supervised_keys else []
    key = next((key for key in (*named, "image", *images) if key in images), None)
    if key is None:
        received = f"{builder.name}, with {', '.join(builder.info.features or {})}"
        raise InputError(argument, "a data set with images", received)
    return key


def _label_key(builder: tfds.core.DatasetBuilder) -> str | None:
    """Returns the class feature: of those in supervised_keys `label` or the first, else `label`."""
    keys = builder.info.supervised_keys
    named = tf.nest.flatten(keys[1]) if keys else ["label"]
    classes = [key for key in _features(builder, tfds.features.ClassLabel) if key in named]
    return "label" if "label" in classes else next(iter(classes), None)


def _features(builder: tfds.core.DatasetBuilder, kind: type) -> list[str]:
    features = builder.info.features or {}
    return [key for key, feature in features.items() if isinstance(feature, kind)]
