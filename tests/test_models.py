"""The models against NumPy with the same noise, against each other, and against theory."""

import math
import re

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import crvae_tf
from crvae_tf import networks, objectives, randomness
from crvae_tf.likelihoods import gray_values
from crvae_tf.randomness import Purpose
from tests import reference
from tests.replicas import CalmVAE

tfd = tfp.distributions

SHAPE = (8, 8, 1)
LATENT = 3
KEY = randomness.key(3)
WIDTH = {"mlp": 0.1, "wae": 0.03}
LOG_PROBS = {
    "bernoulli": reference.bernoulli_log_prob,
    "continuous_bernoulli": reference.continuous_bernoulli_log_prob,
    "gaussian": reference.gaussian_log_prob,
}


def random_images(number: int, seed: int, binary: bool = True) -> np.ndarray:
    images = np.random.default_rng(seed).random((number, *SHAPE), dtype=np.float32)
    return (images > 0.5).astype(np.float32) if binary else images


IMAGES, VIEWS = random_images(6, seed=1), random_images(6, seed=2)
PAIRS = tf.data.Dataset.from_tensor_slices((IMAGES, VIEWS))


def pair(network: str = "mlp") -> tuple[keras.Model, keras.Model]:
    return networks.build(network, SHAPE, LATENT, WIDTH[network])


def vae(network: str = "mlp", **options) -> crvae_tf.VAE:
    return crvae_tf.VAE(*pair(network), **options)


def gaussian_vae(*networks, **options) -> crvae_tf.VAE:
    return crvae_tf.VAE(*networks, likelihood="gaussian", **options)


def cr_vae(*networks, **options) -> crvae_tf.CRVAE:
    return crvae_tf.CRVAE(crvae_tf.VAE(*networks), **options)


BASES = {
    "vae": vae,
    "beta_0.5": lambda **options: crvae_tf.BetaVAE(*pair(), beta=0.5, **options),
    "beta_10": lambda **options: crvae_tf.BetaVAE(*pair(), beta=10.0, **options),
    "iwae_1": lambda **options: crvae_tf.IWAE(*pair(), importance_samples=1, **options),
    "iwae_5": lambda **options: crvae_tf.IWAE(*pair(), **options),
}


def compiled(model: keras.Model, rate: float = 0.01) -> keras.Model:
    model.compile(optimizer=keras.optimizers.SGD(rate))
    return model


def noise(images: np.ndarray, key: tf.Tensor, *samples: int) -> np.ndarray:
    """Returns what TFP adds to a posterior's mean, in units of its standard deviation."""
    standard = tfd.Independent(tfd.Normal(tf.zeros([len(images), LATENT]), 1.0), 1)
    return standard.sample(samples, seed=key).numpy()


def numpy_terms(base: crvae_tf.VAE, images: np.ndarray, key, likelihood="bernoulli") -> dict:
    """Returns the terms of `base` by the formulas, from its networks' outputs, and its posterior."""
    samples = getattr(base, "importance_samples", 1)
    mean, log_variance = (np.float64(a) for a in base.encoder(images))
    stddev = np.sqrt(np.exp(log_variance))
    standard = noise(images, key, *([samples] if isinstance(base, crvae_tf.IWAE) else []))
    standard = standard.reshape(samples, *mean.shape)
    latents = mean + stddev * standard
    flat = np.float32(latents.reshape(-1, LATENT))
    logits = base.decoder(flat).numpy().reshape(samples, *images.shape)
    log_likelihood = LOG_PROBS[likelihood](logits, images).sum(axis=(2, 3, 4))
    rate = reference.diagonal_gaussian_kl(mean, stddev, 0.0 * mean, 1.0)
    bound = log_likelihood[0] - base.beta * rate
    if isinstance(base, crvae_tf.IWAE):
        log_prior = reference.normal_log_density(latents, 0.0, 1.0).sum(axis=-1)
        log_posterior = reference.normal_log_density(latents, mean, stddev).sum(axis=-1)
        bound = reference.log_mean_exp_along(log_likelihood + log_prior - log_posterior, axis=0)
    terms = {"bound": bound, "rate": rate, "distortion": -log_likelihood.mean(axis=0), "loss": -bound}
    return terms | {"posterior": (mean, stddev)}


