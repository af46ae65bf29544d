"""Figures and probes against TFP, against slow loops, and against cases worked by hand."""

import math

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp
from sklearn.datasets import make_blobs

from crvae_tf.evaluation import metrics
from crvae_tf.evaluation.embeddings import Probes
from tests import reference

tfd = tfp.distributions


def gaussian(mean, stddev):
    return tfd.MultivariateNormalDiag(tf.constant(mean, tf.float64), tf.constant(stddev, tf.float64))


def posteriors(number, dimensions, spread, stddev, seed=0):
    """Samples, means and standard deviations of made-up posteriors."""
    rng = np.random.default_rng(seed)
    mean = spread * rng.normal(size=(number, dimensions))
    stddev = stddev * rng.uniform(0.5, 2.0, size=(number, dimensions))
    return mean + stddev * rng.normal(size=mean.shape), mean, stddev


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_the_gaussian_kl_equals_tfps(scale):
    _, mean, stddev = posteriors(20, 4, spread=1.0, stddev=scale)
    _, other_mean, other_stddev = posteriors(20, 4, spread=1.0, stddev=1.0, seed=1)
    expected = tfd.kl_divergence(gaussian(mean, stddev), gaussian(other_mean, other_stddev))
    received = metrics.gaussian_kl(mean, stddev, other_mean, other_stddev)
    np.testing.assert_allclose(received, expected, rtol=1e-10)


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_the_log_density_of_every_pair_equals_tfps(scale):
    samples, mean, stddev = posteriors(30, 5, spread=2.0, stddev=scale)
    expected = gaussian(mean, stddev).log_prob(samples[:, np.newaxis])
    received = metrics.gaussian_log_density(samples, mean, stddev)
    np.testing.assert_allclose(received, expected, rtol=1e-8, atol=1e-6)


@pytest.mark.parametrize("number", [2, 3, 65, 66, 530])
def test_mutual_information_equals_two_slow_loops(number):
    """At 530 images the matrix is computed in two parts."""
    arrays = posteriors(number, 2, spread=1.0, stddev=0.3)
    assert metrics.mutual_information(*arrays) == pytest.approx(
        reference.mutual_information(*arrays), rel=1e-9, abs=1e-9
    )


def test_well_separated_posteriors_reach_the_cap_of_the_lower_bound():
    mean = 1000.0 * np.arange(90.0)[:, np.newaxis]
    received = metrics.mutual_information(mean + 0.5, mean, np.ones((90, 1)))
    assert received["lower"] == pytest.approx(math.log(90), abs=1e-12)
    # The neighbour's density is less by (1000 - 0.5)^2 / 2 - 0.5^2 / 2, and at the right end by more.
    assert received["upper"] > 499_000.0


def test_the_bounds_enclose_a_mutual_information_that_is_known():
    """For z|x ~ N(x, s^2) and x ~ N(0, 1) it is 0.5 ln(1 + 1/s^2)."""
    rng = np.random.default_rng(4)
    stddev = np.full((3000, 1), 0.2)
    mean = rng.normal(size=stddev.shape)
    received = metrics.mutual_information(mean + stddev * rng.normal(size=mean.shape), mean, stddev)
    known = 0.5 * math.log(1.0 + 1.0 / 0.2**2)
    # At 3,000 images the standard error of either mean is 0.5 * sqrt(2 / 3000) = 0.013.
    assert received["lower"] == pytest.approx(known, abs=0.05)
    assert received["upper"] == pytest.approx(known, abs=0.05)
    assert received["lower"] < received["upper"]


def test_a_unit_is_active_above_a_variance_of_a_hundredth():
    above = np.nextafter(0.01, 1.0)
    assert metrics.active_units(np.array([0.01, above, 0.0, 1.0, 0.00999])) == 2
    assert metrics.active_units(np.zeros(4)) == 0


def test_the_kl_runs_from_the_image_to_the_view_and_is_a_mean_of_sums_over_latents():
    one, two = np.ones((2, 3)), np.full((2, 3), 2.0)
    mean, shifted = np.zeros((2, 3)), np.array([[0.0, 0.0, 0.0], [4.0, 0.0, 0.0]])
    forward = 3.0 * (math.log(2.0) + 1.0 / 8.0 - 0.5) + 0.5 * (0.5 * (4.0 / 2.0) ** 2)
    reverse = 3.0 * (-math.log(2.0) + 2.0 - 0.5) + 0.5 * (0.5 * 4.0**2)
    received = metrics.divergence(mean, one, shifted, two)
    assert received["kl"] == pytest.approx(forward, rel=1e-12)
    assert received["symmetric_kl"] == pytest.approx(0.5 * (forward + reverse), rel=1e-12)


@pytest.mark.parametrize(
    ("name", "images", "views", "expected"),
    [
        # Of pairs to strangers; 0 where all collapse, 1 where each view is the other image.
        ("distance_ratio", [[0], [10]], [[1], [11]], 1 / (0.5 * (9 + 11))),
        ("distance_ratio", [[0], [0]], [[0], [0]], 0),
        ("distance_ratio", [[0], [1]], [[1], [0]], 1),
        # Views look for images: images that looked for views would all find their own.
        ("retrieval_at_1", [[0], [3]], [[2], [2.5]], 0.5),
        # An image among n equally near ones is found once in n.
        ("retrieval_at_1", np.zeros((20, 3)), np.zeros((20, 3)), 1 / 20),
        ("retrieval_at_1", [[0], [0], [0], [9]], [[0], [0], [0], [9]], (3 / 3 + 1) / 4),
    ],
)
def test_agreement_by_hand(name, images, views, expected):
    assert metrics.agreement(images, views)[name] == pytest.approx(expected, rel=1e-12)


def test_an_exact_copy_of_an_image_counts_as_that_image():
    pixels = np.array([[[0.0, 1.0]], [[1.0, 0.0]], [[0.0, 1.0]]])
    identities = metrics.identities_of(pixels)
    assert identities[0] == identities[2] != identities[1]
    # The first view finds the copy, which lies a rounding error nearer.
    embeddings, views = np.array([[0.0], [5.0], [1e-7]]), np.array([[1e-7], [5.0], [0.0]])
    assert metrics.agreement(embeddings, views)["retrieval_at_1"] == pytest.approx(1 / 3)
    assert metrics.agreement(embeddings, views, identities)["retrieval_at_1"] == 1.0


def test_the_linear_probe_does_not_depend_on_the_scale_of_a_latent():
    corners = [(0.0, 0.0), (0.0, 9.0), (9.0, 0.0), (9.0, 9.0)]
    points, labels = make_blobs(120, centers=corners, cluster_std=0.5, random_state=0)
    points *= 1e-3, 1e3
    assert Probes(points[:80], labels[:80]).accuracies(points[80:], labels[80:])["linear"] == 1.0


def test_fewer_images_than_neighbours_all_vote():
    probes = Probes(np.array([[0.0], [0.1], [9.0]]), np.array([0, 0, 1]))
    received = probes.accuracies(np.array([[9.0]]), np.array([0]))
    assert received["nearest_neighbours"] == 1.0
    assert probes.num_images == 3
