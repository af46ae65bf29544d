"""SIGTERM and SIGINT, noted so that the step under way can be finished."""

import contextlib
import signal
import threading
from collections.abc import Iterator


class Interruption:
    """Which signal, if any, has told the process to stop."""

    def __init__(self):
        self.signal: int | None = None

    @contextlib.contextmanager
    def noted(self) -> Iterator[None]:
        """Notes the first SIGTERM or SIGINT that arrives; a second one acts as it always does."""
        if threading.current_thread() is not threading.main_thread():
            yield  # Python delivers signals to the main thread alone.
            return
        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

        def note(number, frame):
            self.signal = number
            for each, handler in before.items():
                signal.signal(each, handler)

        for number in before:
            signal.signal(number, note)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