def numpy_cr_terms(base, key, lambda_, eta, direction, likelihood="bernoulli", data=(IMAGES, VIEWS)):
    both = numpy_terms(base, np.concatenate(data), key, likelihood)
    x, view = (half(both, place) for place in range(2))
    forward = reference.diagonal_gaussian_kl(*x["posterior"], *view["posterior"])
    reverse = reference.diagonal_gaussian_kl(*view["posterior"], *x["posterior"])
    kl = {"forward": forward, "reverse": reverse, "symmetric": 0.5 * (forward + reverse)}[direction]
    loss = -(x["bound"] + lambda_ * view["bound"] - eta * kl)
    terms = {name: x[name] for name in ("bound", "rate", "distortion")}
    return terms | {"view_bound": view["bound"], "consistency": kl, "loss": loss}


def half(terms: dict, place: int) -> dict:
    """Returns the terms of the images (0) or of the views (1)."""
    return {
        name: tuple(np.split(part, 2)[place] for part in values)
        if name == "posterior"
        else np.split(values, 2)[place]
        for name, values in terms.items()
    }


def assert_means(logs: dict, terms: dict, rtol: float = 1e-4) -> None:
    names = set(terms) - {"posterior"}
    assert set(logs) == names
    for name in names:
        np.testing.assert_allclose(logs[name], np.mean(terms[name]), rtol=rtol, err_msg=name)


def training_key(seed: int, step: int) -> tf.Tensor:
    return randomness.key(seed, Purpose.POSTERIOR_TRAINING, step, 0)


def validation_key(seed: int, images_before: int) -> tf.Tensor:
    return randomness.key(seed, Purpose.POSTERIOR_VALIDATION, images_before, 0)


def stepped(model: keras.Model, number: int, data=(IMAGES, VIEWS)) -> keras.Model:
    """Returns the compiled model after `number` steps, taken one by one: quicker than tracing `fit`."""
    for _ in range(number):
        model.reset_metrics()
        model.train_step(data)
    return model


@pytest.mark.parametrize("name", BASES)
def test_a_step_of_a_base_model_reports_the_terms_of_numpy(name):
    model = compiled(BASES[name](seed=7), rate=0.0)
    for step in range(2):
        model.reset_metrics()
        expected = numpy_terms(model, IMAGES, training_key(7, step))
        assert_means(model.train_step(IMAGES), expected)


@pytest.mark.parametrize("likelihood", ["continuous_bernoulli", "gaussian"])
@pytest.mark.parametrize("name", ["vae", "iwae_5"])
def test_a_step_on_gray_images_reports_the_terms_of_numpy(name, likelihood):
    model = compiled(BASES[name](likelihood=likelihood))
    gray = random_images(6, seed=3, binary=False)
    expected = numpy_terms(model, gray, training_key(0, 0), likelihood)
    assert_means(model.train_step(gray), expected)


@pytest.mark.parametrize(
    ("name", "lambda_", "eta", "direction"),
    [(name, 1.0, 0.1, "forward") for name in BASES]
    + [
        ("vae", 0.5, 2.0, "reverse"),
        ("vae", 1.0, 1.0, "symmetric"),
        ("vae", 1.0, 0.0, "forward"),
        ("iwae_5", 2.0, 0.5, "reverse"),
    ],
)
def test_a_step_of_cr_vae_reports_the_terms_of_numpy(name, lambda_, eta, direction):
    base = BASES[name](seed=3)
    model = compiled(crvae_tf.CRVAE(base, lambda_, eta, direction), rate=0.0)
    expected = numpy_cr_terms(base, training_key(3, 0), lambda_, eta, direction)
    assert_means(model.train_step((IMAGES, VIEWS)), expected)


