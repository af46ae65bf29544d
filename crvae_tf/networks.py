"""Encoders and decoders: Keras models from tensors to tensors, without distributions.

An encoder maps images `[batch, H, W, C]` in [0, 1] to a pair (mean, log_variance), each float32
`[batch, latent_dim]`; a decoder maps latents `[batch, latent_dim]` to float32 logits
`[batch, H, W, C]`. A user's own pair needs no more than this.
"""

import math
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from crvae_tf.errors import InputError, check_choice, check_number

ImageShape = tuple[int, int, int]

_CHANNELS = (128, 256, 512, 1024)
_MLP_UNITS = 200
_LAYOUT = "channels_last"
"""The layout of images, even if `keras.json` has another default."""


serializable = keras.saving.register_keras_serializable("crvae_tf")


class Remade:
    """What Keras saves with the attributes that `arguments` names, which `__init__` takes."""

    arguments: tuple[str, ...] = ()

    def get_config(self) -> dict[str, Any]:
        values = {name: getattr(self, name) for name in self.arguments}
        return super().get_config() | keras.saving.serialize_keras_object(values)

    @classmethod
    def from_config(cls, config, custom_objects=None):
        return cls(**keras.saving.deserialize_keras_object(config, custom_objects))


def build(
    name: str, image_shape: ImageShape, latent_dim: int = 50, width: float = 1.0, seed: int = 0
) -> tuple[keras.Model, keras.Model]:
    """Returns an (encoder, decoder) pair.

    Args:
      name: `wae` (Tolstikhin et al. 2017, as in its authors' code) or `mlp` (Burda et al. 2015).
      image_shape: (H, W, C); `wae` needs square images with a side divisible by 4, or 8 above 28.
      latent_dim: dimensions of z, 1 or more.
      width: multiplier of the channels (`wae`) or units (`mlp`); at least one remains.
      seed: the seed of the initial weights.

    In the scope of a strategy with several replicas, batch normalisation is over all of them.

    Raises:
      InputError: there is no such network, it does not fit the images, or the width is not above 0.

    >>> encoder, decoder = build("mlp", (28, 28, 1))
    >>> encoder.count_params() + decoder.count_params()
    425284
    """
    check_choice("network", name, NETWORKS)
    check_number("width", width, "a number > 0", math.ulp(0.0))
    seeds = layer_seeds(seed)
    make_encoder, make_decoder = NETWORKS[name]
    encoder = make_encoder(image_shape, latent_dim, width, seeds)
    return encoder, make_decoder(image_shape, latent_dim, width, seeds)


def check_pair(encoder: keras.Model, decoder: keras.Model) -> None:
    """Raises InputError unless both are Keras models whose outputs, where they are known, fit."""
    for name, model in (("encoder", encoder), ("decoder", decoder)):
        if not isinstance(model, keras.Model):
            raise InputError(name, "a Keras model", model)
    images, latents = (getattr(model, "inputs", None) for model in (encoder, decoder))
    if latents:
        check_posterior("encoder", encoder, latents[0].shape[-1])
    if images:
        shape = list(images[0].shape[1:])
        _check_outputs("decoder", decoder, f"logits {shape}", shape)


def check_posterior(name: str, encoder: keras.Model, dim: int) -> None:
    """Raises InputError, naming the argument, unless an encoder has the posterior's two outputs."""
    expected = f"two outputs, mean and log variance, of size {dim}"
    _check_outputs(name, encoder, expected, [dim], [dim])


def _check_outputs(name: str, model: keras.Model, expected: str, *shapes) -> None:
    outputs = getattr(model, "outputs", None)  # Subclassed models have none before a call.
    received = [list(output.shape[1:]) for output in outputs or ()]
    fit = [tf.TensorShape(a).is_compatible_with(b) for a, b in zip(received, shapes, strict=False)]
    if outputs and not (all(fit) and len(received) == len(shapes)):
        raise InputError(name, expected, received)


def wae_encoder(
    image_shape: ImageShape,
    latent_dim: int,
    width: float,
    seeds: Iterator[int],
    normalised: bool = True,
) -> keras.Model:
    """Returns four stride-2 convolutions, by default with batch normalisation, then a dense layer.

    The kernels are 4x4 up to a side of 28 pixels and 5x5 above.
    """
    kernel, _ = _wae_geometry(image_shape)
    images = keras.Input(image_shape, name="images")
    x = images
    for channels in _CHANNELS:
        x = _convolution(keras.layers.Conv2D, _scaled(channels, width), kernel, 2, seeds)(x)
        x = _normalised_relu(x) if normalised else keras.layers.ReLU()(x)
    x = keras.layers.Flatten(_LAYOUT)(x)
    return keras.Model(images, _posterior_parameters(x, latent_dim, seeds), name="encoder")


