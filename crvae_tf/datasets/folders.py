"""A tree of image files."""

import contextlib
import io
import logging
import os
import re
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf
from PIL import Image

from crvae_tf.datasets.images import Images, spread
from crvae_tf.datasets.preprocessing import Preprocessing, decode, on_white
from crvae_tf.errors import InputError, reason

_LOGGER = logging.getLogger(__name__)

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".jxl")

_LEAVINGS = ("__macosx", "@eadir", "#recycle", "$recycle.bin", "lost+found", "thumbs", "thumbnails")
"""Folders that other programs create."""
_PARTS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
UNREADABLE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError, tf.errors.OpError)
"""What is raised for files that are broken, no images, or very large."""
_SHOWN = 20
_READERS = os.cpu_count() or 1


class FileImages(Images):
    """The image files below a folder, read and decoded on demand.

    Folders called `train`, `validation` and `test` are the user's own split, if there are no others;
    images beside them are left out. The folders directly below these, or below `path`, are classes, if
    there are two or more and every image lies in one. A single folder that holds all others is passed
    over. It follows links, but enters each folder once.

    Attributes:
      paths: the files' paths, as TensorFlow takes them.
      parts: `train`, `validation` or `test` for each image; None without such folders.

    Raises:
      InputError: there is no such folder, or it has no image; it names `argument`.
    """

    def __init__(self, path: str, preprocessing: Preprocessing, argument: str):
        if not os.path.isdir(path):
            raise InputError(argument, "an existing folder", f"folder:{path}")
        found, left_out = _files(path)
        if not found:
            others = f", with {_listed(left_out.most_common())}" if left_out else ""
            expected = f"a folder with {', '.join(SUFFIXES)} files"
            raise InputError(argument, expected, f"folder:{path}{others}")
        folders = [name.split(os.sep)[:-1] for name in found]
        kept, self.parts = _own_split(folders)
        left_out += Counter({"beside train and test": len(found) - len(kept)})
        found, folders = ([each[index] for index in kept] for each in (found, folders))
        self.preprocessing, self.num_images = preprocessing, len(found)
        self.origin = f"folder:{os.path.abspath(path)}"
        self.paths = [os.fsencode(os.path.join(path, name)) for name in found]
        self.names = [printable(name) for name in found]
        classes = [printable(folder[0]) if folder else "" for folder in folders]
        self.has_labels = len(set(classes)) > 1 and "" not in classes
        self._labels = np.full(len(found), -1)
        if self.has_labels:
            self.class_names, self._labels = np.unique(classes, return_inverse=True)
        _LOGGER.info("%s: %s", printable(self.origin), "; ".join(self._described(classes, left_out)))

    def _described(self, classes: list[str], left_out: Counter) -> Iterator[str]:
        """Yields a line on each thing found: the split, classes, other files."""
        if self.parts is not None:
            yield "your own split: " + _listed(sorted(Counter(self.parts.tolist()).items()))
        elif parts := [name for name in sorted(set(classes)) if _part([name])]:
            yield f"no split by {', '.join(parts)}: it takes train, and no other folders beside it"
        if self.has_labels:
            yield f"{len(self.class_names)} classes: {_listed(sorted(Counter(classes).items()))}"
        elif "" in classes:
            outside = self.names[classes.index("")]
            yield f"no classes: {classes.count('')} images lie outside class folders, such as {outside}"
        else:
            yield f"no classes: all images lie in the folder {classes[0]}"
        if left_out:
            yield "left out: " + _listed(left_out.most_common())
        if any(suffix in Image.registered_extensions() for suffix in left_out):
            yield "Pillow can convert some: Image.open(FILE).save(FILE + '.png')"

    def raw(self, limit):
        for index in spread(self.up_to(limit), self.num_images):
            with contextlib.suppress(*UNREADABLE), open(self.paths[index], "rb") as file:
                yield stored_pixels(file.read())

    def ranges(self, bounds):
        paths, labels = tf.constant(self.paths), tf.constant(self._labels, tf.int64)

        def read(index):
            return index, self.preprocessing.decode(tf.io.read_file(tf.gather(paths, index)))

        def batch(bound):
            images = tf.data.Dataset.range(bound[0], bound[1]).map(read).ignore_errors()
            return images.batch(bound[1] - bound[0])

        # A thread for each batch costs half of what a thread for each file does.
        batches = tf.data.Dataset.from_tensor_slices(np.array(bounds, np.int64)).interleave(
            batch, cycle_length=_READERS, num_parallel_calls=_READERS, deterministic=True
        )
        return batches.map(lambda indices, images: (indices, images, tf.gather(labels, indices)))

    def tell_broken(self, indices):
        for index in indices:
            why = "the second attempt succeeded"
            try:
                decode(tf.io.read_file(self.paths[index]))
            except tf.errors.OpError as error:
                why = reason(error)
            with contextlib.suppress(*UNREADABLE), Image.open(self.paths[index]) as image:
                why = f"{image.format} file: {why}"
            _LOGGER.warning("left out %s, which cannot be decoded: %s", self.names[index], why)
        if len(indices):
            _LOGGER.warning("%d of %d files are left out", len(indices), self.num_images)
        return [self.names[index] for index in indices]


