"""What `launch.reproduce` trains, and what it makes of the finished runs. No mathematics."""

import functools
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from crvae_tf import figures, files, invariance_study, reproduction, result_tables, results
from crvae_tf.errors import InputError
from crvae_tf.reproduction import TABLES, Method
from crvae_tf.runs import Run
from launch import grid, options
from launch.grid import Job
from launch.options import Options
from launch.study_options import GridOptions, setting_label

_ETA_METHOD = "cr_vae"
_FIGURE_1 = ("vae", "vae_aug", "cr_vae")


def output_directory(chosen: GridOptions) -> Path:
    """Returns where the grid's runs and tables go."""
    given = options.given()["output_dir"]
    return Path(given or f"runs/{title(chosen).replace(' ', '_')}_{Path(chosen.preset).stem}")


def jobs(chosen: GridOptions) -> list[Job]:
    """Returns the trainings: all methods of the first seed, then those of the next."""
    return [
        _job(dataset, label, changes | {"seed": seed}, chosen)
        for seed in range(chosen.seeds)
        for dataset in datasets(chosen)
        for label, changes in _cells(chosen).items()
    ]


def datasets(chosen: GridOptions) -> tuple[str, ...]:
    """Returns the data sets: that of --dataset, or the table's."""
    if "dataset" in options.named():
        return (options.given()["dataset"],)
    return TABLES[chosen.table or 1].datasets


def _cells(chosen: GridOptions) -> dict[str, dict[str, Any]]:
    """Returns the flags of each method, of each eta or of each setting, by its label."""
    if chosen.settings:
        return {setting_label(setting): setting for setting in chosen.settings}
    if chosen.etas:
        return {eta_label(eta): {"method": _ETA_METHOD, "eta": eta} for eta in chosen.etas}
    return {method.label: _method_flags(method) for method in TABLES[chosen.table].methods}


def _method_flags(method: Method) -> dict[str, Any]:
    beta = {"beta": method.beta} if method.beta != 1.0 else {}
    is_iwae = options.METHODS[method.name]["model"] == "iwae"
    # What the user says of IWAE's gradient is no business of the other methods.
    gradient = {"gradient": "standard"} if "gradient" in options.named() and not is_iwae else {}
    return {"method": method.name} | beta | gradient


def eta_label(eta: float) -> str:
    """Returns the label of the trainings with an eta."""
    return f"{_ETA_METHOD}_eta_{eta:g}"


def _job(dataset: str, label: str, changes: dict[str, Any], chosen: GridOptions) -> Job:
    place = _place(dataset, label, changes["seed"], output_directory(chosen))
    changes = changes | {"dataset": dataset, "output_dir": str(place)}
    arguments = tuple(options.training_arguments(changes))
    record = Run(Path(chosen.records) / place.name) if chosen.records else None
    return Job(dataset, label, options.resolve(changes), arguments, record)


def _place(dataset: str, label: str, seed: int, directory: Path) -> Path:
    name = re.sub(r"[^\w.]+", "_", label)
    return directory / "runs" / f"{_folder(dataset)}_{name}_seed{seed}"


def _folder(dataset: str) -> str:
    return re.sub(r"\W+", "_", dataset)


def check(trainings: Sequence[Job]) -> None:
    """Raises InputError, before others are trained, if the figures of a finished one cannot be read."""
    for job in trainings:
        if job.finished:
            try:
                job.finished.read_evaluation()
            except InputError as error:
                raise InputError(
                    f"{error}; without that file the same command makes it anew"
                ) from error


def write(chosen: GridOptions, trainings: Sequence[Job]) -> str:
    """Writes the tables of the finished runs as Markdown, CSV and JSON, and returns the Markdown."""
    texts = []
    command = options.command_line()
    for job in trainings:
        job.keep_record()
    for name, summary, text in _summaries(chosen, trainings):
        path = output_directory(chosen) / name
        runs = [job.finished for job in trainings if job.dataset in summary["datasets"]]
        runs = [run for run in runs if run]
        files.write_json(f"{path}.json", summary | {"provenance": results.provenance(runs, [command])})
        files.write_text(f"{path}.csv", result_tables.csv_text(summary))
        files.write_text(f"{path}.md", text)
        if chosen.etas and summary["rows"]:
            figures.eta_curves(f"{path}.png", summary["rows"])
        if chosen.settings and any(point["frontier"] for point in summary["points"]):
            loss = invariance_study.LOSSES[summary["loss"]]
            figures.invariance_frontier(f"{path}.png", summary["points"], loss)
        texts.append(text)
    return "\n".join(texts)