@pytest.mark.parametrize("name", BASES)
def test_validation_reports_the_terms_of_numpy_with_the_noise_of_each_batchs_place(name):
    base = BASES[name](seed=3)
    model = compiled(crvae_tf.CRVAE(base))
    pieces = []
    for first, data in ((0, (IMAGES[:4], VIEWS[:4])), (4, (IMAGES[4:], VIEWS[4:]))):
        logs = model.test_step(data)
        key = validation_key(3, first)
        pieces.append(numpy_cr_terms(base, key, 1.0, model.eta, "forward", data=data))
    assert_means(logs, {name: np.concatenate([p[name] for p in pieces]) for name in logs})


def test_training_draws_new_noise_at_every_step_and_other_noise_for_other_seeds():
    def bounds(seed):
        model = compiled(vae(seed=seed), rate=0.0)
        return [float(stepped(model, 1).get_metrics_result()["bound"]) for _ in range(3)]

    first, again, other = bounds(0), bounds(0), bounds(1)
    assert first == again
    assert len({*first, *other}) == 6


def test_one_step_follows_the_gradient_of_the_mean_of_equation_2():
    base = vae()
    model = compiled(crvae_tf.CRVAE(base, lambda_=0.5, eta=2.0), rate=0.1)
    key = training_key(0, 0)
    variables = base.trainable_variables
    with tf.GradientTape() as tape:
        both = base.bound(np.concatenate([IMAGES, VIEWS]), key, training=True)
        x, view = both[:6], both[6:]
        kl = tfd.kl_divergence(x.posterior, view.posterior)
        loss = -tf.reduce_sum(x.value + 0.5 * view.value - 2.0 * kl) / len(IMAGES)
    expected = [v - 0.1 * g for v, g in zip(variables, tape.gradient(loss, variables), strict=True)]
    model.train_step((IMAGES, VIEWS))
    for got, wanted in zip(variables, expected, strict=True):
        np.testing.assert_allclose(got.numpy(), wanted, rtol=1e-5, atol=1e-6)


def test_a_short_last_batch_weighs_as_many_images_as_it_has():
    base = CalmVAE(*pair())
    model = compiled(crvae_tf.CRVAE(base), rate=0.0)
    whole = {n: v.numpy() for n, v in model.terms((IMAGES, VIEWS), tf.constant([0, 0]), False).items()}
    data = PAIRS.batch(4)
    history = model.fit(data, validation_data=data, epochs=2, verbose=0).history
    for name, values in whole.items():
        assert values.std() > 1e-3
        assert history[name] == pytest.approx([values.mean()] * 2, rel=1e-5)
        assert history[f"val_{name}"] == pytest.approx([values.mean()] * 2, rel=1e-5)


@pytest.mark.parametrize("name", [*BASES, "cr"])
def test_steps_return_the_names_of_the_metrics(name):
    """Keras averages over replicas what goes by another name."""
    model = compiled(crvae_tf.CRVAE(vae()) if name == "cr" else BASES[name]())
    names = [metric.name for metric in model.metrics]
    assert names[0] == "loss"
    assert list(model.train_step((IMAGES, VIEWS))) == names
    assert list(model.test_step((IMAGES, VIEWS))) == names
    assert list(model.get_metrics_result()) == names


def constant_encoder(mean: float, log_variance: float) -> keras.Model:
    images = keras.Input(SHAPE)
    x = keras.layers.Flatten()(images)
    heads = (
        keras.layers.Dense(LATENT, kernel_initializer="zeros", bias_initializer=bias)(x)
        for bias in (keras.initializers.Constant(mean), keras.initializers.Constant(log_variance))
    )
    return keras.Model(images, tuple(heads))


def test_log_variance_is_the_log_of_a_variance():
    model = crvae_tf.VAE(constant_encoder(0.5, math.log(4.0)), pair()[1])
    posterior = model.posterior(IMAGES)
    np.testing.assert_allclose(posterior.stddev(), np.full((6, LATENT), 2.0), rtol=1e-6)
    np.testing.assert_allclose(posterior.variance(), np.full((6, LATENT), 4.0), rtol=1e-6)
    rate = model.bound(IMAGES, tf.constant([0, 0])).rate
    expected = LATENT * 0.5 * (4.0 + 0.25 - 1.0 - math.log(4.0))
    np.testing.assert_allclose(rate, np.full(6, expected), rtol=1e-5)


