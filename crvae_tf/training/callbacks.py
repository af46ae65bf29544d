"""Keras callbacks of a training: the log, TensorBoard, its progress, and checkpoints to resume from."""

import datetime
import json
import logging
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

import keras
import numpy as np
import tensorflow as tf

from crvae_tf.errors import InputError, Interrupted, NotFiniteError, reason
from crvae_tf.runs import drawing, files
from crvae_tf.runs.run import Run
from crvae_tf.training import strategies

_LOGGER = logging.getLogger(__name__)

_PICTURES_EVERY = 5  # Epochs.
_SAMPLES = 64
_WARM_UP, _TIMED = 2, 8  # Calls that trace and are not timed, and the one after which is estimated.
_SECONDS_BETWEEN_LINES = 60.0
_SHOWN_TERMS = ("loss", "val_loss", "rate", "distortion", "consistency")
_PREFIX = "ckpt-"
_KEPT = 2
_DUE = 1  # Of a checkpoint that is due; the numbers of SIGINT and SIGTERM are higher.


class MetricsLog(keras.callbacks.Callback):
    """Writes one line of JSON to `metrics.jsonl` at the end of each epoch of `num_images`.

    Lines after the `epochs` that are finished are dropped. Of the next epoch, `seen` images were seen
    before; its `seconds` count from there.
    """

    def __init__(self, run: Run, epochs: int, num_images: int, seen: int):
        super().__init__()
        self._run, self._num_images, self._seen = run, num_images, seen
        self.lines = [line for line in run.read_metrics() if line["epoch"] <= epochs]
        self._write()

    def on_epoch_begin(self, epoch, logs=None):
        self._began = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        seconds = time.perf_counter() - self._began
        timing = {"seconds": seconds, "images_per_second": (self._num_images - self._seen) / seconds}
        self._seen = 0
        self.lines.append({"epoch": epoch + 1} | (logs or {}) | timing)
        self._write()

    def _write(self) -> None:
        self._run.check_there()
        text = "".join(json.dumps(line) + "\n" for line in self.lines)
        files.write_text(self._run.metrics, text, parents=False)


class TensorBoard(keras.callbacks.Callback):
    """Shows the means of each epoch, reconstructions of `rows` of images, and samples in TensorBoard.

    Keras' own callback leaks memory: TensorFlow keeps every Python number that becomes a tensor for as
    long as the process lives, but no array.
    """

    def __init__(self, run: Run, rows: Sequence[np.ndarray], epochs: int, seed: int):
        super().__init__()
        self._run, self._rows, self._epochs, self._seed = run, rows, epochs, seed
        self._writers = {}

    def on_epoch_end(self, epoch, logs=None):
        step = np.int64(epoch + 1)
        for name, value in (logs or {}).items():
            with self._writer("validation" if name.startswith("val_") else "train", step):
                tf.summary.scalar(f"epoch_{name.removeprefix('val_')}", np.float32(value))
        if step % _PICTURES_EVERY == 0 or step == self._epochs:
            with self._writer("pictures", step):
                self._draw()
        for writer in self._writers.values():
            writer.flush()

    def _writer(self, folder: str, step: np.int64):
        if folder not in self._writers:
            place = str(self._run.tensorboard / folder)
            self._writers[folder] = tf.summary.create_file_writer(place)
        return self._writers[folder].as_default(step=step)

    def _draw(self) -> None:
        rows = [row for row in self._rows for row in (row, drawing.reconstructions(self.model, row))]
        tf.summary.image("reconstructions", drawing.tiled(rows)[np.newaxis])
        samples = drawing.samples(self.model, _SAMPLES, self._seed)
        tf.summary.image("samples", drawing.tiled(np.split(samples, 4))[np.newaxis])


