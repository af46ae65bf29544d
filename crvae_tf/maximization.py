"""Gradient ascent on per-example bounds: the `train_step` and `test_step` of all models."""

import abc
import math
from collections.abc import Iterable

import keras
import tensorflow as tf

from crvae_tf import randomness
from crvae_tf.randomness import Purpose


class BoundMaximizer(keras.Model, abc.ABC):
    """A Keras model trained by gradient ascent on a mean of per-example bounds.

    A subclass defines the terms of its objective. Each term is a metric, averaged over images, not
    over batches.

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
            loss = _global_mean(terms["loss"]) + _weight_penalty(self.losses)
            scaled_loss = self.optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled_loss, self.trainable_variables)
        self.optimizer.apply(gradients, self.trainable_variables)
        if scaled_loss is loss:  # A scaled loss overflows now and then by design.
            terms["loss"] = _nan_unless_finite(terms["loss"], gradients)
        return self._update_metrics(terms)

    def test_step(self, data) -> dict[str, tf.Tensor]:
        """Returns the running means of the terms; the noise depends on the place in the pass."""
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
            # Keras concatenates the workers' results along the first axis (keras issue 20585).
            return {name: tf.reshape(result, [1]) for name, result in results.items()}
        return results

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        """Builds the optimizer alone. Keras would also call the model with symbolic tensors.

        TFP cannot use those, and an uneven batch of several replicas has none.
        """
        if self.optimizer is not None and not self.optimizer.built:
            with self.distribute_strategy.scope():
                self.optimizer.build(self.trainable_variables)


def _global_mean(values: tf.Tensor) -> tf.Tensor:
    """Returns this replica's share of the mean over all replicas' examples.

    TensorFlow sums gradients over replicas. So the shares must add up to the mean, also for an uneven
    last batch.
    """
    replicas = tf.distribute.get_replica_context()
    count = tf.cast(tf.size(values), tf.float32)
    if replicas.num_replicas_in_sync > 1:
        # Only then: TensorFlow never frees the graph of a reduction's gradient, nor its model.
        count = replicas.all_reduce(tf.distribute.ReduceOp.SUM, count)
    return tf.reduce_sum(values) / count


def _nan_unless_finite(loss: tf.Tensor, gradients: list[tf.Tensor]) -> tf.Tensor:
    """Returns the loss, or NaN if the gradient is not finite, so that `FiniteGuard` notices."""
    return tf.where(tf.math.is_finite(tf.linalg.global_norm(gradients)), loss, math.nan)


def _weight_penalty(losses: list[tf.Tensor]) -> tf.Tensor:
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    return tf.add_n([tf.cast(loss, tf.float32) for loss in losses] or [0.0]) / replicas
