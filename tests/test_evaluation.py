"""The table row against the linear-Gaussian model; figures and probes against TFP, loops, by hand."""

import dataclasses
import itertools
import math
import types

import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf
import tensorflow_probability as tfp
from sklearn.linear_model import LogisticRegression

from crvae_tf import CRVAE, IWAE, VAE, BetaVAE, RandomAffine, datasets, evaluate, networks
from crvae_tf.datasets import ArrayImages, ImageData, Preprocessing
from crvae_tf.datasets.images import spread
from crvae_tf.errors import InputError, NotFiniteError
from crvae_tf.evaluation import evaluate as evaluation
from crvae_tf.evaluation import metrics
from crvae_tf.evaluation.embeddings import Embedder, Probes, figures_of
from tests import reference

tfd = tfp.distributions

SIDE = 4
PIXELS = SIDE * SIDE
IDENTITY = RandomAffine(0.0, 0.0, 0.0)
GOLDEN_NOISE = [[0.37062934, -1.89946723], [1.38928723, 0.75095546], [-1.03771329, -0.75095761]]


class LinearGaussian:
    """z ~ N(0, 1) and x|z ~ N(z, 1) in every pixel, so that p(x) = N(0, 2) and p(z|x) = N(x/2, 1/2).

    Its posterior is N(slope * x, stddev^2); `latents` are those that a likelihood was asked for.
    """

    def __init__(self, slope=0.5, stddev=0.5**0.5):
        self.slope = slope
        self.stddev = stddev
        self.prior = tfd.Independent(tfd.Normal(tf.zeros([PIXELS]), 1.0), 1)
        self.latents = []

    def posterior(self, images):
        mean = self.slope * tf.reshape(images, [-1, PIXELS])
        return tfd.Independent(tfd.Normal(mean, self.stddev), 1)

    def likelihood(self, latents):
        if tf.executing_eagerly():
            self.latents.append(latents.numpy())
        shape = tf.concat([tf.shape(latents)[:-1], [SIDE, SIDE, 1]], axis=0)
        return tfd.Independent(tfd.Normal(tf.reshape(latents, shape), 1.0), 3)


def noise_data(test=300, labels=None, train_labels=None):
    """Uniform random pixels, but for a first one that is the same in all images; ten to train on."""
    pixels = np.random.default_rng(0).integers(256, size=(10 + test, SIDE, SIDE, 1), dtype=np.uint8)
    pixels[:, 0, 0] = 128
    splits = ArrayImages(pixels[:10], train_labels), ArrayImages(pixels[10:], labels)
    return ImageData("noise", *splits, None, Preprocessing(SIDE, 1), "")


def images_of(data):
    """The test images, float64 `[images, pixels]`."""
    images = next(data.test.batches(data.test.num_images).as_numpy_iterator())[1]
    return images.reshape(-1, PIXELS) / np.float64(255.0)


def log_evidence(images):
    """log p(x) of the linear-Gaussian model."""
    return scipy.stats.norm.logpdf(images, scale=math.sqrt(2.0)).sum(axis=1)


def figures(model, data, nll_samples=3, batch_size=1000):
    """The figures of the test set as it is."""
    batches = datasets.evaluation_batches(data.test, batch_size, "none")
    of_images = evaluation.image_figures(model, batches, nll_samples, lambda done: None)
    return evaluation.split_figures(model, of_images, nll_samples)


