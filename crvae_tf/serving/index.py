"""A folder of embeddings: written in constant memory, and searched for the nearest images.

It holds a description and Parquet files, each whole or absent, of a fixed number of images. So an
interrupted job resumes with the missing files. Every image that can be read has one row: `file` or
`index`, `label` if images have classes, and the encoder's vectors.
"""

import contextlib
import itertools
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from crvae_tf.datasets import FOLDER_PREFIX, Images, folders, open_images
from crvae_tf.datasets.images import check_broken_share, grouped
from crvae_tf.errors import InputError
from crvae_tf.runs import files
from crvae_tf.serving import export
from crvae_tf.serving.export import Embeddings, Encoder

ROWS_PER_FILE = 10_000
BATCH_SIZE = 256

FILE, INDEX = "file", "index"
"""The column that identifies a row."""

# Readers of Parquet folders ignore names that begin with an underscore or a dot.
_ABOUT = "_embedding.json"


class Index:
    """A folder of embeddings, finished or not; `about` is what `_embedding.json` holds.

    Raises InputError if there is none at `path`.
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
    def lock(self) -> Iterator[None]:
        """Keeps other processes from writing; raises InputError if one is at it."""
        path = self.path / ".lock"
        with open(path, "wb") as lock:
            if not files.locked(lock):
                expected = "a folder that no other process is writing to"
                raise InputError("output", expected, self.path)
            try:
                yield
            finally:
                path.unlink(missing_ok=True)

    def parts(self) -> Iterator[tuple[pa.Table, np.ndarray]]:
        """Yields each file's keys, labels and embeddings; raises InputError if a file is missing."""
        if missing := self.missing():
            expected = f"a folder of {self.num_files} files; run launch.embed again to complete it"
            first = self.file(missing[0]).name
            received = f"{self.path}, which lacks {len(missing)}, the first {first}"
            raise InputError("index", expected, received)
        for path in map(self.file, range(self.num_files)):
            table = read(path, [self.key, "label", "content", "mean"])
            yield table, vectors(table["content" if "content" in table.column_names else "mean"])


class Report(NamedTuple):
    """What a call of `embed` did: `broken` are the files that cannot be read."""

    index: Index
    new_rows: int
    broken: list[str]


def embed(
    encoder: Encoder,
    images: Images,
    path: str | os.PathLike,
    *,
    rows_per_file: int | None = None,
    places: dict[str, str | None] | None = None,
    progress: Callable[[int, int], None] = lambda done, whole: None,
) -> Report:
    """Writes the embeddings of images to the folder `path`. Finished files stay.

    A file has 10,000 rows by default. `places` say where a search finds the encoder and the images.
    `progress` is called with the finished rows and all rows. Raises InputError if the folder holds
    something else, another process is writing to it, or more than 1 % of the files are broken.
    """
    about = {
        "num_rows": images.num_images,
        "input_fingerprint": images.fingerprint,
        "encoder_fingerprint": encoder.fingerprint,
    } | ({"rows_per_file": rows_per_file} if rows_per_file else {})
    others = {"key": FILE if images.names else INDEX, "rows_per_file": ROWS_PER_FILE}
    index = _begun(Path(path), others | about, about, {"input": images.origin, **(places or {})})
    try:
        with index.lock():
            return _write_missing(encoder, images, index, progress)
    except InputError:
        if [file.name for file in index.path.iterdir()] == [_ABOUT]:  # Nothing was written.
            files.remove(index.path)
        raise


def _begun(
    path: Path, described: dict[str, Any], about: dict[str, Any], places: dict[str, str | None]
) -> Index:
    """Starts a folder of embeddings, or opens one with the same `about`, and notes the `places`."""
    path.mkdir(parents=True, exist_ok=True)
    if (path / _ABOUT).exists():
        described = Index(path).about
    elif any(not file.name.startswith(".") for file in path.iterdir()):
        expected = "a new or empty folder, or one with unfinished embeddings"
        raise InputError("output", expected, f"{path}, with other files")
    if different := [name for name in about if described.get(name) != about[name]]:
        expected = "a new folder, or one with embeddings of the same encoder and images"
        raise InputError("output", expected, f"{path}, which differs in {', '.join(different)}")
    files.write_json(path / _ABOUT, described | places)
    return Index(path)


def _write_missing(encoder: Encoder, images: Images, index: Index, progress: Callable) -> Report:
    missing, whole = index.missing(), index.num_rows
    present = sorted(set(range(index.num_files)) - set(missing))
    earlier = sum(len(index.rows(number)) for number in present)
    broken = [name for number in present for name in _unread(images, index, number)]
    new_rows = 0
    for number, batches in _by_file(images, index, missing):
        made = []
        for indices, pixels, labels in batches:
            made.append((indices, labels, encoder.encode_pixels(pixels)))
            new_rows += len(indices)
            progress(earlier + new_rows, whole)
        there = [row for rows, *_ in made for row in rows]
        broken += images.tell_broken(np.setdiff1d(index.rows(number), there))
        check_broken_share(broken, whole, "input")
        for left in index.path.glob(f".*.{index.file(number).name}"):
            left.unlink(missing_ok=True)  # A killed process left it.
        write(index.file(number), _columns(encoder, images, made))
    return Report(index, new_rows, broken)


