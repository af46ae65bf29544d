"""Compile, fit, checkpoint and resume."""

import math
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from crvae_tf import datasets
from crvae_tf.datasets import ImageData
from crvae_tf.errors import Interrupted
from crvae_tf.runs import files, weights
from crvae_tf.runs.run import Run
from crvae_tf.training import strategies
from crvae_tf.training.callbacks import FiniteGuard, MetricsLog, TensorBoard, TimeEstimate
from crvae_tf.training.checkpoints import Checkpoints
from crvae_tf.training.interruption import Interruption
from crvae_tf.training.optimizers import Adam
from crvae_tf.transforms import RandomAffine


def train(
    model: keras.Model,
    data: ImageData,
    run: Run,
    *,
    binarization: str,
    transformation: RandomAffine | None,
    epochs: int,
    batch_size: int,
    learning_rate: float | Callable[[int], float],
    seed: int,
    views_per_image: int = 1,
    clip_norm: float | None = None,
    checkpoint_minutes: float | None = None,
    steps_per_execution: int = 1,
    jit: bool | None = None,
    pictures_every: int = 5,
    later_seconds: Callable[[], float] = lambda: 0.0,
    verbose: int | str = "auto",
) -> list[dict[str, float]]:
    """Trains `model` with Adam from its last checkpoint to the end, and writes its weights.

    Args:
      model: not compiled; built, with its weights as they begin. One with registered networks is also
        given the transformations that made the views.
      data: the images.
      run: where to keep checkpoints, metrics and weights.
      binarization: see `datasets.training_batches`.
      transformation: t(x~|x), or None to train on images alone.
      epochs: passes over the training images, 1 or more.
      batch_size: images in a step, over all replicas.
      learning_rate: of Adam, or a function that returns it for an epoch, counted from 0.
      seed: of every draw.
      views_per_image: see `datasets.training_batches`.
      clip_norm: the largest norm of the whole gradient, or None to leave it as it is.
      checkpoint_minutes: minutes between checkpoints within an epoch, or None for none.
      steps_per_execution: how many steps TensorFlow takes before it returns to Python, at most: the
        largest number that divides those of an epoch is taken; on several replicas 1.
      jit: whether XLA compiles the step; None leaves that to Keras, which does so on a GPU, but not
        under a strategy.
      pictures_every: epochs between reconstructions and samples in TensorBoard.
      later_seconds: about how long what follows the training takes; for the estimate that is logged.
      verbose: as in Keras' `fit`.

    Returns:
      One dictionary for each epoch: its number from 1 on, the mean of each term, and timings.

    Raises:
      InputError: the checkpoint does not fit the model.
      Interrupted: SIGTERM or SIGINT arrived; a checkpoint was written.
      NotFiniteError: a term of the objective, the gradient or a weight is not finite; no checkpoint
        that is kept has such a weight.
    """
    steps = data.train.steps_per_epoch(batch_size)
    rate_of = learning_rate if callable(learning_rate) else None
    _compile(model, rate_of(0) if rate_of else learning_rate, clip_norm, jit)
    interruption = Interruption()
    guard = FiniteGuard(lambda: checkpoints.latest)
    checkpoints = Checkpoints(model, run, steps, checkpoint_minutes, interruption, guard.check_weights)
    position = checkpoints.restore()
    epoch, step = divmod(position, steps)
    model.steps_per_execution = _steps_per_execution(model, steps_per_execution, steps, step)
    log = MetricsLog(run, epoch, data.train.num_images, step * batch_size)
    callbacks = [
        guard,
        log,
        TensorBoard(run, data, binarization, transformation, pictures_every, epochs, seed),
        TimeEstimate(steps * epochs - position, later_seconds),
        checkpoints,
    ]
    common = batch_size, binarization, transformation
    triples = getattr(model, "pose", None) is not None
    batches = datasets.training_batches(
        data.train, *common, seed, range(epoch, epochs), step, triples, views_per_image
    )
    validation = None
    if data.validation is not None:
        validation = datasets.validation_pairs(data.validation, *common, triples)
    with interruption.noted():
        _fit(model, batches, validation, position, steps, epochs, rate_of, callbacks, verbose)
    _finish(model, run, interruption)
    return log.lines


def _compile(model: keras.Model, rate: float, clip_norm: float | None, jit: bool | None) -> None:
    with strategies.of(model).scope():
        optimizer = Adam(rate, global_clipnorm=clip_norm, name="adam")
        model.compile(optimizer=optimizer, jit_compile="auto" if jit is None else jit)
        model.optimizer.build(model.trainable_variables)  # The loss scaler's where there is one.


def _fit(
    model: keras.Model,
    batches: tf.data.Dataset,
    validation: tf.data.Dataset | None,
    position: int,
    steps: int,
    epochs: int,
    rate_of: Callable[[int], float] | None,
    callbacks: list[keras.callbacks.Callback],
    verbose: int | str,
) -> None:
    """Takes the steps from `position` on; Keras' own `fit` would begin with a whole epoch."""
    callbacks = keras.callbacks.CallbackList(
        callbacks, add_progbar=verbose != 0, model=model, verbose=verbose, epochs=epochs, steps=steps
    )
    model.make_train_function(force=True)
    iterator = iter(strategies.of(model).experimental_distribute_dataset(batches))
    first_epoch, first_step = divmod(position, steps)
    callbacks.on_train_begin()
    for epoch in range(first_epoch, epochs):
        if not first_step:  # Else the means so far are those of the checkpoint.
            model.reset_metrics()
        if rate_of:
            model.optimizer.learning_rate = rate_of(epoch)
        callbacks.on_epoch_begin(epoch)
        for step in range(first_step, steps, model.steps_per_execution):
            callbacks.on_train_batch_begin(step)
            logs = _scalars(model.train_function(iterator))
            callbacks.on_train_batch_end(step + model.steps_per_execution - 1, logs)
        first_step = 0
        logs = _scalars(model.get_metrics_result())  # Of all replicas, as those of a step are not.
        if validation is not None:
            found = _scalars(model.evaluate(validation, verbose=0, return_dict=True))
            logs |= {f"val_{name}": value for name, value in found.items()}
        callbacks.on_epoch_end(epoch, logs | ({"learning_rate": rate_of(epoch)} if rate_of else {}))
    callbacks.on_train_end()


def _scalars(logs: dict) -> dict[str, float]:
    """Returns the means, which several workers return as vectors of one (see `BoundMaximizer`)."""
    return {name: float(np.squeeze(value)) for name, value in logs.items()}


def default_steps_per_execution(model: keras.Model) -> int:
    """Returns 10 for a network of less than a million parameters, whose steps Python would delay."""
    return 10 if model.count_params() < 1_000_000 else 1


def _steps_per_execution(model: keras.Model, limit: int, steps: int, first_step: int) -> int:
    if strategies.of(model).num_replicas_in_sync > 1:
        return 1  # Keras' loop over steps fails on several replicas.
    common = math.gcd(steps, first_step)
    return max(number for number in range(1, min(limit, common) + 1) if common % number == 0)


def _finish(model: keras.Model, run: Run, interruption: Interruption) -> None:
    """Writes the weights, unless a worker was told to stop; of its last step there is a checkpoint."""
    stopped_by = strategies.highest(strategies.of(model), interruption.signal or 0)
    if stopped_by:
        raise Interrupted(stopped_by)
    run.check_there()
    with files.whole_file(run.weights, parents=False) as unfinished:
        weights.save(model, unfinished)
