"""The families p(x|z): from a decoder's output to a distribution over images.

A decoder returns logits `[..., H, W, C]` for every family. The mean of each family is an image in
[0, 1]. Log densities are in float32, even under mixed precision.
"""

import math
from collections.abc import Callable

import tensorflow as tf
import tensorflow_probability as tfp

from crvae_tf.errors import InputError, check_choice

tfd = tfp.distributions

IMAGE_DIMENSIONS = 3
LEAST_STDDEV = 1.0 / 255.0
"""The limit of a learned standard deviation: one gray level of 8 bits."""
FIRST_STDDEV_WEIGHT = math.log(0.25) / 10.0
"""The initial weight of `learned_stddev`: a deviation of 0.25, as of a photograph's pixels."""

_STDDEV_GAIN = 10.0
_ROUNDING = 1e-3
"""Resampling and low precision may move a pixel this far out of [0, 1]."""


class _Bernoulli(tfd.Bernoulli):
    """TFP's Bernoulli with a log-probability that needs no softplus; TFP's needs two.

    Scoring the pixels takes as long as a small decoder. TensorFlow's softplus is slower than an
    absolute value, a sigmoid and a logarithm together.
    """

    def _log_prob(self, event):
        # event * l - softplus(l), where softplus(l) = (l + |l|) / 2 - log(sigmoid(|l|)). The gradient
        # is right at l = 0, too.
        magnitude = tf.abs(self.logits)
        return (event - 0.5) * self.logits - 0.5 * magnitude + tf.math.log(tf.sigmoid(magnitude))


def bernoulli(logits: tf.Tensor) -> tfd.Distribution:
    """Returns independent Bernoulli pixels, for pixels of 0 or 1."""
    return _independent(_Bernoulli(logits=tf.cast(logits, tf.float32), dtype=tf.float32))


def continuous_bernoulli(logits: tf.Tensor) -> tfd.Distribution:
    """Returns independent continuous Bernoulli pixels on [0, 1] (Loaiza-Ganem, Cunningham 2019)."""
    return _independent(tfd.ContinuousBernoulli(logits=tf.cast(logits, tf.float32)))


def gaussian(logits: tf.Tensor, stddev: float | tf.Tensor = 1.0) -> tfd.Distribution:
    """Returns independent Gaussian pixels around the logits' sigmoid, with one standard deviation.

    If that is 1, the distortion is half the squared error plus 0.5 D ln(2 pi); see
    `objectives.gaussian_constant`.
    """
    return _independent(tfd.Normal(tf.sigmoid(tf.cast(logits, tf.float32)), stddev))


def learned_stddev(weight: tf.Tensor) -> tf.Tensor:
    """Returns the standard deviation of Gaussian pixels for a trainable weight.

    It is exp(10 w), smoothly kept above one gray level, 1/255. Otherwise the density of exactly
    reproduced pixels would have no limit. Adam moves a weight by about its learning rate per step. The
    factor of 10 lets the deviation fall to a tenth in some hundred steps at a rate of 1e-3.
    """
    return tf.sqrt(tf.exp(2.0 * _STDDEV_GAIN * weight) + LEAST_STDDEV**2)


FAMILIES = {
    "bernoulli": bernoulli,
    "continuous_bernoulli": continuous_bernoulli,
    "gaussian": gaussian,
}


def gray_values(images: tf.Tensor) -> tf.Tensor:
    """Returns images in [0, 1] as float32. Bounds of other images would mean nothing.

    XLA cannot raise errors: compiled code returns NaN instead.

    Raises:
      InputError: the images are not floats.
      tf.errors.InvalidArgumentError: a pixel is outside [0, 1] by more than rounding.
    """
    images = tf.convert_to_tensor(images)
    if not images.dtype.is_floating:
        raise InputError("images", "floats in [0, 1]", images.dtype.name)
    images = tf.cast(images, tf.float32)
    inside = tf.reduce_all((images >= -_ROUNDING) & (images <= 1.0 + _ROUNDING))
    message = "images: expected values in [0, 1]; received others"
    with tf.control_dependencies([tf.raw_ops.Assert(condition=inside, data=[message])]):
        return tf.where(inside, images, math.nan)


def get(name: str) -> Callable[[tf.Tensor], tfd.Distribution]:
    """Returns the family called `name`: a function from logits `[..., H, W, C]` to p(x|z).

    Its batch shape is `[...]`, and its event is an image. `log_prob` is in nats, and `mean()` is an
    image in [0, 1].

    Raises:
      InputError: there is no such family.

    >>> get("bernoulli")(tf.zeros([2, 28, 28, 1])).log_prob(tf.ones([28, 28, 1])).numpy().round(2)
    array([-543.43, -543.43], dtype=float32)
    """
    check_choice("likelihood", name, FAMILIES)
    return FAMILIES[name]


def _independent(pixels: tfd.Distribution) -> tfd.Distribution:
    return tfd.Independent(pixels, reinterpreted_batch_ndims=IMAGE_DIMENSIONS)
