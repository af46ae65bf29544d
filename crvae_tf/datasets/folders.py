"""A tree of image files."""

import logging
import os
import re
from collections import Counter
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from PIL import Image

from crvae_tf.datasets import decoding
from crvae_tf.datasets.images import Images, spread
from crvae_tf.datasets.preprocessing import Preprocessing, on_white
from crvae_tf.errors import InputError, reason

_LOGGER = logging.getLogger(__name__)

SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".jxl")
BROKEN_SHARE_LIMIT = 0.01

_LEAVINGS = ("__macosx", "@eadir", "#recycle", "$recycle.bin", "lost+found", "thumbs", "thumbnails")
"""Folders of other programs."""
_PARTS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("validation", "valid", "val", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}
_KINDS = {
    b"\0\0\0\x0cjP": "JPEG 2000", b"\xff\x4f\xff\x51": "JPEG 2000",
    b"II*\0": "TIFF", b"MM\0*": "TIFF", b"8BPS": "Photoshop", b"%PDF": "PDF",
}  # fmt: skip
_SHOWN = 20


class FileImages(Images):
    """The image files below a folder, which are read and decoded as they are needed.

    Folders called `train`, `validation` and `test` are the user's own split where nothing lies beside
    them. The folders directly below these, or below `path`, are classes where there are two or more and
    no image lies beside them. Links are followed, each folder is entered once; what begins with a dot
    and what other programs left behind is no image.

    Args:
      path: of the folder.
      preprocessing: see `Images`.
      argument: that errors name.

    Attributes:
      paths: where the files lie, as TensorFlow takes it.
      parts: `train`, `validation` or `test` for each image; None where the user made no such folders.

    Raises:
      InputError: there is no such folder, or no image in it.
    """

    def __init__(self, path: str, preprocessing: Preprocessing, argument: str):
        self.preprocessing, self._argument = preprocessing, argument
        if not os.path.isdir(path):
            raise InputError(argument, "a folder that is there", f"folder:{path}")
        found, left_out = _files(path)
        if not found:
            others = f", with {_listed(left_out.most_common())}" if left_out else ""
            expected = f"a folder with {', '.join(SUFFIXES)} files"
            raise InputError(argument, expected, f"folder:{path}{others}")
        self.num_images, self.origin = len(found), f"folder:{os.path.abspath(path)}"
        self.paths = [os.fsencode(os.path.join(path, name)) for name in found]
        self.names = [printable(name) for name in found]
        folders = [name.split(os.sep)[:-1] for name in self.names]
        tops = {folder[0].lower() if folder else "" for folder in folders}
        self.parts = None
        if "train" in {_PARTS.get(top) for top in tops} and tops <= set(_PARTS):
            self.parts = np.array([_PARTS[folder.pop(0).lower()] for folder in folders])
        classes = {folder[0] if folder else "" for folder in folders}
        self.has_labels, labels = len(classes) > 1 and "" not in classes, np.full(len(found), -1)
        if self.has_labels:
            self.class_names, labels = np.unique([folder[0] for folder in folders], return_inverse=True)
        self._labels = labels.astype(np.int64)
        _LOGGER.info("%s", self._described(folders, left_out))

    def _described(self, folders: list[list[str]], left_out: Counter) -> str:
        sizes = sorted({image.size for image in self._opened(1000)}, key=np.prod)
        ends = " to ".join(f"{width}x{height}" for width, height in sizes[:: max(len(sizes) - 1, 1)])
        outside = [name for name, folder in zip(self.names, folders, strict=True) if not folder]
        told = [f"{printable(self.origin)}: {self.num_images} images of {ends} pixels"]
        if self.has_labels:
            told.append(f"{len(self.class_names)} classes: " + _listed(self.class_counts()))
        elif outside:
            told.append(f"no classes: {len(outside)} lie in no class's folder, as {outside[0]} does")
        else:
            told.append(f"no classes: all lie in the folder {folders[0][0]}")
        if left_out:
            told.append("left out: " + _listed(left_out.most_common()))
        if any(suffix in Image.registered_extensions() for suffix in left_out):
            told.append("Pillow converts what it reads: Image.open(FILE).save(FILE + '.png')")
        return "; ".join(told)

    def class_counts(self) -> list[tuple[str, int]]:
        """Returns how many images there are of each class."""
        return list(zip(self.class_names, np.bincount(self._labels), strict=True))

    def _opened(self, limit: int | None):
        number = self.num_images if limit is None else min(limit, self.num_images)
        for index in spread(number, self.num_images):
            try:
                with Image.open(self.paths[index]) as image:
                    yield image
            except OSError:  # It is broken, or of a kind that TensorFlow alone reads.
                continue

    def raw(self, limit):
        for image in self._opened(limit):
            try:
                pixels = np.atleast_3d(image.convert("RGB") if image.mode == "P" else image)
            except OSError:
                continue
            yield pixels.astype(np.uint16) if image.mode == "I" else pixels  # Of older Pillows.

    def ranges(self, bounds):
        paths, labels = tf.constant(self.paths), tf.constant(self._labels)

        def read(index):
            data = tf.io.read_file(tf.gather(paths, index))
            return index, self.preprocessing.decode(data), tf.gather(labels, index)

        def batch(bound):
            images = tf.data.Dataset.range(bound[0], bound[1])
            images = images.map(read, num_parallel_calls=tf.data.AUTOTUNE).ignore_errors()
            return images.batch(bound[1] - bound[0])

        dataset = tf.data.Dataset.from_tensor_slices(np.array(bounds, np.int64))
        return dataset.interleave(batch, cycle_length=2, num_parallel_calls=2, deterministic=True)

    def check_read(self, indices):
        broken = np.setdiff1d(np.arange(self.num_images), indices)
        if len(broken):
            _LOGGER.warning("%d of %d files are left out", len(broken), self.num_images)
        check_broken_share(self.tell_broken(broken), self.num_images, self._argument)

    def tell_broken(self, indices: Sequence[int]) -> list[str]:
        """Logs why each of these files cannot be decoded, and returns their names."""
        for index in indices:
            told = "left out, cannot be decoded: %s: %s"
            _LOGGER.warning(told, self.names[index], _why_broken(self.paths[index]))
        return [self.names[index] for index in indices]


