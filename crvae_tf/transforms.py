"""t(x~|x): random translation, rotation and scaling in one resampling (section 4.1 of the paper).

Only this module imports keras_cv.
"""

import math
from typing import NamedTuple

import keras
import keras_cv
import numpy as np
import tensorflow as tf

from crvae_tf import randomness
from crvae_tf.errors import check_choice, check_number

FILLS = ("constant", "reflect")


class Affine(NamedTuple):
    """The transformations of a batch: epsilon of Equation 3.

    Each part is float32 `[batch]`. An image is scaled and rotated about its centre, then moved.
    """

    right: tf.Tensor
    """Pixels the content moves to the right."""
    down: tf.Tensor
    """Pixels the content moves down."""
    angle: tf.Tensor
    """Degrees the content turns counter-clockwise."""
    scale: tf.Tensor
    """Factor the content grows by."""


@keras.saving.register_keras_serializable("crvae_tf")
class RandomAffine(keras_cv.layers.VectorizedBaseImageAugmentationLayer):
    """Draws a transformation for each image and applies it with one bilinear resampling.

    A chain of KerasCV's three layers resamples, and so blurs, three times. Each part alone equals
    KerasCV's own layer.

    As a layer it draws new numbers at each call, and returns its inputs under `training=False`, like
    Keras' layers. `sample` and `augment_images` are the same in two steps and without state; this
    package's pipelines use these.

    Args:
      translation: pixels, 0 or more; moves right and down are uniform in [-translation, translation].
      rotation: degrees in [0, 180]; the angle is uniform in [-rotation, rotation].
      scaling: in [0, 1); the scale is uniform in [1 - scaling, 1 + scaling].
      fill: what fills the outside of the image: `constant`, which is 0, or `reflect`, its mirror.
      seed: the seed of the layer's draws; 0 is a seed like any other.

    Raises:
      InputError: a size is outside its range, or there is no such fill.
    """

    def __init__(
        self,
        translation: float = 2.0,
        rotation: float = 15.0,
        scaling: float = 0.1,
        fill: str = "constant",
        seed: int | None = None,
        **kwargs,
    ):
        super().__init__(**{"dtype": "float32"} | kwargs)  # Half precision would blur the views.
        check_number("translation", translation, "a number of pixels >= 0")
        check_number("rotation", rotation, "degrees in [0, 180]", highest=180.0)
        check_number("scaling", scaling, "a fraction in [0, 1)", highest=math.nextafter(1.0, 0.0))
        check_choice("fill", fill, FILLS)
        self.translation = translation
        self.rotation = rotation
        self.scaling = scaling
        self.fill = fill
        self.seed = seed
        if seed is not None:  # The base layer ignores the seed 0.
            self._random_generator = tf.random.Generator.from_seed(seed)

    def call(self, inputs, training: bool = True):
        return super().call(inputs) if training else self._ensure_inputs_are_compute_dtype(inputs)

    def sample(self, batch_size: int | tf.Tensor, key: tf.Tensor) -> Affine:
        """Draws epsilon ~ p(epsilon) of Equation 3 for `batch_size` images with the key `key`."""
        limits = [self.translation, self.translation, self.rotation, self.scaling]
        symmetric = tf.random.stateless_uniform([batch_size, len(limits)], key, -1.0, 1.0)
        right, down, angle, growth = tf.unstack(symmetric * limits, axis=-1)
        return Affine(right, down, angle, 1.0 + growth)

    def sample_run(self, indices: tf.Tensor, key: tf.Tensor, group: int = 64) -> Affine:
        """Draws for consecutive image indices `[batch]`; each draw depends on its index alone."""
        drawn = randomness.draw_run(
            lambda group_key: tf.stack(self.sample(group, group_key), axis=-1), key, indices, group
        )
        return Affine(*tf.unstack(drawn, axis=-1))

    def get_random_transformation_batch(self, batch_size, **kwargs) -> Affine:
        return self.sample(batch_size, self._random_generator.make_seeds(1)[:, 0])

    def augment_images(self, images: tf.Tensor, transformations: Affine, **kwargs) -> tf.Tensor:
        """Applies g(x, epsilon) of Equation 3 to `images` `[batch, H, W, C]`, float32 in [0, 1]."""
        return transformed(images, transformations, self.fill)

    def augment_labels(self, labels, transformations, **kwargs):
        return labels

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return super().get_config() | {
            "translation": self.translation,
            "rotation": self.rotation,
            "scaling": self.scaling,
            "fill": self.fill,
            "seed": self.seed,
        }


def compose(outer: Affine, inner: Affine) -> Affine:
    """Returns the transformation that applies `inner` first and `outer` second."""
    right, down = turned(inner.right, inner.down, outer)
    return Affine(
        outer.right + right,
        outer.down + down,
        outer.angle + inner.angle,
        outer.scale * inner.scale,
    )


def inverse(affine: Affine) -> Affine:
    """Returns the transformation that undoes `affine`."""
    undone = affine._replace(angle=-affine.angle, scale=1.0 / affine.scale)
    right, down = turned(-affine.right, -affine.down, undone)
    return undone._replace(right=right, down=down)


