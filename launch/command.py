"""What all commands share: flags in, one line for a user's mistake, logs where they belong."""

import contextlib
import io
import logging
import os
import re
import signal
import sys
import textwrap
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from absl import app, flags
from absl import logging as absl_logging

from crvae_tf import errors
from crvae_tf.errors import InputError

FOLDER_PREFIX = "folder:"
_PRESETS = Path(__file__).with_name("presets")


class Checked(flags.ArgumentParser):
    """A kind of values of a flag.

    absl's own take NaN and infinity, and say what they expect in other words.

    Args:
      convert: makes a value of the command line's text; may raise ValueError.
      check: whether the value may be given.
      expected: what it must be, for the help and for errors.
    """

    def __init__(self, convert: Callable[[str], Any], check: Callable[[Any], bool], expected: str):
        super().__init__()
        self._convert, self._check, self.syntactic_help = convert, check, expected

    def parse(self, argument):
        try:
            value = self._convert(argument) if isinstance(argument, str) else argument
            accepted = self._check(value)
        except ValueError:
            accepted = False
        if not accepted:
            raise ValueError(f"must be {self.syntactic_help}")
        return value


def integer(lowest: int, highest: int | None = None) -> Checked:
    """Returns the kind of integers in a closed interval."""
    return _within(int, f"an integer >= {lowest}", lowest, highest)


def number(lowest: float = 0.0, highest: float | None = None) -> Checked:
    """Returns the kind of finite numbers in a closed interval."""
    return _within(float, f">= {lowest:g}", lowest, highest)


def positive(highest: float | None = None) -> Checked:
    """Returns the kind of finite numbers above 0."""
    return _within(float, "> 0", sys.float_info.min, highest)


def _within(convert: type, expected: str, lowest: float, highest: float | None) -> Checked:
    expected += "" if highest is None else f" and <= {highest}"
    largest = sys.float_info.max if highest is None else highest
    return Checked(convert, lambda value: lowest <= value <= largest, expected)


def choice(*values: str | int) -> Checked:
    """Returns the kind of these values."""
    texts = [str(value) for value in values]
    expected = f"one of {', '.join(texts)}"
    return Checked(lambda text: values[texts.index(text)], values.__contains__, expected)


def _is_text(text: str) -> bool:
    """Returns whether a text is not empty, and UTF-8: TensorFlow takes no other names of files."""
    return text != "" and text.encode(errors="ignore").decode().replace("\0", "") == text


def _images(text: str) -> str:
    prefix = FOLDER_PREFIX if text.startswith(FOLDER_PREFIX) else ""
    return prefix + os.path.expanduser(text.removeprefix(prefix))


BOOLEAN = flags.BooleanParser()
IMAGES = Checked(_images, bool, "a text that is not empty")
PLACE = Checked(os.path.expanduser, _is_text, "a text that is not empty, in UTF-8")
FOLDERS = Checked(
    lambda given: tuple(map(os.path.expanduser, given.split(","))),
    lambda names: all(map(_is_text, names)),
    "folders of names in UTF-8, separated by commas",
)
# TensorFlow reads a folder with one of these signs as a pattern, and finds no checkpoint in it.
RUN_FOLDER = Checked(
    os.path.expanduser,
    lambda given: _is_text(given) and not re.search(r"[][*?\\]|://", given),
    r"a folder whose name is UTF-8 and has none of [ ] * ? \ ://",
)


def _preset_file(name: str) -> Path:
    """Returns where the preset called `name` lies: one of this package's, or a file of the user's."""
    shipped = _PRESETS / f"{name}.flags"
    return shipped if os.path.isfile(shipped) else Path(name)


PRESET = Checked(
    str,
    lambda name: os.path.isfile(_preset_file(name)),
    f"{', '.join(sorted(path.stem for path in _PRESETS.iterdir()))} or the path of a flagfile",
)


def numbers(given: str) -> tuple[float, ...]:
    """Reads numbers that commas separate."""
    return tuple(float(part) for part in given.split(","))


def settings(given: str) -> tuple[dict[str, str], ...]:
    """Reads settings that commas separate: a method, and flags with their values, colons between.

    >>> settings("vae_aug,cr_vae:pose=affine:eta=0.3")
    ({'method': 'vae_aug'}, {'method': 'cr_vae', 'pose': 'affine', 'eta': '0.3'})
    """
    return tuple(
        {name: value for name, _, value in (p.partition("=") for p in f"method={one}".split(":"))}
        for one in given.split(",")
    )


def define(
    name: str, default: Any, kind: flags.ArgumentParser, meaning: str, purpose: str = "this command"
) -> None:
    """Defines a flag of the command that runs; the help lists it under its purpose."""
    if kind is BOOLEAN:
        flags.DEFINE_boolean(name, default, meaning, module_name=purpose)
    else:
        flags.DEFINE(kind, name, default, meaning, module_name=purpose)


def require(name: str, kind: flags.ArgumentParser, meaning: str) -> None:
    """Defines a flag without which the command that runs is refused."""
    define(name, None, kind, meaning)
    flags.register_validator(name, bool, f"must be {meaning}")


