"""Writes files and folders whole or not at all, and locks them."""

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import tensorflow as tf

from crvae_tf.errors import InputError, NotFiniteError, reason

DAMAGED_VARIABLES = (tf.errors.OpError, IndexError, RuntimeError)
"""What TensorFlow raises for a truncated checkpoint or SavedModel."""

UNFINISHED = ".unfinished."  # The prefix of an unfinished file's name.


def write_text(path: str | Path, text: str, parents: bool = True) -> None:
    r"""Writes `text` as a `whole_file`; a byte of a name that is not UTF-8 becomes `\udcNN`."""
    with whole_file(path, parents) as unfinished:
        unfinished.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: str | Path, value: Any, parents: bool = True) -> None:
    """Writes `value` as indented JSON; raises NotFiniteError if it holds NaN or infinity."""
    try:
        text = json.dumps(value, indent=2, allow_nan=False)
    except ValueError as error:
        told = "expected finite figures; received NaN or infinity; a lower learning rate may help"
        raise NotFiniteError(f"{path}: {told}") from error
    write_text(path, text + "\n", parents)


def read_json(path: str | Path, lines: bool = False) -> Any:
    """Returns a JSON file's value, or the list of its lines'; raises InputError if it is damaged."""
    try:
        text = Path(path).read_text(encoding="utf-8")
        return list(map(json.loads, text.splitlines())) if lines else json.loads(text)
    except (OSError, ValueError) as error:
        raise InputError(str(path), "lines of JSON" if lines else "JSON", reason(error)) from error


@contextlib.contextmanager
def whole_file(path: str | Path, parents: bool = True) -> Iterator[Path]:
    """Yields a path to write to and moves the file to `path` at the end; creates missing `parents`."""
    with _unfinished_beside(Path(path), parents) as unfinished:
        yield unfinished
        with open(unfinished, "rb") as written:
            os.fsync(written.fileno())
        os.replace(unfinished, path)


@contextlib.contextmanager
def whole_folder(path: str | Path) -> Iterator[Path]:
    """Yields a folder to fill and moves it to `path` at the end, replacing any there.

    Raises FileNotFoundError if the folder above was moved in the meantime.
    """
    path = Path(path)
    old = path.with_name(f"{path.name}.old")
    with _unfinished_beside(path) as unfinished, _unfinished_beside(old) as retired:
        unfinished.mkdir()
        made = unfinished.stat()
        yield unfinished
        if not os.path.samestat(made, unfinished.stat()):  # TensorFlow makes missing folders.
            remove(unfinished)
            with contextlib.suppress(OSError):
                path.parent.rmdir()
            raise FileNotFoundError(f"{path.parent}: expected this folder; it was moved")
        if path.exists():
            os.replace(path, retired)
        os.replace(unfinished, path)


@contextlib.contextmanager
def _unfinished_beside(path: Path, parents: bool = True) -> Iterator[Path]:
    """Yields a temporary name beside `path`, and removes what has it at the end."""
    if parents:
        path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{UNFINISHED}{os.getpid()}.{path.name}")
    try:
        yield unfinished
    finally:
        remove(unfinished)


def remove(path: Path) -> None:
    """Removes a file or a folder, if it exists."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def locked(file: int | IO) -> bool:
    """Locks an open file until all processes that hold it close it; returns False if another has."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
