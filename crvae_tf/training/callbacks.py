"""Keras callbacks of a training: the log, TensorBoard, and its progress."""

import datetime
import json
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

import keras
import numpy as np
import tensorflow as tf

from crvae_tf.errors import NotFiniteError
from crvae_tf.runs import drawing, files
from crvae_tf.runs.run import Run
from crvae_tf.training import checkpoints

_LOGGER = logging.getLogger(__name__)

_PICTURES_EVERY = 5
"""Epochs between pictures."""
_SAMPLES = 64
_WARM_UP, _TIMED = 2, 8
"""Calls that are not timed, and the last that is."""
_SECONDS_BETWEEN_LINES = 60.0
_TERMS = ("loss", "val_loss", "rate", "distortion", "consistency")
"""The terms that a line of progress shows."""


class MetricsLog(keras.callbacks.Callback):
    """Writes one line of JSON to `metrics.jsonl` at the end of each epoch.

    Args:
      run: keeps the lines; those after the finished epochs are dropped.
      epochs: finished before.
      num_images: of an epoch.
      seen: images of the next epoch that were seen before; its `seconds` count from there.
    """

    def __init__(self, run: Run, epochs: int, num_images: int, seen: int):
        super().__init__()
        self._run = run
        self._num_images = num_images
        self._seen = seen
        self.lines = [line for line in run.read_metrics() if line["epoch"] <= epochs]
        if len(self.lines) != epochs:
            told = "%s has lines of %d of the %d epochs that were trained: going on without the others"
            _LOGGER.warning(told, run.metrics, len(self.lines), epochs)
        run.check_there()
        run.directory.mkdir(parents=True, exist_ok=True)
        self._write()

    def on_epoch_begin(self, epoch, logs=None):
        self._began = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        seconds = time.perf_counter() - self._began
        rate = (self._num_images - self._seen) / seconds
        self._seen = 0
        timing = {"seconds": seconds, "images_per_second": rate}
        self.lines.append({"epoch": epoch + 1} | (logs or {}) | timing)
        self._write()

    def _write(self) -> None:
        self._run.check_there()
        text = "".join(json.dumps(line) + "\n" for line in self.lines)
        files.write_text(self._run.metrics, text, parents=False)


class TensorBoard(keras.callbacks.Callback):
    """Shows the means of each epoch, counted from 1, and reconstructions and samples in TensorBoard.

    Keras' own callback leaks memory: TensorFlow keeps every Python number that becomes a tensor for as
    long as the process lives, but no array.

    Args:
      run: where TensorBoard's files lie.
      rows: images to reconstruct, each `[images, H, W, C]`.
      epochs: of the run; the last always has pictures.
      seed: of the samples.
    """

    def __init__(self, run: Run, rows: Sequence[np.ndarray], epochs: int, seed: int):
        super().__init__()
        self._run = run
        self._rows = rows
        self._epochs = epochs
        self._seed = seed
        self._writers = {}

    def on_epoch_end(self, epoch, logs=None):
        step = np.int64(epoch + 1)
        for name, value in (logs or {}).items():
            folder = "validation" if name.startswith("val_") else "train"
            with self._writer(folder).as_default(step=step):
                tf.summary.scalar(f"epoch_{name.removeprefix('val_')}", np.float32(value))
        if step % _PICTURES_EVERY == 0 or step == self._epochs:
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
        for images in self._rows:
            rows += [images, drawing.reconstructions(self.model, images)]
        tf.summary.image("reconstructions", drawing.tiled(rows)[np.newaxis])
        samples = drawing.samples(self.model, _SAMPLES, self._seed)
        tf.summary.image("samples", drawing.tiled(np.split(samples, 4))[np.newaxis])


