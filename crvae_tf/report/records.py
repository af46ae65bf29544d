"""What runs have written down, read for a comparison."""

import dataclasses
import itertools
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from crvae_tf import files
from crvae_tf.errors import InputError
from crvae_tf.runs import Run

ABSENT = object()
"""Stands for an option that a run's configuration does not hold."""

_PARTS = ("evaluation", "encoder", "decoder")


@dataclasses.dataclass(frozen=True)
class RunRecord:
    """The files of a run; what it has not written yet is empty."""

    name: str
    """The folder's name, or its path where two runs' folders share a name."""
    run: Run
    config: dict[str, Any]
    """`config.json`, with what its last evaluation changed."""
    metrics: list[dict[str, float]]
    evaluation: dict[str, Any]
    invariance: dict[str, list[dict[str, float]]]
    remarks: tuple[str, ...]
    """What the run lacks."""

    @property
    def epochs(self) -> int:
        """How many are finished."""
        return len(self.metrics)


def read(directories: Sequence[str]) -> list[RunRecord]:
    """Reads runs, finished or not.

    Args:
      directories: of the runs, each once.

    Raises:
      InputError: one of them is no run, or is named twice.
    """
    runs = [Run(directory) for directory in directories]
    places = [run.directory.resolve() for run in runs]
    for run, place in zip(runs, places, strict=True):
        if places.count(place) > 1:
            raise InputError(f"--runs: expected each run once; received {run.directory} twice")
    names = [place.name for place in places]
    return [
        _read(run, name if names.count(name) == 1 else str(run.directory))
        for run, name in zip(runs, names, strict=True)
    ]


def options_by_name(
    records: Sequence[RunRecord], leave_out: Collection[str] = ()
) -> dict[str, list[Any]]:
    """Returns the value of each option in each run, `ABSENT` where it has none.

    Nested options are named `versions.keras`, say.

    Args:
      records: of the runs.
      leave_out: names of options.
    """
    configs = [_flattened(record.config) for record in records]
    names = dict.fromkeys(itertools.chain.from_iterable(configs))
    return {
        name: [config.get(name, ABSENT) for config in configs]
        for name in names
        if name not in leave_out
    }


def agree(values: Sequence[Any]) -> bool:
    """Returns whether all values of an option are the same.

    >>> agree([1, 1]), agree([1, 2]), agree([None, ABSENT])
    (True, False, False)
    """
    return all(value == values[0] for value in values)


def _flattened(config: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat = {}
    for name, value in config.items():
        inner = isinstance(value, dict)
        flat |= _flattened(value, f"{prefix}{name}.") if inner else {prefix + name: value}
    return flat


def _read(run: Run, name: str) -> RunRecord:
    config = _read_config(run)
    remarks = []
    metrics = _read_part(run.metrics, remarks, as_lines=True)
    if len(metrics) < config["epochs"]:
        remarks.append(f"unfinished, {len(metrics)} of {config['epochs']} epochs")
    remarks += [f"no {getattr(run, part).name}" for part in _PARTS if not getattr(run, part).exists()]
    evaluation = _read_part(run.evaluation, remarks)
    return RunRecord(
        name,
        run,
        config | evaluation.get("config", {}),
        metrics,
        evaluation,
        _read_part(run.invariance, remarks),
        tuple(remarks),
    )


def _read_config(run: Run) -> dict[str, Any]:
    config = _read_part(run.config, [])
    if "epochs" not in config:
        raise InputError(
            f"--runs: expected the folders of runs; received {run.directory}, which holds no "
            f"{run.config.name} of a run"
        )
    return config


def _read_part(path: Path, remarks: list[str], as_lines: bool = False) -> Any:
    """Returns what a JSON file holds, nothing where there is none or a damaged one."""
    try:
        if path.exists():
            return files.read_json_lines(path) if as_lines else files.read_json(path)
    except InputError:
        remarks.append(f"{path.name} is not readable")
    return [] if as_lines else {}
