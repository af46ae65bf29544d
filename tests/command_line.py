"""Commands and flags, given here, where TensorFlow is loaded once for all of them, or in a process."""

import contextlib
import gc
import io
import logging
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple
from unittest import mock

import pytest
from absl import app, flags

from launch import command, options

ROOT = Path(__file__).resolve().parent.parent
TINY = (
    "--network=mlp", "--width=0.1", "--latent_dim=4", "--epochs=1", "--nll_samples=5",
    "--eval_images=40",
)  # fmt: skip


class Outcome(NamedTuple):
    """How a command ended; `fault` is the traceback of an error."""

    code: int
    out: str
    err: str
    fault: str

    @property
    def is_clean(self) -> bool:
        """Whether it succeeded, or failed with one line that says why."""
        lines = self.err.splitlines()
        told = [line for line in lines if line.startswith("error: ")]
        is_told = self.code == 1 and len(told) == 1 and told == lines[-1:]
        return not self.fault and (self.code == 0 or is_told)


def assert_told(outcome: Outcome, *expected: str) -> None:
    """Asserts that a user was told of a mistake in one line, which has these parts."""
    assert outcome.is_clean, outcome
    assert outcome.code == 1
    for text in expected:
        assert text in outcome.err.splitlines()[-1]


@contextlib.contextmanager
def defined(define: Callable[[], None]) -> Iterator[None]:
    """Has the flags that `define` defines, none of them given, and takes them back afterwards."""
    app.define_help_flags()
    before = set(flags.FLAGS)
    define()
    flags.FLAGS.unparse_flags()
    try:
        yield
    finally:
        for name in set(flags.FLAGS) - before:
            delattr(flags.FLAGS, name)
        flags.FLAGS.unparse_flags()


def outcome_of(main: Callable[[], None], define: Callable[[], None], *arguments: str) -> Outcome:
    """Gives a command, whose flags `define` defines, in this process."""
    logger = logging.getLogger("crvae_tf")
    propagated, level = logger.propagate, logger.level
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    out, err, fault, code = io.StringIO(), io.StringIO(), "", 0
    streams = contextlib.redirect_stdout(out), contextlib.redirect_stderr(err)
    with defined(define), streams[0], streams[1], mock.patch("sys.argv", ["launch", *arguments]):
        try:
            command.run(main)
        except SystemExit as stopped:
            code = stopped.code or 0
        except BaseException:
            fault, code = traceback.format_exc(), 1
    for number, handler in handlers.items():
        signal.signal(number, handler)
    logger.handlers.clear()
    logger.propagate = propagated
    logger.setLevel(level)
    gc.collect()  # A run is locked while something refers to it; a process of its own would have ended.
    return Outcome(code, out.getvalue(), err.getvalue(), fault)


def outcome_of_python(*arguments: str, folder: Path = ROOT, **variables: str) -> Outcome:
    """Runs Python in a process of its own, which finds the modules of a folder first."""
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | variables,
        capture_output=True,
        text=True,
        check=False,
    )
    return Outcome(done.returncode, done.stdout, done.stderr, "")


def contents(folder: Path) -> dict[Path, int]:
    """Returns every file below a folder, and when it was written."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(autouse=True)
def forgotten_flags():
    """Defines the flags of a training; absl's flags are one set for the whole process."""
    with defined(options.define_training):
        yield


def resolved(*arguments):
    """The options that the arguments of a training stand for."""
    flags.FLAGS.unparse_flags()
    command.parse(["train", *arguments])
    return options.resolve()
