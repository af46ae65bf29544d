"""Images that show what a model does: reconstructions and samples, as arrays."""

import keras
import numpy as np
import tensorflow as tf

from crvae_tf import datasets, randomness
from crvae_tf.datasets import ImageData
from crvae_tf.randomness import Purpose
from crvae_tf.transforms import RandomAffine


def first_images(
    data: ImageData, binarization: str, transformation: RandomAffine | None, number: int
) -> np.ndarray:
    """Returns `number` test images or their views, float32 `[number, H, W, C]`."""
    batches = datasets.evaluation_batches(data.test, number, binarization, transformation, number)
    return next(images for _, images, _ in batches.as_numpy_iterator())


def reconstructions(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """Returns the likelihood's mean at the posterior's mean, `[batch, H, W, C]`."""
    return model.likelihood(model.posterior(tf.constant(images)).mean()).mean().numpy()


def samples(model: keras.Model, number: int, seed: int) -> np.ndarray:
    """Returns the likelihood's mean at `number` draws of the prior, `[number, H, W, C]`."""
    latents = model.prior.sample(number, seed=randomness.key(seed, Purpose.PRIOR))
    return model.likelihood(latents).mean().numpy()
