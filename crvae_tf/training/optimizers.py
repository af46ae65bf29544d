"""Adam, in one operation for each variable."""

import keras
import tensorflow as tf


class Adam(keras.optimizers.Adam):
    """Keras' Adam (Kingma and Ba 2015), with each variable's update as one operation of TensorFlow.

    Keras' own takes about ten, which for small networks take longer than what they compute. Its
    numbers, the names of its variables and what a checkpoint holds are the same.

    Gradients are summed over replicas only where there are several: TensorFlow registers the gradient
    of every such sum for ever, and with it the graph of the step, so that a process that trains many
    models would grow by some 10 MiB with each.
    """

    def update_step(self, gradient, variable, learning_rate):
        index = self._get_variable_index(variable)
        scalars = {"lr": learning_rate, "epsilon": self.epsilon}
        for number, beta in ((1, self.beta_1), (2, self.beta_2)):
            scalars |= {
                f"beta{number}": beta,
                f"beta{number}_power": tf.pow(beta, tf.cast(self.iterations + 1, tf.float32)),
            }
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            grad=tf.cast(tf.convert_to_tensor(gradient), variable.dtype),
            **{name: tf.cast(scalar, variable.dtype) for name, scalar in scalars.items()},
        )

    def _all_reduce_sum_gradients(self, grads_and_vars):
        if tf.distribute.get_strategy().num_replicas_in_sync == 1:
            return list(grads_and_vars)
        return super()._all_reduce_sum_gradients(grads_and_vars)
