"""SIGTERM and SIGINT: the run notes them, and finishes its step first."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from typing import Any


class Interruption:
    """The signal, if any, that told the process to stop."""

    def __init__(self):
        self.signal: int | None = None

    @contextlib.contextmanager
    def noted(self) -> Iterator[None]:
        """Notes the first SIGTERM or SIGINT that arrives; a second one acts as it always does."""
        with handlers_given_back() as before:

            def note(number, frame):
                self.signal = number
                _handle(before)

            _handle(dict.fromkeys(before, note))
            yield


@contextlib.contextmanager
def handlers_given_back() -> Iterator[dict[int, Any]]:
    """Yields the handlers of SIGTERM and SIGINT, and restores them afterwards.

    One that the process ignores, as a shell has what it starts in the background ignore SIGINT, is
    not yielded and stays ignored. Python delivers signals to the main thread alone: in another there
    are none to yield.
    """
    in_main = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT) if in_main}
    try:
        yield {number: handler for number, handler in before.items() if handler != signal.SIG_IGN}
    finally:
        _handle(before)


def _handle(handlers: dict[int, Any]) -> None:
    for number, handler in handlers.items():
        signal.signal(number, handler)