def test_the_likelihood_decodes_each_latent_whatever_its_leading_dimensions():
    model = vae()
    latents = np.random.default_rng(0).normal(size=(2, 4, 3, LATENT)).astype(np.float32)
    images = model.likelihood(latents).mean().numpy()
    flat = model.decoder(latents.reshape(-1, LATENT)).numpy()
    np.testing.assert_allclose(
        images, 1.0 / (1.0 + np.exp(-flat)).reshape(2, 4, 3, *SHAPE), rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize("wrap", [lambda base: base, crvae_tf.CRVAE])
def test_calling_a_model_decodes_the_posteriors_mean(wrap):
    base = vae()
    mean, _ = base.encoder(IMAGES)
    expected = 1.0 / (1.0 + np.exp(-base.decoder(mean).numpy()))
    np.testing.assert_allclose(wrap(base)(IMAGES), expected, rtol=1e-5)
    np.testing.assert_allclose(wrap(base).predict(IMAGES, verbose=0), expected, rtol=1e-5)


def test_cr_vae_answers_as_its_base():
    base = vae()
    model = crvae_tf.CRVAE(base)
    key = tf.constant([3, 4])
    latents = noise(IMAGES, key)
    np.testing.assert_array_equal(model.posterior(IMAGES).mean(), base.posterior(IMAGES).mean())
    np.testing.assert_array_equal(model.likelihood(latents).mean(), base.likelihood(latents).mean())
    np.testing.assert_array_equal(model.bound(IMAGES, key).value, base.bound(IMAGES, key).value)
    np.testing.assert_array_equal(model.prior.log_prob(latents), base.prior.log_prob(latents))
    assert {id(v) for v in model.trainable_variables} == {id(v) for v in base.trainable_variables}


def test_only_training_moves_the_batch_normalisations_statistics():
    model = compiled(crvae_tf.CRVAE(vae("wae")), rate=0.0)

    def statistics():
        return [v.numpy() for v in model.base.non_trainable_variables]

    before = statistics()
    model.test_step((IMAGES, VIEWS))
    model(IMAGES)
    for a, b in zip(before, statistics(), strict=True):
        np.testing.assert_array_equal(a, b)
    model.train_step((IMAGES, VIEWS))
    assert not any(np.array_equal(a, b) for a, b in zip(before, statistics(), strict=True))


@pytest.mark.parametrize(
    ("network", "base"), [("mlp", crvae_tf.VAE), ("mlp", crvae_tf.IWAE), ("wae", crvae_tf.VAE)]
)
def test_with_both_weights_0_cr_vae_is_its_base_to_the_bit(network, base):
    plain, wrapped = base(*pair(network)), base(*pair(network))
    before = plain.get_weights()
    for model in (plain, crvae_tf.CRVAE(wrapped, 0.0, 0.0)):
        compiled(model).fit(PAIRS.batch(4), epochs=3, verbose=0)
    # The moving statistics of batch normalisation are among the weights, and have moved.
    assert len(before) == {"mlp": 14, "wae": 44}[network]
    moved = {"kernel", "moving_mean", "moving_variance"}
    for initial, variable, regularised in zip(
        before, plain.weights, wrapped.get_weights(), strict=True
    ):
        assert variable.name not in moved or not np.array_equal(initial, variable.numpy())
        np.testing.assert_array_equal(variable.numpy(), regularised)


def test_the_moving_statistics_are_those_of_images_and_views_together():
    model = compiled(crvae_tf.CRVAE(vae("wae")), rate=0.0)
    first = next(layer for layer in model.base.encoder.layers if "normalization" in layer.name)
    before = keras.Model(model.base.encoder.input, first.input)
    model.train_step((IMAGES, VIEWS))
    inputs = np.float64(before(np.concatenate([IMAGES, VIEWS])))
    axes = (0, 1, 2)
    np.testing.assert_allclose(first.moving_mean, 0.1 * inputs.mean(axes), rtol=1e-3, atol=1e-6)
    np.testing.assert_allclose(first.moving_variance, 0.9 + 0.1 * inputs.var(axes), rtol=1e-3)


@pytest.mark.parametrize("training", [False, True])
def test_one_pass_is_two_where_rows_are_independent(training):
    model = crvae_tf.CRVAE(CalmVAE(*pair()))
    terms = model.terms((IMAGES, VIEWS), KEY, training)
    x, view = (model.base.bound(images, KEY, training) for images in (IMAGES, VIEWS))
    np.testing.assert_allclose(terms["bound"], x.value, rtol=1e-5)
    np.testing.assert_allclose(terms["view_bound"], view.value, rtol=1e-5)
    consistency = objectives.consistency(x.posterior, view.posterior)
    np.testing.assert_allclose(terms["consistency"], consistency, rtol=1e-4)


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("direction", objectives.KL_DIRECTIONS)
@pytest.mark.parametrize("network", WIDTH)
def test_views_equal_to_their_images_are_consistent(network, direction, training):
    model = crvae_tf.CRVAE(vae(network), kl_direction=direction)
    terms = model.terms((IMAGES, IMAGES), tf.constant([0, 1]), training)
    np.testing.assert_allclose(terms["consistency"], np.zeros(6), atol=1e-9)
    # The two samples are two: the noise of an image's view is not that of the image.
    assert np.all(terms["bound"] != terms["view_bound"])
    terms = model.terms((IMAGES, VIEWS), tf.constant([0, 1]), training)
    assert np.all(terms["consistency"].numpy() > 0.0)


@pytest.fixture(scope="module")
def one_image_many_times():
    return tf.tile(IMAGES[:1], [10_000, 1, 1, 1])


def test_iwae_with_one_sample_is_the_elbo_in_expectation(one_image_many_times):
    encoder, decoder = pair()
    key = tf.constant([0, 1])
    one = crvae_tf.IWAE(encoder, decoder, importance_samples=1).bound(one_image_many_times, key)
    elbo = crvae_tf.VAE(encoder, decoder).bound(one_image_many_times, key)
    difference = (one.value - elbo.value).numpy()
    assert abs(difference.mean()) < 5.0 * difference.std() / math.sqrt(len(difference))
    assert difference.std() > 0.1


def test_iwae_rises_with_its_samples_above_the_elbo(one_image_many_times):
    encoder, decoder = pair()
    images, key = one_image_many_times[:2000], tf.constant([0, 1])
    means = [
        np.mean(crvae_tf.IWAE(encoder, decoder, importance_samples=k).bound(images, key).value)
        for k in (1, 5, 25)
    ]
    assert means[0] + 0.1 < means[1] < means[2] - 0.1


@pytest.mark.parametrize(
    ("name", "eta"), [("vae", 0.1), ("beta_0.5", 0.05), ("beta_10", 1.0), ("iwae_5", 0.1)]
)
def test_eta_is_by_default_a_tenth_of_the_bases_beta(name, eta):
    model = crvae_tf.CRVAE(BASES[name]())
    assert model.eta == pytest.approx(eta)
    assert model.lambda_ == 1.0
    assert model.kl_direction == "forward"


@pytest.mark.parametrize("data", [IMAGES, (IMAGES,), (IMAGES, VIEWS, VIEWS)])
def test_cr_vae_refuses_what_is_not_a_pair(data):
    model = compiled(crvae_tf.CRVAE(vae()))
    with pytest.raises(ValueError, match=r"data: expected pairs \(images, views\)"):
        model.train_step(data)


class LinearGaussian(keras.Model):
    """Somebody else's VAE: z ~ N(0, 1), x|z ~ N(z, 1), q(z|x) = N(slope x + offset, exp(log_variance)).

    It has the one method that `CRVAE` asks for. Its expectations are in closed form, without noise.
    """

    def __init__(self):
        super().__init__()
        self.slope = self.add_weight(shape=(), initializer="zeros")
        self.offset = self.add_weight(shape=(), initializer="ones")
        self.log_variance = self.add_weight(shape=(), initializer="zeros")

    def bound(self, images, seed, training=False):
        mean = self.slope * images + self.offset
        posterior = tfd.Normal(mean, tf.exp(0.5 * self.log_variance))
        rate = tfd.kl_divergence(posterior, tfd.Normal(0.0, 1.0))
        distortion = -tfd.Normal(mean, 1.0).log_prob(images) + 0.5 * tf.exp(self.log_variance)
        return crvae_tf.Bound(-distortion - rate, posterior, rate, distortion)


def test_a_users_own_vae_trained_by_cr_vae_finds_the_exact_posterior():
    images = np.random.default_rng(0).normal(scale=math.sqrt(2.0), size=64).astype(np.float32)
    views = images + 1.0
    model = compiled(crvae_tf.CRVAE(LinearGaussian(), eta=0.0), rate=0.1)
    data = tf.data.Dataset.from_tensors((images, views)).repeat(100)
    history = model.fit(data, validation_data=(images[:10], views[:10]), epochs=2, verbose=0).history
    slope, offset, log_variance = model.base.get_weights()
    assert slope == pytest.approx(0.5, abs=1e-4)
    assert offset == pytest.approx(0.0, abs=1e-4)
    assert math.exp(log_variance) == pytest.approx(0.5, abs=1e-4)

    def log_evidence(values):
        return reference.normal_log_density(values, 0.0, math.sqrt(2.0)).mean()

    assert history["val_bound"][-1] == pytest.approx(log_evidence(images[:10]), rel=1e-4)
    assert history["val_view_bound"][-1] == pytest.approx(log_evidence(views[:10]), rel=1e-4)
    # The views' posterior means lie 1/2 away, at a variance of 1/2.
    assert history["val_consistency"][-1] == pytest.approx(0.5**2 / (2.0 * 0.5), rel=1e-3)


class OwnEncoder(keras.Model):
    def __init__(self, dtype=None):
        super().__init__(dtype=dtype)
        self.mean, self.log_variance = (keras.layers.Dense(LATENT, dtype=dtype) for _ in range(2))

    def call(self, images, training=False):
        pixels = keras.ops.reshape(images, (-1, math.prod(SHAPE)))
        return self.mean(pixels), self.log_variance(pixels)


class OwnDecoder(keras.Model):
    def __init__(self, dtype=None):
        super().__init__(dtype=dtype)
        self.pixels = keras.layers.Dense(math.prod(SHAPE), dtype=dtype)

    def call(self, latents, training=False):
        return keras.ops.reshape(self.pixels(latents), (-1, *SHAPE))


def functional_pair(**options) -> tuple[keras.Model, keras.Model]:
    images, latents = keras.Input(SHAPE), keras.Input((LATENT,))
    pixels = keras.layers.Flatten()(images)
    heads = [keras.layers.Dense(LATENT, **options)(pixels) for _ in range(2)]
    logits = keras.layers.Dense(math.prod(SHAPE), **options)(latents)
    return keras.Model(images, heads), keras.Model(latents, keras.layers.Reshape(SHAPE)(logits))


@pytest.mark.parametrize(
    "own_pair",
    [functional_pair, lambda: (OwnEncoder(), OwnDecoder())],
    ids=["functional", "subclassed"],
)
def test_a_users_own_encoder_and_decoder_are_trained_as_ours(own_pair):
    keras.utils.set_random_seed(0)
    base = crvae_tf.VAE(*own_pair(), likelihood="gaussian")
    model = compiled(crvae_tf.CRVAE(base))
    gray = random_images(6, seed=3, binary=False), random_images(6, seed=4, binary=False)
    base.decoder(base.encoder(gray[0])[0])
    expected = numpy_cr_terms(base, training_key(0, 0), 1.0, 0.1, "forward", "gaussian", gray)
    assert_means(model.train_step(gray), expected)
    model.reset_metrics()
    before = float(model.test_step(gray)["loss"])
    stepped(model, 10, gray).reset_metrics()
    assert float(model.test_step(gray)["loss"]) < before - 0.5


def test_a_users_own_networks_of_low_precision_are_scored_in_float32():
    options = {"dtype": "bfloat16"}
    base = crvae_tf.VAE(*functional_pair(**options))
    assert base.encoder(IMAGES)[0].dtype == tf.bfloat16
    bound = base.bound(IMAGES, tf.constant([0, 1]))
    for value in (bound.value, bound.rate, bound.distortion):
        assert value.dtype == tf.float32
    mean, log_variance = (tf.cast(a, tf.float64).numpy() for a in base.encoder(IMAGES))
    rate = reference.diagonal_gaussian_kl(mean, np.exp(0.5 * log_variance), 0.0 * mean, 1.0)
    np.testing.assert_allclose(bound.rate, rate, rtol=1e-5)


@pytest.mark.parametrize("wrap", [lambda base: base, crvae_tf.CRVAE])
def test_a_users_weight_penalty_is_part_of_the_step_once(wrap):
    penalty, rate = 0.5, 0.1
    plain = crvae_tf.VAE(*functional_pair())
    penalised = crvae_tf.VAE(*functional_pair(kernel_regularizer=keras.regularizers.L2(penalty)))
    initial = plain.get_weights()
    penalised.set_weights(initial)
    for base in (plain, penalised):
        stepped(compiled(wrap(base), rate), 1)
    for before, without, got in zip(initial, plain.get_weights(), penalised.get_weights(), strict=True):
        expected = without - rate * 2.0 * penalty * before * (before.ndim > 1)
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6)


