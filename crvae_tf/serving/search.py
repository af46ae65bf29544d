"""The nearest images by the distance of their embeddings, the contents."""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from crvae_tf.datasets import FOLDER_PREFIX, folders, open_images
from crvae_tf.errors import InputError
from crvae_tf.serving import export
from crvae_tf.serving.embedding_files import FILE, Part
from crvae_tf.serving.embedding_folder import Embedding
from crvae_tf.serving.export import Encoder


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
            expected = f"embeddings of {len(query)} dimensions"
            raise InputError("index", expected, f"{embedding.path}, of {part.content.shape[1]}")
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
        expected = f"the encoder of {embedding.path}, which does not say where that lies"
        raise InputError("encoder", expected, "none")
    return export.load_encoder(place)


def embed_file(embedding: Embedding, encoder: Encoder, path: str | os.PathLike) -> np.ndarray:
    """Returns the embedding, `[content_dim]`, of an image file, to be searched for in an embedding.

    Raises:
      InputError: the embedding was made with another encoder, or the file is no image.
    """
    if encoder.fingerprint != embedding.about["encoder_fingerprint"]:
        raise InputError("encoder", f"the encoder of {embedding.path}", "another")
    try:
        if not os.path.isfile(path):
            raise FileNotFoundError(path)
        return encoder.encode_bytes([Path(path).read_bytes()]).content[0]
    except (OSError, InputError) as error:
        raise InputError("image", "an image file that TensorFlow decodes", path) from error


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
      Of a folder the files as they are, of others what was embedded; None for an image that is gone.
    """
    about = embedding.about
    if about["key"] == FILE:
        folder = about["input"].removeprefix(FOLDER_PREFIX)
        return [folders.listed_picture(folder, key) for key in keys]
    try:
        place = data_dir or about.get("data_dir")
        images = open_images(about["input"], encoder.preprocessing, place, about.get("split"))
    except InputError:
        return [None] * len(keys)
    return [next(images.ranges([(key, key + 1)]).as_numpy_iterator())[1][0] for key in keys]


def _nearest_of(part: Part, query: np.ndarray, number: int, first_row: int) -> list[Neighbour]:
    distances = np.linalg.norm(part.content - query, axis=1)
    places = np.argsort(distances, kind="stable")[:number]
    labels = [None] * len(distances) if part.labels is None else part.labels.tolist()
    keys = part.keys.tolist()
    return [
        Neighbour(float(distances[place]), first_row + int(place), keys[place], labels[place])
        for place in places
    ]
