"""The models against NumPy with the same noise, against each other, and against theory."""

import dataclasses
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
from tests.small_training import assert_same_weights

tfd = tfp.distributions

SHAPE = (8, 8, 1)
LATENT = 3
KEY = randomness.key(3)
WIDTH = {"mlp": 0.1, "wae": 0.03}


def random_images(number: int, seed: int, binary: bool = True) -> np.ndarray:
    images = np.random.default_rng(seed).random((number, *SHAPE), dtype=np.float32)
    return (images > 0.5).astype(np.float32) if binary else images


IMAGES, VIEWS = random_images(6, seed=1), random_images(6, seed=2)
GRAY = random_images(6, seed=3, binary=False)
PAIRS = tf.data.Dataset.from_tensor_slices((IMAGES, VIEWS))


def pair(network: str = "mlp") -> tuple[keras.Model, keras.Model]:
    return networks.build(network, SHAPE, LATENT, WIDTH[network])


def vae(network: str = "mlp", **options) -> crvae_tf.VAE:
    return crvae_tf.VAE(*pair(network), **options)


def cr_vae(*networks, **options) -> crvae_tf.CRVAE:
    return crvae_tf.CRVAE(crvae_tf.VAE(*networks), **options)


BASES = {
    "vae": vae,
    "beta_0.5": lambda **options: crvae_tf.BetaVAE(*pair(), beta=0.5, **options),
    "beta_10": lambda **options: crvae_tf.BetaVAE(*pair(), beta=10.0, **options),
    "iwae_1": lambda **options: crvae_tf.IWAE(*pair(), importance_samples=1, **options),
    "iwae_5": lambda **options: crvae_tf.IWAE(*pair(), **options),
}
ETAS = {"vae": 0.1, "beta_0.5": 0.05, "beta_10": 1.0, "iwae_1": 0.1, "iwae_5": 0.1}


def compiled(model: keras.Model, rate: float = 0.01) -> keras.Model:
    model.compile(optimizer=keras.optimizers.SGD(rate))
    return model


def numpy_terms(base, images, key, likelihood) -> tuple[dict, np.ndarray]:
    """Returns the terms of `base` by the formulas, from its networks' outputs, and its posterior."""
    samples = getattr(base, "importance_samples", 1)
    mean, log_variance = (np.float64(a) for a in base.encoder(images))
    stddev = np.sqrt(np.exp(log_variance))
    standard = tfd.Independent(tfd.Normal(tf.zeros(mean.shape), 1.0), 1)
    latents = mean + stddev * standard.sample(samples, seed=key).numpy()
    flat = np.float32(latents.reshape(-1, LATENT))
    logits = base.decoder(flat).numpy().reshape(samples, *images.shape)
    log_likelihood = reference.LOG_PROBS[likelihood](logits, images).sum(axis=(2, 3, 4))
    rate = reference.diagonal_gaussian_kl(mean, stddev, 0.0 * mean, 1.0)
    bound = log_likelihood[0] - base.beta * rate
    if isinstance(base, crvae_tf.IWAE):
        log_prior = reference.normal_log_density(latents, 0.0, 1.0).sum(axis=-1)
        log_posterior = reference.normal_log_density(latents, mean, stddev).sum(axis=-1)
        bound = reference.log_mean_exp(log_likelihood + log_prior - log_posterior, axis=0)
    terms = {"bound": bound, "rate": rate, "distortion": -log_likelihood.mean(axis=0), "loss": -bound}
    return terms, np.array([mean, stddev])


def numpy_cr_terms(base, key, lambda_, eta, direction, data=(IMAGES, VIEWS)):
    terms, posteriors = numpy_terms(base, np.concatenate(data), key, "bernoulli")
    kl = reference.divergence(direction, *np.split(posteriors, 2, axis=1))
    bound, view_bound = np.split(terms["bound"], 2)
    loss = -(bound + lambda_ * view_bound - eta * kl)
    of_images = {name: np.split(terms[name], 2)[0] for name in ("bound", "rate", "distortion")}
    return of_images | {"view_bound": view_bound, "consistency": kl, "loss": loss}


