"""The equations against the linear-Gaussian model, NumPy and Monte Carlo."""

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


def spread_points() -> np.ndarray:
    """Five points [5, 3], from near the mode of the evidence to far out in its tails."""
    return np.random.default_rng(0).normal(
        scale=[[0.1], [0.5], [1.0], [2.0], [4.0]], size=(5, DIMENSIONS)
    )


# The linear-Gaussian model: z ~ N(0, 1), x|z ~ N(z, 1), so p(x) = N(0, 2) and p(z|x) = N(x/2, 1/2).
PRIOR = gaussian(np.zeros(DIMENSIONS), 1.0)
IMAGES = spread_points()
LOG_EVIDENCE = np.sum(reference.normal_log_density(IMAGES, 0.0, math.sqrt(2.0)), axis=-1)
EXACT = (0.5 * IMAGES, math.sqrt(0.5))
WRONG = {
    "shifted": (0.5 * IMAGES + 0.7, math.sqrt(0.5)),
    "wide": (0.5 * IMAGES, 1.5),
    "narrow": (0.5 * IMAGES, 0.2),
    "the_prior": (0.0 * IMAGES, 1.0),
}


def likelihood_at(latents) -> tfd.Distribution:
    return gaussian(latents, 1.0)


def expected_elbo(mean, stddev, **beta: float) -> np.ndarray:
    """Returns the mean of `elbo` over the posterior's samples, `[images]`.

    By Gauss-Hermite quadrature, which is exact: log p(x|z) is quadratic in z, and each dimension has
    the same nodes at once because the sum over dimensions has no cross terms.
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(3)
    latents = mean + stddev * nodes[:, None, None]
    posterior = gaussian(mean, stddev)
    bounds = objectives.elbo(posterior, PRIOR, likelihood_at(latents), np.float32(IMAGES), **beta)
    return np.average(bounds.numpy(), axis=0, weights=weights)


def samples_and_bound(mean, stddev, number: int, images=IMAGES) -> tuple[np.ndarray, np.ndarray]:
    """Returns `number` samples of the posterior and the importance-weighted bound of them all."""
    posterior = gaussian(mean, stddev)
    latents = posterior.sample(number, seed=NOISE)
    arguments = (posterior, PRIOR, likelihood_at(latents), latents, np.float32(images))
    return latents.numpy(), objectives.importance_weighted_bound(*arguments).numpy()


def test_every_log_weight_of_the_exact_posterior_is_log_p_of_x():
    posterior = gaussian(*EXACT)
    latents = posterior.sample(1000, seed=NOISE)
    weights = objectives.log_weights(
        posterior, PRIOR, likelihood_at(latents), latents, np.float32(IMAGES)
    )
    assert weights.shape == (1000, len(IMAGES))
    np.testing.assert_allclose(weights, np.tile(LOG_EVIDENCE, (1000, 1)), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("number", [1, 2, 7, 50])
def test_every_importance_weighted_bound_of_the_exact_posterior_is_log_p_of_x(number):
    _, bound = samples_and_bound(*EXACT, number)
    np.testing.assert_allclose(bound, LOG_EVIDENCE, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("name", ["exact", *WRONG])
def test_the_elbo_lacks_the_posteriors_divergence_from_the_exact_one(name):
    posterior = (WRONG | {"exact": EXACT})[name]
    gap = LOG_EVIDENCE - expected_elbo(*posterior)
    expected = reference.diagonal_gaussian_kl(*posterior, *EXACT)
    np.testing.assert_allclose(gap, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", WRONG)
def test_log_weights_of_a_wrong_posterior_are_those_of_numpy_and_the_bound_their_log_mean(name):
    mean, stddev = WRONG[name]
    latents, bound = samples_and_bound(mean, stddev, 20)
    weights = objectives.log_weights(
        gaussian(mean, stddev), PRIOR, likelihood_at(latents), latents, np.float32(IMAGES)
    )
    expected = (
        reference.normal_log_density(IMAGES, latents, 1.0)
        + reference.normal_log_density(latents, 0.0, 1.0)
        - reference.normal_log_density(latents, mean, stddev)
    ).sum(axis=-1)
    np.testing.assert_allclose(weights, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(bound, reference.log_mean_exp_along(weights.numpy(), axis=0), rtol=1e-5)


def test_the_importance_weighted_bound_rises_with_the_samples_to_log_p_of_x():
    runs = 200
    mean, stddev = np.tile(WRONG["wide"][0], (runs, 1)), WRONG["wide"][1]
    means, errors = [], []
    for number in (1, 4, 16, 64, 1024):
        _, bound = samples_and_bound(mean, stddev, number, images=np.tile(IMAGES, (runs, 1)))
        bound = bound.reshape(runs, -1)
        means.append(bound.mean(axis=0))
        errors.append(bound.std(axis=0) / math.sqrt(runs))
    assert np.all(np.diff(means, axis=0) > 0.0)
    for mean, error in zip(means, errors, strict=True):
        assert np.all(mean < LOG_EVIDENCE + 4.0 * error)
    np.testing.assert_allclose(means[-1], LOG_EVIDENCE, atol=0.02)


@pytest.mark.parametrize("name", WRONG)
def test_one_importance_sample_is_the_elbo_in_expectation(name):
    mean, stddev = WRONG[name]
    runs = 10_000
    images = np.tile(IMAGES, (runs, 1))
    _, bound = samples_and_bound(np.tile(mean, (runs, 1)), stddev, 1, images)
    bound = bound.reshape(runs, -1)
    error = bound.std(axis=0) / math.sqrt(runs)
    assert np.all(np.abs(bound.mean(axis=0) - expected_elbo(mean, stddev)) < 5.0 * error)


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0, 10.0])
def test_beta_weighs_the_rate_and_nothing_else(beta):
    mean, stddev = WRONG["shifted"]
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


def closed_form(direction: str, q: tuple, p: tuple) -> np.ndarray:
    forward, reverse = (
        reference.diagonal_gaussian_kl(*q, *p),
        reference.diagonal_gaussian_kl(*p, *q),
    )
    return {"forward": forward, "reverse": reverse, "symmetric": 0.5 * (forward + reverse)}[direction]


def monte_carlo_kl(q: tfd.Distribution, p: tfd.Distribution) -> tuple[np.ndarray, np.ndarray]:
    """Returns an estimate of KL(q || p) and its standard error, `[images]` each."""
    samples = q.sample(100_000, seed=NOISE)
    values = (q.log_prob(samples) - p.log_prob(samples)).numpy().astype(np.float64)
    return values.mean(axis=0), values.std(axis=0) / math.sqrt(len(values))


@pytest.mark.parametrize("direction", objectives.KL_DIRECTIONS)
@pytest.mark.parametrize("name", PAIRS)
def test_consistency_is_tfps_the_closed_form_and_the_monte_carlo_divergence(name, direction):
    arrays = np.broadcast_arrays(*(np.float64(a) for a in PAIRS[name]))
    q, p = gaussian(*arrays[:2]), gaussian(*arrays[2:])
    value = objectives.consistency(q, p, direction).numpy()
    np.testing.assert_allclose(
        value, closed_form(direction, arrays[:2], arrays[2:]), rtol=1e-5, atol=1e-6
    )

    ordered = {"forward": [(q, p)], "reverse": [(p, q)], "symmetric": [(q, p), (p, q)]}[direction]
    of_tfp = np.mean([tfd.kl_divergence(a, b) for a, b in ordered], axis=0)
    np.testing.assert_allclose(value, of_tfp, rtol=1e-6)
    estimates, errors = np.mean([monte_carlo_kl(a, b) for a, b in ordered], axis=0)
    assert np.all(np.abs(value - estimates) <= 5.0 * errors + 1e-6)


@pytest.mark.parametrize("name", PAIRS)
def test_rate_is_the_closed_form_and_the_monte_carlo_divergence_from_the_prior(name):
    mean, stddev = (np.float64(a) for a in PAIRS[name][:2])
    posterior = gaussian(mean, stddev)
    prior = gaussian(np.zeros(mean.shape[-1]), 1.0)
    value = objectives.rate(posterior, prior).numpy()
    expected = reference.diagonal_gaussian_kl(mean, stddev, 0.0 * mean, 1.0)
    np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(value, tfd.kl_divergence(posterior, prior), rtol=1e-6)
    estimate, error = monte_carlo_kl(posterior, prior)
    assert np.all(np.abs(value - estimate) <= 5.0 * error + 1e-6)


@pytest.mark.parametrize(
    ("lambda_", "eta", "nats"),
    [
        (1.0, 0.1, -90.0 - 100.0 - 2.0),
        (1.0, 0.0, -190.0),
        (0.0, 0.0, -90.0),
        (0.0, 0.1, -92.0),
        (0.5, 1.0, -90.0 - 50.0 - 20.0),
        (2.0, 10.0, -90.0 - 200.0 - 200.0),
    ],
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


@pytest.mark.parametrize(("beta", "eta"), [(1.0, 0.1), (0.5, 0.05), (10.0, 1.0), (0.0, 0.0)])
def test_the_papers_eta_is_a_tenth_of_beta(beta, eta):
    assert objectives.default_eta(beta) == pytest.approx(eta)


@pytest.mark.parametrize("dimensions", [1, 28 * 28, 64 * 64 * 3])
def test_the_gaussian_constant_is_the_distortion_of_a_perfect_reconstruction(dimensions):
    perfect = reference.normal_log_density(np.zeros(dimensions), 0.0, 1.0).sum()
    assert objectives.gaussian_constant(dimensions) == pytest.approx(-perfect, rel=1e-12)
    assert round(objectives.gaussian_constant(64 * 64 * 3)) == 11_292
