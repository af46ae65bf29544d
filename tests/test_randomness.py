"""Draws are functions of a seed and a path, and of nothing else."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from crvae_tf import randomness
from crvae_tf.datasets.pipelines import TEST_SEED
from crvae_tf.randomness import Purpose

PARENT = (3, 14)
GROUP = 4


def parent() -> tf.Tensor:
    return tf.constant(PARENT, tf.int32)


def two_numbers(key: tf.Tensor) -> tf.Tensor:
    return tf.random.stateless_uniform([2], key)


def a_group(key: tf.Tensor) -> tf.Tensor:
    return tf.random.stateless_uniform([GROUP, 2], key)


def run_of(first: int, number: int) -> np.ndarray:
    indices = tf.range(first, first + number, dtype=tf.int64)
    return randomness.draw_run(a_group, parent(), indices, GROUP).numpy()


def normals(key: tf.Tensor, number: int = 10_000) -> np.ndarray:
    return tf.random.stateless_normal([number], key).numpy()


def test_no_two_paths_share_a_key():
    paths = [(purpose, *rest) for purpose in Purpose for rest in itertools.product(range(5), range(5))]
    paths += [(purpose, first) for purpose in Purpose for first in range(5)]
    paths += [(purpose,) for purpose in Purpose]
    paths += [()]
    keys = {tuple(randomness.key(seed, *path).numpy()) for seed in (0, 1, 2**31 - 1) for path in paths}
    assert len(keys) == 3 * len(paths)


def test_draws_of_neighbouring_seeds_and_paths_are_uncorrelated():
    keys = [randomness.key(seed, Purpose.PRIOR) for seed in range(4)]
    keys += [randomness.key(0, *path) for path in ((1,), (2,), (1, 0), (1, 1), (5, 3, 0), (5, 3, 1))]
    correlations = np.corrcoef([normals(key) for key in keys])[~np.eye(len(keys), dtype=bool)]
    assert np.abs(correlations).max() < 0.05


def test_keys_stay_the_same_from_release_to_release():
    """The transformed test set, "the same for every method, seed and machine", hangs on these."""
    assert randomness.key(0).numpy().tolist() == [0, 0]
    assert randomness.key(TEST_SEED, Purpose.TRANSFORMATION).numpy().tolist() == [-1_200_636_276, 2]
    key = randomness.key(0, Purpose.ORDER, 3)
    assert key.numpy().tolist() == [-1_054_860_931, 3]
    numbers = tf.random.stateless_uniform([3], key)
    np.testing.assert_allclose(numbers, [0.16938865, 0.78212464, 0.71193349], rtol=1e-6)


def test_a_key_is_the_same_from_integers_tensors_and_a_graph():
    path = (Purpose.POSTERIOR_TRAINING, 7, 1)
    eager = randomness.key(5, *path).numpy().tolist()
    assert randomness.key(5, *(tf.constant(int(p), tf.int64) for p in path)).numpy().tolist() == eager
    in_graph = tf.function(lambda step: randomness.key(5, path[0], step, path[2]))
    assert in_graph(tf.constant(7)).numpy().tolist() == eager


def test_draw_each_is_the_draw_of_each_index_by_itself():
    indices = [5, 0, 17, 5]
    drawn = randomness.draw_each(two_numbers, parent(), tf.constant(indices, tf.int64))
    alone = [two_numbers(randomness.fold_in(parent(), index)) for index in indices]
    np.testing.assert_array_equal(drawn, alone)


@pytest.mark.parametrize("number", [1, 3, 4, 9])
@pytest.mark.parametrize("first", range(6))
def test_draw_run_gives_an_image_the_same_numbers_wherever_its_batch_begins(first, number):
    np.testing.assert_array_equal(run_of(first, number), run_of(0, 20)[first : first + number])


def test_draw_run_holds_inside_tf_data():
    indices = tf.data.Dataset.range(20).batch(6)
    drawn = indices.map(lambda i: randomness.draw_run(a_group, parent(), i, GROUP))
    np.testing.assert_array_equal(np.concatenate(list(drawn.as_numpy_iterator())), run_of(0, 20))