def test_with_the_exact_posterior_nll_rate_and_distortion_are_those_known_in_closed_form():
    """Every log weight is log p(x), and 45 is no multiple of the samples in a step."""
    data = noise_data(test=2000)
    images, evidence = images_of(data), log_evidence(images_of(data))
    received = figures(LinearGaussian(), data, nll_samples=45)
    assert (received["num_images"], received["nll_samples"]) == (2000, 45)
    assert received["nll"] == pytest.approx(-evidence.mean(), rel=1e-6)
    assert received["nll_stderr"] == pytest.approx(evidence.std(ddof=1) / math.sqrt(2000), rel=1e-4)
    rate = reference.diagonal_gaussian_kl(0.5 * images, 0.5**0.5, 0.0, 1.0).mean()
    assert received["rate"] == pytest.approx(rate, rel=1e-5)
    # E_q[(x - z)^2] = (x/2)^2 + 1/2; by one sample an image's deviation is below sqrt(PIXELS).
    distortion = 0.5 * (math.log(2.0 * math.pi) + 0.25 * images**2 + 0.5).sum(axis=1).mean()
    assert received["distortion"] == pytest.approx(distortion, abs=4.0 * math.sqrt(PIXELS / 2000))
    assert received["elbo"] == pytest.approx(-(received["rate"] + received["distortion"]), rel=1e-12)
    constant = 0.5 * PIXELS * math.log(2.0 * math.pi)
    expected = received["rate"] + received["distortion"] - constant
    assert received["half_squared_error_plus_rate"] == pytest.approx(expected, rel=1e-6)


def test_a_latent_that_rounding_moves_has_the_density_of_the_noise_that_was_drawn():
    data = noise_data(test=200)
    received = figures(LinearGaussian(stddev=1e-8), data, 1)
    pixels = images_of(data)
    joint = scipy.stats.norm.logpdf(pixels, pixels / 2) + scipy.stats.norm.logpdf(pixels / 2)
    entropy = PIXELS * scipy.stats.norm(scale=1e-8).entropy()
    five_deviations = 5 * math.sqrt(PIXELS / 2 / 200)
    expected = -joint.sum(axis=1).mean() - entropy
    assert received["nll"] == pytest.approx(expected, abs=five_deviations)


@pytest.mark.parametrize(
    ("asked", "number", "steps"),
    [(13, 13, [(13, 26), (26, 26)]), (1000, 70, [(50, 140), (70, 140), (120, 140), (140, 140)])],
)
def test_as_many_images_spread_over_all_are_evaluated_as_are_asked_for_and_there(asked, number, steps):
    data, told = noise_data(test=70), []
    given = LinearGaussian(), data, "none", IDENTITY, IDENTITY, 1, asked
    result = evaluate(*given, progress=lambda *done_and_whole: told.append(done_and_whole))
    assert told == steps
    for split in result["splits"].values():
        assert split["num_images"] == number
        images = images_of(data)[spread(number, 70)]
        assert split["nll"] == pytest.approx(-log_evidence(images).mean(), rel=1e-6)


def test_the_elbo_lies_below_the_evidence_by_the_divergence_of_the_posteriors():
    data = noise_data(test=2000)
    images = images_of(data)
    received = figures(LinearGaussian(slope=0.3, stddev=0.8), data, nll_samples=1)
    gap = reference.diagonal_gaussian_kl(0.3 * images, 0.8, 0.5 * images, 0.5**0.5).mean()
    error = 4.0 * math.sqrt(PIXELS / 2000)
    assert received["elbo"] == pytest.approx(log_evidence(images).mean() - gap, abs=error)
    assert received["nll"] == pytest.approx(gap - log_evidence(images).mean(), abs=error)


def test_with_a_wrong_posterior_the_nll_falls_to_that_of_the_evidence_as_samples_grow():
    data = noise_data(test=100)
    evidence = log_evidence(images_of(data)).mean()
    model = LinearGaussian(slope=0.4, stddev=0.9)
    gaps = [figures(model, data, samples)["nll"] + evidence for samples in (1, 10, 600)]
    assert gaps[0] > gaps[1] > gaps[2]
    assert gaps[2] == pytest.approx(0.0, abs=0.02)
    assert gaps[0] > 0.3


