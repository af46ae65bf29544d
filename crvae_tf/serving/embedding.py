"""Embeddings of any number of images, in files, at a memory that does not grow.

The images are cut into parts of a fixed size, each a file that is written whole or not at all. So a run
that was broken off goes on with the parts that are missing, and several jobs, each with parts of its
own, fill one folder: no row comes twice and none is lost.
"""

import itertools
import math
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from crvae_tf.datasets import Images
from crvae_tf.datasets.images import check_broken_share, grouped
from crvae_tf.errors import InputError
from crvae_tf.serving.export import Embeddings, Encoder
from crvae_tf.serving.index import FILE, INDEX, Index, broken_of, read, write

ROWS_PER_FILE = 10_000
BATCH_SIZE = 256


class Report(NamedTuple):
    """What a call of `embed` brought about."""

    index: Index
    new_rows: int
    """Images embedded by this call."""
    broken: list[str]
    """Files of this job that cannot be read."""


def embed(
    encoder: Encoder,
    images: Images,
    path: str | os.PathLike,
    *,
    rows_per_file: int | None = None,
    shard_index: int = 0,
    shard_count: int = 1,
    batch_size: int = BATCH_SIZE,
    places: dict[str, str | None] | None = None,
    progress: Callable[[int, int], None] = lambda done, whole: None,
) -> Report:
    """Writes the embeddings of images, or of one of `shard_count` jobs' share of them.

    Parts that are there already stay as they are.

    Args:
      encoder: that embeds.
      images: as `datasets.open_images` returns them.
      path: of the folder to write to; all jobs have the same.
      rows_per_file: 1 or more; by default 10,000, or fewer if some job had nothing to do otherwise.
      shard_index: which job this is, from 0 on.
      shard_count: how many there are.
      batch_size: images that are embedded at a time.
      places: where encoder and images lie, to be found again by a search.
      progress: called with the rows of this job that are done and the whole of them.

    Raises:
      InputError: the folder holds something else, another process does the same job, or more than 1 %
        of the files are broken.
    """
    about = {
        "num_rows": images.num_images,
        "input_fingerprint": images.fingerprint,
        "encoder_fingerprint": encoder.fingerprint,
    } | ({"rows_per_file": rows_per_file} if rows_per_file else {})
    others = {"input": images.origin, "key": FILE if images.names else INDEX, **(places or {})}
    others["rows_per_file"] = min(ROWS_PER_FILE, math.ceil(images.num_images / shard_count))
    index = Index.begun(Path(path), about, others)
    try:
        with index.share(shard_index, shard_count) as share:
            return _write_missing(encoder, images, index, share, batch_size, progress)
    except InputError:
        index.remove_if_empty()
        raise


def _write_missing(
    encoder: Encoder,
    images: Images,
    index: Index,
    share: range,
    batch_size: int,
    progress: Callable[[int, int], None],
) -> Report:
    """Writes the parts of a share that are not there."""
    missing = index.missing(share)
    present = sorted(set(share) - set(missing))
    earlier, whole = (sum(len(index.rows(n)) for n in numbers) for numbers in (present, share))
    broken = [name for number in present for name in broken_of(read(index.file(number)))]
    new_rows = 0
    for number, batches in _of_parts(images, index, missing, batch_size):
        made = []
        for indices, pixels, labels in batches:
            made.append((indices, labels, encoder.encode_pixels(pixels)))
            new_rows += len(indices)
            progress(earlier + new_rows, whole)
        columns, of_part = _columns(encoder, images, index.rows(number), made)
        broken += of_part
        check_broken_share(broken, whole, "input")
        for left in index.path.glob(f".*.{index.file(number).name}"):
            left.unlink(missing_ok=True)  # A process that was killed left it.
        write(index.file(number), columns, of_part)
    return Report(index, new_rows, broken)


def _of_parts(
    images: Images, index: Index, numbers: list[int], batch_size: int
) -> Iterator[tuple[int, Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]]]]:
    """Yields each of the parts `numbers` with its batches, none where no file of it can be read.

    No batch holds rows of two parts: on some processors what a network makes of an image depends, in
    its last bits, on the batch it is in, and a part is the same whichever others are missing.
    """
    bounds = [bound for number in numbers for bound in grouped(index.rows(number), batch_size)]
    dataset = images.ranges(bounds) if bounds else tf.data.Dataset.range(0)
    batches = dataset.prefetch(tf.data.AUTOTUNE).as_numpy_iterator()
    groups = itertools.groupby(batches, lambda batch: batch[0][0] // index.rows_per_file)
    found, group = next(groups, (None, ()))
    for number in numbers:
        yield number, group if number == found else ()
        if number == found:
            found, group = next(groups, (None, ()))


def _columns(
    encoder: Encoder, images: Images, rows: range, made: list[tuple[np.ndarray, np.ndarray, Embeddings]]
) -> tuple[dict[str, np.ndarray], list[str]]:
    """Returns the columns of a part, and the files among its rows that cannot be read."""
    nothing = np.zeros(0, np.int64)
    indices, labels, embedded = zip((nothing, nothing, encoder.nothing), *made, strict=True)
    indices, labels = np.concatenate(indices), np.concatenate(labels)
    columns = {INDEX: indices}
    if images.names:
        columns = {FILE: np.array([images.names[i] for i in indices], np.str_)}
    if images.has_labels:
        names = images.class_names
        columns["label"] = labels if names is None else np.array(names, np.str_)[labels]
    # The content is a column of its own where it is not the mean.
    given = Embeddings._fields if encoder.nothing.pose is not None else ("mean", "stddev")
    columns |= {name: np.concatenate([getattr(each, name) for each in embedded]) for name in given}
    unread = np.setdiff1d(rows, indices)
    return columns, images.tell_broken(unread)
