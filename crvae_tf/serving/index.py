"""A folder of embeddings, which finds the nearest images by the distance of their embeddings.

It holds a description and Parquet files, each whole or absent. A file has a row for each image: `file`
or `index`, `label` if images have classes, and the encoder's vectors. Its metadata name the image files
that could not be read.
"""

import contextlib
import json
import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from crvae_tf.datasets import FOLDER_PREFIX, folders, open_images
from crvae_tf.errors import InputError
from crvae_tf.runs import files
from crvae_tf.serving import export
from crvae_tf.serving.export import Encoder

FILE, INDEX = "file", "index"
"""The column that identifies a row."""

_BROKEN = "broken"
# Readers of Parquet folders ignore names that begin with an underscore or a dot.
_ABOUT = "_embedding.json"


class Index:
    """A folder of embeddings, finished or not; `about` is what `_embedding.json` holds.

    Raises:
      InputError: the folder has no embeddings.
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
        """Starts a folder of embeddings, or opens one with the same `about`; `others` may differ.

        Raises:
          InputError: the folder holds something else.
        """
        path.mkdir(parents=True, exist_ok=True)
        if not (path / _ABOUT).exists():
            # Another job may start at the same moment.
            if any(file.name != _ABOUT and not file.name.startswith(".") for file in path.iterdir()):
                expected = "a new or empty folder, or one with unfinished embeddings"
                raise InputError("output", expected, f"{path}, with other files")
            files.write_json(path / _ABOUT, others | about)
        index = cls(path)
        if different := [name for name in about if index.about.get(name) != about[name]]:
            expected = "a new folder, or one with embeddings of the same encoder and images"
            raise InputError("output", expected, f"{path}, which differs in {', '.join(different)}")
        return index

    def remove_if_empty(self) -> None:
        """Removes the folder if it has no rows."""
        if [file.name for file in self.path.iterdir()] == [_ABOUT]:
            files.remove(self.path)

    def file(self, number: int) -> Path:
        """Returns the path of the file `number`."""
        return self.path / f"part-{number:05d}-of-{self.num_files:05d}.parquet"

    def rows(self, number: int) -> range:
        """Returns the indices of the images in the file `number`."""
        start = number * self.rows_per_file
        return range(start, min(start + self.rows_per_file, self.num_rows))

    def missing(self) -> list[int]:
        """Returns the numbers of the missing files."""
        return [number for number in range(self.num_files) if not self.file(number).exists()]

    @contextlib.contextmanager
    def share(self, job: int, jobs: int) -> Iterator[range]:
        """Yields the files of one of several jobs, and locks the job.

        Raises:
          InputError: another process runs this job.
        """
        path = self.path / f".share-{job}-of-{jobs}"
        with open(path, "wb") as lock:
            if not files.locked(lock):
                expected = "a job that no other process is running"
                received = f"{job} of {jobs}, which another process is running"
                raise InputError("shard_index", expected, received)
            try:
                yield range(self.num_files * job // jobs, self.num_files * (job + 1) // jobs)
            finally:
                path.unlink(missing_ok=True)

    def parts(self) -> Iterator[tuple[pa.Table, np.ndarray]]:
        """Yields each file's table and its embeddings: the contents.

        Raises:
          InputError: some are missing, or one is damaged.
        """
        if missing := self.missing():
            expected = f"a folder of {self.num_files} files; run launch.embed again to complete it"
            first = self.file(missing[0]).name
            received = f"{self.path}, which lacks {len(missing)}, the first {first}"
            raise InputError("index", expected, received)
        for table in map(read, map(self.file, range(self.num_files))):
            yield table, vectors(table["content" if "content" in table.column_names else "mean"])


def write(path: Path, columns: dict[str, Any], broken: Sequence[str]) -> None:
    """Writes columns, `[rows]` or `[rows, dimensions]`, and the names of broken image files."""
    arrays = {name: _arrow(np.asarray(column)) for name, column in columns.items()}
    table = pa.table(arrays).replace_schema_metadata({_BROKEN: json.dumps(broken)})
    with files.whole_file(path, parents=False) as unfinished:
        # Dictionaries do not compress floats.
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
        expected = "a file of embeddings; remove it and run launch.embed again"
        raise InputError(str(path), expected, "a damaged file") from error


def broken_of(table: pa.Table) -> list[str]:
    """Returns the names of a table's broken image files."""
    return json.loads(table.schema.metadata[_BROKEN.encode()])


