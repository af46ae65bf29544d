"""From the bytes of an image file to pixels, as a TensorFlow graph.

An exported encoder carries this graph, so that it reads a file as the training did:

* an Exif orientation in the first 128 KiB (of a JPEG or a PNG) is applied;
* of 16-bit PNGs the upper eight bits are taken;
* palettes (of a PNG, a GIF or an 8-bit BMP) become colours;
* what an alpha channel, a palette or a colour of its own (tRNS) makes transparent in a PNG is put on
  white; a GIF's is black;
* the fourth channel of a BMP is left out, as it is in most programs;
* of a GIF the first frame is taken, by itself where it is smaller than the screen;
* compressed and 1-, 4- and 16-bit BMPs are refused;
* WebP and JPEG XL, and a PNG that does not begin with its header, are refused: nothing here reads the
  sides of these;
* what is larger than 2^26 pixels by its header, or by the first frame of a GIF, is refused before
  memory is taken for it; what follows the first frame of a GIF is cut off before it is decoded.
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

LARGEST_IMAGE = 2**26
"""Pixels; 8192 x 8192. A file of a few bytes can claim any number of them."""
_TOO_LARGE = f"more than {LARGEST_IMAGE} pixels"
_NO_FORMAT = "a WebP or JPEG XL file, which is no PNG, JPEG, GIF or BMP"
_NO_HEADER = "a PNG whose first chunk is not its header"
_WHITE = 255.0
_ORIENTATION_TAG = 0x112
_HEADER_BYTES = 2**17
"""Of a file; its Exif lies in these if it has any."""
_LARGEST_DIRECTORY = 256
_BMP_HEADER = 14
_BMP_UNCOMPRESSED = (0, 3)
_BMP_COLOURS = 256
_JPEG_MARK, _GIF_MARK, _BMP_MARK, _PNG_MARK = 0xFF, ord("G"), ord("B"), 0x89
_OTHER_MARKS = (b"RIFF", b"\0\0\0\x0c")
"""First bytes; the others are those of WebP and of JPEG XL, both of which TensorFlow decodes too."""
_GIF_SIDES, _GIF_PACKED, _GIF_HEADER = 6, 10, 13
_GIF_FRAME_SIDES, _GIF_FRAME_PACKED, _GIF_FRAME = 5, 9, 11
_GIF_EXTENSION, _GIF_CORNER, _GIF_END = ord("!"), bytes(4), b";"
_GIF_BLOCKS_AT_A_TIME = 8
_PNG_COLOUR_TYPE = 25
_PNG_GRAY, _PNG_COLOUR = b"\x00", b"\x02"
"""The types of PNG without an alpha channel and without a palette."""


def decode(data: tf.Tensor) -> tf.Tensor:
    """Returns the pixels, uint8 `[h, w, c]` with c 1 or 3, of the bytes of one image file.

    The graph raises tf.errors.InvalidArgumentError where they cannot be decoded.
    """
    is_gif = tf.strings.substr(data, 0, 1) == b"G"
    data = tf.cond(is_gif, lambda: _first_frame(data), lambda: data)
    with tf.control_dependencies(_checks(data)):
        image = tf.io.decode_image(data, expand_animations=False)
    has_more = tf.strings.regex_full_match(
        tf.strings.substr(data, 0, _HEADER_BYTES), r"(?s)\C*(Exif\x00\x00|eXIf|tRNS)\C*"
    )
    is_bmp = tf.strings.substr(data, 0, 2) == b"BM"
    has_alpha = tf.shape(image)[-1] % 2 == 0
    # Most files are none of these; asked one by one, the questions would cost more than the decoding.
    return tf.cond(has_more | is_bmp | has_alpha, lambda: _as_shown(data, image, is_bmp), lambda: image)


def _checks(data: tf.Tensor) -> list[tf.Operation]:
    """Returns what fails where a file must not be decoded."""
    mark = tf.strings.substr(data, 0, 4)
    has_header = tf.strings.regex_full_match(tf.strings.substr(data, 0, 16), r"(?s)\C{12}IHDR")
    conditions = {
        _NO_FORMAT: tf.reduce_all(mark != _OTHER_MARKS),
        _NO_HEADER: (mark != b"\x89PNG") | has_header,
        _TOO_LARGE: _pixels(data) <= LARGEST_IMAGE,
    }
    # tf.debugging.Assert has another message outside a graph.
    return [tf.raw_ops.Assert(condition=holds, data=[why]) for why, holds in conditions.items()]


# Not inlined: a file of another kind would pay for each of its operations.
@tf.function(
    input_signature=[tf.TensorSpec([], tf.string)],
    autograph=False,
    experimental_attributes={"_noinline": True},
)
def _first_frame(data: tf.Tensor) -> tf.Tensor:
    """Returns a GIF that ends after its first frame, and whose screen is that frame.

    TensorFlow takes memory for all frames, makes the image as large as the largest of them, and leaves
    black what lies outside of it.
    """
    number, after_blocks = _gif_walk(data)
    # TensorFlow reads on after an extension's first block even where that is empty.
    (frame,) = tf.while_loop(
        lambda at: number(at) == _GIF_EXTENSION,
        lambda at: [after_blocks(at + 3 + number(at + 2))],
        [_GIF_HEADER + _palette_bytes(number(_GIF_PACKED))],
        parallel_iterations=1,
    )
    end = after_blocks(frame + _GIF_FRAME + _palette_bytes(number(frame + _GIF_FRAME_PACKED)))
    sides = _bytes_at(data, frame + _GIF_FRAME_SIDES, _GIF_PACKED - _GIF_SIDES)
    before = _bytes_at(data, _GIF_PACKED, frame + 1 - _GIF_PACKED)
    rest = _bytes_at(data, frame + _GIF_FRAME_SIDES, end - frame - _GIF_FRAME_SIDES)
    parts = [_bytes_at(data, 0, _GIF_SIDES), sides, before, _GIF_CORNER, rest, _GIF_END]
    return tf.strings.join(parts)


def _gif_walk(data: tf.Tensor) -> tuple[Callable, Callable]:
    """Returns two functions of a position: the byte there, and the position after the blocks there."""
    end = tf.strings.length(data)
    stored = tf.pad(tf.io.decode_raw(data, tf.uint8), [[0, 1]])

    def number(position):
        return tf.cast(tf.gather(stored, tf.minimum(position, end)), tf.int32)

    def step(at):
        for _ in range(_GIF_BLOCKS_AT_A_TIME):  # The last, without bytes, is followed by itself.
            size = number(at)
            at += tf.where(size > 0, size + 1, 0)
        return [at]

    def after_blocks(position):
        (last,) = tf.while_loop(lambda at: number(at) > 0, step, [position], parallel_iterations=1)
        return tf.minimum(last, end) + 1

    return number, after_blocks


def _palette_bytes(packed: tf.Tensor) -> tf.Tensor:
    """Returns the length of the palette that the packed fields of a GIF, or of a frame, announce."""
    return tf.where(packed < 128, 0, tf.bitwise.left_shift(6, packed % 8))


def _side_weights() -> np.ndarray:
    """Returns what each of a file's first 26 bytes adds to the two sides in a PNG, a GIF and a BMP."""
    weights = np.zeros([6, _SIDE_BYTES])
    big_endian, little_endian = 256.0 ** np.arange(4)[::-1], 256.0 ** np.arange(4)
    weights[0, 16:20] = weights[1, 20:24] = big_endian
    weights[2, 6:8] = weights[3, 8:10] = little_endian[:2]
    weights[4, 18:22] = weights[5, 22:26] = little_endian
    return weights


