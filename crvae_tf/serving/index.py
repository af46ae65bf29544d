"""A folder of embeddings: what it was made from, and its Parquet files, each whole or absent.

A file is a table with a row for each image: `file` or `index`, `label` where images have classes, and
what the encoder gives, vectors. Its metadata name the files among its images that could not be read.
"""

import contextlib
import json
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from crvae_tf.errors import InputError
from crvae_tf.runs import files

FILE, INDEX = "file", "index"
"""What a row is known by, and the name of that column."""

_BROKEN = "broken"
# Programs that read a folder of Parquet files leave out what begins with an underscore or a dot.
_ABOUT = "_embedding.json"


class Index:
    """A folder of embeddings, whole or in the making.

    Args:
      path: of the folder.

    Attributes:
      about: what `_embedding.json` says of it.

    Raises:
      InputError: there are no embeddings.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = Path(path)
        try:
            self.about = files.read_json(self.path / _ABOUT)
            self.key, self.num_rows = self.about["key"], self.about["num_rows"]
            self.rows_per_file = self.about["rows_per_file"]
        except (InputError, KeyError, TypeError) as error:
            raise InputError("index", "a folder of embeddings that launch.embed wrote", path) from error
        self.num_files = math.ceil(self.num_rows / self.rows_per_file)

    @classmethod
    def begun(cls, path: Path, about: dict[str, Any], others: dict[str, Any]) -> "Index":
        """Begins a folder of embeddings, or opens one that is of the same `about`; `others` may differ.

        Raises:
          InputError: the folder holds something else.
        """
        path.mkdir(parents=True, exist_ok=True)
        if not (path / _ABOUT).exists():
            # Another job may begin at this moment, too.
            if any(file.name != _ABOUT and not file.name.startswith(".") for file in path.iterdir()):
                expected = "a new or empty folder, or one with embeddings to go on with"
                raise InputError("output", expected, f"{path}, with something else")
            files.write_json(path / _ABOUT, others | about)
        index = cls(path)
        if different := [name for name in about if index.about.get(name) != about[name]]:
            expected = "a new folder, or one with embeddings of the same encoder and images"
            raise InputError("output", expected, f"{path}, which differs in {', '.join(different)}")
        return index

    def remove_if_empty(self) -> None:
        """Removes the folder if no row was written to it."""
        if [file.name for file in self.path.iterdir()] == [_ABOUT]:
            files.remove(self.path)

    def file(self, number: int) -> Path:
        """Returns where the file `number` lies."""
        return self.path / f"part-{number:05d}-of-{self.num_files:05d}.parquet"

    def rows(self, number: int) -> range:
        """Returns the images that the file `number` is for."""
        start = number * self.rows_per_file
        return range(start, min(start + self.rows_per_file, self.num_rows))

    def missing(self, numbers: range | None = None) -> list[int]:
        """Returns which of the files `numbers`, or of all, are not there."""
        numbers = range(self.num_files) if numbers is None else numbers
        return [number for number in numbers if not self.file(number).exists()]

    @contextlib.contextmanager
    def share(self, job: int, jobs: int) -> Iterator[range]:
        """Yields the files that one of several jobs is for, and keeps other processes from that job.

        Raises:
          InputError: another process is at work on it.
        """
        path = self.path / f".share-{job}-of-{jobs}"
        with open(path, "wb") as lock:
            if not files.locked(lock):
                expected = "the number of a job that no other process does"
                received = f"{job} of {jobs}, which one is at work on"
                raise InputError("shard_index", expected, received)
            try:
                yield range(self.num_files * job // jobs, self.num_files * (job + 1) // jobs)
            finally:
                path.unlink(missing_ok=True)

    def parts(self) -> Iterator[tuple[pa.Table, np.ndarray]]:
        """Yields the table of every file, one at a time, and its embeddings, the contents.

        Raises:
          InputError: some are missing, or one is damaged.
        """
        if missing := self.missing():
            expected = (
                f"a folder of {self.num_files} files; the command launch.embed again completes it"
            )
            first = self.file(missing[0]).name
            received = f"{self.path}, which lacks {len(missing)}, the first {first}"
            raise InputError("index", expected, received)
        for table in map(read, map(self.file, range(self.num_files))):
            yield table, vectors(table["content" if "content" in table.column_names else "mean"])


def write(path: Path, columns: dict[str, Any], broken: Sequence[str]) -> None:
    """Writes columns, arrays `[rows]` or vectors `[rows, dimensions]`, and names of broken files."""
    arrays = {name: _arrow(np.asarray(column)) for name, column in columns.items()}
    table = pa.table(arrays).replace_schema_metadata({_BROKEN: json.dumps(broken)})
    with files.whole_file(path, parents=False) as unfinished:
        # A dictionary of floats would be built in vain.
        options = {"compression": "zstd", "use_dictionary": ["label"], "write_page_checksum": True}
        pq.write_table(table, unfinished, **options)


def read(path: Path) -> pa.Table:
    """Reads what `write` wrote.

    Raises:
      InputError: the file is damaged.
    """
    try:
        return pq.read_table(path, page_checksum_verification=True)
    except (OSError, ValueError) as error:
        expected = "a file of embeddings; remove it and give the command launch.embed again"
        raise InputError(str(path), expected, "one that cannot be read") from error


def broken_of(table: pa.Table) -> list[str]:
    """Returns the files among a table's images that could not be read."""
    return json.loads(table.schema.metadata[_BROKEN.encode()])


def vectors(column: pa.ChunkedArray) -> np.ndarray:
    """Returns a column of vectors, `[rows, dimensions]`."""
    column = column.combine_chunks()
    return column.flatten().to_numpy().reshape(len(column), column.type.list_size)


def _arrow(column: np.ndarray) -> pa.Array:
    if column.ndim == 1:
        return pa.array(column)
    return pa.FixedSizeListArray.from_arrays(pa.array(column.reshape(-1)), column.shape[1])
