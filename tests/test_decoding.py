"""What is read from an image file, against Pillow and against arithmetic."""

import io
import struct

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from crvae_tf.datasets.preprocessing import Preprocessing, decode, on_white
from tests.image_files import ORIENTATION, blocks, encoded, exif

WHITE = 255

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


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=60))
def test_a_damaged_exif_block_neither_fails_nor_hangs(damage):
    data = encoded(blocks(2, 3), "JPEG", exif=b"Exif\0\0" + damage)
    stored = tf.io.decode_image(data).numpy()
    assert sorted(decoded(data).numpy().reshape(-1)) == sorted(stored.reshape(-1))


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=60), st.integers(0, 2**32 - 1))
def test_what_follows_the_end_of_a_png_neither_fails_nor_hangs(rest, length):
    pixels = blocks(3, 3)
    data = encoded(pixels, "PNG") + struct.pack(">I", length) + b"fAKE" + rest + b"eXIf"
    np.testing.assert_array_equal(decoded(data), pixels)


def test_of_sixteen_bits_the_upper_eight_are_taken():
    pixels = (np.arange(48, dtype=np.uint16) * 1365).reshape(8, 6)
    np.testing.assert_array_equal(decoded(encoded(pixels, "PNG"))[..., 0], pixels // 256)


@pytest.mark.parametrize("file_format", ["PNG", "GIF", "BMP"])
@pytest.mark.parametrize("colours", [5, 200])
def test_the_colours_of_a_palette_are_read(file_format, colours):
    image = Image.fromarray(blocks(6, 3, height=16, width=16, side=2)).quantize(colours)
    expected = np.asarray(image.convert("RGB"))
    np.testing.assert_array_equal(decoded(encoded(image, file_format)), expected)


def test_a_transparent_colour_of_a_palette_is_white():
    image = Image.fromarray(blocks(7, 3)).quantize(16)
    clear = int(np.asarray(image)[0, 0])
    expected = np.array(image.convert("RGB"))
    expected[np.asarray(image) == clear] = WHITE
    np.testing.assert_array_equal(decoded(encoded(image, "PNG", transparency=clear)), expected)


@pytest.mark.parametrize("channels", [(), (3,)], ids=["gray", "colour"])
def test_a_transparent_colour_of_a_png_without_palette_is_white(channels):
    pixels = blocks(16, *channels)
    clear = pixels[0, 0]
    data = encoded(pixels, "PNG", transparency=tuple(map(int, clear)) if channels else int(clear))
    is_clear = (pixels == clear).all(axis=-1) if channels else pixels == clear
    expected = pixels.copy()
    expected[is_clear] = WHITE
    expected = np.broadcast_to(expected.reshape(*pixels.shape[:2], -1), [*pixels.shape[:2], 3])
    np.testing.assert_array_equal(decoded(data), expected)


def test_a_png_that_only_names_transparency_is_read_as_it_is_stored():
    pixels = blocks(17, 3)
    np.testing.assert_array_equal(decoded(encoded(pixels, "PNG") + b"tRNS"), pixels)


@pytest.mark.parametrize("channels", [3, 4])
def test_a_webp_is_read_and_put_on_white(channels):
    pixels = blocks(18, channels)
    data = encoded(pixels, "WEBP", lossless=True, exact=True)
    np.testing.assert_array_equal(decoded(data), on_white(pixels))


def test_all_bits_of_a_deep_png_are_stretched_turned_as_its_exif_says():
    pixels = (np.arange(64, dtype=np.uint16) * 65).reshape(8, 8)
    stretched = Preprocessing(8, 1, brightest=4095 / 65535)
    made = stretched.decode(encoded(pixels, "PNG", exif=exif(6)))
    np.testing.assert_allclose(made[..., 0], np.rot90(pixels, -1) / 4095 * 255, atol=0.51)
    shallow, twice = blocks(19, width=3), Preprocessing(24, 1, brightest=0.5)
    expected = np.minimum(2.0 * shallow, WHITE)
    np.testing.assert_array_equal(twice.decode(encoded(shallow, "PNG"))[..., 0], expected)


@pytest.mark.parametrize("colours", [2, 60, 256])
@pytest.mark.parametrize("options", [{}, {"comment": 700 * b"x", "duration": 40, "loop": 0}])
def test_of_an_animation_the_first_frame_is_taken_with_its_own_palette(colours, options):
    frames = [
        Image.fromarray(blocks(seed, 3, height=16, width=16, side=4)).quantize(colours)
        for seed in range(20, 24)
    ]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:], **options)
    assert Image.open(io.BytesIO(data)).n_frames == 4
    np.testing.assert_array_equal(decoded(data), np.asarray(frames[0].convert("RGB")))


def test_a_bmp_of_one_bit_a_compressed_and_a_damaged_one_are_refused():
    one_bit = encoded(Image.fromarray(blocks(11)).convert("1"), "BMP")
    compressed = bytearray(encoded(blocks(12), "BMP"))
    compressed[30:34] = struct.pack("<I", 1)
    far = bytearray(encoded(blocks(12), "BMP"))  # Its palette would begin beyond its end.
    far[14:18] = struct.pack("<I", 10**6)
    for data in (one_bit, bytes(compressed), bytes(far)):
        with pytest.raises(tf.errors.InvalidArgumentError):
            decoded(data)
