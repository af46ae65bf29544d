"""Keras callbacks of a training: the log, the estimate of its length and pictures."""

import json
import logging
import time
from collections.abc import Callable
from typing import NoReturn

import keras
import numpy as np
import tensorflow as tf

from crvae_tf import drawing, files
from crvae_tf.datasets import ImageData
from crvae_tf.errors import NotFiniteError
from crvae_tf.runs import Run
from crvae_tf.transforms import RandomAffine

_LOGGER = logging.getLogger(__name__)

_PICTURES = 16
_TIMED_STEPS = range(2, 8)


class ScalarTerms(keras.callbacks.Callback):
    """Makes scalars of the terms, which several workers return as vectors of one; the first callback.

    See keras issue 20585 and `BoundMaximizer`.
    """

    def on_train_batch_end(self, batch, logs=None):
        self._to_scalars(logs)

    def on_epoch_end(self, epoch, logs=None):
        self._to_scalars(logs)

    @staticmethod
    def _to_scalars(logs: dict | None) -> None:
        for name, value in (logs or {}).items():
            logs[name] = float(np.squeeze(value))


class MetricsLog(keras.callbacks.Callback):
    """Writes one line of JSON to `metrics.jsonl` at the end of each epoch.

    Args:
      run: whose lines to go on from.
      first_epoch: epochs finished before; later lines are left out.
      num_images: of an epoch.
      images_before: of the next epoch, seen before the training was broken off. Its `seconds` are those
        since then.
    """

    def __init__(self, run: Run, first_epoch: int, num_images: int, images_before: int = 0):
        super().__init__()
        self._run = run
        self._num_images = num_images
        self._images_before = images_before
        self.lines = [line for line in run.read_metrics() if line["epoch"] <= first_epoch]
        if len(self.lines) != first_epoch:
            _LOGGER.warning(
                "%s has lines of %d of the %d epochs that were trained: going on without the others",
                *(run.metrics, len(self.lines), first_epoch),
            )
        self._write()

    def on_epoch_begin(self, epoch, logs=None):
        self._began = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        seconds = time.perf_counter() - self._began
        seen = self._num_images - self._images_before
        self._images_before = 0
        timing = {"seconds": seconds, "images_per_second": seen / seconds}
        self.lines.append({"epoch": epoch + 1} | (logs or {}) | timing)
        self._write()

    def _write(self) -> None:
        self._run.check_there()
        files.write_text(self._run.metrics, "".join(json.dumps(line) + "\n" for line in self.lines))


class EpochSummaries(keras.callbacks.TensorBoard):
    """Writes the means of each epoch for TensorBoard.

    Keras' own also makes a summary of every step, which is written nowhere unless that is asked for,
    and TensorFlow keeps every number of Python's that it makes a tensor of, but no array: 50 MiB in
    1,000 epochs of 10 steps.

    Args:
      run: where TensorBoard's files lie.
    """

    def __init__(self, run: Run):
        super().__init__(str(run.tensorboard), write_graph=False)

    def on_train_batch_end(self, batch, logs=None):
        pass

    def on_test_end(self, logs=None):
        super().on_test_end(self._as_arrays(logs))

    def on_epoch_end(self, epoch, logs=None):
        super().on_epoch_end(np.int64(epoch), self._as_arrays(logs))

    @staticmethod
    def _as_arrays(logs: dict | None) -> dict:
        return {name: np.asarray(value, np.float32) for name, value in (logs or {}).items()}


