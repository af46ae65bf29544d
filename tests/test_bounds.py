"""The two bounds of an image and its view, where what they bound is known in closed form."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import crvae_tf
from crvae_tf import InputError, likelihoods, networks, objectives, randomness
from crvae_tf.bounds import gray_values, separate_bounds, shared_content_bounds
from crvae_tf.transforms import Affine
from tests import reference

tfd = tfp.distributions

COPIES = 100_000
KEY = randomness.key(3)
SHAPE = (8, 8, 1)
PAIR = np.array([[0.7, -0.4], [1.9, 0.3]], np.float32)  # An image and its view, of two pixels.


class LinearGaussian:
    """z = (content, pose) ~ N(0, 1), and an image of two pixels: one N(content, 1), one N(pose, 1).

    Args:
      stddev: of the posterior's content; 3^-1/2 is that of the posterior given two images.
    """

    def __init__(self, stddev=3.0**-0.5):
        self.stddev = stddev
        self.decoded = []

    @property
    def prior(self):
        return tfd.Independent(tfd.Normal(tf.zeros([2]), 1.0), 1)

    def posterior(self, images, training=False):
        means = tf.reshape(images, [-1, 2]) * [2.0 / 3.0, 0.5]
        return tfd.MultivariateNormalDiag(means, tf.ones_like(means) * [self.stddev, 0.5**0.5])

    def likelihood(self, latents, training=False):
        self.decoded.append(latents.numpy())
        return tfd.Independent(tfd.Normal(tf.reshape(latents, [-1, 2, 1, 1]), 1.0), 3)


def copies(pixels):
    return tf.tile(tf.reshape(pixels, [1, 2, 1, 1]), [COPIES, 1, 1, 1])


def shared(base, pair=PAIR, transform=None):
    return shared_content_bounds(base, *map(copies, pair), transform, 1, KEY, False)


def assert_mean(values, expected):
    """The mean lies within five standard errors of what is expected."""
    values = np.asarray(values, np.float64)
    assert abs(values.mean() - expected) < 5.0 * values.std() / len(values) ** 0.5


def log_evidence_of_pair(gain=1.0):
    """log p(x, x~) of `LinearGaussian`, the view's mean multiplied by `gain`."""
    contents = tfd.MultivariateNormalFullCovariance(
        [0.0, 0.0], [[2.0, gain], [gain, 1.0 + gain**2]]
    ).log_prob(PAIR[:, 0])
    stddevs = np.sqrt([2.0, 1.0 + gain**2])
    return float(contents) + reference.normal_log_density(PAIR[:, 1], 0.0, stddevs).sum()


def test_with_the_posterior_given_both_images_the_bound_of_the_pair_is_its_log_evidence():
    x, view = shared(LinearGaussian())
    assert_mean(x.value + view.value, log_evidence_of_pair())


@pytest.mark.parametrize("stddev", [0.3, 0.9])
def test_another_posterior_of_the_content_costs_its_divergence_from_that(stddev):
    x, view = shared(LinearGaussian(stddev))
    cost = reference.diagonal_gaussian_kl(np.zeros(1), stddev, np.zeros(1), 3.0**-0.5)
    assert_mean(x.value + view.value, log_evidence_of_pair() - cost)


def test_the_bound_of_the_image_alone_is_one_on_its_own_evidence():
    x, _ = shared(LinearGaussian())
    mean = PAIR[:, 0].sum() / 3.0
    cost = reference.diagonal_gaussian_kl([mean], 3.0**-0.5, [PAIR[0, 0] / 2.0], 0.5**0.5)
    assert_mean(x.value, reference.normal_log_density(PAIR[0], 0.0, 2.0**0.5).sum() - cost)


def test_a_conditional_view_with_shared_content_bounds_the_evidence_given_the_transformation():
    """The view's mean is doubled, so its content has the precision of 1 + 1 + 4 and its pose of 5."""

    class Doubled(LinearGaussian):
        def posterior(self, images, training=False):
            pixels = tf.reshape(images, [-1, 2])
            is_view = tf.cast(pixels[:, :1] == PAIR[1, 0], tf.float32)
            gain = 1.0 + is_view
            contents = 2.0 * gain * pixels[:, :1] / 6.0
            poses = gain * pixels[:, 1:] / (1.0 + gain**2)
            stddevs = [tf.fill([COPIES, 1], 6.0**-0.5), (1.0 + gain**2) ** -0.5]
            means = tf.concat([contents, poses], axis=1)
            return tfd.MultivariateNormalDiag(means, tf.concat(stddevs, axis=1))

    x, view = shared(Doubled(), transform=lambda means: 2.0 * means)
    assert_mean(x.value + view.value, log_evidence_of_pair(gain=2.0))


