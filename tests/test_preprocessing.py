"""From an image or a file of any size to the model's, against Pillow, arithmetic and slow NumPy."""

import io
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from crvae_tf.datasets.preprocessing import Preprocessing, decode, on_white
from tests import reference
from tests.image_files import ORIENTATION, blocks, encoded, exif

SIDE, WHITE = 8, 255
COLOUR = blocks(0, 3, height=SIDE, width=SIDE, side=1)
GRAY, ALPHA = (blocks(seed, 1, height=SIDE, width=SIDE, side=1) for seed in (1, 2))
PALETTE = Image.fromarray(COLOUR).quantize(5)


def random_image(height, width, channels, seed=0):
    return blocks(seed, channels, height=height, width=width, side=1)


def whitened(pixels):
    """Pixels as they look on a white ground."""
    alpha = ALPHA / np.float32(255.0)
    return np.round(alpha * pixels + (np.float32(1.0) - alpha) * 255.0).astype(np.uint8)


def applied(preprocessing, image):
    return preprocessing(tf.constant(image)).numpy()


def in_a_graph(preprocessing, image):
    """The same where neither height nor width is known when the graph is made."""
    signature = tf.TensorSpec([None, None, image.shape[-1]], image.dtype)
    return tf.function(preprocessing.__call__, input_signature=[signature])(image).numpy()


