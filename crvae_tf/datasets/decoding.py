"""Decodes image files in a TensorFlow graph, which exported encoders contain.

`tf.io.decode_image` does most of the work. This module adds Exif orientations (TIFF 6.0, tag 0x112),
the transparent colours of PNGs and the palettes of BMPs.
"""

from collections.abc import Callable

import tensorflow as tf

_HEAD_BYTES = 2**17
"""A JPEG or a PNG has its Exif and its transparent colours in these first bytes."""
_SPECIAL = r"(?s)(?:BM|RIFF)\C*|\C*(?:Exif\x00\x00|eXIf|tRNS)\C*"
_TRANSPARENT_COLOUR = r"(?s)\C*tRNS\C*"
_ORIENTATION = (
    r"(?s)\C*?(?:Exif\x00\x00|eXIf|EXIF\C{4})(?:"
    r"II\*\x00\C*?\x12\x01\x03\x00\x01\x00\x00\x00([\x01-\x08])\x00|"
    r"MM\x00\*\C*?\x01\x12\x00\x03\x00\x00\x00\x01\x00([\x01-\x08]))\C*"
)
_BMP_HEADER, _BMP_COLOURS = 14, 256


def decode(data: tf.Tensor) -> tf.Tensor:
    """Returns the pixels of an image file, uint8 `[h, w, c]`; if c is 2 or 4, the last is alpha.

    It keeps the upper eight of 16 bits, and the first frame of an animation. The graph raises
    tf.errors.InvalidArgumentError if TensorFlow cannot decode the file.
    """
    image = tf.io.decode_image(data, expand_animations=False)
    is_special = tf.strings.regex_full_match(_head(data), _SPECIAL)
    # Most files are not special. Testing each property apart would cost more than decoding.
    return tf.ensure_shape(when(is_special, lambda image: _as_shown(data, image), image), 3 * [None])


def levels(data: tf.Tensor) -> tf.Tensor:
    """Returns the pixels as float32 in [0, 255], with all bits of a 16-bit PNG."""

    def deep():
        image = tf.cast(tf.io.decode_png(data, dtype=tf.uint16), tf.float32) / 257.0
        return _upright(image, _orientation(data))

    is_deep = _is_png(data) & (_bytes_at(data, 24, 1) == b"\x10")
    read = tf.cond(is_deep, deep, lambda: tf.cast(decode(data), tf.float32))
    return tf.ensure_shape(read, 3 * [None])


def when(
    condition: bool | tf.Tensor, change: Callable[[tf.Tensor], tf.Tensor], image: tf.Tensor
) -> tf.Tensor:
    """Returns the changed image if the condition holds, else the image."""
    if isinstance(condition, bool):
        return change(image) if condition else image
    return tf.cond(condition, lambda: change(image), lambda: image)


# Not inlined: otherwise files that need none of its operations would pay for them.
@tf.function(
    input_signature=[tf.TensorSpec([], tf.string), tf.TensorSpec([None, None, None], tf.uint8)],
    autograph=False,
    experimental_attributes={"_noinline": True},
)
def _as_shown(data: tf.Tensor, image: tf.Tensor) -> tf.Tensor:
    """Returns the image as other programs show it."""
    is_bmp = tf.strings.substr(data, 0, 2) == b"BM"
    is_clear = tf.strings.regex_full_match(_head(data), _TRANSPARENT_COLOUR)
    is_clear &= _is_png(data) & (tf.shape(image)[-1] % 2 == 1)
    image = when(is_bmp, lambda image: _bmp(data, image), image)
    image = when(is_clear, lambda _: tf.io.decode_png(data, channels=4), image)
    return _upright(image, _orientation(data))


def _orientation(data: tf.Tensor) -> tf.Tensor:
    """Returns the Exif orientation as a string of one byte, or another string if there is none."""
    is_webp = tf.strings.substr(data, 0, 4) == b"RIFF"  # WebP stores Exif after the pixels.
    return tf.strings.regex_replace(tf.where(is_webp, data, _head(data)), _ORIENTATION, r"\1\2")


def _upright(image: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Turns and mirrors an image as its Exif orientation says."""

    def is_one_of(*numbers):
        return tf.reduce_any(orientation == [bytes([number]) for number in numbers])

    image = when(is_one_of(5, 6, 7, 8), _transposed, image)
    image = when(is_one_of(2, 3, 6, 7), lambda image: tf.reverse(image, [1]), image)
    return when(is_one_of(3, 4, 7, 8), lambda image: tf.reverse(image, [0]), image)


def _transposed(image: tf.Tensor) -> tf.Tensor:
    # On CPUs without AVX-512, tf.transpose of uint8 works but logs an error of oneDNN.
    height, width, channels = tf.unstack(tf.shape(image))
    places = tf.range(width)[:, tf.newaxis] + width * tf.range(height)
    return tf.gather(tf.reshape(image, [height * width, channels]), places)


def _bmp(data: tf.Tensor, image: tf.Tensor) -> tf.Tensor:
    """Returns the colours of a BMP. TensorFlow returns indices into its palette."""
    header_bytes, compression = _integer(data, _BMP_HEADER), _integer(data, _BMP_HEADER + 16)
    is_plain = ((compression == 0) | (compression == 3)) & (header_bytes >= 40)
    with tf.control_dependencies([tf.debugging.Assert(is_plain, ["compressed or OS/2 BMP"])]):
        image = tf.identity(image)

    def coloured():
        number = _integer(data, _BMP_HEADER + 32)
        number = tf.where((number == 0) | (number > _BMP_COLOURS), _BMP_COLOURS, number)
        stored = _bytes_at(data, _BMP_HEADER + header_bytes, 4 * number)
        palette = tf.reshape(tf.io.decode_raw(stored, tf.uint8), [-1, 4])[:, 2::-1]
        palette = tf.pad(palette, [[0, _BMP_COLOURS - tf.shape(palette)[0]], [0, 0]])
        return tf.gather(palette, tf.cast(image[..., 0], tf.int32))

    # Most programs ignore the fourth channel.
    return tf.cond(tf.shape(image)[-1] == 1, coloured, lambda: image[..., :3])


def _head(data: tf.Tensor) -> tf.Tensor:
    return tf.strings.substr(data, 0, _HEAD_BYTES)


def _is_png(data: tf.Tensor) -> tf.Tensor:
    return _bytes_at(data, 1, 3) == b"PNG"


def _integer(data: tf.Tensor, position: int) -> tf.Tensor:
    """Returns the four bytes at `position` as a little-endian integer; missing bytes are 0."""
    stored = tf.strings.join([_bytes_at(data, position, 4), bytes(4)])
    return tf.io.decode_raw(tf.strings.substr(stored, 0, 4), tf.int32)[0]


def _bytes_at(data: tf.Tensor, position, size) -> tf.Tensor:
    """Returns the `size` bytes from `position` on, without those beyond the end."""
    end = tf.strings.length(data)
    start = tf.clip_by_value(position, 0, end)
    return tf.strings.substr(data, start, tf.clip_by_value(size, 0, end - start))
