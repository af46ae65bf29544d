"""From an image of any size to the model's, against hand-made values and slow NumPy."""

import numpy as np
import pytest
import tensorflow as tf

from crvae_tf.datasets import Preprocessing
from crvae_tf.datasets.preprocessing import to_unit_interval
from tests import reference
from tests.image_files import encoded

SIDE = 8
RNG = np.random.default_rng(0)
COLOUR = RNG.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
GRAY = RNG.integers(0, 256, (SIDE, SIDE, 1), dtype=np.uint8)
ALPHA = RNG.integers(0, 256, (SIDE, SIDE, 1), dtype=np.uint8)


def random_image(height, width, channels, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def on_white(pixels):
    """Pixels with `ALPHA`, as they look on a white ground."""
    alpha = ALPHA / np.float32(255.0)
    return np.round(alpha * pixels + (np.float32(1.0) - alpha) * 255.0).astype(np.uint8)


def applied(preprocessing, image):
    return preprocessing(tf.constant(image)).numpy()


def in_tf_data(preprocessing, image):
    """The same where neither height nor width is known when the graph is made."""
    signature = tf.TensorSpec([None, None, image.shape[-1]], image.dtype)
    dataset = tf.data.Dataset.from_generator(lambda: [image], output_signature=signature)
    return next(dataset.map(preprocessing).as_numpy_iterator())


@pytest.mark.parametrize("channels", [1, 3])
def test_an_image_with_nothing_to_do_is_kept_to_the_bit(channels):
    image = random_image(28, 28, channels)
    np.testing.assert_array_equal(applied(Preprocessing(28, channels), image), image)
    np.testing.assert_array_equal(applied(Preprocessing(28, channels, crop=28), image), image)
    np.testing.assert_array_equal(applied(Preprocessing(28, channels, crop=140), image), image)
    np.testing.assert_array_equal(in_tf_data(Preprocessing(28, channels), image), image)


def test_inverting_makes_every_level_its_complement():
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    np.testing.assert_array_equal(applied(Preprocessing(16, 1, invert=True), levels), 255 - levels)


@pytest.mark.parametrize(
    ("height", "width", "crop", "rows", "columns"),
    [
        (4, 6, None, slice(0, 4), slice(1, 5)),
        (7, 4, None, slice(1, 5), slice(0, 4)),
        (218, 178, 140, slice(39, 179), slice(19, 159)),
        (218, 178, None, slice(20, 198), slice(0, 178)),
        (9, 9, 4, slice(2, 6), slice(2, 6)),
        (5, 3, 4, slice(1, 4), slice(0, 3)),
    ],
)
def test_the_central_square_is_kept(height, width, crop, rows, columns):
    image = random_image(height, width, 3)
    expected = image[rows, columns]
    preprocessing = Preprocessing(len(expected), 3, crop=crop)
    np.testing.assert_array_equal(applied(preprocessing, image), expected)
    np.testing.assert_array_equal(in_tf_data(preprocessing, image), expected)


@pytest.mark.parametrize(
    ("height", "side"), [(105, 28), (40, 28), (140, 64), (28, 32), (20, 28), (9, 1)]
)
@pytest.mark.parametrize("channels", [1, 3])
def test_resizing_antialiases_and_rounds(height, side, channels):
    image = random_image(height, height, channels)
    expected = reference.antialiased_resize(image, side)
    for apply in (applied, in_tf_data):
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


def test_every_gray_level_survives_becoming_colour_and_gray_again():
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    colour = applied(Preprocessing(16, 3), levels)
    np.testing.assert_array_equal(applied(Preprocessing(16, 1), colour), levels)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("pixels", [GRAY, COLOUR], ids=["gray", "colour"])
@pytest.mark.parametrize("apply", [applied, in_tf_data])
def test_an_image_with_an_alpha_channel_is_put_on_white(apply, pixels, channels):
    preprocessing = Preprocessing(SIDE, channels)
    made = apply(preprocessing, np.concatenate([pixels, ALPHA], axis=-1))
    np.testing.assert_array_equal(made, applied(preprocessing, on_white(pixels)))


@pytest.mark.parametrize(
    ("image", "levels"),
    [
        (COLOUR.astype(np.uint16) * 256 + 77, COLOUR),
        (COLOUR / np.float32(255.0), COLOUR),
        (COLOUR / 255.0, COLOUR),
        (COLOUR > 99, np.where(COLOUR > 99, 255, 0)),
    ],
    ids=["uint16", "float32", "float64", "bool"],
)
@pytest.mark.parametrize("side", [SIDE, 5])
def test_images_are_scaled_by_their_type(image, levels, side):
    preprocessing = Preprocessing(side, 3)
    expected = applied(preprocessing, levels.astype(np.uint8))
    np.testing.assert_array_equal(applied(preprocessing, image), expected)


@pytest.mark.parametrize(
    ("image", "brightest"),
    [
        ((GRAY > 99).astype(np.uint8), 1 / 255),
        (np.where(GRAY > 99, 4095, 0).astype(np.uint16), 4095 / 65535),
    ],
    ids=["mask", "12 bits"],
)
def test_the_brightest_value_becomes_white_in_arrays_and_files_alike(image, brightest):
    preprocessing = Preprocessing(SIDE, 1, brightest=brightest)
    expected = np.where(GRAY > 99, 255, 0)
    np.testing.assert_array_equal(applied(preprocessing, image), expected)
    np.testing.assert_array_equal(preprocessing.decode(encoded(np.squeeze(image), "PNG")), expected)


@pytest.mark.parametrize(
    ("shape", "preprocessing"),
    [
        ((28, 28, 1), Preprocessing(28, 1)),
        ((28, 28, 1), Preprocessing(28, 3)),
        ((105, 105, 3), Preprocessing(28, 1, invert=True)),
        ((32, 32, 3), Preprocessing(64, 3)),
        ((50, 40, 3), Preprocessing(16, 1, crop=30)),
        ((20, 30, 4), Preprocessing(16, 3)),
    ],
)
def test_a_batch_gives_what_each_image_gives_alone(shape, preprocessing):
    images = np.stack([random_image(*shape, seed=seed) for seed in range(5)])
    together = preprocessing(tf.constant(images))
    assert together.dtype == tf.uint8
    assert together.shape[1:] == preprocessing.image_shape
    np.testing.assert_array_equal(together, [applied(preprocessing, image) for image in images])


# Encoded files.


@pytest.mark.parametrize(("side", "channels"), [(SIDE, 1), (SIDE, 3), (5, 3)])
@pytest.mark.parametrize(
    ("file_format", "stored", "seen"),
    [
        ("PNG", GRAY[..., 0], GRAY),
        ("PNG", COLOUR, COLOUR),
        ("PNG", np.concatenate([COLOUR, ALPHA], axis=-1), on_white(COLOUR)),
        ("PNG", np.concatenate([GRAY, ALPHA], axis=-1), on_white(GRAY)),
        ("BMP", GRAY[..., 0], GRAY),
        ("BMP", COLOUR, COLOUR),
        ("BMP", np.concatenate([COLOUR, ALPHA], axis=-1), COLOUR),
        ("GIF", GRAY[..., 0], GRAY),
    ],
)
def test_a_lossless_file_gives_what_its_pixels_give(file_format, stored, seen, side, channels):
    preprocessing, data = Preprocessing(side, channels), encoded(stored, file_format)
    expected = applied(preprocessing, seen)
    np.testing.assert_array_equal(preprocessing.decode(data), expected)
    files = tf.data.Dataset.from_tensors(data).map(preprocessing.decode)
    np.testing.assert_array_equal(next(files.as_numpy_iterator()), expected)


def test_levels_become_multiples_of_one_255th():
    expected = np.arange(256) / 255
    np.testing.assert_allclose(to_unit_interval(np.arange(256, dtype=np.uint8)), expected, rtol=1e-7)
    assert to_unit_interval(np.uint8([0, 255])).numpy().tolist() == [0.0, 1.0]
