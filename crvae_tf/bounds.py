"""What a base model bounds, and the two bounds of an image and its view that Equation 2 adds up.

The paper's are `separate_bounds` of a free view. A conditional view and shared content go beyond
the paper: its objective wants x~ to be likely, so z~ must hold the transformation, and it wants z
and z~ to agree, so z~ must not. Either takes the transformation out of what shall agree.
"""

import dataclasses
import math
from collections.abc import Callable

import keras
import tensorflow as tf
import tensorflow_probability as tfp

from crvae_tf import latents, likelihoods, objectives, randomness
from crvae_tf.errors import InputError

tfd = tfp.distributions

Transform = Callable[[tf.Tensor], tf.Tensor]

_ROUNDING = 1e-3
"""How far resampling and low precision may take a pixel out of [0, 1]."""

_CONTENT, _VIEW, _POSE, _VIEW_POSE = range(4)
"""What the noise of a step is folded in with."""


@dataclasses.dataclass(frozen=True)
class Bound:
    """A bound on log p(x) for each image of a batch, and what it was made of; all in nats."""

    value: tf.Tensor
    """The bound to be maximised, `[batch]`."""
    posterior: tfd.Distribution
    """q(z|x), batch shape `[batch]`."""
    rate: tf.Tensor
    """KL(q(z|x) || p(z)), `[batch]`; of shared content only what this bound pays for."""
    distortion: tf.Tensor
    """E_q[-log p(x|z)], `[batch]`."""


def gray_values(images: tf.Tensor) -> tf.Tensor:
    """Returns images in [0, 1] as float32; others would train to a bound that means nothing.

    XLA cannot raise: what it compiles returns NaN where it should.

    Raises:
      InputError: the images are no floats.
      tf.errors.InvalidArgumentError: a pixel lies outside [0, 1], but for rounding.
    """
    images = tf.convert_to_tensor(images)
    if not images.dtype.is_floating:
        raise InputError(f"images: expected floats in [0, 1]; received {images.dtype.name}")
    images = tf.cast(images, tf.float32)
    inside = tf.reduce_all((images >= -_ROUNDING) & (images <= 1.0 + _ROUNDING))
    message = "images: expected values in [0, 1]; received others"
    with tf.control_dependencies([tf.raw_ops.Assert(condition=inside, data=[message])]):
        return tf.where(inside, images, math.nan)


def elbo_bound(
    posterior: tfd.Distribution,
    paid: tfd.Distribution,
    prior: tfd.Distribution,
    likelihood: tfd.Distribution,
    images: tf.Tensor,
    beta: float,
) -> Bound:
    """Returns the ELBO of each image, and what it is made of.

    Args:
      posterior: q(z|x), batch shape `[batch]`.
      paid: the part of it whose KL from `prior` this bound pays for; of a single image, all.
      prior: of that part.
      likelihood: p(x|z) at latents sampled from the posterior.
      images: x, `[batch, H, W, C]`.
      beta: weight of the KL, 0 or more.
    """
    return Bound(
        value=objectives.elbo(paid, prior, likelihood, images, beta),
        posterior=posterior,
        rate=objectives.rate(paid, prior),
        distortion=objectives.distortion(likelihood, images),
    )


def separate_bounds(
    base: keras.Model,
    images: tf.Tensor,
    views: tf.Tensor,
    transform: Transform | None,
    seed: tf.Tensor,
    training: bool,
    views_train: bool,
) -> tuple[Bound, Bound]:
    """Returns L(x) and L(x~) of Equation 2, each the base model's own bound.

    With `transform`, the view is conditional. The transformation g(., epsilon) that was drawn for x~ is
    known in training, so it is applied to the likelihood's mean mu(z~) before x~ is scored:

        L(x~|epsilon) = E_q[log p(x~ | g(mu(z~), epsilon))] - KL(q(z~|x~) || p(z)),  z~ ~ q(z~|x~)

    It bounds log p(x~|epsilon) = log E_p(z)[p(x~ | g(mu(z), epsilon))] by Jensen's inequality, as
    the ELBO does log p(x~): p(z) does not depend on epsilon, and the likelihood alone is another.
    The K-sample bound is so in the same way. Then z~ can leave the transformation out and cost no
    distortion. It gives up p(x~): the model is trained to explain untransformed images alone, and
    an image in a pose that the data do not have, with its epsilon unknown, becomes unlikely.

    Args:
      base: offers `bound(images, seed, training)`, with a further argument `transform` where one is
        given.
      images: x, `[batch, H, W, C]`.
      views: x~.
      transform: g(., epsilon), which maps images `[..., batch, H, W, C]` to such; or None.
      seed: a key, int32 `[2]`, for every draw.
      training: whether batch normalisation uses the batch's statistics.
      views_train: whether it does for the views.
    """
    given = {} if transform is None else {"transform": transform}
    x = base.bound(images, seed, training)
    return x, base.bound(views, randomness.fold_in(seed, _VIEW), views_train, **given)


