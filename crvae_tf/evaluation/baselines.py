"""Baselines for embeddings: raw pixels, PCA and a contrastive encoder.

None of them models the images, so they have no likelihood.
"""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from sklearn.decomposition import PCA

from crvae_tf.datasets import ImageData, evaluation_batches, training_batches
from crvae_tf.evaluation.embeddings import PROBE_IMAGES, Embed, figures_of
from crvae_tf.models import PerExampleModel
from crvae_tf.training.callbacks import FiniteGuard
from crvae_tf.training.fit import Settings
from crvae_tf.transforms import RandomAffine

TEMPERATURE = 0.5
"""The temperature of the contrastive loss; Chen et al. 2020 use it for small images."""

_HEAD_UNITS = 128
_IMAGES_PER_STEP = 500


class ContrastiveEncoder(PerExampleModel):
    """SimCLR (Chen et al. 2020) on pairs (images, views): a VAE's `encoder`, trained through a head.

    Its mean is the embedding; its log variance is unused. `seed` is of the head's initial weights.
    """

    def __init__(self, encoder: keras.Model, seed: int):
        super().__init__(seed, ())
        self.encoder = keras.Model(encoder.inputs, encoder.outputs[0])
        initializers = (keras.initializers.GlorotUniform(seed=seed + i) for i in range(2))
        hidden, output = (keras.layers.Dense(_HEAD_UNITS, kernel_initializer=i) for i in initializers)
        features = keras.Input(encoder.outputs[0].shape[1:])
        self.head = keras.Model(features, output(keras.layers.ReLU()(hidden(features))))
        self.built = True

    def terms(self, data, seed, training):
        outputs = [self.head(self.encoder(part, training=training)) for part in data]
        outputs = [tf.cast(output, tf.float32) for output in outputs]
        return {"loss": contrastive_loss(*outputs, TEMPERATURE)}


def contrastive_loss(outputs: tf.Tensor, view_outputs: tf.Tensor, temperature: float) -> tf.Tensor:
    """Returns the normalised temperature-scaled cross entropy, Equation 1 of Chen et al. 2020.

    Each output is classified: its partner is the right one of the 2 batch - 1 others. The logits are
    cosines of outputs `[batch, dimensions]`, divided by the temperature. The loss, `[batch]`, nats, is
    the mean of an image's and of its view's.
    """
    both = tf.math.l2_normalize(tf.concat([outputs, view_outputs], axis=0), axis=-1)
    number = tf.shape(outputs)[0]
    similarities = tf.matmul(both, both, transpose_b=True) / temperature
    itself = tf.eye(2 * number, dtype=tf.bool)
    similarities = tf.where(itself, similarities.dtype.min, similarities)
    partners = tf.roll(tf.range(2 * number), number, axis=0)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(partners, similarities)
    return tf.reduce_mean(tf.reshape(losses, [2, number]), axis=0)


def train_contrastive(encoder: keras.Model, data: ImageData, settings: Settings) -> None:
    """Trains an encoder with the contrastive loss on the same pairs as a CR-VAE.

    Raises NotFiniteError if the loss, a gradient or a weight becomes NaN or infinite.
    """
    model = ContrastiveEncoder(encoder, settings.seed)
    model.compile(optimizer=keras.optimizers.Adam(global_clipnorm=settings.clip_norm))
    common = settings.batch_size, settings.binarization, settings.transformation, settings.seed
    model.fit(
        training_batches(data.train, *common, range(settings.epochs)),
        epochs=settings.epochs,
        steps_per_epoch=data.train.steps_per_epoch(settings.batch_size),
        shuffle=False,
        verbose=0,
        callbacks=[FiniteGuard(None), keras.callbacks.LearningRateScheduler(settings.rate)],
    )


def measure(
    encoder: keras.Model,
    data: ImageData,
    transformation: RandomAffine,
    test_transformation: RandomAffine,
    num_images: int | None = None,
) -> dict[str, dict[str, Any]]:
    """Returns `consistency`, without KLs, and `probe` for `pixels`, `pca` and `contrastive`.

    The arguments are as for `evaluate`, but for the `encoder`, which `train_contrastive` trained. The
    PCA is fitted on at most 10,000 clean training images. It has at most the encoder's dimensions.
    """
    train = evaluation_batches(data.train, _IMAGES_PER_STEP, "none", limit=PROBE_IMAGES)
    pixels = _embed(_pixels)(train)
    dimensions = min(encoder.outputs[0].shape[-1], *pixels.shape)
    pca = PCA(dimensions, svd_solver="full").fit(pixels)
    features = {
        "pixels": _pixels,
        "pca": lambda images: pca.transform(_pixels(images)),
        "contrastive": lambda images: encoder(images)[0].numpy(),
    }
    views = {"train_transform": transformation, "test_transform": test_transformation}
    number = data.test.up_to(num_images)
    return {name: figures_of(_embed(f), data, views, number) for name, f in features.items()}


def _pixels(images: tf.Tensor) -> np.ndarray:
    return images.numpy().reshape(len(images), -1)


def _embed(features: Callable[[tf.Tensor], np.ndarray]) -> Embed:
    return lambda batches: np.concatenate([features(images) for _, images, _ in batches])
