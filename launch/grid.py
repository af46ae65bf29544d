"""Trainings as child processes: which are left to do, how far they are, and which failed."""

import contextlib
import ctypes
import dataclasses
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from tqdm import tqdm

from crvae_tf import files
from crvae_tf.runs import Run
from launch.options import PLACES, Options

_SECONDS_BETWEEN_LOOKS = 0.5
_EVALUATION_SHARE = 0.1
TRAINING = "launch.train"
_END_WITH_PARENT = 1  # PR_SET_PDEATHSIG of Linux's prctl.


@dataclasses.dataclass(frozen=True)
class Job:
    """One training of a grid."""

    dataset: str
    label: str
    """Names the method, or what else tells it from the others of its data set."""
    options: Options
    arguments: tuple[str, ...]
    """Of `launch.train`."""
    record: Run | None = None
    """Where what tables need of it is kept once it is finished, or None."""

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
        """Where the training's output goes, beside the run."""
        return Path(f"{self.options.output_dir}.log")

    @property
    def work(self) -> float:
        """What it costs: passes of the networks over the training images, roughly."""
        pairs = self.options.views_per_image
        views = 2.0 * pairs if self.options.lambda_ or self.options.eta else 1.0
        samples = self.options.importance_samples if self.options.model == "iwae" else 1
        return self.options.epochs * views * (1.0 + samples) / 2.0

    @property
    def finished(self) -> Run | None:
        """The run, or what is kept of it, if it is finished."""
        if self.run.is_complete():
            return self.run
        return self.record if self.record and self.record.evaluation.exists() else None

    def keep_record(self) -> None:
        """Keeps what tables need of the run, if it is finished and that is asked for."""
        if self.record and self.run.is_complete():
            self.run.keep_record(self.record.directory, left_out=PLACES)

    def done(self) -> float:
        """Returns how much of the work is done."""
        if self.finished:
            return self.work
        epochs = len(self.run.read_metrics())
        return self.work * (1.0 - _EVALUATION_SHARE) * min(epochs / self.options.epochs, 1.0)

    def check(self) -> None:
        """Raises InputError if its directory or its record is of another run or evaluation."""
        for held in (self.run, self.record):
            if held and held.config.exists():
                expected = self.options.to_config(), self.options.free
                held.check_same(*expected)
                held.check_evaluated(*expected)


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
    with _progress(jobs, title) as show, _ended(working):
        while waiting or working:
            for job in waiting[:]:
                if len(working) < parallel and _start(job, working, parallel):
                    waiting.remove(job)
            show(working, failures)
            time.sleep(_SECONDS_BETWEEN_LOOKS)
            _collect(working, failures)
        show(working, failures)
    return list(failures.values())


def _start(job: Job, working: dict[Job, subprocess.Popen], parallel: int) -> bool:
    """Starts a training, and returns whether it need not be started later.

    The log stays locked for as long as the training writes to it, also where this process is killed:
    no second one may work on the same run.
    """
    job.log.parent.mkdir(parents=True, exist_ok=True)
    with open(job.log, "ab") as log:
        if not files.locked(log):
            return False
        if not job.run.is_complete():
            working[job] = start_command([TRAINING, *job.arguments], log, parallel)
    return True


def start_command(arguments: Sequence[str], log: BinaryIO, parallel: int = 1) -> subprocess.Popen:
    """Starts `python -m` with `arguments`; it ends with this process, and before it only when told.

    Args:
      arguments: the module and its flags.
      log: takes its output.
      parallel: how many share the machine, each with its part of the cores and of a GPU's memory.
    """
    return subprocess.Popen(
        [sys.executable, "-m", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        env=_shares(parallel) | os.environ,
        preexec_fn=_follow_parent,
    )


def _shares(parallel: int) -> dict[str, str]:
    """Returns the environment in which TensorFlow leaves the others their share of the machine."""
    if parallel == 1:
        return {}
    threads = str(max(1, len(os.sched_getaffinity(0)) // parallel))
    return {
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
        "TF_NUM_INTRAOP_THREADS": threads,
        "TF_NUM_INTEROP_THREADS": threads,
    }


def run_command(arguments: Sequence[str], log: Path) -> list[str]:
    """Runs `python -m` with `arguments` to its end; returns a line if it failed.

    Another process that does so with the same log is waited for.

    Args:
      arguments: the module and its flags.
      log: a file that takes them as its first line, and its output.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "ab") as output:
        while not files.locked(output):
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        output.truncate(0)
        output.write(f"{shlex.join(arguments)}\n".encode(errors="surrogateescape"))
        output.flush()
        process = start_command(arguments, output)
        with _ended({log: process}):
            code = process.wait()
    return [f"{arguments[0]} failed: {last_line(log)} (log: {log})"] if code else []


_C_LIBRARY = ctypes.CDLL(None)


def _follow_parent() -> None:
    """Has this process end when its parent says so or, where the system can do that, is killed.

    A terminal sends its SIGINT to both: with the parent's SIGTERM that would be two signals, and a
    training ends at the second without a checkpoint.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(_C_LIBRARY, "prctl"):
        _C_LIBRARY.prctl(_END_WITH_PARENT, signal.SIGTERM)


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


def was_run(arguments: Sequence[str], log: Path) -> bool:
    """Returns whether `run_command` wrote `log` with these arguments."""
    text = log.read_bytes() if log.exists() else b""
    return text.startswith(f"{shlex.join(arguments)}\n".encode(errors="surrogateescape"))


def last_line(log: Path) -> str:
    """Returns the last line of a log that is not empty."""
    lines = re.split(r"[\r\n]+", log.read_text(encoding="utf-8", errors="replace").strip())
    return lines[-1].strip() or "no output"


@contextlib.contextmanager
def _ended(working: dict[Any, subprocess.Popen]) -> Iterator[None]:
    """Ends the processes that are left when this one stops, by an interrupt say."""
    try:
        yield
    finally:
        for process in working.values():
            process.terminate()
        for process in working.values():
            process.wait()


@contextlib.contextmanager
def _progress(jobs: Sequence[Job], title: str) -> Iterator:
    """Yields a function that shows one line for the whole grid, with the time that is left."""
    bar = tqdm(
        total=sum(job.work for job in jobs),
        initial=sum(job.done() for job in jobs),
        bar_format="{desc} |{bar:20}| {percentage:.0f}%, {elapsed} gone, {remaining} left",
        smoothing=0.0,
        mininterval=0.5 if sys.stderr.isatty() else 60.0,
        file=sys.stderr,
    )

    def show(working, failures):
        finished = sum(job.finished is not None for job in jobs)
        now = ", ".join(_position(job) for job in working)
        bar.set_description_str(
            f"{title}: {finished} of {len(jobs)} runs" + (f"; {now}" if now else ""), False
        )
        bar.update(sum(job.work if job in failures else job.done() for job in jobs) - bar.n)

    with bar:
        yield show


def _position(job: Job) -> str:
    epochs = len(job.run.read_metrics())
    place = f"epoch {epochs + 1} of {job.options.epochs}"
    return f"{job.name}, {place if epochs < job.options.epochs else 'evaluation'}"