_SIDE_BYTES = 26
_SIDE_WEIGHTS = _side_weights()


def _pixels(data: tf.Tensor) -> tf.Tensor:
    """Returns how many pixels, float64, the header of an image file claims."""
    start = tf.io.decode_raw(_bytes_at(data, 0, _SIDE_BYTES), tf.uint8)
    start = tf.cast(tf.pad(start, [[0, _SIDE_BYTES - tf.shape(start)[0]]]), tf.float64)

    def in_header():
        sides = tf.linalg.matvec(tf.constant(_SIDE_WEIGHTS), start)
        sides = tf.minimum(sides, 2.0**32 - sides)  # The height of a BMP may be negative.
        marks = tf.constant([_PNG_MARK, _GIF_MARK, _BMP_MARK], tf.float64)
        is_format = tf.cast(start[0] == marks, tf.float64)
        return tf.reduce_sum(is_format * sides[::2] * sides[1::2])

    def in_jpeg():
        shape = tf.cast(tf.image.extract_jpeg_shape(data), tf.float64)
        return shape[0] * shape[1]

    return tf.cond(start[0] == _JPEG_MARK, in_jpeg, in_header)


def _as_shown(data: tf.Tensor, image: tf.Tensor, is_bmp: tf.Tensor) -> tf.Tensor:
    """Returns the image as other programs show it."""
    image = tf.cond(is_bmp, lambda: _bmp(data, image), lambda: _on_white(_with_alpha(data, image)))
    return _upright(image, _orientation(_exif(data)))


