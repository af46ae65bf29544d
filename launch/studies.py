"""What `launch.reproduce` trains, and what it makes of the finished runs. No mathematics."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from crvae_tf import files, reproduction, result_tables, results
from crvae_tf.reproduction import TABLES, Method
from crvae_tf.runs import Run
from launch import options
from launch.grid import Job
from launch.options import Options, UsageError
from launch.study_options import GridOptions, ResultsOptions

_ETA_METHOD = "cr_vae"


def output_directory(chosen: GridOptions) -> Path:
    """Returns where the grid's runs and tables go."""
    given = options.given()["output_dir"]
    study = "eta" if chosen.etas else f"table_{chosen.table}"
    return Path(given or f"runs/{study}_{Path(chosen.preset).stem}")


def jobs(chosen: GridOptions) -> list[Job]:
    """Returns the trainings: all methods of the first seed, then those of the next."""
    return [
        _job(dataset, label, changes | {"seed": seed}, output_directory(chosen))
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
    """Returns the flags of each method, or of each eta, by its label."""
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


def _job(dataset: str, label: str, changes: dict[str, Any], directory: Path) -> Job:
    folder = re.sub(r"\W+", "_", dataset)
    place = directory / "runs" / f"{folder}_{label}_seed{changes['seed']}"
    changes = changes | {"dataset": dataset, "output_dir": str(place)}
    return Job(dataset, label, options.resolve(changes), tuple(options.training_arguments(changes)))


def write(chosen: GridOptions, grid: Sequence[Job]) -> str:
    """Writes the tables of the finished runs as Markdown, CSV and JSON, and returns the Markdown."""
    texts = []
    command = options.command_line()
    for name, summary, text in _summaries(chosen, grid):
        path = output_directory(chosen) / name
        runs = [job.run for job in grid if job.dataset in summary["datasets"] and job.run.is_complete()]
        files.write_json(f"{path}.json", summary | {"provenance": results.provenance(runs, [command])})
        files.write_text(f"{path}.csv", result_tables.csv_text(summary))
        files.write_text(f"{path}.md", text)
        texts.append(text)
    return "\n".join(texts)


def _summaries(chosen: GridOptions, grid: Sequence[Job]) -> Iterable[tuple[str, dict[str, Any], str]]:
    """Yields the name, the summary and the Markdown of each file."""
    found = {}
    for job in grid:
        if job.run.is_complete():
            found.setdefault((job.dataset, job.label), []).append(job.run.read_evaluation())
    if not chosen.etas:
        summary = reproduction.summarize_table(chosen.table, datasets(chosen), found)
        yield f"table_{chosen.table}", summary, result_tables.table_markdown(summary)
        return
    for dataset in datasets(chosen):
        cells = {eta: found.get((dataset, eta_label(eta)), []) for eta in chosen.etas}
        summary = reproduction.summarize_eta(dataset, cells)
        name = f"eta_{re.sub(r'[^a-z0-9]+', '_', dataset.lower())}"
        yield name, summary, result_tables.eta_markdown(summary)


def title(chosen: GridOptions) -> str:
    """Returns what the progress line calls the grid."""
    return "eta" if chosen.etas else f"table {chosen.table}"


def summary_of_runs(chosen: ResultsOptions) -> dict[str, Any]:
    """Returns the summary of the finished runs that --runs names."""
    runs = [finished(directory) for directory in chosen.runs]
    found = {}
    for run in runs:
        cell = (run.read_config()["dataset"], _label(Options.from_config(run.read_config())))
        found.setdefault(cell, []).append(run.read_evaluation())
    labels = {label for _, label in found}
    published = chosen.published or {}
    if not labels.issuperset(published):
        raise UsageError(
            f"--published must be of {', '.join(sorted(labels))}; received {', '.join(published)}"
        )
    title = chosen.title or chosen.add
    summary = reproduction.summarize_runs(title, found, published, chosen.published_by)
    commands = dict.fromkeys(c for run in runs for c in run.read_provenance().get("commands", []))
    return summary | {"provenance": results.provenance(runs, list(commands))}


def finished(directory: str) -> Run:
    """Returns the finished run in a directory.

    Raises:
      UsageError: there is none.
    """
    run = Run(directory)
    if not run.is_complete():
        raise UsageError(f"--runs must be folders of finished runs; received {directory}")
    return run


def _label(of_run: Options) -> str:
    """Returns what a run is called among others: its method, with K or beta."""
    parameters = {"iwae": of_run.importance_samples, "beta_vae": of_run.beta}
    number = parameters.get(of_run.model)
    return of_run.method if number is None else f"{of_run.method}_{number:g}"
