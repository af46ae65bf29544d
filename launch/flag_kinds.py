"""The kinds of values that flags take, and one line for a value that is none of its kind."""

import dataclasses
import math
import os
import re
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from absl import flags

from crvae_tf.errors import InputError

_LARGEST_INTEGER = 2**31 - 1
_LARGEST_NUMBER = 3e38  # Nearly that of float32.
_SMALLEST_NUMBER = sys.float_info.min
FOLDER_PREFIX = "folder:"


class _Telling:
    """Says what a value must be, in the form that this project uses, where absl's parser refuses it."""

    takes_auto = False

    def parse(self, argument):
        if self.takes_auto and argument == "auto":
            return None
        try:
            return super().parse(argument)
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"must be {self.expected(argument)}") from error


class _Bounded(_Telling):
    kind = ""

    def is_outside_bounds(self, value):
        return not self.lower_bound <= value <= self.upper_bound  # NaN is on neither side.

    def expected(self, argument) -> str:
        lower = "> 0" if self.lower_bound == _SMALLEST_NUMBER else f">= {self.lower_bound:g}"
        narrow = not self.kind and self.upper_bound < _LARGEST_NUMBER
        if narrow or _is_above(argument, self.upper_bound):
            return f"{self.kind}{lower} and <= {self.upper_bound:.10g}"
        return f"{self.kind}{lower}"


def _is_above(argument: str, bound: float) -> bool:
    try:
        return bound < float(argument) < math.inf
    except (TypeError, ValueError):
        return False


class Integer(_Bounded, flags.IntegerParser):
    """An integer in a closed interval."""

    kind = "an integer "

    def __init__(self, lowest: int, highest: int = _LARGEST_INTEGER):
        super().__init__(lowest, highest)


class Number(_Bounded, flags.FloatParser):
    """A finite number in a closed interval, or above 0."""

    def __init__(self, lowest: float = 0.0, highest: float = _LARGEST_NUMBER):
        super().__init__(lowest, highest)


class Positive(Number):
    """A number above 0."""

    def __init__(self, highest: float = _LARGEST_NUMBER):
        super().__init__(_SMALLEST_NUMBER, highest)


class NumberOrAuto(Number):
    """A number >= 0, or None for `auto`."""

    takes_auto = True


class IntegerOrAuto(Integer):
    """An integer, or None for `auto`."""

    takes_auto = True


class Choice(_Telling, flags.EnumParser):
    """One of several words."""

    def expected(self, argument) -> str:
        return f"one of {', '.join(self.enum_values)}"


class Checked(_Telling, flags.ArgumentParser):
    """A value of any other kind.

    Args:
      convert: from the text of the command line.
      check: whether the value may be given.
      expected: what it must be.
    """

    def __init__(self, convert: Callable[[str], Any], check: Callable[[Any], bool], expected: str):
        super().__init__()
        self._convert, self._check, self._expected = convert, check, expected

    def parse(self, argument):
        try:
            value = self._convert(argument) if isinstance(argument, str) else argument
            accepted = self._check(value)
        except ValueError:
            accepted = False
        if not accepted:
            raise ValueError(f"must be {self._expected}")
        return value


def _is_text(text: str) -> bool:
    """Returns whether a text is not empty, and UTF-8: TensorFlow takes no other names of files."""
    return text != "" and text.encode(errors="ignore").decode().replace("\0", "") == text


def _images(text: str) -> str:
    if not text.startswith(FOLDER_PREFIX):
        return text
    return FOLDER_PREFIX + os.path.expanduser(text.removeprefix(FOLDER_PREFIX))


def _number_or_learned(given: str | float) -> str | float:
    return given if given == "learned" else float(given)


NUMBER_OR_LEARNED = Checked(
    _number_or_learned,
    lambda value: value == "learned" or 0.0 < value < _LARGEST_NUMBER,
    "> 0 or learned",
)
BOOLEAN = flags.BooleanParser()
TEXT = Checked(str, _is_text, "a text that is not empty, in UTF-8")
PLACE = Checked(os.path.expanduser, _is_text, "a text that is not empty, in UTF-8")
# TensorFlow reads a folder with one of these signs as a pattern, and finds no checkpoint in it.
RUN_FOLDER = Checked(
    os.path.expanduser,
    lambda given: _is_text(given) and not re.search(r"[][*?\\]|://", given),
    r"a folder whose name is UTF-8 and has none of [ ] * ? \ ://",
)
IMAGES = Checked(_images, bool, "a text that is not empty")