def test_it_does_not_matter_which_image_is_the_view():
    class Unequal(LinearGaussian):
        """Its posteriors are so narrow that the noise does not show."""

        def posterior(self, images, training=False):
            means = tf.reshape(images, [-1, 2]) * [0.6, 0.5]
            return tfd.MultivariateNormalDiag(means, 1e-5 * (1.0 + tf.abs(means)))

    there, back = (shared(Unequal(), pair) for pair in (PAIR, PAIR[::-1]))
    sums = [float(x.value[0] + view.value[0]) for x, view in (there, back)]
    assert sums[0] == pytest.approx(sums[1], abs=1e-3)
    assert float(there[0].distortion[0]) == pytest.approx(float(back[1].distortion[0]), abs=1e-3)


def test_one_sample_of_the_content_goes_to_both_images_and_each_has_its_own_pose():
    base = LinearGaussian()
    shared(base)
    (content, pose), (view_content, view_pose) = (decoded.T for decoded in base.decoded)
    np.testing.assert_array_equal(content, view_content)
    assert abs(np.corrcoef(pose, view_pose)[0, 1]) < 5.0 / COPIES**0.5
    assert abs(np.corrcoef(pose, content)[0, 1]) < 5.0 / COPIES**0.5
    assert content.mean() == pytest.approx(PAIR[:, 0].sum() / 3.0, abs=0.01)


def test_the_content_is_paid_for_once():
    x, view = shared(LinearGaussian())
    mean = PAIR[:, 0].sum() / 3.0
    content = reference.diagonal_gaussian_kl([mean], 3.0**-0.5, [0.0], 1.0)
    poses = [reference.diagonal_gaussian_kl([0.5 * p], 0.5**0.5, [0.0], 1.0) for p in PAIR[:, 1]]
    assert float(x.rate[0]) == pytest.approx(content + poses[0], rel=1e-5)
    assert float(view.rate[0]) == pytest.approx(poses[1], rel=1e-5)


def test_beta_weighs_the_rates():
    base = LinearGaussian()
    base.beta = 3.0
    for bound in shared(base):
        expected = -bound.distortion - 3.0 * bound.rate
        np.testing.assert_allclose(bound.value, expected, rtol=1e-4)


def test_a_conditional_view_has_the_evidence_given_its_transformation():
    """z ~ N(0, 1) and a view N(z / 2, 1): the weights of the exact posterior are N(x~; 0, 1.25)."""

    class Halved(LinearGaussian):
        def bound(self, images, seed, training=False, transform=None):
            pixels = tf.reshape(images, [-1, 2])
            gain = 0.5 if transform else 1.0
            stddev = (1.0 + gain**2) ** -0.5
            posterior = tfd.MultivariateNormalDiag(
                pixels * gain * stddev**2, tf.ones_like(pixels) * stddev
            )
            latents = posterior.sample(seed=seed)
            likelihood = self.likelihood(latents)
            if transform:
                likelihood = likelihoods.transformed(likelihood, transform)
            value = objectives.log_weights(posterior, self.prior, likelihood, latents, images)
            return crvae_tf.Bound(value, posterior, value, value)

    pair = (tf.reshape(pixels, [1, 2, 1, 1]) for pixels in PAIR)
    x, view = separate_bounds(Halved(), *pair, lambda means: 0.5 * means, KEY, False, False)
    for bound, pixels, variance in ((x, PAIR[0], 2.0), (view, PAIR[1], 1.25)):
        expected = reference.normal_log_density(pixels, 0.0, variance**0.5).sum()
        assert float(bound.value[0]) == pytest.approx(expected, rel=1e-5)


# Of networks.


def random_images(seed):
    return (np.random.default_rng(seed).random((6, *SHAPE)) > 0.5).astype(np.float32)


IMAGES, VIEWS = random_images(1), random_images(2)
NOTHING = Affine(*(tf.fill([6], value) for value in (0.0, 0.0, 0.0, 1.0)))
MOVED = Affine(tf.fill([6], 1.5), tf.fill([6], -1.0), tf.linspace(-20.0, 20.0, 6), tf.fill([6], 1.2))


