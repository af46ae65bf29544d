"""The kinds of flags: how a value is read, what it may be, and what is said where it is another."""

import math
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from absl import flags


class Checked(flags.ArgumentParser):
    """Parses a value and says what was expected where it is another.

    Args:
      convert: from the text of the command line.
      expected: what to say that the value must be.
      check: whether it is.
      highest: the largest value that can be stored, or None.
    """

    def __init__(
        self,
        convert: Callable[[str], Any],
        check: Callable[[Any], bool],
        expected: str,
        highest: float | None = None,
    ):
        super().__init__()
        self._convert = convert
        self._check = check
        self._highest = highest
        self.syntactic_help = f"must be {expected}"

    def parse(self, argument):
        try:
            value = self._convert(argument) if isinstance(argument, str) else argument
        except ValueError as error:
            raise ValueError(self.syntactic_help) from error
        if not self._check(value):
            raise ValueError(self.syntactic_help)
        if self._highest is not None and value is not None and value > self._highest:
            kind = "an integer" if isinstance(self._highest, int) else "a number"
            raise ValueError(f"must be {kind} <= {self._highest}")
        return value


_HIGHEST_NUMBER = 3e38
"""Nearly the largest of float32."""

_PARSERS: dict[str, flags.ArgumentParser] = {}
"""Of the flags, those too that a command has undefined."""


def define(name: str, default: Any, parser: flags.ArgumentParser, meaning: str) -> None:
    """Defines a flag; `default` is None where the value is decided later."""
    _PARSERS[name] = parser
    flags.DEFINE(parser, name, default, meaning, serializer=flags.ArgumentSerializer())


def text(name: str, default: str | None, meaning: str) -> None:
    """Defines a flag whose value is a text, or a place: TensorFlow takes names of UTF-8 alone."""
    define(name, default, Checked(str, _is_utf_8, "a text of UTF-8 that is not empty"), meaning)


def run_folder(name: str, default: str | None, meaning: str) -> None:
    """Defines a flag whose value is a folder of a run, on this machine.

    TensorFlow reads a checkpoint, and a SavedModel, in a folder with one of these signs in its name as
    a pattern that nothing matches.
    """

    def check(given):
        return _is_utf_8(given) and not re.search(r"[][*?\\]|://", given)

    expected = r"a text of UTF-8 that is not empty, without [ ] * ? \ and ://"
    define(name, default, Checked(str, check, expected), meaning)


def images(name: str, default: str | None, meaning: str) -> None:
    """Defines a flag whose value names images, which may lie in a folder of any name."""
    define(name, default, Checked(str, bool, "a text that is not empty"), meaning)


def _is_utf_8(text: str) -> bool:
    """Returns whether a text is not empty and has no bytes in it that Python could not decode, or 0."""
    return text != "" and text.encode(errors="ignore").decode().replace("\0", "") == text


def choice(name: str, default: str | None, choices: Sequence[str], meaning: str) -> None:
    """Defines a flag whose value is one of `choices`."""
    expected = f"one of {', '.join(choices)}"
    define(name, default, Checked(str, tuple(choices).__contains__, expected), meaning)


def integer(
    name: str, default: int | None, lowest: int, meaning: str, highest: int = 2**31 - 1
) -> None:
    """Defines a flag whose value is an integer from `lowest` to `highest`."""

    def check(value):
        return value >= lowest

    expected = f"an integer >= {lowest}"
    define(name, default, Checked(int, check, expected, highest), meaning)


def number(
    name: str,
    default: float | None,
    meaning: str,
    check: Callable[[float], bool] = lambda value: value >= 0.0,
    expected: str = ">= 0",
) -> None:
    """Defines a flag whose value is a number that passes `check`."""

    def finite(value):
        return math.isfinite(value) and check(value)

    define(name, default, Checked(float, finite, expected, _HIGHEST_NUMBER), meaning)


def boolean(name: str, default: bool | None, meaning: str) -> None:
    """Defines a flag that is given as --name or --noname."""
    flags.DEFINE_boolean(name, default, meaning)
    _PARSERS[name] = flags.FLAGS[name].parser
    _PARSERS[name].syntactic_help = "must be true or false"


def folders(name: str, meaning: str) -> None:
    """Defines a flag whose value is a tuple of names of folders; None where it is not given."""
    parser = Checked(
        lambda given: tuple(given.split(",")),
        lambda names: all(map(_is_utf_8, names)),
        "folders of names in UTF-8, separated by commas",
    )
    define(name, None, parser, meaning)