def vectors(column: pa.ChunkedArray) -> np.ndarray:
    """Returns a column of vectors, `[rows, dimensions]`."""
    column = column.combine_chunks()
    return column.flatten().to_numpy().reshape(len(column), column.type.list_size)


def _arrow(column: np.ndarray) -> pa.Array:
    if column.ndim == 1:
        return pa.array(column)
    return pa.FixedSizeListArray.from_arrays(pa.array(column.reshape(-1)), column.shape[1])


class Neighbour(NamedTuple):
    """A nearest image."""

    distance: float
    """Euclidean distance of its embedding from the query's."""
    key: str | int
    """Its file or its index."""
    label: str | int | None
    """Its class, if it has one."""


def nearest(index: Index, query: np.ndarray, number: int) -> list[Neighbour]:
    """Returns the `number` images whose embeddings are nearest to `query` `[content_dim]`, in order.

    It compares the query with all images, one file at a time, in constant memory. Of two images at
    the same distance, the first comes first.

    Raises:
      InputError: the embeddings are incomplete, or a file is damaged.
    """
    best = []
    for table, contents in index.parts():
        distances = np.linalg.norm(contents - query, axis=1)
        rows = np.argsort(distances, kind="stable")[:number]
        keys = table[index.key].take(rows).to_pylist()
        labelled = "label" in table.column_names
        labels = table["label"].take(rows).to_pylist() if labelled else [None] * len(rows)
        found = map(Neighbour, distances[rows].tolist(), keys, labels)
        best = sorted([*best, *found], key=lambda neighbour: neighbour.distance)[:number]
    return best


def load_encoder(index: Index, moved_to: str | None = None) -> Encoder:
    """Returns the encoder that made the embeddings; `moved_to` is its new place, if it moved.

    Raises:
      InputError: there is none, or it is another.
    """
    encoder = export.load_encoder(str(moved_to or index.about.get("encoder")))
    if encoder.fingerprint != index.about["encoder_fingerprint"]:
        raise InputError("encoder", f"the encoder of {index.path}", "another")
    return encoder


def embed_file(encoder: Encoder, path: str | os.PathLike) -> np.ndarray:
    """Returns the embedding of an image file, `[content_dim]`.

    Raises:
      InputError: it is not an image file.
    """
    try:
        if not os.path.isfile(path):
            raise FileNotFoundError(path)
        return encoder.encode_bytes([Path(path).read_bytes()]).content[0]
    except (OSError, InputError) as error:
        raise InputError("image", "an image file that TensorFlow decodes", path) from error


def pictures(
    index: Index, encoder: Encoder, keys: list[str | int], data_dir: str | None = None
) -> list[np.ndarray | None]:
    """Returns the images of `keys`, each uint8 `[h, w, c]`, or None for a missing one.

    Of file names it returns the original images, of indices preprocessed ones. `data_dir` is the new
    folder of TFDS data, if it moved.
    """
    about = index.about
    if index.key == FILE:
        folder = about["input"].removeprefix(FOLDER_PREFIX)
        return [folders.listed_picture(folder, key) for key in keys]
    try:
        place = data_dir or about["data_dir"]
        images = open_images(about["input"], encoder.preprocessing, place, about["split"])
    except InputError:
        return [None] * len(keys)
    return [next(images.ranges([(key, key + 1)]).as_numpy_iterator())[1][0] for key in keys]
