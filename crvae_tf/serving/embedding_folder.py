"""A folder of embeddings: what `_embedding.json` says of it, and its parts."""

import contextlib
import math
import os
from collections.abc import Iterator
from pathlib import Path

from crvae_tf.errors import InputError
from crvae_tf.runs import files
from crvae_tf.serving import embedding_files
from crvae_tf.serving.embedding_files import Part

# Programs that read a folder of Parquet files leave out what begins with an underscore or a dot.
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
            return cls(Path(path), files.read_json(Path(path) / ABOUT))
        except (OSError, InputError, KeyError, TypeError, ZeroDivisionError) as error:
            raise InputError("index", "a folder of embeddings that launch.embed wrote", path) from error

    def file(self, number: int) -> Path:
        """Returns where the part `number` lies."""
        name = f"part-{number:05d}-of-{self.num_files:05d}.{self.about['format']}"
        return self.path / name

    def rows(self, number: int) -> range:
        """Returns the rows of the images that the part `number` is for."""
        start = number * self.rows_per_file
        return range(start, min(start + self.rows_per_file, self.num_rows))

    def missing(self, numbers: range | None = None) -> list[int]:
        """Returns which of the parts `numbers`, or of all, are not there."""
        numbers = range(self.num_files) if numbers is None else numbers
        return [number for number in numbers if not self.file(number).exists()]

    @contextlib.contextmanager
    def share(self, index: int, count: int) -> Iterator[range]:
        """Yields the parts that one of `count` jobs is for, and keeps other processes from that job.

        Raises:
          InputError: another process is at work on it.
        """
        path = self.path / f".share-{index}-of-{count}"
        with open(path, "wb") as lock:
            if not files.locked(lock):
                expected = "the number of a job that no other process does"
                raise InputError(
                    "shard_index", expected, f"{index} of {count}, which one is at work on"
                )
            try:
                yield range(*(self.num_files * job // count for job in (index, index + 1)))
            finally:
                path.unlink(missing_ok=True)

    def parts(self) -> Iterator[Part]:
        """Yields every part, one at a time.

        Raises:
          InputError: some are missing, or one is damaged or of another number of rows.
        """
        missing = self.missing()
        if missing:
            expected = (
                f"a folder of {self.num_files} files; the command launch.embed again completes it"
            )
            received = (
                f"{self.path}, which lacks {len(missing)}, the first {self.file(missing[0]).name}"
            )
            raise InputError("index", expected, received)
        for number in range(self.num_files):
            part = embedding_files.read(self.file(number))
            found, expected = len(part.keys) + len(part.broken), len(self.rows(number))
            if found != expected:
                raise InputError("index", f"{expected} rows in {self.file(number)}", found)
            yield part