@pytest.mark.parametrize(
    ("height", "width", "crop", "rows", "columns"),
    [
        (28, 28, None, slice(0, 28), slice(0, 28)),
        (28, 28, 140, slice(0, 28), slice(0, 28)),
        (4, 6, None, slice(0, 4), slice(1, 5)),
        (7, 4, None, slice(1, 5), slice(0, 4)),
        (218, 178, 140, slice(39, 179), slice(19, 159)),
        (5, 3, 4, slice(1, 4), slice(0, 3)),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_the_central_square_is_kept_to_the_bit(height, width, crop, rows, columns, channels):
    image = random_image(height, width, channels)
    expected = image[rows, columns]
    preprocessing = Preprocessing(len(expected), channels, crop=crop)
    np.testing.assert_array_equal(applied(preprocessing, image), expected)
    np.testing.assert_array_equal(in_a_graph(preprocessing, image), expected)


@pytest.mark.parametrize(
    ("height", "side"), [(105, 28), (40, 28), (140, 64), (28, 32), (20, 28), (9, 1)]
)
@pytest.mark.parametrize("channels", [1, 3])
def test_resizing_antialiases_and_rounds(height, side, channels):
    image = random_image(height, height, channels)
    expected = reference.antialiased_resize(image, side)
    for apply in (applied, in_a_graph):
        actual = apply(Preprocessing(side, channels), image)
        # Half a level from rounding, and as little as float32 adds to it.
        np.testing.assert_allclose(actual, expected, atol=0.5 + 1e-3)


def test_crop_inversion_and_resizing_together_equal_the_steps_by_hand():
    image = random_image(50, 60, 1)
    expected = 255 - reference.antialiased_resize(image[5:45, 10:50], 28)
    actual = applied(Preprocessing(28, 1, crop=40, invert=True), image)
    np.testing.assert_allclose(actual, expected, atol=0.5 + 1e-3)


def test_colour_becomes_its_luma():
    """The weights of ITU-R BT.601; a level may be lost to rounding."""
    expected = COLOUR @ [0.299, 0.587, 0.114]
    np.testing.assert_allclose(applied(Preprocessing(SIDE, 1), COLOUR)[..., 0], expected, atol=1.0)


def test_every_gray_level_survives_inverting_and_becoming_colour_and_gray_again():
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    colour = applied(Preprocessing(16, 3), levels)
    np.testing.assert_array_equal(applied(Preprocessing(16, 1), colour), levels)
    np.testing.assert_array_equal(applied(Preprocessing(16, 1, invert=True), colour), 255 - levels)


@pytest.mark.parametrize(
    ("image", "levels"),
    [
        (COLOUR.astype(np.uint16) * 256 + 77, COLOUR),
        (COLOUR / np.float32(255.0), COLOUR),
        (COLOUR / 255.0, COLOUR),
        (COLOUR > 99, np.where(COLOUR > 99, 255, 0)),
        (np.concatenate([GRAY, ALPHA], axis=-1), whitened(GRAY)),
        (np.concatenate([COLOUR, ALPHA], axis=-1), whitened(COLOUR)),
    ],
    ids=["uint16", "float32", "float64", "bool", "gray with alpha", "colour with alpha"],
)
@pytest.mark.parametrize(
    ("side", "channels", "apply"), [(SIDE, 1, applied), (SIDE, 3, in_a_graph), (5, 3, applied)]
)
def test_images_are_scaled_by_their_type_and_put_on_white(image, levels, side, channels, apply):
    preprocessing = Preprocessing(side, channels)
    expected = applied(preprocessing, levels.astype(np.uint8))
    np.testing.assert_array_equal(apply(preprocessing, image), expected)


@pytest.mark.parametrize(
    ("image", "brightest", "expected"),
    [
        ((GRAY > 99).astype(np.uint8), 1 / 255, np.where(GRAY > 99, WHITE, 0)),
        (np.where(GRAY > 99, 4095, 0).astype(np.uint16), 4095 / 65535, np.where(GRAY > 99, WHITE, 0)),
        (GRAY, 0.5, np.minimum(2.0 * GRAY, WHITE)),
    ],
    ids=["mask", "12 bits", "half"],
)
def test_the_brightest_value_becomes_white_in_arrays_and_files_alike(image, brightest, expected):
    preprocessing = Preprocessing(SIDE, 1, brightest=brightest)
    np.testing.assert_array_equal(applied(preprocessing, image), expected)
    np.testing.assert_array_equal(preprocessing.decode(encoded(np.squeeze(image), "PNG")), expected)


@pytest.mark.parametrize(
    ("shape", "preprocessing"),
    [
        ((28, 28, 1), Preprocessing(28, 3)),
        ((105, 105, 3), Preprocessing(28, 1, invert=True)),
        ((50, 40, 3), Preprocessing(16, 1, crop=30)),
        ((20, 30, 4), Preprocessing(16, 3)),
    ],
)
def test_a_batch_gives_what_each_image_gives_alone(shape, preprocessing):
    images = np.stack([random_image(*shape, seed=seed) for seed in range(5)])
    together = preprocessing(tf.constant(images))
    assert together.shape[1:] == preprocessing.image_shape
    np.testing.assert_array_equal(together, [applied(preprocessing, image) for image in images])


@pytest.mark.parametrize(("side", "channels"), [(SIDE, 1), (SIDE, 3), (5, 3)])
@pytest.mark.parametrize(
    ("file_format", "stored", "seen"),
    [
        ("PNG", GRAY[..., 0], GRAY),
        ("PNG", GRAY[..., 0] * np.uint16(256) + 200, GRAY),
        ("PNG", COLOUR, COLOUR),
        ("PNG", np.concatenate([COLOUR, ALPHA], axis=-1), whitened(COLOUR)),
        ("PNG", np.concatenate([GRAY, ALPHA], axis=-1), whitened(GRAY)),
        ("BMP", np.concatenate([COLOUR, ALPHA], axis=-1), COLOUR),
        ("BMP", PALETTE, PALETTE.convert("RGB")),
        ("GIF", PALETTE, PALETTE.convert("RGB")),
        ("WEBP", np.concatenate([COLOUR, ALPHA], axis=-1), whitened(COLOUR)),
    ],
)
def test_a_lossless_file_gives_what_its_pixels_give(file_format, stored, seen, side, channels):
    preprocessing = Preprocessing(side, channels)
    data = encoded(stored, file_format, lossless=True, exact=True)
    expected = applied(preprocessing, np.asarray(seen))
    np.testing.assert_array_equal(preprocessing.decode(data), expected)


decoded = tf.function(
    lambda data: on_white(decode(data)), input_signature=[tf.TensorSpec([], tf.string)]
)


@pytest.mark.parametrize("big_endian", [False, True])
@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_an_exif_orientation_is_applied_as_pillow_does(file_format, orientation, big_endian):
    data = encoded(blocks(0, 3), file_format, exif=exif(orientation, big_endian))
    stored = Image.fromarray(tf.io.decode_image(data, expand_animations=False).numpy())
    stored.getexif()[ORIENTATION] = orientation
    np.testing.assert_array_equal(decoded(data), np.asarray(ImageOps.exif_transpose(stored)))


def entries(*given):
    """Returns a directory of Exif with short integers."""
    fields = b"".join(struct.pack("<HHII", tag, 3, 1, value) for tag, value in given)
    return struct.pack("<H", len(given)) + fields


def test_a_directory_of_exif_may_begin_later():
    directory = entries((0x103, 6), (ORIENTATION, 3)) + bytes(4)
    block = b"Exif\0\0II*\0" + struct.pack("<I", 16) + bytes(8) + directory
    pixels = blocks(9, 3)
    np.testing.assert_array_equal(decoded(encoded(pixels, "PNG", exif=block)), pixels[::-1, ::-1])


def test_an_orientation_of_the_thumbnail_alone_turns_nothing():
    first, width = entries((0x103, 6)), 0x100
    block = b"Exif\0\0II*\0" + struct.pack("<I", 8) + first + struct.pack("<I", 12 + len(first))
    pixels = blocks(9, 3)
    for before in ((), ((width, 1),)):
        data = encoded(pixels, "PNG", exif=block + entries(*before, (ORIENTATION, 6)) + bytes(4))
        np.testing.assert_array_equal(decoded(data), pixels)


def test_exif_behind_the_pixels_of_a_large_png_is_found():
    pixels = random_image(250, 300, 3)
    data = encoded(pixels, "PNG")
    assert len(data) > 2**17
    chunk = b"eXIf" + exif(3).removeprefix(b"Exif\0\0")
    chunk = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    turned = decoded(data[:-12] + chunk + data[-12:])
    np.testing.assert_array_equal(turned, pixels[::-1, ::-1])


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=60))
def test_a_damaged_exif_block_neither_fails_nor_hangs(damage):
    data = encoded(blocks(2, 3), "JPEG", exif=b"Exif\0\0" + damage)
    stored = tf.io.decode_image(data).numpy()
    assert sorted(decoded(data).numpy().reshape(-1)) == sorted(stored.reshape(-1))


