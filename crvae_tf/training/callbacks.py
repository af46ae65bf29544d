"""Keras callbacks of a training: the log, TensorBoard, and the estimate of its length."""

import json
import logging
import time
from collections.abc import Callable
from typing import NoReturn

import keras
import numpy as np
import tensorflow as tf

from crvae_tf.datasets import ImageData
from crvae_tf.errors import NotFiniteError
from crvae_tf.runs import drawing, files
from crvae_tf.runs.run import Run
from crvae_tf.transforms import RandomAffine

_LOGGER = logging.getLogger(__name__)

_PICTURES = 16
_TIMED_STEPS = range(2, 8)


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
        run.check_there()
        run.directory.mkdir(parents=True, exist_ok=True)
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
        text = "".join(json.dumps(line) + "\n" for line in self.lines)
        files.write_text(self._run.metrics, text, parents=False)


class TensorBoard(keras.callbacks.Callback):
    """Shows the means of each epoch, counted from 1, and reconstructions and samples in TensorBoard.

    TensorFlow keeps every number of Python's that it makes a tensor of for as long as the process
    lives, but no array: 50 MiB in 1,000 epochs of 10 steps with Keras' own callback.

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
        self._run = run
        self._every = every
        self._epochs = epochs
        self._seed = seed
        self._writers = {}
        self._images = [
            drawing.first_images(data, binarization, t, _PICTURES)
            for t in ((None,) if transformation is None else (None, transformation))
        ]

    def on_epoch_end(self, epoch, logs=None):
        step = np.int64(epoch + 1)
        for name, value in (logs or {}).items():
            folder = "validation" if name.startswith("val_") else "train"
            with self._writer(folder).as_default(step=step):
                tf.summary.scalar(f"epoch_{name.removeprefix('val_')}", np.float32(value))
        if step % self._every == 0 or step == self._epochs:
            with self._writer("pictures").as_default(step=step):
                self._draw()
        for writer in self._writers.values():
            writer.flush()

    def _writer(self, folder: str) -> tf.summary.SummaryWriter:
        if folder not in self._writers:
            self._run.check_there()
            place = str(self._run.tensorboard / folder)
            self._writers[folder] = tf.summary.create_file_writer(place)
        return self._writers[folder]

    def _draw(self) -> None:
        rows = []
        for images in self._images:
            rows += [images, drawing.reconstructions(self.model, images)]
        tf.summary.image("reconstructions", drawing.tiled(rows)[np.newaxis])
        drawn = drawing.samples(self.model, 4 * _PICTURES, self._seed)
        tf.summary.image("samples", drawing.tiled(np.split(drawn, 4))[np.newaxis])


class FiniteGuard(keras.callbacks.Callback):
    """Stops the run when a term of the objective, the gradient or a weight is NaN or infinite.

    Terms and gradients are looked at after each step, weights at the end of an epoch and whenever
    `check_weights` is called.

    Args:
      latest_checkpoint: returns the path of the last checkpoint, or None.
    """

    def __init__(self, latest_checkpoint: Callable[[], str | None]):
        super().__init__()
        self._latest_checkpoint = latest_checkpoint

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

    def check_weights(self) -> None:
        """Raises NotFiniteError if the last step has left a weight that is not finite."""
        for weight in self.model.weights:
            if not np.all(tf.math.is_finite(tf.cast(weight.value, tf.float32))):
                self._stop(f"the weight {weight.path}, which is not")

    def _stop(self, received: str) -> NoReturn:
        kept = self._latest_checkpoint() or "none yet"
        several = self._first < self._last  # As steps_per_execution may say.
        steps = f"steps {self._first + 1} to" if several else "step"
        raise NotFiniteError(
            f"epoch {self._epoch + 1}, {steps} {self._last + 1}: expected finite terms, weights and a "
            f"finite gradient; received {received}; the last good checkpoint is {kept}; a lower "
            "learning rate or a clip_norm may help"
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
        if training + later > 3600.0 and not tf.config.list_logical_devices("GPU"):
            _LOGGER.info(
                "without a GPU flagfiles/mnist_mlp.flags is quicker; digits.flags takes minutes"
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
