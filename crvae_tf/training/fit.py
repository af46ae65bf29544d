"""Compile, fit, checkpoint and resume."""

import dataclasses
import math
from collections.abc import Callable, Iterator

import keras
import numpy as np
import tensorflow as tf

from crvae_tf import datasets
from crvae_tf.datasets import ImageData
from crvae_tf.runs import drawing
from crvae_tf.runs.run import Run, save_weights
from crvae_tf.training import strategies
from crvae_tf.training.callbacks import Checkpoints, FiniteGuard, MetricsLog, Progress, TensorBoard
from crvae_tf.transforms import RandomAffine

_ROW = 16
BURDA_EPOCHS = (3**8 - 1) // 2
"""Epochs of the schedule of Burda et al. 2015."""


def _burda(epoch: int, epochs: int) -> float:
    """Stage i = 0 ... 7 lasts 3^i epochs and has a share of 10^(-i / 7)."""
    stage = sum(epoch >= (3**i - 1) // 2 for i in range(1, 8))
    return 10.0 ** (-stage / 7)


SCHEDULES: dict[str, Callable[[int, int], float]] = {
    "constant": lambda epoch, epochs: 1.0,
    "cosine": lambda epoch, epochs: 0.5 * (1.0 + math.cos(math.pi * epoch / epochs)),
    "burda": _burda,
}
"""The share of the rate that each leaves an epoch, from 0 on, of so many."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """How a model is trained.

    Attributes:
      binarization: see `datasets.training_batches`; so is `views_per_image`.
      transformation: t(x~|x), or None to train on images alone.
      batch_size: images in a step, over all replicas.
      learning_rate: of Adam, in the first epoch.
      schedule: how the rate falls from epoch to epoch: one of `SCHEDULES`.
      clip_norm: the largest norm of the whole gradient, or None to leave it as it is.
      checkpoint_minutes: minutes between checkpoints within an epoch, or None for none.
      steps_per_execution: how many steps TensorFlow takes before it returns to Python, at most: the
        largest number that divides those of an epoch is taken; on several replicas 1. None stands for
        10 for a network of less than a million parameters, whose steps Python would delay, else for 1.
      jit: whether XLA compiles the step; None leaves that to Keras, which does so on a GPU, but not
        under a strategy.
    """

    binarization: str
    transformation: RandomAffine | None
    epochs: int
    batch_size: int
    learning_rate: float
    seed: int
    schedule: str = "constant"
    views_per_image: int = 1
    clip_norm: float | None = None
    checkpoint_minutes: float | None = None
    steps_per_execution: int | None = 1
    jit: bool | None = None

    def rate(self, epoch: int) -> float:
        """Returns the learning rate of an epoch, counted from 0."""
        return self.learning_rate * SCHEDULES[self.schedule](epoch, self.epochs)


class Adam(keras.optimizers.Adam):
    """Keras' Adam (Kingma and Ba 2015), with each variable's update as one operation of TensorFlow.

    Keras' own takes about ten, which for small networks take longer than what they compute.
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


def train(
    model: keras.Model,
    data: ImageData,
    run: Run,
    settings: Settings,
    later_seconds: Callable[[], float] = lambda: 0.0,
) -> list[dict[str, float]]:
    """Trains `model` with Adam from its last checkpoint to the end, and writes its weights.

    Args:
      model: not compiled; built, with its weights as they begin.
      data: the images.
      run: keeps checkpoints, metrics and weights.
      settings: say how to train it.
      later_seconds: returns about how long what follows the training takes, for the logged estimate.

    Returns:
      The lines of `metrics.jsonl`.

    Raises:
      InputError: the checkpoint does not fit the model.
      Interrupted: SIGTERM or SIGINT arrived; a checkpoint was written.
      NotFiniteError: a term, the gradient or a weight is not finite; no checkpoint has such a weight.
    """
    run.check_there()
    run.directory.mkdir(parents=True, exist_ok=True)
    steps = data.train.steps_per_epoch(settings.batch_size)
    _compile(model, settings)
    guard = FiniteGuard(run.checkpoints)
    minutes, signals = settings.checkpoint_minutes, []
    checkpoints = Checkpoints(model, run, steps, minutes, guard.check_weights, signals)
    position = checkpoints.restore()
    epoch, step = divmod(position, steps)
    views = dict.fromkeys([None, settings.transformation])
    log = MetricsLog(run, epoch, data.train.num_images, step * settings.batch_size)
    shown = [drawing.sample_images(data, settings.binarization, view, _ROW) for view in views]
    board = TensorBoard(run, shown, settings.epochs, settings.seed)
    progress = Progress(settings.epochs, steps, later_seconds)
    callbacks = keras.callbacks.CallbackList([guard, log, board, progress, checkpoints], model=model)
    with strategies.noted(signals):
        _fit(model, data, settings, position, callbacks)
    checkpoints.stop_if_told()
    save_weights(model, run.weights)
    return log.lines


def _compile(model: keras.Model, settings: Settings) -> None:
    with model.distribute_strategy.scope():
        optimizer = Adam(settings.rate(0), global_clipnorm=settings.clip_norm, name="adam")
        model.compile(optimizer, jit_compile="auto" if settings.jit is None else settings.jit)
        model.optimizer.build(model.trainable_variables)  # The loss scaler's where there is one.


def _fit(
    model: keras.Model,
    data: ImageData,
    settings: Settings,
    position: int,
    callbacks: keras.callbacks.CallbackList,
) -> None:
    """Takes the steps from `position` on; Keras' own `fit` would begin with a whole epoch."""
    steps = data.train.steps_per_epoch(settings.batch_size)
    first_epoch, first_step = divmod(position, steps)
    model.steps_per_execution = _steps_per_execution(model, settings, math.gcd(steps, first_step))
    model.make_train_function(force=True)
    batches, validation = _batches(model, data, settings, first_epoch, first_step)
    for epoch in range(first_epoch, settings.epochs):
        if not first_step:  # Else the means so far are those of the checkpoint.
            model.reset_metrics()
        model.optimizer.learning_rate = settings.rate(epoch)
        callbacks.on_epoch_begin(epoch)
        for step in range(first_step, steps, model.steps_per_execution):
            logs = _scalars(model.train_function(batches))
            callbacks.on_train_batch_end(step + model.steps_per_execution - 1, logs)
        first_step = 0
        logs = _scalars(model.get_metrics_result())  # Of all replicas, as those of a step are not.
        if validation is not None:
            found = _scalars(model.evaluate(validation, verbose=0, return_dict=True))
            logs |= {f"val_{name}": value for name, value in found.items()}
        callbacks.on_epoch_end(epoch, logs | {"learning_rate": settings.rate(epoch)})


def _batches(
    model: keras.Model, data: ImageData, settings: Settings, first_epoch: int, first_step: int
) -> tuple[Iterator, tf.data.Dataset | None]:
    """Returns the batches of the training from a step on, and those of the validation, if any."""
    common = settings.batch_size, settings.binarization, settings.transformation
    triples = getattr(model, "pose", None) is not None
    epochs = range(first_epoch, settings.epochs)
    batches = datasets.training_batches(
        data.train, *common, settings.seed, epochs, first_step, triples, settings.views_per_image
    )
    validation = data.validation and datasets.validation_pairs(data.validation, *common, triples)
    return iter(model.distribute_strategy.experimental_distribute_dataset(batches)), validation


def _scalars(logs: dict[str, tf.Tensor]) -> dict[str, float]:
    """Returns the means, which several workers return as vectors of one (see `PerExampleModel`)."""
    return {name: float(np.squeeze(value)) for name, value in logs.items()}


def _steps_per_execution(model: keras.Model, settings: Settings, steps: int) -> int:
    """Returns the largest number that divides `steps` and may be taken at a time."""
    if model.distribute_strategy.num_replicas_in_sync > 1:
        return 1  # Keras' loop over steps fails on several replicas.
    usual = 10 if model.count_params() < 1_000_000 else 1
    limit = min(settings.steps_per_execution or usual, steps)
    return max(number for number in range(1, limit + 1) if steps % number == 0)
