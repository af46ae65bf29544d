"""VAE, IWAE, BetaVAE and CRVAE: Keras models that maximise a bound given for each example.

A base model offers `bound(images, seed, training)`, the bound of each image with its posterior.
`CRVAE` regularises any model that does, so a user's own VAE needs no line of this package changed.
"""

import abc
import dataclasses
import math
from collections.abc import Iterable

import keras
import tensorflow as tf
import tensorflow_probability as tfp

from crvae_tf import likelihoods, objectives, randomness
from crvae_tf.errors import InputError
from crvae_tf.randomness import Purpose

tfd = tfp.distributions

GRADIENTS = ("standard", "doubly_reparameterized")
"""Estimators of the gradient of IWAE's encoder."""

_ROUNDING = 1e-3
"""How far resampling and low precision may take a pixel out of [0, 1]."""


@dataclasses.dataclass(frozen=True)
class Bound:
    """A bound on log p(x) for each image of a batch, and what it was made of; all in nats."""

    value: tf.Tensor
    """The bound to be maximised, `[batch]`."""
    posterior: tfd.Distribution
    """q(z|x), batch shape `[batch]`."""
    rate: tf.Tensor
    """KL(q(z|x) || p(z)), `[batch]`."""
    distortion: tf.Tensor
    """E_q[-log p(x|z)], `[batch]`."""


