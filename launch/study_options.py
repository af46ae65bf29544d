"""The flags of commands that gather several runs, each defined by a function that its command calls."""

import dataclasses
import math
import os
from typing import Any

from absl import flags

from launch import flag_kinds
from launch.flag_kinds import Checked
from launch.options import drop_training_flags, given, named
from launch.resolution import UsageError

_SET_BY_GRID = {
    "method",
    "model",
    "beta",
    "lambda",
    "eta",
    "view",
    "pose",
    "views_per_image",
    "seed",
}

_PRESETS = ("paper", "cpu", "eta", "invariance", "invariance_wae")


@dataclasses.dataclass(frozen=True)
class GridOptions:
    """The options that `launch.reproduce` has beside those of a training."""

    table: int | None
    preset: str
    seeds: int
    etas: tuple[float, ...] | None
    settings: tuple[dict[str, Any], ...] | None
    invariance: bool
    parallel: int
    records: str | None


def define_reproduce() -> None:
    """Adds the flags of `launch.reproduce`."""
    delattr(flags.FLAGS, "allow_config_change")
    flag_kinds.choice("table", None, ("1", "2", "3", "4"), "of the paper, to make anew")
    meaning = "flags for each training, which later ones override"
    flag_kinds.preset("preset", "paper", _PRESETS, meaning)
    flag_kinds.integer("seeds", 3, 1, "how many seeds, from 0 on")
    etas = Checked(
        flag_kinds.numbers, lambda etas: min(etas) >= 0.0, "numbers >= 0, separated by commas"
    )
    flag_kinds.define("etas", None, etas, "instead of a table, CR-VAE with each of these eta")
    settings = Checked(flag_kinds.settings, bool, "METHOD:FLAG=VALUE, separated by commas")
    flag_kinds.define("settings", None, settings, "instead of a table, the study of these invariances")
    flag_kinds.integer("parallel", 1, 1, "trainings at a time")
    meaning = "folder of what tables need of finished runs: taken from it as it is, and kept there"
    flag_kinds.text("records", None, meaning)
    flag_kinds.boolean("invariance", True, "draw invariance curves of the first seed of each method")


def reproduce() -> GridOptions:
    """Returns what the flags that `define_reproduce` defined stand for.

    Raises:
      UsageError: neither a table nor values of eta nor settings are given, or both of the latter, a
        setting is none, or a flag that the grid itself sets is given.
    """
    names = [field.name for field in dataclasses.fields(GridOptions)]
    values = {name: flags.FLAGS[name].value for name in names}
    if values["settings"] is not None:
        values["settings"] = tuple(map(_setting, values["settings"]))
    if all(values[name] is None for name in ("table", "etas", "settings")):
        raise UsageError("--table must be one of 1, 2, 3, 4; received none")
    if values["etas"] and values["settings"]:
        raise UsageError("--etas must be left out where --settings is given; received both")
    for name in sorted(named() & _SET_BY_GRID):
        raise UsageError(f"--{name} must be left out, the grid sets it; received {given()[name]}")
    place = given()["output_dir"]
    if place and "," in place:
        raise UsageError(f"--output_dir must have no comma, which separates runs; received {place}")
    for name, folder in (("output_dir", place), ("records", values["records"])):
        if folder and os.path.exists(folder) and not os.path.isdir(folder):
            raise UsageError(f"--{name} must be a folder; received {folder}, a file")
    etas = values["etas"] or ()
    if len({f"{eta:g}" for eta in etas}) < len(etas):
        raise UsageError(f"--etas must differ in six digits; received {','.join(map(str, etas))}")
    labels = [setting_label(setting) for setting in values["settings"] or ()]
    if len({frozenset(label.split()) for label in labels}) < len(labels):
        raise UsageError(f"--settings must differ in six digits; received {', '.join(labels)}")
    table = None if values["table"] is None else int(values["table"])
    return GridOptions(**values | {"table": table})


def _setting(texts: dict[str, str]) -> dict[str, Any]:
    """Returns a setting's flags with their values read."""
    read = {}
    for name, text in texts.items():
        if name not in _SET_BY_GRID - {"seed"}:
            expected = ", ".join(sorted(_SET_BY_GRID - {"seed"}))
            raise UsageError(f"--settings must be of the flags {expected}; received {name}")
        try:
            read[name] = flags.FLAGS[name].parser.parse(text)
        except ValueError as error:
            raise UsageError(f"--settings: {name} {error}; received {text}") from error
    return read


def setting_label(setting: dict[str, Any]) -> str:
    """Returns the label of the trainings with a setting.

    >>> setting_label({"method": "cr_vae", "pose": "affine", "eta": None})
    'cr_vae pose=affine eta=auto'
    """
    return " ".join(
        [setting["method"], *(f"{n}={_text(v)}" for n, v in setting.items() if n != "method")]
    )


