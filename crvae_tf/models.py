"""VAE, IWAE, BetaVAE and CRVAE: Keras models that maximise a bound given for each example.

A base model offers `bound(images, seed, training)`, the bound of each image with its posterior.
`CRVAE` regularises any model that does, so a user's own VAE needs no line of this package changed.
"""

import dataclasses
import inspect
import math
import numbers

import keras
import tensorflow as tf
import tensorflow_probability as tfp

from crvae_tf import likelihoods, objectives, transforms
from crvae_tf.bounds import (
    Bound,
    Transform,
    elbo_bound,
    gray_values,
    separate_bounds,
    shared_content_bounds,
)
from crvae_tf.errors import InputError, check_choice
from crvae_tf.latents import content_of
from crvae_tf.maximization import BoundMaximizer

tfd = tfp.distributions

GRADIENTS = ("standard", "doubly_reparameterized")
"""Estimators of the gradient of IWAE's encoder."""

VIEWS = ("free", "conditional")
"""How a view is scored: by itself, or given the transformation that made it."""


class VAE(BoundMaximizer):
    """The variational auto-encoder (Kingma and Welling 2013).

    Args:
      encoder: maps images `[batch, H, W, C]` in [0, 1] to (mean, log_variance), each
        `[batch, latent_dim]`.
      decoder: maps latents `[batch, latent_dim]` to logits `[batch, H, W, C]`.
      likelihood: a name in `likelihoods.FAMILIES`.
      seed: of the posterior's noise in training and validation.
      min_stddev: the smallest standard deviation of a posterior, 0 or more; 0 leaves it as it is.

    Raises:
      InputError: there is no such likelihood, or `min_stddev` is negative or no number.
    """

    beta = 1.0

    def __init__(
        self,
        encoder: keras.Model,
        decoder: keras.Model,
        likelihood: str = "bernoulli",
        seed: int = 0,
        min_stddev: float = 0.0,
        **kwargs,
    ):
        super().__init__(seed, ("bound", "rate", "distortion"), **kwargs)
        _check_not_negative("min_stddev", min_stddev)
        self.min_stddev = min_stddev
        self.encoder = encoder
        self.decoder = decoder
        self._likelihood = likelihoods.get(likelihood)
        # An encoder that is no functional model shows it when it is first called.
        outputs = getattr(encoder, "outputs", None)
        self._latent_dim = outputs[0].shape[-1] if outputs else None
        self.built = True

    @property
    def prior(self) -> tfd.Distribution:
        """p(z): a standard normal, event shape `[latent_dim]`."""
        return tfd.Independent(tfd.Normal(tf.zeros([self._latent_dim]), 1.0), 1)

    def posterior(self, images: tf.Tensor, training: bool = False) -> tfd.Distribution:
        """Returns q(z|x), batch shape `[batch]`, for images `[batch, H, W, C]` in [0, 1]."""
        mean, log_variance = self.encoder(images, training=training)
        self._latent_dim = mean.shape[-1]
        stddev = tf.exp(0.5 * tf.cast(log_variance, tf.float32))
        if self.min_stddev:
            stddev = tf.maximum(stddev, self.min_stddev)
        return tfd.Independent(tfd.Normal(tf.cast(mean, tf.float32), stddev), 1)

    def likelihood(
        self, latents: tf.Tensor, training: bool = False, transform: Transform | None = None
    ) -> tfd.Distribution:
        """Returns p(x|z), batch shape `[...]`, for latents `[..., latent_dim]`.

        With `transform` its mean is transformed; see `likelihoods.transformed`.
        """
        leading = tf.shape(latents)[:-1]
        logits = self.decoder(tf.reshape(latents, [-1, latents.shape[-1]]), training=training)
        shape = tf.concat([leading, logits.shape[1:]], axis=0)
        likelihood = self._likelihood(tf.reshape(logits, shape))
        return likelihoods.transformed(likelihood, transform) if transform else likelihood

    def bound(
        self,
        images: tf.Tensor,
        seed: tf.Tensor,
        training: bool = False,
        transform: Transform | None = None,
    ) -> Bound:
        """Returns the ELBO of each image by one sample of its posterior, drawn with the key `seed`.

        With `transform` it is that of a conditional view; see `bounds.separate_bounds`.

        Raises:
          InputError, tf.errors.InvalidArgumentError: see `bounds.gray_values`.
        """
        images = gray_values(images)
        posterior = self.posterior(images, training)
        likelihood = self.likelihood(posterior.sample(seed=seed), training, transform)
        return elbo_bound(posterior, posterior, self.prior, likelihood, images, self.beta)

    def terms(self, data, seed, training):
        images = data[0] if isinstance(data, (tuple, list)) else data
        bound = self.bound(images, seed, training)
        return {
            "loss": -bound.value,
            "bound": bound.value,
            "rate": bound.rate,
            "distortion": bound.distortion,
        }

    def call(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Returns the reconstruction `[batch, H, W, C]`: the likelihood's mean at the posterior's."""
        return self.likelihood(self.posterior(images, training).mean(), training).mean()


class BetaVAE(VAE):
    """The beta-VAE (Higgins et al. 2017).

    Args:
      beta: weight of the rate, 0 or more.

    Raises:
      InputError: `beta` is negative or no number; or see `VAE`.
    """

    def __init__(self, *args, beta: float, **kwargs):
        super().__init__(*args, **kwargs)
        _check_not_negative("beta", beta)
        self.beta = beta


class IWAE(VAE):
    """The importance-weighted auto-encoder (Burda et al. 2015).

    Args:
      importance_samples: K, samples to an image, 1 or more.
      gradient: how the encoder's gradient is estimated: `standard`, by differentiating the bound, or
        `doubly_reparameterized` (Tucker et al. 2018), the same in expectation with less variance.

    Raises:
      InputError: there is no such gradient, or K is below 1; or see `VAE`.
    """

    def __init__(self, *args, importance_samples: int = 5, gradient: str = "standard", **kwargs):
        super().__init__(*args, **kwargs)
        check_choice("gradient", gradient, GRADIENTS)
        if importance_samples < 1:
            raise InputError(f"importance_samples: expected 1 or more; received {importance_samples}")
        self.importance_samples = importance_samples
        self.gradient = gradient

    def bound(
        self,
        images: tf.Tensor,
        seed: tf.Tensor,
        training: bool = False,
        transform: Transform | None = None,
    ) -> Bound:
        """Returns the K-sample importance-weighted bound of each image, or conditional view."""
        images = gray_values(images)
        posterior = self.posterior(images, training)
        latents = posterior.sample(self.importance_samples, seed=seed)
        if self.gradient == "doubly_reparameterized" and training:
            value, likelihood = objectives.doubly_reparameterized_bound(
                posterior,
                self.prior,
                lambda z: self.likelihood(z, training, transform),
                latents,
                images,
            )
        else:
            likelihood = self.likelihood(latents, training, transform)
            value = objectives.importance_weighted_bound(
                posterior, self.prior, likelihood, latents, images
            )
        return Bound(
            value=value,
            posterior=posterior,
            rate=objectives.rate(posterior, self.prior),
            distortion=tf.reduce_mean(objectives.distortion(likelihood, images), axis=0),
        )


class CRVAE(BoundMaximizer):
    """Any base model, consistency-regularised: Equation 2 of Sinha et al. 2020.

    It is trained on pairs (images, views): the images and one transformed view of each; with a
    conditional view on triples (images, views, transformations), the last the `transforms.Affine`
    that made the views.

    Args:
      base: a Keras model with `bound(images, seed, training)` that returns a `Bound`. To be
        evaluated, or trained with a `pose_dim`, it also offers `posterior(images, training)`,
        `likelihood(latents, training)` and `prior`, as `VAE` does; the first of them also where
        lambda alone is 0; with a conditional view its `bound` takes a `transform`, for
        `likelihoods.transformed`.
      lambda_: weight of the view's bound; the paper's is 1, and 0 leaves the view's likelihood out.
      eta: weight of the divergence between the posteriors; by default the paper's 0.1 beta, where
        beta is the base's, or 1. With eta = 0 it is "VAE+Aug", with both 0 the base model itself.
      kl_direction: `forward` (the paper's), `reverse` or `symmetric`; see `objectives.consistency`.
      seed: of the posterior's noise; by default the base's.
      view: `free`, the paper's, or `conditional`: the view is scored given its transformation; see
        `bounds.separate_bounds`.
      pose_dim: 0, the paper's, or how many of the last latent dimensions are the pose: an image and
        its view share the others, the content, which alone is compared; see
        `bounds.shared_content_bounds`, which stands in the place of the base's `bound`.

    Raises:
      InputError: a weight is negative or no number, `kl_direction` or `view` is none that there is, or
        `lambda_`, `view` or `pose_dim` is not possible with this base or the others.
    """

    def __init__(
        self,
        base: keras.Model,
        lambda_: float = 1.0,
        eta: float | None = None,
        kl_direction: str = "forward",
        seed: int | None = None,
        view: str = "free",
        pose_dim: int = 0,
        **kwargs,
    ):
        seed = getattr(base, "seed", 0) if seed is None else seed
        names = ("bound", "view_bound", "consistency", "rate", "distortion")
        super().__init__(seed, names, **kwargs)
        self.base = base
        self.lambda_ = lambda_
        self.eta = objectives.default_eta(getattr(base, "beta", 1.0)) if eta is None else eta
        self.kl_direction = kl_direction
        self.view = view
        self.pose_dim = pose_dim
        _check_not_negative("lambda_", lambda_)
        _check_not_negative("eta", self.eta)
        check_choice("kl_direction", kl_direction, objectives.KL_DIRECTIONS)
        _check_views_posterior(base, lambda_, self.eta)
        _check_view(base, lambda_, view, pose_dim)
        self.built = True

    @property
    def prior(self) -> tfd.Distribution:
        """The base model's p(z)."""
        return self.base.prior

    def posterior(self, images: tf.Tensor, training: bool = False) -> tfd.Distribution:
        """Returns the base model's q(z|x), of content and pose."""
        return self.base.posterior(images, training)

    def likelihood(self, latents: tf.Tensor, training: bool = False) -> tfd.Distribution:
        """Returns the base model's p(x|z)."""
        return self.base.likelihood(latents, training)

    def bound(self, images: tf.Tensor, seed: tf.Tensor, training: bool = False) -> Bound:
        """Returns the base model's bound."""
        return self.base.bound(images, seed, training)

    def terms(self, data, seed, training):
        x, view = self._bounds(data, seed, training)
        content, view_content = (content_of(b.posterior, self.pose_dim) for b in (x, view))
        consistency = objectives.consistency(content, view_content, self.kl_direction)
        objective = objectives.consistency_regularized_bound(
            x.value, view.value, consistency, self.lambda_, self.eta
        )
        return {
            "loss": -objective,
            "bound": x.value,
            "view_bound": view.value,
            "consistency": consistency,
            "rate": x.rate,
            "distortion": x.distortion,
        }

    def _bounds(self, data, seed: tf.Tensor, training: bool) -> tuple[Bound, Bound]:
        """Returns L(x) and L(x~)."""
        images, views, transform = self._unpacked(data)
        if self.pose_dim:
            pair = gray_values(images), gray_values(views)
            return shared_content_bounds(self.base, *pair, transform, self.pose_dim, seed, training)
        x, view = separate_bounds(
            *(self.base, images, views, transform, seed, training),
            views_train=training and self.lambda_ > 0,
        )
        if self.lambda_ or not self.eta:
            return x, view
        # A view whose likelihood is left out must leave no trace in the decoder's batch normalisation.
        return x, dataclasses.replace(view, posterior=self.base.posterior(views, training))

    def _unpacked(self, data) -> tuple[tf.Tensor, tf.Tensor, Transform | None]:
        conditional = self.view == "conditional"
        if not isinstance(data, (tuple, list)) or len(data) != 2 + conditional:
            what = (
                "triples (images, views, transformations)" if conditional else "pairs (images, views)"
            )
            raise ValueError(f"CRVAE: expected {what}; received {data}")
        images, views, *transformations = data
        if not conditional:
            return images, views, None
        return images, views, lambda means: transforms.apply(means, *transformations)

    def call(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Returns the base model's output."""
        return self.base(images, training=training)


def _check_not_negative(name: str, value: float) -> None:
    """Raises InputError, which names the argument, unless it is a number of 0 or more."""
    if not isinstance(value, numbers.Real) or not 0.0 <= value < math.inf:
        raise InputError(f"{name}: expected a number >= 0; received {value!r}")


def _check_views_posterior(base: keras.Model, lambda_: float, eta: float) -> None:
    """Raises InputError where views are compared and not scored, and the base cannot do one alone."""
    if eta and not lambda_ and not hasattr(base, "posterior"):
        raise InputError(
            "lambda_: expected > 0, or a base that offers posterior(); "
            f"received {lambda_} with {type(base).__name__}"
        )


def _check_view(base: keras.Model, lambda_: float, view: str, pose_dim: int) -> None:
    """Raises InputError where a base model cannot be trained with `view` and `pose_dim`."""
    check_choice("view", view, VIEWS)
    if pose_dim < 0:
        raise InputError(f"pose_dim: expected 0 or more; received {pose_dim}")
    if not lambda_ and (pose_dim or view == "conditional"):
        raise InputError(
            "lambda_: expected > 0, since a conditional view or one with a pose is scored; "
            f"received {lambda_}"
        )
    if pose_dim:
        _check_is_elbo(base, pose_dim)
    elif view == "conditional" and "transform" not in inspect.signature(base.bound).parameters:
        raise InputError(
            "view: expected 'free', or a base whose bound() takes transform; "
            f"received {view!r} with {type(base).__name__}"
        )


def _check_is_elbo(base: keras.Model, pose_dim: int) -> None:
    offered = {"posterior", "likelihood", "prior"} <= set(dir(base))
    if isinstance(base, IWAE) or not offered:
        raise InputError(
            "pose_dim: expected 0, or a base whose bound is the ELBO of its posterior, likelihood "
            f"and prior; received {pose_dim} with {type(base).__name__}"
        )
