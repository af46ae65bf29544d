"""A tree of image files as a data set."""

import hashlib
import logging
import os
from pathlib import Path

import numpy as np
import tensorflow as tf

from crvae_tf.datasets.preprocessing import Preprocessing
from crvae_tf.datasets.splits import FileSplit, Split, check_hold_out
from crvae_tf.errors import InputError

_LOGGER = logging.getLogger(__name__)

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif")
BROKEN_SHARE_LIMIT = 0.01
_TEST_SHARE = 0.1


def splits(
    path: str, preprocessing: Preprocessing, validation_images: int
) -> tuple[Split, Split | None, Split, str]:
    """Returns (training, validation, test, fingerprint) of the image files below `path`.

    A tenth of the images, chosen by a hash of their names, are test images; whether an image is
    one does not depend on the others. The folders directly below `path`, if there are any, are classes.
    Files that cannot be decoded are left out, each with a warning.

    Raises:
      InputError: there is no such folder, it holds too few images, or more than 1 % are broken.
    """
    root = Path(path)
    names = _readable(root, _image_names(root), preprocessing)
    is_test = np.array([_hash_fraction(name) < _TEST_SHARE for name in names])
    if is_test.all() or not is_test.any():
        raise InputError(
            f"--dataset=folder:{path}: expected enough images to hold out a tenth for testing; "
            f"received {len(names)}"
        )
    test = [name for name in names if _hash_fraction(name) < _TEST_SHARE]
    train = sorted(set(names) - set(test))
    check_hold_out(len(train), validation_images)
    cut = len(train) - validation_images
    classes = sorted({Path(name).parts[0] for name in names if len(Path(name).parts) > 1})

    def split(part: list[str]) -> Split:
        paths = [str(root / name) for name in part]
        return FileSplit(paths, _labels(part, classes), preprocessing)

    validation = split(train[cut:]) if validation_images else None
    return split(train[:cut]), validation, split(test), _fingerprint(root, names)


def _image_names(root: Path) -> list[str]:
    """Returns the sorted names, relative to `root`, of the files that look like images."""
    if not root.is_dir():
        raise InputError(f"--dataset=folder:{root}: expected a folder; received no such folder")
    names = []
    for folder, _, files in os.walk(root):
        below = Path(folder).relative_to(root)
        names += [str(below / file) for file in files if file.lower().endswith(SUFFIXES)]
    if not names:
        raise InputError(
            f"--dataset=folder:{root}: expected {', '.join(SUFFIXES)} files; received none"
        )
    return sorted(names)


def _readable(root: Path, names: list[str], preprocessing: Preprocessing) -> list[str]:
    """Returns the names of the files that can be decoded, and warns of the others."""
    decodes = tf.data.Dataset.from_tensor_slices([str(root / name) for name in names]).map(
        lambda path: _byte_sum(path, preprocessing), num_parallel_calls=tf.data.AUTOTUNE
    )
    broken = _failures(decodes, names)
    for name in broken:
        _LOGGER.warning("left out, cannot be decoded: %s", root / name)
    if len(broken) > BROKEN_SHARE_LIMIT * len(names):
        raise InputError(
            f"--dataset=folder:{root}: expected at most {BROKEN_SHARE_LIMIT:.0%} broken files; "
            f"received {len(broken)} of {len(names)}, the first {next(iter(broken))}"
        )
    return [name for name in names if name not in broken]


def _byte_sum(path: tf.Tensor, preprocessing: Preprocessing) -> tf.Tensor:
    return tf.reduce_sum(tf.cast(preprocessing.decode(tf.io.read_file(path)), tf.int64))


def _failures(decodes: tf.data.Dataset, names: list[str]) -> dict[str, str]:
    """Returns what each element of `decodes` that fails raises, by its name."""
    failures, iterator = {}, iter(decodes)
    for name in names:
        try:
            next(iterator)
        except tf.errors.OpError as error:
            failures[name] = error.message
    return failures


def _labels(names: list[str], classes: list[str]) -> np.ndarray | None:
    if len(classes) < 2 or any(len(Path(name).parts) == 1 for name in names):
        return None
    return np.array([classes.index(Path(name).parts[0]) for name in names])


def _hash_fraction(name: str) -> float:
    """Returns a number in [0, 1) that depends on the name alone."""
    return int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) / 2**32


def _fingerprint(root: Path, names: list[str]) -> str:
    digest = hashlib.sha256()
    for name in names:
        digest.update(f"{name}\0".encode() + hashlib.sha256((root / name).read_bytes()).digest())
    return digest.hexdigest()
