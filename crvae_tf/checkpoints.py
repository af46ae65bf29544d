"""What a run needs to go on from any step, kept and found again."""

import logging
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import keras
import tensorflow as tf

from crvae_tf import strategies
from crvae_tf.errors import InputError, Interrupted, one_line, reason
from crvae_tf.files import DAMAGED_VARIABLES
from crvae_tf.interruption import Interruption
from crvae_tf.runs import Run

_LOGGER = logging.getLogger(__name__)

_STATE = "checkpoint"
"""The file in which TensorFlow keeps the names of the checkpoints."""


_PREFIX = "ckpt-"
"""With which the names of TensorFlow's checkpoints begin."""

_DUE = 1
"""A checkpoint is due; the numbers of SIGINT and SIGTERM are higher."""


class Checkpoints(keras.callbacks.Callback):
    """Keeps the weights, the optimizer's state and the epoch's means so far.

    It writes a checkpoint at the end of each epoch, after every `every_steps` steps and `every_minutes`
    minutes where these are given, and when the run is told to stop. A run that goes on from one ends
    as one that was never stopped, to the bit.

    Args:
      model: compiled, its optimizer built.
      run: where to keep them.
      steps_per_epoch: of the training.
      every_steps: steps between checkpoints within an epoch, or None.
      every_minutes: minutes between them, or None.
      keep: how many of the last to keep.
      interruption: says whether the run is told to stop.
      check: is called before a checkpoint within an epoch; raises where none shall be written.
    """

    def __init__(
        self,
        model: keras.Model,
        run: Run,
        steps_per_epoch: int,
        every_steps: int | None = None,
        every_minutes: float | None = None,
        keep: int = 2,
        interruption: Interruption | None = None,
        check: Callable[[], None] = lambda: None,
    ):
        super().__init__()
        self._run = run
        self._strategy = strategies.of(model)
        self._steps_per_epoch = steps_per_epoch
        self._every_steps = every_steps
        self._every_seconds = None if every_minutes is None else 60.0 * every_minutes
        self._interruption = interruption
        self._check = check
        self._position = tf.Variable(0, dtype=tf.int64, trainable=False)
        # Keras sets the means to 0 at the beginning of an epoch, of a resumed one too.
        self._means = [v.value for metric in model.metrics for v in metric.variables]
        self._resumed_means = None
        self._checkpoint = tf.train.Checkpoint(
            model=model, optimizer=model.optimizer, means=self._means, position=self._position
        )
        if not _named(run.checkpoints):  # TensorFlow would refuse a file that was cut short.
            (run.checkpoints / _STATE).unlink(missing_ok=True)
        self._manager = tf.train.CheckpointManager(self._checkpoint, str(run.checkpoints), keep)
        self._saved_at = time.monotonic()

    @property
    def latest(self) -> str | None:
        """The path of the last checkpoint, or None."""
        return self._manager.latest_checkpoint

    def restore(self) -> int:
        """Restores the last readable checkpoint and returns the steps taken so far, 0 without one.

        Raises:
          InputError: the checkpoints are another model's, or none of them can be read, or another
            worker has read a later one.
        """
        paths = _named(self._run.resumed_checkpoints) or self._unlisted()
        if not any(map(self._restored, reversed(paths))) and paths:
            raise InputError(f"{paths[-1]}: expected a readable checkpoint; received none that is")
        position = int(self._position.numpy())
        latest = strategies.highest(self._strategy, position)
        if position < latest:
            raise InputError(
                f"{self._run.resumed_checkpoints}: expected the checkpoint of step {latest}, which "
                f"another worker goes on from; received {position or 'none'}"
            )
        if position:
            self._resumed_means = [mean.numpy() for mean in self._means]
        return position

    def _unlisted(self) -> list[str]:
        """Returns the checkpoints that are there, the oldest first, where their names are lost."""
        folder = self._run.resumed_checkpoints
        found = [path.with_suffix("") for path in folder.glob(f"{_PREFIX}*.index")]
        found = [path for path in found if path.name.removeprefix(_PREFIX).isdecimal()]
        if found:
            _LOGGER.warning("%s cannot be read: looking for checkpoints by name", folder / _STATE)
        return [
            str(path) for path in sorted(found, key=lambda path: int(path.name.removeprefix(_PREFIX)))
        ]

    def _restored(self, path: str) -> bool:
        try:
            self._checkpoint.restore(path).assert_consumed()
        except DAMAGED_VARIABLES:
            _LOGGER.warning("%s cannot be read: going on from the checkpoint before it", path)
            return False
        except (AssertionError, ValueError) as error:
            raise InputError(
                f"{path}: expected a checkpoint of this model; received {reason(error)}"
            ) from error
        return True

    def on_epoch_begin(self, epoch, logs=None):
        self._epoch_start = max(epoch * self._steps_per_epoch, int(self._position.numpy()))
        if self._resumed_means is not None:
            for mean, value in zip(self._means, self._resumed_means, strict=True):
                if self._epoch_start % self._steps_per_epoch:
                    mean.assign(value)
            self._resumed_means = None

    def on_train_batch_end(self, batch, logs=None):
        position = self._epoch_start + batch + 1
        if position % self._steps_per_epoch == 0:
            return  # The end of the epoch keeps one, when validation and the log are done.
        demand = self._demand(self._is_due(position))
        if demand:
            self._check()
            self._save(position)
        self._stop_if_told(demand)

    def on_epoch_end(self, epoch, logs=None):
        self._save((epoch + 1) * self._steps_per_epoch)
        self._stop_if_told(self._demand())

    def _demand(self, is_due: bool = False) -> int:
        """Returns what any worker asks for: to stop, a signal's number; a checkpoint, `_DUE`; or 0."""
        signal = self._interruption.signal if self._interruption else None
        return strategies.highest(self._strategy, signal or _DUE * is_due)

    @staticmethod
    def _stop_if_told(demand: int) -> None:
        if demand > _DUE:
            raise Interrupted(demand)

    def _is_due(self, position: int) -> bool:
        if self._every_steps is not None and position % self._every_steps == 0:
            return True
        waited = time.monotonic() - self._saved_at
        return self._every_seconds is not None and waited >= self._every_seconds

    def _save(self, position: int) -> None:
        self._position.assign(position)
        self._run.check_there()
        try:
            self._manager.save(checkpoint_number=position)
        except tf.errors.OpError as error:  # Keras takes one of them for the end of the data.
            raise OSError(one_line(error)) from error
        self._remove_others()
        self._saved_at = time.monotonic()

    def _remove_others(self) -> None:
        """Removes what processes that were killed in the middle of a checkpoint left behind."""
        kept = {os.path.basename(path) for path in self._manager.checkpoints}
        for path in self._run.checkpoints.iterdir():
            is_ours = path.name.startswith((_PREFIX, _STATE))  # The user may keep other things here.
            if not is_ours or path.name == _STATE or path.stem in kept:
                continue
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


def _named(folder: Path) -> list[str]:
    """Returns the checkpoints that the file with their names lists, the oldest first."""
    try:
        state = tf.train.get_checkpoint_state(str(folder))
    except ValueError:
        return []
    return list(state.all_model_checkpoint_paths) if state else []
