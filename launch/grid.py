"""Trainings as child processes: which are left to do, how far they are, and which failed."""

import dataclasses
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from crvae_tf.runs import files
from crvae_tf.runs.run import Run
from launch.options import PLACES, Options

TRAINING = "launch.train"
_SECONDS_BETWEEN_LOOKS = 0.5


@dataclasses.dataclass(frozen=True)
class Job:
    """One training of a grid."""

    dataset: str
    label: str
    """Names the method or the setting."""
    options: Options
    arguments: tuple[str, ...]
    """Of `launch.train`."""
    record: Run | None = None
    """Keeps what tables need of the finished run, or None."""

    @property
    def name(self) -> str:
        """For the person who watches."""
        return f"{self.dataset} {self.label} seed {self.options.seed}"

    @property
    def run(self) -> Run:
        """Its directory."""
        return Run(self.options.output_dir)

    @property
    def log(self) -> Path:
        """Takes the training's output, beside the run."""
        return Path(f"{self.options.output_dir}.log")

    @property
    def work(self) -> float:
        """Its cost: passes of the networks over the training images, roughly."""
        options = self.options
        views = 2.0 * options.views_per_image if options.lambda_ else 1.0
        samples = options.importance_samples if options.model == "iwae" else 1
        return options.epochs * views * (1.0 + samples) / 2.0

    @property
    def finished(self) -> Run | None:
        """The run, or its record, if it is finished."""
        if self.run.is_complete():
            return self.run
        return self.record if self.record and self.record.evaluation.exists() else None

    def keep_record(self) -> None:
        """Keeps what tables need of the run, if it is finished and a record is wanted."""
        if self.record and self.run.is_complete():
            self.run.keep_record(self.record.directory, left_out=PLACES)

    def done(self) -> float:
        """Returns how much of the work is done."""
        epochs = self.options.epochs if self.finished else len(self.run.read_metrics())
        return self.work * min(epochs / self.options.epochs, 1.0)

    def check(self) -> None:
        """Raises InputError if its directory or its record is of another run or evaluation."""
        for held in (self.run, self.record):
            if held and held.config.exists():
                held.check_same(self.options.to_config(), self.options.free)
                held.check_evaluated(self.options.to_config(), self.options.free)


def run(jobs: Sequence[Job], parallel: int, title: str) -> list[str]:
    """Trains what is not finished; a training that fails does not stop the others.

    Args:
      jobs: of the grid.
      parallel: trainings at a time, 1 or more.
      title: of the progress line.

    Returns:
      A line for each that failed.

    Raises:
      InputError: a directory holds another run than the grid's.
    """
    for job in jobs:
        job.check()
    waiting = [job for job in jobs if not job.finished]
    working: dict[Job, subprocess.Popen] = {}
    failures: dict[Job, str] = {}
    with _progress(jobs) as bar:
        try:
            while waiting or working:
                for job in waiting[:]:
                    if len(working) < parallel and _start(job, working, parallel):
                        waiting.remove(job)
                _show(bar, title, jobs, working, failures)
                time.sleep(_SECONDS_BETWEEN_LOOKS)
                _collect(working, failures)
            _show(bar, title, jobs, working, failures)
        finally:  # An interrupt ends them too.
            for process in working.values():
                process.terminate()
            for process in working.values():
                process.wait()
    return list(failures.values())


def _start(job: Job, working: dict[Job, subprocess.Popen], parallel: int) -> bool:
    """Starts a training unless another process is at work on it; returns whether it is dealt with.

    The training holds the lock of its log. If this process is killed, the training goes on, and the
    same command waits for it.
    """
    job.log.parent.mkdir(parents=True, exist_ok=True)
    with open(job.log, "ab") as log:
        if not files.locked(log):
            return False
        if not job.run.is_complete():
            working[job] = subprocess.Popen(
                [sys.executable, "-m", TRAINING, *job.arguments],
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


def _collect(working: dict[Job, subprocess.Popen], failures: dict[Job, str]) -> None:
    """Takes those that ended out of `working`, and notes which failed."""
    for job, process in list(working.items()):
        code = process.poll()
        if code is None:
            continue
        del working[job]
        job.keep_record()
        if code or not job.run.is_complete():
            reason = f"killed by signal {-code}" if code < 0 else last_line(job.log)
            failures[job] = f"{job.name} failed: {reason} (log: {job.log})"
            tqdm.write(failures[job], file=sys.stderr)


def last_line(log: Path) -> str:
    """Returns the last line of a log that is not empty."""
    lines = re.split(r"[\r\n]+", log.read_text(encoding="utf-8", errors="replace").strip())
    return lines[-1].strip() or "no output"


def _progress(jobs: Sequence[Job]) -> tqdm:
    """Returns one line for the whole grid, with the time that is left."""
    return tqdm(
        total=sum(job.work for job in jobs),
        initial=sum(job.done() for job in jobs),
        bar_format="{desc} |{bar:20}| {percentage:.0f}%, {elapsed} gone, {remaining} left",
        smoothing=0.0,
        mininterval=0.5 if sys.stderr.isatty() else 60.0,
        file=sys.stderr,
    )


def _show(bar: tqdm, title: str, jobs: Sequence[Job], working, failures) -> None:
    finished = sum(job.finished is not None for job in jobs)
    now = [
        f"; {job.name}, {len(job.run.read_metrics())} of {job.options.epochs} epochs" for job in working
    ]
    bar.set_description_str(f"{title}: {finished} of {len(jobs)} runs{''.join(now)}", refresh=False)
    bar.update(sum(job.work if job in failures else job.done() for job in jobs) - bar.n)