def parse(argv: Sequence[str]) -> list[str]:
    """Parses the command line into absl's flags; prints the help and exits where it is asked for.

    Raises:
      InputError: a flag is unknown or has a value that it cannot have.
    """
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # It takes absl's own help.
            rest = flags.FLAGS(list(argv))
        if "preset" in flags.FLAGS:
            first = f"--flagfile={_preset_file(flags.FLAGS.preset)}"
            rest = flags.FLAGS([argv[0], first, *argv[1:]])
    except SystemExit:  # absl ends its help as a failure.
        print(_help_text())
        sys.exit(0)
    except (flags.CantOpenFlagFileError, UnicodeDecodeError, OSError) as error:
        told = str(error).rpartition("flagfile: ")[2]
        raise InputError(
            f"--flagfile must be a readable file of UTF-8 text; received {told}"
        ) from error
    except (flags.Error, ValueError) as error:  # The latter are of absl's own flags.
        raise InputError(_refusal(error)) from error
    if len(rest) > 1:
        raise InputError(f"expected flags only; received {' '.join(rest[1:])}")
    return rest


def _help_text() -> str:
    """Returns what the command that runs does, and its flags by purpose."""
    lines = [sys.modules["__main__"].__doc__ or "", "Flags: meaning (default) [values]"]
    for purpose, found in flags.FLAGS.flags_by_module_dict().items():
        if "." not in purpose and purpose.islower():  # absl's own have the names of modules.
            lines += ["", f"{purpose}:", *map(_help, found)]
    return "\n".join([*lines, "", "--flagfile=FILE reads flags from a file; later ones override them."])


def _help(flag: flags.Flag) -> str:
    name = f"[no]{flag.name}" if flag.boolean else flag.name
    default = "" if flag.default is None else f" ({flag.default_as_str.strip(chr(39))})"
    values = f" [{flag.parser.syntactic_help}]" if flag.parser.syntactic_help else ""
    text = f"--{name}: {flag.help}{default}{values}"
    return textwrap.fill(text, 80, initial_indent="  ", subsequent_indent="      ")


def _refusal(error: Exception) -> str:
    """Returns what absl says of a mistake in this project's form."""
    text = " ".join(str(error).split())
    if isinstance(error, flags.UnrecognizedFlagError):
        near = re.search(r"Did you mean: ([^ ,]+)", text)
        listed = "a flag that --help lists" + (f", such as --{near[1]}" if near else "")
        return f"expected {listed}; received {error.flagvalue}"
    text = re.sub(r"\('Non-boolean argument.*", "must be true or false", text)
    if match := re.fullmatch(r"flag --(\w+)=(.*?): (must .*?)( flag --.*)?", text):
        name, received, expected, _ = match.groups()
        return (
            f"--{name} {expected}; received {'none' if received == 'None' else received or 'nothing'}"
        )
    return text


def told(error: InputError) -> str:
    """Returns the line for an error of an argument, by its flag where the command has one."""
    if error.expected is None or error.argument not in flags.FLAGS:
        return str(error)
    received = "none" if error.received is None else error.received
    return f"--{error.argument} must be {error.expected}; received {received}"


def run(main: Callable[[], None], define: Callable[[], None] = lambda: None) -> None:
    """Has `define` define the command's flags, parses them, calls `main` and exits.

    0 on success, 1 on a user's mistake or a run that cannot go on, 130 and 143 on SIGINT and SIGTERM.
    """
    if hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")  # Not all encodings have what tables hold.

    def prepared(_):
        _prepare()
        main()

    define()
    listen()
    try:
        app.run(prepared, flags_parser=parse)
    except errors.Interrupted as interrupted:
        print(f"\n{interrupted}", file=sys.stderr)
        sys.exit(128 + interrupted.signal)
    except InputError as error:
        _fail(told(error))
    except Exception as error:
        if not errors.is_told(error):
            raise
        _fail(errors.one_line(error))


def _fail(message: str) -> NoReturn:
    print(f"error: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(1)


def listen() -> None:
    """Has `stop` called on SIGINT and SIGTERM, but for one that the process ignores."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, stop)


def stop(number: int, frame: types.FrameType | None = None) -> None:
    """Ends the process, whose `frame` the signal `number` came in."""
    print("\nStopped. Run the same command again to resume.", file=sys.stderr, flush=True)
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            os._exit(128 + number)  # A module in C makes an error of its own of what is raised in it.
        frame = frame.f_back
    sys.exit(128 + number)


def _prepare() -> None:
    """Loads TensorFlow; has the library's logs printed to standard error, of others only warnings."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ["KERAS_BACKEND"] = "tensorflow"  # Whatever the user's keras.json says.
    sys.stderr.flush()
    with (
        open(os.dup(2), "w") as shown,
        open(os.devnull, "w") as nowhere,
        contextlib.redirect_stderr(shown),  # For what a signal has to say.
    ):
        os.dup2(nowhere.fileno(), 2)  # TensorFlow writes there, below Python, while it is imported.
        try:
            import tensorflow  # noqa: F401
        finally:
            os.dup2(shown.fileno(), 2)
    absl_logging.set_verbosity(absl_logging.WARNING)
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    logger = logging.getLogger("crvae_tf")
    logger.addHandler(logging.StreamHandler())
    logger.setLevel(logging.INFO)
    logger.propagate = False
