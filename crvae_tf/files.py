"""Files and folders that are written whole or not at all."""

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
from typing import Any, BinaryIO

from crvae_tf.errors import NotFiniteError

_UNFINISHED = {
    False: re.compile(r"\.\d+\..+", re.DOTALL),
    True: re.compile(r"\..+\.[a-z0-9_]{8}", re.DOTALL),
}
"""The names of files, and of folders, that are not whole yet."""


def write_text(path: str | Path, text: str) -> None:
    r"""Writes `text` beside `path` and moves it there in one step.

    A byte of a file's name that is no UTF-8 becomes `\udcNN`.
    """
    with whole_file(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8", errors="backslashreplace")


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


@contextlib.contextmanager
def locked(path: str | Path, places: range) -> Iterator[bool]:
    """Keeps other processes from the same `places` of a file while it is held.

    A place is a number that processes agree on, and no byte of the file needs to be there. The lock
    ends with its process, however that ends.

    Args:
      path: of a file.
      places: consecutive.

    Yields:
      Whether no other process holds one of them.
    """
    with open(path, "rb+") as file:
        yield _could_lock(file, places)


def _could_lock(file: BinaryIO, places: range) -> bool:
    if not places:
        return True  # A length of 0 would be every place.
    # Of the open file, not of the process, whose locks end when it closes any file of that name.
    lock = struct.pack("hhqqi", fcntl.F_WRLCK, os.SEEK_SET, places.start, len(places), 0)
    try:
        fcntl.fcntl(file, fcntl.F_OFD_SETLK, lock)
    except BlockingIOError:
        return False
    return True


def unfinished(folder: str | Path) -> list[Path]:
    """Returns what `whole_file` and `whole_folder` left in `folder` where a process was killed."""
    entries = Path(folder).glob(".*")
    return [path for path in entries if _UNFINISHED[path.is_dir()].fullmatch(path.name)]