def test_a_png_is_read_as_it_is_stored_whatever_its_end_names():
    pixels = blocks(3, 3)
    np.testing.assert_array_equal(decoded(encoded(pixels, "PNG") + b"tRNS eXIf"), pixels)


def gif_frame(seed, colours=50):
    return Image.fromarray(blocks(seed, 3, height=16, width=16, side=2)).quantize(colours)


def with_its_own_palette(gif):
    """Moves the palette of a GIF behind the descriptor of its first frame."""
    bits = gif[10] & 7
    end = 13 + 3 * 2 ** (1 + bits)
    descriptor = end + 8  # After an extension.
    assert gif[descriptor : descriptor + 1] == b","
    head = gif[:10] + bytes([gif[10] & 0x7F]) + gif[11:13] + gif[end : descriptor + 9]
    return head + bytes([gif[descriptor + 9] | 0x80 | bits]) + gif[13:end] + gif[descriptor + 10 :]


def with_a_comment(gif):
    """Puts a comment with what looks like a graphic control between that and the first frame."""
    comment = b"!\xfe" + b"\x08\xf9\x04\x01\x00\x00\x03\x00\x00" + b"\x01!" + b"\x00"
    frame = 13 + 3 * 2 ** (1 + (gif[10] & 7)) + 8
    return gif[:frame] + comment + gif[frame:]


