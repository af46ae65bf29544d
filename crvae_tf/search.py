"""The nearest images by the distance of their embeddings, the contents."""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from crvae_tf import export
from crvae_tf.datasets import folders, listings, sources
from crvae_tf.embedding_files import Part
from crvae_tf.embedding_folder import Embedding
from crvae_tf.errors import InputError
from crvae_tf.export import Encoder


class Neighbour(NamedTuple):
    """An image that was found."""

    distance: float
    """Euclidean distance of its embedding from the query's."""
    row: int
    """Its place among the rows of the embedding."""
    key: str | int
    """Its file or its index."""
    label: str | int | None
    """Its class, if there is one."""


def nearest(embedding: Embedding, query: np.ndarray, number: int) -> list[Neighbour]:
    """Returns the `number` images whose embeddings are nearest to `query`, the nearest first.

    Every one is looked at, one file at a time, so that the memory does not grow with their number;
    of two at one distance the one that comes first is taken.

    Args:
      embedding: complete.
      query: an embedding, `[content_dim]`.
      number: how many to find, 1 or more.

    Raises:
      InputError: the embedding is not complete, or of vectors of another length.
    """
    best, first_row = [], 0
    for part in embedding.parts():
        if part.content.shape[1:] != query.shape:
            raise InputError(
                f"{embedding.path}: expected embeddings of {len(query)} dimensions; "
                f"received {part.content.shape[1]}"
            )
        best = sorted(best + _nearest_of(part, query, number, first_row))[:number]
        first_row += len(part.keys)
    return best


def load_encoder(embedding: Embedding, moved_to: str | None = None) -> Encoder:
    """Returns the encoder that an embedding was made with.

    Args:
      embedding: that is searched.
      moved_to: where the encoder lies, if not where it did then, or if that was not kept.

    Raises:
      InputError: it is not known where it lies, or no encoder does.
    """
    place = moved_to or embedding.about.get("encoder")
    if place is None:
        raise InputError(
            f"--encoder: expected the encoder that {embedding.path} was made with, which does not say "
            "where that lies; received none"
        )
    return export.load_encoder(place)


def embed_file(embedding: Embedding, encoder: Encoder, path: str | os.PathLike) -> np.ndarray:
    """Returns the embedding, `[content_dim]`, of an image file, to be searched for in an embedding.

    Raises:
      InputError: the embedding was made with another encoder, or the file is no image.
    """
    if encoder.fingerprint != embedding.about["encoder_fingerprint"]:
        raise InputError(
            f"--encoder: expected the encoder that {embedding.path} was made with; received another"
        )
    expected = f"--image={path}: expected a PNG, JPEG, BMP or GIF file; received"
    if not os.path.isfile(path):
        raise InputError(f"{expected} no such file")
    try:
        return encoder.encode_bytes([Path(path).read_bytes()]).content[0]
    except (OSError, InputError) as error:
        raise InputError(f"{expected} another file") from error


def pictures(
    embedding: Embedding, encoder: Encoder, keys: list[str | int], data_dir: str | None = None
) -> list[np.ndarray | None]:
    """Returns the images of an embedding that are known by `keys`, uint8 `[h, w, c]` each.

    Args:
      embedding: that they are in.
      encoder: that it was made with.
      keys: file names or indices.
      data_dir: where TFDS keeps its data, if not where it did then.

    Returns:
      The images as they were before preprocessing; None for one that is gone.
    """
    about = embedding.about
    if about["key"] == listings.FILE:
        folder = about["input"].removeprefix(sources.FOLDER_PREFIX)
        return [folders.listed_picture(folder, key) for key in keys]
    try:
        listing = listings.listing(
            about["input"], encoder.preprocessing, data_dir or about.get("data_dir"), about.get("split")
        )
    except InputError:
        return [None] * len(keys)
    return [listing.picture(key) for key in keys]


def _nearest_of(part: Part, query: np.ndarray, number: int, first_row: int) -> list[Neighbour]:
    distances = np.linalg.norm(part.content - query, axis=1)
    places = np.argsort(distances, kind="stable")[:number]
    labels = [None] * len(distances) if part.labels is None else part.labels.tolist()
    keys = part.keys.tolist()
    return [
        Neighbour(float(distances[place]), first_row + int(place), keys[place], labels[place])
        for place in places
    ]
