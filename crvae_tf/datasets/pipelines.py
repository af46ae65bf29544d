"""Input pipelines: training pairs, the test set and the transformed test set.

A training batch is a function of (seed, epoch, step), so a run can resume anywhere.
"""

from collections.abc import Callable

import tensorflow as tf

from crvae_tf import randomness
from crvae_tf.datasets.images import ArrayImages
from crvae_tf.datasets.preprocessing import to_unit_interval
from crvae_tf.errors import check_choice
from crvae_tf.randomness import Purpose
from crvae_tf.transforms import RandomAffine

BINARIZATIONS = ("dynamic", "fixed", "none")
"""How pixels become 0 or 1: drawn anew each epoch, drawn once, or not at all."""
TEST_SEED = 20_200_725
"""Seeds the test images' binarisation and transformation, for every method and run alike."""
_GROUP = 64
_IMAGE, _VIEW = 0, 1


def training_batches(
    split: ArrayImages,
    batch_size: int,
    binarization: str,
    transformation: RandomAffine | None,
    seed: int,
    epochs: range,
    first_step: int = 0,
    with_transformations: bool = False,
    views_per_image: int = 1,
) -> tf.data.Dataset:
    """Returns batches of the given epochs, one epoch after the other, each in a new order.

    The last batch of an epoch may be short. Use `fit(..., steps_per_epoch=...)`.

    Args:
      binarization: one of `BINARIZATIONS`. An image and its view have separate random numbers.
      transformation: t(x~|x) of the gray images, or None for images alone.
      seed: of the order, the transformation and the dynamic binarisation. The fixed one ignores it.
      first_step: the first step of the first epoch.
      with_transformations: whether to return the transformations, too.
      views_per_image: the number of pairs, each with a new view, for each image of a batch.

    Returns:
      A data set of pairs (images, views), or of images without a transformation. Each is float32
      `[batch * views_per_image, H, W, C]` in [0, 1]; the pairs of an image are adjacent. With
      transformations, a data set of triples: the third is the `Affine` that made the views.

    Raises:
      InputError: there is no such binarisation.
    """

    def batch(epoch, step, indices):
        images, _ = split.fetch(indices)
        if transformation and views_per_image > 1:
            images, indices = (tf.repeat(each, views_per_image, axis=0) for each in (images, indices))

        def uniforms(view):
            if binarization == "dynamic":
                key = randomness.key(seed, Purpose.BINARIZATION, epoch, step, view)
                return tf.random.stateless_uniform(tf.shape(images), key)
            key = randomness.key(TEST_SEED, Purpose.BINARIZATION_FIXED, view)
            return randomness.draw_each(_uniforms_of(split), key, indices)

        key = randomness.key(seed, Purpose.TRANSFORMATION, epoch, step)
        drawn = transformation and transformation.sample(tf.shape(images)[0], key)
        seen = _seen(images, transformation, drawn, binarization, uniforms)
        return seen[: 2 + with_transformations] if transformation else seen[_IMAGE]

    def steps_of(epoch):
        key = randomness.key(seed, Purpose.ORDER, epoch)
        indices = tf.range(split.num_images, dtype=tf.int64)
        order = tf.random.experimental.stateless_shuffle(indices, key)
        begin = tf.where(epoch == epochs.start, tf.cast(first_step, tf.int64), 0)
        steps = tf.data.Dataset.range(begin, split.steps_per_epoch(batch_size))
        return steps.map(lambda step: (epoch, step, order[step * batch_size :][:batch_size]))

    steps = tf.data.Dataset.range(epochs.start, epochs.stop).flat_map(steps_of)
    return _finished(steps, batch, binarization)


def evaluation_batches(
    split: ArrayImages,
    batch_size: int,
    binarization: str,
    transformation: RandomAffine | None = None,
    limit: int | None = None,
) -> tf.data.Dataset:
    """Returns the test set once, in order; with a transformation, the transformed test set.

    Each image has one draw, which depends on its index alone. With a `limit`, it returns a fixed sample
    of so many images.

    Returns:
      A data set of (indices int64 `[batch]`, images float32 `[batch, H, W, C]`, labels int64
      `[batch]`).
    """

    def batch(indices, images, labels):
        seen = _seen_in_tests(split, indices, images, binarization, transformation)
        return indices, seen[_VIEW if transformation else _IMAGE], labels

    return _finished(split.sample(limit).batches(batch_size), batch, binarization)


def validation_pairs(
    split: ArrayImages,
    batch_size: int,
    binarization: str,
    transformation: RandomAffine | None,
    with_transformations: bool = False,
) -> tf.data.Dataset:
    """Returns what `training_batches` returns, but once, in order, with the test set's draws."""

    def batch(indices, images, labels):
        seen = _seen_in_tests(split, indices, images, binarization, transformation)
        return seen[: 2 + with_transformations] if transformation else seen[_IMAGE]

    return _finished(split.batches(batch_size), batch, binarization)


def _seen_in_tests(split, indices, images, binarization, transformation) -> tuple:
    """Returns `_seen` of test images. Their draws depend on their indices alone."""

    def uniforms(view):
        key = randomness.key(TEST_SEED, Purpose.BINARIZATION, view)
        return randomness.draw_run(_uniforms_of(split, _GROUP), key, indices, _GROUP)

    key = randomness.key(TEST_SEED, Purpose.TRANSFORMATION)
    drawn = transformation and transformation.sample_run(indices, key)
    return _seen(images, transformation, drawn, binarization, uniforms)


def _seen(images, transformation, drawn, binarization, uniforms) -> tuple:
    """Returns what a model sees: (images,), or (images, views, the transformations `drawn`)."""

    def binarized(pixels, view):
        return pixels if binarization == "none" else tf.cast(uniforms(view) < pixels, tf.float32)

    images = to_unit_interval(images)
    if transformation is None:
        return (binarized(images, _IMAGE),)
    views = transformation.augment_images(images, drawn)
    return binarized(images, _IMAGE), binarized(views, _VIEW), drawn


def _uniforms_of(split: ArrayImages, *leading: int) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns the draw of one uniform number for every pixel of `leading` images."""
    return lambda key: tf.random.stateless_uniform([*leading, *split.image_shape], key)


def _finished(batches: tf.data.Dataset, make: Callable, binarization: str) -> tf.data.Dataset:
    check_choice("binarization", binarization, BINARIZATIONS)
    options = tf.data.Options()
    options.deterministic = True
    # Workers share every batch, not the files.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    made = batches.map(make, num_parallel_calls=tf.data.AUTOTUNE)
    return made.with_options(options).prefetch(tf.data.AUTOTUNE)
