"""IWAE's two estimators of the encoder's gradient (Burda et al. 2015, Tucker et al. 2018)."""

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

from crvae_tf import CRVAE, IWAE, networks, objectives

tfd = tfp.distributions

DRAWS, LATENTS, SAMPLES = 20_000, 2, 5
WEIGHTS = tf.constant([[1.0, -0.5, 0.3, 0.8], [0.2, 0.9, -1.1, 0.4]])
IMAGE = tf.reshape(tf.constant([1.0, 0.0, 1.0, 1.0]), [2, 2, 1])


def bernoulli_of(latents, weights=WEIGHTS):
    logits = tf.reshape(latents @ weights, [*latents.shape[:-1], 2, 2, 1])
    return tfd.Independent(tfd.Bernoulli(logits=logits), 3)


def prior():
    return tfd.Independent(tfd.Normal(tf.zeros(LATENTS), 1.0), 1)


def bound_of(estimator, posterior, likelihood_of, images, seed=3):
    latents = posterior.sample(SAMPLES, seed=[seed, 0])
    if estimator == "standard":
        likelihood = likelihood_of(latents)
        return objectives.importance_weighted_bound(posterior, prior(), likelihood, latents, images)
    return objectives.doubly_reparameterized_bound(posterior, prior(), likelihood_of, latents, images)[
        0
    ]


def gradients(estimator, seed=3):
    """One gradient by the mean and the log standard deviation for each of many draws of noise."""
    mean = tf.tile([[0.7, -0.4]], [DRAWS, 1])
    log_stddev = tf.tile([[-0.5, 0.2]], [DRAWS, 1])
    with tf.GradientTape() as tape:
        tape.watch([mean, log_stddev])
        posterior = tfd.Independent(tfd.Normal(mean, tf.exp(log_stddev)), 1)
        bound = bound_of(estimator, posterior, bernoulli_of, IMAGE[tf.newaxis], seed)
    by_mean, by_log_stddev = tape.gradient(bound, [mean, log_stddev])
    return np.concatenate([by_mean, by_log_stddev], axis=1)


@pytest.fixture(scope="module")
def drawn():
    return {
        "standard": gradients("standard", seed=3),
        "doubly_reparameterized": gradients("doubly_reparameterized", seed=4),
    }


def test_both_estimate_the_same_gradient_of_the_encoder(drawn):
    """Means over 20,000 draws each agree within four standard errors of their difference."""
    means = {name: draws.mean(axis=0) for name, draws in drawn.items()}
    variances = sum(draws.var(axis=0, ddof=1) for draws in drawn.values())
    difference = means["standard"] - means["doubly_reparameterized"]
    assert np.all(np.abs(difference) < 4.0 * np.sqrt(variances / DRAWS))
    assert np.linalg.norm(means["standard"]) > 20.0 * np.sqrt(variances.max() / DRAWS)


def test_the_doubly_reparameterized_gradient_varies_less(drawn):
    ratio = drawn["doubly_reparameterized"].var(axis=0) / drawn["standard"].var(axis=0)
    assert np.all(ratio < 0.8)


def test_both_have_the_same_value():
    posterior = tfd.Independent(tfd.Normal(tf.constant([[0.7, -0.4]]), 0.6), 1)
    values = [
        bound_of(estimator, posterior, bernoulli_of, IMAGE[tf.newaxis])
        for estimator in ("standard", "doubly_reparameterized")
    ]
    np.testing.assert_array_equal(*values)


def test_both_give_the_decoder_the_same_gradient():
    posterior = tfd.Independent(tfd.Normal(tf.constant([[0.7, -0.4]]), 0.6), 1)
    found = []
    for estimator in ("standard", "doubly_reparameterized"):
        weights = tf.Variable(WEIGHTS)
        with tf.GradientTape() as tape:
            bound = bound_of(
                estimator, posterior, lambda z, w=weights: bernoulli_of(z, w), IMAGE[tf.newaxis]
            )
        found.append(tape.gradient(bound, weights).numpy())
    np.testing.assert_allclose(*found, rtol=1e-5)
    assert np.abs(found[0]).max() > 0.1


def test_at_the_exact_posterior_it_is_zero_draw_by_draw_where_the_standard_one_is_noise():
    """z ~ N(0, 1), x|z ~ N(z, 1): every weight is p(x), whatever z was drawn."""
    images = tf.constant([[[[1.4]]], [[[-0.3]]]])

    def gaussian_of(latents):
        return tfd.Independent(tfd.Normal(latents[..., tf.newaxis, tf.newaxis], 1.0), 3)

    found = {}
    for estimator in ("standard", "doubly_reparameterized"):
        mean = tf.reshape(images, [2, 1]) / 2.0
        with tf.GradientTape() as tape:
            tape.watch(mean)
            posterior = tfd.Independent(tfd.Normal(mean, tf.sqrt(0.5)), 1)
            latents = posterior.sample(SAMPLES, seed=[1, 2])
            unit = tfd.Independent(tfd.Normal(tf.zeros(1), 1.0), 1)
            if estimator == "standard":
                bound = objectives.importance_weighted_bound(
                    posterior, unit, gaussian_of(latents), latents, images
                )
            else:
                bound, _ = objectives.doubly_reparameterized_bound(
                    posterior, unit, gaussian_of, latents, images
                )
        found[estimator] = tape.gradient(bound, mean).numpy()
    np.testing.assert_allclose(found["doubly_reparameterized"], 0.0, atol=1e-5)
    assert np.abs(found["standard"]).min() > 1e-2


def test_the_model_trains_its_encoder_by_squared_weights_and_its_decoder_by_weights():
    """Against gradients put together by hand from the definition, for IWAE within CRVAE."""
    images = np.random.default_rng(0).integers(0, 2, (3, 8, 8, 1)).astype(np.float32)
    encoder, decoder = networks.build("mlp", (8, 8, 1), latent_dim=2, width=0.05, seed=1)
    model = CRVAE(IWAE(encoder, decoder, importance_samples=4, gradient="doubly_reparameterized"))
    seed = tf.constant([0, 7])
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(model.bound(images, seed, training=True).value)
    received = tape.gradient(value, encoder.trainable_variables)

    with tf.GradientTape() as outer:
        posterior = model.posterior(images, training=True)
        latents = posterior.sample(4, seed=seed)
        mean, stddev = posterior.mean(), posterior.stddev()
        with tf.GradientTape() as inner:
            inner.watch(latents)
            held = tfd.Independent(tfd.Normal(tf.stop_gradient(mean), tf.stop_gradient(stddev)), 1)
            weights = objectives.log_weights(
                held, model.prior, model.likelihood(latents), latents, images
            )
        slopes = inner.gradient(weights, latents)
        normalized = tf.nn.softmax(weights, axis=0)[..., tf.newaxis]
        surrogate = tf.reduce_sum(tf.stop_gradient(normalized**2 * slopes) * latents)
    expected = outer.gradient(surrogate, encoder.trainable_variables)
    for gradient, by_hand in zip(received, expected, strict=True):
        np.testing.assert_allclose(gradient, by_hand, rtol=1e-4, atol=1e-5)


def test_an_unknown_estimator_is_refused():
    encoder, decoder = networks.build("mlp", (8, 8, 1), latent_dim=2, width=0.05)
    with pytest.raises(ValueError, match=r"gradient: expected one of .* received reinforce$"):
        IWAE(encoder, decoder, gradient="reinforce")