class FiniteGuard(keras.callbacks.Callback):
    """Stops the run when a term of the objective, the gradient or a weight is NaN or infinite.

    Terms and gradients are looked at after each step, weights at the end of an epoch and whenever
    `check_weights` is called.

    Args:
      latest_checkpoint: returns the path of the last checkpoint, or None.

    Attributes:
      steps_before: of the next epoch, taken before the training was broken off; Keras counts from then.
    """

    def __init__(self, latest_checkpoint: Callable[[], str | None]):
        super().__init__()
        self._latest_checkpoint = latest_checkpoint
        self.steps_before = 0

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch

    def on_train_batch_begin(self, batch, logs=None):
        self._first = batch

    def on_train_batch_end(self, batch, logs=None):
        self._last = batch
        broken = [name for name, value in (logs or {}).items() if not np.all(np.isfinite(value))]
        if broken:
            # The model makes the loss NaN where its gradient is not finite.
            values = [f"{name} = {logs[name]}" for name in broken]
            self._stop("a gradient that is not" if broken == ["loss"] else ", ".join(values))

    def on_epoch_end(self, epoch, logs=None):
        self.check_weights()
        self.steps_before = 0

    def check_weights(self) -> None:
        """Raises NotFiniteError if the last step has left a weight that is not finite."""
        for weight in self.model.weights:
            if not np.all(tf.math.is_finite(tf.cast(weight.value, tf.float32))):
                self._stop(f"the weight {weight.path}, which is not")

    def _stop(self, received: str) -> NoReturn:
        kept = self._latest_checkpoint() or "none yet"
        first, last = (self.steps_before + batch + 1 for batch in (self._first, self._last))
        several = first < last  # As steps_per_execution may say.
        steps = f"steps {first} to {last}" if several else f"step {last}"
        raise NotFiniteError(
            f"epoch {self._epoch + 1}, {steps}: expected finite terms, weights and a finite gradient; "
            f"received {received}; the last good checkpoint is {kept}; --clip_norm, --min_stddev or a "
            "lower --learning_rate may help"
        )


class TimeEstimate(keras.callbacks.Callback):
    """Says after the first steps how long the whole run will take.

    Args:
      steps: that are still to be taken.
      later_seconds: returns how long what follows the training takes.
    """

    def __init__(self, steps: int, later_seconds: Callable[[], float]):
        super().__init__()
        self._steps = steps
        self._later_seconds = later_seconds
        self._seconds = []

    def on_train_batch_begin(self, batch, logs=None):
        self._first = batch
        self._began = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        if len(self._seconds) == _TIMED_STEPS.stop:
            return
        steps = batch + 1 - self._first
        self._seconds.append((time.perf_counter() - self._began) / steps)
        if len(self._seconds) == _TIMED_STEPS.stop:
            self._report()

    def _report(self) -> None:
        step = float(np.median(self._seconds[_TIMED_STEPS.start :]))
        training = step * self._steps
        later = self._later_seconds()
        # The line before is Keras' progress bar, which does not end.
        _LOGGER.info(
            "\nthis run takes about %s here: %s to train at %.3g s a step, %s to evaluate",
            *(_duration(training + later), _duration(training), step, _duration(later)),
        )
        accelerators = [d for kind in ("GPU", "TPU") for d in tf.config.list_logical_devices(kind)]
        if training + later > 3600.0 and not accelerators:
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
      every: epochs between pictures.
      epochs: of the run; the last always has pictures.
      seed: of the samples.
    """

    def __init__(
        self,
        run: Run,
        data: ImageData,
        binarization: str,
        transformation: RandomAffine | None,
        every: int,
        epochs: int,
        seed: int,
    ):
        super().__init__()
        self._directory = str(run.tensorboard / "pictures")
        self._every = every
        self._epochs = epochs
        self._seed = seed
        self._images = [
            drawing.first_images(data, binarization, t, _PICTURES)
            for t in ((None,) if transformation is None else (None, transformation))
        ]

    def on_epoch_end(self, epoch, logs=None):
        if (epoch + 1) % self._every and epoch + 1 != self._epochs:
            return
        rows = []
        for images in self._images:
            rows += [images, drawing.reconstructions(self.model, images)]
        with tf.summary.create_file_writer(self._directory).as_default(step=epoch + 1):
            tf.summary.image("reconstructions", drawing.tiled(rows)[np.newaxis])
            drawn = drawing.samples(self.model, 4 * _PICTURES, self._seed)
            tf.summary.image("samples", drawing.tiled(np.split(drawn, 4))[np.newaxis])
