"""Image data sets of TensorFlow Datasets, by name."""

import functools
import hashlib
import json
import logging
from pathlib import Path

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from crvae_tf.datasets.preprocessing import Preprocessing
from crvae_tf.datasets.splits import (
    NO_LABEL,
    ArraySplit,
    Split,
    StreamSplit,
    check_hold_out,
)
from crvae_tf.errors import InputError

_LOGGER = logging.getLogger(__name__)

MEMORY_LIMIT = 2**30
"""A split of more bytes than this is streamed."""

_LOADING_BATCH = 256


def image_geometry(name: str, data_dir: str | None) -> tuple[int | None, int]:
    """Returns (height, channels) of the images; the height is None where they differ in it.

    Raises:
      InputError: TFDS has no such data set, or it has no images.
    """
    builder = _builder(name, data_dir)
    height, _, channels = builder.info.features[_image_key(builder)].shape
    return height, 1 if channels == 1 else 3


def splits(
    name: str, data_dir: str | None, preprocessing: Preprocessing, validation_images: int
) -> tuple[Split, Split | None, Split, str]:
    """Returns (training, validation, test, fingerprint), fetching and preparing the data if need be.

    Raises:
      InputError: the data set is unknown, cannot be fetched, or has no test split.
    """
    builder = _prepared(name, data_dir)
    test = next((s for s in ("test", "validation") if s in builder.info.splits), None)
    if test is None or "train" not in builder.info.splits:
        received = ", ".join(builder.info.splits) or "none"
        raise InputError(f"--dataset={name}: expected splits train and test; received {received}")
    check_hold_out(builder.info.splits["train"].num_examples, validation_images)
    cut = f"-{validation_images}:" if validation_images else ""
    train = _split(builder, f"train[:-{validation_images}]" if cut else "train", preprocessing)
    validation = _split(builder, f"train[{cut}]", preprocessing) if cut else None
    return train, validation, _split(builder, test, preprocessing), _fingerprint(builder)


def is_prepared(name: str, data_dir: str | None) -> bool:
    """Returns whether the data set need not be fetched.

    Raises:
      InputError: TFDS has no such data set.
    """
    return bool(_builder(name, data_dir).info.splits)


def _builder(name: str, data_dir: str | None) -> tfds.core.DatasetBuilder:
    try:
        return tfds.builder(name, data_dir=data_dir)
    except (AssertionError, ModuleNotFoundError, ValueError, tfds.core.DatasetNotFoundError) as error:
        raise InputError(
            f"--dataset: expected digits, folder:PATH or the name of a TFDS data set; received {name}"
        ) from error


def _prepared(name: str, data_dir: str | None) -> tfds.core.DatasetBuilder:
    builder = _builder(name, data_dir)
    if builder.info.splits:
        return builder
    _LOGGER.info(
        "fetching %s into %s; without a network this is given up after some minutes",
        builder.info.full_name,
        _data_dir(builder),
    )
    try:
        builder.download_and_prepare()
    except Exception as error:  # TFDS raises whatever its downloader meets.
        reason = " ".join(str(error).split())[:160]
        raise InputError(
            f"--dataset={name}: expected it prepared under --data_dir={_data_dir(builder)} or a "
            f"network to fetch it from; received {type(error).__name__}: {reason}; "
            "--dataset=digits needs neither"
        ) from error
    return builder


def _data_dir(builder: tfds.core.DatasetBuilder) -> Path:
    """Returns the folder below which TFDS keeps the data set by its name and version."""
    return Path(builder.data_dir).parents[len(Path(builder.info.full_name).parts) - 1]


def _image_key(builder: tfds.core.DatasetBuilder) -> str:
    features = builder.info.features or {}
    for key, feature in features.items():
        if isinstance(feature, tfds.features.Image):
            return key
    raise InputError(
        f"--dataset={builder.name}: expected a data set with images; received {', '.join(features)}"
    )


def _label_key(builder: tfds.core.DatasetBuilder) -> str | None:
    keys = builder.info.supervised_keys
    if keys and isinstance(builder.info.features[keys[1]], tfds.features.ClassLabel):
        return keys[1]
    return None


def _split(builder: tfds.core.DatasetBuilder, name: str, preprocessing: Preprocessing) -> Split:
    num_images = builder.info.splits[name].num_examples
    has_labels = _label_key(builder) is not None
    if num_images * int(np.prod(preprocessing.image_shape)) > MEMORY_LIMIT:
        examples = functools.partial(_examples, builder, name, preprocessing)
        return StreamSplit(examples, num_images, preprocessing.image_shape, has_labels)
    batches = list(_batches(builder, name, preprocessing).as_numpy_iterator())
    images, labels = (np.concatenate(arrays) for arrays in zip(*batches, strict=True))
    return ArraySplit(images, labels if has_labels else None)


def _examples(
    builder: tfds.core.DatasetBuilder, name: str, preprocessing: Preprocessing
) -> tf.data.Dataset:
    """Returns (image, label) of every example, always in one order."""
    return _raw_examples(builder, name).map(
        lambda image, label: (preprocessing(image), label), num_parallel_calls=tf.data.AUTOTUNE
    )


def _batches(
    builder: tfds.core.DatasetBuilder, name: str, preprocessing: Preprocessing
) -> tf.data.Dataset:
    """Returns the same in batches, preprocessed as a whole where all images have one size."""
    if None in builder.info.features[_image_key(builder)].shape:
        return _examples(builder, name, preprocessing).batch(_LOADING_BATCH)
    return (
        _raw_examples(builder, name)
        .batch(_LOADING_BATCH)
        .map(lambda images, labels: (preprocessing(images), labels), tf.data.AUTOTUNE)
    )


def _raw_examples(builder: tfds.core.DatasetBuilder, name: str) -> tf.data.Dataset:
    image_key, label_key = _image_key(builder), _label_key(builder)
    dataset = builder.as_dataset(split=name, shuffle_files=False)
    no_label = tf.constant(NO_LABEL, tf.int64)
    return dataset.map(
        lambda example: (example[image_key], example[label_key] if label_key else no_label)
    )


def _fingerprint(builder: tfds.core.DatasetBuilder) -> str:
    """Returns a hash of the data set's version and of the size of each of its parts."""
    parts = {
        name: [split.num_examples, split.num_bytes, list(split.shard_lengths or [])]
        for name, split in sorted(builder.info.splits.items())
    }
    described = json.dumps([builder.info.full_name, parts])
    return hashlib.sha256(described.encode()).hexdigest()
