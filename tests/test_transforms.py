"""The random affine transformation against KerasCV's own layers, slow NumPy and integer images."""

import math

import keras
import keras_cv
import numpy as np
import pytest
import tensorflow as tf

from crvae_tf import InputError, RandomAffine, randomness
from crvae_tf.transforms import Affine
from tests import reference
from tests.conftest import ROOT

SIZES = {"translation": 4.0, "rotation": 30.0, "scaling": 0.25}
DRAWS = 20_000
KS_LIMIT = 1.95 / math.sqrt(DRAWS)
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


@pytest.fixture(scope="module")
def draws():
    """Columns: right, down, angle, scale."""
    return np.stack(RandomAffine(**SIZES).sample(DRAWS, key()), axis=-1)


def test_keras_cv_is_imported_nowhere_else():
    users = [p.name for p in (ROOT / "crvae_tf").rglob("*.py") if "import keras_cv" in p.read_text()]
    assert users == ["transforms.py"]


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


def test_three_layers_in_a_row_would_blur_what_one_interpolation_does_not(images):
    """That the oracle can tell the two apart."""
    moved = RandomAffine().augment_images(images, affine(6, right=0.5))
    there_and_back = RandomAffine().augment_images(moved, affine(6, right=-0.5))
    assert np.abs(there_and_back - images)[:, 2:-2, 2:-2].max() > 0.01


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


def test_growing_twofold_interpolates_about_the_centre():
    expected = [
        [7, 7.5, 8, 8.5, 9],
        [9.5, 10, 10.5, 11, 11.5],
        [12, 12.5, 13, 13.5, 14],
        [14.5, 15, 15.5, 16, 16.5],
        [17, 17.5, 18, 18.5, 19],
    ]
    np.testing.assert_allclose(warped(FIVE, scale=2), expected, atol=1e-5)


def test_shrinking_twofold_brings_in_zeros():
    expected = [[0] * 5, [0, 1, 3, 5, 0], [0, 11, 13, 15, 0], [0, 21, 23, 25, 0], [0] * 5]
    np.testing.assert_allclose(warped(FIVE, scale=0.5), expected, atol=1e-5)


def test_the_move_comes_after_the_scaling_and_is_not_scaled():
    expected = [
        [6.5, 7, 7.5, 8, 8.5],
        [9, 9.5, 10, 10.5, 11],
        [11.5, 12, 12.5, 13, 13.5],
        [14, 14.5, 15, 15.5, 16],
        [16.5, 17, 17.5, 18, 18.5],
    ]
    np.testing.assert_allclose(warped(FIVE, scale=2, right=1), expected, atol=1e-5)


def test_the_move_comes_after_the_turn_and_is_not_turned():
    expected = np.pad(np.rot90(FIVE), [[0, 0], [2, 0]])[:, :5]
    np.testing.assert_allclose(warped(FIVE, angle=90, right=2), expected, atol=1e-4)


def test_what_comes_in_from_outside_is_zero_and_not_a_reflection():
    ones = np.ones((5, 5))
    corners = warped(ones, angle=45).numpy()[[0, 0, -1, -1], [0, -1, 0, -1]]
    # A corner comes from 2 sqrt(2) - 2 of a pixel beyond the edge.
    np.testing.assert_allclose(corners, np.full(4, 3 - 2 * math.sqrt(2)), atol=1e-5)
    np.testing.assert_array_equal(warped(ones, right=3)[:, :3], np.zeros((5, 3)))


def test_each_image_of_a_batch_has_its_own_transformation(images):
    drawn = RandomAffine(**SIZES).sample(6, key(2))
    together = RandomAffine().augment_images(images, drawn)
    for i in range(6):
        alone = Affine(*(part[i : i + 1] for part in drawn))
        expected = RandomAffine().augment_images(images[i : i + 1], alone)[0]
        np.testing.assert_allclose(together[i], expected, atol=2e-5)


# The draws.


