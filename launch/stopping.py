"""What SIGINT and SIGTERM do where no training notes them: one line, and an exit status."""

import contextlib
import os
import signal
import sys
import types
from collections.abc import Callable, Iterator

Handler = Callable[[int, types.FrameType | None], None]


def stop(number: int, frame: types.FrameType | None = None) -> None:
    """Ends the process, whose `frame` the signal `number` came in."""
    print("\nstopped; the same command goes on", file=sys.stderr, flush=True)
    if _is_importing(frame):  # Modules in C make errors of their own of what is raised within them.
        os._exit(128 + number)
    sys.exit(128 + number)


def listen(handler: Handler = stop) -> None:
    """Has `handler` called on SIGINT and SIGTERM; one that the process ignores stays ignored."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, handler)


@contextlib.contextmanager
def listening(handler: Handler = stop) -> Iterator[None]:
    """Listens, and leaves the signals to who had them before when it is over."""
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    listen(handler)
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)


def _is_importing(frame: types.FrameType | None) -> bool:
    while frame is not None and frame.f_code.co_filename != "<frozen importlib._bootstrap>":
        frame = frame.f_back
    return frame is not None
