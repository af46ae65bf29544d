"""The kinds of values that flags take, and one line for a value that is none of its kind."""

import dataclasses
import math
import os
import re
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

from absl import flags

from crvae_tf.errors import InputError

FOLDER_PREFIX = "folder:"
_PRESETS = Path(__file__).with_name("presets")


class Checked(flags.ArgumentParser):
    """A kind of values.

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
    if highest is not None:
        expected += f" and <= {highest}"
    largest = sys.float_info.max if highest is None else highest
    return Checked(convert, lambda value: lowest <= value <= largest, expected)


def or_auto(kind: Checked) -> Checked:
    """Returns a kind that also takes `auto`, which is None."""
    return Checked(
        lambda text: None if text == "auto" else kind.parse(text), lambda _: True, kind.syntactic_help
    )


def choice(*values: str | int) -> Checked:
    """Returns the kind of these values."""
    texts = [str(value) for value in values]
    return Checked(
        lambda text: values[texts.index(text)], values.__contains__, f"one of {', '.join(texts)}"
    )


def _is_text(text: str) -> bool:
    """Returns whether a text is not empty, and UTF-8: TensorFlow takes no other names of files."""
    return text != "" and text.encode(errors="ignore").decode().replace("\0", "") == text


def _images(text: str) -> str:
    prefix = FOLDER_PREFIX if text.startswith(FOLDER_PREFIX) else ""
    return prefix + os.path.expanduser(text.removeprefix(prefix))


BOOLEAN = flags.BooleanParser()
NUMBER_OR_LEARNED = Checked(
    lambda text: text if text == "learned" else float(text),
    lambda value: value == "learned" or 0.0 < value < math.inf,
    "> 0 or learned",
)
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


def preset_file(name: str) -> Path:
    """Returns where the preset called `name` lies: one of this package's, or a file of the user's."""
    shipped = _PRESETS / f"{name}.flags"
    return shipped if os.path.isfile(shipped) else Path(name)


PRESET = Checked(
    str,
    lambda name: os.path.isfile(preset_file(name)),
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


def value(default: Any, kind: flags.ArgumentParser, meaning: str) -> Any:
    """Returns a field of a dataclass that defines a flag; None is a default that is found later."""
    return dataclasses.field(default=default, metadata={"kind": kind, "meaning": meaning})


def define(
    name: str, default: Any, kind: flags.ArgumentParser, meaning: str, purpose: str = "this command"
) -> None:
    """Defines a flag of the command that runs, which the help lists under its purpose."""
    if kind is BOOLEAN:
        flags.DEFINE_boolean(name, default, meaning, module_name=purpose)
    else:
        flags.DEFINE(kind, name, default, meaning, module_name=purpose)


def help_text() -> str:
    """Returns what the command that runs does, and its flags by purpose."""
    lines = [sys.modules["__main__"].__doc__ or "", "Flags: meaning (default) [values]"]
    for purpose, found in flags.FLAGS.flags_by_module_dict().items():
        if "." not in purpose and purpose.islower():
            lines += ["", f"{purpose}:", *map(_help, found)]
    return "\n".join([*lines, "", "--flagfile=FILE reads flags from a file; later ones override them."])


def _help(flag: flags.Flag) -> str:
    name = f"[no]{flag.name}" if flag.boolean else flag.name
    default = "" if flag.default is None else f" ({flag.default_as_str.strip(chr(39))})"
    values = f" [{flag.parser.syntactic_help}]" if flag.parser.syntactic_help else ""
    text = f"--{name}: {flag.help}{default}{values}"
    return textwrap.fill(text, 80, initial_indent="  ", subsequent_indent="      ")


def require(name: str, kind: flags.ArgumentParser, meaning: str) -> None:
    """Defines a flag without which the command that runs is refused."""
    define(name, None, kind, meaning)
    flags.register_validator(name, bool, f"must be {meaning}")


_UNSAID = {"": "nothing", "None": "none"}
_FORMS = {
    r"flag --(\w+)=(.*?): (must .*?)( flag --.*)?": r"--\1 \3; received \2",
    r"flag --(\w+)=(.*?): \('Non-boolean argument.*": r"--\1 must be true or false; received \2",
    r"Unknown command line flag '(.*?)'.*": r"--\1 must be a flag that --help lists; received none",
    r".*Unable to open flagfile: .*'(.*)'.*": r"--flagfile must be a readable file; received \1",
}
"""What absl says of a mistake, and the form that this project says it in."""


def refusal(error: Exception) -> str:
    """Returns what absl says of a mistake as one line of this project's form."""
    text = " ".join(str(error).split())
    for pattern, told in _FORMS.items():
        if match := re.fullmatch(pattern, text):
            line, _, received = match.expand(told).partition("; received ")
            return f"{line}; received {_UNSAID.get(received, received)}"
    return text


def told(error: InputError) -> str:
    """Returns the line for an error of an argument, by its flag where the command has one."""
    if error.expected is None or error.argument not in flags.FLAGS:
        return str(error)
    received = "none" if error.received is None else error.received
    return f"--{error.argument} must be {error.expected}; received {received}"