@pytest.mark.parametrize(
    ("column", "low", "high"),
    [(0, -4.0, 4.0), (1, -4.0, 4.0), (2, -30.0, 30.0), (3, 0.75, 1.25)],
    ids=["right", "down", "angle", "scale"],
)
def test_each_draw_is_uniform_in_its_range(draws, column, low, high):
    values = draws[:, column]
    assert low <= values.min() < low + 0.01 * (high - low)
    assert high - 0.01 * (high - low) < values.max() <= high
    assert reference.kolmogorov_smirnov(values, low, high) < KS_LIMIT


def test_the_scale_is_uniform_and_not_its_inverse(draws):
    """KerasCV's zoom factor, uniform in the same range, would have a mean scale of 1.0217."""
    scale = draws[:, 3]
    assert abs(scale.mean() - 1.0) < 4 * 0.5 / math.sqrt(12 * DRAWS)
    quantiles = [0.1, 0.25, 0.5, 0.75, 0.9]
    expected = [0.8, 0.875, 1.0, 1.125, 1.2]
    np.testing.assert_allclose(np.quantile(scale, quantiles), expected, atol=0.01)
    assert (1.0 / scale).mean() > 1.015  # That the tolerances can tell the two apart.


def test_the_four_draws_are_not_correlated(draws):
    off_diagonal = np.corrcoef(draws.T)[~np.eye(4, dtype=bool)]
    assert np.abs(off_diagonal).max() < 4 / math.sqrt(DRAWS)


def test_the_draws_of_a_run_of_indices_are_uniform_and_not_correlated():
    run = RandomAffine(**SIZES).sample_run(tf.range(DRAWS, dtype=tf.int64), key())
    for values, low, high in zip(run, [-4, -4, -30, 0.75], [4, 4, 30, 1.25], strict=True):
        assert reference.kolmogorov_smirnov(values.numpy(), low, high) < KS_LIMIT
    neighbours = np.concatenate([np.stack(run)[:, 1:], np.stack(run)[:, :-1]])
    assert np.abs(np.corrcoef(neighbours)[~np.eye(8, dtype=bool)]).max() < 4 / math.sqrt(DRAWS)