@pytest.mark.parametrize("samples", [1, 20, 45])
def test_the_streamed_nll_equals_one_log_sum_exp_over_the_same_samples(samples):
    model, data = LinearGaussian(slope=0.3, stddev=0.8), noise_data(test=9)
    x = images_of(data)
    images, indices = tf.constant(x.reshape(9, SIDE, SIDE, 1), tf.float32), tf.range(9, dtype=tf.int64)
    received = evaluation.negative_log_likelihood(model, images, indices, samples)
    assert max(len(part) for part in model.latents) <= evaluation._SAMPLES_PER_STEP
    z = np.concatenate(model.latents).astype(np.float64)
    assert z.shape == (samples, 9, PIXELS)
    normal = scipy.stats.norm.logpdf
    weights = (normal(x, z) + normal(z) - normal(z, 0.3 * x, 0.8)).sum(axis=-1)
    expected = math.log(samples) - scipy.special.logsumexp(weights, axis=0)
    np.testing.assert_allclose(received, expected, rtol=1e-5)


def importance_noise(first, images, samples):
    """The noise of the samples of so many images from `first` on, `[samples, images, pixels]`."""
    model, indices = LinearGaussian(slope=0.0, stddev=1.0), tf.range(first, first + images)
    evaluation.negative_log_likelihood(
        model, tf.zeros([images, SIDE, SIDE, 1]), tf.cast(indices, tf.int64), samples
    )
    return np.concatenate(model.latents)


@pytest.mark.parametrize("fewer", [1, 20, 27, 40])
def test_of_more_samples_the_first_are_those_that_fewer_had(fewer):
    """Wherever in a chunk the fewer end, and wherever in a group of images a batch begins."""
    noise = importance_noise(0, 60, 45)
    np.testing.assert_array_equal(importance_noise(0, 60, fewer), noise[:fewer])
    np.testing.assert_array_equal(importance_noise(47, 9, fewer), noise[:fewer, 47:56])


def test_the_importance_samples_stay_the_same_from_release_to_release():
    """Published likelihoods hang on these: of two chunks of samples, and of two groups of images."""
    found = importance_noise(49, 2, 21)[[0, 19, 20], :, 0]
    np.testing.assert_allclose(found, GOLDEN_NOISE, rtol=1e-5)


def test_activity_is_that_of_the_posteriors_means_and_not_of_their_samples():
    """Means vary by slope^2 / 12 about: 0.0075 at 0.3, where samples vary by 1 more."""
    data = noise_data(test=400)
    assert figures(LinearGaussian(slope=0.3, stddev=1.0), data)["active_units"] == 0
    assert figures(LinearGaussian(slope=0.4, stddev=1.0), data)["active_units"] == PIXELS - 1


def test_a_collapsed_posterior_has_no_rate_no_information_and_no_active_unit():
    received = figures(LinearGaussian(slope=0.0, stddev=1.0), noise_data(test=100))
    information = (f"mutual_information_{name}" for name in ("lower", "upper", "disjoint"))
    for name in ("rate", "active_units", *information):
        assert received[name] == pytest.approx(0.0, abs=1e-6)


def test_each_view_is_evaluated_and_of_a_thousand_compared_by_its_own_transformation(monkeypatch):
    monkeypatch.setattr(evaluation, "CONSISTENCY_IMAGES", 70)
    data, moved = noise_data(test=90), RandomAffine(1.0, 45.0, 0.2)
    received = evaluate(LinearGaussian(), data, "none", IDENTITY, moved, 3, batch_size=90)

    def views(transformation, limit):
        batches = datasets.evaluation_batches(data.test, limit, "none", transformation, limit)
        return next(batches.as_numpy_iterator())[1].reshape(-1, PIXELS).astype(np.float64)

    for name, transformation in (("test", None), ("transformed_test", moved)):
        expected = -log_evidence(views(transformation, 90)).mean()
        assert received["splits"][name]["nll"] == pytest.approx(expected, rel=1e-6)
    same = {"kl": 0.0, "symmetric_kl": 0.0, "distance_ratio": 0.0, "retrieval_at_1": 1.0}
    assert received["consistency"]["train_transform"] == pytest.approx(same, abs=1e-6)
    # Means are x / 2 and variances 1/2, so the KL is (the means' distance)^2.
    distances = np.square(0.5 * (views(None, 70) - views(moved, 70))).sum(axis=1)
    kl = received["consistency"]["test_transform"]["kl"]
    assert kl == pytest.approx(distances.mean(), rel=1e-4)