def _unread(images: Images, index: Index, number: int) -> list[str]:
    """Returns the names of the images that the file `number` lacks."""
    table, rows = read(index.file(number)), index.rows(number)
    names = images.names[rows.start : rows.stop] if images.names else []
    return sorted(set(names) - set(table[FILE].to_pylist())) if names else []


def _by_file(images: Images, index: Index, numbers: list[int]) -> Iterator[tuple[int, Iterator]]:
    """Yields each of the files `numbers` and its batches; at the end those whose images are broken.

    No batch spans two files. On some processors the last bits of an embedding depend on the batch, so
    a file does not depend on which others are missing.
    """
    if bounds := [bound for number in numbers for bound in grouped(index.rows(number), BATCH_SIZE)]:
        batches = images.read(bounds)
        left = set(numbers)
        for number, group in itertools.groupby(batches, lambda b: int(b[0][0]) // index.rows_per_file):
            left.remove(number)
            yield number, group
        yield from ((number, iter(())) for number in sorted(left))


def _columns(
    encoder: Encoder, images: Images, made: list[tuple[np.ndarray, np.ndarray, Embeddings]]
) -> dict[str, np.ndarray]:
    """Returns a file's columns: `made` has its batches' indices, labels and embeddings."""
    nothing = np.zeros(0, np.int64)
    indices, labels, embedded = zip((nothing, nothing, encoder.nothing), *made, strict=True)
    indices, labels = np.concatenate(indices), np.concatenate(labels)
    columns = {INDEX: indices}
    if images.names:
        columns = {FILE: np.array([images.names[i] for i in indices], np.str_)}
    if images.has_labels:
        names = images.class_names
        columns["label"] = labels if names is None else np.array([*names, ""], np.str_)[labels]
    # Without a pose the content is the mean.
    given = Embeddings._fields if encoder.nothing.pose is not None else ("mean", "stddev")
    return columns | {name: np.concatenate([getattr(e, name) for e in embedded]) for name in given}


def write(path: Path, columns: dict[str, np.ndarray]) -> None:
    """Writes columns, `[rows]` or `[rows, dimensions]`."""
    table = pa.table({name: _arrow(column) for name, column in columns.items()})
    with files.whole_file(path, parents=False) as unfinished:
        # Dictionaries do not compress floats.
        options = {"compression": "zstd", "use_dictionary": ["label"], "write_page_checksum": True}
        pq.write_table(table, unfinished, **options)


def read(path: Path, columns: list[str] | None = None) -> pa.Table:
    """Reads what `write` wrote, or those of its `columns`; raises InputError if it is damaged."""
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            return file.read(columns)
    except (OSError, ValueError) as error:
        expected = "a file of embeddings; remove it and run launch.embed again"
        raise InputError(str(path), expected, "a damaged file") from error


def _arrow(column: np.ndarray) -> pa.Array:
    if column.ndim == 1:
        return pa.array(column)
    return pa.FixedSizeListArray.from_arrays(pa.array(column.reshape(-1)), column.shape[1])


def vectors(column: pa.ChunkedArray) -> np.ndarray:
    """Returns a column of vectors, `[rows, dimensions]`."""
    column = column.combine_chunks()
    return column.flatten().to_numpy().reshape(len(column), column.type.list_size)


def nearest(index: Index, query: np.ndarray, number: int) -> list[Any]:
    """Returns the `number` images whose embeddings are nearest to `query` `[content_dim]`, in order.

    Each has a `distance`, which is Euclidean, a `key`, its file or index, and a `label`, or None. The
    first of two images at the same distance comes first. It reads one file at a time, in constant
    memory. Raises InputError if files are missing or damaged.
    """
    found = []
    for table, contents in index.parts():
        near = pd.Series(np.linalg.norm(contents - query, axis=1)).nsmallest(number)
        rows = table.take(near.index.to_numpy())
        label = rows["label"].to_pylist() if "label" in rows.column_names else None
        keys = rows[index.key].to_pylist()
        found.append(pd.DataFrame({"distance": near.values, "key": keys, "label": label}))
    best = pd.concat(found).nsmallest(number, "distance")
    return list(best.itertuples(index=False, name="Neighbour"))


def load_encoder(index: Index, moved_to: str | None = None) -> Encoder:
    """Returns the encoder that made the embeddings; raises InputError if there is none, or another.

    `moved_to` is its new place, if it moved.
    """
    place = moved_to or index.about.get("encoder")
    if not place or not os.path.exists(place):
        raise InputError("encoder", f"where the encoder of {index.path} is now", place or "none")
    encoder = export.load_encoder(place)
    if encoder.fingerprint != index.about["encoder_fingerprint"]:
        raise InputError("encoder", f"the encoder of {index.path}", "another")
    return encoder


def embed_file(encoder: Encoder, path: str | os.PathLike) -> np.ndarray:
    """Returns the embedding of an image file, `[content_dim]`; raises InputError if it is none."""
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
        brightest = encoder.preprocessing.brightest
        return [folders.listed_picture(folder, key, brightest) for key in keys]
    try:
        place = data_dir or about["data_dir"]
        images = open_images(about["input"], encoder.preprocessing, place, about["split"])
    except InputError:
        return [None] * len(keys)
    return [next(images.ranges([(key, key + 1)]).as_numpy_iterator())[1][0] for key in keys]
