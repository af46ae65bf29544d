"""What SIGINT and SIGTERM do where no training notes them: one line, and an exit status."""

import contextlib
import os
import signal
import sys
import types
from collections.abc import Callable, Iterator

Handler = Callable[[int, types.FrameType | None], None]
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def stop(number: int, frame: types.FrameType | None = None) -> None:
    """Ends the process, whose `frame` the signal `number` came in."""
    print("\nstopped; the same command goes on", file=sys.stderr, flush=True)
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            os._exit(128 + number)  # A module in C makes an error of its own of what is raised in it.
        frame = frame.f_back
    sys.exit(128 + number)


def listen(handler: Handler = stop) -> None:
    """Has `handler` called on SIGINT and SIGTERM; one that the process ignores stays ignored."""
    for number in _SIGNALS:
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, handler)


@contextlib.contextmanager
def listening(handler: Handler = stop) -> Iterator[None]:
    """Listens, and gives the signals back to whatever handled them before."""
    before = {number: signal.getsignal(number) for number in _SIGNALS}
    listen(handler)
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)
