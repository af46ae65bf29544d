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
    MEMORY_LIMIT,
    NO_LABEL,
    ArraySplit,
    Split,
    StreamSplit,
    check_hold_out,
)
from crvae_tf.errors import InputError, reason

_LOGGER = logging.getLogger(__name__)

_LOADING_BATCH = 256

_ONES_ARE_INK = ("binarized_mnist", "binary_alpha_digits", "dsprites")
"""TFDS stores their pixels as 0 and 1, for which the files of others have 0 and 255."""


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

    A data set without a test split is tested on its validation split.

    Raises:
      InputError: the data set is unknown, cannot be fetched, or has no training or neither other split.
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


class StoredSplit:
    """A split whose examples can be read from anywhere, in the order in which TFDS stores them.

    Args:
      name: of the data set.
      data_dir: where TFDS keeps its data; TFDS's own place where this is None.
      split: of the data set, as TFDS writes it: `test`, `train[:10%]`, `train+test`.

    Attributes:
      num_images: how many there are.
      has_labels: whether the images have a class.
      fingerprint: changes when the data do.

    Raises:
      InputError: the data set is unknown, has no images or cannot be fetched, or it has no such split.
    """

    def __init__(self, name: str, data_dir: str | None, split: str):
        _image_key(_builder(name, data_dir, flag="input"), flag="input")  # Before it is fetched.
        self._builder = _prepared(name, data_dir, flag="input")
        self._pieces = _pieces(self._builder, split)
        self.num_images = sum(len(rows) for _, rows in self._pieces)
        self.has_labels = _label_key(self._builder) is not None
        described = repr([_fingerprint(self._builder), self._pieces])
        self.fingerprint = hashlib.sha256(described.encode()).hexdigest()

    def examples(self, first: int, end: int) -> tf.data.Dataset:
        """Returns (image uint8 `[h, w, c]`, label int64) of the images `first` to `end - 1`."""
        instructions, start = [], 0
        for name, rows in self._pieces:
            part = rows[max(first - start, 0) : max(end - start, 0)]
            start += len(rows)
            if part:
                instructions.append(_instruction(name, part))
        # Read through one file after the other: TFDS interleaves them otherwise, and caches small ones.
        config = tfds.ReadConfig(interleave_cycle_length=1, try_autocache=False)
        return _raw_examples(self._builder, sum(instructions[1:], instructions[0]), config)


def _pieces(builder: tfds.core.DatasetBuilder, split: str) -> list[tuple[str, range]]:
    """Returns the named splits, and which of their examples, that `split` is made of."""
    infos = builder.info.splits
    try:
        parts = tfds.core.ReadInstruction.from_spec(split).to_absolute(dict(infos))
    except (ValueError, AssertionError) as error:
        known = ", ".join(infos)
        raise InputError(f"--split: expected one or several of {known}; received {split}") from error
    pieces = [
        (part.splitname, range(infos[part.splitname].num_examples)[part.from_ : part.to])
        for part in parts
    ]
    if not any(rows for _, rows in pieces):
        raise InputError(f"--split: expected one with images; received {split}")
    return [(name, rows) for name, rows in pieces if rows]


def _instruction(name: str, rows: range) -> tfds.core.ReadInstruction:
    return tfds.core.ReadInstruction(name, from_=rows.start, to=rows.stop, unit="abs")


def _builder(name: str, data_dir: str | None, flag: str = "dataset") -> tfds.core.DatasetBuilder:
    files = "folder:PATH" if flag == "dataset" else "folder:PATH, FILE.npy"
    try:
        return tfds.builder(name, data_dir=data_dir)
    except (AssertionError, ModuleNotFoundError, ValueError, tfds.core.DatasetNotFoundError) as error:
        raise InputError(
            f"--{flag}: expected digits, {files} or the name of a TFDS data set; received {name}"
        ) from error


def _prepared(name: str, data_dir: str | None, flag: str = "dataset") -> tfds.core.DatasetBuilder:
    builder = _builder(name, data_dir, flag)
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
        raise InputError(
            f"--{flag}={name}: expected it prepared under --data_dir={_data_dir(builder)} or a "
            f"network to fetch it from; received {type(error).__name__}: {reason(error)}; "
            f"--{flag}=digits needs neither"
        ) from error
    return builder


def _data_dir(builder: tfds.core.DatasetBuilder) -> Path:
    """Returns the folder below which TFDS keeps the data set by its name and version."""
    return Path(builder.data_dir).parents[len(Path(builder.info.full_name).parts) - 1]


def _image_key(builder: tfds.core.DatasetBuilder, flag: str = "dataset") -> str:
    features = builder.info.features or {}
    for key, feature in features.items():
        if isinstance(feature, tfds.features.Image):
            return key
    raise InputError(
        f"--{flag}={builder.name}: expected a data set with images; received {', '.join(features)}"
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


def _raw_examples(
    builder: tfds.core.DatasetBuilder,
    split: str | tfds.core.ReadInstruction,
    config: tfds.ReadConfig | None = None,
) -> tf.data.Dataset:
    image_key, label_key = _image_key(builder), _label_key(builder)
    dataset = builder.as_dataset(split=split, shuffle_files=False, read_config=config)

    def image_and_label(example):
        image = example[image_key]
        if builder.name in _ONES_ARE_INK:
            image = 255 * tf.cast(image > 0, tf.uint8)
        return image, example[label_key] if label_key else tf.constant(NO_LABEL, tf.int64)

    return dataset.map(image_and_label)


def _fingerprint(builder: tfds.core.DatasetBuilder) -> str:
    """Returns a hash of the data set's version and of the size of each of its parts."""
    parts = {
        name: [split.num_examples, split.num_bytes, list(split.shard_lengths or [])]
        for name, split in sorted(builder.info.splits.items())
    }
    described = json.dumps([builder.info.full_name, parts])
    return hashlib.sha256(described.encode()).hexdigest()