def test_the_mutual_information_is_that_of_a_sample_spread_over_all(monkeypatch):
    data, model, given = noise_data(test=90), LinearGaussian(slope=1.0, stddev=0.5), []
    exact = metrics.mutual_information
    monkeypatch.setattr(metrics, "mutual_information", lambda *all: given.append(all) or exact(*all))
    every = figures(model, data, nll_samples=1, batch_size=40)
    monkeypatch.setattr(evaluation, "MUTUAL_INFORMATION_IMAGES", 70)
    received = figures(model, data, nll_samples=1, batch_size=40)
    assert received["mutual_information_cap"] == pytest.approx(math.log(70), rel=1e-12)
    for part, of_all in zip(given[1], given[0], strict=True):
        np.testing.assert_array_equal(part, of_all[spread(70, 90)])
    for name in ("nll", "rate", "distortion", "active_units"):
        assert received[name] == every[name]


def test_the_size_of_a_batch_changes_no_figure(trained):
    """With binarisation, transformations and a short last batch."""
    images, _ = trained.data.test.fetch(np.arange(66))
    data = dataclasses.replace(trained.data, test=ArrayImages(images.numpy()))
    given = trained.model, data, "dynamic", RandomAffine(), RandomAffine(4.0, 30.0, 0.25), 25
    first, other = (evaluate(*given, batch_size=size) for size in (7, 64))
    for part in ("splits", "consistency"):
        for name, found in other[part].items():
            assert found == pytest.approx(first[part][name], rel=1e-4)


def test_whatever_a_model_was_trained_on_it_is_evaluated_at_beta_one_by_one_sample():
    pair = networks.build("mlp", (SIDE, SIDE, 1), latent_dim=3, width=0.1)
    plain = figures(VAE(*pair), noise_data(test=40))
    for model in (BetaVAE(*pair, beta=10.0), CRVAE(IWAE(*pair, importance_samples=5))):
        assert figures(model, noise_data(test=40)) == plain


def test_probes_are_fitted_on_clean_training_means_and_read_the_test_means(trained):
    data = dataclasses.replace(trained.data, train=trained.data.train.subset(np.arange(400)))
    moved = RandomAffine(4.0, 30.0, 0.25)
    received = evaluate(trained.model, data, "dynamic", RandomAffine(), moved, 1, 100)["probe"]
    train, labels = means_and_labels(trained.model, data.train, None, None)
    assert received["num_train_images"] == len(train) == data.train.num_images
    centre, spread = train.mean(axis=0), train.std(axis=0)
    linear = LogisticRegression(max_iter=1000).fit((train - centre) / spread, labels)
    for name, transform in (("clean", None), ("test_transform", moved)):
        test, test_labels = means_and_labels(trained.model, data.test, transform, 100)
        found = reference.nearest_neighbours(train, labels, test, 5)
        assert received[name]["nearest_neighbours"] == pytest.approx(np.mean(found == test_labels))
        score = linear.score((test - centre) / spread, test_labels)
        assert received[name]["linear"] == pytest.approx(score, abs=0.011)


def means_and_labels(model, split, transform, limit):
    batches = datasets.evaluation_batches(split, split.num_images, "none", transform, limit)
    _, images, labels = next(batches.as_numpy_iterator())
    return model.posterior(images).mean().numpy().astype(np.float64), labels


