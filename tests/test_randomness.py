"""Draws are functions of a seed and a path, and of nothing else."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from crvae_tf import randomness
from crvae_tf.datasets.pipelines import TEST_SEED
from crvae_tf.randomness import Purpose

PARENT = tf.constant([3, 14], tf.int32)
GROUP = 4


def a_group(key: tf.Tensor) -> tf.Tensor:
    return tf.random.stateless_uniform([GROUP, 2], key)


def test_no_two_paths_share_a_key():
    below = [path for length in range(3) for path in itertools.product(range(5), repeat=length)]
    paths = [(), *((purpose, *path) for purpose in Purpose for path in below)]
    keys = {tuple(randomness.key(seed, *path).numpy()) for seed in (0, 1, 2**31 - 1) for path in paths}
    assert len(keys) == 3 * len(paths)


def test_keys_stay_the_same_from_release_to_release():
    """The transformed test set, "the same for every method, seed and machine", hangs on these."""
    assert randomness.key(0).numpy().tolist() == [0, 0]
    assert randomness.key(TEST_SEED, Purpose.TRANSFORMATION).numpy().tolist() == [-1_200_636_276, 2]
    assert randomness.key(0, Purpose.ORDER, 3).numpy().tolist() == [-1_054_860_931, 3]


@pytest.mark.parametrize("number", [1, 3, 4, 9])
@pytest.mark.parametrize("first", range(6))
def test_draw_run_gives_an_image_the_same_numbers_wherever_its_batch_begins(first, number):
    everything = np.concatenate([a_group(randomness.fold_in(PARENT, group)) for group in range(4)])
    indices = tf.range(first, first + number, dtype=tf.int64)
    drawn = randomness.draw_run(a_group, PARENT, indices, GROUP)
    np.testing.assert_array_equal(drawn, everything[first : first + number])
