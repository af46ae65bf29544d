"""From an image of any size to the one size a model takes; the same in training and when served."""

import dataclasses

import tensorflow as tf

from crvae_tf.datasets import decoding


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

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(H, W, C) of the result."""
        return self.image_size, self.image_size, self.channels

    def __call__(self, image: tf.Tensor) -> tf.Tensor:
        """Returns uint8 `[..., image_size, image_size, channels]` for uint8 `[..., h, w, c]`.

        There is at most one leading dimension.
        """
        image = _central_square(tf.convert_to_tensor(image), self.crop)
        image = _with_channels(image, self.channels)
        if self.invert:
            image = 255 - image
        resized = _resized(image, self.image_size)
        return tf.ensure_shape(resized, [*image.shape[:-3], *self.image_shape])

    def keeps(self, shape: tuple[int, int, int]) -> bool:
        """Returns whether images of (h, w, c) pass unchanged."""
        fits = self.crop is None or self.crop >= self.image_size
        return tuple(shape) == self.image_shape and fits and not self.invert

    def decode(self, data: tf.Tensor) -> tf.Tensor:
        """Returns the same for the bytes of one PNG, JPEG, BMP or GIF file (its first frame)."""
        return self(decoding.decode(data))


def to_unit_interval(images: tf.Tensor) -> tf.Tensor:
    """Returns uint8 `images` as float32 in [0, 1]."""
    return tf.cast(images, tf.float32) / 255.0


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
        pixels = tf.image.resize(image, [side, side], antialias=True)
        return tf.cast(tf.clip_by_value(tf.round(pixels), 0.0, 255.0), tf.uint8)

    if image.shape[-3:-1] == [side, side]:
        return image
    if image.shape[-3:-1].is_fully_defined():
        return resized()
    return tf.cond(tf.reduce_all(tf.shape(image)[-3:-1] == side), lambda: image, resized)


def _with_channels(image: tf.Tensor, channels: int) -> tf.Tensor:
    """Converts between gray and colour and leaves an alpha channel out."""
    if image.shape[-1] == channels:
        return image
    first = image[..., :1]

    def from_gray():
        return first if channels == 1 else tf.repeat(first, 3, axis=-1)

    def from_colour():
        return tf.image.rgb_to_grayscale(_colours(image)) if channels == 1 else _colours(image)

    if image.shape[-1] is not None:
        return from_gray() if image.shape[-1] <= 2 else from_colour()
    return tf.cond(tf.shape(image)[-1] <= 2, from_gray, from_colour)


def _colours(image: tf.Tensor) -> tf.Tensor:
    colours = image[..., :3]
    return tf.reshape(colours, tf.concat([tf.shape(colours)[:-1], [3]], axis=0))
