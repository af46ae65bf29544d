"""What all commands share: flags in, one line for a user's mistake, logs where they belong."""

import contextlib
import io
import logging
import os
import sys
from collections.abc import Callable, Iterator

from absl import app
from absl import logging as absl_logging

from launch import options, stopping


def run(main: Callable[[], None]) -> None:
    """Parses the flags, calls `main` and exits.

    0 on success, 1 on a user's mistake or a run that cannot go on, 130 and 143 on SIGINT and SIGTERM.
    """
    _open_closed_streams()
    if sys.stdout is sys.__stdout__:
        sys.stdout = _lasting(sys.stdout)
    with stopping.listening():
        app.run(lambda _: _guarded(main), flags_parser=_parse)


def _open_closed_streams() -> None:
    """Lets a command run whose standard streams are closed, as `>&-` leaves them."""
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w"))


class _Output(io.FileIO):
    """Standard output; when whoever read it has gone, as `| head` does, the command goes on."""

    def write(self, data):
        try:
            return super().write(data)
        except BrokenPipeError:
            with open(os.devnull, "wb") as nowhere:
                os.dup2(nowhere.fileno(), self.fileno())
            return len(data)


def _lasting(stream: io.TextIOWrapper) -> io.TextIOWrapper:
    """Returns what writes where `stream` does, in all circumstances: see `_Output`."""
    stream.flush()
    return io.TextIOWrapper(
        io.BufferedWriter(_Output(stream.fileno(), "wb", closefd=False)),
        encoding=stream.encoding,
        errors="backslashreplace",  # Not all encodings have what tables hold.
        line_buffering=stream.isatty(),
    )


def _parse(argv: list[str]) -> list[str]:
    try:
        return options.parse(argv)
    except options.UsageError as error:
        _fail(str(error))


def _guarded(main: Callable[[], None]) -> None:
    with _silence():
        from crvae_tf import errors
    _show_logs()
    try:
        main()
    except errors.Interrupted as interrupted:
        print(f"\n{interrupted}", file=sys.stderr)
        sys.exit(128 + interrupted.signal)
    except Exception as error:
        if not (isinstance(error, options.UsageError) or errors.is_told(error)):
            raise
        _fail(errors.one_line(error))


def _fail(message: str) -> None:
    print(f"error: {message}", file=sys.stderr)
    sys.exit(1)


def _show_logs() -> None:
    """Prints what the library logs to standard error, and of others only warnings."""
    absl_logging.set_verbosity(absl_logging.WARNING)
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("crvae_tf")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Holds back what TensorFlow writes to standard error, below Python, while it is imported."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ["KERAS_BACKEND"] = "tensorflow"  # Whatever the user's keras.json says.
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)

    def stop(number, frame):
        os.dup2(kept, 2)
        stopping.stop(number, frame)

    try:
        with stopping.listening(stop):
            yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
