"""The families p(x|z) against their formulas in NumPy, with numerically integrated constants."""

import numpy as np
import pytest
import tensorflow as tf

from crvae_tf import likelihoods
from tests import reference

MEANS = {
    "bernoulli": lambda logits: 1.0 / (1.0 + np.exp(-np.float64(logits))),
    "continuous_bernoulli": reference.continuous_bernoulli_mean,
    "gaussian": lambda logits: 1.0 / (1.0 + np.exp(-np.float64(logits))),
}
# Saturated pixels, those where the continuous Bernoulli's formula is 0/0, and what lies between.
SIZES = [0.0, 1e-7, 1e-4, 0.01, 0.5, 3.0, 16.5, 20.0, 80.0]
LOGITS = np.float32([-size for size in SIZES[:0:-1]] + SIZES)
FAMILIES = sorted(likelihoods.FAMILIES)


def one_pixel_images(values) -> tf.Tensor:
    return tf.reshape(tf.cast(values, tf.float32), [-1, 1, 1, 1])


@pytest.mark.parametrize("pixel", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_pixels_log_prob_is_the_formula_for_every_size_of_logit(family, pixel):
    log_prob = likelihoods.get(family)(one_pixel_images(LOGITS)).log_prob(one_pixel_images([pixel]))
    expected = reference.LOG_PROBS[family](LOGITS, pixel)
    np.testing.assert_allclose(log_prob, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [tf.float32, tf.bfloat16])
@pytest.mark.parametrize("samples", [(), (3,)])
@pytest.mark.parametrize("family", FAMILIES)
def test_an_images_log_prob_is_the_float32_sum_over_its_pixels_for_each_sample_of_the_logits(
    family, samples, dtype
):
    """Of images in NumPy, whose gray pixels a distribution of an integer type would cut down to 0."""
    generator = np.random.default_rng(0)
    logits = tf.cast(generator.normal(scale=3.0, size=(*samples, 6, 4, 4, 2)), dtype)
    images = generator.random((6, 4, 4, 2), dtype=np.float32)
    log_prob = likelihoods.get(family)(logits).log_prob(images)
    assert (log_prob.shape, log_prob.dtype) == ((*samples, 6), tf.float32)
    pixels = reference.LOG_PROBS[family](tf.cast(logits, tf.float64).numpy(), images)
    np.testing.assert_allclose(log_prob, pixels.sum(axis=(-3, -2, -1)), rtol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_mean_is_the_formula_and_an_image_in_the_unit_interval(family):
    mean = likelihoods.get(family)(one_pixel_images(LOGITS)).mean().numpy().ravel()
    np.testing.assert_allclose(mean, MEANS[family](LOGITS), rtol=1e-4, atol=1e-6)
    assert mean.min() >= 0.0
    assert mean.max() <= 1.0


@pytest.mark.parametrize("family", ["bernoulli", "continuous_bernoulli"])
def test_the_gradient_by_a_logit_is_the_pixel_less_the_mean_and_finite(family):
    """The score of an exponential family; a formula that is 0/0 at logit 0 would give NaN here."""
    logits = one_pixel_images(LOGITS)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        log_prob = likelihoods.get(family)(logits).log_prob(one_pixel_images([1.0]))
    gradient = tape.gradient(log_prob, logits).numpy().ravel()
    np.testing.assert_allclose(gradient, 1.0 - MEANS[family](LOGITS), rtol=1e-4, atol=1e-5)