def assert_means(logs: dict, terms: dict) -> None:
    assert set(logs) == set(terms)
    for name in terms:
        np.testing.assert_allclose(logs[name], np.mean(terms[name]), rtol=1e-4, err_msg=name)


def training_key(seed: int, step: int) -> tf.Tensor:
    return randomness.key(seed, Purpose.POSTERIOR_TRAINING, step, 0)


@pytest.mark.parametrize("likelihood", reference.LOG_PROBS)
@pytest.mark.parametrize("name", BASES)
def test_a_step_of_a_base_model_reports_the_terms_of_numpy(name, likelihood):
    model = compiled(BASES[name](seed=7, likelihood=likelihood), rate=0.0)
    images = IMAGES if likelihood == "bernoulli" else GRAY
    for step in range(2):
        model.reset_metrics()
        expected, _ = numpy_terms(model, images, training_key(7, step), likelihood)
        assert_means(model.train_step(images), expected)


@pytest.mark.parametrize(
    ("name", "lambda_", "eta", "direction"),
    [(name, 1.0, 0.1, "forward") for name in BASES]
    + [("vae", 0.5, 2.0, "reverse"), ("vae", 1.0, 1.0, "symmetric"), ("iwae_5", 2.0, 0.5, "reverse")],
)
def test_a_step_of_cr_vae_reports_the_terms_of_numpy(name, lambda_, eta, direction):
    base = BASES[name](seed=3)
    model = compiled(crvae_tf.CRVAE(base, lambda_, eta, direction), rate=0.0)
    expected = numpy_cr_terms(base, training_key(3, 0), lambda_, eta, direction)
    assert_means(model.train_step((IMAGES, VIEWS)), expected)


@pytest.mark.parametrize(("name", "eta"), ETAS.items())
def test_validation_with_the_papers_weights_reports_numpys_terms_for_each_batchs_place(name, eta):
    base = BASES[name](seed=3)
    model = compiled(crvae_tf.CRVAE(base))
    assert model.eta == pytest.approx(eta)
    pieces = []
    for first, data in ((0, (IMAGES[:4], VIEWS[:4])), (4, (IMAGES[4:], VIEWS[4:]))):
        logs = model.test_step(data)
        key = randomness.key(3, Purpose.POSTERIOR_VALIDATION, first, 0)
        pieces.append(numpy_cr_terms(base, key, 1.0, eta, "forward", data=data))
    assert_means(logs, {name: np.concatenate([p[name] for p in pieces]) for name in logs})


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


@pytest.mark.parametrize("wrap", [lambda base: base, crvae_tf.CRVAE])
def test_calling_a_model_decodes_the_posteriors_mean(wrap):
    base = vae()
    mean, _ = base.encoder(IMAGES)
    expected = 1.0 / (1.0 + np.exp(-base.decoder(mean).numpy()))
    np.testing.assert_allclose(wrap(base)(IMAGES), expected, rtol=1e-5)
    np.testing.assert_allclose(wrap(base).predict(IMAGES, verbose=0), expected, rtol=1e-5)


@pytest.mark.parametrize(("network", "base"), [("mlp", crvae_tf.IWAE), ("wae", crvae_tf.VAE)])
def test_with_both_weights_0_cr_vae_is_its_base_to_the_bit(network, base):
    plain, wrapped = base(*pair(network)), base(*pair(network))
    before = plain.get_weights()
    for model in (plain, crvae_tf.CRVAE(wrapped, lambda_=0.0)):
        compiled(model).fit(PAIRS.batch(4), epochs=3, verbose=0)
    # The moving statistics of batch normalisation are among the weights, and have moved.
    assert len(before) == {"mlp": 14, "wae": 44}[network]
    moved = {"kernel", "moving_mean", "moving_variance"}
    for initial, variable, regularised in zip(
        before, plain.weights, wrapped.get_weights(), strict=True
    ):
        assert variable.name not in moved or not np.array_equal(initial, variable.numpy())
        np.testing.assert_array_equal(variable.numpy(), regularised)


