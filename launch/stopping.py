"""What SIGINT and SIGTERM do where no training notes them: one line, and an exit status."""

import contextlib
import os
import signal
import sys
import types
from collections.abc import Iterator


def stop(number: int, frame: types.FrameType | None = None) -> None:
    """Ends the process, whose `frame` the signal `number` came in."""
    print("\nstopped; the same command goes on", file=sys.stderr, flush=True)
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            os._exit(128 + number)  # A module in C makes an error of its own of what is raised in it.
        frame = frame.f_back
    sys.exit(128 + number)


@contextlib.contextmanager
def listening() -> Iterator[None]:
    """Has `stop` called on both signals, but for one that the process ignores, and then no longer."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number, handler in before.items():
        if handler != signal.SIG_IGN:
            signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
