"""Embeddings of any number of images, in files, at a memory that does not grow.

The images are cut into parts of a fixed size, each a file that is written whole or not at all. So a run
that was broken off goes on with the parts that are missing, and several jobs, each with parts of its
own, fill one folder: no row comes twice and none is lost.
"""

import contextlib
import itertools
import math
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from crvae_tf.datasets import Images
from crvae_tf.datasets.images import check_broken_share, grouped
from crvae_tf.errors import InputError, check_choice
from crvae_tf.runs import files
from crvae_tf.serving import embedding_files
from crvae_tf.serving.embedding_files import FILE, INDEX, Part
from crvae_tf.serving.embedding_folder import ABOUT, Embedding
from crvae_tf.serving.export import Encoder

Places = dict[str, str | None]

ROWS_PER_FILE = 10_000
BATCH_SIZE = 256


class Report(NamedTuple):
    """What a call of `embed` brought about."""

    embedding: Embedding
    new_rows: int
    """Images embedded by this call."""
    broken: list[str]
    """Files of this job that cannot be read."""


def embed(
    encoder: Encoder,
    images: Images,
    path: str | os.PathLike,
    *,
    file_format: str = "parquet",
    rows_per_file: int | None = None,
    shard_index: int = 0,
    shard_count: int = 1,
    batch_size: int = BATCH_SIZE,
    places: Places | None = None,
    progress: Callable[[int, int], None] = lambda done, whole: None,
) -> Report:
    """Writes the embeddings of images, or of one of `shard_count` jobs' share of them.

    Parts that are there already stay as they are.

    Args:
      encoder: that embeds.
      images: as `datasets.open_images` returns them.
      path: of the folder to write to; all jobs have the same.
      file_format: one of `embedding_files.FORMATS`.
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
    check_choice("format", file_format, embedding_files.FORMATS)
    path = Path(path)
    path.mkdir(parents=True, exist_ok=True)
    about = {
        "format": file_format,
        "num_rows": images.num_images,
        "latent_dim": encoder.latent_dim,
        "input_fingerprint": images.fingerprint,
        "encoder_fingerprint": encoder.fingerprint,
    }
    if rows_per_file:
        about["rows_per_file"] = rows_per_file
    others = {"input": images.origin, "key": FILE if images.names else INDEX, **(places or {})}
    others["content_dim"] = encoder.content_dim
    others["rows_per_file"] = min(ROWS_PER_FILE, math.ceil(images.num_images / shard_count))
    with files.turn(path):
        embedding = _begin(path, about, others)
    try:
        with embedding.share(shard_index, shard_count) as share:
            return _write_missing(encoder, images, embedding, share, batch_size, progress)
    except InputError:
        with contextlib.suppress(OSError):  # Something else than this lies in the folder.
            if {file.name for file in path.iterdir()} == {ABOUT}:
                (path / ABOUT).unlink()
                path.rmdir()
        raise


def _begin(path: Path, about: dict, others: dict) -> Embedding:
    """Writes `_embedding.json`, or finds that the folder holds some of the same embeddings."""
    if (path / ABOUT).exists():
        embedding = Embedding.open(path)
        different = [name for name in about if embedding.about.get(name) != about[name]]
        if different:
            expected = "a new folder, or one with embeddings of the same encoder and images"
            raise InputError("output", expected, f"{path}, which differs in {', '.join(different)}")
        return embedding
    if any(not file.name.startswith(".") for file in path.iterdir()):
        expected = "a new or empty folder, or one with embeddings to go on with"
        raise InputError("output", expected, f"{path}, with something else")
    files.write_json(path / ABOUT, others | about)
    return Embedding(path, others | about)


def _write_missing(
    encoder: Encoder,
    images: Images,
    embedding: Embedding,
    share: range,
    batch_size: int,
    progress: Callable[[int, int], None],
) -> Report:
    """Writes the parts of a share that are not there."""
    missing = embedding.missing(share)
    for number in missing:
        for left in embedding.path.glob(f".*.{embedding.file(number).name}"):
            left.unlink(missing_ok=True)  # A process that was killed left it.
    present = sorted(set(share) - set(missing))
    broken = [name for n in present for name in embedding_files.read_broken(embedding.file(n))]
    whole = sum(len(embedding.rows(number)) for number in share)
    earlier = sum(len(embedding.rows(number)) for number in present)
    new_rows = 0
    for number, batches in _embedded(encoder, images, embedding, missing, batch_size):
        made = []
        for batch in batches:
            made.append(batch)
            new_rows += len(batch[0])
            progress(earlier + new_rows, whole)
        part = _part(encoder, images, embedding.rows(number), made)
        broken += part.broken
        check_broken_share(broken, whole, "input")
        embedding_files.write(embedding.file(number), part)
    return Report(embedding, new_rows, broken)


Embedded = tuple[np.ndarray, ...]
"""Indices, labels, means, standard deviations, contents and, if there are any, poses of a batch."""


def _embedded(
    encoder: Encoder, images: Images, embedding: Embedding, numbers: list[int], batch_size: int
) -> Iterator[tuple[int, Iterator[Embedded]]]:
    """Yields each of the parts `numbers` with its batches.

    No batch holds rows of two parts: on some processors what a network makes of an image depends, in
    its last bits, on the batch it is in, and a part is the same whichever others are missing.
    """
    bounds = [bound for number in numbers for bound in grouped(embedding.rows(number), batch_size)]
    dataset = images.ranges(bounds) if bounds else tf.data.Dataset.range(0)
    batches = iter(dataset.prefetch(tf.data.AUTOTUNE).as_numpy_iterator())
    waiting = list(itertools.islice(batches, 1))

    def of_part(number):
        while waiting and waiting[0][0][0] in embedding.rows(number):
            indices, pixels, labels = waiting.pop()
            waiting.extend(itertools.islice(batches, 1))
            made = encoder.encode_pixels(pixels)
            pose = () if made.pose is None else (made.pose,)
            yield indices, labels, made.mean, made.stddev, made.content, *pose

    for number in numbers:
        yield number, of_part(number)


def _part(encoder: Encoder, images: Images, rows: range, batches: list[Embedded]) -> Part:
    """Returns a part of its batches, and warns of the rows that are in none."""
    nothing = [np.zeros(0, np.int64), np.zeros(0, np.int64)]
    dims = [encoder.latent_dim, encoder.latent_dim, encoder.content_dim]
    dims += [4] if encoder.content_dim < encoder.latent_dim else []
    nothing += [np.zeros((0, dim), np.float32) for dim in dims]
    columns = [np.concatenate(column) for column in zip(nothing, *batches, strict=True)]
    indices, labels, mean, stddev, content, *pose = columns
    broken = np.setdiff1d(rows, indices)
    names = images.tell_broken(broken)
    keys = [images.names[index] for index in indices] if images.names else indices
    if images.class_names is not None:
        labels = [images.class_names[label] for label in labels]
    labels = labels if images.has_labels else None
    return Part(keys, labels, mean, stddev, content, names, *pose)
