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
    mode = "SYMMETRIC" if outside is None else "CONSTANT"
    bordered = tf.pad(images, [[0, 0], [1, 1], [1, 1], [0, 0]], mode, outside or 0.0)

    @tf.custom_gradient
    def read(bordered, maps):
        def gradient(upstream):
            # Anew, because XLA computes them faster than it would read them from memory.
            sources = _sources(bordered, maps, reflects=outside is None)
            by_images = _gradient_by_images(upstream, bordered, sources)
            return by_images, _gradient_by_maps(upstream, bordered, sources)

        return _interpolated(bordered, _sources(bordered, maps, reflects=outside is None)), gradient

    pixels = read(bordered, _maps_to_sources(transformation, height, width))
    return tf.reshape(pixels, [-1, height, width, channels])


def _maps_to_sources(transformation: Affine, height: int, width: int) -> tf.Tensor:
    """Returns the maps `[2, batch, 3]` from (column, row, 1) of the result to x and y of its source."""
    back, centre_x, centre_y = inverse(transformation), 0.5 * (width - 1), 0.5 * (height - 1)
    right, down = turned(-centre_x, -centre_y, back)
    origin = centre_x + back.right + right, centre_y + back.down + down
    vectors = turned(1.0, 0.0, back), turned(0.0, 1.0, back), origin
    return tf.stack([tf.stack(vector) for vector in vectors], axis=2)


class _Sources(NamedTuple):
    """Where pixels of the result come from: places between four pixels of images with a border."""

    corner: tf.Tensor
    """The index of the upper left pixel of the four, `[batch, H * W]`."""
    shares: tuple[tf.Tensor, tf.Tensor]
    """Of the next pixel to the right and of the next below, in [0, 1], each `[batch, H * W, 1]`."""
    slopes: tuple[tf.Tensor, tf.Tensor]
    """By how much x and y grow with the map's: 1, -1 (reflected) or 0 (held), `[batch, H * W, 1]`."""


def _sources(bordered: tf.Tensor, maps: tf.Tensor, reflects: bool) -> _Sources:
    """Follows the maps; reflects places outside the image, or holds them on its border of one pixel."""
    height, width = bordered.shape[1:3]
    (column, *in_x), (row, *in_y) = (
        _split(a_map, _grid(bordered), side - 2.0, reflects)
        for a_map, side in zip(tf.unstack(maps), (width, height), strict=True)
    )
    place = tf.clip_by_value(row * width + column, 0, (height - 1) * width - 2)  # NaN has no place.
    image = tf.range(tf.shape(bordered)[0])[:, tf.newaxis] * (height * width)
    return _Sources(image + place, *zip(in_x, in_y, strict=True))


def _grid(bordered: tf.Tensor) -> np.ndarray:
    """Returns (column, row, 1) of each pixel of the result, `[3, H * W]`."""
    height, width = bordered.shape[1:3]
    rows, columns = np.indices([height - 2, width - 2], np.float32).reshape(2, -1)
    return np.stack([columns, rows, np.ones_like(rows)])


def _split(
    a_map: tf.Tensor, grid: np.ndarray, side: float, reflects: bool
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns where the places lie in x or in y: the pixel before, the share of the next, the slope."""
    place = a_map[:, :1] * grid[0] + a_map[:, 1:2] * grid[1] + a_map[:, 2:]
    slope, lowest, highest = 1.0, -1.0, side
    if reflects:
        beyond = tf.math.floormod(place + 0.5, 2.0 * side)
        slope, lowest, highest = tf.where(beyond < side, 1.0, -1.0), 0.0, side - 1.0
        place = tf.minimum(beyond, 2.0 * side - beyond) - 0.5
    source = tf.clip_by_value(place, lowest, highest)
    slope *= tf.cast(source == place, tf.float32)
    before = tf.minimum(tf.floor(source), side - 1.0)
    return tf.cast(before, tf.int32) + 1, (source - before)[..., tf.newaxis], slope[..., tf.newaxis]


def _interpolated(bordered: tf.Tensor, sources: _Sources) -> tf.Tensor:
    """Returns the pixels `[batch, H * W, C]` of the result."""
    below, (share_x, share_y) = bordered.shape[2], sources.shares
    upper = _read(bordered, sources.corner, 1, share_x)
    lower = _read(bordered, sources.corner + below, 1, share_x)
    return upper + share_y * (lower - upper)


def _read(bordered: tf.Tensor, first: tf.Tensor, step: int | np.ndarray, share: tf.Tensor) -> tf.Tensor:
    """Interpolates between the pixels with the index `first` and those `step` further on."""
    pixels = tf.reshape(bordered, [-1, bordered.shape[-1]])
    before, after = tf.gather(pixels, first), tf.gather(pixels, first + step)
    return before + share * (after - before)


def _gradient_by_maps(upstream: tf.Tensor, bordered: tf.Tensor, sources: _Sources) -> tf.Tensor:
    """Returns the gradient `[2, batch, 3]` with respect to the maps.

    Its first axis is x and y, which makes one loop of both. Apart, they would share the pixels they
    read, and XLA would write these to memory.
    """
    below = bordered.shape[2]
    ahead, beside = np.int32([[1, below], [below, 1]]).reshape([2, 2, 1, 1])
    x = np.float32([1.0, 0.0]).reshape([2, 1, 1, 1])
    share = x * sources.shares[1] + (1.0 - x) * sources.shares[0]
    slope = x * sources.slopes[0] + (1.0 - x) * sources.slopes[1]
    here = _read(bordered, sources.corner + 0 * ahead, beside, share)
    steepness = slope * (_read(bordered, sources.corner + ahead, beside, share) - here)
    return tf.reduce_sum(upstream * steepness, axis=-1) @ _grid(bordered).T


def _gradient_by_images(upstream: tf.Tensor, bordered: tf.Tensor, sources: _Sources) -> tf.Tensor:
    """Returns the gradient with respect to the images: what four pixels gave, they get."""
    below, places = bordered.shape[2], tf.reduce_prod(tf.shape(bordered)[:-1])
    steps = 0, 1, below, below + 1
    in_x, in_y = np.float32([[[0], [1], [0], [1]], [[0], [0], [1], [1]]])
    share_x, share_y = (share[:, :, tf.newaxis] for share in sources.shares)
    shares = (1.0 - in_x + (2.0 * in_x - 1.0) * share_x) * (1.0 - in_y + (2.0 * in_y - 1.0) * share_y)
    given = tf.reshape(shares * upstream[:, :, tf.newaxis], [-1, 4, bordered.shape[-1]])
    sums = tf.math.unsorted_segment_sum(given, tf.reshape(sources.corner, [-1]), places)
    moved = [tf.pad(sums[: places - step, i], [[step, 0], [0, 0]]) for i, step in enumerate(steps)]
    return tf.reshape(tf.add_n(moved), tf.shape(bordered))
