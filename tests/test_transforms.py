"""The random affine transformation against KerasCV's own layers, slow NumPy and integer images."""

import math

import keras
import keras_cv
import numpy as np
import pytest
import scipy.stats
import tensorflow as tf

from crvae_tf import InputError, RandomAffine, randomness
from crvae_tf.transforms import Affine
from tests import reference

SIZES = {"translation": 4.0, "rotation": 30.0, "scaling": 0.25}
DRAWS = 20_000
KS_LIMIT = 1.95 / math.sqrt(DRAWS)
"""By chance the statistic passes it once in a thousand times (Kolmogorov 1933)."""
FIVE = np.arange(1, 26).reshape(5, 5)


def affine(number=1, right=0.0, down=0.0, angle=0.0, scale=1.0):
    return Affine(*(tf.fill([number], float(part)) for part in (right, down, angle, scale)))


def key(*path):
    return randomness.key(7, *path)


def warped(image, **parts):
    """A square of integers, transformed."""
    batch = image[np.newaxis, :, :, np.newaxis].astype(np.float32)
    return RandomAffine().augment_images(batch, affine(**parts))[0, :, :, 0]


@pytest.fixture(scope="module")
def images():
    """Smooth random images, not square, of two channels."""
    noise = np.random.default_rng(0).random((6, 4, 5, 2))
    return tf.image.resize(noise, [15, 12], method="bilinear")


# Each part alone is KerasCV's own layer.


@pytest.mark.parametrize("angle", [-170.0, -30.0, 7.5, 15.0, 90.0, 123.0])
def test_rotation_alone_equals_keras_cvs_random_rotation(images, angle):
    oracle = keras_cv.layers.RandomRotation(1.0, fill_mode="constant")
    expected = oracle.augment_images(images, {"angles": tf.fill([6], math.radians(angle))})
    actual = RandomAffine().augment_images(images, affine(6, angle=angle))
    np.testing.assert_allclose(actual, expected, atol=2e-5)


@pytest.mark.parametrize(("right", "down"), [(3.0, 0.0), (0.0, -2.0), (-1.75, 2.5), (0.1, 0.9)])
def test_translation_alone_equals_keras_cvs_random_translation(images, right, down):
    oracle = keras_cv.layers.RandomTranslation(1.0, 1.0, fill_mode="constant")
    height, width = images.shape[1:3]
    fractions = {
        "height_translations": tf.fill([6, 1], down / height),
        "width_translations": tf.fill([6, 1], right / width),
    }
    expected = oracle.augment_images(images, fractions)
    actual = RandomAffine().augment_images(images, affine(6, right=right, down=down))
    np.testing.assert_allclose(actual, expected, atol=2e-5)


@pytest.mark.parametrize("scale", [0.5, 0.75, 0.9, 1.1, 1.25, 1.9])
def test_scaling_alone_equals_keras_cvs_random_zoom_by_the_inverse(images, scale):
    oracle = keras_cv.layers.RandomZoom(0.5, fill_mode="constant")
    zooms = tf.fill([6, 1], 1.0 / scale)
    expected = oracle.augment_images(images, {"height_zooms": zooms, "width_zooms": zooms})
    actual = RandomAffine().augment_images(images, affine(6, scale=scale))
    np.testing.assert_allclose(actual, expected, atol=2e-5)


# The composition is one slow warp.


def test_the_composition_equals_a_slow_warp_with_one_interpolation(images):
    drawn = RandomAffine(5.0, 180.0, 0.4).sample(6, key(1))
    actual = RandomAffine().augment_images(images, drawn)
    for image, result, *parts in zip(images.numpy(), actual.numpy(), *drawn, strict=True):
        expected = reference.affine_warp(image, *(float(part) for part in parts))
        np.testing.assert_allclose(result, expected, atol=2e-5)


# Golden images.


@pytest.mark.parametrize(
    ("right", "down", "expected"),
    [
        (1, 0, [[0, 1, 2, 3, 4], [0, 6, 7, 8, 9], [0, 11, 12, 13, 14], [0, 16, 17, 18, 19],
                [0, 21, 22, 23, 24]]),
        (0, 2, [[0] * 5, [0] * 5, [1, 2, 3, 4, 5], [6, 7, 8, 9, 10], [11, 12, 13, 14, 15]]),
        (-3, -1, [[9, 10, 0, 0, 0], [14, 15, 0, 0, 0], [19, 20, 0, 0, 0], [24, 25, 0, 0, 0], [0] * 5]),
        (5, 0, [[0] * 5] * 5),
    ],
)  # fmt: skip
def test_a_move_by_whole_pixels_moves_right_and_down_and_brings_in_zeros(right, down, expected):
    np.testing.assert_array_equal(warped(FIVE, right=right, down=down), expected)