def base_model(kind=crvae_tf.VAE, **options):
    return kind(*networks.build("mlp", SHAPE, latent_dim=5, width=0.1, seed=1), **options)


BASES = {
    "vae": base_model,
    "beta_vae": lambda: base_model(crvae_tf.BetaVAE, beta=4.0),
    "iwae": lambda: base_model(crvae_tf.IWAE),
    "iwae_doubly_reparameterized": lambda: base_model(crvae_tf.IWAE, gradient="doubly_reparameterized"),
}


@pytest.mark.parametrize("name", BASES)
def test_a_free_view_and_no_pose_are_the_papers_objective_to_the_bit(name):
    base = BASES[name]()
    model = crvae_tf.CRVAE(base, 0.7, 0.3, "symmetric", view="free", pose_dim=0)
    terms = model.terms((IMAGES, VIEWS), KEY, True)
    x = base.bound(IMAGES, KEY, True)
    view = base.bound(VIEWS, randomness.fold_in(KEY, 1), True)
    consistency = objectives.consistency(x.posterior, view.posterior, "symmetric")
    np.testing.assert_array_equal(terms["view_bound"], view.value)
    np.testing.assert_array_equal(terms["consistency"], consistency)
    np.testing.assert_array_equal(terms["loss"], -(x.value + 0.7 * view.value - 0.3 * consistency))


@pytest.mark.parametrize(
    ("name", "pose_dim"), [*((name, 0) for name in BASES), ("vae", 2), ("beta_vae", 2)]
)
def test_given_that_nothing_was_done_to_it_a_conditional_view_is_a_free_one(name, pose_dim):
    base = BASES[name]()
    free = crvae_tf.CRVAE(base, pose_dim=pose_dim)
    conditional = crvae_tf.CRVAE(base, view="conditional", pose_dim=pose_dim)
    expected = free.terms((IMAGES, VIEWS), KEY, True)
    found = conditional.terms((IMAGES, VIEWS, NOTHING), KEY, True)
    for term, values in expected.items():
        np.testing.assert_allclose(found[term], values, rtol=1e-4, err_msg=term)


@pytest.mark.parametrize("pose_dim", [0, 2])
def test_a_conditional_view_is_scored_under_the_moved_mean(pose_dim):
    """The oracle moves the means by slow NumPy."""
    base = base_model()
    model = crvae_tf.CRVAE(base, view="conditional", pose_dim=pose_dim)
    means = []

    def likelihood(latents, training=False, transform=None):
        means.append(crvae_tf.VAE.likelihood(base, latents).mean().numpy())
        return crvae_tf.VAE.likelihood(base, latents, training, transform)

    base.likelihood = likelihood
    data = (IMAGES, VIEWS, MOVED)
    terms = model.terms(data, KEY, False)
    moved = [
        reference.affine_warp(mean, *(float(part[i]) for part in MOVED))
        for i, mean in enumerate(means[1])
    ]
    moved = np.clip(moved, 1e-6, 1.0 - 1e-6)
    logits = np.log(moved) - np.log1p(-moved)
    distortion = -reference.bernoulli_log_prob(logits, VIEWS).sum(axis=(1, 2, 3))
    _, view = model._bounds(data, KEY, False)
    np.testing.assert_allclose(view.distortion, distortion, rtol=1e-4)
    np.testing.assert_allclose(terms["view_bound"], -(distortion + view.rate), rtol=1e-4)


def test_the_consistency_term_is_of_the_content_alone():
    base = base_model()
    model = crvae_tf.CRVAE(base, pose_dim=2, kl_direction="reverse")
    mean, log_variance = (a.numpy()[:, :3] for a in base.encoder(IMAGES))
    view_mean, view_log_variance = (a.numpy()[:, :3] for a in base.encoder(VIEWS))
    stddev, view_stddev = np.exp(0.5 * log_variance), np.exp(0.5 * view_log_variance)
    expected = reference.diagonal_gaussian_kl(view_mean, view_stddev, mean, stddev)
    terms = model.terms((IMAGES, VIEWS), KEY, False)
    np.testing.assert_allclose(terms["consistency"], expected, rtol=1e-4)