@pytest.mark.parametrize(
    ("train", "test", "why"),
    [
        (None, 1, "the images have no classes"),
        (3, None, "the images have no classes"),
        (3, 4, "the training images lack the classes ['d'] of test images"),
        (1, 1, "the training images are of one class"),
    ],
)
def test_there_is_no_probe_where_the_test_classes_cannot_be_learned(train, test, why, log):
    """By the numbers of classes among the training images and among the test images."""
    data = noise_data(30, test and np.arange(30) % test, train and np.arange(10) % train)
    data.train.class_names = "abcd"
    result = figures_of(Embedder(LinearGaussian()).means, data, {"view": IDENTITY}, 30)
    assert set(result) == {"consistency"}
    assert f"no probe: {why}" in log.text


def test_the_time_of_an_evaluation_is_that_of_decoding_every_sample_of_both_splits(monkeypatch):
    """At half a second for 200 latents: 2 splits of 10 images with 100 samples each."""
    ticks = itertools.count(0.0, 0.5)
    monkeypatch.setattr(evaluation, "time", types.SimpleNamespace(perf_counter=lambda: next(ticks)))
    received = evaluation.estimate_seconds(LinearGaussian(), num_images=10, nll_samples=100)
    assert received == pytest.approx(2 * 10 * 100 * 0.5 / 200)


def test_a_posterior_that_is_no_diagonal_gaussian_is_refused():
    model = LinearGaussian()
    model.posterior = lambda images: tfd.MultivariateNormalTriL(scale_tril=tf.eye(PIXELS))
    with pytest.raises(InputError, match="model: expected one whose posterior is a diagonal Gaussian"):
        figures(model, noise_data(test=3))


def test_an_embedding_that_is_not_finite_stops_an_evaluation():
    batches = datasets.evaluation_batches(noise_data(test=3).test, 2, "none")
    with pytest.raises(NotFiniteError, match="the posterior of image 0: expected a finite mean"):
        Embedder(LinearGaussian(slope=np.inf))(batches)


def posteriors(number, dimensions, spread, stddev, seed=0):
    """Samples, means and standard deviations of made-up posteriors."""
    rng = np.random.default_rng(seed)
    mean = spread * rng.normal(size=(number, dimensions))
    stddev = stddev * rng.uniform(0.5, 2.0, size=(number, dimensions))
    return mean + stddev * rng.normal(size=mean.shape), mean, stddev


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_the_gaussian_kl_equals_tfps(scale):
    _, *first = posteriors(20, 4, spread=1.0, stddev=scale)
    _, *second = posteriors(20, 4, spread=1.0, stddev=1.0, seed=1)
    gaussians = (tfd.MultivariateNormalDiag(*parameters) for parameters in (first, second))
    expected = tfd.kl_divergence(*gaussians)
    np.testing.assert_allclose(metrics.gaussian_kl(*first, *second), expected, rtol=1e-10)


@pytest.mark.parametrize("scale", [1e-4, 1.0, 1e4])
def test_the_log_density_of_every_pair_equals_tfps(scale):
    samples, mean, stddev = posteriors(30, 5, spread=2.0, stddev=scale)
    expected = tfd.MultivariateNormalDiag(mean, stddev).log_prob(samples[:, np.newaxis])
    received = metrics.gaussian_log_density(samples, mean, stddev)
    np.testing.assert_allclose(received, expected, rtol=1e-8, atol=1e-6)


@pytest.mark.parametrize("number", [2, 3, 65, 66, 530])
def test_mutual_information_equals_two_slow_loops(number):
    """At 530 images the matrix is computed in two parts."""
    arrays = posteriors(number, 2, spread=1.0, stddev=0.3)
    expected = reference.mutual_information(*arrays)
    assert metrics.mutual_information(*arrays) == pytest.approx(expected, rel=1e-9, abs=1e-9)


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


def test_fewer_images_than_neighbours_all_vote():
    probes = Probes(np.array([[0.0], [0.1], [9.0]]), np.array([0, 0, 1]))
    received = probes.accuracies(np.array([[9.0]]), np.array([0]))
    assert received["nearest_neighbours"] == 1.0
    assert probes.num_images == 3