class BoundMaximizer(keras.Model, abc.ABC):
    """A Keras model trained by gradient ascent on a mean of per-example bounds.

    `train_step` and `test_step` stand here, once. A subclass says what the terms of its objective
    are; each is a metric of its own, averaged over images and not over batches.

    Args:
      seed: of the posterior's noise, which is a function of it, of the step and of the replica.
      term_names: the names of the terms that `terms` returns.
    """

    def __init__(self, seed: int, term_names: Iterable[str], **kwargs):
        super().__init__(**kwargs)
        self.seed = seed
        self._means = {name: keras.metrics.Mean(name=name) for name in ("loss", *term_names)}

    @abc.abstractmethod
    def terms(self, data, seed: tf.Tensor, training: bool) -> dict[str, tf.Tensor]:
        """Returns the terms of the objective by name, each `[batch]`, nats, with the `loss`.

        Args:
          data: one element of the data set.
          seed: a key, int32 `[2]`, for every draw.
          training: whether batch normalisation uses the batch's statistics.
        """

    @property
    def metrics(self) -> list[keras.metrics.Metric]:
        return list(self._means.values())

    def train_step(self, data) -> dict[str, tf.Tensor]:
        """Takes one step of the optimizer and returns the epoch's running means."""
        seed = self._seed(Purpose.POSTERIOR_TRAINING, self.optimizer.iterations)
        with tf.GradientTape() as tape:
            terms = self.terms(data, seed, training=True)
            loss = _global_mean(terms["loss"]) + _weight_penalty(self.losses)
            scaled_loss = self.optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled_loss, self.trainable_variables)
        self.optimizer.apply(gradients, self.trainable_variables)
        if scaled_loss is loss:  # A scaled loss overflows now and then, and is meant to.
            terms["loss"] = _nan_unless_finite(terms["loss"], gradients)
        return self._update_metrics(terms)

    def test_step(self, data) -> dict[str, tf.Tensor]:
        """Returns the running means of the terms, with the noise of this batch's place in the pass."""
        images_before = tf.cast(self._means["loss"].count, tf.int32)
        seed = self._seed(Purpose.POSTERIOR_VALIDATION, images_before)
        return self._update_metrics(self.terms(data, seed, training=False))

    def _seed(self, purpose: Purpose, position: tf.Tensor) -> tf.Tensor:
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        return randomness.key(self.seed, purpose, position, replica)

    def _update_metrics(self, terms: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        for name, values in terms.items():
            self._means[name].update_state(values)
        results = {name: self._means[name].result() for name in terms}
        if isinstance(tf.distribute.get_strategy(), tf.distribute.MultiWorkerMirroredStrategy):
            # Keras joins the workers' results along their first axis (keras issue 20585).
            return {name: tf.reshape(result, [1]) for name, result in results.items()}
        return results

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        """Builds the optimizer; Keras' own would also call the model with symbolic tensors.

        Those are nothing to TFP, and an uneven batch of several replicas cannot become one.
        """
        if self.optimizer is not None and not self.optimizer.built:
            with self.distribute_strategy.scope():
                self.optimizer.build(self.trainable_variables)


class VAE(BoundMaximizer):
    """The variational auto-encoder (Kingma and Welling 2013).

    Args:
      encoder: maps images `[batch, H, W, C]` in [0, 1] to (mean, log_variance), each
        `[batch, latent_dim]`.
      decoder: maps latents `[batch, latent_dim]` to logits `[batch, H, W, C]`.
      likelihood: a name in `likelihoods.FAMILIES`.
      seed: of the posterior's noise in training and validation.
      min_stddev: the smallest standard deviation of a posterior, 0 or more; 0 leaves it as it is.
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

    def likelihood(self, latents: tf.Tensor, training: bool = False) -> tfd.Distribution:
        """Returns p(x|z), batch shape `[...]`, for latents `[..., latent_dim]`."""
        leading = tf.shape(latents)[:-1]
        logits = self.decoder(tf.reshape(latents, [-1, latents.shape[-1]]), training=training)
        return self._likelihood(tf.reshape(logits, tf.concat([leading, logits.shape[1:]], axis=0)))

    def bound(self, images: tf.Tensor, seed: tf.Tensor, training: bool = False) -> Bound:
        """Returns the ELBO of each image by one sample of its posterior, drawn with the key `seed`.

        Raises:
          InputError: the images are no floats.
          tf.errors.InvalidArgumentError: a pixel lies outside [0, 1].
        """
        images = _gray_values(images)
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
    """The beta-VAE (Higgins et al. 2017): the rate weighs `beta`, 0 or more."""

    def __init__(self, *args, beta: float, **kwargs):
        super().__init__(*args, **kwargs)
        self.beta = beta


class IWAE(VAE):
    """The importance-weighted auto-encoder (Burda et al. 2015).

    Args:
      importance_samples: K, samples to an image, 1 or more.
      gradient: how the encoder's gradient is estimated: `standard`, by differentiating the bound, or
        `doubly_reparameterized` (Tucker et al. 2018), the same in expectation with less variance.
    """

    def __init__(self, *args, importance_samples: int = 5, gradient: str = "standard", **kwargs):
        super().__init__(*args, **kwargs)
        if gradient not in GRADIENTS:
            raise ValueError(f"gradient: expected one of {GRADIENTS}; received {gradient!r}")
        self.importance_samples = importance_samples
        self.gradient = gradient

    def bound(self, images: tf.Tensor, seed: tf.Tensor, training: bool = False) -> Bound:
        """Returns the K-sample importance-weighted bound of each image; raises as `VAE.bound` does."""
        images = _gray_values(images)
        posterior = self.posterior(images, training)
        latents = posterior.sample(self.importance_samples, seed=seed)
        if self.gradient == "doubly_reparameterized" and training:
            value, likelihood = objectives.doubly_reparameterized_bound(
                posterior, self.prior, lambda z: self.likelihood(z, training), latents, images
            )
        else:
            likelihood = self.likelihood(latents, training)
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

    It is trained on pairs (images, views): the images and one transformed view of each.

    Args:
      base: a Keras model with `bound(images, seed, training)` that returns a `Bound`. To be evaluated
        it also offers `posterior(images)`, `likelihood(latents)` and `prior`, as `VAE` does.
      lambda_: weight of the view's bound; the paper's is 1, and 0 leaves the view's likelihood out.
      eta: weight of the divergence between the posteriors; by default the paper's 0.1 beta, where
        beta is the base's, or 1. With eta = 0 it is "VAE+Aug", with both 0 the base model itself.
      kl_direction: `forward` (the paper's), `reverse` or `symmetric`; see `objectives.consistency`.
      seed: of the posterior's noise; by default the base's.
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
        names = ("bound", "view_bound", "consistency", "rate", "distortion")
        super().__init__(seed, names, **kwargs)
        self.base = base
        self.lambda_ = lambda_
        self.eta = objectives.default_eta(getattr(base, "beta", 1.0)) if eta is None else eta
        self.kl_direction = kl_direction
        self.built = True

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
        images, views = _pair(data)
        # With both weights 0 the views must leave no trace in the batch normalisation.
        views_train = training and bool(self.lambda_ or self.eta)
        x = self.bound(images, seed, training)
        view = self.bound(views, randomness.fold_in(seed, 1), views_train)
        consistency = objectives.consistency(x.posterior, view.posterior, self.kl_direction)
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

    def call(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Returns the base model's output."""
        return self.base(images, training=training)


def _gray_values(images: tf.Tensor) -> tf.Tensor:
    """Returns images in [0, 1] as they are; others would train to a bound that means nothing."""
    images = tf.convert_to_tensor(images)
    if not images.dtype.is_floating:
        raise InputError(f"images: expected floats in [0, 1]; received {images.dtype.name}")
    inside = tf.reduce_all((images >= -_ROUNDING) & (images <= 1.0 + _ROUNDING))
    message = "images: expected values in [0, 1]; received others"
    with tf.control_dependencies([tf.raw_ops.Assert(condition=inside, data=[message])]):
        return tf.identity(images)


def _pair(data) -> tuple[tf.Tensor, tf.Tensor]:
    if not isinstance(data, (tuple, list)) or len(data) != 2:
        raise ValueError(f"CRVAE: expected pairs (images, views); received {data}")
    return data[0], data[1]


def _global_mean(values: tf.Tensor) -> tf.Tensor:
    """Returns this replica's share of the mean over all replicas' examples.

    Gradients are summed over replicas, so the shares must add up to the mean, an uneven last batch
    included.
    """
    replicas = tf.distribute.get_replica_context()
    count = tf.cast(tf.size(values), tf.float32)
    if replicas.num_replicas_in_sync > 1:
        # TensorFlow keeps the graph of a reduction's gradient, and with it the model, for ever.
        count = replicas.all_reduce(tf.distribute.ReduceOp.SUM, count)
    return tf.reduce_sum(values) / count


def _nan_unless_finite(loss: tf.Tensor, gradients: list[tf.Tensor]) -> tf.Tensor:
    """Returns the loss as it is, or NaN where the gradient is not finite, so that it is noticed."""
    return tf.where(tf.math.is_finite(tf.linalg.global_norm(gradients)), loss, math.nan)


def _weight_penalty(losses: list[tf.Tensor]) -> tf.Tensor:
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    return tf.add_n([tf.cast(loss, tf.float32) for loss in losses] or [0.0]) / replicas