def wae_decoder(
    image_shape: ImageShape, latent_dim: int, width: float, seeds: Iterator[int]
) -> keras.Model:
    """Returns a dense layer and transposed convolutions; two double the side, three above 28 pixels."""
    kernel, doublings = _wae_geometry(image_shape)
    height, channels = image_shape[0], image_shape[-1]
    side = height // 2**doublings
    first, *rest = (_scaled(c, width) for c in reversed(_CHANNELS))
    latents = keras.Input((latent_dim,), name="latents")
    x = _dense(side * side * first, seeds, activation="relu")(latents)
    x = keras.layers.Reshape((side, side, first))(x)
    for upsampled in rest[:doublings]:
        x = _convolution(keras.layers.Conv2DTranspose, upsampled, kernel, 2, seeds)(x)
        x = _normalised_relu(x)
    logits = _convolution(keras.layers.Conv2DTranspose, channels, kernel, 1, seeds, dtype="float32")(x)
    return keras.Model(latents, logits, name="decoder")


def mlp_encoder(
    image_shape: ImageShape, latent_dim: int, width: float, seeds: Iterator[int]
) -> keras.Model:
    """Returns two dense tanh layers of 200 units."""
    units = _scaled(_MLP_UNITS, width)
    images = keras.Input(image_shape, name="images")
    x = keras.layers.Flatten(_LAYOUT)(images)
    x = _dense(units, seeds, activation="tanh")(x)
    x = _dense(units, seeds, activation="tanh")(x)
    return keras.Model(images, _posterior_parameters(x, latent_dim, seeds), name="encoder")


def mlp_decoder(
    image_shape: ImageShape, latent_dim: int, width: float, seeds: Iterator[int]
) -> keras.Model:
    """Returns two dense tanh layers of 200 units and a dense layer to the pixels."""
    units = _scaled(_MLP_UNITS, width)
    latents = keras.Input((latent_dim,), name="latents")
    x = _dense(units, seeds, activation="tanh")(latents)
    x = _dense(units, seeds, activation="tanh")(x)
    x = _dense(int(np.prod(image_shape)), seeds, dtype="float32")(x)
    logits = keras.layers.Reshape(image_shape, dtype="float32")(x)
    return keras.Model(latents, logits, name="decoder")


NETWORKS = {"wae": (wae_encoder, wae_decoder), "mlp": (mlp_encoder, mlp_decoder)}


def _wae_geometry(image_shape: ImageShape) -> tuple[int, int]:
    """Returns the kernel's side, and how often the decoder doubles the image's side."""
    height, width, _ = image_shape
    kernel, doublings = (4, 2) if height <= 28 else (5, 3)
    if height != width or height % 2**doublings:
        expected = f"a square side divisible by {2**doublings} for the network wae"
        raise InputError("image_size", expected, f"{height}x{width}")
    return kernel, doublings


def _scaled(channels: int, width: float) -> int:
    return max(1, round(channels * width))


def _posterior_parameters(x, latent_dim: int, seeds: Iterator[int]):
    mean = _dense(latent_dim, seeds, name="mean", dtype="float32")(x)
    log_variance = _dense(latent_dim, seeds, name="log_variance", dtype="float32")(x)
    return mean, log_variance


def _normalised_relu(x):
    # Otherwise replicas keep separate statistics, and one without images has none.
    is_shared = tf.distribute.get_strategy().num_replicas_in_sync > 1
    x = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, synchronized=is_shared)(x)
    return keras.layers.ReLU()(x)


def _convolution(layer, filters: int, kernel: int, strides: int, seeds: Iterator[int], **options):
    return layer(
        filters,
        kernel,
        strides,
        padding="same",
        data_format=_LAYOUT,
        kernel_initializer=keras.initializers.GlorotUniform(seed=next(seeds)),
        **options,
    )


def _dense(units: int, seeds: Iterator[int], **options) -> keras.layers.Dense:
    initializer = keras.initializers.GlorotUniform(seed=next(seeds))
    return keras.layers.Dense(units, kernel_initializer=initializer, **options)


def layer_seeds(seed: int | tuple[int, ...]) -> Iterator[int]:
    """Yields a seed for each layer, a function of `seed` and the layer's place."""
    generator = np.random.default_rng(seed)
    while True:
        yield int(generator.integers(2**31))