@pytest.fixture
def policy():
    """Sets the global policy, and sets it back."""
    before = keras.mixed_precision.dtype_policy()
    yield keras.mixed_precision.set_global_policy
    keras.mixed_precision.set_global_policy(before)


# Half of the last place of a factor: 2^-9 for bfloat16 and 2^-12 for float16.
@pytest.mark.parametrize(("name", "tolerance"), [("mixed_bfloat16", 2**-9), ("mixed_float16", 2**-12)])
@pytest.mark.parametrize("network", WIDTH)
@pytest.mark.parametrize("base", [crvae_tf.VAE, crvae_tf.IWAE])
def test_bounds_in_mixed_precision_agree_with_float32(policy, name, tolerance, network, base):
    key = tf.constant([0, 1])
    exact = base(*pair(network)).bound(IMAGES, key)
    policy(name)
    low = base(*pair(network)).bound(IMAGES, key)
    assert low.value.dtype == low.rate.dtype == low.distortion.dtype == tf.float32
    np.testing.assert_allclose(low.value, exact.value, rtol=tolerance)
    np.testing.assert_allclose(low.distortion, exact.distortion, rtol=tolerance)
    assert np.all(low.value != exact.value)


def losses_of_ten_epochs() -> list[float]:
    model = crvae_tf.CRVAE(vae())
    # At Keras' first scale of 2^15 a step of float16 overflows, and is skipped.
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.02), initial_scale=2.0**10)
    model.compile(optimizer=optimizer)
    losses = model.fit(PAIRS.batch(4), epochs=10, verbose=0).history["loss"]
    # The noise is a function of the step: a count that stood still would repeat it.
    assert int(model.optimizer.iterations) == 20
    assert model.base.encoder.trainable_variables[0].dtype == "float32"
    return losses


