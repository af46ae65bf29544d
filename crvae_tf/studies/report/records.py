"""What runs have written down, read for a report."""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from typing import Any

from crvae_tf.errors import InputError
from crvae_tf.runs.run import Run

_COLOURS = ("#0b5cad", "#b3261e", "#1b7837", "#7b3fa0", "#8a5a00", "#00707f", "#a0287a", "#4d4d4d")
"""Dark enough for white text on them."""
_PARTS = ("evaluation", "encoder", "decoder")


@dataclasses.dataclass(frozen=True)
class RunRecord:
    """The files of a run; what it has not written yet is empty."""

    number: int
    """Stands for the run in charts, from 1 on."""
    name: str
    """The folder's name, or its path where two folders have the same name."""
    run: Run
    config: dict[str, Any]
    """`config.json`, with what the last evaluation changed."""
    metrics: list[dict[str, float]]
    evaluation: dict[str, Any]
    invariance: dict[str, list[dict[str, float]]]

    @property
    def colour(self) -> str:
        """Its colour in charts."""
        return _COLOURS[(self.number - 1) % len(_COLOURS)]

    @property
    def remarks(self) -> list[str]:
        """What the run lacks."""
        done, whole = len(self.metrics), self.config["epochs"]
        unfinished = [f"unfinished, {done} of {whole} epochs"] if done < whole else []
        paths = [getattr(self.run, part) for part in _PARTS]
        return unfinished + [f"no {path.name}" for path in paths if not path.exists()]

    @property
    def options(self) -> dict[str, Any]:
        """The configuration, nested options by names such as `versions.keras`."""
        return _flattened(self.config)


def read(directories: Sequence[str]) -> list[RunRecord]:
    """Reads runs, finished or not.

    Raises:
      InputError: a directory is no run, or is named twice.
    """
    runs = [Run(directory) for directory in directories]
    places = [run.directory.resolve() for run in runs]
    if twice := [str(place) for place, times in Counter(places).items() if times > 1]:
        raise InputError("runs", "each run once", f"{twice[0]} twice")
    names = Counter(place.name for place in places)
    shown = [
        place.name if names[place.name] == 1 else str(run.directory)
        for run, place in zip(runs, places, strict=True)
    ]
    return [_read(*given) for given in zip(range(1, len(runs) + 1), shown, runs, strict=True)]


def _read(number: int, name: str, run: Run) -> RunRecord:
    config = run.read_config() if run.config.exists() else {}
    if not {"dataset", "epochs"} <= set(config):
        raise InputError("runs", "the folders of runs", f"{run.directory}, which holds no run")
    evaluation = run.read_evaluation() or {}
    return RunRecord(
        number,
        name,
        run,
        config | evaluation.get("config", {}),
        run.read_metrics(),
        evaluation,
        run.read_invariance() if run.invariance.exists() else {},
    )


def _flattened(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat = {}
    for name, value in config.items():
        inner = isinstance(value, dict)
        flat |= _flattened(value, f"{prefix}{name}.") if inner else {prefix + name: value}
    return flat
