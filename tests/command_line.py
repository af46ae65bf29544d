"""Commands and flags given in this process, where TensorFlow is loaded once for all of them.

Import `forgotten_flags` to have it about every test.
"""

import contextlib
import gc
import io
import logging
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import NamedTuple

import pytest
from absl import flags

from launch import command, options


class Outcome(NamedTuple):
    """How a command ended."""

    code: int
    """Its exit status."""
    out: str
    err: str
    fault: str
    """The traceback of what it raised; empty where it exited as it should."""

    @property
    def is_clean(self) -> bool:
        """Whether it succeeded, or failed with one line that says why."""
        lines = self.err.splitlines()
        told = [line for line in lines if line.startswith("error: ")]
        return not self.fault and (self.code == 0 or (self.code == 1 and told == lines[-1:] != []))


def run(main: Callable[[], None], arguments: Sequence[str]) -> Outcome:
    """Parses `arguments` as a launcher does and calls `main`."""
    flags.FLAGS.unparse_flags()
    kept, sys.argv = sys.argv, ["launch", *arguments]
    logger = logging.getLogger("crvae_tf")
    propagated, level = logger.propagate, logger.level
    out, err, fault, code = io.StringIO(), io.StringIO(), "", 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            command.run(main)
        except SystemExit as stopped:
            code = stopped.code or 0
        except BaseException:
            fault, code = traceback.format_exc(), 1
    sys.argv = kept
    flags.FLAGS.unparse_flags()  # They are one for the whole process: the next command has its own.
    logger.handlers.clear()
    logger.propagate = propagated
    logger.setLevel(level)
    gc.collect()  # A run is locked while something refers to it; a process of its own would have ended.
    return Outcome(code, out.getvalue(), err.getvalue(), fault)


@pytest.fixture(autouse=True)
def forgotten_flags():
    """absl's flags are one set for the whole process."""
    flags.FLAGS.unparse_flags()
    yield
    flags.FLAGS.unparse_flags()


@contextlib.contextmanager
def defined(define):
    """Has the flags that a command's own `define` adds, without those that it drops."""
    before = {
        name: (flags.FLAGS.find_module_defining_flag(name), flags.FLAGS[name]) for name in flags.FLAGS
    }
    define()
    added = [name for name in flags.FLAGS if name not in before]
    try:
        yield
    finally:
        for name in added:
            delattr(flags.FLAGS, name)
        for name, (module, flag) in before.items():
            if name not in flags.FLAGS:
                flags.FLAGS[name] = flag
                flags.FLAGS.register_flag_by_module(module, flag)
        flags.FLAGS.unparse_flags()


def outcome_of(main, define, *arguments):
    """Gives a command, whose own flags `define` adds, in this process."""
    with defined(define):
        return run(main, arguments)


def resolved(*arguments):
    """The options that the arguments of a training stand for."""
    flags.FLAGS.unparse_flags()
    options.parse(["train", *arguments])
    return options.resolve()
