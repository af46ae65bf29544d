"""Reads image files and brings images to the size a model takes, alike in training and when served.

`tf.io.decode_image` reads most files. This module adds Exif orientations (TIFF 6.0, tag 0x112), the
transparent colours of PNGs and the palettes of BMPs, in a graph that exported encoders contain.
"""

import dataclasses
import functools
from collections.abc import Callable

import tensorflow as tf

_HEAD_BYTES = 2**17
"""A JPEG or a PNG has its Exif and its transparent colours in these first bytes."""
_SPECIAL = r"(?s)(?:BM|RIFF)\C*|\C*(?:Exif\x00\x00|eXIf|tRNS)\C*"
_TRANSPARENT_COLOUR = r"(?s)\CPNG\C*tRNS\C*"
_SIXTEEN_BITS = r"(?s)\CPNG\C{20}\x10\C*"
_ORIENTATION = (
    r"(?s)\C*?(?:Exif\x00\x00|eXIf|EXIF\C{4})(?:"
    r"II\*\x00\C*?\x12\x01\x03\x00\x01\x00\x00\x00([\x01-\x08])\x00|"
    r"MM\x00\*\C*?\x01\x12\x00\x03\x00\x00\x00\x01\x00([\x01-\x08]))\C*"
)


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """Crops, converts, inverts and resizes images, in training and when served alike, to the bit.

    Attributes:
      image_size: the side of the result, pixels.
      channels: 1 for gray, 3 for colour.
      crop: the side of the central square to keep, pixels; None keeps the largest that fits.
      invert: whether dark becomes light, for dark strokes on a light ground.
      brightest: the value that becomes white, as a share of the image type's range.
    """

    image_size: int
    channels: int
    crop: int | None = None
    invert: bool = False
    brightest: float = 1.0

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
        if image.dtype != tf.uint8 or self.brightest != 1.0:
            scale = image.dtype.max if image.dtype.is_integer else 1.0
            image = tf.cast(image, tf.float32) * (255.0 / scale)
        return self._converted(image)

    def decode(self, data: tf.Tensor) -> tf.Tensor:
        """Returns the same for the bytes of an image file."""
        image = tf.io.decode_image(data, expand_animations=False)
        is_ready = tf.reduce_all(tf.shape(image) == self.image_shape) & ~_is_special(data)
        is_ready &= self == Preprocessing(self.image_size, self.channels)
        # In most folders all files are ready, and each operation costs as much as decoding one.
        made = tf.cond(is_ready, lambda: image, lambda: _conversion(self)(data, image))
        return tf.ensure_shape(made, self.image_shape)

    def _converted(self, image: tf.Tensor) -> tf.Tensor:
        """Returns the result for uint8, or for float32 levels in [0, 255]."""
        made = on_white(_central_square(image, self.crop))
        if made.dtype == tf.float32:
            made = _as_bytes(made / self.brightest)
        made = _with_channels(made, self.channels)
        made = 255 - made if self.invert else made
        made = _as_bytes(tf.image.resize(made, [self.image_size] * 2, antialias=True))
        return tf.ensure_shape(made, [*image.shape[:-3], *self.image_shape])


@functools.lru_cache
def _conversion(preprocessing: Preprocessing) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """Returns the conversion of a file's stored image, not inlined: unused, it costs nothing."""

    def convert(data, image):
        image = _as_shown(data, image)
        is_stretched = preprocessing.brightest != 1.0
        return preprocessing._converted(_levels(data, image) if is_stretched else image)

    return tf.function(
        convert,
        input_signature=[tf.TensorSpec([], tf.string), tf.TensorSpec([None, None, None], tf.uint8)],
        autograph=False,
        experimental_attributes={"_noinline": True},
    )


def to_unit_interval(images: tf.Tensor) -> tf.Tensor:
    """Returns uint8 `images` as float32 in [0, 1]."""
    return tf.cast(images, tf.float32) / 255.0


def on_white(image: tf.Tensor) -> tf.Tensor:
    """Puts an image of 2 or 4 channels, the last of them alpha, on a white ground."""

    def composed():
        alpha = tf.cast(image[..., -1:], tf.float32) / 255.0
        made = alpha * tf.cast(image[..., :-1], tf.float32) + (1.0 - alpha) * 255.0
        return _as_bytes(made) if image.dtype == tf.uint8 else made

    return tf.cond(tf.shape(image)[-1] % 2 == 0, composed, lambda: image)


def decode(data: tf.Tensor) -> tf.Tensor:
    """Returns the pixels of an image file, uint8 `[h, w, c]`; if c is 2 or 4, the last is alpha.

    It keeps the upper eight of 16 bits, and the first frame of an animation. The graph raises
    tf.errors.InvalidArgumentError if TensorFlow cannot decode the file.
    """
    image = tf.io.decode_image(data, expand_animations=False)
    return tf.cond(_is_special(data), lambda: _as_shown(data, image), lambda: image)


