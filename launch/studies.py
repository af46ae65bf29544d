"""The trainings of `launch.reproduce`, and the tables it makes of them. No mathematics."""

import dataclasses
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from crvae_tf.errors import InputError
from crvae_tf.runs import files
from crvae_tf.runs.run import Run
from crvae_tf.studies import comparisons, pages, paper
from crvae_tf.studies.evaluation_frame import method_title
from launch import baselines, compare, options
from launch.grid import Job

_FIGURE_1 = ("vae", "vae_aug", "cr_vae")


@dataclasses.dataclass(frozen=True)
class Study:
    """A table of the paper, values of eta or settings, on data sets and seeds."""

    name: str
    """`table_4`, `eta` or `invariance`."""
    cells: dict[str, dict[str, Any]]
    """The flags of each method or setting, by its label."""
    datasets: tuple[str, ...]
    directory: Path
    """Holds its runs and tables."""
    table: int | None = None

    def run(self, dataset: str, label: str, seed: int) -> Run:
        """Returns where a run lives."""
        name = re.sub(r"[^\w.]+", "_", label)
        return Run(self.directory / "runs" / f"{_folder(dataset)}_{name}_seed{seed}")

    def baselines(self, dataset: str) -> Run:
        """Returns the run that holds the baselines."""
        return Run(self.directory / "baselines" / _folder(dataset))


def study(
    table: int | None, etas: Sequence[float], settings: Sequence[dict[str, Any]], preset: str
) -> Study:
    """Returns the study of settings, of values of eta or, without either, a table.

    Raises:
      InputError: two settings or two values of eta have the same label.
    """
    name = "invariance" if settings else "eta" if etas else f"table_{table}"
    dataset = options.given()["dataset"] if "dataset" in options.named() else None
    datasets = (dataset,) if dataset else paper.DATASETS[table or 1]
    if settings or etas:
        given = settings or [{"method": "cr_vae", "eta": eta} for eta in etas]
        table, cells = None, {comparisons.setting_label(flags): flags for flags in given}
        if len({frozenset(label.split()) for label in cells}) < len(given):
            argument = "settings" if settings else "etas"
            raise InputError(argument, "different in six digits", ", ".join(cells))
    else:
        cells = paper.methods(table)
    directory = options.given()["output_dir"] or f"runs/{name}_{Path(preset).stem}"
    return Study(name, cells, datasets, Path(directory), table)


def jobs(chosen: Study, seeds: int, records: str | None = None) -> list[Job]:
    """Returns the trainings: all methods of the first seed, then those of the next."""

    def job(dataset: str, label: str, seed: int) -> Job:
        place = chosen.run(dataset, label, seed).directory
        changes = {"seed": seed, "dataset": dataset, "output_dir": str(place)} | chosen.cells[label]
        record = Run(Path(records, place.name)) if records else None
        arguments = tuple(options.training_arguments(changes))
        return Job(dataset, label, options.resolve(changes), arguments, record)

    return [
        job(dataset, label, seed)
        for seed in range(seeds)
        for dataset in chosen.datasets
        for label in chosen.cells
    ]


def measure_baselines(chosen: Study) -> None:
    """Measures the baselines that settings are compared with, unless a run has done so."""
    for dataset in chosen.datasets if chosen.name == "invariance" else ():
        folder = str(chosen.baselines(dataset).directory)
        baselines.measure(options.resolve({"dataset": dataset, "output_dir": folder}))


def write(chosen: Study, trainings: Sequence[Job]) -> str:
    """Writes the tables of the finished runs as Markdown, CSV and JSON, and returns the Markdown."""
    texts = []
    for name, summary in _summaries(chosen, trainings):
        own = [job for job in trainings if job.dataset in summary["datasets"]]
        runs = [job.finished for job in own if job.finished]
        path = chosen.directory / name
        texts.append(pages.write(path, summary, runs, [options.command_line()]))
        if chosen.name == "eta" and runs:
            comparisons.eta_curves(f"{path}.png", summary["rows"])
    return "\n".join(texts)


def _summaries(chosen: Study, trainings: Sequence[Job]) -> Iterable[tuple[str, dict[str, Any]]]:
    """Yields the name and the summary of each file."""
    found = {(job.dataset, job.label): [] for job in trainings}
    for job in trainings:
        job.keep_record()
        if job.finished:
            found[job.dataset, job.label].append(job.finished.read_evaluation())
    if chosen.table:
        yield chosen.name, paper.summarize(chosen.table, chosen.datasets, found)
        return
    network, width = trainings[0].options.network, trainings[0].options.width
    network += "" if width == 1.0 else f" of width {width:g}"
    for dataset in chosen.datasets:
        cells = {cell: evaluations for cell, evaluations in found.items() if cell[0] == dataset}
        path = chosen.baselines(dataset).baselines
        measured = files.read_json(path) if path.exists() else {}
        cells |= {(dataset, name): [evaluation] for name, evaluation in measured.items()}
        summary = comparisons.summarize(chosen.name, cells, network=network)
        yield f"{chosen.name}_{_folder(dataset)}", summary


def draw(chosen: Study, trainings: Sequence[Job], with_curves: bool) -> None:
    """Draws Figure 1 and, if asked for, the invariance curves of the first seed of each method."""
    for dataset in chosen.datasets:
        first = {
            job.label: job.run for job in trainings if job.dataset == dataset and not job.options.seed
        }
        figure_1 = {label: chosen.run(dataset, label, 0) for label in _FIGURE_1 if chosen.table}
        for name, runs in (("figure_1", figure_1), ("invariance", first if with_curves else {})):
            finished = {method_title(label): run for label, run in runs.items() if run.is_complete()}
            if finished:
                folder = chosen.directory / "figures" / _folder(dataset)
                compare.draw(finished, folder, options.given()["data_dir"], {name})


def _folder(dataset: str) -> str:
    return re.sub(r"\W+", "_", dataset)
