"""A study: its trainings as child processes, and the tables and pictures that are made of them."""

import dataclasses
import itertools
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from crvae_tf.evaluation import baselines
from crvae_tf.runs import drawing, files
from crvae_tf.runs.run import Run
from crvae_tf.studies import comparisons, pages, paper
from crvae_tf.studies.comparisons import Evaluations, dataset_title, method_title
from launch import assembly, command, options
from launch.options import PLACES, Options

TRAINING = ("crvae_tf", "train")
"""Found also where another `launch` is on the path."""

_FIGURE_1 = ("VAE", "VAE+Aug", "CR-VAE")
_SECONDS_BETWEEN_LOOKS = 0.5


@dataclasses.dataclass(frozen=True)
class Job:
    """A training: `arguments` of `launch.train`; `record` keeps what tables need of the run."""

    dataset: str
    label: str
    options: Options
    arguments: tuple[str, ...]
    record: Run | None = None

    @property
    def run(self) -> Run:
        return Run(self.options.output_dir)

    @property
    def log(self) -> Path:
        return Path(f"{self.options.output_dir}.log")

    @property
    def finished(self) -> Run | None:
        """The run, or its record, if it is finished."""
        if self.run.is_complete():
            return self.run
        return self.record if self.record and self.record.evaluation.exists() else None

    def epochs_done(self) -> int:
        """Returns how many epochs are trained."""
        return self.options.epochs if self.finished else len(self.run.read_metrics())

    def keep_record(self) -> None:
        """Keeps what tables need of the run, if it is finished and a record is wanted."""
        if self.record and self.run.is_complete():
            # The evaluation last, because a record that has one counts as finished.
            for path in (self.run.config, self.run.provenance, self.run.evaluation):
                held = self.run.read_json(path)
                kept = {name: value for name, value in held.items() if name not in PLACES}
                files.write_json(self.record.directory / path.name, kept)

    def check(self) -> None:
        """Raises InputError if its directory or its record is of another run or evaluation."""
        wanted = self.options.to_config(), self.options.free
        for held in (self.run, self.record):
            if held and held.config.exists():
                held.check_same(*wanted)
                held.check_evaluated(*wanted)


@dataclasses.dataclass(frozen=True)
class Study:
    """`table_4` or `settings`; `cells` are the flags of methods or settings by label."""

    name: str
    cells: dict[str, dict[str, Any]]
    datasets: tuple[str, ...]
    directory: Path
    table: int | None = None

    def run(self, dataset: str, label: str, seed: int) -> Run:
        """Returns where a run lives."""
        name = re.sub(r"[^\w.]+", "_", label)
        return Run(self.directory / "runs" / f"{_folder(dataset)}_{name}_seed{seed}")

    def baselines(self) -> Run:
        """Returns the run that holds the baselines, of the first data set."""
        return Run(self.directory / "baselines" / _folder(self.datasets[0]))

    def jobs(self, seeds: int, records: str | None = None) -> Iterable[Job]:
        """Yields the trainings: all methods of the first seed, then those of the next."""
        for seed, dataset, label in itertools.product(range(seeds), self.datasets, self.cells):
            place = self.run(dataset, label, seed).directory
            changes = {"seed": seed, "dataset": dataset, "output_dir": str(place)} | self.cells[label]
            record = Run(Path(records, place.name)) if records else None
            given = options.named() | changes
            arguments = [f"--{name}={value}" for name, value in given.items() if value is not None]
            yield Job(dataset, label, options.resolve(changes), tuple(arguments), record)


def _folder(dataset: str) -> str:
    return re.sub(r"\W+", "_", dataset)


def run(jobs: Sequence[Job], parallel: int, title: str) -> list[str]:
    """Trains what is not finished, `parallel` at a time, and returns a line for each that failed.

    Raises InputError if a directory holds another run than the grid's.
    """
    for job in jobs:
        job.check()
    waiting = [job for job in jobs if not job.finished]
    working: dict[Job, subprocess.Popen] = {}
    failures: list[str] = []
    bar = command.ProgressBar(title, f"epochs of {len(jobs)} runs")
    try:
        while waiting or working:
            for job in waiting[:]:
                if len(working) < parallel and _start(job, working, parallel):
                    waiting.remove(job)
            time.sleep(_SECONDS_BETWEEN_LOOKS)
            failures += _collect(working)
            bar(sum(job.epochs_done() for job in jobs), sum(job.options.epochs for job in jobs))
    finally:  # An interrupt ends them too.
        for process in working.values():
            process.terminate()
        for process in working.values():
            process.wait()
    bar.close()
    return failures


