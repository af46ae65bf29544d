"""Gradient ascent on a bound given for each example: `train_step` and `test_step`, once."""

import abc
import math
from collections.abc import Iterable

import keras
import tensorflow as tf

from crvae_tf import randomness
from crvae_tf.randomness import Purpose


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
