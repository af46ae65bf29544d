"""Commands given in this process, where TensorFlow is loaded once for all of them."""

import contextlib
import gc
import io
import logging
import sys
import traceback
from collections.abc import Callable, Sequence
from typing import NamedTuple

from absl import flags

from launch import command


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
        told = [line for line in self.err.splitlines() if line.startswith("error: ")]
        last = self.err.splitlines()[-1:]
        return not self.fault and (
            self.code == 0 or (self.code == 1 and told == last and len(told) == 1)
        )


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
