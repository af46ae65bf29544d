"""Registered networks: the encoder takes the pose out of an image, the decoder puts it back.

These are not in the paper. Equation 2 asks z to make the view x~ likely, so z must hold the pose of the
image. It also asks z to stay near z~, so z must not hold it. Registered networks meet both demands with
z = (content, pose). The encoder reads the content from the upright image. Equation 2 compares q(z~|x~)
with q(z|x), carried by the transformation that made the view.

    image -> pose network -> pose -> upright image -> encoder -> content
    content -> decoder -> upright logits, moved by the pose -> logits
"""

import contextlib
import contextvars
import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf
import tensorflow_probability as tfp
from tensorflow.python.ops import control_flow_util  # Nothing public tells what XLA compiles.

from crvae_tf import networks
from crvae_tf.errors import InputError, check_choice
from crvae_tf.networks import Remade, serializable
from crvae_tf.transforms import Affine, RandomAffine, compose, inverse, resample, transformed

tfd = tfp.distributions

OUTSIDE_LOGIT = -9.0
"""The logit of black pixels from outside the image: a probability of 0.0001."""


@serializable
@dataclasses.dataclass(frozen=True)
class Pose:
    """The coordinates s of a pose: one for each part of a transformation that is not zero.

    The parts are, in this order, moves to the right and down, the angle and the logarithm of the scale.
    The units are the sizes of a `RandomAffine`, so what it draws has coordinates of about -1 to 1.
    """

    units: tuple[float, float, float, float]
    """In the order of the parts: pixels, pixels, degrees and a logarithm; 0 omits a part."""
    fill: str
    """What fills the outside of the image; see `RandomAffine`."""

    @classmethod
    def of(cls, transformation: RandomAffine) -> "Pose":
        """Returns the coordinates of the transformations that `transformation` draws.

        Raises:
          InputError: it draws only the identity.
        """
        moves = transformation.translation, transformation.translation
        pose = cls((*moves, transformation.rotation, transformation.scaling), transformation.fill)
        if not pose.dim:
            raise InputError("transformation", "one that moves images", "the identity")
        return pose

    def get_config(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_config(cls, config):
        return cls(tuple(config["units"]), config["fill"])

    @property
    def dim(self) -> int:
        """The number of coordinates, 1 to 4."""
        return sum(unit > 0.0 for unit in self.units)

    def transformation(self, coordinates: tf.Tensor) -> Affine:
        """Returns T_s for coordinates `[batch, dim]`; it moves upright images into this pose."""
        given = iter(tf.unstack(coordinates, axis=-1))
        nothing = tf.zeros_like(coordinates[..., 0])
        right, down, angle, log_scale = (unit * next(given) if unit else nothing for unit in self.units)
        return Affine(right, down, angle, tf.exp(log_scale))

    def coordinates(self, transformation: Affine) -> tf.Tensor:
        """Returns the coordinates `[batch, dim]` of a transformation."""
        parts = transformation._replace(scale=tf.math.log(transformation.scale))
        pairs = zip(parts, self.units, strict=True)
        return tf.stack([part / unit for part, unit in pairs if unit], axis=-1)

    def content(self, distribution: tfd.Distribution) -> tfd.Distribution:
        """Returns the distribution of the content, given that of z = (content, pose)."""
        mean, stddev = distribution.mean(), distribution.stddev()
        return _gaussian(mean[..., : -self.dim], stddev[..., : -self.dim])

    def of_mean(self, mean: tf.Tensor) -> Affine:
        """Returns the pose of latents `[batch, latent_dim]`: the transformation from upright."""
        return self.transformation(mean[..., -self.dim :])

    def carried(self, posterior: tfd.Distribution, transformation: Affine) -> tfd.Distribution:
        """Returns q(z|x) carried to the transformed image: the content stays, the pose moves.

        It composes the pose's mean with the transformation and keeps all standard deviations.

        Args:
          posterior: q(z|x), batch shape `[batch]`.
          transformation: the transformation that made the views.
        """
        mean = posterior.mean()
        moved = self.coordinates(compose(transformation, self.of_mean(mean)))
        # Of the posterior's own family: TFP has no KL between two families.
        is_multivariate = isinstance(posterior, tfd.MultivariateNormalDiag)
        family = tfd.MultivariateNormalDiag if is_multivariate else _gaussian
        return family(tf.concat([mean[..., : -self.dim], moved], axis=-1), posterior.stddev())

    def upright(self, images: tf.Tensor, mean: tf.Tensor) -> tf.Tensor:
        """Returns the upright images of `[batch, H, W, C]`, given their posteriors' means."""
        return self.undone(images, self.of_mean(mean))

    def undone(self, images: tf.Tensor, transformation: Affine, training: bool = False) -> tf.Tensor:
        """Undoes the transformation of images, which in training are data and have no gradient."""
        back, outside = inverse(transformation), self.border(0.0)
        if _serving.get():
            return transformed(images, back, self.fill)
        return (_compiled_upright if training else _compiled_resample)(images, back, outside)

    def border(self, value: float) -> float | None:
        """Returns `value` for a constant fill, and None for a reflection."""
        return value if self.fill == "constant" else None


# Batch statistics differ from step to step, because each step brings the images nearer to upright.
_ENCODERS = {
    "wae": functools.partial(networks.wae_encoder, normalised=False),
    "mlp": networks.mlp_encoder,
}


def network(
    name: str, image_shape: networks.ImageShape, pose: Pose, width: float = 1.0, seed: int = 0
) -> keras.Model:
    """Returns a pose network: an encoder to the pose's (mean, log variance), with means 0 at first.

    It has no batch normalisation.

    Args:
      name: as in `networks.build`; the encoder's own kind works best.
      image_shape: (H, W, C).
      pose: the coordinates.
      width: multiplier of the channels or units.
      seed: of the initial weights.

    Raises:
      InputError: see `networks.build`.
    """
    check_choice("network", name, _ENCODERS)
    pose_network = _ENCODERS[name](image_shape, pose.dim, width, networks.layer_seeds((seed, 1)))
    kernel = pose_network.get_layer("mean").kernel
    kernel.assign(tf.zeros_like(kernel))  # At first, every image counts as upright.
    return pose_network


def register(
    encoder: keras.Model,
    decoder: keras.Model,
    transformation: RandomAffine,
    steps: int = 2,
    pose_network: keras.Model | None = None,
    seed: int = 0,
) -> tuple[keras.Model, keras.Model]:
    """Returns registered networks around an encoder and a decoder of the content.

    They have the same inputs and outputs as any pair, with latents (content, pose). The encoder's
    attribute `pose` is the `Pose`.

    Args:
      encoder: maps images `[batch, H, W, C]` to the content's (mean, log variance).
      decoder: maps contents to logits `[batch, H, W, C]`.
      transformation: t(x~|x) of the training; it defines the coordinates of the pose.
      steps: steps that bring an image upright in training, 1 or more; three times as many elsewhere.
      pose_network: maps images to the pose's (mean, log variance); by default `network("mlp", ...)`.
      seed: the seed of the default pose network's initial weights.

    Raises:
      InputError: the transformation is the identity, there are no steps, the encoder or the decoder is
        not functional, or a network has outputs of another size.
    """
    if steps < 1:
        raise InputError("steps", "1 or more", steps)
    for name, model in (("encoder", encoder), ("decoder", decoder)):
        if not getattr(model, "inputs", None):
            raise InputError(name, "a functional model, or a Sequential one with an Input", model)
    pose = Pose.of(transformation)
    image_shape = encoder.inputs[0].shape[1:]
    pose_network = pose_network or network("mlp", image_shape, pose, seed=seed)
    networks.check_pair(encoder, decoder)
    networks.check_posterior("pose_network", pose_network, pose.dim)
    return _registered_encoder(encoder, pose_network, pose, steps), _registered_decoder(decoder, pose)


def _registered_encoder(
    encoder: keras.Model, pose_network: keras.Model, pose: Pose, steps: int
) -> keras.Model:
    images = keras.Input(encoder.inputs[0].shape[1:], name="images")
    *pose_parameters, upright = Registration(pose_network, pose, steps)(images)
    join = keras.layers.Concatenate(dtype="float32")
    outputs = [join(pair) for pair in zip(encoder(upright), pose_parameters, strict=True)]
    return RegisteredEncoder(images, tuple(outputs), name="registered_encoder")


def _registered_decoder(decoder: keras.Model, pose: Pose) -> keras.Model:
    content_dim = decoder.inputs[0].shape[-1]
    latents = keras.Input((content_dim + pose.dim,), name="latents")
    logits = Placement(pose)([decoder(latents[:, :content_dim]), latents])
    return keras.Model(latents, logits, name="registered_decoder")


@serializable
class RegisteredEncoder(keras.Model):
    """An encoder of images `[batch, H, W, C]` to (mean, log variance) of (content, pose)."""

    @property
    def pose(self) -> Pose:
        """The coordinates of the pose."""
        return self.get_layer("registration").pose


@serializable
class Registration(Remade, keras.layers.Layer):
    """Finds the pose of images and brings them upright.

    Each step finds a pose in the last step's upright image and composes it with the pose found so far.
    Each upright image comes from one resampling of the original. Three times as many steps outside
    training find poses beyond those of training.

    Args:
      network: maps images to the pose's (mean, log variance), each `[batch, pose.dim]`.
      pose: the coordinates.
      steps: the number of steps in training, 1 or more.
    """

    arguments = ("network", "pose", "steps")

    def __init__(self, network: keras.Model, pose: Pose, steps: int, **kwargs):
        super().__init__(**{"dtype": "float32", "name": "registration"} | kwargs)
        self.network = network
        self.pose = pose
        self.steps = steps

    def call(self, images: tf.Tensor, training: bool = False) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Returns the pose's mean and log variance, and the upright images."""
        nothing = tf.zeros([tf.shape(images)[0], self.pose.dim])
        found, upright = self.pose.transformation(nothing), images
        for _ in range(self.steps if training else 3 * self.steps):
            mean, log_variance = self.network(upright, training=training)
            found = compose(found, self.pose.transformation(tf.cast(mean, tf.float32)))
            upright = self.pose.undone(images, found, training)
        return self.pose.coordinates(found), log_variance, upright


@serializable
class Placement(Remade, keras.layers.Layer):
    """Moves upright logits into the latents' pose."""

    arguments = ("pose",)

    def __init__(self, pose: Pose, **kwargs):
        super().__init__(**{"dtype": "float32", "name": "placement"} | kwargs)
        self.pose = pose

    def call(self, inputs: tuple[tf.Tensor, tf.Tensor]) -> tf.Tensor:
        """Returns logits `[batch, H, W, C]` for (upright logits, latents)."""
        logits, latents = inputs
        move = resample if _serving.get() else _compiled_resample
        return move(logits, self.pose.of_mean(latents), self.pose.border(OUTSIDE_LOGIT))


def _compiled(function: Callable[..., tf.Tensor]) -> Callable[..., tf.Tensor]:
    """Has XLA compile `function`, which halves the step and the likelihood of small networks.

    Where XLA compiles the caller, it is a plain function. TensorFlow would compile the caller anew at
    each step if it held a compiled one.
    """
    compiled = tf.function(function, jit_compile=True)

    def call(*args):
        graph = tf.compat.v1.get_default_graph()
        is_compiled = control_flow_util.GraphOrParentsInXlaContext(graph)
        return (function if is_compiled else compiled)(*args)

    return call


_compiled_resample = _compiled(resample)


@_compiled
def _compiled_upright(images: tf.Tensor, transformation: Affine, outside: float | None) -> tf.Tensor:
    return resample(tf.stop_gradient(images), transformation, outside)


_serving = contextvars.ContextVar("serving", default=False)


@contextlib.contextmanager
def serving() -> Iterator[None]:
    """Traces networks for a SavedModel: without XLA, which a program that loads it may not have.

    Encoders take TensorFlow's own resampling, which is quicker and needs no gradient there.
    """
    token = _serving.set(True)
    try:
        yield
    finally:
        _serving.reset(token)


def _gaussian(mean: tf.Tensor, stddev: tf.Tensor) -> tfd.Distribution:
    return tfd.Independent(tfd.Normal(mean, stddev), 1)
