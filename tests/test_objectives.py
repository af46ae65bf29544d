"""The equations against the linear-Gaussian model, NumPy, TFP and Monte Carlo."""

import math

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from crvae_tf import objectives
from tests import reference

tfd = tfp.distributions

DIMENSIONS = 3
NOISE = (0, 1)


def gaussian(mean, stddev) -> tfd.Distribution:
    mean, stddev = np.broadcast_arrays(np.float32(mean), np.float32(stddev))
    return tfd.Independent(tfd.Normal(mean, stddev), 1)


# The linear-Gaussian model: z ~ N(0, 1), x|z ~ N(z, 1), so p(x) = N(0, 2) and p(z|x) = N(x/2, 1/2).
PRIOR = gaussian(np.zeros(DIMENSIONS), 1.0)
SCALES = [[0.1], [0.5], [1.0], [2.0], [4.0]]
"""From near the mode of the evidence to far out in its tails."""
IMAGES = np.random.default_rng(0).normal(scale=SCALES, size=(5, DIMENSIONS))
LOG_EVIDENCE = np.sum(reference.normal_log_density(IMAGES, 0.0, math.sqrt(2.0)), axis=-1)
EXACT = (0.5 * IMAGES, math.sqrt(0.5))
POSTERIORS = {
    "exact": EXACT,
    "shifted": (0.5 * IMAGES + 0.7, math.sqrt(0.5)),
    "wide": (0.5 * IMAGES, 1.5),
    "narrow": (0.5 * IMAGES, 0.2),
    "the_prior": (0.0 * IMAGES, 1.0),
}


def expected_elbo(mean, stddev, **beta: float) -> np.ndarray:
    """Returns the mean of `elbo` over the posterior's samples, `[images]`.

    By Gauss-Hermite quadrature, which is exact: log p(x|z) is quadratic in z, and each dimension has
    the same nodes at once because the sum over dimensions has no cross terms.
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(3)
    latents = mean + stddev * nodes[:, None, None]
    posterior = gaussian(mean, stddev)
    bounds = objectives.elbo(posterior, PRIOR, gaussian(latents, 1.0), np.float32(IMAGES), **beta)
    return np.average(bounds.numpy(), axis=0, weights=weights)


def importance_sampled(mean, stddev, number: int, images=IMAGES) -> tuple[np.ndarray, ...]:
    """Returns `number` samples of the posterior, their log weights and the bound of them all."""
    posterior = gaussian(mean, stddev)
    latents = posterior.sample(number, seed=NOISE)
    arguments = (posterior, PRIOR, gaussian(latents, 1.0), latents, np.float32(images))
    weights = objectives.log_weights(*arguments).numpy()
    return latents.numpy(), weights, objectives.importance_weighted_bound(*arguments).numpy()


@pytest.mark.parametrize("number", [1, 2, 7, 1000])
def test_every_log_weight_and_bound_of_the_exact_posterior_is_log_p_of_x(number):
    _, weights, bound = importance_sampled(*EXACT, number)
    expected = np.tile(LOG_EVIDENCE, (number, 1))
    np.testing.assert_allclose(weights, expected, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(bound, LOG_EVIDENCE, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("number", [1, 20])
@pytest.mark.parametrize("name", POSTERIORS)
def test_log_weights_are_those_of_numpy_and_the_bound_is_their_log_mean(name, number):
    mean, stddev = POSTERIORS[name]
    latents, weights, bound = importance_sampled(mean, stddev, number)
    expected = (
        reference.normal_log_density(IMAGES, latents, 1.0)
        + reference.normal_log_density(latents, 0.0, 1.0)
        - reference.normal_log_density(latents, mean, stddev)
    ).sum(axis=-1)
    np.testing.assert_allclose(weights, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(bound, reference.log_mean_exp(weights, axis=0), rtol=1e-5)


def bounds_of_runs(name, number: int, runs: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the mean of the bound over so many runs, and its standard error, `[images]` each."""
    mean, stddev = POSTERIORS[name]
    *_, bound = importance_sampled(np.tile(mean, (runs, 1)), stddev, number, np.tile(IMAGES, (runs, 1)))
    bound = bound.reshape(runs, -1)
    return bound.mean(axis=0), bound.std(axis=0) / math.sqrt(runs)


def test_the_importance_weighted_bound_rises_with_the_samples_to_log_p_of_x():
    found = [bounds_of_runs("wide", number, runs=200) for number in (1, 4, 16, 64, 1024)]
    means, errors = np.moveaxis(np.array(found), 1, 0)
    assert np.all(np.diff(means, axis=0) > 0.0)
    assert np.all(means < LOG_EVIDENCE + 4.0 * errors)
    np.testing.assert_allclose(means[-1], LOG_EVIDENCE, atol=0.02)


