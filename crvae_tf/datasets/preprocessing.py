"""From an image of any size to the one size a model takes; the same in training and when served."""

import dataclasses
import functools
from collections.abc import Callable

import tensorflow as tf

from crvae_tf.datasets import decoding

_WHITE = 255.0


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """Crops, converts, inverts and resizes images.

    The result is rounded to uint8, so that what is trained on can be kept in memory and is what an
    exported encoder computes from the same file, to the bit.
    """

    image_size: int
    """Side of the result, pixels."""
    channels: int
    """1 for gray, 3 for colour."""
    crop: int | None = None
    """Side of the central square to keep, pixels; the largest that fits where this is None."""
    invert: bool = False
    """Whether dark becomes light, for data sets of dark strokes on a light ground."""
    brightest: float = 1.0
    """The value that becomes white, as a share of the range of the images' type."""

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(H, W, C) of the result."""
        return self.image_size, self.image_size, self.channels

    def __call__(self, image: tf.Tensor) -> tf.Tensor:
        """Returns uint8 `[..., image_size, image_size, channels]` for an image `[..., h, w, c]`.

        uint8, uint16 and bool are scaled by the range of their type, floats lie in [0, 1]. A c of 2 or
        4 has an alpha channel: the image is put on white. There is at most one leading dimension.
        """
        image = tf.convert_to_tensor(image)
        if image.dtype == tf.uint16 and self.brightest == 1.0:
            image = tf.cast(image // 256, tf.uint8)  # As TensorFlow reads a 16-bit PNG.
        if image.dtype == tf.uint8 and self.brightest == 1.0:
            return self._converted(image)
        return self._scaled(as_levels(image))

    def decode(self, data: tf.Tensor) -> tf.Tensor:
        """Returns the same for the bytes of one image file that TensorFlow decodes."""
        if self.brightest == 1.0:
            return self._converted(decoding.decode(data))
        return self._scaled(decoding.levels(data))

    def _scaled(self, levels: tf.Tensor) -> tf.Tensor:
        return self._converted(_as_bytes(on_white(levels) / self.brightest))

    def _converted(self, image: tf.Tensor) -> tf.Tensor:
        """Returns the result for uint8."""
        if self.invert or self.crop or image.shape[-3:].is_fully_defined():
            made = self._convert(image)
        else:  # The files of most folders have the size already.
            is_made = tf.reduce_all(tf.shape(image) == self.image_shape)
            made = tf.cond(is_made, lambda: image, lambda: _apart(self)(image))
        return tf.ensure_shape(made, [*image.shape[:-3], *self.image_shape])

    def _convert(self, image: tf.Tensor) -> tf.Tensor:
        made = _with_channels(on_white(_central_square(image, self.crop)), self.channels)
        return _resized(255 - made if self.invert else made, self.image_size)


@functools.lru_cache
def _apart(preprocessing: Preprocessing) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns the conversion of one image as a function that is not inlined; see `decoding`."""
    return tf.function(
        preprocessing._convert,
        input_signature=[tf.TensorSpec([None, None, None], tf.uint8)],
        autograph=False,
        experimental_attributes={"_noinline": True},
    )


def to_unit_interval(images: tf.Tensor) -> tf.Tensor:
    """Returns uint8 `images` as float32 in [0, 1]."""
    return tf.cast(images, tf.float32) / 255.0


def as_levels(image: tf.Tensor) -> tf.Tensor:
    """Returns an image of any type that is known as float32 in [0, 255]."""
    scale = image.dtype.max if image.dtype.is_integer else 1.0
    return tf.cast(image, tf.float32) * (255.0 / scale)


def _as_bytes(levels: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.clip_by_value(tf.round(levels), 0.0, 255.0), tf.uint8)


def on_white(image: tf.Tensor) -> tf.Tensor:
    """Puts an image with an alpha channel, the last of 2 or 4, on a white ground."""

    def composed():
        alpha = tf.cast(image[..., -1:], tf.float32) / 255.0
        colour = tf.cast(image[..., :-1], tf.float32)
        made = alpha * colour + (1.0 - alpha) * _WHITE
        return _as_bytes(made) if image.dtype == tf.uint8 else made

    if image.shape[-1] is not None:
        return image if image.shape[-1] % 2 else composed()
    return tf.cond(tf.shape(image)[-1] % 2 == 0, composed, lambda: image)


def _central_square(image: tf.Tensor, side: int | None) -> tf.Tensor:
    sides = image.shape[-3:-1]
    if sides.is_fully_defined() and sides[0] == sides[1] <= (side or sides[0]):
        return image
    height, width = tf.shape(image)[-3], tf.shape(image)[-2]
    side = tf.minimum(tf.minimum(height, width), side or tf.int32.max)
    top, left = (height - side) // 2, (width - side) // 2
    return image[..., top : top + side, left : left + side, :]


def _resized(image: tf.Tensor, side: int) -> tf.Tensor:
    def resized():
        return _as_bytes(tf.image.resize(image, [side, side], antialias=True))

    if image.shape[-3:-1].is_fully_defined():
        return image if image.shape[-3:-1] == [side, side] else resized()
    return tf.cond(tf.reduce_all(tf.shape(image)[-3:-1] == side), lambda: image, resized)


def _with_channels(image: tf.Tensor, channels: int) -> tf.Tensor:
    """Converts between gray and colour."""
    known = image.shape[-1]
    if known == channels:
        return image

    def converted():
        if channels == 3:
            return tf.repeat(image[..., :1], 3, axis=-1)
        return tf.image.rgb_to_grayscale(tf.ensure_shape(image, [*image.shape[:-1], 3]))

    if known is not None:
        return converted()
    return tf.cond(tf.shape(image)[-1] == channels, lambda: image, converted)