def test_training_alone_moves_the_statistics_and_to_those_of_images_and_views_together():
    model = compiled(crvae_tf.CRVAE(vae("wae")), rate=0.0)
    first = next(layer for layer in model.base.encoder.layers if "normalization" in layer.name)
    before = keras.Model(model.base.encoder.input, first.input)
    initial = [variable.numpy() for variable in model.base.non_trainable_variables]
    model.test_step((IMAGES, VIEWS))
    model(IMAGES)
    np.testing.assert_equal([v.numpy() for v in model.base.non_trainable_variables], initial)
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


@pytest.mark.parametrize("direction", objectives.KL_DIRECTIONS)
@pytest.mark.parametrize("network", WIDTH)
def test_views_equal_to_their_images_are_consistent(network, direction):
    model = crvae_tf.CRVAE(vae(network), kl_direction=direction)
    terms = model.terms((IMAGES, IMAGES), KEY, training=True)
    np.testing.assert_allclose(terms["consistency"], np.zeros(6), atol=1e-9)
    # The two samples are two: the noise of an image's view is not that of the image.
    assert np.all(terms["bound"] != terms["view_bound"])
    terms = model.terms((IMAGES, VIEWS), KEY, training=True)
    assert np.all(terms["consistency"].numpy() > 0.0)


NO_PAIRS = [IMAGES, (IMAGES,), (IMAGES, VIEWS, VIEWS), (IMAGES, np.arange(6)), (IMAGES, VIEWS[:, 1:])]
NO_PAIRS += [(IMAGES, VIEWS[1:]), {"image": IMAGES, "augmented": VIEWS}]  # Keras orders keys itself.


@pytest.mark.parametrize("data", NO_PAIRS)
def test_cr_vae_refuses_what_is_not_a_pair(data):
    model = compiled(crvae_tf.CRVAE(vae()))
    with pytest.raises(ValueError, match=r"data: expected pairs \(images, views\)"):
        model.train_step(data)


def test_pairs_come_in_every_form_that_keras_takes():
    model = compiled(crvae_tf.CRVAE(CalmVAE(*pair())), rate=0.0)
    losses = [
        model.fit(IMAGES, VIEWS, verbose=0).history["loss"][0],
        model.fit((IMAGES, VIEWS), verbose=0).history["loss"][0],
        model.train_on_batch(IMAGES, VIEWS, return_dict=True)["loss"],
        model.evaluate(PAIRS.batch(6), verbose=0, return_dict=True)["loss"],
    ]
    np.testing.assert_allclose(losses, losses[0], rtol=1e-5)


SAVED = {
    "gaussian": lambda: vae("wae", likelihood="gaussian", pixel_stddev="learned", seed=4),
    "beta": BASES["beta_10"],
    "reverse": lambda: crvae_tf.CRVAE(BASES["iwae_5"](), 0.5, 0.2, "reverse", name="mine"),
}


@pytest.mark.parametrize("make", SAVED.values(), ids=SAVED)
def test_a_model_that_keras_saved_takes_the_step_that_it_would_have_taken(tmp_path, make):
    model = compiled(make())
    model.train_step((IMAGES, VIEWS))
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.name == model.name
    for each in (model, loaded):
        each.train_step((IMAGES, VIEWS))
    assert_same_weights(model, loaded)


def test_a_saved_model_keeps_its_precision_and_what_is_frozen(tmp_path):
    keras.mixed_precision.set_global_policy("mixed_float16")
    model = crvae_tf.CRVAE(vae(likelihood="gaussian", pixel_stddev="learned"))
    keras.mixed_precision.set_global_policy("float32")
    model.base.trainable = False
    compiled(model).save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.base.dtype_policy.name == "mixed_float16"
    assert isinstance(loaded.optimizer, keras.optimizers.LossScaleOptimizer)
    assert loaded.trainable_variables == []


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
    def __init__(self):
        super().__init__()
        self.mean, self.log_variance = (keras.layers.Dense(LATENT) for _ in range(2))

    def call(self, images, training=False):
        pixels = keras.ops.reshape(images, (-1, math.prod(SHAPE)))
        return self.mean(pixels), self.log_variance(pixels)


