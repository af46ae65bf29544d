"""What all commands share: flags in, one line for a user's mistake, logs where they belong."""

import contextlib
import logging
import os
import signal
import sys
import types
from collections.abc import Callable, Iterator
from typing import NoReturn

from absl import app
from absl import logging as absl_logging

from crvae_tf import errors
from launch import flag_kinds, options


def run(main: Callable[[], None], define: Callable[[], None] = lambda: None) -> None:
    """Has `define` define the command's flags, parses them, calls `main` and exits.

    0 on success, 1 on a user's mistake or a run that cannot go on, 130 and 143 on SIGINT and SIGTERM.
    """
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # Not all encodings have what tables hold.
    define()
    with listening():
        app.run(lambda _: _guarded(main), flags_parser=_parse)


def stop(number: int, frame: types.FrameType | None = None) -> None:
    """Ends the process, whose `frame` the signal `number` came in."""
    print("\nStopped. Run the same command again to resume.", file=sys.stderr, flush=True)
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


def _parse(argv: list[str]) -> list[str]:
    try:
        return options.parse(argv)
    except errors.InputError as error:
        _fail(flag_kinds.told(error))


def _guarded(main: Callable[[], None]) -> None:
    with _silence():
        import tensorflow  # noqa: F401 - so that it is loaded here.
    _show_logs()
    try:
        main()
    except errors.Interrupted as interrupted:
        print(f"\n{interrupted}", file=sys.stderr)
        sys.exit(128 + interrupted.signal)
    except errors.InputError as error:
        _fail(flag_kinds.told(error))
    except Exception as error:
        if not errors.is_told(error):
            raise
        _fail(errors.one_line(error))


def _fail(message: str) -> NoReturn:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(1)


def _show_logs() -> None:
    """Prints what the library logs to standard error, and of others only warnings."""
    absl_logging.set_verbosity(absl_logging.WARNING)
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    logger = logging.getLogger("crvae_tf")
    logger.addHandler(logging.StreamHandler())
    logger.setLevel(logging.INFO)
    logger.propagate = False


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Holds back what TensorFlow writes to standard error, below Python, while it is imported."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ["KERAS_BACKEND"] = "tensorflow"  # Whatever the user's keras.json says.
    sys.stderr.flush()
    with (
        open(os.dup(2), "w") as shown,
        open(os.devnull, "w") as nowhere,
        contextlib.redirect_stderr(shown),  # For what a signal has to say.
    ):
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(shown.fileno(), 2)