@pytest.mark.parametrize("pose_dim", [0, 2])
def test_keras_fits_on_pairs_with_their_transformations(pose_dim):
    model = crvae_tf.CRVAE(base_model(), view="conditional", pose_dim=pose_dim)
    model.compile(optimizer="sgd")
    model.optimizer.learning_rate = 0.0
    data = tf.data.Dataset.from_tensor_slices((IMAGES, VIEWS, MOVED)).batch(6)
    key = randomness.key(0, randomness.Purpose.POSTERIOR_TRAINING, 0, 0)
    expected = model.terms((IMAGES, VIEWS, MOVED), key, True)
    history = model.fit(data, validation_data=data, verbose=0).history
    for term, values in expected.items():
        assert history[term] == pytest.approx([float(np.mean(values))], rel=1e-4)
    assert {f"val_{term}" for term in expected} < set(history)


class OwnVAE(keras.Model):
    """What the README asks of a user's own model, and no more."""

    def bound(self, images, seed, training=False):
        raise AssertionError("never called")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: crvae_tf.CRVAE(base_model(), view="given"), "view: expected one of"),
        (
            lambda: crvae_tf.CRVAE(base_model(), pose_dim=-1),
            "pose_dim: expected 0 or more; received -1",
        ),
        (
            lambda: crvae_tf.CRVAE(base_model(), 0.0, pose_dim=2),
            "lambda_: expected > 0, .*received 0.0",
        ),
        (lambda: crvae_tf.CRVAE(base_model(), 0.0, view="conditional"), "lambda_: expected > 0"),
        (lambda: crvae_tf.CRVAE(BASES["iwae"](), pose_dim=2), r"pose_dim: expected 0, .* with IWAE"),
        (
            lambda: crvae_tf.CRVAE(OwnVAE(), 0.0),
            r"lambda_: expected > 0, or .* received 0.0 with OwnVAE",
        ),
        (lambda: crvae_tf.CRVAE(OwnVAE(), pose_dim=2), "pose_dim: expected 0, .* with OwnVAE"),
        (lambda: crvae_tf.CRVAE(OwnVAE(), view="conditional"), "view: expected 'free', .* OwnVAE"),
    ],
)
def test_what_cannot_be_trained_is_refused_in_one_line(make, message):
    with pytest.raises(InputError, match=message) as refused:
        make()
    assert "\n" not in str(refused.value)


def test_a_pose_of_all_dimensions_is_refused():
    model = crvae_tf.CRVAE(base_model(), pose_dim=5)
    with pytest.raises(InputError, match=r"pose_dim: expected 0, or fewer than the 5 latent .* 5"):
        model.terms((IMAGES, VIEWS), KEY, True)


def test_a_conditional_view_without_its_transformation_is_refused():
    model = crvae_tf.CRVAE(base_model(), view="conditional")
    with pytest.raises(ValueError, match=r"expected triples \(images, views, transformations\)"):
        model.terms((IMAGES, VIEWS), KEY, True)


def test_the_prior_may_be_of_either_form_of_a_diagonal_gaussian():
    class OtherForm(LinearGaussian):
        @property
        def prior(self):
            return tfd.MultivariateNormalDiag(tf.zeros([2]), tf.ones([2]))

    for one, other in zip(shared(LinearGaussian()), shared(OtherForm()), strict=True):
        np.testing.assert_allclose(other.value, one.value, rtol=1e-6)


@pytest.mark.parametrize("place", [0, 1], ids=["image", "view"])
def test_pixels_outside_their_range_are_refused_where_the_content_is_shared(place):
    pair = [random_images(0), random_images(1)]
    pair[place] = pair[place] * 255.0
    model = crvae_tf.CRVAE(base_model(), pose_dim=1)
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"images: expected values in \[0, 1\]"):
        model.terms(pair, KEY, training=False)
    pair[place] = tf.cast(pair[place], tf.uint8)
    with pytest.raises(InputError, match="images: expected floats in"):
        model.terms(pair, KEY, training=False)


def test_what_xla_compiles_is_nan_for_pixels_outside_their_range():
    compiled = tf.function(gray_values, jit_compile=True)
    images = random_images(0)
    np.testing.assert_array_equal(compiled(images), images)
    assert np.all(np.isnan(compiled(images + 0.1)))


@pytest.mark.parametrize("dtype", [tf.float16, tf.float64])
def test_a_bound_of_images_in_another_precision_is_that_in_float32(dtype):
    images = tf.cast(random_images(0), dtype)
    received = base_model().bound(images, KEY).value
    expected = base_model().bound(tf.cast(images, tf.float32), KEY).value
    np.testing.assert_array_equal(received, expected)