def stored_pixels(data: bytes) -> np.ndarray:
    """Returns a file's pixels with all their bits, `[h, w, c]`; if c is 2 or 4, the last is alpha."""
    if data[1:4] == b"PNG" and data[24:25] == b"\x10":  # Of colours, Pillow reads 8 of 16 bits.
        return tf.io.decode_png(data, 4 if b"tRNS" in data else 0, tf.uint16).numpy()
    with warnings.catch_warnings(action="ignore"), Image.open(io.BytesIO(data)) as image:
        known = image.mode if image.mode in ("1", "L", "LA", "RGBA") else "RGB"
        return np.atleast_3d(image.convert("RGBA" if "transparency" in image.info else known))


def picture(path: str | bytes, brightest: float) -> np.ndarray | None:
    """Returns the pixels of an image file, uint8 `[h, w, c]`, or None if it is missing or broken.

    `brightest` is that of a `Preprocessing`.
    """
    try:
        pixels = on_white(decode(tf.io.read_file(os.fsencode(path)))).numpy()
        return np.minimum(pixels / brightest, 255).astype(np.uint8)
    except tf.errors.OpError:
        return None


def listed_picture(path: str, name: str, brightest: float) -> np.ndarray | None:
    """Returns the `picture` of the file below `path` whose printable name is `name`."""
    raw = re.sub(rb"\\x([0-9a-f]{2})", lambda byte: bytes([int(byte[1], 16)]), os.fsencode(name))
    return picture(os.path.join(os.fsencode(path), raw), brightest)


def stamp(path: str | bytes) -> tuple[int, int] | None:
    """Returns a file's size and time of writing, or None for a broken link."""
    with contextlib.suppress(OSError):
        status = os.stat(path)
        return status.st_size, status.st_mtime_ns


def printable(name: str) -> str:
    r"""Returns a file's name as one line of UTF-8, with `\xNN` for other bytes and for backslashes.

    >>> print(printable("two\nlines"), printable("caf\udce9.png"), printable("caf\u00e9.png"))
    two\x0alines caf\xe9.png café.png
    """
    text = os.fsencode(name).replace(b"\\", rb"\x5c").decode("utf-8", "backslashreplace")
    return re.sub(r"[\x00-\x1f\x7f]", lambda control: f"\\x{ord(control[0]):02x}", text)


def _own_split(folders: list[list[str]]) -> tuple[Sequence[int], np.ndarray | None]:
    """Returns the indices of the files in the user's own split and their parts, or of all and None.

    It removes the parts' folders, and one that holds all others, from `folders`.
    """
    _pass_over(folders, [None] * len(folders))
    parts = [_part(folder) for folder in folders]
    kept = [index for index, part in enumerate(parts) if part]
    is_split = "train" in parts and len(kept) == sum(map(bool, folders))
    if not is_split or (len(kept) < len(folders) and {*parts} == {"train", None}):
        return range(len(folders)), None
    for index in kept:
        folders[index].pop(0)
    of_kept = [parts[index] for index in kept]
    _pass_over([folders[index] for index in kept], of_kept)
    return kept, np.array(of_kept)


def _pass_over(folders: list[list[str]], parts: list[str | None]) -> None:
    """Removes folders that hold all others, if there is one in each part."""
    pairs = list(zip(parts, folders, strict=True))
    while min(map(len, folders)) > 1 and len({(part, f[0]) for part, f in pairs}) == len({*parts}):
        for folder in folders:
            folder.pop(0)


def _part(folder: list[str]) -> str | None:
    """Returns the part of a split that a folder is called after: `Test Set` or `test_images`, too."""
    return _PARTS.get(re.sub(r"[ _-]*(set|images|data)$", "", folder[0].lower())) if folder else None


def _files(root: str) -> tuple[list[str], Counter]:
    """Returns the sorted names of the image files, and counts of the other files by kind."""
    names, left_out, entered, roots = [], Counter(), set(), [root]

    def refused(error):
        left_out[f"unreadable {printable(os.path.relpath(error.filename, root))}/"] += 1

    for top in roots:  # Targets of links come last.
        for folder, below, files in os.walk(top, onerror=refused):
            real, place = os.path.realpath(folder), os.path.relpath(folder, root)
            if real in entered:
                below.clear()
                left_out[f"{printable(place)}/ (read before)"] += 1
                continue
            entered.add(real)
            below[:] = [name for name in below if not name.startswith(".")]
            roots += [path for name in below if os.path.islink(path := os.path.join(folder, name))]
            for file in files:
                kind = _kind(place, file)
                if kind in SUFFIXES:
                    names.append(os.path.normpath(os.path.join(place, file)))
                elif kind:
                    left_out[kind] += 1
    return sorted(names), left_out


def _kind(place: str, file: str) -> str | None:
    """Returns a file's suffix, or the other program's folder that it is in; None if it is hidden."""
    if file.startswith("."):
        return None
    leavings = [f"in {part}" for part in place.split(os.sep) if part.lower() in _LEAVINGS]
    return (leavings or [os.path.splitext(file)[1].lower() or "without suffix"])[0]


def _listed(counts: Sequence[tuple[str, int]]) -> str:
    more = f" and {len(counts) - _SHOWN} more" if len(counts) > _SHOWN else ""
    return ", ".join(f"{name} {count}" for name, count in counts[:_SHOWN]) + more
