"""Embeddings of any number of images, in files, at a memory that does not grow.

The rows of a listing are cut into parts of a fixed size, each a file that is written whole or not at
all. So a run that was broken off goes on with the parts that are missing, and several jobs, each with
parts of its own, fill one folder: no row comes twice and none is lost. Two never work on the same part.
"""

import collections
import logging
import math
import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from crvae_tf import embedding_files, files
from crvae_tf.datasets import folders
from crvae_tf.datasets.listings import Batch, Listing, grouped
from crvae_tf.embedding_files import Part
from crvae_tf.embedding_folder import ABOUT, Embedding
from crvae_tf.errors import InputError, check_choice
from crvae_tf.export import Encoder

_LOGGER = logging.getLogger(__name__)

Places = dict[str, str | None]

ROWS_PER_FILE = 10_000
BATCH_SIZE = 256
_PARTS_WAITING = 4
_BATCHES_AT_A_TIME = 3


class Report(NamedTuple):
    """What a call of `embed` brought about."""

    embedding: Embedding
    new_rows: int
    """Images embedded by this call."""
    broken: list[str]
    """Files of this job that cannot be read."""


def embed(
    encoder: Encoder,
    listing: Listing,
    path: str | os.PathLike,
    *,
    file_format: str = "parquet",
    rows_per_file: int | None = None,
    shard_index: int = 0,
    shard_count: int = 1,
    batch_size: int = BATCH_SIZE,
    places: Places | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Report:
    """Writes the embeddings of a listing, or of one of `shard_count` jobs' share of it.

    Parts that are there already stay as they are.

    Args:
      encoder: that embeds.
      listing: the images.
      path: of the folder to write to; all jobs have the same.
      file_format: one of `embedding_files.FORMATS`.
      rows_per_file: 1 or more; by default 10,000, or fewer if some job had nothing to do otherwise.
      shard_index: which job this is, from 0 on.
      shard_count: how many there are.
      batch_size: images that are embedded at a time.
      places: where encoder and images lie, to be found again by a search.
      progress: called with the rows of this job that are done and the whole of them.

    Raises:
      InputError: the folder holds something else, another process is at work on the same parts, or
        more than 1 % of the files are broken.
    """
    path = _folder(Path(path), file_format)
    with files.turn(path):
        embedding = _begin(encoder, listing, path, file_format, rows_per_file, shard_count, places)
        bounds = [embedding.num_files * job // shard_count for job in (shard_index, shard_index + 1)]
        held = embedding.hold(range(*bounds))
    with held:
        job = _Job(embedding, listing, range(*bounds), progress)
        job.remove_unfinished()
        try:
            _write_missing(encoder, listing, job, batch_size, lambda: embedding.check_there(held))
        except InputError:
            with files.turn(path):
                embedding.forget_if_empty(held)
            raise
        return Report(embedding, job.new_rows, job.broken)


def _write_missing(
    encoder: Encoder,
    listing: Listing,
    job: "_Job",
    batch_size: int,
    check_there: Callable[[], None],
) -> None:
    """Writes the parts of a job that are not there, one while the next is embedded."""
    embedding = job.embedding

    def write(number: int, part: Part) -> None:
        check_there()
        embedding_files.write(embedding.file(number), part)

    with ThreadPoolExecutor(1) as writer:
        writing = collections.deque()
        for run in _consecutive(job.missing()):
            for number, part in _parts(encoder, listing, embedding, run, batch_size, job.advance):
                job.note_broken(part)
                writing.append(writer.submit(write, number, part))
                if len(writing) > _PARTS_WAITING:
                    writing.popleft().result()
        for written in writing:
            written.result()
    check_there()


class _Job:
    """The parts that one job is for, and how far it has come."""

    def __init__(
        self,
        embedding: Embedding,
        listing: Listing,
        numbers: range,
        progress: Callable[[int, int], None] | None,
    ):
        self.embedding = embedding
        self._what = f"--input={listing.name}"
        self._numbers = numbers
        self._progress = progress
        self._whole = sum(len(embedding.rows(number)) for number in numbers)
        missing = set(self.missing())
        present = [number for number in numbers if number not in missing]
        self._done = sum(len(embedding.rows(number)) for number in present)
        self.broken = []
        self.new_rows = 0
        for number in present:
            self.broken += embedding_files.read_broken(embedding.file(number))

    def missing(self) -> list[int]:
        return [number for number in self._numbers if not self.embedding.file(number).exists()]

    def remove_unfinished(self) -> None:
        """Removes what an earlier process of this job was writing when it was killed."""
        names = {self.embedding.file(number).name for number in self.missing()}
        for file in files.unfinished(self.embedding.path):
            if file.name.split(".", 3)[-1] in names:
                file.unlink(missing_ok=True)

    def advance(self, rows: int) -> None:
        self.new_rows += rows
        if self._progress:
            self._progress(self._done + self.new_rows, self._whole)

    def note_broken(self, part: Part) -> None:
        self.broken += part.broken
        folders.check_broken_share(self._what, self.broken, self._whole)


def _folder(path: Path, file_format: str) -> Path:
    """Returns the folder to write to, and makes it if need be; raises InputError if it holds others."""
    check_choice("--format", file_format, embedding_files.FORMATS)
    is_empty = not path.exists() or (path.is_dir() and all(map(_is_unfinished, path.iterdir())))
    if not is_empty and not (path / ABOUT).exists():
        raise InputError(
            f"--output={path}: expected a new or empty folder, or embeddings to go on with; received "
            "something else"
        )
    path.mkdir(parents=True, exist_ok=True)
    return path


def _begin(
    encoder: Encoder,
    listing: Listing,
    path: Path,
    file_format: str,
    rows_per_file: int | None,
    shard_count: int,
    places: Places | None,
) -> Embedding:
    """Writes `_embedding.json`, or finds that the folder holds a part of the same embeddings."""
    share = math.ceil(listing.num_rows / shard_count)
    same = {
        "format": file_format,
        "num_rows": listing.num_rows,
        "latent_dim": encoder.latent_dim,
        "input_fingerprint": listing.fingerprint,
        "encoder_fingerprint": encoder.fingerprint,
    }
    if (path / ABOUT).exists():
        embedding = Embedding.open(path)
        wanted = same if rows_per_file is None else same | {"rows_per_file": rows_per_file}
        different = [name for name in wanted if embedding.about.get(name) != wanted[name]]
        if different:
            raise InputError(
                f"--output={path}: expected a new folder, or one with embeddings of the same encoder "
                f"and input; received one that differs in {', '.join(different)}"
            )
        return embedding
    about = {"input": listing.name, "key": listing.key} | (places or {}) | same
    about["content_dim"] = encoder.content_dim
    about["rows_per_file"] = rows_per_file or min(ROWS_PER_FILE, share)
    files.write_json(path / ABOUT, about)
    return Embedding(path, about)


def _is_unfinished(file: Path) -> bool:
    """Returns whether a process that was killed left this behind."""
    return file.name.startswith(".")


def _consecutive(numbers: list[int]) -> Iterator[range]:
    """Yields the runs of consecutive numbers.

    >>> list(_consecutive([0, 1, 2, 5, 7, 8]))
    [range(0, 3), range(5, 6), range(7, 9)]
    """
    start = 0
    for place in range(1, len(numbers) + 1):
        if place == len(numbers) or numbers[place] != numbers[place - 1] + 1:
            yield range(numbers[start], numbers[place - 1] + 1)
            start = place


def _parts(
    encoder: Encoder,
    listing: Listing,
    embedding: Embedding,
    numbers: range,
    batch_size: int,
    advance: Callable[[int], None],
) -> Iterator[tuple[int, Part]]:
    """Yields the parts `numbers`, each with its number, as soon as its last row is embedded.

    No batch holds rows of two parts: on some processors what a network makes of an image depends, in
    its last bits, on the batch it is in, and a part is the same whichever others are missing.
    """
    parts = [embedding.rows(number) for number in numbers]
    groups = [group for rows in parts for group in grouped(rows, batch_size)]
    embedded = _embedded(encoder, listing.batches(groups), advance)
    own = _of_parts(embedded, [rows.stop for rows in parts])
    for number, rows, batches in zip(numbers, parts, own, strict=True):
        listing.check_unchanged(rows)
        yield number, _part(listing, embedding, rows, batches)


def _embedded(
    encoder: Encoder, batches: Iterable[Batch], advance: Callable[[int], None]
) -> Iterator["_Embedded"]:
    """Yields the embeddings of batches in order, while those after them are on their way."""
    with ThreadPoolExecutor(_BATCHES_AT_A_TIME) as workers:
        waiting = collections.deque()
        for batch in batches:
            waiting.append(workers.submit(_embeddings_of, encoder, batch))
            if len(waiting) > _BATCHES_AT_A_TIME:
                yield _finished(waiting, advance)
        while waiting:
            yield _finished(waiting, advance)


def _finished(waiting: collections.deque, advance: Callable[[int], None]) -> "_Embedded":
    embedded = waiting.popleft().result()
    advance(len(embedded.rows))
    return embedded


def _embeddings_of(encoder: Encoder, batch: Batch) -> "_Embedded":
    rows, labels, images = batch
    encode = encoder.encode_pixels if images.dtype == np.uint8 else encoder
    return _Embedded(rows, None if labels is None else np.asarray(labels), *encode(images))


class _Embedded(NamedTuple):
    """The embeddings of some rows; the labels may be absent."""

    rows: np.ndarray
    labels: np.ndarray | None
    mean: np.ndarray
    stddev: np.ndarray
    content: np.ndarray


def _of_parts(batches: Iterator[_Embedded], ends: list[int]) -> Iterator[list[_Embedded]]:
    """Yields the batches of the rows before each end."""
    batch = next(batches, None)
    for end in ends:
        held = []
        while batch is not None and batch.rows[-1] < end:
            held.append(batch)
            batch = next(batches, None)
        yield held


def _part(listing: Listing, embedding: Embedding, rows: range, batches: list[_Embedded]) -> Part:
    """Returns a part of its batches, and warns of the rows that are in none."""
    latent_dim = embedding.about["latent_dim"]
    dims = [latent_dim, latent_dim, embedding.about.get("content_dim", latent_dim)]
    read = np.concatenate([batch.rows for batch in batches] or [np.zeros(0, np.int64)])
    broken = np.setdiff1d(rows, read, assume_unique=True)
    names = list(listing.keys(broken)) if len(broken) else []
    for name, reason in zip(names, listing.why_broken(broken), strict=True):
        _LOGGER.warning("left out, cannot be decoded: %s: %s", name, reason)
    labels = (
        np.concatenate([batch.labels for batch in batches] or [np.zeros(0, object)])
        if listing.has_labels
        else None
    )
    vectors = (
        np.concatenate([getattr(batch, name) for batch in batches] or [np.zeros((0, dim), np.float32)])
        for name, dim in zip(("mean", "stddev", "content"), dims, strict=True)
    )
    return Part(listing.key, listing.keys(read), labels, *vectors, names)
