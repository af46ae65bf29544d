"""From splits to what models take: training pairs, the test set and the transformed test set.

The transformation is applied to the gray image. Where images are binarised, an image and its view are
binarised apart: numbers shared by the two would be a mark that a view can be recognised by.
"""

from collections.abc import Callable

import tensorflow as tf

from crvae_tf import randomness
from crvae_tf.datasets.preprocessing import to_unit_interval
from crvae_tf.datasets.splits import Split
from crvae_tf.randomness import Purpose
from crvae_tf.transforms import Affine, RandomAffine

BINARIZATIONS = ("dynamic", "fixed", "none")

TEST_SEED = 20_200_725
"""Of the test images' binarisation and transformation: the same for every method and seed."""

_GROUP = 64
_IMAGE, _VIEW = 0, 1


def training_batches(
    split: Split,
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
      binarization: `dynamic` draws the pixels anew each epoch, `fixed` once, `none` leaves them gray.
      transformation: t(x~|x), or None for images alone.
      seed: of order, transformation and binarisation.
      epochs: which to return.
      first_step: the step at which the first of them begins.
      with_transformations: whether to return the transformations too.
      views_per_image: how many pairs, each with a view of its own, an image of a batch stands in.

    Returns:
      A data set of pairs (images, views), or of images where there is no transformation; each
      float32 `[batch * views_per_image, H, W, C]` in [0, 1], the pairs of an image one after
      another. With transformations, of triples: the third is the `Affine` that made the views.
    """

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
    split: Split,
    batch_size: int,
    binarization: str,
    transformation: RandomAffine | None = None,
    limit: int | None = None,
) -> tf.data.Dataset:
    """Returns the test set once, in order; with a transformation, the transformed test set.

    There is one draw for each image, a function of its index alone.

    Returns:
      A data set of (indices int64 `[batch]`, images float32 `[batch, H, W, C]`, labels int64
      `[batch]`).
    """

    def batch(indices, images, labels):
        images = to_unit_interval(images)
        if transformation is not None:
            drawn = _test_transformations(transformation, indices)
            images = transformation.augment_images(images, drawn)
        if binarization != "none":
            view = _IMAGE if transformation is None else _VIEW
            key = randomness.key(TEST_SEED, Purpose.BINARIZATION, view)
            draw = _uniforms(split, _GROUP)
            images = _binarized(images, randomness.draw_run(draw, key, indices, _GROUP))
        return indices, images, labels

    batches = split.batches(batch_size, limit)
    return _finished(batches.map(batch, num_parallel_calls=tf.data.AUTOTUNE))


def validation_pairs(
    split: Split,
    batch_size: int,
    binarization: str,
    transformation: RandomAffine | None,
    with_transformations: bool = False,
) -> tf.data.Dataset:
    """Returns what `training_batches` does, once, in order, with the draws of the test set."""
    images = evaluation_batches(split, batch_size, binarization).map(_images_of)
    if transformation is None:
        return images
    of_views = evaluation_batches(split, batch_size, binarization, transformation)
    pairs = tf.data.Dataset.zip((images, of_views.map(_images_of)))
    if not with_transformations:
        return pairs
    drawn = of_views.map(lambda indices, *_: _test_transformations(transformation, indices))
    return tf.data.Dataset.zip((pairs, drawn)).map(lambda pair, drawn: (*pair, drawn))


def _images_of(indices, images, labels):
    return images


def _test_transformations(transformation: RandomAffine, indices: tf.Tensor) -> Affine:
    """Returns the one draw of each test image."""
    return transformation.sample_run(indices, randomness.key(TEST_SEED, Purpose.TRANSFORMATION))


def _uniforms(split: Split, *leading: int) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns the draw of one uniform number for every pixel of `leading` images."""
    return lambda key: tf.random.stateless_uniform([*leading, *split.image_shape], key)


def _binarized(images: tf.Tensor, uniforms: tf.Tensor) -> tf.Tensor:
    """Returns pixels that are 1 with probability `images`."""
    return tf.cast(uniforms < images, tf.float32)


def _finished(dataset: tf.data.Dataset) -> tf.data.Dataset:
    options = tf.data.Options()
    options.deterministic = True
    return dataset.with_options(options).prefetch(tf.data.AUTOTUNE)
