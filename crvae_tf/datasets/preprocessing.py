"""Reads image files and brings images to the size a model takes, alike in training and when served.

`tf.io.decode_image` reads most files. This module adds Exif orientations (TIFF 6.0, tag 0x112),
transparent colours of PNGs and GIFs, and palettes of BMPs, in a graph that exported encoders contain.
"""

import dataclasses
import functools
from collections.abc import Callable

import tensorflow as tf

_END_BYTES = 2**17
"""A JPEG has its Exif in so many first bytes, other files in the first or the last."""
_SPECIAL = r"(?s)(?:BM|RIFF|GIF8)\C*|\C*(?:Exif\x00\x00|eXIf|tRNS)\C*"
_TRANSPARENT_COLOUR = r"(?s)\CPNG\C*tRNS\C*"
_SIXTEEN_BITS = r"(?s)\CPNG\C{20}\x10\C*"
# The directory is nearly always at 8. There, only other entries may stand before the tag, so that of a
# thumbnail, which has a later directory, is not found.
_ORIENTATION = (
    r"(?s)\C*?(?:Exif\x00\x00|eXIf|EXIF\C{4})(?:II\*\x00(?:\x08\C{5}(?:\C{3}\x00\C{8})*?|[\x09-\x7f]\C*?)"
    r"\x12\x01\x03\x00\x01\x00\x00\x00([\x01-\x08])\x00|"
    r"MM\x00\*(?:\C{3}\x08\C\C(?:\C\C\x00\C{9})*?|\C{3}[\x09-\x7f]\C*?)"
    r"\x01\x12\x00\x03\x00\x00\x00\x01\x00([\x01-\x08]))\C*"
)
_ANIMATED_RGB = r"^(RIFF\C{4}WEBPVP8X\C{4})[\x02\x06\x0a\x0e\x22\x26\x2a\x2e]"


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
        image = _stored(data)
        is_special = tf.strings.regex_full_match(_searched(data), _SPECIAL)
        is_ready = tf.reduce_all(tf.shape(image) == self.image_shape) & ~is_special
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
    return _as_shown(data, _stored(data))


def _stored(data: tf.Tensor) -> tf.Tensor:
    """Returns the image that TensorFlow decodes."""
    # An animated WebP that does not announce alpha makes TensorFlow overwrite other memory.
    data = tf.strings.regex_replace(data, _ANIMATED_RGB, "\\1\x12", replace_global=False)
    return tf.io.decode_image(data, expand_animations=False)


def _searched(data: tf.Tensor) -> tf.Tensor:
    """Returns the part of a file that may say how it is shown."""
    length = tf.strings.length(data)
    rest = tf.maximum(length - _END_BYTES, tf.minimum(length, _END_BYTES))
    start, end = (tf.strings.substr(data, place, _END_BYTES) for place in (0, rest))
    return tf.where(tf.strings.substr(data, 0, 2) == b"\xff\xd8", start, start + end)


def _as_shown(data: tf.Tensor, image: tf.Tensor) -> tf.Tensor:
    """Returns the stored image of a file as other programs show it."""
    is_bmp = tf.strings.substr(data, 0, 2) == b"BM"
    head = tf.strings.substr(data, 0, _END_BYTES)
    is_clear = tf.strings.regex_full_match(head, _TRANSPARENT_COLOUR) & (tf.shape(image)[-1] % 2 == 1)
    is_gif = tf.strings.substr(data, 0, 4) == b"GIF8"
    image = tf.cond(is_bmp, lambda: _bmp(data, image), lambda: image)
    image = tf.cond(is_clear, lambda: tf.io.decode_png(data, channels=4), lambda: image)
    image = tf.cond(is_gif, lambda: _gif(data, image), lambda: image)
    return _upright(image, data)


def _levels(data: tf.Tensor, image: tf.Tensor) -> tf.Tensor:
    """Returns an image as float32 in [0, 255], with all bits of a 16-bit PNG."""

    def read(channels):
        return tf.io.decode_png(data, channels, tf.uint16)

    def deep():
        stored = tf.cond(tf.shape(image)[-1] == 4, lambda: read(4), lambda: read(0))
        return _upright(tf.cast(stored, tf.float32) / 257.0, data)

    is_deep = tf.strings.regex_full_match(tf.strings.substr(data, 0, _END_BYTES), _SIXTEEN_BITS)
    return tf.cond(is_deep, deep, lambda: tf.cast(image, tf.float32))


def _upright(image: tf.Tensor, data: tf.Tensor) -> tf.Tensor:
    """Turns and mirrors an image as the Exif orientation of its file says."""
    found = tf.strings.regex_replace(_searched(data), _ORIENTATION, r"\1\2")

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


def _gif(data: tf.Tensor, image: tf.Tensor) -> tf.Tensor:
    """Returns the first frame of a GIF with its transparent colour white. TensorFlow makes it black."""
    stored = tf.cast(tf.io.decode_raw(data, tf.uint8), tf.int32)
    control, frame = _gif_places(stored)
    shared, own = stored[10], stored[frame + 9]
    palette, flags = tf.where(own >= 128, frame + 10, 13), tf.where(own >= 128, own, shared)
    colour = stored[control + 6]
    is_clear = (control > 0) & (stored[control + 3] % 2 == 1) & (colour < 2 ** (1 + flags % 8))

    def changed(data, place, part):
        rest = tf.strings.substr(data, place + len(part), tf.size(stored))
        return tf.strings.join([tf.strings.substr(data, 0, place), part, rest])

    def whitened():
        opaque = changed(changed(data, palette + 3 * colour, b"\xff\xff\xff"), control + 3, b"\x00")
        return tf.io.decode_image(opaque, expand_animations=False)

    return tf.cond(is_clear, whitened, lambda: image)


def _gif_places(stored: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns where a GIF's first frame and its graphic control begin, the latter first; 0 for none."""
    palette = tf.where(stored[10] >= 128, 3 * 2 ** (1 + stored[10] % 8), 0)

    def next_block(place, control, within):
        length = stored[place]  # An extension is a mark, a label and blocks, the last of length 0.
        control = tf.where(~within & (stored[place + 1] == 0xF9), place, control)
        return place + tf.where(within, 1 + length, 2), control, ~within | (length > 0)

    def is_before(place, control, within):
        return within | (stored[place] == ord("!"))

    frame, control, _ = tf.while_loop(is_before, next_block, (13 + palette, 0, False))
    return control, frame


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
