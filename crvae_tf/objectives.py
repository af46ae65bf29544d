"""The equations of Sinha, Odena and Dieng (2020), and nothing else.

Pure functions on TFP distributions. Those of a batch return one value per example, `[batch]`, in nats:
sums over pixels and latent dimensions, no mean over images. Bounds are maximised: higher is better.

Throughout, `posterior` is q(z|x), and `likelihood` is p(x|z) at latents sampled from it. Unless it is
said otherwise, both have batch shape `[batch]`, and their event has all dimensions of an example.
"""

import dataclasses
import math

import tensorflow as tf
import tensorflow_probability as tfp

from crvae_tf.errors import check_choice

Distribution = tfp.distributions.Distribution

KL_DIRECTIONS = ("forward", "reverse", "symmetric")


@dataclasses.dataclass(frozen=True)
class Bound:
    """A bound on log p(x) for each image of a batch, and its parts, in nats.

    The slice `bound[a:b]` is the bound of the images a to b - 1.
    """

    value: tf.Tensor
    """The bound to be maximised, `[batch]`."""
    posterior: Distribution
    """q(z|x), batch shape `[batch]`."""
    rate: tf.Tensor
    """KL(q(z|x) || p(z)), `[batch]`."""
    distortion: tf.Tensor
    """E_q[-log p(x|z)], `[batch]`."""

    @property
    def terms(self) -> dict[str, tf.Tensor]:
        """The parts by the names of metrics, and the `loss`: what is minimised."""
        value, rate, distortion = self.value, self.rate, self.distortion
        return {"loss": -value, "bound": value, "rate": rate, "distortion": distortion}

    def __getitem__(self, images: slice) -> "Bound":
        return Bound(
            self.value[images], self.posterior[images], self.rate[images], self.distortion[images]
        )


def rate(posterior: Distribution, prior: Distribution) -> tf.Tensor:
    """Returns KL(q(z|x) || p(z)) in closed form, `[batch]`, nats."""
    return tfp.distributions.kl_divergence(posterior, prior)


def distortion(likelihood: Distribution, images: tf.Tensor) -> tf.Tensor:
    """Returns -log p(x|z), `[batch]`, nats, for `images` `[batch, H, W, C]`."""
    return -likelihood.log_prob(images)


def elbo(
    posterior: Distribution,
    prior: Distribution,
    likelihood: Distribution,
    images: tf.Tensor,
    beta: float = 1.0,
) -> tf.Tensor:
    """Returns the evidence lower bound on log p(x), Equation 1 of Sinha et al. 2020.

    It is E_q[log p(x|z)] - beta KL(q(z|x) || p(z)). One sample, at which `likelihood` was computed,
    estimates the expectation. The KL has closed form. A `beta` other than 1 gives the objective of
    the beta-VAE (Higgins et al. 2017).

    Args:
      posterior: q(z|x), batch shape `[batch]`.
      prior: p(z), batch shape `[]`.
      likelihood: p(x|z) at one z ~ q(z|x), batch shape `[batch]`.
      images: `[batch, H, W, C]`.
      beta: weight of the rate, 0 or more.

    Returns:
      `[batch]`, nats.

    >>> unit = tfp.distributions.Normal(0.0, 1.0)
    >>> value = elbo(unit, unit, unit, tf.constant(0.0))  # log N(0; 0, 1) - 0
    >>> print(f"{float(value):.4f}")
    -0.9189
    """
    return elbo_of(distortion(likelihood, images), rate(posterior, prior), beta)


def elbo_of(distortion: tf.Tensor, rate: tf.Tensor, beta: float = 1.0) -> tf.Tensor:
    """Returns Equation 1 of Sinha et al. 2020 from its two terms, `[batch]`, nats."""
    return -distortion - beta * rate


