"""Converts images of any size to the size a model takes, alike in training and when served."""

import dataclasses
import functools
from collections.abc import Callable

import tensorflow as tf

from crvae_tf.datasets import decoding
from crvae_tf.datasets.decoding import when


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """Crops, converts, inverts and resizes images.

    The result is rounded to uint8, so that it fits in memory. An exported encoder computes the same
    result from the same file, to the bit.
    """

    image_size: int
    """Side of the result, pixels."""
    channels: int
    """1 for gray, 3 for colour."""
    crop: int | None = None
    """Side of the central square to keep, pixels; None keeps the largest that fits."""
    invert: bool = False
    """Whether dark becomes light, for dark strokes on a light ground."""
    brightest: float = 1.0
    """The value that becomes white, as a share of the image type's range."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(H, W, C) of the result."""
        return self.image_size, self.image_size, self.channels

    def __call__(self, image: tf.Tensor) -> tf.Tensor:
        """Returns uint8 `[..., image_size, image_size, channels]` for an image `[..., h, w, c]`.

        uint8, uint16 and bool are scaled by their type's range; floats lie in [0, 1]. If c is 2 or 4,
        the last channel is alpha, and the ground is white. There is at most one leading dimension.
        """
        image = tf.convert_to_tensor(image)
        if image.dtype == tf.uint16 and self.brightest == 1.0:
            image = tf.cast(image // 256, tf.uint8)  # As TensorFlow reads a 16-bit PNG.
        if image.dtype == tf.uint8 and self.brightest == 1.0:
            return self._converted(image)
        scale = image.dtype.max if image.dtype.is_integer else 1.0
        return self._stretched(tf.cast(image, tf.float32) * (255.0 / scale))

    def decode(self, data: tf.Tensor) -> tf.Tensor:
        """Returns the same for the bytes of an image file."""
        if self.brightest == 1.0:
            return self._converted(decoding.decode(data))
        return self._stretched(decoding.levels(data))

    def _stretched(self, levels: tf.Tensor) -> tf.Tensor:
        return self._converted(_as_bytes(on_white(levels) / self.brightest))

    def _converted(self, image: tf.Tensor) -> tf.Tensor:
        """Returns the result for a uint8 image."""
        if self.invert or self.crop or image.shape[-3:].is_fully_defined():
            made = self._convert(image)
        else:  # Most folders hold files of the right size.
            is_other = tf.reduce_any(tf.shape(image) != self.image_shape)
            made = when(is_other, _apart(self), image)
        return tf.ensure_shape(made, [*image.shape[:-3], *self.image_shape])

    def _convert(self, image: tf.Tensor) -> tf.Tensor:
        made = _with_channels(on_white(_central_square(image, self.crop)), self.channels)
        return _resized(255 - made if self.invert else made, self.image_size)


@functools.lru_cache
def _apart(preprocessing: Preprocessing) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns the conversion of one image as a function that is not inlined."""
    return tf.function(
        preprocessing._convert,
        input_signature=[tf.TensorSpec([None, None, None], tf.uint8)],
        autograph=False,
        experimental_attributes={"_noinline": True},
    )


def to_unit_interval(images: tf.Tensor) -> tf.Tensor:
    """Returns uint8 `images` as float32 in [0, 1]."""
    return tf.cast(images, tf.float32) / 255.0


def on_white(image: tf.Tensor) -> tf.Tensor:
    """Puts an image of 2 or 4 channels, the last of them alpha, on a white ground."""

    def composed(image):
        alpha = tf.cast(image[..., -1:], tf.float32) / 255.0
        made = alpha * tf.cast(image[..., :-1], tf.float32) + (1.0 - alpha) * 255.0
        return _as_bytes(made) if image.dtype == tf.uint8 else made

    return when(_size(image, -1) % 2 == 0, composed, image)


def _size(image: tf.Tensor, axis: int) -> int | tf.Tensor:
    """Returns the size of an axis, as a number if it is static."""
    return image.shape[axis] or tf.shape(image)[axis]


def _as_bytes(levels: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.clip_by_value(tf.round(levels), 0.0, 255.0), tf.uint8)


def _central_square(image: tf.Tensor, side: int | None) -> tf.Tensor:
    height, width = _size(image, -3), _size(image, -2)
    side = tf.minimum(tf.minimum(height, width), side or tf.int32.max)
    top, left = (height - side) // 2, (width - side) // 2
    return image[..., top : top + side, left : left + side, :]


def _resized(image: tf.Tensor, side: int) -> tf.Tensor:
    def resized(image):
        return _as_bytes(tf.image.resize(image, [side, side], antialias=True))

    return when(tf.reduce_any(tf.shape(image)[-3:-1] != side), resized, image)


def _with_channels(image: tf.Tensor, channels: int) -> tf.Tensor:
    """Converts between gray and colour."""

    def converted(image):
        if channels == 3:
            return tf.repeat(image[..., :1], 3, axis=-1)
        return tf.image.rgb_to_grayscale(tf.ensure_shape(image, [*image.shape[:-1], 3]))

    return when(_size(image, -1) != channels, converted, image)