class FiniteGuard(keras.callbacks.Callback):
    """Stops the run when a term or gradient of a step, or a weight after an epoch, is not finite.

    The error names the last checkpoint in `folder`, if there is one.
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
            values = ", ".join(f"{name} = {logs[name]}" for name in broken)
            self._stop("a gradient that is not" if broken == ["loss"] else values)

    def on_epoch_end(self, epoch, logs=None):
        self.check_weights()

    def check_weights(self) -> None:
        """Raises NotFiniteError if the last step has left a weight that is not finite."""
        for weight in self.model.weights:
            if not np.all(tf.math.is_finite(tf.cast(weight.value, tf.float32))):
                self._stop(f"the weight {weight.path}, which is not")

    def _stop(self, received: str) -> NoReturn:
        kept = found_checkpoints(self._folder) if self._folder else []
        raise NotFiniteError(
            f"epoch {self._epoch + 1}, step {self._step + 1}: expected finite terms, weights and a "
            f"finite gradient; received {received}; the last good checkpoint is "
            f"{kept[-1] if kept else 'none yet'}; a lower learning rate or a clip_norm may help"
        )


class Progress(keras.callbacks.Callback):
    """Logs how long the run takes, then a line an epoch, or a minute within one, with the time left."""

    def __init__(self, epochs: int, steps_per_epoch: int, later_seconds: Callable[[], float]):
        super().__init__()
        self._epochs, self._steps, self._later_seconds = epochs, steps_per_epoch, later_seconds
        self._calls = 0

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch
        self._began = self._told = time.perf_counter()

    def on_train_batch_end(self, batch, logs=None):
        self._calls += 1
        now, done = time.perf_counter(), self._epoch * self._steps + batch + 1
        if self._calls <= _WARM_UP:
            self._timed_from = now, done
        elif self._calls == _TIMED:
            self._estimate(now, done)
        elif now - self._told > _SECONDS_BETWEEN_LINES:
            self._told = now
            self._tell(f" step {batch + 1}/{self._steps}", logs or {}, now, done)

    def on_epoch_end(self, epoch, logs=None):
        self._tell("", logs or {}, time.perf_counter(), (epoch + 1) * self._steps)

    def _step_seconds(self, now: float, done: int) -> float:
        began, first = self._timed_from
        return (now - began) / (done - first) if done > first else 0.0

    def _estimate(self, now: float, done: int) -> None:
        step, later = self._step_seconds(now, done), self._later_seconds()
        training = step * (self._epochs * self._steps - done)
        told = "this run takes about %s here: %s to train at %.3g s a step, %s to evaluate"
        _LOGGER.info(told, _clock(training + later), _clock(training), step, _clock(later))
        if training + later > 3600.0 and not tf.config.list_logical_devices("GPU"):
            _LOGGER.info(
                "without a GPU flagfiles/mnist_mlp.flags is quicker; digits.flags takes minutes"
            )

    def _tell(self, place: str, logs: dict[str, float], now: float, done: int) -> None:
        left = self._step_seconds(now, done) * (self._epochs * self._steps - done)
        rest = f", {_clock(left)} left" if left > 0.0 else ""
        terms = [f"{n.removesuffix('_loss')} {logs[n]:.1f}" for n in _SHOWN_TERMS if n in logs]
        where = f"epoch {self._epoch + 1}/{self._epochs}{place}"
        _LOGGER.info("  ".join([where, *terms, f"{_clock(now - self._began)}{rest}"]))


def _clock(seconds: float) -> str:
    return str(datetime.timedelta(seconds=round(seconds)))


class Checkpoints(keras.callbacks.Callback):
    """Keeps the weights, the optimizer's state and the epoch's means so far.

    It writes a checkpoint at the end of each epoch of so many `steps`, every so many minutes within it
    unless `check` raises, and when one of `signals` has told the run to stop. The last two are kept. A
    run that resumes ends with the same bits as one that never stopped.
    """

    def __init__(
        self,
        model: keras.Model,
        run: Run,
        steps: int,
        every_minutes: float | None,
        check: Callable[[], None],
        signals: Sequence[int],
    ):
        super().__init__()
        self._run, self._steps, self._check, self._signals = run, steps, check, signals
        self._strategy = model.distribute_strategy
        self._every_seconds = math.inf if every_minutes is None else 60.0 * every_minutes
        self._position = tf.Variable(0, dtype=tf.int64, trainable=False)
        means = [v.value for metric in model.metrics for v in metric.variables]
        parts = {"model": model, "optimizer": model.optimizer, "means": means}
        self._checkpoint = tf.train.Checkpoint(**parts, position=self._position)
        self._saved_at = time.monotonic()

    def restore(self) -> int:
        """Restores the last readable checkpoint and returns the steps taken so far, 0 without one.

        Raises InputError if they are another model's or unreadable, or a worker has read a later one.
        """
        folder = self._run.resumed_checkpoints
        paths = found_checkpoints(folder)
        if paths and not any(map(self._restored, reversed(paths))):
            raise InputError(str(paths[-1]), "a readable checkpoint", "none that is")
        position = int(self._position.numpy())
        latest = strategies.highest(self._strategy, position)
        if position < latest:
            expected = f"the checkpoint of step {latest}, which another worker goes on from"
            raise InputError(str(folder), expected, position or "none")
        return position

    def _restored(self, path: Path) -> bool:
        try:
            self._checkpoint.read(str(path)).assert_consumed()
        except files.DAMAGED_VARIABLES:
            _LOGGER.warning("%s cannot be read: going on from the checkpoint before it", path)
            return False
        except (AssertionError, ValueError) as error:
            raise InputError(str(path), "a checkpoint of this model", reason(error)) from error
        return True

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if batch + 1 == self._steps:
            return  # The end of the epoch keeps one, when validation and the log are done.
        is_due = time.monotonic() - self._saved_at >= self._every_seconds
        demand = strategies.highest(self._strategy, max([_DUE * is_due, *self._signals]))
        if demand:
            self._check()
            self._save(self._epoch * self._steps + batch + 1)
        if demand > _DUE:
            raise Interrupted(demand)

    def on_epoch_end(self, epoch, logs=None):
        self._save((epoch + 1) * self._steps)
        self.stop_if_told()

    def stop_if_told(self) -> None:
        """Raises Interrupted if a worker was told to stop."""
        if number := strategies.highest(self._strategy, max(self._signals, default=0)):
            raise Interrupted(number)

    def _save(self, position: int) -> None:
        self._position.assign(position)
        self._run.check_there()
        folder = self._run.checkpoints
        unfinished = f"{files.UNFINISHED}{_PREFIX}{position}"
        self._checkpoint.write(str(folder / unfinished))
        # TensorFlow writes the index in place. Renamed last, it is there when all of the checkpoint is.
        for part in sorted(folder.glob(f"{unfinished}.*")):
            part.replace(folder / part.name.removeprefix(files.UNFINISHED))
        kept = {path.name for path in found_checkpoints(folder)[-_KEPT:]}
        for path in folder.glob(f"{_PREFIX}*"):  # What killed processes left behind, too.
            if path.stem not in kept:
                files.remove(path)
        self._saved_at = time.monotonic()


def found_checkpoints(folder: Path) -> list[Path]:
    """Returns the checkpoints in a folder, the oldest first."""
    paths = [path.with_suffix("") for path in folder.glob(f"{_PREFIX}*.index")]
    return sorted(paths, key=lambda path: int(path.name.removeprefix(_PREFIX)))