@pytest.mark.parametrize("name", ["shifted", "wide", "narrow", "the_prior"])
def test_one_importance_sample_is_the_elbo_in_expectation(name):
    mean, error = bounds_of_runs(name, 1, runs=10_000)
    assert np.all(np.abs(mean - expected_elbo(*POSTERIORS[name])) < 5.0 * error)


@pytest.mark.parametrize("name", POSTERIORS)
def test_the_elbo_lacks_the_posteriors_divergence_from_the_exact_one(name):
    gap = LOG_EVIDENCE - expected_elbo(*POSTERIORS[name])
    expected = reference.diagonal_gaussian_kl(*POSTERIORS[name], *EXACT)
    np.testing.assert_allclose(gap, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0, 10.0])
def test_beta_weighs_the_rate_and_nothing_else(beta):
    mean, stddev = POSTERIORS["shifted"]
    expected_distortion = (
        -reference.normal_log_density(IMAGES, mean, 1.0).sum(axis=-1) + 0.5 * stddev**2 * DIMENSIONS
    )
    rate = reference.diagonal_gaussian_kl(mean, stddev, 0.0 * IMAGES, 1.0)
    expected = -expected_distortion - beta * rate
    np.testing.assert_allclose(expected_elbo(mean, stddev, beta=beta), expected, rtol=1e-5)


PAIRS = {
    "one_dimension": ([[0.0]], [[1.0]], [[1.0]], [[2.0]]),
    "two_images": ([[0.3, -1.0], [2.0, 0.1]], [[0.5, 1.5], [1.0, 0.7]], [[0.0, 0.5], [1.0, 0.0]], 1.1),
    "equal": ([[0.4, 0.2]], [[0.3, 1.2]], [[0.4, 0.2]], [[0.3, 1.2]]),
}


def check_divergence(value: tf.Tensor, *ordered: tuple[tfd.Distribution, tfd.Distribution]) -> None:
    """Demands the mean of KL(q || p) over the pairs (q, p), in closed form and by Monte Carlo."""
    exact, estimates, errors = [], [], []
    for q, p in ordered:
        exact.append(reference.diagonal_gaussian_kl(q.mean(), q.stddev(), p.mean(), p.stddev()))
        samples = q.sample(100_000, seed=NOISE)
        ratios = np.float64(q.log_prob(samples) - p.log_prob(samples))
        estimates.append(ratios.mean(axis=0))
        errors.append(ratios.std(axis=0) / math.sqrt(len(ratios)))
    np.testing.assert_allclose(value, np.mean(exact, axis=0), rtol=1e-5, atol=1e-6)
    deviation = np.abs(value - np.mean(estimates, axis=0))
    assert np.all(deviation <= 5.0 * np.mean(errors, axis=0) + 1e-6)


@pytest.mark.parametrize("name", PAIRS)
def test_consistency_and_rate_are_the_closed_form_and_the_monte_carlo_divergence(name):
    mean, stddev, *view = np.broadcast_arrays(*PAIRS[name])
    q, p, prior = gaussian(mean, stddev), gaussian(*view), gaussian(0.0 * mean, 1.0)
    check_divergence(objectives.rate(q, prior), (q, prior))
    check_divergence(objectives.consistency(q, p, "forward"), (q, p))
    check_divergence(objectives.consistency(q, p, "reverse"), (p, q))
    check_divergence(objectives.consistency(q, p, "symmetric"), (q, p), (p, q))


@pytest.mark.parametrize(
    ("lambda_", "eta", "nats"), [(0.0, 0.1, -92.0), (0.5, 1.0, -160.0), (2.0, 10.0, -490.0)]
)
def test_equation_2_by_hand(lambda_, eta, nats):
    value = objectives.consistency_regularized_bound(-90.0, -100.0, 20.0, lambda_, eta)
    assert value == pytest.approx(nats, rel=1e-12)


def test_the_papers_weights_and_direction_are_the_defaults():
    value = objectives.consistency_regularized_bound(
        tf.constant([-90.0, -80.0]), tf.constant([-100.0, -85.0]), tf.constant([20.0, 0.0])
    )
    np.testing.assert_allclose(value, [-192.0, -165.0])
    image, view = gaussian([[0.0]], 1.0), gaussian([[1.0]], 2.0)
    forward = objectives.consistency(image, view, "forward")
    np.testing.assert_array_equal(objectives.consistency(image, view), forward)
    with pytest.raises(ValueError, match="one of forward, reverse, symmetric; received sideways"):
        objectives.consistency(image, view, "sideways")


@pytest.mark.parametrize("dimensions", [1, 28 * 28, 64 * 64 * 3])
def test_the_gaussian_constant_is_the_distortion_of_a_perfect_reconstruction(dimensions):
    perfect = reference.normal_log_density(np.zeros(dimensions), 0.0, 1.0).sum()
    assert objectives.gaussian_constant(dimensions) == pytest.approx(-perfect, rel=1e-12)
    assert round(objectives.gaussian_constant(64 * 64 * 3)) == 11_292
