"""The files that embeddings are written to: Parquet or `.npz`, each whole or absent."""

import json
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from crvae_tf.errors import InputError
from crvae_tf.runs import files

FORMATS = ("parquet", "npz")
FILE, INDEX = "file", "index"
"""What a row is known by, and the name of that column."""
_BROKEN = "broken"
# pyarrow's errors are ValueErrors and OSErrors; those from the EOFError on are of .npz.
_UNREADABLE = (
    OSError, ValueError, KeyError, TypeError,
    EOFError, RuntimeError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


class Part(NamedTuple):
    """The rows of one file."""

    keys: Sequence[str] | np.ndarray
    """Names of files, or indices, int64 `[rows]`."""
    labels: Sequence[str] | np.ndarray | None
    """Of the rows' classes, if they have any: names or numbers, int64 `[rows]`."""
    mean: np.ndarray
    """float32 `[rows, latent_dim]`."""
    stddev: np.ndarray
    """float32 `[rows, latent_dim]`."""
    content: np.ndarray
    """float32 `[rows, content_dim]`, the embedding; a column of its own where it is not the mean."""
    broken: list[str]
    """The files among the part's that could not be read."""
    pose: np.ndarray | None = None
    """Of registered networks, float32 `[rows, 4]`: pixels right, pixels down, degrees, factor."""

    @property
    def key(self) -> str:
        """What a row is known by."""
        return INDEX if isinstance(self.keys, np.ndarray) and self.keys.dtype.kind == "i" else FILE


def write(path: Path, part: Part) -> None:
    """Writes a part to `path`, in the format that its suffix names."""
    columns = {part.key: part.keys} | ({} if part.labels is None else {"label": part.labels})
    vectors = {"mean": part.mean, "stddev": part.stddev}
    if part.content.shape != part.mean.shape:
        vectors["content"] = part.content
    if part.pose is not None:
        vectors["pose"] = part.pose
    with files.whole_file(path, parents=False) as unfinished:
        if path.suffix == ".npz":
            dtype = np.str_ if part.key == FILE else np.int64
            arrays = {name: np.array(column, dtype) for name, column in columns.items()}
            _save_arrays(unfinished, arrays | vectors | {_BROKEN: np.array(part.broken, np.str_)})
            return
        arrow_type = pa.string() if part.key == FILE else pa.int64()
        columns = {name: pa.array(column, arrow_type) for name, column in columns.items()}
        for name, rows in vectors.items():
            columns[name] = pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), rows.shape[1])
        table = pa.table(columns).replace_schema_metadata({_BROKEN: json.dumps(part.broken)})
        # A dictionary of floats would be built in vain.
        checked = {"compression": "zstd", "use_dictionary": ["label"], "write_page_checksum": True}
        pq.write_table(table, unfinished, **checked)


def _save_arrays(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Writes what `numpy.load` reads; `numpy.savez` takes no array of the name `file`."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, array, allow_pickle=False)


def read(path: Path) -> Part:
    """Reads a part that `write` wrote.

    Raises:
      InputError: the file is damaged, or another.
    """
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as arrays:
                columns = dict(arrays)
            broken = columns.pop(_BROKEN).tolist()
        else:
            table = pq.read_table(path, page_checksum_verification=True)
            broken = json.loads(table.schema.metadata[_BROKEN.encode()])
            columns = {column: _array(table[column]) for column in table.column_names}
        keys = columns[FILE] if FILE in columns else columns[INDEX]
        mean, stddev = columns["mean"], columns["stddev"]
        if mean.ndim != 2 or mean.shape != stddev.shape or len(mean) != len(keys):
            raise ValueError("columns of other shapes than were written")
        content, pose = columns.get("content", mean), columns.get("pose")
        return Part(keys, columns.get("label"), mean, stddev, content, broken, pose)
    except _UNREADABLE as error:
        expected = "a file of embeddings; remove it and give the command launch.embed again"
        raise InputError(str(path), expected, "one that cannot be read") from error


def read_broken(path: Path) -> list[str]:
    """Returns the `broken` of a part alone; see `read`."""
    if path.suffix == ".npz":
        return read(path).broken
    try:
        return json.loads(pq.read_schema(path).metadata[_BROKEN.encode()])
    except _UNREADABLE:
        return read(path).broken


def _array(column: pa.ChunkedArray) -> np.ndarray:
    column = column.combine_chunks()
    if not pa.types.is_fixed_size_list(column.type):
        return column.to_numpy(zero_copy_only=False)
    return column.flatten().to_numpy().reshape(len(column), column.type.list_size)
