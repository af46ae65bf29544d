"""A tree of image files as a data set."""

import hashlib
import logging
import os
import re
import stat
import time
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from crvae_tf.datasets import decoding
from crvae_tf.datasets.preprocessing import Preprocessing
from crvae_tf.datasets.splits import (
    MEMORY_LIMIT,
    ArraySplit,
    FileSplit,
    Split,
    check_hold_out,
    digest,
)
from crvae_tf.errors import InputError, reason

_LOGGER = logging.getLogger(__name__)

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif")
BROKEN_SHARE_LIMIT = 0.01
_TEST_SHARE = 0.1
_SCANNING_BATCH = 256
_SECONDS_BETWEEN_LOGS = 10.0


def splits(
    path: str,
    preprocessing: Preprocessing,
    validation_images: int,
    memory_limit: int = MEMORY_LIMIT,
) -> tuple[Split, Split | None, Split, str]:
    """Returns (training, validation, test, fingerprint) of the image files below `path`.

    A tenth of the images, chosen by a hash of their names, are test images; whether an image is
    one does not depend on the others. The folders directly below `path`, if there are any, are classes.
    Every file is decoded once to see whether it can be; those that cannot are left out, each with a
    warning. Images that all fit into `memory_limit` bytes, preprocessed, are kept from then on; others
    are read and decoded as they are needed.

    Raises:
      InputError: there is no such folder, it holds too few images, or more than 1 % are broken.
    """
    names = image_names(path)
    image_bytes = int(np.prod(preprocessing.image_shape))
    scan = _scan(path, names, preprocessing if len(names) * image_bytes <= memory_limit else None)
    _check_broken(path, names, scan.broken)
    test = np.array([_hash_fraction(name) < _TEST_SHARE for name in scan.names])
    if test.all() or not test.any():
        raise InputError(
            f"--dataset=folder:{path}: expected enough images to hold out a tenth for testing; "
            f"received {len(test)}"
        )
    train = np.flatnonzero(~test)
    check_hold_out(len(train), validation_images)
    cut = len(train) - validation_images
    labels = _labels(scan.names)

    def split(rows: np.ndarray) -> Split:
        part = None if labels is None else labels[rows]
        if scan.images is not None:
            return ArraySplit(scan.images[rows], part)
        paths = file_paths(path, [scan.names[row] for row in rows])
        return FileSplit(paths, scan.digests[rows], part, preprocessing)

    validation = split(train[cut:]) if validation_images else None
    return split(train[:cut]), validation, split(np.flatnonzero(test)), scan.fingerprint


def image_names(path: str, flag: str = "dataset") -> list[str]:
    """Returns the sorted names, relative to `path`, of the files that look like images.

    Links are followed, each folder is entered once; what begins with a dot is left out. A name that
    is not UTF-8 holds surrogates, as everywhere in Python.

    Raises:
      InputError: there is no such folder, or no such file in it.
    """
    if not os.path.isdir(path):
        raise InputError(f"--{flag}=folder:{path}: expected a folder; received no such folder")
    names = sorted(os.path.relpath(file, path) for file in _image_files(path))
    if not names:
        raise InputError(f"--{flag}=folder:{path}: expected {', '.join(SUFFIXES)} files; received none")
    return names


def file_paths(path: str, names: list[str]) -> list[bytes]:
    """Returns where the files called `names` lie, as TensorFlow takes it."""
    return [os.fsencode(os.path.join(path, name)) for name in names]


def class_names(names: list[str]) -> list[str] | None:
    """Returns the first folder of each name, or None unless all have one and two differ."""
    first = [name.split(os.sep, 1)[0] for name in names]
    in_folders = all(os.sep in name for name in names)
    return first if in_folders and len(set(first)) > 1 else None


def printable(name: str) -> str:
    r"""Returns a file's name as one line of UTF-8, and no other name's.

    `\xNN` stands for each byte that is no UTF-8 or that controls, and for a backslash.

    >>> print(printable("two\nlines"), printable("caf\udce9.png"), printable("caf\u00e9.png"))
    two\x0alines caf\xe9.png café.png
    """
    text = os.fsencode(name).replace(b"\\", rb"\x5c").decode("utf-8", "backslashreplace")
    return re.sub(r"[\x00-\x1f\x7f]", lambda control: f"\\x{ord(control[0]):02x}", text)


def picture(path: str | bytes) -> np.ndarray | None:
    """Returns the pixels, uint8 `[h, w, c]`, of an image file; None if it is gone or broken."""
    try:
        return decoding.decode(tf.io.read_file(os.fsencode(path))).numpy()
    except tf.errors.OpError:
        return None


def listed_picture(path: str, name: str) -> np.ndarray | None:
    """Returns the same for the file below `path` that is listed by the printable name `name`."""
    raw = re.sub(rb"\\x([0-9a-f]{2})", lambda byte: bytes([int(byte[1], 16)]), os.fsencode(name))
    return picture(os.path.join(os.fsencode(path), raw))


