"""The files that embeddings are written to: Parquet or `.npz`, each whole or absent."""

import contextlib
import hashlib
import json
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from crvae_tf import files
from crvae_tf.datasets.listings import FILE
from crvae_tf.errors import InputError

FORMATS = ("parquet", "npz")
_BROKEN, _NAME, _DIGEST = "broken", "name", "sha256"
_COMPRESSION = "zstd"
# pyarrow's errors are ValueErrors and OSErrors; those from the EOFError on are of .npz.
_UNREADABLE = (
    OSError, ValueError, KeyError, TypeError,
    EOFError, RuntimeError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


class Part(NamedTuple):
    """The rows of one file."""

    key: str
    """`file` or `index`: the name of the column that a row is known by."""
    keys: Sequence[str] | np.ndarray
    """Names, or int64 `[rows]`."""
    labels: Sequence[str] | np.ndarray | None
    """Of the rows' classes, if they have any: names with `file`, int64 `[rows]` with `index`."""
    mean: np.ndarray
    """float32 `[rows, latent_dim]`."""
    stddev: np.ndarray
    """float32 `[rows, latent_dim]`."""
    content: np.ndarray
    """float32 `[rows, content_dim]`, the embedding; a column of its own where it is not the mean."""
    broken: list[str]
    """The files among the part's that could not be read."""


def write(path: Path, part: Part) -> None:
    """Writes a part to `path`, in the format that its suffix names."""
    columns = {part.key: part.keys} | ({} if part.labels is None else {"label": part.labels})
    vectors = {"mean": part.mean, "stddev": part.stddev}
    if part.content.shape != part.mean.shape:
        vectors["content"] = part.content
    with files.whole_file(path, parents=False) as unfinished:
        if path.suffix == ".npz":
            dtype = np.str_ if part.key == FILE else np.int64
            arrays = {name: np.array(column, dtype) for name, column in columns.items()}
            broken = np.array(part.broken, np.str_)
            about = {_BROKEN: broken, _NAME: np.array(path.name)}
            _save_arrays(unfinished, arrays | vectors | about)
        else:
            arrow_type = pa.string() if part.key == FILE else pa.int64()
            digest = _digest(columns | vectors | {_BROKEN: part.broken})
            metadata = {_BROKEN: json.dumps(part.broken), _NAME: path.name, _DIGEST: digest}
            columns = {name: pa.array(column, arrow_type) for name, column in columns.items()}
            columns |= {name: _vectors(rows) for name, rows in vectors.items()}
            table = pa.table(columns).replace_schema_metadata(metadata)
            # A dictionary of floats would be built in vain.
            pq.write_table(table, unfinished, compression=_COMPRESSION, use_dictionary=["label"])


def _digest(columns: dict[str, Sequence[str] | np.ndarray]) -> str:
    """Returns the SHA-256 of the columns' names and values; `.npz` files have sums of their own."""
    digest = hashlib.sha256()
    for name, column in columns.items():
        array = np.asarray(column)
        if array.dtype.kind in "iu":
            array = array.astype(np.int64)
        is_text = array.dtype.kind in "OU"
        digest.update(name.encode())
        digest.update("\n".join(array.tolist()).encode() if is_text else array.tobytes())
    return digest.hexdigest()


def _save_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Writes what `numpy.load` reads; `numpy.savez` takes no array of the name `file`."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def read(path: Path) -> Part:
    """Reads a part that `write` wrote.

    Raises:
      InputError: the file is damaged, or another, or was written under another name.
    """
    with _damage_told(path):
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                columns = dict(arrays)
            broken, name = columns.pop(_BROKEN).tolist(), str(columns.pop(_NAME))
        else:
            table = pq.read_table(path)
            metadata = dict(table.schema.metadata)
            about = {key.decode(): value.decode() for key, value in metadata.items()}
            broken, name = json.loads(about[_BROKEN]), about[_NAME]
            columns = {column: _array(table[column]) for column in table.column_names}
            if about[_DIGEST] != _digest(columns | {_BROKEN: broken}):
                raise ValueError("other embeddings than were written")
        if name != path.name:
            raise ValueError(f"a file that was written as {name}")
        key, *_ = columns
        mean, stddev = columns["mean"], columns["stddev"]
        content = columns.get("content", mean)
        return Part(key, columns[key], columns.get("label"), mean, stddev, content, broken)


def read_broken(path: Path) -> list[str]:
    """Returns the `broken` of a part alone.

    Raises:
      InputError: the file is damaged, or another.
    """
    with _damage_told(path):
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                return arrays[_BROKEN].tolist()
        return json.loads(pq.read_schema(path).metadata[_BROKEN.encode()])


@contextlib.contextmanager
def _damage_told(path: Path) -> Iterator[None]:
    try:
        yield
    except _UNREADABLE as error:
        raise InputError(
            f"{path}: expected a file of embeddings; received one that cannot be read; remove it and "
            "give the command launch.embed again"
        ) from error


def _vectors(rows: np.ndarray) -> pa.FixedSizeListArray:
    return pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), rows.shape[1])


def _array(column: pa.ChunkedArray) -> np.ndarray:
    column = column.combine_chunks()
    if not pa.types.is_fixed_size_list(column.type):
        return column.to_numpy(zero_copy_only=False)
    return column.flatten().to_numpy().reshape(len(column), column.type.list_size)
