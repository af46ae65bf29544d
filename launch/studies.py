"""What `launch.reproduce` trains, and what it makes of the finished runs. No mathematics."""

import dataclasses
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from crvae_tf.errors import InputError
from crvae_tf.runs import files
from crvae_tf.runs.run import Run
from crvae_tf.studies import comparisons, curves, evaluation_frame, pages, paper
from crvae_tf.studies.paper import Method
from launch import baselines, compare, options
from launch.grid import Job
from launch.options import Options

_FIGURE_1 = ("vae", "vae_aug", "cr_vae")


@dataclasses.dataclass(frozen=True)
class Study:
    """A table of the paper, values of eta or settings, on data sets and seeds."""

    kind: str
    """`table`, `eta` or `invariance`."""
    cells: dict[str, dict[str, Any]]
    """The flags of each method or setting, by its label."""
    datasets: tuple[str, ...]
    seeds: int
    preset: str
    table: int | None = None
    records: str | None = None

    @property
    def title(self) -> str:
        """Its name in the progress line."""
        return f"table {self.table}" if self.kind == "table" else self.kind

    @property
    def directory(self) -> Path:
        """Holds its runs and tables."""
        name = f"{self.title.replace(' ', '_')}_{Path(self.preset).stem}"
        return Path(options.given()["output_dir"] or f"runs/{name}")

    def run(self, dataset: str, label: str, seed: int) -> Run:
        """Returns where a run lives."""
        name = re.sub(r"[^\w.]+", "_", label)
        return Run(self.directory / "runs" / f"{_folder(dataset)}_{name}_seed{seed}")


def study(
    table: int | None,
    etas: Sequence[float] | None,
    settings: Sequence[dict[str, Any]] | None,
    **more: Any,
) -> Study:
    """Returns the study of settings, of values of eta or, without either, a table.

    Raises:
      InputError: two settings or two values of eta have the same label.
    """
    dataset = options.given()["dataset"] if "dataset" in options.named() else None
    datasets = (dataset,) if dataset else paper.TABLES[table or 1].datasets
    if not etas and not settings:
        cells = {method.label: _flags(method) for method in paper.TABLES[table].methods}
        return Study("table", cells, datasets, table=table, **more)
    given = settings or [{"method": "cr_vae", "eta": eta} for eta in etas]
    cells = {comparisons.setting_label(flags): flags for flags in given}
    if len({frozenset(label.split()) for label in cells}) < len(given):
        name = "settings" if settings else "etas"
        raise InputError(name, "different in six digits", ", ".join(cells))
    return Study("invariance" if settings else "eta", cells, datasets, **more)


def _flags(method: Method) -> dict[str, Any]:
    return {"method": method.name} | ({"beta": method.beta} if method.beta != 1.0 else {})


def jobs(chosen: Study) -> list[Job]:
    """Returns the trainings: all methods of the first seed, then those of the next."""
    return [
        _job(chosen, dataset, label, changes, seed)
        for seed in range(chosen.seeds)
        for dataset in chosen.datasets
        for label, changes in chosen.cells.items()
    ]


def _job(chosen: Study, dataset: str, label: str, changes: dict[str, Any], seed: int) -> Job:
    place = chosen.run(dataset, label, seed).directory
    changes = changes | {"seed": seed, "dataset": dataset, "output_dir": str(place)}
    record = Run(Path(chosen.records) / place.name) if chosen.records else None
    arguments = tuple(options.training_arguments(changes))
    return Job(dataset, label, options.resolve(changes), arguments, record)


def check(trainings: Sequence[Job]) -> None:
    """Raises InputError, before others are trained, if the figures of a finished one cannot be read."""
    for job in trainings:
        if job.finished:
            evaluation_frame.read(job.finished)


def measure_baselines(chosen: Study) -> None:
    """Measures what settings are set against, unless that is done."""
    for dataset in chosen.datasets if chosen.kind == "invariance" else ():
        folder = _baselines(chosen, dataset).directory
        baselines.measure(options.resolve({"dataset": dataset, "output_dir": str(folder)}))


def _baselines(chosen: Study, dataset: str) -> Run:
    return Run(chosen.directory / "baselines" / _folder(dataset))


def write(chosen: Study, trainings: Sequence[Job]) -> str:
    """Writes the tables of the finished runs as Markdown, CSV and JSON, and returns the Markdown."""
    for job in trainings:
        job.keep_record()
    texts = []
    for name, summary in _summaries(chosen, trainings):
        path = chosen.directory / name
        own = [job for job in trainings if job.dataset in summary["datasets"]]
        runs = [job.finished for job in own if job.finished]
        texts.append(pages.write(path, summary, runs, [options.command_line()]))
        rows = summary["rows"]
        if chosen.kind == "eta" and len(rows):
            curves.eta_curves(f"{path}.png", rows)
        if chosen.kind == "invariance" and len(rows):
            curves.frontier(f"{path}.png", *comparisons.price_and_loss(rows))
    return "\n".join(texts)


def _summaries(chosen: Study, trainings: Sequence[Job]) -> Iterable[tuple[str, dict[str, Any]]]:
    """Yields the name and the summary of each file."""
    found = {}
    for job in trainings:
        evaluations = found.setdefault((job.dataset, job.label), [])
        if job.finished:
            evaluations.append(evaluation_frame.read(job.finished))
    if chosen.kind == "table":
        yield f"table_{chosen.table}", paper.summarize(chosen.table, chosen.datasets, found)
        return
    network = _network(trainings[0].options)
    for dataset in chosen.datasets:
        cells = {(dataset, label): found[dataset, label] for label in chosen.cells}
        path = _baselines(chosen, dataset).baselines
        for name, measured in (files.read_json(path) if path.exists() else {}).items():
            cells[dataset, name] = [measured]
        summary = comparisons.summarize(chosen.kind, cells, network=network)
        yield f"{chosen.kind}_{_folder(dataset)}", summary


def draw(chosen: Study, trainings: Sequence[Job], with_curves: bool) -> None:
    """Draws Figure 1 and, if asked for, the invariance curves of the first seed of each method."""
    for dataset in chosen.datasets:
        own = [job.run for job in trainings if job.dataset == dataset and job.options.seed == 0]
        figure_1 = [chosen.run(dataset, label, 0) for label in _FIGURE_1 if chosen.kind == "table"]
        for name, runs in (("figure_1", figure_1), ("invariance", own if with_curves else [])):
            directories = [str(run.directory) for run in runs if run.is_complete()]
            if directories:
                folder = chosen.directory / "figures" / _folder(dataset)
                compare.draw(directories, folder, options.given()["data_dir"], {name})


def _network(of_one: Options) -> str:
    """Returns the network of a study's trainings, for the person who reads."""
    return of_one.network if of_one.width == 1.0 else f"{of_one.network} of width {of_one.width:g}"


def _folder(dataset: str) -> str:
    return re.sub(r"\W+", "_", dataset)