@pytest.fixture(scope="module")
def float32_losses():
    return losses_of_ten_epochs()


@pytest.mark.parametrize(("name", "tolerance"), [("mixed_bfloat16", 1e-2), ("mixed_float16", 1e-3)])
def test_training_in_mixed_precision_follows_float32(float32_losses, policy, name, tolerance):
    policy(name)
    losses = losses_of_ten_epochs()
    assert losses[-1] < losses[0] - 1.0
    np.testing.assert_allclose(losses, float32_losses, rtol=tolerance)
    assert losses != float32_losses


def test_float16_goes_on_after_the_steps_that_it_skips_to_find_its_loss_scale(policy):
    """Keras' first scale of 2^15 overflows here; it is halved at each step that is skipped."""
    policy("mixed_float16")
    model = compiled(crvae_tf.CRVAE(vae("wae")))
    steps = []
    count = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda *_: steps.append(int(model.optimizer.iterations))
    )
    model.fit(PAIRS.batch(6).repeat(20), epochs=2, callbacks=[count], verbose=0)
    assert 5 <= steps[0] < 20
    assert steps[1] > steps[0] + 10
    assert all(np.isfinite(w).all() for w in model.get_weights())


def test_what_xla_compiles_is_nan_for_pixels_outside_their_range():
    compiled = tf.function(gray_values, jit_compile=True)
    images = IMAGES
    np.testing.assert_array_equal(compiled(images), images)
    assert np.all(np.isnan(compiled(images + 0.1)))


