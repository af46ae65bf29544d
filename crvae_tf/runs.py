"""A run's directory: what lies where, and whether it may be written to."""

import json
import os
import shutil
import weakref
from collections.abc import Collection
from pathlib import Path
from typing import Any

from crvae_tf import files, json_files
from crvae_tf.errors import InputError
from crvae_tf.json_files import Object
from crvae_tf.shapes import EPOCH, EVALUATION, INVARIANCE, PROVENANCE

_NAMES = (
    r"config\.json|metrics\.jsonl|model\.weights\.h5|evaluation\.json|invariance\.json|provenance\.json|"
    r"encoder|decoder|encoder\.tflite|encoder\.onnx|baselines\.json"
)
"""Of what a run writes whole or not at all."""
_PICTURE_NAMES = r"\w+\.png"


class Run:
    """The directory of one training run.

    Args:
      directory: of the run; it need not exist.
      resumed: the directory of the run whose checkpoints it goes on from; by default its own.
    """

    def __init__(self, directory: str | Path, resumed: str | Path | None = None):
        self.directory = Path(directory)
        self._held: int | None = None
        self._new_config: dict[str, Any] | None = None
        self.config = self.directory / "config.json"
        self.metrics = self.directory / "metrics.jsonl"
        self.tensorboard = self.directory / "tensorboard"
        self.checkpoints = self.directory / "checkpoints"
        self.resumed_checkpoints = Path(resumed or directory) / "checkpoints"
        self.weights = self.directory / "model.weights.h5"
        self.evaluation = self.directory / "evaluation.json"
        self.invariance = self.directory / "invariance.json"
        self.baselines = self.directory / "baselines.json"
        self.figures = self.directory / "figures"
        self.encoder = self.directory / "encoder"
        self.converted = {name: self.directory / f"encoder.{name}" for name in ("tflite", "onnx")}
        self.decoder = self.directory / "decoder"
        self.provenance = self.directory / "provenance.json"

    def begin(
        self,
        config: dict[str, Any],
        may_differ: Collection[str] = (),
        may_change: Collection[str] = (),
        absent: dict[str, Any] | None = None,
    ) -> None:
        """Writes `config`, or finds that the directory holds a run of the same one; locks the run.

        Args:
          config: every option, and what else decides the outcome.
          may_differ: the names of those that do not.
          may_change: the names of those that the run may go on with other values of; `go_on` writes
            them.
          absent: see `check_same`.

        Raises:
          InputError: the directory holds another run, or something that is no run, or a run that
            another process is at work on.
        """
        if self.directory.exists() and not self.directory.is_dir():
            raise InputError(f"--output_dir={self.directory}: expected a folder; received a file")
        if self.config.exists():
            self.check_same(config, {*may_differ, *may_change}, absent)
        elif self._contents():
            raise InputError(
                f"--output_dir={self.directory}: expected a new or empty folder, or a run to resume; "
                "received a folder of other files"
            )
        self.lock()
        if not self.config.exists():
            files.write_json(self.config, config)
            return
        self.check_same(config, {*may_differ, *may_change}, absent)  # Another process may have made it.
        if _differing((absent or {}) | self.read_config(), config, may_differ):
            self._new_config = config

    def go_on(self, trains: bool) -> None:
        """Makes the options that `begin` was given the run's own, and removes what they make untrue.

        Those are the evaluations, and where steps are still to be taken, as `trains` says, all else
        that an earlier end left. It is for a run that was found able to go on.
        """
        if trains or self._new_config:
            for file in (self.evaluation, self.invariance, self.baselines):
                file.unlink(missing_ok=True)
        if trains:
            for file in (self.weights, *self.converted.values()):
                file.unlink(missing_ok=True)
            for folder in (self.encoder, self.decoder, self.figures):
                shutil.rmtree(folder, ignore_errors=True)
        if self._new_config:
            files.write_json(self.config, self._new_config)
            self._new_config = None

    def check_same(
        self,
        config: dict[str, Any],
        may_differ: Collection[str] = (),
        absent: dict[str, Any] | None = None,
    ) -> None:
        """Raises InputError if the run in the directory has another `config`; see `begin`.

        Args:
          config: as `begin` takes it.
          may_differ: the names of options that need not agree.
          absent: the values of options that the run's own configuration may not know yet.
        """
        held = (absent or {}) | self.read_config()
        for name in _differing(held, config, may_differ):
            name, expected, received = _difference(name, held.get(name), config[name])
            raise InputError(
                f"--output_dir={self.directory}: expected a new folder, or the run in it with "
                f"{name}={expected}; received {name}={received}"
            )

    def check_evaluated(
        self,
        config: dict[str, Any],
        may_differ: Collection[str] = (),
        absent: dict[str, Any] | None = None,
    ) -> None:
        """Raises InputError if the run, if it is evaluated, is so under another `config`.

        A later evaluation takes the place of the run's own. The arguments are those of `check_same`.
        """
        result = json_files.read(self.evaluation, Object()) if self.evaluation.exists() else {}
        if "config" not in result:  # Of another shape, which whoever takes its figures will say.
            return
        held = (absent or {}) | result["config"]
        for name in _differing(held, config, may_differ):
            raise InputError(
                f"{self.evaluation}: expected an evaluation with {name}={config[name]}; received one "
                f"with {name}={held.get(name)}: launch.evaluate, given that, makes another"
            )

    def lock(self) -> None:
        """Keeps others from the run until this object or its process ends, however it ends.

        Raises:
          InputError: another process holds the run.
        """
        self.directory.mkdir(parents=True, exist_ok=True)
        self._held = os.open(self.directory, os.O_RDONLY)
        weakref.finalize(self, os.close, self._held)
        if not files.locked(self._held):
            raise InputError(
                f"--output_dir={self.directory}: expected a run that no other process is at work on; "
                "received one that another process is"
            )
        self._remove_unfinished()

    def check_there(self) -> None:
        """Raises FileNotFoundError if the folder that was locked was removed, moved or replaced since.

        What is written later would lie in a new folder, which no one could go on from.
        """
        if self._held is None:
            return
        held = os.fstat(self._held)
        if not (self.directory.is_dir() and os.path.samestat(held, self.directory.stat())):
            raise FileNotFoundError(
                f"--output_dir={self.directory}: expected the run's folder; received none: it was "
                "removed or moved while the run was at work"
            )

    def is_complete(self) -> bool:
        """Returns whether all that a run leaves behind is there, by the options it was begun with."""
        parts = (self.weights, self.evaluation, self.encoder, self.decoder, self.figures)
        return self._new_config is None and all(part.exists() for part in parts)

    def read_config(self) -> dict[str, Any]:
        """Returns the run's configuration.

        Raises:
          InputError: there is no run.
        """
        try:
            return json_files.read(self.config, Object())
        except (OSError, InputError) as error:
            raise InputError(
                f"--output_dir={self.directory}: expected the folder of a run; received no readable "
                f"{self.config.name} in it"
            ) from error

    def read_evaluation(self) -> dict[str, Any] | None:
        """Returns what `evaluation.json` holds, or None where there is none yet.

        Raises:
          InputError: it is of another shape, as for the other files.
        """
        return json_files.read(self.evaluation, EVALUATION) if self.evaluation.exists() else None

    def read_invariance(self) -> dict[str, Any]:
        """Returns what `invariance.json` holds."""
        return json_files.read(self.invariance, INVARIANCE)

    def read_provenance(self) -> dict[str, Any]:
        """Returns what `provenance.json` holds, or nothing where there is none."""
        return json_files.read(self.provenance, PROVENANCE) if self.provenance.exists() else {}

    def read_metrics(self) -> list[dict[str, Any]]:
        """Returns the finished epochs' lines of `metrics.jsonl`."""
        if not self.metrics.exists():
            return []
        return json_files.read(self.metrics, EPOCH, as_lines=True)

    def keep_record(self, folder: Path, left_out: Collection[str] = ()) -> None:
        """Copies what tables need of a finished run, and no more, to `folder`.

        Args:
          folder: where to.
          left_out: the names of options that say nothing elsewhere, as places do.
        """
        for path in (self.config, self.evaluation, self.provenance):
            if path.exists():
                held = json_files.read(path, Object())
                kept = {name: value for name, value in held.items() if name not in left_out}
                files.write_json(folder / path.name, kept)

    def _contents(self) -> list[Path]:
        """Returns what lies in the folder but for what a killed process was writing."""
        if not self.directory.exists():
            return []
        return sorted({*self.directory.iterdir()} - {*files.unfinished(self.directory, _NAMES)})

    def _remove_unfinished(self) -> None:
        """Removes what a killed process was writing, and nothing else whose name begins with a dot."""
        left = files.unfinished(self.directory, _NAMES)
        for path in (*left, *files.unfinished(self.figures, _PICTURE_NAMES)):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _differing(held: dict[str, Any], config: dict[str, Any], may_differ: Collection[str]) -> list[str]:
    """Returns the names of the options of `config` that `held` has another value of."""
    wanted = json.loads(json.dumps(config))
    return [name for name in wanted if name not in may_differ and held.get(name) != wanted[name]]


def _difference(name: str, held: Any, wanted: Any) -> tuple[str, Any, Any]:
    """Returns what differs between two values of an option, by its name: `versions.keras`, say.

    >>> _difference("versions", {"keras": "3.14", "numpy": "2.4"}, {"keras": "3.15", "numpy": "2.4"})
    ('versions.keras', '3.14', '3.15')
    """
    if not (isinstance(held, dict) and isinstance(wanted, dict)):
        return name, held, wanted
    inner = next(key for key in [*wanted, *held] if held.get(key) != wanted.get(key))
    return f"{name}.{inner}", held.get(inner), wanted.get(inner)
