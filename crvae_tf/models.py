"""The models of the paper, VAE, beta-VAE, IWAE, and CR-VAE around any of them, and their one step."""

import abc
import math
from collections.abc import Callable, Iterable

import keras
import tensorflow as tf
import tensorflow_probability as tfp

from crvae_tf import likelihoods, objectives, randomness
from crvae_tf.errors import InputError, check_choice, check_number
from crvae_tf.likelihoods import gray_values
from crvae_tf.networks import Remade, check_pair, serializable
from crvae_tf.objectives import Bound
from crvae_tf.poses import Pose
from crvae_tf.randomness import Purpose

tfd = tfp.distributions


class PerExampleModel(Remade, keras.Model, abc.ABC):
    """A Keras model that minimises the mean of a loss of each example, such as a negative bound.

    A subclass defines the terms of its objective. Each is a metric averaged over images, not batches.

    Args:
      seed: the seed of the posterior's noise, which also depends on the step and the replica.
      term_names: the names of the terms that `terms` returns, besides `loss`.
    """

    def __init__(self, seed: int, term_names: Iterable[str], **kwargs):
        super().__init__(**kwargs)
        self.seed = seed
        self._means = {name: keras.metrics.Mean(name=name) for name in ("loss", *term_names)}

    @abc.abstractmethod
    def terms(self, data, seed: tf.Tensor, training: bool) -> dict[str, tf.Tensor]:
        """Returns the `loss` and the terms of the objective by name, each `[batch]`, nats.

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
            loss = _share_of_the_loss(terms["loss"], self.losses)
            scaled_loss = self.optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled_loss, self.trainable_variables)
        self.optimizer.apply(gradients, self.trainable_variables)
        if scaled_loss is loss:  # A scaled loss overflows now and then by design.
            is_finite = tf.math.is_finite(tf.linalg.global_norm(gradients))
            terms["loss"] = tf.where(is_finite, terms["loss"], math.nan)  # `FiniteGuard` sees it.
        return self._update_metrics(terms)

    def test_step(self, data) -> dict[str, tf.Tensor]:
        """Returns the running means of the terms; the noise depends on the place in the pass."""
        seed = self._seed(Purpose.POSTERIOR_VALIDATION, self._means["loss"].count)
        return self._update_metrics(self.terms(data, seed, training=False))

    def _seed(self, purpose: Purpose, position: tf.Tensor) -> tf.Tensor:
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        return randomness.key(self.seed, purpose, position, replica)

    def _update_metrics(self, terms: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        for name, values in terms.items():
            self._means[name].update_state(values)
        results = {name: self._means[name].result() for name in terms}
        if isinstance(tf.distribute.get_strategy(), tf.distribute.MultiWorkerMirroredStrategy):
            # Keras concatenates the workers' results along the first axis (keras issue 20585).
            return {name: tf.reshape(result, [1]) for name, result in results.items()}
        return results

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        # Keras would also call the model: TFP takes no symbolic tensors, uneven batches have none.
        are_built = all(each.built or isinstance(each, keras.Model) for each in self._flatten_layers())
        if self.optimizer is not None and are_built and not self.optimizer.built:
            with self.distribute_strategy.scope():
                self.optimizer.build(self.trainable_variables)


@serializable
class VAE(PerExampleModel):
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
      InputError: there is no such likelihood or deviation of a `gaussian`, or the networks do not fit.
    """

    beta = 1.0
    arguments = ("encoder", "decoder", "seed", "pixel_stddev")

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
        check_pair(encoder, decoder)
        self.encoder = encoder
        self.decoder = decoder
        self.pose: Pose | None = getattr(encoder, "pose", None)
        """The pose's coordinates if the networks are registered, else None."""
        self.family = likelihood
        self.pixel_stddev = pixel_stddev
        self._likelihood = likelihoods.get(likelihood)
        self._pixel_stddev = self._gaussian_stddev(pixel_stddev) if likelihood == "gaussian" else None
        # Networks that are not functional models have no shapes before their first call.
        known = getattr(encoder, "outputs", None) or getattr(decoder, "inputs", None)
        self._latent_dim = known[0].shape[-1] if known else None
        self.built = True

    def get_config(self):
        return super().get_config() | {"likelihood": self.family}

    @property
    def prior(self) -> tfd.Distribution:
        """p(z): a standard normal, event shape `[latent_dim]`."""
        if self._latent_dim is None:
            raise InputError("encoder", "one with known outputs; call the model once", self.encoder)
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
            check_number("pixel_stddev", given, "a number > 0", math.ulp(0.0))
            return lambda: given
        start = keras.initializers.Constant(likelihoods.FIRST_STDDEV_WEIGHT)
        weight = self.add_weight((), start, dtype="float32", name="pixel_stddev")
        return lambda: likelihoods.learned_stddev(tf.convert_to_tensor(weight))

    def bound(self, images: tf.Tensor, seed: tf.Tensor, training: bool = False) -> Bound:
        """Returns each image's ELBO, estimated by one sample of its posterior with the key `seed`.

        It raises the errors of `gray_values`.
        """
        images = gray_values(images)
        posterior = self.posterior(images, training)
        likelihood = self.likelihood(posterior.sample(seed=seed), training)
        rate = objectives.rate(posterior, self.prior)
        distortion = objectives.distortion(likelihood, images)
        return Bound(objectives.elbo_of(distortion, rate, self.beta), posterior, rate, distortion)

    def terms(self, data, seed, training):
        return self.bound(_parts(data)[0], seed, training).terms

    def call(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Returns the reconstruction `[batch, H, W, C]`: the likelihood's mean at the posterior's."""
        return self.likelihood(self.posterior(images, training).mean(), training).mean()


@serializable
class BetaVAE(VAE):
    """The beta-VAE (Higgins et al. 2017).

    Args:
      beta: weight of the rate, 0 or more.

    Raises:
      InputError: `beta` is negative or not a number; see also `VAE`.
    """

    arguments = (*VAE.arguments, "beta")

    def __init__(self, *args, beta: float, **kwargs):
        super().__init__(*args, **kwargs)
        check_number("beta", beta, "a number >= 0")
        self.beta = beta


@serializable
class IWAE(VAE):
    """The importance-weighted auto-encoder (Burda et al. 2015).

    Args:
      importance_samples: K, samples per image, 1 or more.

    Raises:
      InputError: K is below 1; see also `VAE`.
    """

    arguments = (*VAE.arguments, "importance_samples")

    def __init__(self, *args, importance_samples: int = 5, **kwargs):
        super().__init__(*args, **kwargs)
        check_number("importance_samples", importance_samples, "1 or more", lowest=1)
        self.importance_samples = importance_samples

    def bound(self, images: tf.Tensor, seed: tf.Tensor, training: bool = False) -> Bound:
        """Returns the K-sample importance-weighted bound of each image."""
        images = gray_values(images)
        posterior = self.posterior(images, training)
        latents = posterior.sample(self.importance_samples, seed=seed)
        likelihood = self.likelihood(latents, training)
        value = objectives.importance_weighted_bound(posterior, self.prior, likelihood, latents, images)
        rate = objectives.rate(posterior, self.prior)
        distortion = tf.reduce_mean(objectives.distortion(likelihood, images), axis=0)
        return Bound(value, posterior, rate, distortion)


@serializable
class CRVAE(PerExampleModel):
    """Any base model, consistency-regularised: Equation 2 of Sinha et al. 2020.

    It trains on pairs (images, views), with one transformed view of each image. A base with registered
    networks trains on triples (images, views, transformations), where a `transforms.Affine` made the
    views.

    Images and views go through the base as one batch of twice the size, so they share the statistics
    of batch normalisation. Apart from these, the base must treat each row separately.

    Args:
      base: a Keras model with `bound(images, seed, training)` that returns a `Bound`. Evaluation also
        needs `posterior(images, training)`, `likelihood(latents, training)` and `prior`, as in `VAE`.
        With registered networks, `pose` is their `poses.Pose`. `seed`, if it has one, is the noise's.
      lambda_: weight of the view's bound; the paper's is 1.
      eta: weight of the divergence between the posteriors; None is the paper's 0.1 beta. With eta = 0
        the model is "VAE+Aug". With both weights 0 it is the base model and needs no views.
      kl_direction: `forward` (the paper's), `reverse` or `symmetric`; see `objectives.consistency`.

    Raises:
      InputError: an argument is none of these, or eta is above 0 although lambda is 0.
    """

    arguments = ("base", "lambda_", "eta", "kl_direction")

    def __init__(
        self,
        base: keras.Model,
        lambda_: float = 1.0,
        eta: float | None = None,
        kl_direction: str = "forward",
        **kwargs,
    ):
        names = ("bound", "rate", "distortion", "view_bound", "consistency")
        super().__init__(getattr(base, "seed", 0), names, **kwargs)
        if not (isinstance(base, keras.Model) and hasattr(base, "bound")):
            raise InputError("base", "a Keras model with `bound`, as of VAE(encoder, decoder)", base)
        self.base = base
        self.pose: Pose | None = getattr(base, "pose", None)
        self.lambda_ = lambda_
        self.eta = objectives.default_eta(getattr(base, "beta", 1.0), lambda_) if eta is None else eta
        self.kl_direction = kl_direction
        check_number("lambda_", lambda_, "a number >= 0")
        check_number("eta", self.eta, "a number >= 0")
        if self.eta and not lambda_:
            raise InputError("eta", "0 where lambda_ is 0", self.eta)
        check_choice("kl_direction", kl_direction, objectives.KL_DIRECTIONS)
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
        given = _parts(data)
        if not self.lambda_:
            return self.bound(given[0], seed, training).terms
        expected = "triples (images, views, transformations)" if self.pose else "pairs (images, views)"
        if len(given) != 2 + bool(self.pose) or not _fit(*given[:2]):
            raise InputError("data", expected, given)
        images, views, *transformation = given
        both = self.bound(tf.concat([images, views], axis=0), seed, training)
        number = tf.shape(images)[0]
        x, view = both[:number], both[number:]
        carried = self.pose.carried(x.posterior, *transformation) if self.pose else x.posterior
        consistency = objectives.consistency(carried, view.posterior, self.kl_direction)
        if consistency.shape.rank != x.value.shape.rank:
            raise InputError("base", "a posterior with one divergence for each image", x.posterior)
        objective = objectives.consistency_regularized_bound(
            x.value, view.value, consistency, self.lambda_, self.eta
        )
        return x.terms | {"loss": -objective, "view_bound": view.value, "consistency": consistency}

    def call(self, images: tf.Tensor, training: bool = False) -> tf.Tensor:
        """Returns the base model's output."""
        return self.base(images, training=training)


def _parts(data) -> tuple:
    """Returns the parts of a batch, whichever of Keras' methods it comes from."""
    data = data[0] if isinstance(data, (tuple, list)) and len(data) == 1 else data
    return tuple(p for p in data if p is not None) if isinstance(data, (tuple, list)) else (data,)


def _fit(images: tf.Tensor, views: tf.Tensor) -> bool:
    return tf.TensorShape(images.shape).is_compatible_with(views.shape)


def _share_of_the_loss(values: tf.Tensor, penalties: list[tf.Tensor]) -> tf.Tensor:
    """Returns this replica's share of the mean over all replicas' examples, and of the penalties.

    TensorFlow sums gradients over replicas, so the shares of an uneven batch must add up, too.
    """
    replicas = tf.distribute.get_replica_context()
    count = tf.cast(tf.size(values), tf.float32)
    if replicas.num_replicas_in_sync > 1:
        # Only then: TensorFlow never frees the graph of a reduction's gradient, nor its model.
        count = replicas.all_reduce(tf.distribute.ReduceOp.SUM, count)
    penalty = tf.add_n([tf.cast(each, tf.float32) for each in penalties] or [0.0])
    return tf.reduce_sum(values) / count + penalty / replicas.num_replicas_in_sync
