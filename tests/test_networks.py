"""The networks against published sizes and a NumPy forward pass."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

from crvae_tf import networks
from crvae_tf.errors import InputError
from tests import reference


def layers_of(model: keras.Model, kind) -> list:
    return [layer for layer in model.layers if isinstance(layer, kind)]


def some_images(shape) -> np.ndarray:
    return np.random.default_rng(0).random((3, *shape), dtype=np.float32)


def some_latents(dimensions: int) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(3, dimensions)).astype(np.float32)


def stir(model: keras.Model) -> None:
    """Moves every weight off its initial value, so that no bias or scale is left out by chance."""
    generator = np.random.default_rng(2)
    for variable in model.variables:
        variable.assign(np.abs(variable.numpy() + 0.1 * generator.random(variable.shape)))


def dense(layer: keras.layers.Dense, values: np.ndarray) -> np.ndarray:
    return values @ layer.kernel.numpy() + layer.bias.numpy()


def normalised_relu(layer, values: np.ndarray, training: bool) -> np.ndarray:
    mean, variance = layer.moving_mean.numpy(), layer.moving_variance.numpy()
    if training:
        mean, variance = values.mean(axis=(0, 1, 2)), values.var(axis=(0, 1, 2))
    scaled = (values - mean) / np.sqrt(variance + 1e-5)
    return np.maximum(scaled * layer.gamma.numpy() + layer.beta.numpy(), 0.0)


@pytest.mark.parametrize(
    ("name", "image_shape", "encoder_size", "decoder_size"),
    [
        ("wae", (28, 28, 1), 11_427_556, 13_051_137),
        ("wae", (64, 64, 3), 18_857_060, 20_557_827),
        ("mlp", (28, 28, 1), 217_300, 207_984),
    ],
)
def test_networks_have_as_many_parameters_as_published(name, image_shape, encoder_size, decoder_size):
    for model, size in zip(
        networks.build(name, image_shape), (encoder_size, decoder_size), strict=True
    ):
        assert sum(math.prod(v.shape) for v in model.trainable_variables) == size


@pytest.mark.parametrize(
    ("width", "channels"), [(0.125, [16, 32, 64, 128]), (0.03, [4, 8, 15, 31]), (1e-6, [1, 1, 1, 1])]
)
def test_width_multiplies_the_channels_and_keeps_at_least_one(width, channels):
    encoder, decoder = networks.build("wae", (64, 64, 3), latent_dim=2, width=width)
    assert [layer.filters for layer in layers_of(encoder, keras.layers.Conv2D)] == channels
    transposed = [layer.filters for layer in layers_of(decoder, keras.layers.Conv2DTranspose)]
    assert transposed == [*channels[2::-1], 3]
    assert layers_of(decoder, keras.layers.Dense)[0].units == 8 * 8 * channels[-1]
    units = max(1, round(200 * width))
    for model in networks.build("mlp", (27, 20, 3), latent_dim=2, width=width):
        assert [layer.units for layer in layers_of(model, keras.layers.Dense)][:2] == [units, units]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("image_shape", [(8, 8, 2), (32, 32, 1)])
def test_wae_is_the_numpy_forward_pass(image_shape, training):
    encoder, decoder = networks.build("wae", image_shape, latent_dim=3, width=0.01)
    for model in (encoder, decoder):
        stir(model)
    images, latents = some_images(image_shape), some_latents(3)
    convolutions = layers_of(encoder, keras.layers.Conv2D)
    normalisations = layers_of(encoder, keras.layers.BatchNormalization)
    x = images.astype(np.float64)
    for convolution, normalisation in zip(convolutions, normalisations, strict=True):
        x = reference.convolve_same(x, convolution.kernel.numpy(), 2) + convolution.bias.numpy()
        x = normalised_relu(normalisation, x, training)
    x = x.reshape(len(x), -1)
    for got, name in zip(encoder(images, training=training), ("mean", "log_variance"), strict=True):
        np.testing.assert_allclose(got, dense(encoder.get_layer(name), x), rtol=1e-3, atol=1e-3)
    (first,) = layers_of(decoder, keras.layers.Dense)
    *hidden, last = layers_of(decoder, keras.layers.Conv2DTranspose)
    normalisations = layers_of(decoder, keras.layers.BatchNormalization)
    side = image_shape[0] // (4 if image_shape[0] <= 28 else 8)
    x = np.maximum(dense(first, latents.astype(np.float64)), 0.0).reshape(3, side, side, -1)
    for layer, normalisation in zip(hidden, normalisations, strict=True):
        x = reference.transpose_convolve_same(x, layer.kernel.numpy(), 2) + layer.bias.numpy()
        x = normalised_relu(normalisation, x, training)
    expected = reference.transpose_convolve_same(x, last.kernel.numpy(), 1) + last.bias.numpy()
    np.testing.assert_allclose(decoder(latents, training=training), expected, rtol=1e-3, atol=1e-3)


def test_mlp_is_the_numpy_forward_pass():
    encoder, decoder = networks.build("mlp", (8, 8, 2), latent_dim=3, width=0.1)
    for model in (encoder, decoder):
        stir(model)
    images, latents = some_images((8, 8, 2)), some_latents(3)
    first, second = layers_of(encoder, keras.layers.Dense)[:2]
    x = np.tanh(dense(second, np.tanh(dense(first, images.reshape(3, -1)))))
    for got, name in zip(encoder(images), ("mean", "log_variance"), strict=True):
        np.testing.assert_allclose(got, dense(encoder.get_layer(name), x), rtol=1e-4)
    first, second, third = layers_of(decoder, keras.layers.Dense)
    logits = dense(third, np.tanh(dense(second, np.tanh(dense(first, latents)))))
    np.testing.assert_allclose(decoder(latents), logits.reshape(3, 8, 8, 2), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", sorted(networks.NETWORKS))
def test_equal_seeds_give_equal_weights_others_others_and_no_two_layers_the_same(name):
    pairs = [networks.build(name, (8, 8, 1), 2, width=0.05, seed=seed) for seed in (0, 0, 1)]
    first, again, other = ([*e.get_weights(), *d.get_weights()] for e, d in pairs)
    for one, same, another in zip(first, again, other, strict=True):
        np.testing.assert_array_equal(one, same)
        assert (one.ndim > 1) == (not np.array_equal(one, another))
    kernels = [weight.tobytes() for weight in first if weight.ndim > 1]
    assert len(set(kernels)) == len(kernels)


@pytest.mark.parametrize(
    ("image_shape", "divisor"), [((27, 27, 1), 4), ((30, 30, 1), 8), ((64, 32, 3), 8)]
)
def test_wae_refuses_images_that_it_cannot_double_to(image_shape, divisor):
    expected = f"a square side divisible by {divisor} .* {image_shape[0]}x{image_shape[1]}$"
    with pytest.raises(InputError, match=expected):
        networks.build("wae", image_shape, latent_dim=2, width=0.01)


@pytest.mark.parametrize("width", [0.0, -1.0])
def test_a_width_that_leaves_no_units_is_refused(width):
    with pytest.raises(InputError, match="width: expected a number > 0"):
        networks.build("mlp", (8, 8, 1), width=width)


@pytest.mark.parametrize("name", sorted(networks.NETWORKS))
@pytest.mark.parametrize("low_precision", [tf.bfloat16, tf.float16])
def test_mixed_precision_computes_low_and_answers_in_float32(low_precision, name):
    keras.mixed_precision.set_global_policy(f"mixed_{low_precision.name}")
    encoder, decoder = networks.build(name, (8, 8, 1), latent_dim=4, width=0.05)
    hidden = layers_of(encoder, (keras.layers.Dense, keras.layers.Conv2D))[0]
    assert hidden.compute_dtype == low_precision.name
    assert hidden.kernel.dtype == "float32"
    mean, log_variance = encoder(some_images((8, 8, 1)))
    for output in (mean, log_variance, decoder(some_latents(4))):
        assert output.dtype == tf.float32
        # Sums made in low precision and cast afterwards would all survive the round trip.
        round_trip = tf.cast(tf.cast(output, low_precision), tf.float32)
        assert np.mean(round_trip.numpy() != output.numpy()) > 0.5


@pytest.mark.parametrize("name", ["mlp", "wae"])
def test_the_users_default_layout_of_images_changes_nothing(name):
    """`image_data_format` of the user's keras.json."""
    shape = (8, 8, 3)
    images = some_images(shape)
    means = networks.build(name, shape, 4, 0.02)[0](images)[0]
    keras.config.set_image_data_format("channels_first")
    try:
        encoder, decoder = networks.build(name, shape, 4, 0.02)
        np.testing.assert_array_equal(encoder(images)[0], means)
        assert decoder.output_shape == (None, *shape)
    finally:
        keras.config.set_image_data_format("channels_last")