def shared_content_bounds(
    base: keras.Model,
    images: tf.Tensor,
    views: tf.Tensor,
    transform: Transform | None,
    pose_dim: int,
    seed: tf.Tensor,
    training: bool,
) -> tuple[Bound, Bound]:
    """Returns L(x) and L(x~) where z = (c, s) and z~ = (c, s~): the two share their content.

    The pair is modelled as one, with a content c for both and a pose for each:

        p(x, x~) = E_p(c)[ E_p(s)[p(x|c, s)] E_p(s~)[p(x~|c, s~)] ]

    Its ELBO, with the posterior q(c|x, x~) q(s|x) q(s~|x~), is the sum of two parts:

        L(x)  = E_q[log p(x|c, s)] - KL(q(c|x, x~) || p(c)) - KL(q(s|x) || p(s))
        L(x~) = E_q[log p(x~|c, s~)] - KL(q(s~|x~) || p(s~))
        log p(x, x~) >= L(x) + L(x~)

    by one sample of c for both and one of s and of s~. q(c|x, x~) is the `latents.average` of q(c|x)
    and q(c|x~). L(x) alone bounds log p(x), since q(c|x, x~) may be any distribution; so with lambda
    in [0, 1] Equation 2 without its KL is (1 - lambda) times a bound on log p(x) and lambda times one
    on log p(x, x~). At lambda = 1 it does not matter for the two bounds which is the view, unless that
    is conditional. With beta the KLs weigh beta.

    It gives up some likelihood of a single image: q(c|x) is never drawn from alone, and as the average
    of two is to be the posterior given both images, each is sharper than one image warrants. The KL
    of Equation 2, of the contents alone, keeps either near their average.

    Which dimensions are the pose is fixed, and they are to be as many as the transformation has
    degrees of freedom. Bouchacourt et al. 2018 (ML-VAE) share by the product of the posteriors, and
    Locatello et al. 2020 average those dimensions of each pair that they find to differ least;
    neither compares the contents by a KL.

    Args:
      base: offers `posterior(images, training)`, `likelihood(latents, training)` and `prior`,
        diagonal Gaussians but for the likelihood; and may have a `beta`. Its own `bound` is not called.
      images: x, `[batch, H, W, C]`.
      views: x~.
      transform: as in `separate_bounds`: x~ is scored under the transformed mean, and what is
        bounded is log p(x, x~|epsilon).
      pose_dim: dimensions of s.
      seed: a key, int32 `[2]`, for every draw.
      training: whether batch normalisation uses the batch's statistics.

    Raises:
      InputError: see `latents.split` and `likelihoods.transformed`.
    """
    posterior, view_posterior = base.posterior(images, training), base.posterior(views, training)
    content, pose = latents.split(posterior, pose_dim)
    view_content, view_pose = latents.split(view_posterior, pose_dim)
    shared = latents.average(content, view_content)
    shared_sample = shared.sample(seed=randomness.fold_in(seed, _CONTENT))

    def likelihood(pose: tfd.Distribution, place: int) -> tfd.Distribution:
        sample = pose.sample(seed=randomness.fold_in(seed, place))
        return base.likelihood(tf.concat([shared_sample, sample], axis=-1), training)

    of_x, of_view = likelihood(pose, _POSE), likelihood(view_pose, _VIEW_POSE)
    if transform is not None:
        of_view = likelihoods.transformed(of_view, transform)
    content_prior, pose_prior = latents.split(base.prior, pose_dim)
    prior = latents.join(content_prior, pose_prior)
    beta = getattr(base, "beta", 1.0)
    return (
        elbo_bound(posterior, latents.join(shared, pose), prior, of_x, images, beta),
        elbo_bound(view_posterior, view_pose, pose_prior, of_view, views, beta),
    )