def check_kept(name: str, kind: Any, kept: dict[str, Any]) -> None:
    """Raises InputError unless `kept`, values that a run was given, has one that the flag can have.

    Args:
      name: of the flag.
      kind: the type of its value, where integers are numbers too.
      kept: values by the names of flags.
    """
    from crvae_tf.errors import InputError

    value = kept.get(name)
    kinds = kind | int if isinstance(0.0, kind) else kind
    try:
        is_switch = isinstance(value, bool)
        if not isinstance(value, kinds) or is_switch != (value is not None and kind == bool | None):
            raise ValueError
        if value is not None:
            _PARSERS[name].parse(str(value))
    except ValueError as error:
        expected = _PARSERS[name].syntactic_help.removeprefix("must be ")
        raise InputError(
            f"expected {expected} as {name}; received {'none' if value is None else value}"
        ) from error


def preset(name: str, default: str, shipped: Sequence[str], meaning: str) -> None:
    """Defines a flag whose value is a flagfile that is read before all other flags."""
    expected = f"{', '.join(shipped)} or the path of a flagfile"

    def check(given):
        return _is_utf_8(given) and preset_file(given).is_file()

    define(name, default, Checked(str, check, expected), meaning)


def preset_file(name: str) -> Path:
    """Returns where the preset called `name` lies: one of this package's, or a file of the user's."""
    shipped = Path(__file__).with_name("presets") / f"{name}.flags"
    return shipped if name.isidentifier() and shipped.is_file() else Path(name)


def number_or_auto(given: str) -> float | None:
    """Reads a number, or None for `auto`."""
    return None if given == "auto" else float(given)


def integer_or_auto(given: str) -> int | None:
    """Reads an integer, or None for `auto`."""
    return None if given == "auto" else int(given)


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


def refusal(error: Exception) -> str:
    """Returns what absl says of a mistake as one line in this project's form."""
    text = " ".join(str(error).split())
    wrong = re.fullmatch(r"flag --(\w+)=(.*?): (must .*?)( flag --.*)?", text)
    if wrong:
        received = {"": "nothing", "None": "none"}.get(wrong[2], wrong[2])
        return f"--{wrong[1]} {wrong[3]}; received {received}"
    boolean = re.fullmatch(r"flag --(\w+)=(.*?): \('Non-boolean argument.*", text)
    if boolean:
        return f"--{boolean[1]} must be true or false; received {boolean[2]}"
    unreadable = re.search(r"Unable to open flagfile: .*'(.*)'", text)
    if unreadable:
        return f"--flagfile must be a file that can be read; received {unreadable[1]}"
    unknown = re.fullmatch(r"Unknown command line flag '(.*?)'\.? ?(.*)", text)
    if unknown:
        return f"--{unknown[1]} must be a flag that --help lists; received none of that name"
    return text


_HELP = {"help": "?", "helpshort": None, "helpfull": None, "helpxml": None}
"""absl's flags that ask for help, with their short names."""

_ASKS_FOR_HELP = re.compile(r"--?(h|\?|help|helpshort|helpfull|helpxml)(=(true|t|1))?")


def answer_help(arguments: Sequence[str]) -> None:
    """Shows the help and exits if the arguments ask for it, or a flagfile among them does later."""
    for name, short_name in _HELP.items():
        flags.FLAGS[name] = _HelpFlag(name, False, "", short_name=short_name, allow_override=True)
    if any(map(_ASKS_FOR_HELP.fullmatch, arguments)):  # Whatever else is wrong.
        _show_help()


class _HelpFlag(flags.BooleanFlag):
    """Stands in for one of absl's, which show a help of their own and end as a failure."""

    def parse(self, argument):
        if self._parse(argument):
            _show_help()


def _show_help() -> NoReturn:
    lines = []
    for flag in flags.FLAGS.get_flags_for_module(__name__):
        default = "" if flag.default is None else f" (default {flag.default})"
        lines.append(f"  --{flag.name}: {flag.help}{default}; {flag.parser.syntactic_help}")
    title = "Flags; a later one wins, --flagfile=FILE reads them from a file:"
    print(sys.modules["__main__"].__doc__, title, *lines, sep="\n")
    sys.exit(0)