def _with_alpha(data: tf.Tensor, image: tf.Tensor) -> tf.Tensor:
    """Returns a PNG that makes a colour transparent with an alpha channel, others as they are."""
    kind = _bytes_at(data, _PNG_COLOUR_TYPE, 1)
    is_png = _bytes_at(data, 0, 1) == bytes([_PNG_MARK])

    def transparent(kept: tf.Tensor) -> Callable[[], tf.Tensor]:
        return lambda: tf.gather(tf.io.decode_png(data, channels=4), kept, axis=-1)

    return tf.case(
        [
            (is_png & (kind == _PNG_GRAY), transparent([0, 3])),
            (is_png & (kind == _PNG_COLOUR), transparent([0, 1, 2, 3])),
        ],
        default=lambda: image,
    )


def _on_white(image: tf.Tensor) -> tf.Tensor:
    """Puts an image with alpha, of 2 or 4 channels, on a white ground."""

    def composed():
        alpha = tf.cast(image[..., -1:], tf.float32) / 255.0
        colour = tf.cast(image[..., :-1], tf.float32)
        return tf.cast(tf.round(alpha * colour + (1.0 - alpha) * _WHITE), tf.uint8)

    return tf.cond(tf.shape(image)[-1] % 2 == 0, composed, lambda: image)


def _bmp(data: tf.Tensor, image: tf.Tensor) -> tf.Tensor:
    """Returns the colours of a BMP, of which TensorFlow returns the numbers of the colours."""
    header_bytes = _integer(data, _BMP_HEADER, 4)
    compression = _integer(data, _BMP_HEADER + 16, 4)
    is_plain = tf.reduce_any(tf.equal(compression, _BMP_UNCOMPRESSED)) & (header_bytes >= 40)
    with tf.control_dependencies([tf.debugging.Assert(is_plain, ["compressed or OS/2 BMP"])]):
        image = tf.identity(image)

    def coloured():
        number = _integer(data, _BMP_HEADER + 32, 4)
        number = tf.where((number == 0) | (number > _BMP_COLOURS), _BMP_COLOURS, number)
        blue_green_red = _bytes_at(data, _BMP_HEADER + header_bytes, 4 * number)
        palette = tf.reshape(tf.io.decode_raw(blue_green_red, tf.uint8), [-1, 4])[:, 2::-1]
        palette = tf.pad(palette, [[0, _BMP_COLOURS - tf.shape(palette)[0]], [0, 0]])
        return tf.gather(palette, tf.cast(image[..., 0], tf.int32))

    return tf.cond(tf.shape(image)[-1] == 1, coloured, lambda: image[..., :3])


def _upright(image: tf.Tensor, orientation: tf.Tensor) -> tf.Tensor:
    """Turns and mirrors an image as its Exif orientation, 1 to 8, asks for."""

    def when(orientations, change, image):
        asked = tf.reduce_any(tf.equal(orientation, orientations))
        return tf.cond(asked, lambda: change(image), lambda: image)

    image = when((5, 6, 7, 8), _transposed, image)
    image = when((2, 3, 6, 7), lambda image: tf.reverse(image, [1]), image)
    return when((3, 4, 7, 8), lambda image: tf.reverse(image, [0]), image)


