"""Images in a fixed order, each known by its file or its index: what is embedded and searched.

A listing is read from anywhere, in batches, and never held in memory as a whole.
"""

import abc
import hashlib
import os
import tokenize
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from crvae_tf.datasets import folders, sources, tfds_source
from crvae_tf.datasets.preprocessing import Preprocessing
from crvae_tf.errors import InputError, check_choice

FILE, INDEX = "file", "index"
ARRAY_SUFFIX = ".npy"
DEFAULT_SPLIT = "train"
_CHECKED_ROWS = 256


class Batch(NamedTuple):
    """Some images of a listing."""

    rows: np.ndarray
    """int64 `[batch]`: their places in it, ascending."""
    labels: Sequence[str] | np.ndarray | None
    """Names or numbers of their classes; None where the listing has none."""
    images: np.ndarray
    """`[batch, H, W, C]`: uint8, or float32."""


class Listing(abc.ABC):
    """Images in a fixed order.

    Attributes:
      name: what the user calls it.
      key: `file` or `index`: what a row is known by.
      num_rows: how many images it lists.
      has_labels: whether they have a class.
      fingerprint: changes when the images do; of files of the user's, when their sizes or the times at
        which they were written do, since to read all of them would take too long.
    """

    key = INDEX

    def __init__(self, name: str, num_rows: int, has_labels: bool, fingerprint: str):
        self.name = name
        self.num_rows = num_rows
        self.has_labels = has_labels
        self.fingerprint = fingerprint

    @abc.abstractmethod
    def batches(self, groups: Sequence[range]) -> Iterator[Batch]:
        """Yields the images of each of these groups of rows as a batch, preprocessed.

        Broken files are left out, and batches of none.

        Args:
          groups: that follow one another, as `grouped` returns them.
        """

    def check_unchanged(self, rows: range) -> None:  # noqa: B027 - most are not files of the user's.
        """Raises InputError if the files that `rows` lie in have changed since they were listed.

        As for the fingerprint, that is seen by their sizes and times.
        """

    @abc.abstractmethod
    def picture(self, key: str | int) -> np.ndarray | None:
        """Returns an image to be looked at, uint8 `[h, w, c]`; None if it is gone.

        It is as it was before preprocessing, of the digits after it.
        """

    def keys(self, rows: Sequence[int]) -> Sequence[str] | np.ndarray:
        """Returns what `rows` are known by: file names or indices."""
        return np.asarray(rows, np.int64)

    def why_broken(self, rows: Sequence[int]) -> Iterator[str]:
        """Yields why each of `rows` cannot be read."""
        return iter(())


def grouped(rows: range, size: int) -> list[range]:
    """Returns rows in groups of `size`, the last of which may be smaller.

    >>> grouped(range(10, 15), 2)
    [range(10, 12), range(12, 14), range(14, 15)]
    """
    return [rows[start : start + size] for start in range(0, len(rows), size)]


def listing(
    name: str,
    preprocessing: Preprocessing,
    data_dir: str | None = None,
    split: str | None = None,
) -> Listing:
    """Returns the listing that a user calls `name`.

    Args:
      name: `folder:PATH`, the path of an array `.npy`, `digits` or the name of a TFDS image data set.
      preprocessing: that of the training; a data set of TFDS has its own and takes the size alone.
      data_dir: where TFDS keeps its data.
      split: of a data set; `train` where this is None.

    Raises:
      InputError: there is nothing of that name, or no image in it.
    """
    is_array = name.endswith(ARRAY_SUFFIX)
    if split and (is_array or name.startswith(sources.FOLDER_PREFIX)):
        raise InputError(f"--split: expected none with --input={name}; received {split}")
    if name.startswith(sources.FOLDER_PREFIX):
        return FolderListing(name.removeprefix(sources.FOLDER_PREFIX), preprocessing)
    if is_array:
        return ArrayListing(name, preprocessing)
    if name == sources.DIGITS:
        return DigitsListing(split or DEFAULT_SPLIT, preprocessing)
    return DatasetListing(name, data_dir, split or DEFAULT_SPLIT, preprocessing)


