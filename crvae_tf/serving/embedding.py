"""Embeds any number of images into files, in constant memory.

Each file holds a fixed number of images and is written whole or not at all. So an interrupted job
resumes with the missing files, and several jobs can share a folder: every image has exactly one row.
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
    """What a call of `embed` did."""

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
    """Writes the embeddings of images, or of one job's share of them. Finished files stay.

    Args:
      encoder: the encoder.
      images: from `datasets.open_images`.
      path: the folder to write to, the same for all jobs.
      rows_per_file: 1 or more; by default 10,000, or fewer to give every job a file.
      shard_index: the number of this job, from 0 on.
      shard_count: the number of jobs.
      batch_size: images per call of the encoder.
      places: where a search finds the encoder and the images.
      progress: called with the finished rows and all rows of this job.

    Raises:
      InputError: the folder holds something else, another process runs the same job, or more than 1 %
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
    encoder: Encoder, images: Images, index: Index, share: range, batch_size: int, progress: Callable
) -> Report:
    """Writes the missing files of a share."""
    missing = sorted(set(share) & set(index.missing()))
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
            left.unlink(missing_ok=True)  # A killed process left it.
        write(index.file(number), columns, of_part)
    return Report(index, new_rows, broken)


def _of_parts(
    images: Images, index: Index, numbers: list[int], batch_size: int
) -> Iterator[tuple[int, Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]]]]:
    """Yields each of the files `numbers` with its batches, or with none if all its images are broken.

    No batch spans two files. On some processors the last bits of an embedding depend on the batch, so
    a file does not depend on which others are missing.
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
    """Returns a file's columns, and the names of images among its rows that cannot be read."""
    nothing = np.zeros(0, np.int64)
    indices, labels, embedded = zip((nothing, nothing, encoder.nothing), *made, strict=True)
    indices, labels = np.concatenate(indices), np.concatenate(labels)
    columns = {INDEX: indices}
    if images.names:
        columns = {FILE: np.array([images.names[i] for i in indices], np.str_)}
    if images.has_labels:
        names = images.class_names
        columns["label"] = labels if names is None else np.array(names, np.str_)[labels]
    # Without a pose the content is the mean.
    given = Embeddings._fields if encoder.nothing.pose is not None else ("mean", "stddev")
    columns |= {name: np.concatenate([getattr(each, name) for each in embedded]) for name in given}
    unread = np.setdiff1d(rows, indices)
    return columns, images.tell_broken(unread)
