"""Finished runs that the user names, as several commands take them."""

import itertools
from collections.abc import Sequence
from typing import Any

from crvae_tf import reproduction, result_tables, results
from crvae_tf.errors import InputError
from crvae_tf.runs import Run
from launch.options import CHECKPOINTING, Options, UsageError
from launch.study_options import ResultsOptions


def summary_of_runs(chosen: ResultsOptions) -> dict[str, Any]:
    """Returns the summary of the finished runs that --runs names."""
    runs = [finished(directory) for directory in chosen.runs]
    _check_all_differ(runs)
    found = {}
    for run in runs:
        cell = (run.read_config()["dataset"], label(options_of(run, None)))
        found.setdefault(cell, []).append(run.read_evaluation())
    for (_, name), evaluations in found.items():
        _check_seeds_alone_differ(name, [evaluation["config"] for evaluation in evaluations])
    labels = {label for _, label in found}
    published = chosen.published or {}
    if not labels.issuperset(published):
        raise UsageError(
            f"--published must be of {', '.join(sorted(labels))}; received {', '.join(published)}"
        )
    datasets = sorted({dataset for dataset, _ in found})
    if published and len(datasets) > 1:
        raise UsageError(f"--published must be of one data set; received {', '.join(datasets)}")
    title = chosen.title or chosen.add
    summary = reproduction.summarize_runs(title, found, published, chosen.published_by)
    commands = dict.fromkeys(c for run in runs for c in run.read_provenance().get("commands", []))
    return summary | {"provenance": results.provenance(runs, list(commands))}


def _check_seeds_alone_differ(method: str, configs: Sequence[dict[str, Any]]) -> None:
    """Raises UsageError where runs that would be one method's are of other options than their seed."""
    for one, other in itertools.combinations(configs, 2):
        names = [n for n in one if n not in CHECKPOINTING and one[n] != other.get(n, one[n])]
        if names != ["seed"]:
            name = next((n for n in names if n != "seed"), "seed")
            raise UsageError(
                f"--runs must differ in the seed alone where they are of one method, {method}; "
                f"received {name}={one[name]} and {name}={other.get(name, one[name])}"
            )


def finished(directory: str) -> Run:
    """Returns the finished run in a directory.

    Raises:
      UsageError: there is none.
    """
    run = Run(directory)
    if not run.is_complete():
        raise UsageError(f"--runs must be folders of finished runs; received {directory}")
    return run


def options_of(run: Run, data_dir: str | None, config: dict[str, Any] | None = None) -> Options:
    """Returns the options of a run that may have been moved, as may its data.

    Args:
      run: the run.
      data_dir: where its data are, if not where they were.
      config: the options to read, if not those of the run's configuration.

    Raises:
      InputError: its configuration lacks one, or holds one that cannot be.
    """
    places = {"output_dir": str(run.directory)} | ({"data_dir": data_dir} if data_dir else {})
    held = config or run.read_config()
    try:
        return Options.from_config(held | places)
    except InputError as error:
        raise InputError(f"{run.config}: {error}") from error


def titled(directories: Sequence[str]) -> dict[str, Run]:
    """Returns finished runs by what a picture calls them: methods, or folders where those agree."""
    runs = [finished(directory) for directory in directories]
    _check_all_differ(runs)
    options = [options_of(run, None) for run in runs]
    datasets = list(dict.fromkeys(of_run.dataset for of_run in options))
    if len(datasets) > 1:
        raise UsageError(f"--runs must be of one data set; received {', '.join(datasets)}")
    names = [result_tables.method_title(label(of_run)) for of_run in options]
    if len(set(names)) < len(names):
        names = [run.directory.name for run in runs]
    if len(set(names)) < len(names):
        names = [str(run.directory) for run in runs]
    return dict(zip(names, runs, strict=True))


def _check_all_differ(runs: Sequence[Run]) -> None:
    places = [run.directory.resolve() for run in runs]
    for run, place in zip(runs, places, strict=True):
        if places.count(place) > 1:
            raise UsageError(
                f"--runs must be folders that differ; received {run.directory} more than once"
            )


def label(of_run: Options) -> str:
    """Returns what a run is called among others: its method, with K or beta, and its views."""
    parameters = {"iwae": of_run.importance_samples, "beta_vae": of_run.beta}
    number = parameters.get(of_run.model)
    name = of_run.method if number is None else f"{of_run.method}_{number:g}"
    pose = [] if of_run.pose == "none" else [f"pose={of_run.pose}"]
    number = of_run.views_per_image
    several = [] if number == 1 else [f"views_per_image={number}"]
    return " ".join([name, *pose, *several])
