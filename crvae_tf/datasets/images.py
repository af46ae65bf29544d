"""Images in a fixed order; an image's index is its place in it."""

import abc
import copy
import dataclasses
import hashlib
import logging
import math
import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import tensorflow as tf

from crvae_tf.datasets.preprocessing import Preprocessing
from crvae_tf.errors import InputError, reason

_LOGGER = logging.getLogger(__name__)

NO_LABEL = -1
MEMORY_LIMIT = 2**30
"""Larger data sets, in bytes, go to a temporary file."""
BROKEN_SHARE_LIMIT = 0.01
_ARRAY_TYPES = ("uint8", "uint16", "bool", "float16", "float32", "float64")
_BATCH, _SAMPLED = 64, 1000
_ROUNDING = 1e-3
"""Floats may be this far outside [0, 1]."""
_DARK = 0.1
"""Images look black if their brightest pixel is below this share of their type's range."""


class Images(abc.ABC):
    """Images in a fixed order.

    Attributes:
      num_images: the number of images.
      preprocessing: applied to each image; None if they are preprocessed.
      has_labels: whether the images have classes.
      class_names: the classes' names by label, or None if they have only numbers.
      names: the files' names, or None if images are not files.
      origin: the user's name for the data.
      fingerprint: changes when the images change.
    """

    num_images: int
    has_labels: bool
    preprocessing: Preprocessing | None = None
    class_names: Sequence[str] | None = None
    names: Sequence[str] | None = None
    origin = fingerprint = ""

    @abc.abstractmethod
    def raw(self, limit: int | None) -> Iterable[np.ndarray]:
        """Returns images, or batches, before preprocessing: `limit` images, or all."""

    @abc.abstractmethod
    def ranges(self, bounds: Sequence[tuple[int, int]]) -> tf.data.Dataset:
        """Returns a batch for each (start, stop) of the ascending `bounds`.

        It leaves out images that cannot be read, and empty batches.

        Returns:
          A data set of (indices int64 `[batch]`, images uint8 `[batch, H, W, C]`, labels int64
          `[batch]`, `NO_LABEL` for images without a class).
        """

    def batches(self, batch_size: int) -> tf.data.Dataset:
        """Returns all images once, in order; see `ranges`."""
        return self.ranges(grouped(range(self.num_images), batch_size))

    def read(self, bounds: Sequence[tuple[int, int]]) -> Iterator[tuple[np.ndarray, ...]]:
        """Yields the batches of `ranges`; raises InputError if an image that is no file is broken."""
        try:
            yield from self.ranges(bounds).prefetch(2).as_numpy_iterator()
        except tf.errors.InvalidArgumentError as error:
            raise InputError(self.origin, "images that TensorFlow decodes", reason(error)) from error

    def up_to(self, limit: int | None) -> int:
        """Returns the number of images, at most `limit`; None means no limit."""
        return self.num_images if limit is None else min(limit, self.num_images)

    def tell_broken(self, indices: np.ndarray) -> list[str]:
        """Logs why the files at `indices` cannot be read, and returns their names."""
        return []

    def examined(self, argument: str, stretch: bool = False) -> Preprocessing:
        """Logs the sizes, and the types of image that look black. Returns the preprocessing.

        With `stretch`, the brightest pixel becomes white if images of one type look black.

        Raises:
          InputError: some floats are outside [0, 1]; it names `argument`.
        """
        preprocessing, found = self.preprocessing, self._brightest(argument)
        for kind, share in found.items():
            told = f"the brightest pixel of {kind} is {share:.2%} of its type's range"
            if share and share < _DARK and stretch and len(found) == 1:
                _LOGGER.warning("%s: %s; all images are stretched to white", self.origin, told)
                return dataclasses.replace(preprocessing, brightest=share)
            if share < _DARK * preprocessing.brightest:
                _LOGGER.warning("%s: %s; these look black", self.origin, told)
            if share > 2.0 * preprocessing.brightest:
                limit = f"all above {preprocessing.brightest:.2%} is white, as in training"
                _LOGGER.warning("%s: %s; %s", self.origin, told, limit)
        return preprocessing

    def _brightest(self, argument: str) -> dict[str, float]:
        """Logs the sizes. Returns the brightest value of each type, as a share of its range."""
        for limit in (_SAMPLED, None):
            found, sizes = Counter(), set()
            for image in self.raw(limit):
                found[image.dtype.name] = max(found[image.dtype.name], self._share(image, argument))
                sizes.add(image.shape[-2:-4:-1])
            if all(share >= _DARK and "float" not in kind for kind, share in found.items()):
                break  # All images are read only if the sample is dark or has floats.
        ends = sorted(sizes, key=math.prod)[:: max(len(sizes) - 1, 1)]
        told = " to ".join(f"{width}x{height}" for width, height in ends)
        _LOGGER.info("%s: %d images of %s pixels", self.origin, self.num_images, told)
        return found

    def _share(self, image: np.ndarray, argument: str) -> float:
        low, high = float(image.min()), float(image.max())
        if image.dtype.kind == "f" and not (low >= -_ROUNDING and high <= 1.0 + _ROUNDING):
            received = f"{self.origin}, with {low:g} to {high:g}"
            raise InputError(argument, "float images in [0, 1]", received)
        scale = np.iinfo(image.dtype).max if image.dtype.kind == "u" else 1.0
        if image.shape[-1] % 2:
            return high / scale
        ground_is_seen = image[..., -1].min() < scale
        return 1.0 if ground_is_seen else float(image[..., :-1].max()) / scale  # The ground is white.


