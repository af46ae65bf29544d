"""Finds the nearest images by the distance of their embeddings: the contents."""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from crvae_tf.datasets import FOLDER_PREFIX, folders, open_images
from crvae_tf.errors import InputError
from crvae_tf.serving import export
from crvae_tf.serving.export import Encoder
from crvae_tf.serving.index import FILE, Index


class Neighbour(NamedTuple):
    """A nearest image."""

    distance: float
    """Euclidean distance of its embedding from the query's."""
    key: str | int
    """Its file or its index."""
    label: str | int | None
    """Its class, if it has one."""


def nearest(index: Index, query: np.ndarray, number: int) -> list[Neighbour]:
    """Returns the `number` images whose embeddings are nearest to `query`, the nearest first.

    It compares the query with all images, one file at a time, in constant memory. Of two images at
    the same distance, the first comes first.

    Args:
      index: the complete embeddings.
      query: an embedding, `[content_dim]`.
      number: the number of images to find, 1 or more.

    Raises:
      InputError: the embeddings are incomplete, or a file is damaged.
    """
    best = []
    for table, contents in index.parts():
        distances = np.linalg.norm(contents - query, axis=1)
        rows = np.argsort(distances, kind="stable")[:number]
        keys = table[index.key].take(rows).to_pylist()
        labelled = "label" in table.column_names
        labels = table["label"].take(rows).to_pylist() if labelled else [None] * len(rows)
        found = map(Neighbour, distances[rows].tolist(), keys, labels)
        best = sorted([*best, *found], key=lambda neighbour: neighbour.distance)[:number]
    return best


def load_encoder(index: Index, moved_to: str | None = None) -> Encoder:
    """Returns the encoder that made the embeddings.

    Args:
      index: the embeddings.
      moved_to: the encoder's new place, if it moved.

    Raises:
      InputError: there is none, or it is another.
    """
    encoder = export.load_encoder(str(moved_to or index.about.get("encoder")))
    if encoder.fingerprint != index.about["encoder_fingerprint"]:
        raise InputError("encoder", f"the encoder of {index.path}", "another")
    return encoder


def embed_file(encoder: Encoder, path: str | os.PathLike) -> np.ndarray:
    """Returns the embedding of an image file, `[content_dim]`.

    Raises:
      InputError: it is not an image file.
    """
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

    Args:
      index: their embeddings.
      encoder: the encoder that made these.
      keys: file names, which return the original images, or indices, which return preprocessed ones.
      data_dir: the new folder of TFDS data, if it moved.
    """
    about = index.about
    if index.key == FILE:
        folder = about["input"].removeprefix(FOLDER_PREFIX)
        return [folders.listed_picture(folder, key) for key in keys]
    try:
        place = data_dir or about["data_dir"]
        images = open_images(about["input"], encoder.preprocessing, place, about["split"])
    except InputError:
        return [None] * len(keys)
    return [next(images.ranges([(key, key + 1)]).as_numpy_iterator())[1][0] for key in keys]
