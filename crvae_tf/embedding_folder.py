"""A folder of embeddings: what `_embedding.json` says of it, its parts, and who is at work on them."""

import contextlib
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from crvae_tf import embedding_files, files
from crvae_tf.embedding_files import Part
from crvae_tf.errors import InputError

# Programs that read a folder of Parquet files leave out what begins with an underscore.
ABOUT = "_embedding.json"


class Embedding:
    """A folder of embeddings: which files belong to it, and what they were made from.

    Args:
      path: of the folder.
      about: what `_embedding.json` holds.
    """

    def __init__(self, path: Path, about: dict):
        self.path = path
        self.about = about
        self.num_rows = about["num_rows"]
        self.rows_per_file = about["rows_per_file"]
        self.num_files = math.ceil(self.num_rows / self.rows_per_file)

    @classmethod
    def open(cls, path: str | os.PathLike) -> "Embedding":
        """Opens the embeddings in a folder.

        Raises:
          InputError: there are none.
        """
        try:
            about = files.read_json(Path(path) / ABOUT)
            return cls(Path(path), about)
        except (InputError, KeyError, TypeError, ZeroDivisionError) as error:
            raise InputError(
                f"{path}: expected a folder of embeddings that launch.embed wrote; received another"
            ) from error

    def file(self, number: int) -> Path:
        """Returns where the part `number` lies."""
        name = f"part-{number:05d}-of-{self.num_files:05d}.{self.about['format']}"
        return self.path / name

    def rows(self, number: int) -> range:
        """Returns the rows of the listing that the part `number` is for."""
        start = number * self.rows_per_file
        return range(start, min(start + self.rows_per_file, self.num_rows))

    def missing(self) -> list[int]:
        """Returns the numbers of the parts that are not there."""
        return [number for number in range(self.num_files) if not self.file(number).exists()]

    def hold(self, numbers: range) -> IO:
        """Keeps other processes from the parts `numbers` until what is returned is closed.

        Raises:
          InputError: another process is at work on some of them.
        """
        held = open(self.path / ABOUT, "r+b")  # noqa: SIM115 - it is the caller's to close.
        if not files.locked(held, numbers):
            held.close()
            raise InputError(
                f"--output={self.path}: expected parts that no other process is at work on; "
                "received some that another process is: give each job another --shard_index"
            )
        return held

    def check_there(self, held: IO) -> None:
        """Raises FileNotFoundError if `held`'s `_embedding.json` was removed, moved or replaced since.

        What is written later would lie in a new folder, which no one could go on from.
        """
        is_there = False
        with contextlib.suppress(OSError):
            is_there = os.path.samestat(os.fstat(held.fileno()), (self.path / ABOUT).stat())
        if not is_there:
            raise FileNotFoundError(
                f"--output={self.path}: expected the folder of the embeddings; received none: it was "
                "removed or moved while the job was at work"
            )

    def forget_if_empty(self, held: IO) -> None:
        """Removes `_embedding.json` and the folder where no part is, and no job but `held`'s own."""
        if len(self.missing()) == self.num_files and files.locked(held, range(self.num_files)):
            (self.path / ABOUT).unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # The user may keep something else in it.
                self.path.rmdir()

    def parts(self) -> Iterator[Part]:
        """Yields every part, one at a time.

        Raises:
          InputError: some are missing, or one is damaged or of another number of rows.
        """
        missing = self.missing()
        if missing:
            raise InputError(
                f"{self.path}: expected {self.num_files} files; received all but {len(missing)}, the "
                f"first {self.file(missing[0]).name}: give the command launch.embed again"
            )
        for number in range(self.num_files):
            part = embedding_files.read(self.file(number))
            found, expected = len(part.keys) + len(part.broken), len(self.rows(number))
            if found != expected:
                raise InputError(f"{self.file(number)}: expected {expected} rows; received {found}")
            yield part
