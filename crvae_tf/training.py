"""Compile, fit, checkpoint and resume."""

import contextlib
import json
import logging
import os
import time
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from crvae_tf import datasets, figures, files, randomness
from crvae_tf.datasets import ImageData
from crvae_tf.errors import InputError
from crvae_tf.randomness import Purpose
from crvae_tf.runs import Run
from crvae_tf.transforms import RandomAffine

_LOGGER = logging.getLogger(__name__)

_CHECKPOINTS_KEPT = 2
_PICTURES = 16
_TIMED_STEPS = range(2, 8)


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
    pictures_every: int = 5,
    later_seconds: Callable[[], float] = lambda: 0.0,
    verbose: int | str = "auto",
) -> list[dict[str, float]]:
    """Trains `model` with Adam from its last checkpoint to the end, and writes its weights.

    Args:
      model: not compiled; built, with its weights as they begin.
      data: the images.
      run: where to keep checkpoints, metrics and weights.
      binarization: see `datasets.training_batches`.
      transformation: t(x~|x), or None to train on images alone.
      epochs: passes over the training images, 1 or more.
      batch_size: images in a step, over all replicas.
      learning_rate: of Adam, or a function that returns it for an epoch, counted from 0.
      seed: of every draw.
      pictures_every: epochs between reconstructions and samples in TensorBoard.
      later_seconds: about how long what follows the training takes; for the estimate that is logged.
      verbose: as in Keras' `fit`.

    Returns:
      One dictionary for each epoch: its number from 1 on, the mean of each term, and timings.

    Raises:
      InputError: the checkpoint does not fit the model.
    """
    steps = data.train.steps_per_epoch(batch_size)
    rate_of = learning_rate if callable(learning_rate) else None
    with _scope_of(model):
        first_rate = rate_of(0) if rate_of else learning_rate
        model.compile(optimizer=keras.optimizers.Adam(first_rate))
        model.optimizer.build(model.trainable_variables)
    checkpoints = Checkpoints(model, run)
    first_epoch = checkpoints.restore() // steps
    log = MetricsLog(run, first_epoch, data.train.num_images)
    callbacks = [
        *([keras.callbacks.LearningRateScheduler(rate_of)] if rate_of else []),
        log,
        keras.callbacks.TensorBoard(str(run.tensorboard), write_graph=False),
        Pictures(run, data, binarization, transformation, pictures_every, seed),
        TimeEstimate(steps, epochs, later_seconds),
        checkpoints,
    ]
    if first_epoch < epochs:
        model.fit(
            datasets.training_batches(
                data.train,
                batch_size,
                binarization,
                transformation,
                seed,
                range(first_epoch, epochs),
            ),
            initial_epoch=first_epoch,
            epochs=epochs,
            steps_per_epoch=steps,
            validation_data=_validation(data, batch_size, binarization, transformation),
            callbacks=callbacks,
            verbose=verbose,
            shuffle=False,
        )
    with files.whole_file(run.weights) as unfinished:
        save_weights(model, unfinished)
    return log.lines


def save_weights(model: keras.Model, path: str | os.PathLike) -> None:
    """Writes the model's weights, without the optimizer's, in Keras' format."""
    # Keras decides the format by the end of the name.
    target = f"{path}.weights.h5" if not str(path).endswith(".weights.h5") else str(path)
    model.save_weights(target)
    if target != str(path):
        os.replace(target, path)


def load_weights(model: keras.Model, path: str | os.PathLike) -> None:
    """Reads weights that `save_weights` wrote.

    Raises:
      InputError: there is no such file, or its weights are another model's.
    """
    if not os.path.exists(path):
        raise InputError(f"{path}: expected the weights of a finished run; received no such file")
    try:
        model.load_weights(str(path))
    except (ValueError, KeyError, OSError) as error:
        reason = " ".join(str(error).split())[:160]
        raise InputError(f"{path}: expected weights of this model; received {reason}") from error


def _validation(
    data: ImageData, batch_size: int, binarization: str, transformation: RandomAffine | None
) -> tf.data.Dataset | None:
    if data.validation is None:
        return None
    return datasets.validation_pairs(data.validation, batch_size, binarization, transformation)


def _scope_of(model: keras.Model):
    """Returns the scope of the strategy that the model's variables were made under."""
    strategy = getattr(model, "distribute_strategy", None)
    return strategy.scope() if strategy else contextlib.nullcontext()


class Checkpoints(keras.callbacks.Callback):
    """Keeps the weights and the optimizer's state of the last epochs.

    Args:
      model: compiled, its optimizer built.
      run: where to keep them.
    """

    def __init__(self, model: keras.Model, run: Run):
        super().__init__()
        self._optimizer = model.optimizer
        self._checkpoint = tf.train.Checkpoint(model=model, optimizer=model.optimizer)
        self._manager = tf.train.CheckpointManager(
            self._checkpoint, str(run.checkpoints), _CHECKPOINTS_KEPT
        )

    def restore(self) -> int:
        """Restores the last checkpoint, if there is one, and returns the steps taken so far.

        Raises:
          InputError: it is not this model's.
        """
        latest = self._manager.latest_checkpoint
        if latest is None:
            return 0
        try:
            self._checkpoint.restore(latest).assert_consumed()
        except (AssertionError, ValueError, tf.errors.OpError) as error:
            reason = " ".join(str(error).split())[:160]
            raise InputError(
                f"{latest}: expected a checkpoint of this model; received {reason}"
            ) from error
        return int(self._optimizer.iterations)

    def on_epoch_end(self, epoch, logs=None):
        self._manager.save()