@pytest.mark.parametrize(
    ("image", "file_format", "change"),
    [
        (Image.fromarray(blocks(16)), "PNG", bytes),
        (Image.fromarray(blocks(16, 3)), "PNG", bytes),
        (gif_frame(7), "PNG", bytes),
        (gif_frame(7), "GIF", bytes),
        (gif_frame(7), "GIF", with_its_own_palette),
        (gif_frame(7), "GIF", with_a_comment),
    ],
)
def test_a_transparent_colour_is_white(image, file_format, change):
    clear = image.getpixel((0, 0))
    is_clear = (np.atleast_3d(image) == clear).all(axis=-1, keepdims=True)
    data = change(encoded(image, file_format, transparency=clear))
    np.testing.assert_array_equal(decoded(data), np.where(is_clear, WHITE, image.convert("RGB")))


def test_a_transparent_colour_beyond_the_palette_of_a_gif_changes_nothing():
    image = gif_frame(8)
    data = bytearray(encoded(image, "GIF", transparency=image.getpixel((0, 0))))
    data[13 + 3 * 2 ** (1 + (data[10] & 7)) + 6] = 255
    np.testing.assert_array_equal(decoded(bytes(data)), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("colours", [2, 60, 256])
@pytest.mark.parametrize("options", [{}, {"comment": 700 * b"x", "duration": 40, "loop": 0}])
def test_the_first_frame_of_an_animated_gif_keeps_colours_that_are_transparent_later(colours, options):
    first, *others = [gif_frame(seed, colours) for seed in range(20, 24)]
    for frame in others:
        frame.info["transparency"] = first.getpixel((0, 0))
    data = encoded(first, "GIF", save_all=True, append_images=others, **options)
    assert Image.open(io.BytesIO(data)).n_frames == 4
    np.testing.assert_array_equal(decoded(data), np.asarray(first.convert("RGB")))


@pytest.mark.parametrize("options", [{}, {"exif": exif(1), "icc_profile": b"profile"}])
def test_of_an_animated_webp_without_alpha_the_first_frame_is_taken(options):
    frames = [Image.fromarray(blocks(seed, 3)) for seed in range(3)]
    more = {"save_all": True, "append_images": frames[1:], "lossless": True} | options
    data = encoded(frames[0], "WEBP", **more)
    for _ in range(100):  # TensorFlow alone would sooner or later end the process.
        made = decoded(data)
    np.testing.assert_array_equal(made, np.asarray(frames[0]))


def test_all_bits_of_a_deep_png_are_stretched_turned_as_its_exif_says():
    pixels = (np.arange(64, dtype=np.uint16) * 65).reshape(8, 8)
    stretched = Preprocessing(8, 1, brightest=4095 / 65535)
    made = stretched.decode(encoded(pixels, "PNG", exif=exif(6)))
    np.testing.assert_allclose(made[..., 0], np.rot90(pixels, -1) / 4095 * 255, atol=0.51)
    clear = encoded(pixels, "PNG", transparency=int(pixels[0, 0]))
    assert stretched.decode(clear)[0, 0, 0] == WHITE


def test_a_bmp_of_one_bit_a_compressed_and_a_damaged_one_are_refused():
    one_bit = encoded(Image.fromarray(blocks(11)).convert("1"), "BMP")
    compressed = bytearray(encoded(blocks(12), "BMP"))
    compressed[30:34] = struct.pack("<I", 1)
    far = bytearray(encoded(blocks(12), "BMP"))  # Its palette would begin beyond its end.
    far[14:18] = struct.pack("<I", 10**6)
    for data in (one_bit, bytes(compressed), bytes(far)):
        with pytest.raises(tf.errors.InvalidArgumentError):
            decoded(data)
