"""Splits of a data set: preprocessed uint8 images in batches, in order or shuffled.

Images are known by their index, the position in the split's own order. In training, batch `step` of
`epoch` is a function of (seed, epoch, step), so that a run can begin again anywhere.
"""

import abc
import math
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from crvae_tf import randomness
from crvae_tf.datasets.preprocessing import Preprocessing
from crvae_tf.errors import IMAGE_CHANGED, InputError
from crvae_tf.randomness import Purpose

NO_LABEL = -1
MEMORY_LIMIT = 2**30
"""A split of more bytes than this is streamed."""

_SHUFFLED_TOGETHER = 10_000


class Split(abc.ABC):
    """Some images of a data set.

    Attributes:
      num_images: how many there are, 1 or more.
      image_shape: (H, W, C) of each.
      has_labels: whether the images have a class.
    """

    def __init__(self, num_images: int, image_shape: tuple[int, int, int], has_labels: bool):
        if num_images < 1:
            raise InputError(f"images: expected 1 or more; received {num_images}")
        self.num_images = num_images
        self.image_shape = image_shape
        self.has_labels = has_labels

    def steps_per_epoch(self, batch_size: int) -> int:
        """Returns the number of batches that hold every image once; the last may be short."""
        return math.ceil(self.num_images / batch_size)

    def first(self, limit: int | None) -> int:
        """Returns how many images there are up to a limit; None is no limit."""
        return self.num_images if limit is None else min(limit, self.num_images)

    @abc.abstractmethod
    def batches(self, batch_size: int, limit: int | None = None) -> tf.data.Dataset:
        """Returns the first `limit` images once, in order; all where that is None.

        Returns:
          A data set of (indices int64 `[batch]`, images uint8 `[batch, H, W, C]`, labels int64
          `[batch]`, `NO_LABEL` where there is none).
        """

    @abc.abstractmethod
    def shuffled_batches(
        self, batch_size: int, seed: int, epochs: range, first_step: int = 0
    ) -> tf.data.Dataset:
        """Returns every image once an epoch, each epoch in an order of its own.

        Args:
          batch_size: images in a batch; the last of an epoch may be short.
          seed: of the order.
          epochs: which epochs to return, one after the other.
          first_step: the step at which the first of them begins.

        Returns:
          A data set of (epoch, step, indices, images), the first two int64 scalars.
        """