class MetricsLog(keras.callbacks.Callback):
    """Writes one line of JSON to `metrics.jsonl` at the end of each epoch.

    Args:
      run: whose lines to go on from.
      first_epoch: epochs finished before; later lines are left out.
      num_images: of an epoch.
    """

    def __init__(self, run: Run, first_epoch: int, num_images: int):
        super().__init__()
        self._path = run.metrics
        self._num_images = num_images
        self.lines = run.read_metrics()[:first_epoch]
        self._write()

    def on_epoch_begin(self, epoch, logs=None):
        self._began = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        seconds = time.perf_counter() - self._began
        terms = {name: float(np.squeeze(value)) for name, value in (logs or {}).items()}
        timing = {"seconds": seconds, "images_per_second": self._num_images / seconds}
        self.lines.append({"epoch": epoch + 1} | terms | timing)
        self._write()

    def _write(self) -> None:
        files.write_text(self._path, "".join(json.dumps(line) + "\n" for line in self.lines))


class TimeEstimate(keras.callbacks.Callback):
    """Says after the first steps how long the whole run will take.

    Args:
      steps: in an epoch.
      epochs: in the run.
      later_seconds: returns how long what follows the training takes.
    """

    def __init__(self, steps: int, epochs: int, later_seconds: Callable[[], float]):
        super().__init__()
        self._steps = steps
        self._epochs = epochs
        self._later_seconds = later_seconds
        self._seconds = []
        self._first_epoch = None

    def on_epoch_begin(self, epoch, logs=None):
        if self._first_epoch is None:
            self._first_epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        self._began = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        if len(self._seconds) == _TIMED_STEPS.stop:
            return
        self._seconds.append(time.perf_counter() - self._began)
        if len(self._seconds) == _TIMED_STEPS.stop:
            self._report()

    def _report(self) -> None:
        step = float(np.median(self._seconds[_TIMED_STEPS.start :]))
        training = step * self._steps * (self._epochs - self._first_epoch)
        later = self._later_seconds()
        # The line before is Keras' progress bar, which does not end.
        _LOGGER.info(
            "\nthis run takes about %s here: %s to train at %.3g s a step, %s to evaluate",
            *(_duration(training + later), _duration(training), step, _duration(later)),
        )
        if training + later > 3600.0 and not tf.config.list_physical_devices("GPU"):
            _LOGGER.info(
                "without an accelerator --flagfile=mnist_mlp.flags is quicker, "
                "and --flagfile=digits.flags takes minutes"
            )


def _duration(seconds: float) -> str:
    """Returns a time in the unit a person would use.

    >>> _duration(42.0), _duration(600.0), _duration(86400.0)
    ('42 s', '10.0 minutes', '24.0 hours')
    """
    if seconds < 120.0:
        return f"{seconds:.0f} s"
    if seconds < 7200.0:
        return f"{seconds / 60.0:.1f} minutes"
    return f"{seconds / 3600.0:.1f} hours"


class Pictures(keras.callbacks.Callback):
    """Shows reconstructions and samples in TensorBoard.

    Args:
      run: where TensorBoard's files lie.
      data: whose first test images are shown.
      binarization: as in training.
      transformation: as in training.
      every: epochs between pictures; the last epoch always has some.
      seed: of the samples.
    """

    def __init__(
        self,
        run: Run,
        data: ImageData,
        binarization: str,
        transformation: RandomAffine | None,
        every: int,
        seed: int,
    ):
        super().__init__()
        self._directory = str(run.tensorboard / "pictures")
        self._every = every
        self._seed = seed
        self._images = [
            first_images(data, binarization, t, _PICTURES)
            for t in ((None,) if transformation is None else (None, transformation))
        ]

    def on_epoch_end(self, epoch, logs=None):
        if (epoch + 1) % self._every and epoch + 1 != self.params["epochs"]:
            return
        rows = []
        for images in self._images:
            rows += [images, reconstructions(self.model, images)]
        with tf.summary.create_file_writer(self._directory).as_default(step=epoch + 1):
            tf.summary.image("reconstructions", figures.tiled(rows)[np.newaxis])
            drawn = samples(self.model, 4 * _PICTURES, self._seed)
            tf.summary.image("samples", figures.tiled(np.split(drawn, 4))[np.newaxis])


def first_images(
    data: ImageData, binarization: str, transformation: RandomAffine | None, number: int
) -> np.ndarray:
    """Returns the first `number` test images or their views, float32 `[number, H, W, C]`."""
    batches = datasets.evaluation_batches(data.test, number, binarization, transformation, number)
    return next(images for _, images, _ in batches.as_numpy_iterator())


def reconstructions(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """Returns the likelihood's mean at the posterior's mean, `[batch, H, W, C]`."""
    return model.likelihood(model.posterior(tf.constant(images)).mean()).mean().numpy()


def samples(model: keras.Model, number: int, seed: int) -> np.ndarray:
    """Returns the likelihood's mean at `number` draws of the prior, `[number, H, W, C]`."""
    latents = model.prior.sample(number, seed=randomness.key(seed, Purpose.PRIOR))
    return model.likelihood(latents).mean().numpy()
