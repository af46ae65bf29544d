"""The files of TensorBoard's Embedding Projector: vectors, what they are of, and their pictures."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import tensorflow as tf
from tensorboard.plugins import projector

from crvae_tf.datasets import Images
from crvae_tf.runs import drawing, files
from crvae_tf.serving.index import Index

POINTS = 10_000
"""More than these make the page slow."""

_SPRITE_SIDE = 8192


def write(index: Index, images: Images, points: int = POINTS) -> Path:
    """Writes the projector's files for at most `points` images, taken at equal distances.

    Args:
      index: the embeddings, complete.
      images: that they were made from.
      points: how many, 1 or more.

    Returns:
      The folder, for `tensorboard --logdir`.

    Raises:
      InputError: the embeddings are not complete.
    """
    rows = range(0, images.num_images, math.ceil(images.num_images / points))
    vectors, described = _chosen(index, [images.names[row] if images.names else row for row in rows])
    pictures = _pictures(images, rows, largest=_SPRITE_SIDE // math.ceil(math.sqrt(len(rows))))
    folder = index.path / "_projector"
    with files.whole_folder(folder) as unfinished:
        np.savetxt(unfinished / "vectors.tsv", vectors, "%.9g", "\t")
        # The projector takes a single column without its name.
        named = len(described.columns) > 1
        described.to_csv(unfinished / "metadata.tsv", sep="\t", index=False, header=named)
        (unfinished / "sprite.png").write_bytes(tf.io.encode_png(_sprite(pictures)).numpy())
        _write_config(unfinished, width=pictures.shape[2], height=pictures.shape[1])
    return folder


def _chosen(index: Index, wanted: list[str] | list[int]) -> tuple[np.ndarray, pd.DataFrame]:
    """Returns the embeddings of the wanted keys, and what they are of."""
    vectors, described = [], []
    for table, contents in index.parts():
        known_by = [name for name in (index.key, "label") if name in table.column_names]
        frame = table.select(known_by).to_pandas()
        chosen = frame[index.key].isin(wanted)
        vectors.append(contents[chosen])
        described.append(frame[chosen].replace("\t", " ", regex=True))
    return np.concatenate(vectors), pd.concat(described)


def _pictures(images: Images, rows: range, largest: int) -> np.ndarray:
    """Returns the preprocessed images of `rows`, uint8, their side at most `largest`."""
    chosen = images.ranges([(row, row + 1) for row in rows])
    pixels = np.concatenate([pixels for _, pixels, _ in chosen.as_numpy_iterator()])
    if pixels.shape[1] <= largest:
        return pixels
    resized = tf.image.resize(pixels, [largest, largest], antialias=True)
    return np.round(resized).astype(np.uint8)


def _sprite(pictures: np.ndarray) -> np.ndarray:
    """Returns one image of all pictures, in rows of as many as there are rows."""
    columns = math.ceil(math.sqrt(len(pictures)))
    blank = np.zeros([-len(pictures) % columns, *pictures.shape[1:]], np.uint8)
    grid = np.concatenate([pictures, blank])
    return drawing.tiled(np.split(grid, len(grid) // columns))


def _write_config(folder: Path, width: int, height: int) -> None:
    config = projector.ProjectorConfig()
    described = config.embeddings.add(tensor_name="mean", tensor_path="vectors.tsv")
    described.metadata_path = "metadata.tsv"
    described.sprite.image_path = "sprite.png"
    described.sprite.single_image_dim.extend([width, height])
    projector.visualize_embeddings(str(folder), config)