def _transposed(image: tf.Tensor) -> tf.Tensor:
    # tf.transpose writes an error of oneDNN's for uint8 where the CPU lacks AVX-512, and goes on.
    height, width, channels = tf.unstack(tf.shape(image))
    places = tf.range(width)[:, tf.newaxis] + width * tf.range(height)
    return tf.gather(tf.reshape(image, [height * width, channels]), places)


def _exif(data: tf.Tensor) -> tf.Tensor:
    """Returns the Exif block of a JPEG or a PNG, or an empty string."""
    is_jpeg = _bytes_at(data, 0, 2) == b"\xff\xd8"
    return tf.cond(is_jpeg, lambda: _jpeg_exif(data), lambda: _png_exif(data))


def _jpeg_exif(data: tf.Tensor) -> tf.Tensor:
    """Returns the first Exif block among the segments before the picture itself."""

    def is_segment(position, _):
        marker = _bytes_at(data, position, 2)
        return (tf.strings.substr(marker, 0, 1) == b"\xff") & (marker != b"\xff\xda")

    def step(position, found):
        length = _integer(data, position + 2, 2, little_endian=False)
        is_exif = _bytes_at(data, position + 4, 6) == b"Exif\0\0"
        is_exif &= _bytes_at(data, position, 2) == b"\xff\xe1"
        found = tf.where(is_exif, _bytes_at(data, position + 10, length - 8), found)
        return position + 2 + tf.maximum(length, 2), found

    return _search(is_segment, step, first=2)


def _png_exif(data: tf.Tensor) -> tf.Tensor:
    """Returns the block of the chunk eXIf."""

    def is_chunk(position, _):
        return position + 12 <= tf.strings.length(data)

    def step(position, found):
        length = _integer(data, position, 4, little_endian=False)
        is_exif = _bytes_at(data, position + 4, 4) == b"eXIf"
        found = tf.where(is_exif, _bytes_at(data, position + 8, length), found)
        return position + 12 + tf.clip_by_value(length, 0, tf.strings.length(data)), found

    return _search(is_chunk, step, first=8)


def _search(is_part, step, first: int) -> tf.Tensor:
    """Walks over the parts of a file from the position `first` until a string is found."""
    _, found = tf.while_loop(
        lambda position, found: (found == b"") & is_part(position, found),
        step,
        (tf.constant(first), tf.constant(b"")),
        parallel_iterations=1,
    )
    return found


def _orientation(exif: tf.Tensor) -> tf.Tensor:
    """Returns the orientation, 1 to 8, that an Exif block names; 1 where it names none."""
    little_endian = _bytes_at(exif, 0, 2) == b"II"

    directory = _integer(exif, 4, 4, little_endian)
    number = tf.minimum(_integer(exif, directory, 2, little_endian), _LARGEST_DIRECTORY)
    entries = tf.io.decode_raw(_bytes_at(exif, directory + 2, 12 * number), tf.uint8)
    entries = tf.cast(tf.reshape(entries[: tf.size(entries) // 12 * 12], [-1, 12]), tf.int32)
    factors = tf.where(little_endian, [1, 256], [256, 1])
    tags = tf.reduce_sum(entries[:, :2] * factors, axis=-1)
    values = tf.reduce_sum(entries[:, 8:10] * factors, axis=-1)
    found = tf.where((tags == _ORIENTATION_TAG) & (values <= 8), values, 1)
    return tf.reduce_max(tf.concat([found, [1]], axis=0))


def _integer(data: tf.Tensor, position, size: int, little_endian=True) -> tf.Tensor:
    """Returns the unsigned integer of `size` bytes at `position`; absent bytes are 0."""
    number = tf.io.decode_raw(_bytes_at(data, position, size), tf.uint8)
    number = tf.cast(tf.pad(number, [[0, size - tf.shape(number)[0]]]), tf.int32)
    number = tf.where(little_endian, number, number[::-1])
    return tf.reduce_sum(tf.bitwise.left_shift(number, 8 * tf.range(size)))


def _bytes_at(data: tf.Tensor, position, size) -> tf.Tensor:
    """Returns at most `size` bytes from `position` on; what lies outside is left out."""
    end = tf.strings.length(data)
    start = tf.clip_by_value(position, 0, end)
    return tf.strings.substr(data, start, tf.clip_by_value(size, 0, end - start))