def _is_special(data: tf.Tensor) -> tf.Tensor:
    """Returns whether a file may need `_as_shown`."""
    return tf.strings.regex_full_match(tf.strings.substr(data, 0, _HEAD_BYTES), _SPECIAL)


def _as_shown(data: tf.Tensor, image: tf.Tensor) -> tf.Tensor:
    """Returns the stored image of a file as other programs show it."""
    is_bmp = tf.strings.substr(data, 0, 2) == b"BM"
    head = tf.strings.substr(data, 0, _HEAD_BYTES)
    is_clear = tf.strings.regex_full_match(head, _TRANSPARENT_COLOUR) & (tf.shape(image)[-1] % 2 == 1)
    image = tf.cond(is_bmp, lambda: _bmp(data, image), lambda: image)
    image = tf.cond(is_clear, lambda: tf.io.decode_png(data, channels=4), lambda: image)
    return _upright(image, data)


def _levels(data: tf.Tensor, image: tf.Tensor) -> tf.Tensor:
    """Returns an image as float32 in [0, 255], with all bits of a 16-bit PNG."""

    def deep():
        return _upright(tf.cast(tf.io.decode_png(data, dtype=tf.uint16), tf.float32) / 257.0, data)

    is_deep = tf.strings.regex_full_match(tf.strings.substr(data, 0, _HEAD_BYTES), _SIXTEEN_BITS)
    return tf.cond(is_deep, deep, lambda: tf.cast(image, tf.float32))


def _upright(image: tf.Tensor, data: tf.Tensor) -> tf.Tensor:
    """Turns and mirrors an image as the Exif orientation of its file says."""
    is_webp = tf.strings.substr(data, 0, 4) == b"RIFF"  # WebP stores Exif after the pixels.
    searched = tf.where(is_webp, data, tf.strings.substr(data, 0, _HEAD_BYTES))
    found = tf.strings.regex_replace(searched, _ORIENTATION, r"\1\2")

    def changed_if(orientations, change, image):
        is_one = tf.reduce_any(found == [bytes([orientation]) for orientation in orientations])
        return tf.cond(is_one, lambda: change(image), lambda: image)

    image = changed_if((5, 6, 7, 8), _transposed, image)
    image = changed_if((2, 3, 6, 7), lambda image: tf.reverse(image, [1]), image)
    return changed_if((3, 4, 7, 8), lambda image: tf.reverse(image, [0]), image)


def _transposed(image: tf.Tensor) -> tf.Tensor:
    # On CPUs without AVX-512, tf.transpose of uint8 works but logs an error of oneDNN.
    height, width, channels = tf.unstack(tf.shape(image))
    places = tf.range(width)[:, tf.newaxis] + width * tf.range(height)
    return tf.gather(tf.reshape(image, [height * width, channels]), places)


def _bmp(data: tf.Tensor, image: tf.Tensor) -> tf.Tensor:
    """Returns the colours of a BMP. TensorFlow returns indices into its palette."""
    pixels, header_bytes, compression = (
        tf.io.decode_raw(tf.strings.substr(data, place, 4), tf.int32)[0] for place in (10, 14, 30)
    )
    is_plain = ((compression == 0) | (compression == 3)) & (header_bytes >= 40)
    with tf.control_dependencies([tf.debugging.Assert(is_plain, ["compressed or OS/2 BMP"])]):
        start = tf.clip_by_value(header_bytes + 14, 0, tf.strings.length(data))

    def coloured():
        stored = tf.io.decode_raw(tf.strings.substr(data, start, pixels - start), tf.uint8)
        palette = tf.reshape(stored, [-1, 4])[:, 2::-1]
        return tf.gather(palette, tf.cast(image[..., 0], tf.int32))

    # Most programs ignore the fourth channel.
    return tf.cond(tf.shape(image)[-1] == 1, coloured, lambda: image[..., :3])


def _as_bytes(levels: tf.Tensor) -> tf.Tensor:
    return tf.saturate_cast(tf.round(levels), tf.uint8)


def _central_square(image: tf.Tensor, side: int | None) -> tf.Tensor:
    height, width, _ = tf.unstack(tf.shape(image)[-3:])
    side = tf.minimum(tf.minimum(height, width), side or tf.int32.max)
    top, left = (height - side) // 2, (width - side) // 2
    return image[..., top : top + side, left : left + side, :]


def _with_channels(image: tf.Tensor, channels: int) -> tf.Tensor:
    """Converts between gray and colour."""

    def converted():
        colour = tf.gather(image, tf.minimum(tf.range(3), tf.shape(image)[-1] - 1), axis=-1)
        return colour if channels == 3 else tf.image.rgb_to_grayscale(colour)

    return tf.cond(tf.shape(image)[-1] == channels, lambda: image, converted)
