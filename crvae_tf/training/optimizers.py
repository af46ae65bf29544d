"""Adam in one operation for each variable, and how its rate falls: a function of the epoch."""

import math

import keras
import tensorflow as tf

_BURDA_STAGES = 8
BURDA_EPOCHS = (3**_BURDA_STAGES - 1) // 2
"""Epochs of the schedule of Burda et al. 2015."""


class Adam(keras.optimizers.Adam):
    """Keras' Adam (Kingma and Ba 2015), with each variable's update as one operation of TensorFlow.

    Keras' own takes about ten, which for small networks take longer than what they compute. Its
    numbers, the names of its variables and what a checkpoint holds are the same.
    """

    def update_step(self, gradient, variable, learning_rate):
        index = self._get_variable_index(variable)
        step = tf.cast(self.iterations + 1, tf.float32)
        scalars = {
            "lr": learning_rate,
            "epsilon": self.epsilon,
            "beta1": self.beta_1,
            "beta1_power": tf.pow(self.beta_1, step),
            "beta2": self.beta_2,
            "beta2_power": tf.pow(self.beta_2, step),
        }
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            grad=tf.cast(tf.convert_to_tensor(gradient), variable.dtype),
            **{name: tf.cast(scalar, variable.dtype) for name, scalar in scalars.items()},
        )

    def _all_reduce_sum_gradients(self, grads_and_vars):
        # TensorFlow keeps the gradient of every such sum, and so the graph of the step, for ever.
        if tf.distribute.get_strategy().num_replicas_in_sync == 1:
            return list(grads_and_vars)
        return super()._all_reduce_sum_gradients(grads_and_vars)


def burda_rate(epoch: int, learning_rate: float) -> float:
    """Returns the learning rate of an epoch, from 0 on, under the schedule of Burda et al. 2015.

    Stage i = 0 ... 7 lasts 3^i epochs and has the rate `learning_rate` * 10^(-i / 7); theirs begins at
    1e-3.
    """
    last = _BURDA_STAGES - 1
    stage = next((i for i in range(last) if epoch < (3 ** (i + 1) - 1) // 2), last)
    return learning_rate * 10.0 ** (-stage / last)


def cosine_rate(epoch: int, learning_rate: float, epochs: int) -> float:
    """Returns the learning rate of an epoch, from 0 on: half a cosine (Loshchilov and Hutter 2017).

    It falls from `learning_rate` in the first of `epochs`; after the last it would be 0.
    """
    return 0.5 * learning_rate * (1.0 + math.cos(math.pi * min(epoch / epochs, 1.0)))
