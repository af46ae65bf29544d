"""The models of the paper: VAE, beta-VAE, IWAE, and CR-VAE around any of them.

Each defines its bound per image. `train_step` and `test_step` are in `maximization`.
"""

import dataclasses
import math
import numbers
from collections.abc import Callable

import keras
import tensorflow as tf
import tensorflow_probability as tfp

from crvae_tf import likelihoods, objectives
from crvae_tf.errors import InputError, check_choice
from crvae_tf.maximization import BoundMaximizer
from crvae_tf.poses import Pose

tfd = tfp.distributions

_ROUNDING = 1e-3
"""Resampling and low precision may move a pixel this far out of [0, 1]."""


@dataclasses.dataclass(frozen=True)
class Bound:
    """A bound on log p(x) for each image of a batch, and its parts, in nats.

    The slice `bound[a:b]` is the bound of the images a to b - 1.
    """

    value: tf.Tensor
    """The bound to be maximised, `[batch]`."""
    posterior: tfd.Distribution
    """q(z|x), batch shape `[batch]`."""
    rate: tf.Tensor
    """KL(q(z|x) || p(z)), `[batch]`."""
    distortion: tf.Tensor
    """E_q[-log p(x|z)], `[batch]`."""

    def __getitem__(self, images: slice) -> "Bound":
        return Bound(
            self.value[images], self.posterior[images], self.rate[images], self.distortion[images]
        )


def gray_values(images: tf.Tensor) -> tf.Tensor:
    """Returns images in [0, 1] as float32. Bounds of other images would mean nothing.

    XLA cannot raise errors: compiled code returns NaN instead.

    Raises:
      InputError: the images are not floats.
      tf.errors.InvalidArgumentError: a pixel is outside [0, 1] by more than rounding.
    """
    images = tf.convert_to_tensor(images)
    if not images.dtype.is_floating:
        raise InputError("images", "floats in [0, 1]", images.dtype.name)
    images = tf.cast(images, tf.float32)
    inside = tf.reduce_all((images >= -_ROUNDING) & (images <= 1.0 + _ROUNDING))
    message = "images: expected values in [0, 1]; received others"
    with tf.control_dependencies([tf.raw_ops.Assert(condition=inside, data=[message])]):
        return tf.where(inside, images, math.nan)