def failures(paths: list[bytes]) -> Iterator[str]:
    """Yields why each of these files cannot be decoded."""
    for path in paths:
        try:
            decoding.decode(tf.io.read_file(path))
            yield "no fault at the second attempt"
        except tf.errors.OpError as error:
            yield reason(error)


def check_broken_share(what: str, broken: list[str], whole: int) -> None:
    """Raises InputError if more than 1 % of `whole` files are broken, of these printable names."""
    if len(broken) > BROKEN_SHARE_LIMIT * whole:
        raise InputError(
            f"{what}: expected at most {BROKEN_SHARE_LIMIT:.0%} broken files; "
            f"received {len(broken)} of {whole}, the first {broken[0]}"
        )


class _Scan(NamedTuple):
    """What was found out by decoding every file once."""

    names: list[str]
    broken: list[str]
    images: np.ndarray | None
    digests: np.ndarray
    fingerprint: str


def _scan(path: str, names: list[str], preprocessing: Preprocessing | None) -> _Scan:
    """Decodes the files; keeps the images if `preprocessing` is given."""

    def examine(index, file):
        data = tf.io.read_file(file)
        pixels = preprocessing.decode(data) if preprocessing else tf.size(decoding.decode(data))
        return index, digest(data), pixels

    dataset = tf.data.Dataset.from_tensor_slices(file_paths(path, names)).enumerate()
    examined = dataset.map(examine, num_parallel_calls=tf.data.AUTOTUNE).ignore_errors()
    digests = np.zeros(len(names), np.int64)
    readable = np.zeros(len(names), bool)
    images = np.empty([len(names), *preprocessing.image_shape], np.uint8) if preprocessing else None
    progress = _ProgressLog(len(names))
    for indices, some_digests, values in examined.batch(_SCANNING_BATCH).as_numpy_iterator():
        digests[indices], readable[indices] = some_digests, True
        if images is not None:
            images[indices] = values
        progress.tell(int(indices[-1]) + 1)
    kept = [name for name, is_readable in zip(names, readable, strict=True) if is_readable]
    broken = [name for name, is_readable in zip(names, readable, strict=True) if not is_readable]
    digests = digests[readable]
    described = [os.fsencode(name) for name in kept], digests.tolist()
    fingerprint = hashlib.sha256(repr(described).encode()).hexdigest()
    if images is not None and broken:
        images = images[readable]
    return _Scan(kept, broken, images, digests, fingerprint)


def _check_broken(path: str, names: list[str], broken: list[str]) -> None:
    shown = [printable(name) for name in broken]
    for name, why in zip(shown, failures(file_paths(path, broken)), strict=True):
        _LOGGER.warning("left out, cannot be decoded: %s: %s", name, why)
    if broken:
        _LOGGER.warning("%d of %d files are left out", len(broken), len(names))
    check_broken_share(f"--dataset=folder:{path}", shown, len(names))


def links(root: str) -> list[str]:
    """Returns the links to folders below `root` that images are looked for in."""
    return [entry.path for entry, mode in _entries(root) if stat.S_ISDIR(mode) and entry.is_symlink()]


def _image_files(root: str) -> Iterator[str]:
    """Yields the image files below `root`; those in folders that links lead to come last."""
    for entry, mode in _entries(root):
        if stat.S_ISREG(mode) and entry.name.lower().endswith(SUFFIXES):
            yield entry.path


def _entries(root: str) -> Iterator[tuple[os.DirEntry, int]]:
    """Yields what lies below `root`, with its mode; what links to folders lead to comes last."""
    folders, links, entered = [root], [], set()
    while folders or links:
        folder = folders.pop() if folders else links.pop(0)
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in entered:
            continue
        entered.add((status.st_dev, status.st_ino))
        with os.scandir(folder) as entries:
            shown = [entry for entry in entries if not entry.name.startswith(".")]
        for entry in sorted(shown, key=lambda entry: entry.name):
            mode = _mode(entry)
            if stat.S_ISDIR(mode):
                (links if entry.is_symlink() else folders).append(entry.path)
            yield entry, mode


def _mode(entry: os.DirEntry) -> int:
    """Returns what the entry, or what it links to, is; a link to nothing counts as a broken file."""
    try:
        return entry.stat().st_mode
    except OSError:
        return stat.S_IFREG


def _labels(names: list[str]) -> np.ndarray | None:
    classes = class_names(names)
    return None if classes is None else np.unique(classes, return_inverse=True)[1]


def _hash_fraction(name: str) -> float:
    """Returns a number in [0, 1) that depends on the name alone."""
    return int(hashlib.sha256(os.fsencode(name)).hexdigest()[:8], 16) / 2**32


class _ProgressLog:
    """Logs now and then how many of `whole` files have been decoded."""

    def __init__(self, whole: int):
        self._whole = whole
        self._began = self._logged = time.monotonic()

    def tell(self, done: int) -> None:
        now = time.monotonic()
        if now - self._logged >= _SECONDS_BETWEEN_LOGS:
            rate = done / (now - self._began)
            _LOGGER.info("decoded %d of %d image files, %.0f/s", done, self._whole, rate)
            self._logged = now
