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
from typing import Any

from absl import app, flags
from absl import logging as absl_logging
from tqdm import tqdm

from crvae_tf import errors
from crvae_tf.errors import InputError

FOLDER_PREFIX = "folder:"
PRESETS = Path(__file__).with_name("presets")


class Checked(flags.ArgumentParser):
    """What `convert` makes of a flag's text, where `check` holds; absl's own take NaN and infinity.

    `expected` says what the value must be, in the help and in errors.
    """

    def __init__(self, convert: Callable[[str], Any], check: Callable[[Any], bool], expected: str):
        super().__init__()
        self._convert, self._check, self.syntactic_help = convert, check, expected

    def parse(self, argument):
        with contextlib.suppress(ValueError):
            value = self._convert(argument) if isinstance(argument, str) else argument
            if self._check(value):
                return value
        raise ValueError(f"must be {self.syntactic_help}")


def integer(lowest: int, highest: float = sys.float_info.max) -> Checked:
    """Returns the kind of integers in a closed interval."""
    return number(lowest, highest, int)


def positive(highest: float = sys.float_info.max) -> Checked:
    """Returns the kind of finite numbers above 0."""
    return number(sys.float_info.min, highest)


def number(lowest: float = 0.0, highest: float = sys.float_info.max, convert: type = float) -> Checked:
    """Returns the kind of finite numbers in a closed interval."""
    expected = "an integer " if convert is int else ""
    expected += "> 0" if lowest == sys.float_info.min else f">= {lowest:g}"
    expected += "" if highest == sys.float_info.max else f" and <= {highest}"
    return Checked(convert, lambda value: lowest <= value <= highest, expected)


def choice(*values: str | int) -> Checked:
    """Returns the kind of these values."""
    texts = [str(value) for value in values]
    expected = f"one of {', '.join(texts)}"
    return Checked(lambda text: values[texts.index(text)], values.__contains__, expected)


def either(word: str, meaning: Any, kind: Checked) -> Checked:
    """Returns a kind that also takes a word, which stands for `meaning`."""
    expected = kind.syntactic_help + (f" or {word}" if meaning else "")
    return Checked(lambda text: meaning if text == word else kind.parse(text), lambda _: True, expected)


def _is_text(text: str) -> bool:
    """Returns whether a text is not empty, and UTF-8: TensorFlow takes no other names of files."""
    return text != "" and text.encode(errors="ignore").decode().replace("\0", "") == text


BOOLEAN = flags.BooleanParser()
IMAGES = Checked(
    lambda text: ":".join(map(os.path.expanduser, text.split(":", 1))),  # As in folder:~/images.
    bool,
    "a text that is not empty",
)
PLACE = Checked(os.path.expanduser, _is_text, "a text that is not empty, in UTF-8")
DATA_DIR = Checked(
    lambda text: text if "://" in text else os.path.abspath(os.path.expanduser(text)),
    _is_text,
    PLACE.syntactic_help,
)
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


def preset_file(name: str) -> Path:
    """Returns where the preset called `name` lies: one of this package's, or a file of the user's."""
    shipped = PRESETS / f"{name}.flags"
    return shipped if os.path.isfile(shipped) else Path(name)


def parse(argv: Sequence[str]) -> list[str]:
    """Parses the command line into absl's flags; prints the help and exits where it is asked for.

    Raises InputError if a flag is unknown or has a value that it cannot have.
    """
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # It takes absl's own help.
            rest = flags.FLAGS(list(argv))
        if "preset" in flags.FLAGS:
            first = f"--flagfile={preset_file(flags.FLAGS.preset)}"
            rest = flags.FLAGS([argv[0], first, *argv[1:]])
    except SystemExit:  # absl ends its help as a failure.
        print(_help_text())
        sys.exit(0)
    except (flags.CantOpenFlagFileError, UnicodeDecodeError, OSError) as error:
        name = str(error).rpartition("flagfile: ")[2]
        message = f"--flagfile must be a readable file of UTF-8 text; received {name}"
        raise InputError(message) from error
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
    if match := re.fullmatch(r"flag --(\w+)=(.*?): (must .*?)(?: flag --.*)?", text):
        name, given, expected = match.groups()
        received = "none" if given == "None" else given or "nothing"
        return f"--{name} {expected}; received {received}"
    return text


def told(error: Exception) -> str:
    """Returns an error as a line; that of an argument names the flag where the command has one."""
    text = str(error) if isinstance(error, InputError) else errors.one_line(error)
    if getattr(error, "expected", None) and error.argument in flags.FLAGS:
        received = "none" if error.received is None else error.received
        text = f"--{error.argument} must be {error.expected}; received {received}"
    return " ".join(text.split())


def say(message: str) -> None:
    """Prints a line to standard error."""
    print(message, file=sys.stderr, flush=True)


class ProgressBar(tqdm):
    """A progress bar on standard error; a log gets a line a minute."""

    def __init__(self, title: str, unit: str):
        seconds = 0.1 if sys.stderr.isatty() else 60.0
        form = "{desc} |{bar:20}| {n_fmt} of {total_fmt}" + f" {unit}, " + "{remaining} left"
        super().__init__(
            desc=title, file=sys.stderr, leave=False, delay=0.01, mininterval=seconds, bar_format=form
        )

    def __call__(self, done: int, whole: int) -> None:
        if self.total is None:  # What was done before tells nothing of the time that is left.
            self.initial = self.n = done
        self.total = whole
        self.update(done - self.n)


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
        say(f"\n{interrupted}")
        sys.exit(128 + interrupted.signal)
    except Exception as error:
        # What is told of the others needs TensorFlow, which takes seconds to load.
        if not (isinstance(error, InputError) or errors.is_told(error)):
            raise
        say(f"error: {told(error)}")
        sys.exit(1)


def listen() -> None:
    """Has `stop` called on SIGINT and SIGTERM, but for one that the process ignores."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, stop)


def stop(number: int, frame: types.FrameType | None = None) -> None:
    """Ends the process, whose `frame` the signal `number` came in."""
    say("\nStopped. Run the same command again to resume.")
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
