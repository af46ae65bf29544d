"""JSON that anyone may have changed, read with its shape looked at."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from crvae_tf.errors import InputError, reason

_KINDS = {
    bool: "true or false",
    float: "a number",
    int: "an integer",
    str: "a text",
    type(None): "null",
}
_LONGEST = 60


class Listed(NamedTuple):
    """The shape of a list."""

    each: Any = object
    """The shape of its members."""
    least: int = 0
    """How many it has at least."""


class Object(NamedTuple):
    """The shape of an object."""

    required: Mapping[str, Any] = {}
    """Shapes by key."""
    optional: Mapping[str, Any] = {}
    others: Any = object
    """The shape of all other values."""


def read(path: Path, shape: Any, as_lines: bool = False) -> Any:
    """Returns what a file of JSON holds, or a list of what each of its lines holds.

    Args:
      path: of the file.
      shape: of what it must hold: an `Object`, a `Listed`, a type of JSON's values (`object` stands for
        all, `float` for integers too), or a tuple of shapes any of which will do.
      as_lines: whether each line is JSON of that shape.

    Raises:
      InputError: the file is no JSON, or of another shape.
    """
    try:
        text = path.read_text(encoding="utf-8")
        found = [json.loads(part) for part in (text.splitlines() if as_lines else [text])]
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: expected JSON; received {reason(error)}") from error
    for number, value in enumerate(found, 1):
        check(f"{path}: line {number}" if as_lines else path, value, shape)
    return found if as_lines else found[0]


def check(what: str | Path, value: Any, shape: Any) -> None:
    """Raises InputError, which begins with `what`, if a value read from JSON is of another shape."""
    wrong = mismatch(value, shape)
    if wrong:
        raise InputError(f"{what}: {wrong}")


def mismatch(value: Any, shape: Any, place: str = "") -> str | None:
    """Returns what was expected where and what is there instead, or None where the shape is right.

    >>> mismatch({"nll": [80.5, "x"]}, Object({"nll": Listed(float)}))
    'expected a number as nll.1; received "x"'
    >>> mismatch({}, Object({"nll": float}))
    'expected nll; received none'
    """
    if isinstance(shape, Object) and isinstance(value, dict):
        return _mismatch_in_object(value, shape, place)
    if isinstance(shape, Listed) and isinstance(value, list) and len(value) >= shape.least:
        members = enumerate(value)
        return _first(mismatch(each, shape.each, _within(place, index)) for index, each in members)
    if isinstance(shape, tuple) and not isinstance(shape, Object | Listed):
        return (
            None if any(mismatch(value, one) is None for one in shape) else _told(value, shape, place)
        )
    if isinstance(shape, type) and _is_of(value, shape):
        return None
    return _told(value, shape, place)


def _mismatch_in_object(value: dict[str, Any], shape: Object, place: str) -> str | None:
    for name in shape.required:
        if name not in value:
            return f"expected {_within(place, name)}; received none"
    known = {**shape.optional, **shape.required}
    return _first(
        mismatch(inner, known.get(name, shape.others), _within(place, name))
        for name, inner in value.items()
    )


def _is_of(value: Any, kind: type) -> bool:
    if isinstance(value, bool):
        return kind in (bool, object)
    if kind is float:
        return isinstance(value, float) or (isinstance(value, int) and abs(value) <= sys.float_info.max)
    return isinstance(value, kind)


def _told(value: Any, shape: Any, place: str) -> str:
    received = json.dumps(value)
    if len(received) > _LONGEST:
        received = f"{received[:_LONGEST]}..."
    return f"expected {_name(shape)}{place and f' as {place}'}; received {received}"


def _name(shape: Any) -> str:
    if isinstance(shape, Object):
        return "an object"
    if isinstance(shape, Listed):
        return f"a list of {shape.least} or more" if shape.least else "a list"
    return " or ".join(map(_name, shape)) if isinstance(shape, tuple) else _KINDS[shape]


def _within(place: str, name: str | int) -> str:
    return f"{place}.{name}" if place else str(name)


def _first(found):
    return next(filter(None, found), None)