class FiniteGuard(keras.callbacks.Callback):
    """Stops the run when a term of the objective, the gradient or a weight is NaN or infinite.

    It checks terms and gradients after each step, and weights at the end of each epoch and in
    `check_weights`. The error names the last checkpoint in `folder`, if there is one.
    """

    def __init__(self, folder: Path | None):
        super().__init__()
        self._folder = folder

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        self._step = batch
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
        kept = checkpoints.found(self._folder) if self._folder else []
        together = self.model.steps_per_execution
        steps = f"steps {self._step + 2 - together} to" if together > 1 else "step"
        raise NotFiniteError(
            f"epoch {self._epoch + 1}, {steps} {self._step + 1}: expected finite terms, weights and a "
            f"finite gradient; received {received}; the last good checkpoint is "
            f"{kept[-1] if kept else 'none yet'}; a lower learning rate or a clip_norm may help"
        )


class Progress(keras.callbacks.Callback):
    """Logs how long the run takes, then a line an epoch, or a minute within one, with the time left.

    Args:
      epochs: of the run.
      steps_per_epoch: of the training.
      position: steps taken before.
      later_seconds: returns how long what follows the training takes.
    """

    def __init__(
        self, epochs: int, steps_per_epoch: int, position: int, later_seconds: Callable[[], float]
    ):
        super().__init__()
        self._epochs, self._steps_per_epoch = epochs, steps_per_epoch
        self._position, self._later_seconds = position, later_seconds
        self._steps = epochs * steps_per_epoch
        self._seconds = []

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch
        self._epoch_began = self._told = time.perf_counter()

    def on_train_batch_begin(self, batch, logs=None):
        self._began = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        now = time.perf_counter()
        if len(self._seconds) < _TIMED:
            self._time(now)
        elif now - self._told > _SECONDS_BETWEEN_LINES:
            self._told = now
            self._tell(f" step {batch + 1}/{self._steps_per_epoch}", logs or {}, batch + 1, now)

    def on_epoch_end(self, epoch, logs=None):
        self._tell("", logs or {}, self._steps_per_epoch, time.perf_counter())

    def _time(self, now: float) -> None:
        self._seconds.append(now - self._began)
        if len(self._seconds) == _TIMED:
            call = float(np.median(self._seconds[_WARM_UP:]))
            self._estimate(call / self.model.steps_per_execution)

    def _estimate(self, step: float) -> None:
        training, later = step * (self._steps - self._position), self._later_seconds()
        whole, *parts = (
            datetime.timedelta(seconds=round(s)) for s in (training + later, training, later)
        )
        told = "this run takes about %s here: %s to train at %.3g s a step, %s to evaluate"
        _LOGGER.info(told, whole, parts[0], step, parts[1])
        if training + later > 3600.0 and not tf.config.list_logical_devices("GPU"):
            _LOGGER.info(
                "without a GPU flagfiles/mnist_mlp.flags is quicker; digits.flags takes minutes"
            )

    def _tell(self, place: str, logs: dict[str, float], steps: int, now: float) -> None:
        """Logs where the training is; the time left is at the pace of this epoch."""
        seconds = now - self._epoch_began
        first = max(self._position - self._epoch * self._steps_per_epoch, 0)
        left = self._steps - self._epoch * self._steps_per_epoch - steps
        rest = f", {duration(seconds / (steps - first) * left)} left" if left else ""
        terms = [f"{n.removesuffix('_loss')} {logs[n]:.1f}" for n in _TERMS if n in logs]
        where = f"epoch {self._epoch + 1}/{self._epochs}{place}"
        _LOGGER.info("%s", "  ".join([where, *terms, f"{duration(seconds)}{rest}"]))


def duration(seconds: float) -> str:
    """Returns a time in its largest fitting unit.

    >>> duration(41.2), duration(640.0), duration(9000.0), duration(311040.0)
    ('41 s', '11 min', '2.5 h', '3.6 days')
    """
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    if seconds < 5970.0:
        return f"{seconds / 60.0:.0f} min"
    return f"{seconds / 3600.0:.1f} h" if seconds < 172800.0 else f"{seconds / 86400.0:.1f} days"