@pytest.mark.parametrize("stddev", [0.1, 2.0])
def test_gaussian_pixels_have_the_standard_deviation_that_is_given(stddev):
    model = crvae_tf.VAE(*pair(), likelihood="gaussian", pixel_stddev=stddev)
    latents, gray = tf.zeros([6, LATENT]), random_images(6, seed=3, binary=False)
    mean = 1.0 / (1.0 + np.exp(-model.decoder(latents).numpy()))
    expected = reference.normal_log_density(gray, mean, stddev).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(model.likelihood(latents).log_prob(gray), expected, rtol=1e-4)


@pytest.mark.parametrize("error", [0.0, 0.07, 0.5])
def test_a_learned_standard_deviation_is_the_root_mean_square_error_above_its_floor(error):
    """What maximises a Gaussian likelihood, in closed form, of a decoder that cannot learn."""
    encoder, decoder = pair()
    decoder.trainable = encoder.trainable = False
    for variable in decoder.weights:
        variable.assign(tf.zeros_like(variable))
    model = crvae_tf.VAE(encoder, decoder, likelihood="gaussian", pixel_stddev="learned")
    model.compile(optimizer=keras.optimizers.Adam(1e-2))
    images = np.full((4, *SHAPE), 0.5 + error, np.float32)
    model.fit(tf.data.Dataset.from_tensors(images).repeat(300), verbose=0)
    found = model.likelihood(tf.zeros([1, LATENT])).distribution.stddev().numpy()
    np.testing.assert_allclose(found, max(error, 1.0 / 255.0), rtol=0.03)


