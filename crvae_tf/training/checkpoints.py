"""Checkpoints, from which a run resumes at any step."""

import logging
import math
import time
from collections.abc import Callable
from pathlib import Path

import keras
import tensorflow as tf

from crvae_tf.errors import InputError, Interrupted, reason
from crvae_tf.runs import files
from crvae_tf.runs.files import DAMAGED_VARIABLES
from crvae_tf.runs.run import Run
from crvae_tf.training import strategies

_LOGGER = logging.getLogger(__name__)

_PREFIX = "ckpt-"
_KEPT = 2
_DUE = 1
"""A checkpoint is due; the numbers of SIGINT and SIGTERM are higher."""


class Checkpoints(keras.callbacks.Callback):
    """Keeps the weights, the optimizer's state and the epoch's means so far.

    It writes a checkpoint at the end of each epoch, now and then within it, and when the run is told to
    stop; the last two are kept. A run that resumes ends with the same bits as one that never stopped.

    Args:
      model: compiled, its optimizer built.
      run: keeps them.
      steps_per_epoch: of the training.
      every_minutes: minutes between checkpoints within an epoch, or None for none.
      check: is called before a checkpoint within an epoch; raises where none shall be written.

    Attributes:
      interruption: says whether the run is told to stop.
    """

    def __init__(
        self,
        model: keras.Model,
        run: Run,
        steps_per_epoch: int,
        every_minutes: float | None,
        check: Callable[[], None],
    ):
        super().__init__()
        self.interruption = strategies.Interruption()
        self._run, self._steps_per_epoch, self._check = run, steps_per_epoch, check
        self._strategy = strategies.of(model)
        self._every_seconds = math.inf if every_minutes is None else 60.0 * every_minutes
        self._position = tf.Variable(0, dtype=tf.int64, trainable=False)
        means = [v.value for metric in model.metrics for v in metric.variables]
        self._checkpoint = tf.train.Checkpoint(
            model=model, optimizer=model.optimizer, means=means, position=self._position
        )
        self._saved_at = time.monotonic()

    def restore(self) -> int:
        """Restores the last readable checkpoint and returns the steps taken so far, 0 without one.

        Raises:
          InputError: the checkpoints are another model's, or none of them can be read, or another
            worker has read a later one.
        """
        folder = self._run.resumed_checkpoints
        paths = found(folder)
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
        except DAMAGED_VARIABLES:
            _LOGGER.warning("%s cannot be read: going on from the checkpoint before it", path)
            return False
        except (AssertionError, ValueError) as error:
            raise InputError(str(path), "a checkpoint of this model", reason(error)) from error
        return True

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if batch + 1 == self._steps_per_epoch:
            return  # The end of the epoch keeps one, when validation and the log are done.
        demand = self._demand(time.monotonic() - self._saved_at >= self._every_seconds)
        if demand:
            self._check()
            self._save(self._epoch * self._steps_per_epoch + batch + 1)
        if demand > _DUE:
            raise Interrupted(demand)

    def on_epoch_end(self, epoch, logs=None):
        self._save((epoch + 1) * self._steps_per_epoch)
        self.stop_if_told()

    def stop_if_told(self) -> None:
        """Raises Interrupted if a worker was told to stop."""
        demand = self._demand()
        if demand > _DUE:
            raise Interrupted(demand)

    def _demand(self, is_due: bool = False) -> int:
        """Returns what any worker asks for: to stop, a signal's number; a checkpoint, `_DUE`; or 0."""
        return strategies.highest(self._strategy, self.interruption.signal or _DUE * is_due)

    def _save(self, position: int) -> None:
        self._position.assign(position)
        self._run.check_there()
        folder = self._run.checkpoints
        unfinished = f"{files.UNFINISHED}{_PREFIX}{position}"
        self._checkpoint.write(str(folder / unfinished))
        # TensorFlow writes the index in place. Renamed last, it is there when all of the checkpoint is.
        for part in sorted(folder.glob(f"{unfinished}.*")):
            part.replace(folder / part.name.removeprefix(files.UNFINISHED))
        kept = {path.name for path in found(folder)[-_KEPT:]}
        for path in folder.glob(f"{_PREFIX}*"):  # What killed processes left behind, too.
            if path.stem not in kept:
                files.remove(path)
        self._saved_at = time.monotonic()


def found(folder: Path) -> list[Path]:
    """Returns the checkpoints in a folder, the oldest first."""
    paths = [path.with_suffix("") for path in folder.glob(f"{_PREFIX}*.index")]
    return sorted(paths, key=lambda path: int(path.name.removeprefix(_PREFIX)))