def _start(job: Job, working: dict[Job, subprocess.Popen], parallel: int) -> bool:
    """Starts a training unless another process is at work on it, as the lock of its log tells.

    Returns whether it is dealt with. If this process is killed, the training and its lock stay.
    """
    job.log.parent.mkdir(parents=True, exist_ok=True)
    with open(job.log, "ab") as log:
        if not files.locked(log):
            return False
        if not job.run.is_complete():
            working[job] = subprocess.Popen(
                [sys.executable, "-m", *TRAINING, *job.arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=_shares(parallel) | os.environ,
                start_new_session=True,  # A terminal's Ctrl-C reaches this process alone.
            )
    return True


def _shares(parallel: int) -> dict[str, str]:
    """Returns the environment in which TensorFlow leaves other trainings their share of the machine."""
    if parallel == 1:
        return {}
    threads = str(max(1, len(os.sched_getaffinity(0)) // parallel))
    names = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
    return {"TF_FORCE_GPU_ALLOW_GROWTH": "true"} | dict.fromkeys(names, threads)


def _collect(working: dict[Job, subprocess.Popen]) -> Iterable[str]:
    """Takes those that ended out of `working`; yields a line for each that failed."""
    for job, process in list(working.items()):
        code = process.poll()
        if code is None:
            continue
        del working[job]
        job.keep_record()
        if code or not job.run.is_complete():
            said = job.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            reason = f"killed by signal {-code}" if code < 0 else ["no output", *said][-1]
            name = f"{job.dataset} {job.label} seed {job.options.seed}"
            failure = f"{name} failed: {reason} (log: {job.log})"
            tqdm.write(failure, file=sys.stderr)
            yield failure


def measure_baselines(study: Study) -> None:
    """Measures raw pixels, PCA and SimCLR, by the network and on the pairs of a study.

    Raises InputError if their directory holds those of other options.
    """
    run = study.baselines()
    about = {"dataset": study.datasets[0], "output_dir": str(run.directory)}
    chosen = options.resolve(about | {"pose": "none", "views_per_image": 1})
    data = assembly.load_data(chosen)
    run.begin(assembly.config(chosen, data), (*PLACES, *options.CHECKPOINTING, "versions"))
    if not run.baselines.exists():
        encoder, _ = assembly.make_networks(chosen, data)
        view, test_view = assembly.transformation(chosen), assembly.test_transformation(chosen)
        baselines.train_contrastive(encoder, data, assembly.training_settings(chosen, encoder))
        found = baselines.measure(encoder, data, view, test_view, chosen.eval_images)
        run.write_json(run.baselines, found)


def write(study: Study, jobs: Sequence[Job]) -> str:
    """Writes the tables of the finished runs as Markdown, CSV and JSON, and returns the Markdown."""
    study.directory.mkdir(parents=True, exist_ok=True)
    found, runs = {(job.dataset, job.label): [] for job in jobs}, []
    for job in jobs:
        job.keep_record()
        if held := job.finished:
            found[job.dataset, job.label].append(held.read_json(held.evaluation))
            runs.append(held)
    if study.table:
        path = study.directory / study.name
        summary = paper.summarize(study.table, study.datasets, found)
    else:
        path = study.directory / f"{study.name}_{_folder(study.datasets[0])}"
        summary = _compared(study, jobs[0].options, found)
        comparisons.frontier(f"{path}_frontier.png", summary["rows"])
    return pages.write(path, summary, runs, [options.command_line()])


def _compared(study: Study, chosen: Options, found: Evaluations) -> dict[str, Any]:
    """Returns the summary of settings and their baselines, which are of one data set."""
    (dataset,), run = study.datasets, study.baselines()
    found |= {(dataset, name): [measured] for name, measured in run.read_json(run.baselines).items()}
    width = "" if chosen.width == 1.0 else f" of width {chosen.width:g}"
    title = f"Settings compared, {dataset_title(dataset)}, {chosen.network}{width}"
    return comparisons.summarize(title, found)


def draw(study: Study, data_dir: str | None, with_curves: bool) -> None:
    """Draws Figure 1 and, if asked for, the invariance curves of the first seed of each method."""
    for dataset in study.datasets:
        runs = {method_title(label): study.run(dataset, label, 0) for label in study.cells}
        complete = {title: run for title, run in runs.items() if run.is_complete()}
        finished = {title: assembly.options_of(run, data_dir) for title, run in complete.items()}
        folder = study.directory / "figures" / _folder(dataset)
        folder.mkdir(parents=True, exist_ok=True)
        planes = {
            title: assembly.latent_means(of_run, *assembly.open_run(of_run))
            for title, of_run in finished.items()
            if study.table and title in _FIGURE_1
        }
        if planes:
            drawing.latent_planes(folder / "figure_1.png", planes)
        if with_curves and finished:
            _draw_curves(folder / "invariance.png", finished)


def _draw_curves(path: Path, finished: Mapping[str, Options]) -> None:
    curves = {title: assembly.invariance_curves(of_run) for title, of_run in finished.items()}
    view = assembly.test_transformation(next(iter(finished.values())))
    ranges = {name: getattr(view, name) for name in comparisons.TRANSFORMATIONS}
    comparisons.invariance_curves(path, curves, ranges)