@pytest.mark.parametrize(
    ("angle", "expected"),
    [
        (90, [[5, 10, 15, 20, 25], [4, 9, 14, 19, 24], [3, 8, 13, 18, 23], [2, 7, 12, 17, 22],
              [1, 6, 11, 16, 21]]),
        (-90, [[21, 16, 11, 6, 1], [22, 17, 12, 7, 2], [23, 18, 13, 8, 3], [24, 19, 14, 9, 4],
               [25, 20, 15, 10, 5]]),
        (180, [[25, 24, 23, 22, 21], [20, 19, 18, 17, 16], [15, 14, 13, 12, 11], [10, 9, 8, 7, 6],
               [5, 4, 3, 2, 1]]),
    ],
)  # fmt: skip
def test_a_quarter_turn_is_counter_clockwise(angle, expected):
    np.testing.assert_allclose(warped(FIVE, angle=angle), expected, atol=1e-4)


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ({"scale": 2}, [[7, 7.5, 8, 8.5, 9], [9.5, 10, 10.5, 11, 11.5], [12, 12.5, 13, 13.5, 14],
                        [14.5, 15, 15.5, 16, 16.5], [17, 17.5, 18, 18.5, 19]]),
        ({"scale": 0.5}, [[0] * 5, [0, 1, 3, 5, 0], [0, 11, 13, 15, 0], [0, 21, 23, 25, 0], [0] * 5]),
        # The move comes last, and is neither scaled nor turned.
        ({"scale": 2, "right": 1}, [[6.5, 7, 7.5, 8, 8.5], [9, 9.5, 10, 10.5, 11],
                                    [11.5, 12, 12.5, 13, 13.5], [14, 14.5, 15, 15.5, 16],
                                    [16.5, 17, 17.5, 18, 18.5]]),
        ({"angle": 90, "right": 2}, np.pad(np.rot90(FIVE), [[0, 0], [2, 0]])[:, :5]),
    ],
)  # fmt: skip
def test_scaling_interpolates_about_the_centre_and_the_move_comes_last(parts, expected):
    np.testing.assert_allclose(warped(FIVE, **parts), expected, atol=1e-4)


def test_what_comes_in_from_outside_is_zero_and_not_a_reflection():
    ones = np.ones((5, 5))
    corners = warped(ones, angle=45).numpy()[[0, 0, -1, -1], [0, -1, 0, -1]]
    # A corner comes from 2 sqrt(2) - 2 of a pixel beyond the edge.
    np.testing.assert_allclose(corners, np.full(4, 3 - 2 * math.sqrt(2)), atol=1e-5)
    np.testing.assert_array_equal(warped(ones, right=3)[:, :3], np.zeros((5, 3)))


# The draws.