class FolderListing(Listing):
    """The image files below a folder, by name; their classes are the folders directly below it."""

    key = FILE

    def __init__(self, path: str, preprocessing: Preprocessing):
        names = folders.image_names(path, flag="input")
        stamps = [_stamp(os.path.join(path, name)) for name in names]
        described = repr([preprocessing, [os.fsencode(name) for name in names], stamps])
        fingerprint = hashlib.sha256(described.encode()).hexdigest()
        classes = folders.class_names(names)
        self._classes = classes and [folders.printable(name) for name in classes]
        name = sources.FOLDER_PREFIX + os.path.abspath(path)
        super().__init__(name, len(names), classes is not None, fingerprint)
        self._path = path
        self._names = names
        self._stamps = stamps
        self._preprocessing = preprocessing

    def batches(self, groups):
        names = [self._names[row] for rows in groups for row in rows]
        paths = tf.constant(folders.file_paths(self._path, names))
        rows = tf.constant(np.concatenate(groups))
        stops = np.cumsum([len(group) for group in groups])

        def read(row, path):
            return row, self._preprocessing.decode(tf.io.read_file(path))

        def batch(start, stop):
            numbered = tf.data.Dataset.from_tensor_slices((rows[start:stop], paths[start:stop]))
            images = numbered.map(read, num_parallel_calls=tf.data.AUTOTUNE).ignore_errors()
            return images.batch(stop - start)

        bounds = tf.data.Dataset.from_tensor_slices((np.append(0, stops[:-1]), stops))
        batches = bounds.interleave(batch, cycle_length=2, num_parallel_calls=2, deterministic=True)
        for read_rows, images in _prefetched(batches):
            labels = None if self._classes is None else [self._classes[row] for row in read_rows]
            yield Batch(read_rows, labels, images)

    def check_unchanged(self, rows):
        for row in rows:
            _check_stamp(os.path.join(self._path, self._names[row]), self._stamps[row])

    def keys(self, rows):
        return [folders.printable(self._names[row]) for row in rows]

    def picture(self, key):
        return folders.listed_picture(self._path, key)

    def why_broken(self, rows):
        return folders.failures(folders.file_paths(self._path, [self._names[row] for row in rows]))


class ArrayListing(Listing):
    """The images of a file `.npy`.

    uint8 `[N, h, w]` or `[N, h, w, c]` are preprocessed as files are; float32 or float64
    `[N, H, W, C]` in [0, 1] are taken as they are.
    """

    def __init__(self, path: str, preprocessing: Preprocessing):
        self._path = path
        self._stamp = _stamp(path)
        self._array = _opened(path)
        self._preprocessing = preprocessing
        self._preprocess = tf.function(preprocessing, reduce_retracing=True, autograph=False)
        self._check(preprocessing.image_shape)
        self._check_values()
        described = repr([preprocessing, self._array.shape, self._array.dtype.str, self._stamp])
        fingerprint = hashlib.sha256(described.encode()).hexdigest()
        super().__init__(os.path.abspath(path), len(self._array), False, fingerprint)

    def batches(self, groups):
        for rows in groups:
            images = self._read(rows)
            if images.dtype == np.uint8 and not self._preprocessing.keeps(images.shape[1:]):
                images = self._preprocess(images).numpy()
            yield Batch(np.array(rows), None, images)

    def check_unchanged(self, rows):
        _check_stamp(self._path, self._stamp)

    def picture(self, key):
        image = self._read(range(key, key + 1))[0]
        return image if image.dtype == np.uint8 else np.round(255.0 * image).astype(np.uint8)

    def _read(self, rows: range) -> np.ndarray:
        """Returns the images of `rows`, uint8 or float32 `[batch, h, w, c]`."""
        self.check_unchanged(rows)  # What was cut off a mapped file must not be looked at.
        array = self._array
        if rows.step == 1 and array.flags.c_contiguous:
            # Pages of a memory map that were read would count as this process' memory.
            size = len(rows) * int(np.prod(array.shape[1:]))
            start = array.offset + rows.start * array[:1].nbytes
            images = np.fromfile(self._path, array.dtype, size, offset=start)
            images = images.reshape(len(rows), *array.shape[1:])
        else:
            images = np.array(array[rows.start : rows.stop : rows.step])
        with np.errstate(over="ignore"):  # What is too large becomes infinite, and is refused.
            images = images if images.dtype == np.uint8 else images.astype(np.float32, copy=False)
        return images[..., np.newaxis] if images.ndim == 3 else images

    def _check(self, image_shape: tuple[int, int, int]) -> None:
        array = self._array
        channels = array.shape[3] if array.ndim == 4 else 1
        is_bytes = array.dtype == np.uint8 and array.ndim in (3, 4) and channels in (1, 3)
        shape = (*array.shape[1:3], channels)
        is_float = array.dtype in (np.float32, np.float64) and shape == image_shape
        if array.size == 0 or not (is_bytes or is_float):
            wanted = ", ".join(map(str, image_shape))
            raise InputError(
                f"--input={self._path}: expected uint8 [N, h, w] or [N, h, w, 1 or 3], or float32 "
                f"[N, {wanted}]; received {array.dtype} {list(array.shape)}"
            )

    def _check_values(self) -> None:
        """Raises InputError for floats outside [0, 1], before anything is made of those in front."""
        rows = range(len(self._array) if self._array.dtype != np.uint8 else 0)
        for start in range(0, len(rows), _CHECKED_ROWS):
            images = self._read(rows[start : start + _CHECKED_ROWS])
            inside = ((images >= 0.0) & (images <= 1.0)).reshape(len(images), -1)
            if not inside.all():
                row = int(np.argmin(inside.all(axis=1)))
                value = images[row].reshape(-1)[np.argmin(inside[row])]
                raise InputError(
                    f"--input={self._path}: expected values in [0, 1]; received {value} in the image "
                    f"{start + row}"
                )