class VAE(BoundMaximizer):
    """The variational auto-encoder (Kingma and Welling 2013).

    Args:
      encoder: maps images `[batch, H, W, C]` in [0, 1] to (mean, log_variance), each
        `[batch, latent_dim]`.
      decoder: maps latents `[batch, latent_dim]` to logits `[batch, H, W, C]`.
      likelihood: a name in `likelihoods.FAMILIES`.
      pixel_stddev: the standard deviation of the `gaussian` likelihood: a number above 0, or `learned`,
        one for all pixels and above 1/255 (Rybkin, Daniilidis and Levine 2021).
      seed: the seed of the posterior's noise in training and validation.

    Raises:
      InputError: there is no such likelihood, or `pixel_stddev` is neither `learned` nor above 0.
    """

    beta = 1.0

    def __init__(
        self,
        encoder: keras.Model,
        decoder: keras.Model,
        likelihood: str = "bernoulli",
        seed: int = 0,
        pixel_stddev: float | str = 1.0,
        **kwargs,
    ):
        super().__init__(seed, ("bound", "rate", "distortion"), **kwargs)
        self.encoder = encoder
        self.decoder = decoder
        self._likelihood = likelihoods.get(likelihood)
        self._pixel_stddev = self._gaussian_stddev(pixel_stddev) if likelihood == "gaussian" else None
        # Encoders that are not functional models have no shape before their first call.
        outputs = getattr(encoder, "outputs", None)
        self._latent_dim = outputs[0].shape[-1] if outputs else None
        self.built = True

    @property
    def pose(self) -> Pose | None:
        """The pose's coordinates if the networks are registered, else None."""
        return getattr(self.encoder, "pose", None)

    @property
    def prior(self) -> tfd.Distribution:
        """p(z): a standard normal, event shape `[latent_dim]`."""
        return tfd.Independent(tfd.Normal(tf.zeros([self._latent_dim]), 1.0), 1)

    def posterior(self, images: tf.Tensor, training: bool = False) -> tfd.Distribution:
        """Returns q(z|x), batch shape `[batch]`, for images `[batch, H, W, C]` in [0, 1]."""
        mean, log_variance = self.encoder(images, training=training)
        self._latent_dim = mean.shape[-1]
        stddev = tf.exp(0.5 * tf.cast(log_variance, tf.float32))
        return tfd.Independent(tfd.Normal(tf.cast(mean, tf.float32), stddev), 1)

    def likelihood(self, latents: tf.Tensor, training: bool = False) -> tfd.Distribution:
        """Returns p(x|z), batch shape `[...]`, for latents `[..., latent_dim]`."""
        leading = tf.shape(latents)[:-1]
        logits = self.decoder(tf.reshape(latents, [-1, latents.shape[-1]]), training=training)
        shape = tf.concat([leading, logits.shape[1:]], axis=0)
        stddev = [] if self._pixel_stddev is None else [self._pixel_stddev()]
        return self._likelihood(tf.reshape(logits, shape), *stddev)

    def _gaussian_stddev(self, given: float | str) -> Callable[[], float | tf.Tensor]:
        if given != "learned":
            _check_positive("pixel_stddev", given)
            return lambda: given
        start = keras.initializers.Constant(likelihoods.FIRST_STDDEV_WEIGHT)
        weight = self.add_weight((), start, dtype="float32", name="pixel_stddev")
        return lambda: likelihoods.learned_stddev(tf.convert_to_tensor(weight))

    def bound(self, images: tf.Tensor, seed: tf.Tensor, training: bool = False) -> Bound:
        """Returns each image's ELBO, estimated by one sample of its posterior with the key `seed`.

        Raises:
          InputError, tf.errors.InvalidArgumentError: see `gray_values`.
        """
        images = gray_values(images)
        posterior = self.posterior(images, training)
        likelihood = self.likelihood(posterior.sample(seed=seed), training)
        return Bound(
            value=objectives.elbo(posterior, self.prior, likelihood, images, self.beta),
            posterior=posterior,
            rate=objectives.rate(posterior, self.prior),
            distortion=objectives.distortion(likelihood, images),
        )

    def terms(self, data, seed, training):
        images = data[0] if isinstance(data, (tuple, list)) else data
        return _terms(self.bound(images, seed, training))

    def call(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Returns the reconstruction `[batch, H, W, C]`: the likelihood's mean at the posterior's."""
        return self.likelihood(self.posterior(images, training).mean(), training).mean()


class BetaVAE(VAE):
    """The beta-VAE (Higgins et al. 2017).

    Args:
      beta: weight of the rate, 0 or more.

    Raises:
      InputError: `beta` is negative or not a number; see also `VAE`.
    """

    def __init__(self, *args, beta: float, **kwargs):
        super().__init__(*args, **kwargs)
        _check_not_negative("beta", beta)
        self.beta = beta


class IWAE(VAE):
    """The importance-weighted auto-encoder (Burda et al. 2015).

    Args:
      importance_samples: K, samples per image, 1 or more.

    Raises:
      InputError: K is below 1; see also `VAE`.
    """

    def __init__(self, *args, importance_samples: int = 5, **kwargs):
        super().__init__(*args, **kwargs)
        if importance_samples < 1:
            raise InputError("importance_samples", "1 or more", importance_samples)
        self.importance_samples = importance_samples

    def bound(self, images: tf.Tensor, seed: tf.Tensor, training: bool = False) -> Bound:
        """Returns the K-sample importance-weighted bound of each image."""
        images = gray_values(images)
        posterior = self.posterior(images, training)
        latents = posterior.sample(self.importance_samples, seed=seed)
        likelihood = self.likelihood(latents, training)
        value = objectives.importance_weighted_bound(posterior, self.prior, likelihood, latents, images)
        return Bound(
            value=value,
            posterior=posterior,
            rate=objectives.rate(posterior, self.prior),
            distortion=tf.reduce_mean(objectives.distortion(likelihood, images), axis=0),
        )


class CRVAE(BoundMaximizer):
    """Any base model, consistency-regularised: Equation 2 of Sinha et al. 2020.

    It trains on pairs (images, views), with one transformed view of each image. A base with registered
    networks trains on triples (images, views, transformations), where a `transforms.Affine` made the
    views.

    Images and views go through the base as one batch of twice the size, so they share the statistics
    of batch normalisation. Apart from these, the base must treat each row separately.

    Args:
      base: a Keras model with `bound(images, seed, training)` that returns a `Bound`. Evaluation also
        needs `posterior(images, training)`, `likelihood(latents, training)` and `prior`, as in `VAE`.
        With registered networks, `pose` is their `poses.Pose`.
      lambda_: weight of the view's bound; the paper's is 1.
      eta: weight of the divergence between the posteriors. The default is the paper's 0.1 beta, with
        the base's beta or 1. With eta = 0 the model is "VAE+Aug". With both weights 0 it is the base
        model and needs no views.
      kl_direction: `forward` (the paper's), `reverse` or `symmetric`; see `objectives.consistency`.
      seed: the seed of the posterior's noise; by default the base's.

    Raises:
      InputError: a weight is negative or not a number, eta is above 0 although lambda is 0, or there is
        no such `kl_direction`.
    """

    def __init__(
        self,
        base: keras.Model,
        lambda_: float = 1.0,
        eta: float | None = None,
        kl_direction: str = "forward",
        seed: int | None = None,
        **kwargs,
    ):
        seed = getattr(base, "seed", 0) if seed is None else seed
        names = ("bound", "rate", "distortion", "view_bound", "consistency")
        super().__init__(seed, names, **kwargs)
        self.base = base
        self.lambda_ = lambda_
        self.eta = objectives.default_eta(getattr(base, "beta", 1.0)) if eta is None else eta
        self.kl_direction = kl_direction
        _check_not_negative("lambda_", lambda_)
        _check_not_negative("eta", self.eta)
        if self.eta and not lambda_:
            raise InputError("eta", "0 where lambda_ is 0", self.eta)
        check_choice("kl_direction", kl_direction, objectives.KL_DIRECTIONS)
        self.built = True

    @property
    def pose(self) -> Pose | None:
        """The base model's pose."""
        return getattr(self.base, "pose", None)

    @property
    def prior(self) -> tfd.Distribution:
        """The base model's p(z)."""
        return self.base.prior

    def posterior(self, images: tf.Tensor, training: bool = False) -> tfd.Distribution:
        """Returns the base model's q(z|x)."""
        return self.base.posterior(images, training)

    def likelihood(self, latents: tf.Tensor, training: bool = False) -> tfd.Distribution:
        """Returns the base model's p(x|z)."""
        return self.base.likelihood(latents, training)

    def bound(self, images: tf.Tensor, seed: tf.Tensor, training: bool = False) -> Bound:
        """Returns the base model's bound."""
        return self.base.bound(images, seed, training)

    def terms(self, data, seed, training):
        images, views, *transformation = self._unpacked(data)
        if not self.lambda_:
            return _terms(self.bound(images, seed, training))
        both = self.bound(tf.concat([images, views], axis=0), seed, training)
        number = tf.shape(images)[0]
        x, view = both[:number], both[number:]
        moved = self.pose.carried(x.posterior, *transformation) if self.pose else x.posterior
        consistency = objectives.consistency(moved, view.posterior, self.kl_direction)
        objective = objectives.consistency_regularized_bound(
            x.value, view.value, consistency, self.lambda_, self.eta
        )
        regularised = {"loss": -objective, "view_bound": view.value, "consistency": consistency}
        return _terms(x) | regularised

    def _unpacked(self, data) -> tuple:
        expected = "triples (images, views, transformations)" if self.pose else "pairs (images, views)"
        if not self.lambda_:
            return (data[0] if isinstance(data, (tuple, list)) else data), None
        if not isinstance(data, (tuple, list)) or len(data) != 2 + (self.pose is not None):
            raise InputError("data", expected, data)
        return tuple(data)

    def call(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Returns the base model's output."""
        return self.base(images, training=training)


def _terms(bound: Bound) -> dict[str, tf.Tensor]:
    return {
        "loss": -bound.value,
        "bound": bound.value,
        "rate": bound.rate,
        "distortion": bound.distortion,
    }


def _check_not_negative(name: str, value: float) -> None:
    """Raises InputError, naming the argument, unless `value` is a number of 0 or more."""
    if not isinstance(value, numbers.Real) or not 0.0 <= value < math.inf:
        raise InputError(name, "a number >= 0", repr(value))


def _check_positive(name: str, value: float) -> None:
    """Raises InputError, naming the argument, unless `value` is a number above 0."""
    if not isinstance(value, numbers.Real) or not 0.0 < value < math.inf:
        raise InputError(name, "a number > 0", repr(value))
