"""Files and folders that are written whole or not at all, and what one process alone holds."""

import contextlib
import fcntl
import json
import os
import re
import shutil
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from crvae_tf.errors import InputError, NotFiniteError

_UNFINISHED = {False: r"\.\d+\.(%s)", True: r"\.(%s)\.[a-z0-9_]{8}"}
"""What files, and folders, are called that are not whole yet, by what they are called then."""


def write_text(path: str | Path, text: str) -> None:
    r"""Writes `text` beside `path` and moves it there in one step.

    A byte of a file's name that is no UTF-8 becomes `\udcNN`.
    """
    with whole_file(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8", errors="backslashreplace")


def read_json(path: str | Path) -> Any:
    """Returns what a file of JSON holds.

    Raises:
      InputError: it holds something else.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(str(path), "JSON", error) from error


def write_json(path: str | Path, value: Any) -> None:
    """Writes `value` as indented JSON with a final newline.

    Raises:
      NotFiniteError: it holds NaN or infinity, which JSON has no word for.
    """
    try:
        text = json.dumps(value, indent=2, allow_nan=False)
    except ValueError as error:
        raise NotFiniteError(
            f"{path}: expected finite figures; received NaN or infinity, as weights that are too large "
            "may give; a lower --learning_rate may help"
        ) from error
    write_text(path, text + "\n")


@contextlib.contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Yields a path to write to, with the suffix of `path`, and moves it to `path` at the end."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{os.getpid()}.{path.name}")
    try:
        yield unfinished
        with open(unfinished, "rb") as written:
            os.fsync(written.fileno())
        os.replace(unfinished, path)
    finally:
        unfinished.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_folder(path: str | Path) -> Iterator[Path]:
    """Yields a folder to fill and moves it to `path` at the end, in place of what was there."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        os.chmod(unfinished, 0o755)
        yield unfinished
        if path.exists():
            retired = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
            os.replace(path, retired / path.name)
            os.replace(unfinished, path)
            shutil.rmtree(retired)
        else:
            os.replace(unfinished, path)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def unfinished(folder: str | Path, names: str) -> list[Path]:
    """Returns what `whole_file` and `whole_folder` left in `folder` where a process was killed.

    Args:
      folder: to look in.
      names: a regular expression of what they write there: the user may keep other things in it.
    """
    entries = Path(folder).glob(".*")
    return [path for path in entries if re.fullmatch(_UNFINISHED[path.is_dir()] % names, path.name)]


def locked(file: int | IO, places: range | None = None) -> bool:
    """Keeps other processes from an open file or folder; returns whether no other has it already.

    The lock ends when the file is closed, by children that have it from here too, or when these
    processes end, however they end.

    Args:
      file: or its descriptor; where only `places` are locked it is open for writing.
      places: consecutive bytes, which need not be there; the whole file where this is None.
    """
    try:
        if places is None:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        elif places:  # A length of 0 would be every place.
            # Of the open file: those of a process end when it closes any file of that name.
            lock = struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, places.start, len(places), 0)
            fcntl.fcntl(file, fcntl.F_OFD_SETLK, lock)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def turn(folder: str | Path) -> Iterator[None]:
    """Waits until no other process is inside this for the same folder, and keeps others out."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