def value(default: Any, parser: flags.ArgumentParser, meaning: str) -> Any:
    """Returns a field of a dataclass that defines a flag; None is a default that is found later."""
    return dataclasses.field(default=default, metadata={"parser": parser, "meaning": meaning})


def define_all(options: type, names: Collection[str] | None = None) -> None:
    """Defines the flags that the fields of a dataclass stand for, or those of them in `names`."""
    for field in dataclasses.fields(options):
        name = field.name.rstrip("_")
        if names is None or name in names:
            define(name, field.default, field.metadata["parser"], field.metadata["meaning"])


def define(name: str, default: Any, parser: flags.ArgumentParser, meaning: str) -> None:
    """Defines a flag of the command that runs."""
    if parser is BOOLEAN:
        flags.DEFINE_boolean(name, default, meaning, module_name=sys.argv[0])
        return
    serializer = flags.ArgumentSerializer()
    flags.DEFINE(parser, name, default, meaning, serializer=serializer, module_name=sys.argv[0])


def text(name: str, default: str | None, meaning: str) -> None:
    """Defines a flag whose value is a text or a place."""
    define(name, default, PLACE, meaning)


def run_folder(name: str, default: str | None, meaning: str) -> None:
    """Defines a flag whose value is a folder of a run."""
    define(name, default, RUN_FOLDER, meaning)


def images(name: str, default: str | None, meaning: str) -> None:
    """Defines a flag whose value names images."""
    define(name, default, IMAGES, meaning)


def choice(name: str, default: str | None, choices: Sequence[str], meaning: str) -> None:
    """Defines a flag whose value is one of `choices`."""
    define(name, default, Choice(list(choices)), meaning)


def integer(name: str, default: int | None, lowest: int, meaning: str) -> None:
    """Defines a flag whose value is an integer from `lowest` on."""
    define(name, default, Integer(lowest), meaning)


def boolean(name: str, default: bool | None, meaning: str) -> None:
    """Defines a flag that is given as --name or --noname."""
    flags.DEFINE_boolean(name, default, meaning, module_name=sys.argv[0])


def folders(name: str, meaning: str) -> None:
    """Defines a flag whose value is a tuple of names of folders, None where it is not given."""
    expected = "folders of names in UTF-8, separated by commas"
    parser = Checked(_split_folders, lambda names: all(map(_is_text, names)), expected)
    define(name, None, parser, meaning)


def _split_folders(given: str) -> tuple[str, ...]:
    return tuple(map(os.path.expanduser, given.split(",")))


def preset(name: str, default: str, shipped: Sequence[str], meaning: str) -> None:
    """Defines a flag whose value is a flagfile that is read before all other flags."""
    expected = f"{', '.join(shipped)} or the path of a flagfile"
    check = Checked(str, lambda given: _is_text(given) and preset_file(given).is_file(), expected)
    define(name, default, check, meaning)


def preset_file(name: str) -> Path:
    """Returns where the preset called `name` lies: one of this package's, or a file of the user's."""
    shipped = Path(__file__).with_name("presets") / f"{name}.flags"
    return shipped if name.isidentifier() and shipped.is_file() else Path(name)


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


_UNSAID = {"": "nothing", "None": "none"}


def refusal(error: Exception) -> str:
    """Returns what absl says of a mistake as one line of this project's form."""
    text = " ".join(str(error).split())
    forms = {
        r"flag --(\w+)=(.*?): (must .*?)( flag --.*)?": r"--\1 \3; received \2",
        r"flag --(\w+)=(.*?): \('Non-boolean argument.*": r"--\1 must be true or false; received \2",
        r"Unknown command line flag '(.*?)'.*": r"--\1 must be a flag that --help lists; received none",
        r".*Unable to open flagfile: .*'(.*)'.*": r"--flagfile must be a readable file; received \1",
    }
    for pattern, told in forms.items():
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