def own_decoder() -> keras.Model:
    return keras.Sequential([keras.layers.Dense(math.prod(SHAPE)), keras.layers.Reshape(SHAPE)])


@pytest.mark.parametrize("run_eagerly", [False, True])
def test_networks_that_their_first_call_builds_are_fitted(run_eagerly):
    model = crvae_tf.CRVAE(crvae_tf.VAE(OwnEncoder(), own_decoder()))
    with pytest.raises(crvae_tf.InputError, match="call the model once"):
        _ = model.prior
    assert crvae_tf.VAE(OwnEncoder(), pair()[1]).prior.event_shape == [LATENT]
    model.compile("sgd", run_eagerly=run_eagerly)
    history = model.fit(PAIRS.batch(3), epochs=5, verbose=0).history["loss"]
    assert history[-1] < history[0]
    assert len(model.trainable_variables) == 6
    assert model.prior.event_shape == [LATENT]


def functional_pair(**options) -> tuple[keras.Model, keras.Model]:
    images, latents = keras.Input(SHAPE), keras.Input((LATENT,))
    pixels = keras.layers.Flatten()(images)
    heads = [keras.layers.Dense(LATENT, **options)(pixels) for _ in range(2)]
    logits = keras.layers.Dense(math.prod(SHAPE), **options)(latents)
    return keras.Model(images, heads), keras.Model(latents, keras.layers.Reshape(SHAPE)(logits))


def test_a_users_own_networks_of_low_precision_are_scored_in_float32():
    base = crvae_tf.VAE(*functional_pair(dtype="bfloat16"))
    assert base.encoder(IMAGES)[0].dtype == tf.bfloat16
    bound = base.bound(IMAGES, tf.constant([0, 1]))
    for value in (bound.value, bound.rate, bound.distortion):
        assert value.dtype == tf.float32
    mean, log_variance = (tf.cast(a, tf.float64).numpy() for a in base.encoder(IMAGES))
    rate = reference.diagonal_gaussian_kl(mean, np.exp(0.5 * log_variance), 0.0 * mean, 1.0)
    np.testing.assert_allclose(bound.rate, rate, rtol=1e-5)


def test_a_users_own_networks_that_do_not_fit_are_refused():
    encoder, decoder = functional_pair()
    one_output = keras.Model(encoder.input, encoder.outputs[0])
    flat = keras.Model(decoder.input, decoder.layers[-2].output)
    larger = networks.build("mlp", SHAPE, 9)[1]
    for own, refusal in (
        ((one_output, decoder), "encoder: expected two outputs, mean and log variance"),
        ((encoder, flat), "decoder: expected logits [8, 8, 1]; received [[64]]"),
        ((encoder, larger), "of size 9; received [[3], [3]]"),
    ):
        with pytest.raises(crvae_tf.InputError, match=re.escape(refusal)):
            crvae_tf.VAE(*own)
    for base in (encoder, crvae_tf.VAE):
        with pytest.raises(crvae_tf.InputError, match=r"base: .* as of VAE\(encoder, decoder\)"):
            crvae_tf.CRVAE(base)
    with pytest.raises(crvae_tf.InputError, match="encoder: expected a Keras model"):
        crvae_tf.VAE(np.tanh, decoder)


def test_a_posterior_of_single_latents_is_refused(monkeypatch):
    base = vae()
    bound = base.bound(np.concatenate([IMAGES, VIEWS]), KEY)
    of_latents = dataclasses.replace(bound, posterior=bound.posterior.distribution)
    monkeypatch.setattr(base, "bound", lambda *_: of_latents)
    with pytest.raises(crvae_tf.InputError, match=r"base: .* one divergence for each image"):
        crvae_tf.CRVAE(base).terms((IMAGES, VIEWS), KEY, training=True)