def test_the_layers_own_draws_are_uniform_and_not_correlated():
    layer = RandomAffine(**SIZES, seed=0)
    calls = [np.stack(layer.get_random_transformation_batch(DRAWS // 4)) for _ in range(4)]
    drawn = np.concatenate(calls, axis=1)
    for values, low, high in zip(drawn, [-4, -4, -30, 0.75], [4, 4, 30, 1.25], strict=True):
        assert reference.kolmogorov_smirnov(values, low, high) < KS_LIMIT
    apart = np.concatenate(calls)
    assert np.abs(np.corrcoef(apart)[~np.eye(16, dtype=bool)]).max() < 4.5 / math.sqrt(DRAWS / 4)


@pytest.mark.parametrize("start", [0, 5, 63, 64, 100])
@pytest.mark.parametrize("number", [1, 2, 64, 130])
def test_an_index_has_the_same_draw_in_every_run(start, number):
    layer = RandomAffine(**SIZES)
    everything = np.stack(layer.sample_run(tf.range(300, dtype=tf.int64), key()))
    part = np.stack(layer.sample_run(tf.range(start, start + number, dtype=tf.int64), key()))
    np.testing.assert_array_equal(part, everything[:, start : start + number])


def test_the_draw_is_a_function_of_the_key():
    layer = RandomAffine(**SIZES)
    np.testing.assert_array_equal(np.stack(layer.sample(5, key(1))), np.stack(layer.sample(5, key(1))))
    assert not np.isclose(np.stack(layer.sample(5, key(1))), np.stack(layer.sample(5, key(2)))).any()


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


@pytest.mark.parametrize("side", [1, 5, 8, 28])
def test_all_sizes_zero_is_the_identity_to_the_bit(side):
    images = np.random.default_rng(1).random((7, side, side, 3), np.float32)
    layer = RandomAffine(0.0, 0.0, 0.0)
    np.testing.assert_array_equal(layer(images), images)
    np.testing.assert_array_equal(layer.augment_images(images, layer.sample(7, key())), images)


# Its gradient.


# As a Keras layer.


def test_seed_zero_is_a_seed_like_any_other(images):
    first, again, other = (RandomAffine(**SIZES, seed=seed)(images) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.01


def test_seed_zero_does_not_draw_from_the_global_generator(images):
    tf.random.get_global_generator().reset_from_seed(3)
    before = RandomAffine(**SIZES, seed=0)(images)
    tf.random.get_global_generator().reset_from_seed(4)
    np.testing.assert_array_equal(RandomAffine(**SIZES, seed=0)(images), before)


def test_a_layer_draws_anew_at_every_call(images):
    layer = RandomAffine(**SIZES, seed=0)
    assert np.abs(layer(images) - layer(images)).max() > 0.01


def test_a_call_applies_one_draw_of_the_layer(images):
    layer, twin = RandomAffine(**SIZES, seed=5), RandomAffine(**SIZES, seed=5)
    drawn = twin.get_random_transformation_batch(6)
    np.testing.assert_allclose(layer(images), twin.augment_images(images, drawn), atol=2e-5)


def test_an_image_without_a_batch_is_transformed_as_a_batch_of_one(images):
    alone = RandomAffine(**SIZES, seed=5)(images[0])
    np.testing.assert_array_equal(alone, RandomAffine(**SIZES, seed=5)(images[:1])[0])


def test_labels_beside_the_images_are_kept(images):
    labels = tf.range(6.0)
    out = RandomAffine(**SIZES, seed=5)({"images": images, "labels": labels})
    np.testing.assert_array_equal(out["labels"], labels)
    np.testing.assert_array_equal(out["images"], RandomAffine(**SIZES, seed=5)(images))


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


def test_the_layer_draws_the_same_eagerly_and_inside_tf_data(images):
    batches = tf.data.Dataset.from_tensors(images).repeat(3)
    layer, twin = RandomAffine(**SIZES, seed=5), RandomAffine(**SIZES, seed=5)
    for mapped, batch in zip(batches.map(layer), batches, strict=True):
        np.testing.assert_array_equal(mapped, twin(batch))


def test_the_layer_works_inside_a_keras_model(images):
    model = keras.Sequential([keras.Input(images.shape[1:]), RandomAffine(**SIZES, seed=5)])
    np.testing.assert_array_equal(model(images), RandomAffine(**SIZES, seed=5)(images))
    assert model.output_shape == (None, 15, 12, 2)


def test_the_configuration_makes_the_same_layer_again(images):
    layer = RandomAffine(1.5, 20.0, 0.3, seed=0, name="view")
    again = RandomAffine.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    assert (again.translation, again.rotation, again.scaling, again.seed) == (1.5, 20.0, 0.3, 0)
    np.testing.assert_array_equal(again(images), layer(images))


def test_the_defaults_are_the_papers_training_transformation():
    layer = RandomAffine()
    assert (layer.translation, layer.rotation, layer.scaling) == (2.0, 15.0, 0.1)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"translation": -1}, "translation: expected a number of pixels >= 0; received -1"),
        ({"translation": math.nan}, "translation: expected a number of pixels >= 0; received nan"),
        ({"translation": math.inf}, "translation: expected a number of pixels >= 0; received inf"),
        ({"rotation": -0.5}, "rotation: expected degrees in [0, 180]; received -0.5"),
        ({"rotation": 181}, "rotation: expected degrees in [0, 180]; received 181"),
        ({"scaling": -0.1}, "scaling: expected a fraction in [0, 1); received -0.1"),
        ({"scaling": 1.0}, "scaling: expected a fraction in [0, 1); received 1.0"),
    ],
)
def test_a_size_outside_its_range_is_an_input_error_that_says_what_was_expected(sizes, message):
    with pytest.raises(InputError) as error:
        RandomAffine(**sizes)
    assert str(error.value) == message


@pytest.mark.parametrize("sizes", [(0, 0, 0), (1e3, 180, 0.999)])
def test_the_ends_of_the_ranges_are_allowed(sizes, images):
    assert np.isfinite(RandomAffine(*sizes, seed=0)(images)).all()
