"""The random affine transformation against KerasCV's own layers and SciPy."""

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

KEY = randomness.key(7)
SIZES = {"translation": 4.0, "rotation": 30.0, "scaling": 0.25}
DRAWS = 20_000
KS_LIMIT = 1.95 / math.sqrt(DRAWS)
"""By chance the statistic passes it once in a thousand times (Kolmogorov 1933)."""


def affine(number, right=0.0, down=0.0, angle=0.0, scale=1.0):
    return Affine(*(tf.fill([number], float(part)) for part in (right, down, angle, scale)))


@pytest.fixture(scope="module")
def images():
    """Smooth random images, not square, of two channels."""
    noise = np.random.default_rng(0).random((6, 4, 5, 2))
    return tf.image.resize(noise, [15, 12], method="bilinear")


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


def test_views_are_of_full_precision_whatever_the_models(images):
    keras.mixed_precision.set_global_policy("mixed_bfloat16")
    assert RandomAffine(seed=0)(images).dtype == tf.float32


def test_the_composition_equals_scipys_warp_with_one_interpolation(images):
    drawn = RandomAffine(5.0, 180.0, 0.4).sample(6, KEY)
    actual = RandomAffine().augment_images(images, drawn)
    for image, result, *parts in zip(images.numpy(), actual.numpy(), *drawn, strict=True):
        expected = reference.affine_warp(image, *(float(part) for part in parts))
        np.testing.assert_allclose(result, expected, atol=2e-5)


def test_draws_are_uniform_in_their_ranges_and_not_correlated():
    """So the scale is, and not its inverse: KerasCV's zoom would have a mean scale of 1.0217."""
    drawn = np.stack(RandomAffine(**SIZES).sample(DRAWS, KEY))
    for values, low, high in zip(drawn, [-4, -4, -30, 0.75], [4, 4, 30, 1.25], strict=True):
        assert low <= values.min() < low + 0.01 * (high - low)
        assert high - 0.01 * (high - low) < values.max() <= high
        assert scipy.stats.kstest(values, "uniform", (low, high - low)).statistic < KS_LIMIT
    assert abs(drawn[3].mean() - 1.0) < 4 * 0.5 / math.sqrt(12 * DRAWS)
    neighbours = np.concatenate([drawn[:, 1:], drawn[:, :-1]])
    assert np.abs(np.corrcoef(neighbours)[~np.eye(8, dtype=bool)]).max() < 4 / math.sqrt(DRAWS)


@pytest.mark.parametrize(
    ("part", "moving"),
    [
        ("translation", ["angle", "scale"]),
        ("rotation", ["right", "down", "scale"]),
        ("scaling", ["right", "down", "angle"]),
    ],
)
def test_a_size_of_zero_leaves_its_part_out_and_no_other(part, moving):
    drawn = RandomAffine(**(SIZES | {part: 0.0})).sample(100, KEY)
    for name, values, still in zip(Affine._fields, drawn, affine(100), strict=True):
        assert np.all((values != still) == (name in moving)), name


def test_all_sizes_zero_is_the_identity_to_the_bit(images):
    layer = RandomAffine(0.0, 0.0, 0.0)
    np.testing.assert_array_equal(layer(images), images)
    np.testing.assert_array_equal(layer.augment_images(images, layer.sample(6, KEY)), images)


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


def test_a_layer_that_keras_saved_is_the_same_layer(images, tmp_path):
    layer = RandomAffine(1.5, 20.0, 0.3, seed=0, name="view")
    keras.Sequential([keras.Input(images.shape[1:]), layer]).save(tmp_path / "model.keras")
    (again,) = keras.models.load_model(tmp_path / "model.keras").layers
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
