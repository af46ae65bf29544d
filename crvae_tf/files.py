"""Files and folders that are written whole or not at all."""

import contextlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_UNFINISHED = {
    False: re.compile(r"\.\d+\..+", re.DOTALL),
    True: re.compile(r"\..+\.[a-z0-9_]{8}", re.DOTALL),
}
"""The names of files, and of folders, that are not whole yet."""


def write_text(path: str | Path, text: str) -> None:
    """Writes `text` beside `path` and moves it there in one step."""
    with whole_file(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def write_json(path: str | Path, value: Any) -> None:
    """Writes `value` as indented JSON with a final newline; NaN and infinity are refused."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


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


def unfinished(folder: str | Path) -> list[Path]:
    """Returns what `whole_file` and `whole_folder` left in `folder` where a process was killed."""
    entries = Path(folder).glob(".*")
    return [path for path in entries if _UNFINISHED[path.is_dir()].fullmatch(path.name)]