def turned(right: tf.Tensor, down: tf.Tensor, affine: Affine) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the vector (right, down), turned and scaled by `affine`, but not moved."""
    radians = affine.angle * (math.pi / 180.0)
    cosine, sine = affine.scale * tf.cos(radians), affine.scale * tf.sin(radians)
    return cosine * right + sine * down, cosine * down - sine * right


def transformed(images: tf.Tensor, affine: Affine, fill: str) -> tf.Tensor:
    """Returns transformed images `[batch, H, W, C]`, float32; `fill` is as for `RandomAffine`.

    It has no gradient for the transformations, and only an approximate one for the images.
    """
    height, width = tf.unstack(tf.shape(images)[1:3])
    resampled = tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=_output_to_input(affine, height, width),
        output_shape=[height, width],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode=fill.upper(),
    )
    return tf.ensure_shape(resampled, images.shape)


def _output_to_input(affine: Affine, height: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
    """Returns the projective maps `[batch, 8]` from a pixel of the result to its source.

    With c the centre, m the move, R the rotation and s the scale, an input point p goes to
    c + s R (p - c) + m; so an output point q comes from c + R^-1 (q - c - m) / s.
    """
    # In float64, because a vectorised float32 cosine depends on the batch size.
    affine = Affine(*(tf.cast(part, tf.float64) for part in affine))
    centre_x = (tf.cast(width, tf.float64) - 1.0) / 2.0
    centre_y = (tf.cast(height, tf.float64) - 1.0) / 2.0
    radians = affine.angle * (math.pi / 180.0)
    cosine, sine = tf.cos(radians) / affine.scale, tf.sin(radians) / affine.scale
    moved_x, moved_y = centre_x + affine.right, centre_y + affine.down
    offset_x = centre_x - cosine * moved_x + sine * moved_y
    offset_y = centre_y - sine * moved_x - cosine * moved_y
    zero = tf.zeros_like(cosine)
    maps = tf.stack([cosine, -sine, offset_x, sine, cosine, offset_y, zero, zero], axis=-1)
    return tf.cast(maps, tf.float32)


def resample(images: tf.Tensor, transformation: Affine, outside: float | None = 0.0) -> tf.Tensor:
    """Returns transformed images with bilinear interpolation, as `RandomAffine` does.

    Its gradients with respect to images and transformation are exact, and XLA compiles it. TensorFlow's
    operation has no gradient for the transformation and an approximate one for the images.

    Args:
      images: float32 `[batch, H, W, C]` with any values.
      transformation: one for each image.
      outside: the value outside the images; None reflects the images.
    """
    height, width, channels = images.shape[1:]
    sources = _sources(transformation, height, width, reflects=outside is None)
    corner = tf.minimum(tf.floor(sources), [[width - 1.0], [height - 1.0]])
    stride = width + 2  # The images have a border of one pixel.
    column, row = tf.unstack(tf.cast(corner, tf.int32) + 1, axis=1)
    place = tf.clip_by_value(row * stride + column, 0, height * stride + width)  # NaN has no place.
    first = tf.range(tf.shape(images)[0])[:, tf.newaxis] * (height + 2) * stride
    corners = tf.gather(_corners(images, outside or 0.0, stride), tf.reshape(first + place, [-1]))
    pixels = _interpolated(corners, *tf.unstack(sources - corner, axis=1))
    return tf.reshape(pixels, [-1, height, width, channels])


def _sources(transformation: Affine, height: int, width: int, reflects: bool) -> tf.Tensor:
    """Returns the source x and y of each pixel of the result, `[batch, 2, H * W]`.

    It reflects places outside the image, or moves them to the border of one pixel around it.
    """
    back, centre_x, centre_y = inverse(transformation), 0.5 * (width - 1), 0.5 * (height - 1)
    move = back.right + centre_x, back.down + centre_y
    vectors = turned(1.0, 0.0, back), turned(0.0, 1.0, back), move
    across, along, move = (tf.stack(vector, axis=1)[..., tf.newaxis] for vector in vectors)
    rows, columns = np.indices([height, width], np.float32).reshape(2, -1)
    places = across * (columns - centre_x) + along * (rows - centre_y) + move
    sides = tf.constant([[float(width)], [float(height)]])
    if not reflects:
        return tf.clip_by_value(places, -1.0, sides)
    beyond = tf.math.floormod(places + 0.5, 2.0 * sides)
    return tf.clip_by_value(tf.minimum(beyond, 2.0 * sides - beyond) - 0.5, 0.0, sides - 1.0)


def _corners(images: tf.Tensor, fill: float, stride: int) -> tf.Tensor:
    """Returns each pixel with its right, lower and lower right neighbours, `[places, 4, C]`.

    Places count the pixels row by row in the images with a border of `fill`.
    """
    bordered = tf.pad(images, [[0, 0], [1, 1], [1, 1], [0, 0]], constant_values=fill)
    pixels = tf.reshape(bordered, [-1, images.shape[-1]])
    number = tf.shape(pixels)[0] - stride - 1
    neighbours = [pixels[start : start + number] for start in (0, 1, stride, stride + 1)]
    return tf.transpose(tf.stack(neighbours), [1, 0, 2])


def _interpolated(corners: tf.Tensor, right_share: tf.Tensor, lower_share: tf.Tensor) -> tf.Tensor:
    """Returns the pixels `[pixels, C]`, interpolated between their four corners."""
    upper_left, upper_right, lower_left, lower_right = tf.unstack(tf.transpose(corners, [1, 0, 2]))
    right_share, lower_share = (tf.reshape(share, [-1, 1]) for share in (right_share, lower_share))
    upper = upper_left + right_share * (upper_right - upper_left)
    lower = lower_left + right_share * (lower_right - lower_left)
    return upper + lower_share * (lower - upper)
