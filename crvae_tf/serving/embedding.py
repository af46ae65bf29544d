"""Embeddings of any number of images, in files, at a memory that does not grow.

The images are cut into parts of a fixed size, each a file that is written whole or not at all. So a run
that was broken off goes on with the parts that are missing, and several jobs, each with parts of its
own, fill one folder: no row comes twice and none is lost.
"""

import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from crvae_tf.datasets import Images
from crvae_tf.datasets.folders import FileImages, check_broken_share
from crvae_tf.datasets.images import grouped
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
    for number in missing:
        indices, labels, embedded = [], [], [encoder.nothing]
        # No batch holds rows of two parts: on some processors what a network makes of an image depends,
        # in its last bits, on its batch, and a part is the same whichever others are missing.
        batches = images.ranges(grouped(index.rows(number), batch_size)).prefetch(tf.data.AUTOTUNE)
        for some_indices, pixels, some_labels in batches.as_numpy_iterator():
            indices.extend(some_indices)
            labels.extend(some_labels)
            embedded.append(encoder.encode_pixels(pixels))
            progress(earlier + new_rows + len(indices), whole)
        new_rows += len(indices)
        unread = np.setdiff1d(index.rows(number), indices)
        names = images.tell_broken(unread) if isinstance(images, FileImages) else []
        broken += names
        check_broken_share(broken, whole, "input")
        for left in index.path.glob(f".*.{index.file(number).name}"):
            left.unlink(missing_ok=True)  # A process that was killed left it.
        write(index.file(number), _known_by(images, indices, labels) | _joined(embedded), names)
    return Report(index, new_rows, broken)


def _known_by(images: Images, indices: list[int], labels: list[int]) -> dict[str, np.ndarray]:
    """Returns the columns that say what rows are of."""
    if images.names:
        columns = {FILE: np.array([images.names[i] for i in indices], np.str_)}
    else:
        columns = {INDEX: np.array(indices, np.int64)}
    if images.has_labels:
        labels, names = np.array(labels, np.int64), images.class_names
        columns["label"] = labels if names is None else np.array(names, np.str_)[labels]
    return columns


def _joined(batches: list[Embeddings]) -> dict[str, np.ndarray]:
    """Returns the columns of all batches; the content is one of its own where it is not the mean."""
    given = Embeddings._fields if batches[0].pose is not None else ("mean", "stddev")
    return {name: np.concatenate([getattr(batch, name) for batch in batches]) for name in given}
