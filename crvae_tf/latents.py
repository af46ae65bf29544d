"""z = (content, pose): the two parts of a latent, and the content that an image and its view share.

The pose is the last `pose_dim` dimensions. Where `pose_dim` is 0 all of z is content. Distributions are
diagonal Gaussians, which have independent parts.
"""

import tensorflow as tf
import tensorflow_probability as tfp

from crvae_tf.errors import InputError

tfd = tfp.distributions


def content_of(distribution: tfd.Distribution, pose_dim: int) -> tfd.Distribution:
    """Returns the distribution of the content: `distribution` itself where `pose_dim` is 0.

    Raises:
      InputError: see `split`.
    """
    return split(distribution, pose_dim)[0] if pose_dim else distribution


def split(distribution: tfd.Distribution, pose_dim: int) -> tuple[tfd.Distribution, tfd.Distribution]:
    """Returns the distributions of the content and of the pose.

    Args:
      distribution: of z, a diagonal Gaussian with event shape `[latent_dim]`.
      pose_dim: 1 or more, and fewer than `latent_dim`.

    Raises:
      InputError: `distribution` is no diagonal Gaussian, or has too few dimensions.

    >>> z = tfd.MultivariateNormalDiag(tf.constant([1.0, 2.0, 3.0]), tf.ones([3]))
    >>> [part.mean().numpy().tolist() for part in split(z, 1)]
    [[1.0, 2.0], [3.0]]
    """
    _check_diagonal(distribution)
    latent_dim = distribution.event_shape[-1]
    if not 0 < pose_dim < latent_dim:
        raise InputError(
            f"pose_dim: expected 0, or fewer than the {latent_dim} latent dimensions; "
            f"received {pose_dim}"
        )
    sizes = [latent_dim - pose_dim, pose_dim]
    means = tf.split(distribution.mean(), sizes, axis=-1)
    stddevs = tf.split(distribution.stddev(), sizes, axis=-1)
    content, pose = map(_gaussian, means, stddevs)
    return content, pose


def join(content: tfd.Distribution, pose: tfd.Distribution) -> tfd.Distribution:
    """Returns the distribution of z = (content, pose) with independent parts, as `split` gave them."""
    return _gaussian(
        tf.concat([content.mean(), pose.mean()], axis=-1),
        tf.concat([content.stddev(), pose.stddev()], axis=-1),
    )


def average(content: tfd.Distribution, view_content: tfd.Distribution) -> tfd.Distribution:
    """Returns the posterior of the content that two images share, from their own: a geometric mean.

    It is q(c|x, x~) proportional to sqrt(q(c|x) q(c|x~)), the Gaussian whose precision is the mean
    of the two precisions and whose mean is that of the two means, weighted by them. Of all
    distributions it has the least sum of KL divergences to the two; it is symmetric; the surer
    image counts for more; and of two equal posteriors it is either. That is what a single image
    needs, whose own posterior stands in for it at test time: a product of the two (Bouchacourt et
    al. 2018) is sharper than either.

    >>> one, other = tfd.Normal([0.0], [1.0]), tfd.Normal([4.0], [3.0 ** -0.5])  # precisions 1 and 3
    >>> both = average(tfd.Independent(one, 1), tfd.Independent(other, 1))
    >>> print(f"{both.mean()[0]:.4f} {both.variance()[0]:.4f}")
    3.0000 0.5000
    """
    precision = 1.0 / content.variance()
    view_precision = 1.0 / view_content.variance()
    total = precision + view_precision
    mean = (precision * content.mean() + view_precision * view_content.mean()) / total
    return _gaussian(mean, tf.sqrt(2.0 / total))


def _gaussian(mean: tf.Tensor, stddev: tf.Tensor) -> tfd.Distribution:
    return tfd.Independent(tfd.Normal(mean, stddev), 1)


def _check_diagonal(distribution: tfd.Distribution) -> None:
    independent = isinstance(getattr(distribution, "distribution", None), tfd.Normal)
    if not independent and not isinstance(distribution, tfd.MultivariateNormalDiag):
        raise InputError(
            "pose_dim: expected a posterior and a prior that are Independent Normal or "
            f"MultivariateNormalDiag; received {type(distribution).__name__}"
        )