def by_the_layer():
    layer = RandomAffine(**SIZES, seed=0)
    return np.concatenate([layer.get_random_transformation_batch(DRAWS // 4) for _ in range(4)], axis=1)


@pytest.mark.parametrize(
    "draw",
    [
        lambda: RandomAffine(**SIZES).sample(DRAWS, key()),
        lambda: RandomAffine(**SIZES).sample_run(tf.range(DRAWS, dtype=tf.int64), key()),
        by_the_layer,
    ],
    ids=["of a key", "of indices", "of the layer"],
)
def test_draws_are_uniform_in_their_ranges_and_not_correlated(draw):
    """So the scale is, and not its inverse: KerasCV's zoom would have a mean scale of 1.0217."""
    drawn = np.stack(draw())
    for values, low, high in zip(drawn, [-4, -4, -30, 0.75], [4, 4, 30, 1.25], strict=True):
        assert low <= values.min() < low + 0.01 * (high - low)
        assert high - 0.01 * (high - low) < values.max() <= high
        assert scipy.stats.kstest(values, "uniform", (low, high - low)).statistic < KS_LIMIT
    assert abs(drawn[3].mean() - 1.0) < 4 * 0.5 / math.sqrt(12 * DRAWS)
    neighbours = np.concatenate([drawn[:, 1:], drawn[:, :-1]])
    assert np.abs(np.corrcoef(neighbours)[~np.eye(8, dtype=bool)]).max() < 4 / math.sqrt(DRAWS)


@pytest.mark.parametrize(("start", "number"), [(0, 130), (5, 1), (63, 2), (64, 64), (100, 130)])
def test_an_index_has_the_same_draw_in_every_run(start, number):
    layer = RandomAffine(**SIZES)
    everything = np.stack(layer.sample_run(tf.range(300, dtype=tf.int64), key()))
    part = np.stack(layer.sample_run(tf.range(start, start + number, dtype=tf.int64), key()))
    np.testing.assert_array_equal(part, everything[:, start : start + number])


@pytest.mark.parametrize("part", ["translation", "rotation", "scaling"])
def test_a_size_of_zero_leaves_its_part_out(part):
    drawn = RandomAffine(**(SIZES | {part: 0.0})).sample(100, key())
    still = {"translation": ["right", "down"], "rotation": ["angle"], "scaling": ["scale"]}[part]
    for name in Affine._fields:
        values = getattr(drawn, name).numpy()
        if name in still:
            np.testing.assert_array_equal(values, np.full(100, 1.0 if name == "scale" else 0.0))
        else:
            assert len(np.unique(values)) == 100


@pytest.mark.parametrize("side", [1, 5, 28])
def test_all_sizes_zero_is_the_identity_to_the_bit(side):
    images = np.random.default_rng(1).random((7, side, side, 3), np.float32)
    layer = RandomAffine(0.0, 0.0, 0.0)
    np.testing.assert_array_equal(layer(images), images)
    np.testing.assert_array_equal(layer.augment_images(images, layer.sample(7, key())), images)


# As a Keras layer.


def test_a_layer_in_a_model_transforms_in_training_alone(images):
    model = keras.Sequential([RandomAffine(**SIZES, seed=0)])
    np.testing.assert_array_equal(model(images, training=False), images)
    np.testing.assert_array_equal(model.predict(images, verbose=0), images)
    assert np.any(model(images, training=True) != images)
    assert np.any(RandomAffine(**SIZES, seed=0)(images) != images)


def test_a_layer_draws_by_its_seed_of_which_zero_is_one_and_anew_at_every_call(images):
    first, again, other = (RandomAffine(**SIZES, seed=seed) for seed in (0, 0, 1))
    view = first(images)
    np.testing.assert_array_equal(view, again(images))
    assert np.abs(view - other(images)).max() > 0.01
    assert np.abs(view - first(images)).max() > 0.01


def test_a_draw_gives_the_same_eagerly_and_inside_tf_data(images):
    layer = RandomAffine(**SIZES)

    def view(step, batch):
        return layer.augment_images(batch, layer.sample(tf.shape(batch)[0], key(step)))

    dataset = tf.data.Dataset.from_tensor_slices(images).repeat(5).batch(4).enumerate()
    mapped = list(dataset.map(view, num_parallel_calls=4).as_numpy_iterator())
    eager = [view(step, batch).numpy() for step, batch in dataset]
    assert [len(batch) for batch in mapped] == [4, 4, 4, 4, 4, 4, 4, 2]
    for one, other in zip(mapped, eager, strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_configuration_makes_the_same_layer_again(images):
    layer = RandomAffine(1.5, 20.0, 0.3, seed=0, name="view")
    again = RandomAffine.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    assert (again.translation, again.rotation, again.scaling, again.seed) == (1.5, 20.0, 0.3, 0)
    np.testing.assert_array_equal(again(images), layer(images))


@pytest.mark.parametrize(
    ("argument", "value", "expected"),
    [
        ("translation", -1, "a number of pixels >= 0"),
        ("translation", math.nan, "a number of pixels >= 0"),
        ("rotation", 181, "degrees in [0, 180]"),
        ("scaling", 1.0, "a fraction in [0, 1)"),
    ],
)
def test_a_size_outside_its_range_is_refused(argument, value, expected):
    with pytest.raises(InputError) as error:
        RandomAffine(**{argument: value})
    assert str(error.value) == f"{argument}: expected {expected}; received {value}"