def log_weights(
    posterior: Distribution,
    prior: Distribution,
    likelihood: Distribution,
    latents: tf.Tensor,
    images: tf.Tensor,
) -> tf.Tensor:
    """Returns log p(x, z) / q(z|x) of every sample (Burda et al. 2015).

    Args:
      posterior: q(z|x), batch shape `[batch]`.
      prior: p(z), batch shape `[]`.
      likelihood: p(x|z), batch shape `[samples, batch]`.
      latents: z ~ q(z|x), `[samples, batch, latent_dim]`.
      images: `[batch, H, W, C]`.

    Returns:
      `[samples, batch]`, nats.
    """
    return likelihood.log_prob(images) + prior.log_prob(latents) - posterior.log_prob(latents)


def importance_weighted_bound(
    posterior: Distribution,
    prior: Distribution,
    likelihood: Distribution,
    latents: tf.Tensor,
    images: tf.Tensor,
) -> tf.Tensor:
    """Returns log (1/K) sum_k p(x, z_k) / q(z_k|x), Equation 8 of Burda et al. 2015.

    It is a lower bound on log p(x) in expectation. At K = 1 it is a one-sample estimate of the ELBO,
    and it rises to log p(x) with K.

    Args:
      posterior: q(z|x), batch shape `[batch]`.
      prior: p(z), batch shape `[]`.
      likelihood: p(x|z), batch shape `[K, batch]`.
      latents: z_k ~ q(z|x), `[K, batch, latent_dim]`.
      images: `[batch, H, W, C]`.

    Returns:
      `[batch]`, nats.
    """
    weights = log_weights(posterior, prior, likelihood, latents, images)
    samples = tf.cast(tf.shape(weights)[0], weights.dtype)
    return tf.reduce_logsumexp(weights, axis=0) - tf.math.log(samples)


def consistency(
    posterior: Distribution, view_posterior: Distribution, direction: str = "forward"
) -> tf.Tensor:
    """Returns the divergence between the posteriors of an image and of its transformed view.

    Args:
      posterior: q(z|x), batch shape `[batch]`.
      view_posterior: q(z~|x~), batch shape `[batch]`.
      direction: `forward` is KL(q(z|x) || q(z~|x~)), the paper's (Equation 2 of Sinha et al. 2020);
        `reverse` is KL(q(z~|x~) || q(z|x)), that of its later version (NeurIPS 2021); `symmetric`
        is the mean of the two.

    Returns:
      `[batch]`, nats, 0 or more.

    Raises:
      InputError: `direction` is none of the three.
    """
    check_choice("direction", direction, KL_DIRECTIONS)
    kl = tfp.distributions.kl_divergence
    if direction == "forward":
        return kl(posterior, view_posterior)
    if direction == "reverse":
        return kl(view_posterior, posterior)
    return 0.5 * (kl(posterior, view_posterior) + kl(view_posterior, posterior))


def consistency_regularized_bound(
    bound: tf.Tensor,
    view_bound: tf.Tensor,
    consistency: tf.Tensor,
    lambda_: float = 1.0,
    eta: float = 0.1,
) -> tf.Tensor:
    """Returns Equation 2 of Sinha et al. 2020: L(x) + lambda L(x~) - eta KL(q(z|x) || q(z~|x~)).

    Args:
      bound: L(x), the base model's bound of the image, `[batch]`, nats.
      view_bound: L(x~), the same bound of its transformed view, `[batch]`, nats.
      consistency: the divergence between the two posteriors, `[batch]`, nats.
      lambda_: weight of the view's bound, 0 or more; the paper's is 1.
      eta: weight of the divergence, 0 or more; the paper's is 0.1.

    Returns:
      `[batch]`, nats.

    >>> float(consistency_regularized_bound(-90.0, -100.0, 20.0, lambda_=1.0, eta=0.1))
    -192.0
    """
    return bound + lambda_ * view_bound - eta * consistency


def default_eta(beta: float, lambda_: float) -> float:
    """Returns the paper's weight of the consistency term, 0.1 beta (section 4.1); 0 without views."""
    return 0.1 * beta if lambda_ else 0.0


def gaussian_constant(dimensions: int) -> float:
    """Returns 0.5 D ln(2 pi), nats: a unit Gaussian's distortion minus half the squared error."""
    return 0.5 * dimensions * math.log(2.0 * math.pi)
