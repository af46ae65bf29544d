"""From splits to what models take: training pairs, the test set and the transformed test set.

The transformation is applied to the gray image. Where images are binarised, an image and its view are
binarised apart: numbers shared by the two would be a mark that a view can be recognised by.
"""

from collections.abc import Callable

import tensorflow as tf

from crvae_tf import randomness
from crvae_tf.datasets.images import Images
from crvae_tf.datasets.preprocessing import to_unit_interval
from crvae_tf.errors import check_choice
from crvae_tf.randomness import Purpose
from crvae_tf.transforms import Affine, RandomAffine

BINARIZATIONS = ("dynamic", "fixed", "none")
"""How pixels become 0 or 1: drawn anew each epoch, drawn once, or left gray."""

TEST_SEED = 20_200_725
"""Of the test images' binarisation and transformation: the same for every method and seed."""

_GROUP = 64
_IMAGE, _VIEW = 0, 1


def training_batches(
    split: Images,
    batch_size: int,
    binarization: str,
    transformation: RandomAffine | None,
    seed: int,
    epochs: range,
    first_step: int = 0,
    with_transformations: bool = False,
    views_per_image: int = 1,
) -> tf.data.Dataset:
    """Returns the batches of the given epochs, one after the other, shuffled.

    The data set does not end with an epoch: it is for `fit(..., steps_per_epoch=...)`.

    Args:
      split: the images.
      batch_size: images in a batch; the last of an epoch may be short.
      binarization: one of `BINARIZATIONS`.
      transformation: t(x~|x), or None for images alone.
      seed: of order, transformation and the dynamic binarisation; the fixed one is always the same.
      epochs: which to return.
      first_step: the step at which the first of them begins.
      with_transformations: whether to return the transformations too.
      views_per_image: how many pairs, each with a view of its own, an image of a batch stands in.

    Returns:
      A data set of pairs (images, views), or of images where there is no transformation; each
      float32 `[batch * views_per_image, H, W, C]` in [0, 1], the pairs of an image one after
      another. With transformations, of triples: the third is the `Affine` that made the views.

    Raises:
      InputError: there is no such binarisation.
    """
    check_choice("binarization", binarization, BINARIZATIONS)

    def binarized(images, epoch, step, indices, view):
        if binarization == "none":
            return images
        if binarization == "dynamic":
            key = randomness.key(seed, Purpose.BINARIZATION, epoch, step, view)
            return _binarized(images, tf.random.stateless_uniform(tf.shape(images), key))
        key = randomness.key(TEST_SEED, Purpose.BINARIZATION_FIXED, view)
        return _binarized(images, randomness.draw_each(_uniforms(split), key, indices))

    def batch(epoch, step, indices, images):
        images = to_unit_interval(images)
        if transformation is None:
            return binarized(images, epoch, step, indices, _IMAGE)
        if views_per_image > 1:
            images, indices = (tf.repeat(each, views_per_image, axis=0) for each in (images, indices))
        key = randomness.key(seed, Purpose.TRANSFORMATION, epoch, step)
        drawn = transformation.sample(tf.shape(images)[0], key)
        views = transformation.augment_images(images, drawn)
        pair = (
            binarized(images, epoch, step, indices, _IMAGE),
            binarized(views, epoch, step, indices, _VIEW),
        )
        return (*pair, drawn) if with_transformations else pair

    batches = split.shuffled_batches(batch_size, seed, epochs, first_step)
    return _finished(batches.map(batch, num_parallel_calls=tf.data.AUTOTUNE))


def evaluation_batches(
    split: Images,
    batch_size: int,
    binarization: str,
    transformation: RandomAffine | None = None,
    limit: int | None = None,
) -> tf.data.Dataset:
    """Returns the test set once, in order; with a transformation, the transformed test set.

    There is one draw for each image, a function of its index alone.

    Args:
      split: the images.
      batch_size: images in a batch; the last may be short.
      binarization: see `training_batches`.
      transformation: t(x~|x), or None for the images as they are.
      limit: how many images to return, a fixed sample; all where this is None.

    Returns:
      A data set of (indices int64 `[batch]`, images float32 `[batch, H, W, C]`, labels int64
      `[batch]`).

    Raises:
      InputError: there is no such binarisation.
    """
    finish = _test_binarizer(split, binarization)

    def batch(indices, images, labels):
        images = to_unit_interval(images)
        if transformation is None:
            return indices, finish(images, indices, _IMAGE), labels
        views = transformation.augment_images(images, _test_transformations(transformation, indices))
        return indices, finish(views, indices, _VIEW), labels

    batches = split.batches(batch_size, limit)
    return _finished(batches.map(batch, num_parallel_calls=tf.data.AUTOTUNE))


def validation_pairs(
    split: Images,
    batch_size: int,
    binarization: str,
    transformation: RandomAffine | None,
    with_transformations: bool = False,
) -> tf.data.Dataset:
    """Returns what `training_batches` does, once, in order, with the draws of the test set.

    Raises:
      InputError: there is no such binarisation.
    """
    finish = _test_binarizer(split, binarization)

    def batch(indices, images, labels):
        images = to_unit_interval(images)
        finished = finish(images, indices, _IMAGE)
        if transformation is None:
            return finished
        drawn = _test_transformations(transformation, indices)
        pair = finished, finish(transformation.augment_images(images, drawn), indices, _VIEW)
        return (*pair, drawn) if with_transformations else pair

    return _finished(split.batches(batch_size).map(batch, num_parallel_calls=tf.data.AUTOTUNE))


def _test_binarizer(
    split: Images, binarization: str
) -> Callable[[tf.Tensor, tf.Tensor, int], tf.Tensor]:
    """Returns what binarises gray images of `indices`, or their views, once and for all."""
    check_choice("binarization", binarization, BINARIZATIONS)

    def finish(images, indices, view):
        if binarization == "none":
            return images
        key = randomness.key(TEST_SEED, Purpose.BINARIZATION, view)
        draw = _uniforms(split, _GROUP)
        return _binarized(images, randomness.draw_run(draw, key, indices, _GROUP))

    return finish


def _test_transformations(transformation: RandomAffine, indices: tf.Tensor) -> Affine:
    """Returns the one draw of each test image."""
    return transformation.sample_run(indices, randomness.key(TEST_SEED, Purpose.TRANSFORMATION))


def _uniforms(split: Images, *leading: int) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns the draw of one uniform number for every pixel of `leading` images."""
    return lambda key: tf.random.stateless_uniform([*leading, *split.image_shape], key)


def _binarized(images: tf.Tensor, uniforms: tf.Tensor) -> tf.Tensor:
    """Returns pixels that are 1 with probability `images`."""
    return tf.cast(uniforms < images, tf.float32)


def _finished(dataset: tf.data.Dataset) -> tf.data.Dataset:
    options = tf.data.Options()
    options.deterministic = True
    # Each of several workers takes its share of every batch, not of the files.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return dataset.with_options(options).prefetch(tf.data.AUTOTUNE)
