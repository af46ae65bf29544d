"""The files of TensorBoard's Embedding Projector: vectors, what they are of, and their pictures."""

import math
from pathlib import Path

import numpy as np
import tensorflow as tf
from google.protobuf import text_format
from tensorboard.plugins import projector

from crvae_tf.datasets import Images
from crvae_tf.runs import drawing, files
from crvae_tf.serving.embedding_files import FILE, INDEX
from crvae_tf.serving.embedding_folder import Embedding

POINTS = 10_000
"""More than these make the page slow."""

_SPRITE_SIDE = 8192


def write(embedding: Embedding, images: Images, points: int = POINTS) -> Path:
    """Writes the projector's files for at most `points` images, taken at equal distances.

    Args:
      embedding: complete.
      images: that it was made from.
      points: how many, 1 or more.

    Returns:
      The folder, for `tensorboard --logdir`.

    Raises:
      InputError: the embedding is not complete.
    """
    rows = range(0, images.num_images, math.ceil(images.num_images / points))
    vectors, labels = _chosen(embedding, {images.names[row] if images.names else row for row in rows})
    pictures = _pictures(images, rows, largest=_SPRITE_SIDE // math.ceil(math.sqrt(len(rows))))
    lines = [[_field(key), *([] if labels is None else [_field(labels[key])])] for key in vectors]
    if labels is not None:
        lines.insert(0, [FILE if images.names else INDEX, "label"])
    folder = embedding.path / "_projector"
    with files.whole_folder(folder) as unfinished:
        _write_table(unfinished / "vectors.tsv", [map(repr, v.tolist()) for v in vectors.values()])
        _write_table(unfinished / "metadata.tsv", lines)
        _write_sprite(unfinished / "sprite.png", pictures)
        _write_config(unfinished / "projector_config.pbtxt", pictures.shape[2], pictures.shape[1])
    return folder


def _chosen(embedding: Embedding, wanted: set) -> tuple[dict, dict | None]:
    """Returns the embeddings, and the labels if there are any, of the wanted keys."""
    vectors, labels = {}, {}
    for part in embedding.parts():
        for place, key in enumerate(part.keys.tolist()):
            if key in wanted:
                vectors[key] = part.content[place]
                if part.labels is not None:
                    labels[key] = part.labels[place]
    return vectors, labels or None


def _pictures(images: Images, rows: range, largest: int) -> np.ndarray:
    """Returns the preprocessed images of `rows`, uint8, their side at most `largest`."""
    chosen = images.ranges([(row, row + 1) for row in rows])
    pixels = np.concatenate([pixels for _, pixels, _ in chosen.as_numpy_iterator()])
    if pixels.shape[1] <= largest:
        return pixels
    resized = tf.image.resize(pixels, [largest, largest], antialias=True)
    return np.round(resized).astype(np.uint8)


def _write_table(path: Path, lines: list) -> None:
    path.write_text("".join("\t".join(line) + "\n" for line in lines), encoding="utf-8")


def _field(value) -> str:
    return str(value).replace("\t", " ")


def _write_sprite(path: Path, pictures: np.ndarray) -> None:
    columns = math.ceil(math.sqrt(len(pictures)))
    blank = np.zeros([-len(pictures) % columns, *pictures.shape[1:]], np.uint8)
    grid = np.concatenate([pictures, blank])
    tiled = drawing.tiled(np.split(grid, len(grid) // columns))
    path.write_bytes(tf.io.encode_png(tiled).numpy())


def _write_config(path: Path, width: int, height: int) -> None:
    config = projector.ProjectorConfig()
    described = config.embeddings.add(
        tensor_name="mean", tensor_path="vectors.tsv", metadata_path="metadata.tsv"
    )
    described.sprite.image_path = "sprite.png"
    described.sprite.single_image_dim.extend([width, height])
    path.write_text(text_format.MessageToString(config), encoding="utf-8")
