"""Finished runs that the user names, as several commands take them."""

import itertools
from collections.abc import Sequence
from typing import Any

from crvae_tf.errors import InputError
from crvae_tf.runs.run import Run
from crvae_tf.studies import comparisons, evaluation_frame
from launch.options import CHECKPOINTING, Options


def finished(directory: str) -> Run:
    """Returns the finished run in a directory.

    Raises:
      InputError: there is none.
    """
    run = Run(directory)
    if not run.is_complete():
        raise InputError("runs", "folders of finished runs", directory)
    return run


def options_of(run: Run, data_dir: str | None, config: dict[str, Any] | None = None) -> Options:
    """Returns the options of a run that may have been moved, as may its data.

    Args:
      run: the run.
      data_dir: holds its data, if they were moved.
      config: the options to read, if not those of the run's configuration.

    Raises:
      InputError: its configuration lacks one, or holds one that cannot be.
    """
    places = {"output_dir": str(run.directory)} | ({"data_dir": data_dir} if data_dir else {})
    try:
        return Options.from_config((config or run.read_config()) | places)
    except InputError as error:
        raise InputError(str(run.config), "the options of a run", str(error)) from error


def label(of_run: Options) -> str:
    """Returns a run's name among others: its method, with K or beta, and its networks and views."""
    parameters = {"iwae": of_run.importance_samples, "beta_vae": of_run.beta}
    number = parameters.get(of_run.model)
    setting = {"method": of_run.method if number is None else f"{of_run.method}_{number:g}"}
    if of_run.pose != "none":
        setting["pose"] = of_run.pose
    if of_run.views_per_image != 1:
        setting["views_per_image"] = of_run.views_per_image
    return comparisons.setting_label(setting)


def titled(directories: Sequence[str]) -> dict[str, Run]:
    """Returns finished runs by their titles: methods, or folders where two methods are the same."""
    runs = _different(directories)
    options = [options_of(run, None) for run in runs]
    datasets = list(dict.fromkeys(of_run.dataset for of_run in options))
    if len(datasets) > 1:
        raise InputError("runs", "of one data set", ", ".join(datasets))
    titles = (
        [evaluation_frame.method_title(label(of_run)) for of_run in options],
        [run.directory.name for run in runs],
        [str(run.directory) for run in runs],
    )
    names = next(names for names in titles if len(set(names)) == len(runs))
    return dict(zip(names, runs, strict=True))


def _different(directories: Sequence[str]) -> list[Run]:
    runs = [finished(directory) for directory in directories]
    places = [run.directory.resolve() for run in runs]
    for run, place in zip(runs, places, strict=True):
        if places.count(place) > 1:
            raise InputError("runs", "folders that differ", f"{run.directory} more than once")
    return runs


def summary(directories: Sequence[str], title: str) -> dict[str, Any]:
    """Returns what `comparisons.summarize` makes of finished runs."""
    found = {}
    for run in _different(directories):
        of_run = options_of(run, None)
        found.setdefault((of_run.dataset, label(of_run)), []).append(evaluation_frame.read(run))
    for (_, method), evaluations in found.items():
        _check_seeds_alone_differ(method, [evaluation["config"] for evaluation in evaluations])
    return comparisons.summarize("runs", found, title=title)


def _check_seeds_alone_differ(method: str, configs: Sequence[dict[str, Any]]) -> None:
    """Raises InputError if runs of one method differ in more than their seed."""
    for one, other in itertools.combinations(configs, 2):
        names = [n for n in one if n not in CHECKPOINTING and one[n] != other.get(n, one[n])]
        if names != ["seed"]:
            name = next((n for n in names if n != "seed"), "seed")
            raise InputError(
                "runs",
                f"different in the seed alone where they are of one method, {method}",
                f"{name}={one[name]} and {name}={other.get(name, one[name])}",
            )
