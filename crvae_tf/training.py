"""Compile, fit, checkpoint and resume."""

import functools
import math
from collections.abc import Callable

import keras
import tensorflow as tf

from crvae_tf import datasets, files, strategies, weights
from crvae_tf.callbacks import (
    EpochSummaries,
    FiniteGuard,
    MetricsLog,
    Pictures,
    ScalarTerms,
    TimeEstimate,
)
from crvae_tf.checkpoints import Checkpoints
from crvae_tf.datasets import ImageData
from crvae_tf.errors import Interrupted
from crvae_tf.interruption import Interruption
from crvae_tf.optimizers import Adam
from crvae_tf.runs import Run
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
    checkpoint_steps: int | None = None,
    checkpoint_minutes: float | None = None,
    checkpoints_kept: int = 2,
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
      checkpoint_steps: steps between checkpoints within an epoch, or None.
      checkpoint_minutes: minutes between them, or None.
      checkpoints_kept: how many of the last to keep.
      steps_per_execution: how many steps TensorFlow takes before it returns to Python, at most: the
        largest number that divides those of an epoch, and `checkpoint_steps`, is taken; on several
        replicas 1.
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
    with_transformations = getattr(model, "pose", None) is not None
    rate_of = learning_rate if callable(learning_rate) else None
    _compile(model, rate_of(0) if rate_of else learning_rate, clip_norm, jit)
    interruption = Interruption()
    guard = FiniteGuard(lambda: checkpoints.latest)
    checkpoints = Checkpoints(
        model,
        run,
        steps,
        checkpoint_steps,
        checkpoint_minutes,
        checkpoints_kept,
        interruption,
        guard.check_weights,
    )
    position = checkpoints.restore()
    run.go_on(trains=position < steps * epochs)
    finished, step = divmod(position, steps)
    guard.steps_before = step
    log = MetricsLog(run, finished, data.train.num_images, step * batch_size)
    callbacks = [
        ScalarTerms(),
        guard,
        *([keras.callbacks.LearningRateScheduler(rate_of)] if rate_of else []),
        log,
        EpochSummaries(run),
        Pictures(run, data, binarization, transformation, pictures_every, epochs, seed),
        TimeEstimate(steps * epochs - position, later_seconds),
        checkpoints,
    ]
    batches = functools.partial(
        datasets.training_batches,
        *(data.train, batch_size, binarization, transformation, seed),
        with_transformations=with_transformations,
        views_per_image=views_per_image,
    )
    execution = functools.partial(
        _steps_per_execution, model, steps_per_execution, steps, checkpoint_steps or 0
    )
    validation = None
    if data.validation is not None:
        validation = datasets.validation_pairs(
            data.validation, batch_size, binarization, transformation, with_transformations
        )
    with interruption.noted():
        _fit(model, batches, execution, position, steps, epochs, validation, callbacks, verbose)
    _finish(model, run, interruption)
    return log.lines


def _compile(model: keras.Model, rate: float, clip_norm: float | None, jit: bool | None) -> None:
    with strategies.of(model).scope():
        optimizer = Adam(rate, global_clipnorm=clip_norm, name="adam")
        model.compile(optimizer=optimizer, jit_compile="auto" if jit is None else jit)
        model.optimizer.build(model.trainable_variables)  # The loss scaler's where there is one.


def _fit(
    model: keras.Model,
    batches: Callable[..., tf.data.Dataset],
    execution: Callable[[int], int],
    position: int,
    steps: int,
    epochs: int,
    validation: tf.data.Dataset | None,
    callbacks: list[keras.callbacks.Callback],
    verbose: int | str,
) -> None:
    """Takes the steps from `position` on; what is left of a broken epoch is a fit of its own."""
    epoch, step = divmod(position, steps)
    common = {
        "validation_data": validation,
        "callbacks": callbacks,
        "verbose": verbose,
        "shuffle": False,
    }
    if step:
        _set_steps_per_execution(model, execution(step))
        model.fit(
            batches(epochs=range(epoch, epochs), first_step=step),
            initial_epoch=epoch,
            epochs=epoch + 1,
            steps_per_epoch=steps - step,
            **common,
        )
        epoch += 1
    if epoch < epochs:
        _set_steps_per_execution(model, execution(0))
        model.fit(
            batches(epochs=range(epoch, epochs)),
            initial_epoch=epoch,
            epochs=epochs,
            steps_per_epoch=steps,
            **common,
        )


def default_steps_per_execution(model: keras.Model) -> int:
    """Returns 10 for a network of less than a million parameters, whose steps Python would delay."""
    return 10 if model.count_params() < 1_000_000 else 1


def largest_divisor(limit: int, *numbers: int) -> int:
    """Returns the largest number up to `limit`, 1 or more, that divides all of the others.

    >>> largest_divisor(50, 600, 0), largest_divisor(50, 600, 20), largest_divisor(2**31, 23)
    (50, 20, 23)
    """
    common = math.gcd(*numbers)
    return max(number for number in range(1, min(limit, common) + 1) if common % number == 0)


def _steps_per_execution(
    model: keras.Model, limit: int, steps: int, checkpoint_steps: int, first_step: int
) -> int:
    if strategies.of(model).num_replicas_in_sync > 1:
        return 1  # Keras' loop over steps fails on several replicas.
    return largest_divisor(limit, steps, first_step, checkpoint_steps)


def _set_steps_per_execution(model: keras.Model, steps: int) -> None:
    """Keras overruns an epoch whose steps it does not divide."""
    if model.steps_per_execution != steps:
        model.steps_per_execution = steps
        model.train_function = model.test_function = None  # Made for the steps before.


def _finish(model: keras.Model, run: Run, interruption: Interruption) -> None:
    """Writes the weights, unless a worker was told to stop; of its last step there is a checkpoint."""
    stopped_by = strategies.highest(strategies.of(model), interruption.signal or 0)
    if stopped_by:
        raise Interrupted(stopped_by)
    run.check_there()
    with files.whole_file(run.weights) as unfinished:
        weights.save(model, unfinished)