def _text(value: float | str | None) -> str:
    if value is None:
        return "auto"
    return f"{value:g}" if isinstance(value, float) else str(value)


@dataclasses.dataclass(frozen=True)
class CompareOptions:
    """The options of `launch.compare`."""

    runs: tuple[str, ...]
    output_dir: str
    data_dir: str | None
    figure_1: bool
    invariance: bool


def define_compare() -> None:
    """Puts the flags of `launch.compare` in the place of those that describe a training."""
    drop_training_flags(kept=("data_dir", "output_dir"))
    flag_kinds.folders("runs", "finished runs of one data set to compare")
    flag_kinds.boolean("figure_1", True, "draw Figure 1 of the paper for each run")
    flag_kinds.boolean("invariance", True, "measure and draw invariance curves")


def compare() -> CompareOptions:
    """Returns what the flags that `define_compare` defined stand for.

    Raises:
      UsageError: no run is named, or no folder for the pictures.
    """
    names = [field.name for field in dataclasses.fields(CompareOptions)]
    chosen = CompareOptions(**{name: flags.FLAGS[name].value for name in names})
    if chosen.runs is None:
        raise UsageError("--runs must be folders of finished runs, separated by commas; received none")
    if chosen.output_dir is None:
        raise UsageError("--output_dir must be a folder for the pictures; received none")
    return chosen


@dataclasses.dataclass(frozen=True)
class ResultsOptions:
    """The options of `launch.results`."""

    results: str
    output: str
    add: str | None
    runs: tuple[str, ...] | None
    title: str | None
    published: dict[str, float] | None
    published_by: str | None


def define_results() -> None:
    """Puts the flags of `launch.results` in the place of those that describe a training."""
    drop_training_flags()
    flag_kinds.text("results", "results", "folder of the JSON summaries")
    flag_kinds.text("output", "RESULTS.md", "the page to write")
    flag_kinds.text("add", None, "name of a summary of --runs to write first")
    flag_kinds.folders("runs", "finished runs; those that differ in the seed alone are one method")
    flag_kinds.text("title", None, "of that summary (its name)")
    pairs = Checked(_published, _are_finite, "METHOD:NLL pairs, separated by commas")
    flag_kinds.define("published", None, pairs, "NLLs to set beside them, such as iwae_5:85.54")
    flag_kinds.text("published_by", None, "whose they are")


def results() -> ResultsOptions:
    """Returns what the flags that `define_results` defined stand for.

    Raises:
      UsageError: a summary is named without its runs, or figures are without whose they are, or the
        other way round.
    """
    names = [field.name for field in dataclasses.fields(ResultsOptions)]
    chosen = ResultsOptions(**{name: flags.FLAGS[name].value for name in names})
    if bool(chosen.add) != bool(chosen.runs):
        raise UsageError(
            f"--add must go with --runs; received --add={chosen.add} and --runs={chosen.runs}"
        )
    if bool(chosen.published) != bool(chosen.published_by):
        raise UsageError(
            "--published must go with --published_by; received "
            f"--published_by={chosen.published_by} and {len(chosen.published or {})} NLLs"
        )
    if chosen.add and os.path.basename(chosen.add) != chosen.add:
        raise UsageError(f"--add must be a name without a folder; received {chosen.add}")
    return chosen


@dataclasses.dataclass(frozen=True)
class ReportOptions:
    """The options of `launch.report`."""

    runs: tuple[str, ...]
    output: str
    data_dir: str | None


def define_report() -> None:
    """Puts the flags of `launch.report` in the place of those that describe a training."""
    drop_training_flags(kept=("data_dir",))
    flag_kinds.folders("runs", "runs to compare")
    flag_kinds.text("output", "report.html", "the page to write")


def report() -> ReportOptions:
    """Returns what the flags that `define_report` defined stand for.

    Raises:
      UsageError: no run is named, or the page cannot be written where it shall be.
    """
    names = [field.name for field in dataclasses.fields(ReportOptions)]
    chosen = ReportOptions(**{name: flags.FLAGS[name].value for name in names})
    if chosen.runs is None:
        raise UsageError("--runs must be folders of runs, separated by commas; received none")
    if os.path.isdir(chosen.output):
        raise UsageError(f"--output must be the name of a file; received {chosen.output}, a folder")
    return chosen


def _published(text: str) -> dict[str, float]:
    pairs = [part.partition(":") for part in text.split(",")]
    return {label: float(value) for label, _, value in pairs}


def _are_finite(published: dict[str, float]) -> bool:
    return bool(published) and all(map(math.isfinite, published.values()))