class ArrayImages(Images):
    """Images in an array, fetched by index: models train and are evaluated on these.

    Args:
      stored: `[num_images, h, w, c]`; uint8 without a preprocessing. A memory map stays one.
      labels: integers `[num_images]`, or None.

    Attributes:
      image_shape: (H, W, C) of each preprocessed image.

    Raises:
      InputError: there is no image, or a type or a shape is wrong.
    """

    def __init__(
        self,
        stored: np.ndarray,
        labels: np.ndarray | None = None,
        preprocessing: Preprocessing | None = None,
    ):
        if len(stored) < 1 or stored.ndim != 4 or (stored.dtype != np.uint8 and not preprocessing):
            received = f"{stored.dtype} {list(stored.shape)}"
            raise InputError("images", "uint8 [N, H, W, C], N >= 1", received)
        self.num_images, self.preprocessing = len(stored), preprocessing
        self.image_shape = preprocessing.image_shape if preprocessing else stored.shape[1:]
        self.has_labels = labels is not None
        self._stored = stored if isinstance(stored, np.memmap) else tf.constant(stored)
        labels = np.asarray(labels) if self.has_labels else np.full(len(stored), NO_LABEL)
        if labels.shape != (len(stored),) or labels.dtype.kind not in "iu":
            received = f"{labels.dtype} {list(labels.shape)}"
            raise InputError("labels", f"integers [{len(stored)}]", received)
        self._labels = tf.constant(labels, tf.int64)
        self._places = tf.range(len(stored), dtype=tf.int64)

    @property
    def num_classes(self) -> int:
        """How many classes the images have; 0 without labels."""
        return len({*self._labels.numpy()} - {NO_LABEL})

    def subset(self, indices: np.ndarray) -> "ArrayImages":
        """Returns the images at `indices`, with new indices from 0 on."""
        part = copy.copy(self)
        part.num_images = len(indices)
        part._places, part._labels = (tf.gather(each, indices) for each in (self._places, self._labels))
        return part

    def steps_per_epoch(self, batch_size: int) -> int:
        """Returns the number of batches that hold every image once; the last may be short."""
        return math.ceil(self.num_images / batch_size)

    def sample(self, limit: int | None) -> "ArrayImages":
        """Returns a fixed sample of `limit` images, spread over the whole; all if it is None."""
        return self.subset(spread(self.up_to(limit), self.num_images))

    def hold_out(self, indices: np.ndarray) -> tuple["ArrayImages", "ArrayImages"]:
        """Returns all images except those at `indices`, and these."""
        return self.subset(np.setdiff1d(np.arange(self.num_images), indices)), self.subset(indices)

    def raw(self, limit):
        stored, places = np.asarray(self._stored), self._places.numpy()[:limit]
        return (stored[places[slice(*bound)]] for bound in grouped(range(len(places)), _BATCH))

    def hashes(self) -> list[int]:
        """Returns a number for each image; equal images have equal numbers in this process."""
        return [hash(image.tobytes()) for batch in self.raw(None) for image in batch]

    def fetch(self, indices: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns (images, labels) at `indices` `[batch]`."""
        places, stored = tf.gather(self._places, indices), self._stored
        if isinstance(stored, np.memmap):
            dtype = stored.dtype.newbyteorder("=")
            images = tf.numpy_function(lambda rows: stored[rows].astype(dtype), [places], dtype)
            images = tf.ensure_shape(images, [None, *stored.shape[1:]])
        else:
            images = tf.gather(stored, places)
        images = self.preprocessing(images) if self.preprocessing else images
        return images, tf.gather(self._labels, indices)

    def ranges(self, bounds):
        def batch(bound):
            indices = tf.range(bound[0], bound[1])
            return indices, *self.fetch(indices)

        dataset = tf.data.Dataset.from_tensor_slices(np.array(bounds, np.int64))
        return dataset.map(batch, num_parallel_calls=tf.data.AUTOTUNE)


@dataclasses.dataclass(frozen=True)
class ImageData:
    """A data set, ready for training; its fingerprint changes when the data change."""

    name: str
    train: ArrayImages
    test: ArrayImages
    validation: ArrayImages | None
    preprocessing: Preprocessing
    fingerprint: str


def digits(preprocessing: Preprocessing) -> dict[str, ArrayImages]:
    """Returns scikit-learn's digits in MNIST's format: 20 pixels high in a 28-pixel frame.

    A fifth of each class are test images, 360 in all.
    """
    from sklearn.datasets import load_digits  # Its import takes longer than most folders.
    from sklearn.model_selection import train_test_split

    scans, labels = load_digits(return_X_y=True)
    levels = tf.constant(scans.reshape(-1, 8, 8, 1) / 16.0 * 255.0)
    enlarged = tf.image.resize(levels, [20, 20], method="bicubic")
    enlarged = tf.saturate_cast(tf.round(enlarged), tf.uint8)
    framed = tf.image.pad_to_bounding_box(enlarged, 4, 4, 28, 28).numpy()
    whole = ArrayImages(framed, labels, preprocessing)
    stored = preprocessing(framed).numpy().tobytes() + labels.tobytes()
    whole.origin, whole.fingerprint = "digits", hashlib.sha256(stored).hexdigest()
    places = train_test_split(np.arange(len(labels)), test_size=360, stratify=labels, random_state=0)
    return dict(zip(("train", "test"), map(whole.subset, places), strict=True))


def opened_array(path: str, argument: str) -> np.memmap:
    """Returns the images of a `.npy` file, `[N, h, w, c]`."""
    expected = "an array of images, [N, h, w] or [N, h, w, 1 to 4], of uint8, uint16, bool or floats"
    try:
        array = np.lib.format.open_memmap(path, mode="r")
    except Exception as error:  # A damaged header may raise anything.
        received = "another file" if os.path.exists(path) else "no such file"
        raise InputError(argument, expected, f"{path}, {received}") from error
    shape, is_one = list(array.shape), array.shape[2:] in ((1,), (3,), (4,))
    if is_one:
        _LOGGER.warning("%s: reading %s as one image", path, shape)
    if array.ndim == 3:
        array = array[np.newaxis] if is_one else array[..., np.newaxis]
    if array.ndim != 4 or not array.size or array.shape[3] > 4 or array.dtype.name not in _ARRAY_TYPES:
        raise InputError(argument, expected, f"{path}, {array.dtype} {shape}")
    return array


def kept(images: Images) -> tuple[ArrayImages, np.ndarray]:
    """Preprocesses images into memory or a temporary file; returns them with the indices read."""
    shape = (images.num_images, *images.preprocessing.image_shape)
    if math.prod(shape) <= MEMORY_LIMIT:
        pixels = np.empty(shape, np.uint8)
    else:
        pixels = np.memmap(tempfile.TemporaryFile(), np.uint8, "w+", shape=shape)  # noqa: SIM115
    read, labels = np.zeros((2, images.num_images), np.int64)
    end = 0
    for batch in images.read(grouped(range(images.num_images), _BATCH)):
        rows = slice(end, end := end + len(batch[0]))
        read[rows], pixels[rows], labels[rows] = batch
    read = read[:end]
    broken = images.tell_broken(np.setdiff1d(np.arange(images.num_images), read))
    check_broken_share(broken, images.num_images, "dataset")
    made = ArrayImages(pixels[:end], labels[:end] if images.has_labels else None)
    made.class_names, made.origin = images.class_names, images.origin
    return made, read


def with_test(parts: dict[str, ArrayImages], test_fraction: float) -> dict[str, ArrayImages]:
    """Returns the parts with test images: if there are none, validation or some training images."""
    if "test" in parts:
        return parts
    if "validation" in parts:
        _LOGGER.info("no test images: testing on the validation images")
        return {"train": parts["train"], "test": parts["validation"]}
    whole = parts["train"]
    places = spread(round(test_fraction * whole.num_images), whole.num_images)
    if whole.names:
        digests = (hashlib.sha256(name.encode()).hexdigest() for name in whole.names)
        fractions = np.array([int(digest[:8], 16) / 2**32 for digest in digests])
        least = np.sort(fractions)[: min(2, whole.num_images - 1)]  # Two, unless there are only two.
        places = np.flatnonzero(fractions <= max([test_fraction, *least]))
    if not 0 < len(places) < whole.num_images:
        expected = f"enough images to hold out {test_fraction:g} of them for testing"
        raise InputError("dataset", expected, f"{whole.origin}, with {whole.num_images}")
    _LOGGER.info("held out %d of %d images for testing", len(places), whole.num_images)
    return dict(zip(("train", "test"), whole.hold_out(places), strict=True))


def fingerprint_of(parts: dict[str, ArrayImages]) -> str:
    """Returns a number of the images, labels and names of a data set's parts."""
    digest = hashlib.sha256()
    for part, images in sorted(parts.items()):
        digest.update(repr((np.str_(part), images.names)).encode())  # As always: it tells runs apart.
        for _, pixels, labels in images.batches(1000).as_numpy_iterator():
            digest.update(pixels.tobytes() + labels.tobytes())
    return digest.hexdigest()


def check_broken_share(names: Sequence[str], whole: int, argument: str) -> None:
    """Raises InputError if more than 1 % of `whole` files are broken: those called `names`."""
    if len(names) > BROKEN_SHARE_LIMIT * whole:
        expected = f"a folder with at most {BROKEN_SHARE_LIMIT:.0%} broken files"
        raise InputError(argument, expected, f"{len(names)} of {whole}, the first {names[0]}")


def grouped(rows: range, size: int) -> list[tuple[int, int]]:
    """Returns the (start, stop) of each group of `size` rows; the last may be smaller."""
    return [(start, min(start + size, rows.stop)) for start in range(rows.start, rows.stop, size)]


def spread(number: int, whole: int) -> np.ndarray:
    """Returns `number` ascending indices below `whole`: one drawn from each of `number` equal parts."""
    bounds = np.arange(number + 1) * whole // max(number, 1)
    drawn = np.random.default_rng(0).random(number)
    return bounds[:-1] + (drawn * np.diff(bounds)).astype(np.int64)
