"""Stateless random draws: each number is a function of a seed and a purpose.

No generator in this package has state. A draw takes a key. The key consists of the run's seed and a
path: a purpose, then an epoch, a step, an image's index or a replica. So any step can be repeated
alone, and no draw depends on earlier draws.
"""

import enum
from collections.abc import Callable

import tensorflow as tf


class Purpose(enum.IntEnum):
    """What a draw is for. Two purposes never share numbers."""

    ORDER = 1
    TRANSFORMATION = 2
    BINARIZATION = 3
    BINARIZATION_FIXED = 4
    POSTERIOR_TRAINING = 5
    POSTERIOR_VALIDATION = 6
    POSTERIOR_EVALUATION = 7
    IMPORTANCE_SAMPLES = 8
    PRIOR = 9


def key(seed: int, *path: int | tf.Tensor) -> tf.Tensor:
    """Returns the key of a draw.

    Args:
      seed: an integer in [0, 2^31).
      *path: integers, or scalar integer tensors, that say what the draw is for.

    Returns:
      An int32 tensor `[2]`, for `tf.random.stateless_*` or a TFP `sample`.

    >>> bool(tf.reduce_all(key(0, Purpose.ORDER, 3) == key(0, Purpose.ORDER, 3)))
    True
    >>> bool(tf.reduce_all(key(0, Purpose.ORDER, 3) == key(0, Purpose.ORDER, 4)))
    False
    """
    return fold_in(tf.constant([0, seed], tf.int32), *path)


def fold_in(parent: tf.Tensor, *path: int | tf.Tensor) -> tf.Tensor:
    """Returns the key, int32 `[2]`, at `path` below the key `parent`."""
    child = parent
    for part in path:
        child = tf.random.experimental.stateless_fold_in(child, tf.cast(part, tf.int32))
    return child


def draw_each(
    draw: Callable[[tf.Tensor], tf.Tensor], parent: tf.Tensor, indices: tf.Tensor
) -> tf.Tensor:
    """Makes one draw for each index, keyed by the index alone.

    Args:
      draw: maps a key to a float32 tensor of a fixed shape `S`.
      parent: the key that all draws share.
      indices: int64 `[batch]`.

    Returns:
      float32 `[batch, *S]`.
    """
    return tf.map_fn(
        lambda index: draw(fold_in(parent, index)), indices, fn_output_signature=tf.float32
    )


def draw_run(
    draw: Callable[[tf.Tensor], tf.Tensor], parent: tf.Tensor, indices: tf.Tensor, group: int
) -> tf.Tensor:
    """Makes one draw for each of consecutive indices; far faster than `draw_each`.

    It draws for whole groups of images. So an image gets the same numbers wherever its batch begins
    and however long the batch is.

    Args:
      draw: maps a key to the float32 draws `[group, *S]` of one group of images.
      parent: the key that all draws share.
      indices: int64 `[batch]`, consecutive and ascending.
      group: images in a group.

    Returns:
      float32 `[batch, *S]`.
    """
    first = indices[0] // group
    groups = tf.range(first, indices[-1] // group + 1)
    drawn = draw_each(draw, parent, groups)
    rows = tf.reshape(drawn, tf.concat([[-1], tf.shape(drawn)[2:]], axis=0))
    return tf.gather(rows, indices - first * group)