def measure_baselines(chosen: GridOptions) -> list[str]:
    """Has launch.baselines measure what the settings are set against, where it has not yet.

    Returns:
      A line for each data set that it failed for.
    """
    failures = []
    for dataset in datasets(chosen) if chosen.settings else ():
        folder = _baselines(chosen, dataset).parent
        changes = {"dataset": dataset, "output_dir": str(folder)}
        arguments = ["launch.baselines", *options.training_arguments(changes)]
        failures += grid.run_command(arguments, folder.with_suffix(".log"))
    return failures


def _baselines(chosen: GridOptions, dataset: str) -> Path:
    return output_directory(chosen) / "baselines" / _folder(dataset) / "baselines.json"


def draw(chosen: GridOptions, trainings: Sequence[Job]) -> list[str]:
    """Draws Figure 1 and the invariance curves of the first seed of each method, unless they are drawn.

    Returns:
      A line for each picture that could not be drawn.
    """
    failures = []
    for dataset in datasets(chosen):
        place = functools.partial(_place, dataset, seed=0, directory=output_directory(chosen))
        own = [job.run for job in trainings if job.dataset == dataset and job.options.seed == 0]
        folder = output_directory(chosen) / "figures" / _folder(dataset)
        if not chosen.etas and not chosen.settings:
            failures += _draw("figure_1", [Run(place(label)) for label in _FIGURE_1], folder)
        if chosen.invariance:
            failures += _draw("invariance", own, folder)
    return failures


def _draw(picture: str, runs: Sequence[Run], folder: Path) -> list[str]:
    """Has launch.compare draw one of its pictures, unless there is one of these runs, and newer."""
    runs = [run for run in runs if run.is_complete()]
    path, log = folder / f"{picture}.png", folder / f"{picture}.log"
    other = {"figure_1": "invariance", "invariance": "figure_1"}[picture]
    arguments = [f"--runs={','.join(str(run.directory) for run in runs)}", f"--output_dir={folder}"]
    data_dir = options.given()["data_dir"]
    arguments += [f"--no{other}", *([f"--data_dir={data_dir}"] if data_dir else [])]
    arguments = ["launch.compare", *arguments]
    newest = max((run.evaluation.stat().st_mtime for run in runs), default=0.0)
    is_drawn = path.exists() and path.stat().st_mtime > newest and grid.was_run(arguments, log)
    return grid.run_command(arguments, log) if runs and not is_drawn else []


def _summaries(
    chosen: GridOptions, trainings: Sequence[Job]
) -> Iterable[tuple[str, dict[str, Any], str]]:
    """Yields the name, the summary and the Markdown of each file."""
    found = {}
    for job in trainings:
        if job.finished:
            found.setdefault((job.dataset, job.label), []).append(job.finished.read_evaluation())
    if chosen.settings:
        for dataset in datasets(chosen):
            cells = {label: found.get((dataset, label), []) for label in _cells(chosen)}
            path = _baselines(chosen, dataset)
            baselines = files.read_json(path) if path.exists() else {}
            network = _network(trainings[0].options)
            summary = invariance_study.summarize(dataset, network, cells, baselines)
            yield f"invariance_{_folder(dataset)}", summary, invariance_study.markdown(summary)
        return
    if not chosen.etas:
        summary = reproduction.summarize_table(chosen.table, datasets(chosen), found)
        yield f"table_{chosen.table}", summary, result_tables.table_markdown(summary)
        return
    for dataset in datasets(chosen):
        cells = {eta: found.get((dataset, eta_label(eta)), []) for eta in chosen.etas}
        summary = reproduction.summarize_eta(dataset, cells)
        yield f"eta_{_folder(dataset)}", summary, result_tables.eta_markdown(summary)


def _network(of_one: Options) -> str:
    """Returns what all trainings of a study have as network, for the person who reads."""
    return of_one.network if of_one.width == 1.0 else f"{of_one.network} of width {of_one.width:g}"


def title(chosen: GridOptions) -> str:
    """Returns what the progress line calls the grid."""
    if chosen.settings:
        return "invariance"
    return "eta" if chosen.etas else f"table {chosen.table}"