class RandomAccessSplit(Split):
    """A split whose images can be fetched by index: shuffling permutes them perfectly.

    Args:
      num_images: how many there are, 1 or more.
      image_shape: (H, W, C) of each.
      labels: int64 `[num_images]`, or None.
    """

    def __init__(self, num_images: int, image_shape: tuple[int, int, int], labels: np.ndarray | None):
        super().__init__(num_images, image_shape, labels is not None)
        labels = np.full(num_images, NO_LABEL) if labels is None else labels
        self._labels = tf.constant(labels, tf.int64)

    @abc.abstractmethod
    def fetch(self, indices: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns (images, labels) of the `indices` `[batch]`."""

    def batches(self, batch_size, limit=None):
        num_images = self.first(limit)

        def batch(start):
            indices = tf.range(start, tf.minimum(start + batch_size, num_images))
            return indices, *self.fetch(indices)

        starts = tf.data.Dataset.range(0, num_images, batch_size)
        return starts.map(batch, num_parallel_calls=tf.data.AUTOTUNE)

    def shuffled_batches(self, batch_size, seed, epochs, first_step=0):
        steps = self.steps_per_epoch(batch_size)

        def epoch_batches(epoch):
            key = randomness.key(seed, Purpose.ORDER, epoch)
            order = tf.random.experimental.stateless_shuffle(
                tf.range(self.num_images, dtype=tf.int64), key
            )

            def batch(step):
                indices = order[step * batch_size : (step + 1) * batch_size]
                return epoch, step, indices, self.fetch(indices)[0]

            begin = tf.where(epoch == epochs.start, tf.cast(first_step, tf.int64), 0)
            return tf.data.Dataset.range(begin, steps).map(batch, num_parallel_calls=tf.data.AUTOTUNE)

        return tf.data.Dataset.range(epochs.start, epochs.stop).flat_map(epoch_batches)


class ArraySplit(RandomAccessSplit):
    """A split that lies in memory.

    Args:
      images: uint8 `[num_images, H, W, C]`.
      labels: int64 `[num_images]`, or None.

    Raises:
      InputError: there is no image, or they are of another type or rank.
    """

    def __init__(self, images: np.ndarray, labels: np.ndarray | None = None):
        if images.dtype != np.uint8 or images.ndim != 4:
            raise InputError(
                f"images: expected uint8 [N, H, W, C]; received {images.dtype} {list(images.shape)}"
            )
        super().__init__(len(images), images.shape[1:], labels)
        self._images = tf.constant(images)

    def fetch(self, indices):
        return tf.gather(self._images, indices), tf.gather(self._labels, indices)


def digest(data: tf.Tensor) -> tf.Tensor:
    """Returns an int64 by which to see whether the bytes of a file are still the same."""
    return tf.strings.to_hash_bucket_fast(data, 2**63 - 1)


class FileSplit(RandomAccessSplit):
    """A split of image files, read and decoded as they are needed.

    A file that is no longer the same raises InvalidArgumentError, with `errors.IMAGE_CHANGED`.

    Args:
      paths: of the files, as bytes.
      digests: of their contents, int64 `[num_images]`.
      labels: int64 `[num_images]`, or None.
      preprocessing: applied to each image.
    """

    def __init__(
        self,
        paths: list[bytes],
        digests: np.ndarray,
        labels: np.ndarray | None,
        preprocessing: Preprocessing,
    ):
        super().__init__(len(paths), preprocessing.image_shape, labels)
        self._paths = tf.constant(paths)
        self._digests = tf.constant(digests)
        self._preprocessing = preprocessing

    def fetch(self, indices):
        images = tf.map_fn(
            self._read,
            (tf.gather(self._paths, indices), tf.gather(self._digests, indices)),
            fn_output_signature=tf.TensorSpec(self.image_shape, tf.uint8),
        )
        return images, tf.gather(self._labels, indices)

    def _read(self, file: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        path, expected = file
        data = tf.io.read_file(path)
        told = tf.strings.join([path, ": ", IMAGE_CHANGED])
        with tf.control_dependencies([tf.debugging.Assert(digest(data) == expected, [told])]):
            return self._preprocessing.decode(tf.identity(data))


class StreamSplit(Split):
    """A split that is too large for memory and can only be read from its beginning.

    Images are shuffled within blocks of 10,000.

    Args:
      examples: returns a data set of (image uint8 `[H, W, C]`, label int64), always in one order.
      num_images: how many it yields.
      image_shape: (H, W, C).
      has_labels: whether the labels are classes.
    """

    def __init__(
        self,
        examples: Callable[[], tf.data.Dataset],
        num_images: int,
        image_shape: tuple[int, int, int],
        has_labels: bool,
    ):
        super().__init__(num_images, image_shape, has_labels)
        self._examples = examples

    def batches(self, batch_size, limit=None):
        numbered = self._examples().take(self.first(limit)).enumerate()
        batched = numbered.batch(batch_size)
        return batched.map(lambda indices, example: (indices, *example))

    def shuffled_batches(self, batch_size, seed, epochs, first_step=0):
        def epoch_batches(epoch):
            def permuted(block, examples):
                key = randomness.key(seed, Purpose.ORDER, epoch, block)
                size = tf.shape(examples[0])[0]
                order = tf.random.experimental.stateless_shuffle(tf.range(size), key)
                return tf.nest.map_structure(lambda part: tf.gather(part, order), examples)

            blocks = self._examples().enumerate().batch(_SHUFFLED_TOGETHER).enumerate()
            shuffled = blocks.map(permuted).unbatch()
            batches = shuffled.batch(batch_size).enumerate()
            skipped = tf.where(epoch == epochs.start, tf.cast(first_step, tf.int64), 0)
            return batches.skip(skipped).map(lambda step, batch: (epoch, step, batch[0], batch[1][0]))

        return tf.data.Dataset.range(epochs.start, epochs.stop).flat_map(epoch_batches)


def check_hold_out(num_images: int, validation_images: int) -> None:
    """Raises InputError if no image to train on is left."""
    if not 0 <= validation_images < num_images:
        raise InputError(
            f"--validation_images: expected fewer than the {num_images} training images; "
            f"received {validation_images}"
        )


def hold_out(
    images: np.ndarray, labels: np.ndarray | None, validation_images: int
) -> tuple[ArraySplit, ArraySplit | None]:
    """Returns (training, validation) splits: the last `validation_images` are held out.

    Raises:
      InputError: no image to train on is left.
    """
    check_hold_out(len(images), validation_images)
    cut = len(images) - validation_images
    first, last = (None, None) if labels is None else (labels[:cut], labels[cut:])
    validation = ArraySplit(images[cut:], last) if validation_images else None
    return ArraySplit(images[:cut], first), validation