def check_broken_share(names: Sequence[str], whole: int, argument: str) -> None:
    """Raises InputError if the broken files `names` are more than 1 % of `whole` files."""
    if len(names) > BROKEN_SHARE_LIMIT * whole:
        expected = f"a folder with at most {BROKEN_SHARE_LIMIT:.0%} broken files"
        raise InputError(argument, expected, f"{len(names)} of {whole}, the first {names[0]}")


def picture(path: str | bytes) -> np.ndarray | None:
    """Returns the pixels, uint8 `[h, w, c]`, of an image file; None if it is gone or broken."""
    try:
        return on_white(decoding.decode(tf.io.read_file(os.fsencode(path)))).numpy()
    except tf.errors.OpError:
        return None


def listed_picture(path: str, name: str) -> np.ndarray | None:
    """Returns the same for the file below `path` that is listed by the printable name `name`."""
    raw = re.sub(rb"\\x([0-9a-f]{2})", lambda byte: bytes([int(byte[1], 16)]), os.fsencode(name))
    return picture(os.path.join(os.fsencode(path), raw))


def printable(name: str) -> str:
    r"""Returns a file's name as one line of UTF-8, and no other name's.

    `\xNN` stands for each byte that is no UTF-8 or that controls, and for a backslash.

    >>> print(printable("two\nlines"), printable("caf\udce9.png"), printable("caf\u00e9.png"))
    two\x0alines caf\xe9.png café.png
    """
    text = os.fsencode(name).replace(b"\\", rb"\x5c").decode("utf-8", "backslashreplace")
    return re.sub(r"[\x00-\x1f\x7f]", lambda control: f"\\x{ord(control[0]):02x}", text)


def _files(root: str) -> tuple[list[str], Counter]:
    """Returns the sorted names of the image files, and how many others there are of which kind."""
    names, left_out, entered, roots = [], Counter(), set(), [root]
    for top in roots:  # What links lead to comes last.
        for folder, below, files in os.walk(top):
            real, place = os.path.realpath(folder), os.path.relpath(folder, root)
            below[:] = [name for name in below if not name.startswith(".") and real not in entered]
            roots += [path for name in below if os.path.islink(path := os.path.join(folder, name))]
            for file in files if real not in entered else ():
                kind = _kind(place, file)
                if kind in SUFFIXES:
                    names.append(os.path.normpath(os.path.join(place, file)))
                elif kind:
                    left_out[kind] += 1
            entered.add(real)
    return sorted(names), left_out


def _kind(place: str, file: str) -> str | None:
    """Returns the suffix of a file, or the folder of leavings that it is in; None for a hidden file."""
    if file.startswith("."):
        return None
    leavings = [f"in {part}" for part in place.split(os.sep) if part.lower() in _LEAVINGS]
    return (leavings or [os.path.splitext(file)[1].lower() or "without suffix"])[0]


def _listed(counts: Sequence[tuple[str, int]]) -> str:
    more = f" and {len(counts) - _SHOWN} more" if len(counts) > _SHOWN else ""
    return ", ".join(f"{name} {count}" for name, count in counts[:_SHOWN]) + more


def _why_broken(path: bytes) -> str:
    try:
        data = tf.io.read_file(path)
        for mark, kind in _KINDS.items():
            if data.numpy().startswith(mark):
                return f"a {kind} file, which TensorFlow does not decode"
        decoding.decode(data)
    except tf.errors.OpError as error:
        return reason(error)
    return "no fault at the second attempt"