@pytest.mark.parametrize("wrap", [lambda base: base, crvae_tf.CRVAE])
def test_a_users_weight_penalty_is_part_of_the_step_once(wrap):
    penalty, rate = 0.5, 0.1
    plain = crvae_tf.VAE(*functional_pair())
    penalised = crvae_tf.VAE(*functional_pair(kernel_regularizer=keras.regularizers.L2(penalty)))
    initial = plain.get_weights()
    penalised.set_weights(initial)
    for base in (plain, penalised):
        compiled(wrap(base), rate).train_step((IMAGES, VIEWS))
    for before, without, got in zip(initial, plain.get_weights(), penalised.get_weights(), strict=True):
        expected = without - rate * 2.0 * penalty * before * (before.ndim > 1)
        np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6)


def losses_of_ten_epochs(policy: str) -> list[float]:
    keras.mixed_precision.set_global_policy(policy)
    model = crvae_tf.CRVAE(vae())
    # At Keras' first scale of 2^15 a step of float16 overflows, and is skipped.
    optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.02), initial_scale=2.0**10)
    model.compile(optimizer=optimizer)
    losses = model.fit(PAIRS.batch(4), epochs=10, verbose=0).history["loss"]
    # The noise is a function of the step: a count that stood still would repeat it.
    assert int(model.optimizer.iterations) == 20
    assert model.base.encoder.trainable_variables[0].dtype == "float32"
    return losses


def test_training_in_mixed_precision_follows_float32():
    exact = losses_of_ten_epochs("float32")
    for name, tolerance in (("mixed_bfloat16", 1e-2), ("mixed_float16", 1e-3)):
        losses = losses_of_ten_epochs(name)
        assert losses[-1] < losses[0] - 1.0
        np.testing.assert_allclose(losses, exact, rtol=tolerance)
        assert losses != exact


def test_float16_goes_on_after_the_steps_that_it_skips_to_find_its_loss_scale():
    """Keras' first scale of 2^15 overflows here; it is halved at each step that is skipped."""
    keras.mixed_precision.set_global_policy("mixed_float16")
    model = compiled(crvae_tf.CRVAE(vae("wae")))
    history = model.fit(PAIRS.batch(6).repeat(40), verbose=0).history
    assert 15 < int(model.optimizer.iterations) < 40
    assert np.isfinite(history["loss"]).all()
    assert all(np.isfinite(w).all() for w in model.get_weights())


def test_what_xla_compiles_is_nan_for_pixels_outside_their_range():
    compiled = tf.function(gray_values, jit_compile=True)
    np.testing.assert_array_equal(compiled(IMAGES), IMAGES)
    assert np.all(np.isnan(compiled(IMAGES + 0.1)))


@pytest.mark.parametrize("stddev", [0.1, 2.0])
def test_gaussian_pixels_have_the_standard_deviation_that_is_given(stddev):
    model = crvae_tf.VAE(*pair(), likelihood="gaussian", pixel_stddev=stddev)
    latents = tf.zeros([6, LATENT])
    mean = 1.0 / (1.0 + np.exp(-model.decoder(latents).numpy()))
    expected = reference.normal_log_density(GRAY, mean, stddev).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(model.likelihood(latents).log_prob(GRAY), expected, rtol=1e-4)


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
    ("make", "arguments", "expected"),
    [
        (crvae_tf.BetaVAE, {"beta": -1.0}, "a number >= 0; received -1.0"),
        (crvae_tf.IWAE, {"importance_samples": 0}, "1 or more; received 0"),
        (crvae_tf.VAE, {"likelihood": "gaussian", "pixel_stddev": 0.0}, "a number > 0; received 0.0"),
        (crvae_tf.VAE, {"likelihood": "gaussian", "pixel_stddev": "x"}, "a number > 0; received 'x'"),
        (cr_vae, {"lambda_": math.nan}, "a number >= 0; received nan"),
        (cr_vae, {"eta": math.inf}, "a number >= 0; received inf"),
        (cr_vae, {"lambda_": 0.0, "eta": 0.1}, "0 where lambda_ is 0; received 0.1"),
        (cr_vae, {"kl_direction": "up"}, "one of forward, reverse, symmetric; received up"),
    ],
)
def test_an_argument_outside_its_range_is_refused(make, arguments, expected):
    refusal = f"{list(arguments)[-1]}: expected {expected}"
    with pytest.raises(crvae_tf.InputError, match=re.escape(refusal)):
        make(*pair(), **arguments)