class DigitsListing(Listing):
    """A split of scikit-learn's digits."""

    def __init__(self, split: str, preprocessing: Preprocessing):
        data = sources.load(sources.DIGITS, None, preprocessing.image_size, preprocessing.channels)
        parts = {"train": data.train, "test": data.test}
        check_choice("--split", split, parts)
        whole = parts[split].batches(parts[split].num_images)
        _, self._images, self._labels = next(whole.as_numpy_iterator())
        fingerprint = f"{data.fingerprint} {split} {preprocessing.image_shape}"
        super().__init__(sources.DIGITS, len(self._images), True, fingerprint)

    def batches(self, groups):
        for rows in map(np.array, groups):
            yield Batch(rows, self._labels[rows], self._images[rows])

    def picture(self, key):
        return self._images[key]


class DatasetListing(Listing):
    """A split of a data set of TFDS, in the order in which it is stored."""

    def __init__(self, name: str, data_dir: str | None, split: str, preprocessing: Preprocessing):
        self._preprocessing = sources.tfds_preprocessing(
            name, preprocessing.image_size, preprocessing.channels
        )
        self._split = tfds_source.StoredSplit(name, data_dir, split)
        fingerprint = f"{self._split.fingerprint} {self._preprocessing}"
        super().__init__(name, self._split.num_images, self._split.has_labels, fingerprint)

    def batches(self, groups):
        first, step = groups[0].start, groups[0].step
        examples = self._split.examples(first, groups[-1].stop).enumerate(first)
        if step > 1:
            examples = examples.filter(lambda row, _: (row - first) % step == 0)
        sizes = [len(group) for group in groups]
        for read_rows, (images, labels) in _prefetched(self._preprocessed(examples, sizes)):
            yield Batch(read_rows, labels if self.has_labels else None, images)

    def picture(self, key):
        return next(image for image, _ in self._split.examples(key, key + 1).as_numpy_iterator())

    def _preprocessed(self, examples: tf.data.Dataset, sizes: Sequence[int]) -> tf.data.Dataset:
        """Returns batches of these sizes, preprocessed as a whole where all images have one size."""

        def preprocess(row, example):
            image, label = example
            return row, (self._preprocessing(image), label)

        image, _ = examples.element_spec[1]
        if image.shape.is_fully_defined():
            batches = examples.batch(1).rebatch(sizes)
            return batches.map(preprocess, num_parallel_calls=tf.data.AUTOTUNE)
        images = examples.map(preprocess, num_parallel_calls=tf.data.AUTOTUNE)
        return images.batch(1).rebatch(sizes)


def _prefetched(dataset: tf.data.Dataset) -> Iterator:
    return iter(dataset.prefetch(tf.data.AUTOTUNE).as_numpy_iterator())


def _opened(path: str) -> np.ndarray:
    try:
        with np.errstate(over="ignore"):  # Of a size that the header claims.
            return np.lib.format.open_memmap(path, mode="r")
    except (OSError, ValueError, TypeError, OverflowError, tokenize.TokenError) as error:
        raise InputError(
            f"--input={path}: expected an array of images as numpy.save writes it; received "
            f"{'another file' if os.path.exists(path) else 'no such file'}"
        ) from error


def _check_stamp(path: str, stamp: tuple[int, int] | None) -> None:
    if _stamp(path) != stamp:
        raise InputError(
            f"{folders.printable(path)}: expected a file that stays as it is while it is embedded; "
            "received one that was changed"
        )


def _stamp(path: str) -> tuple[int, int] | None:
    """Returns a file's size and when it was written; None where a link leads nowhere or to itself."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns
