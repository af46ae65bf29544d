"""Content and pose, and the content that two images share."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from scipy.optimize import minimize

from crvae_tf import InputError, latents
from tests import reference

tfd = tfp.distributions

GENERATOR = np.random.default_rng(0)
MEANS = GENERATOR.normal(size=(2, 4, 5)).astype(np.float32)
STDDEVS = GENERATOR.uniform(0.3, 2.0, size=(2, 4, 5)).astype(np.float32)


def gaussian(place=0, columns=slice(None)):
    means, stddevs = MEANS[place, :, columns], STDDEVS[place, :, columns]
    return tfd.Independent(tfd.Normal(means, stddevs), 1)


def test_the_pose_is_the_last_dimensions_and_the_content_the_others():
    content, pose = latents.split(gaussian(), 2)
    z = GENERATOR.normal(size=(4, 5)).astype(np.float32)
    together = content.log_prob(z[:, :3]) + pose.log_prob(z[:, 3:])
    np.testing.assert_allclose(together, gaussian().log_prob(z), rtol=1e-5)
    np.testing.assert_array_equal(content.mean(), MEANS[0, :, :3])
    np.testing.assert_array_equal(pose.stddev(), STDDEVS[0, :, 3:])


def test_without_a_pose_everything_is_content():
    posterior = gaussian()
    assert latents.content_of(posterior, 0) is posterior
    np.testing.assert_array_equal(latents.content_of(posterior, 1).mean(), MEANS[0, :, :4])


def test_joined_parts_are_what_was_split():
    joined = latents.join(*latents.split(gaussian(), 2))
    np.testing.assert_array_equal(joined.mean(), MEANS[0])
    np.testing.assert_array_equal(joined.stddev(), STDDEVS[0])


def test_the_average_has_the_least_sum_of_divergences_to_the_two():
    one, other = gaussian(0, slice(1)), gaussian(1, slice(1))
    average = latents.average(one, other)
    for i in range(4):

        def divergences(parameters, i=i):
            q = (parameters[:1], np.exp(parameters[1:]))
            return sum(
                reference.diagonal_gaussian_kl(*q, MEANS[place, i, :1], STDDEVS[place, i, :1])
                for place in (0, 1)
            )

        best = minimize(divergences, np.zeros(2), tol=1e-10).x
        assert float(average.mean()[i, 0]) == pytest.approx(best[0], abs=1e-4)
        assert float(average.stddev()[i, 0]) == pytest.approx(np.exp(best[1]), rel=1e-4)


def test_the_average_of_two_equal_posteriors_is_either_and_the_order_does_not_matter():
    same = latents.average(gaussian(), gaussian())
    np.testing.assert_allclose(same.mean(), MEANS[0], rtol=1e-5)
    np.testing.assert_allclose(same.stddev(), STDDEVS[0], rtol=1e-5)
    there, back = latents.average(gaussian(0), gaussian(1)), latents.average(gaussian(1), gaussian(0))
    np.testing.assert_allclose(there.mean(), back.mean(), rtol=1e-5)
    np.testing.assert_array_equal(there.stddev(), back.stddev())


@pytest.mark.parametrize(
    ("distribution", "pose_dim", "message"),
    [
        (gaussian(), 5, "pose_dim: expected 0, or fewer than the 5 latent dimensions; received 5"),
        (
            tfd.MultivariateNormalTriL(tf.zeros([5]), tf.eye(5)),
            2,
            "Independent Normal or MultivariateNormalDiag; received MultivariateNormalTriL",
        ),
        (
            tfd.Independent(tfd.Laplace(tf.zeros([5]), 1.0), 1),
            2,
            "pose_dim: expected a posterior and a prior that are Independent Normal",
        ),
    ],
)
def test_what_has_no_independent_parts_is_refused(distribution, pose_dim, message):
    with pytest.raises(InputError, match=message):
        latents.split(distribution, pose_dim)
