"""A run's directory: its files, its lock, its configuration, and where its figures come from."""

import io
import json
import os
import re
import subprocess
import weakref
from collections.abc import Collection
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from crvae_tf.errors import InputError, reason
from crvae_tf.runs import files

Config = dict[str, Any]

COMMIT_VARIABLE = "CRVAE_COMMIT"  # Names the commit of a copy without history.


class Run:
    """The directory of one training run, which need not exist.

    It resumes from the checkpoints of the run in `resumed`, by default its own.
    """

    def __init__(self, directory: str | Path, resumed: str | Path | None = None):
        self.directory = Path(directory)
        self._held: int | None = None
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
        self, config: Config, may_differ: Collection[str] = (), may_change: Collection[str] = ()
    ) -> None:
        """Locks the run. Starts it, or resumes it if `config` matches: all that decides the outcome.

        Options in `may_differ` do not decide it; a new value of those in `may_change` removes the old
        evaluation. Raises InputError if the directory holds other files, another run, or one in use.
        """
        self.lock()
        if self.config.exists():
            self.check_same(config, {*may_differ, *may_change})
            changed = _differing(self.read_config(), config, may_differ)
            if not changed:
                return
            self.evaluation.unlink(missing_ok=True)
            if changed != ["nll_samples"]:
                self.invariance.unlink(missing_ok=True)
        elif any(self.directory.iterdir()):
            received = f"{self.directory}, a folder of other files"
            raise InputError("output_dir", "a new or empty folder, or a run to resume", received)
        files.write_json(self.config, config, parents=False)

    def check_same(self, config: Config, may_differ: Collection[str] = ()) -> None:
        """Raises InputError if the run has another `config`; see `begin`."""
        held = self.read_config()
        if not held.keys() & config.keys():
            received = f"{self.directory}, the folder of something else"
            raise InputError("output_dir", "the folder of a run", received)
        for name in _differing(held, config, may_differ):
            own = f"{self.directory} with its own {name}={held[name]}, or a new folder"
            raise InputError("output_dir", own, f"{name}={config[name]}")

    def check_evaluated(self, config: Config, may_differ: Collection[str] = ()) -> None:
        """Raises InputError if the run was evaluated under another `config`."""
        held = self.read_json(self.evaluation).get("config", {})
        for name in _differing(held, config, may_differ):
            expected = f"an evaluation with {name}={config[name]}, as launch.evaluate makes"
            raise InputError(str(self.evaluation), expected, f"{name}={held[name]}")

    def lock(self) -> None:
        """Locks the run until this object or its process ends, and removes unfinished files.

        Raises InputError if another process has locked the run, or there cannot be such a folder.
        """
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            received = f"{self.directory}: {error.strerror}"
            raise InputError("output_dir", "a folder that can be made", received) from error
        self._held = os.open(self.directory, os.O_RDONLY)
        weakref.finalize(self, os.close, self._held)
        if not files.locked(self._held):
            received = f"{self.directory}, which one is using"
            raise InputError("output_dir", "a run that no other process is using", received)
        for folder in (self.directory, self.figures, self.checkpoints):
            for path in folder.glob(f"{files.UNFINISHED}*"):
                files.remove(path)

    def check_there(self) -> None:
        """Raises FileNotFoundError if the locked folder was moved: a new one could not be resumed."""
        there = os.stat(self.directory) if self.directory.is_dir() else None
        if self._held is not None and not (there and os.path.samestat(os.fstat(self._held), there)):
            told = "expected the run's folder; it was removed or moved during the run"
            raise FileNotFoundError(f"{self.directory}: {told}")

    def write_json(self, path: Path, value: Any) -> None:
        """Writes one of the run's files; see `check_there`."""
        self.check_there()
        files.write_json(path, value, parents=False)

    def read_json(self, path: Path) -> dict[str, Any]:
        """Returns the contents of one of the run's files, empty if it does not exist."""
        return files.read_json(path) if path.exists() else {}

    def is_complete(self) -> bool:
        """Returns whether all files of a finished run exist."""
        parts = (self.weights, self.evaluation, self.encoder, self.decoder, self.figures)
        return all(part.exists() for part in parts)

    def read_config(self) -> Config:
        """Returns the run's configuration; raises InputError if there is no run."""
        config = files.read_json(self.config) if self.config.exists() else None
        if not isinstance(config, dict):
            received = f"{self.directory}, without a {self.config.name}"
            raise InputError("output_dir", "the folder of a run", received)
        return config

    def read_metrics(self) -> list[dict[str, Any]]:
        """Returns the lines of `metrics.jsonl`, one for each finished epoch."""
        return files.read_json(self.metrics, lines=True) if self.metrics.exists() else []


def _differing(held: Config, config: Config, may_differ: Collection[str]) -> list[str]:
    """Returns the options whose values differ in both, except those in `may_differ`."""
    wanted = json.loads(json.dumps(config))
    known = held.keys() & wanted.keys() - set(may_differ)
    return [name for name in wanted if name in known and held[name] != wanted[name]]


class _Memory(io.BytesIO):
    """A file in memory for Keras: on a full disk, HDF5 may end the process."""

    def __str__(self) -> str:
        return "memory.weights.h5"  # Keras takes the format from the suffix.


def save_weights(model: keras.Model, path: str | Path) -> None:
    """Writes the model's weights, without the optimizer's, as Keras does, to a whole file."""
    memory, skipped = _Memory(), [getattr(model, "optimizer", None)]
    keras.saving.save_weights(model, memory, objects_to_skip=skipped)
    with files.whole_file(path, parents=False) as unfinished:
        unfinished.write_bytes(memory.getbuffer())


def load_weights(model: keras.Model, path: str | Path) -> None:
    """Loads weights that `save_weights` or Keras wrote; raises InputError if they do not fit."""
    if not os.path.exists(path):
        raise InputError(str(path), "the weights of a finished run", "no such file")
    try:
        model.load_weights(str(path))
    except (ValueError, KeyError, OSError, RuntimeError) as error:
        raise InputError(str(path), "weights of this model", reason(error)) from error


def hardware() -> str:
    """Returns the processor, the number of cores this process may use, and the GPUs."""
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    processor = re.search(r"^model name\s*: (.*)$", text, re.MULTILINE)
    gpus = [
        tf.config.experimental.get_device_details(device).get("device_name", device.name)
        for device in tf.config.list_physical_devices("GPU")
    ]
    name = processor[1] if processor else "unknown processor"
    return ", ".join([name, f"{len(os.sched_getaffinity(0))} cores", *gpus])


def commit() -> str | None:
    """Returns the commit of the package's code, and whether that has changed; None if unknown."""
    named = os.environ.get(COMMIT_VARIABLE)
    if named or _git("ls-files", "--error-unmatch", Path(__file__).name) is None:
        return named
    head = _git("rev-parse", "--short=12", "HEAD")
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", ":/*.py")
    return f"{head} with changes" if changed else head


def _git(*arguments: str) -> str | None:
    """Returns git's output in the package's folder, or None if git fails or is missing."""
    command = ["git", "-C", str(Path(__file__).resolve().parent), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