@pytest.mark.parametrize(
    ("make", "arguments", "refusal"),
    [
        (crvae_tf.BetaVAE, {"beta": -1.0}, "beta: expected a number >= 0; received -1.0"),
        (crvae_tf.BetaVAE, {"beta": None}, "beta: expected a number >= 0; received None"),
        (
            crvae_tf.IWAE,
            {"importance_samples": 0},
            "importance_samples: expected 1 or more; received 0",
        ),
        (gaussian_vae, {"pixel_stddev": 0.0}, "pixel_stddev: expected a number > 0; received 0.0"),
        (
            gaussian_vae,
            {"pixel_stddev": "wide"},
            "pixel_stddev: expected a number > 0; received 'wide'",
        ),
        (cr_vae, {"lambda_": math.nan}, "lambda_: expected a number >= 0; received nan"),
        (cr_vae, {"eta": math.inf}, "eta: expected a number >= 0; received inf"),
        (cr_vae, {"eta": "auto"}, "eta: expected a number >= 0; received 'auto'"),
        (cr_vae, {"lambda_": 0.0, "eta": 0.1}, "eta: expected 0 where lambda_ is 0; received 0.1"),
        (cr_vae, {"kl_direction": "up"}, "one of forward, reverse, symmetric; received up"),
    ],
)
def test_arguments_outside_their_range_are_refused(make, arguments, refusal):
    with pytest.raises(crvae_tf.InputError, match=re.escape(refusal)):
        make(*pair(), **arguments)
