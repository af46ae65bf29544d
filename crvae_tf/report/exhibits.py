"""What the encoder and the decoder of a run do, as arrays for pictures."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import tensorflow as tf
from scipy.spatial.distance import cdist

from crvae_tf import datasets, figures, randomness
from crvae_tf.datasets import ImageData
from crvae_tf.errors import InputError
from crvae_tf.export import Decoder, Embeddings, Encoder, load_decoder, load_encoder
from crvae_tf.randomness import Purpose
from crvae_tf.report.records import RunRecord
from crvae_tf.transforms import RandomAffine

SEARCHED_IMAGES = 1000
"""How many of the first test images nearest neighbours are looked for among."""

_PLANE_IMAGES = 40
_COLUMNS = 10
_SAMPLE_ROWS = 6
_QUERIES = 6
_NEIGHBOURS = 5
_TRAVERSED = 8
_STDDEVS = np.linspace(-3.0, 3.0, 9, dtype=np.float32)
_AT_A_TIME = 256

_Exported = TypeVar("_Exported", Encoder, Decoder)


@dataclasses.dataclass(frozen=True)
class TestImages:
    """The first test images and their views under the test transformation, in one order."""

    __test__ = False  # The name is no test's.

    images: np.ndarray
    """float32 `[images, H, W, C]` in [0, 1], binarised as in the evaluation."""
    views: np.ndarray


@dataclasses.dataclass(frozen=True)
class Traversals:
    """Images along single latent dimensions, those first that change the image most."""

    dimensions: np.ndarray
    """Integers `[rows]`."""
    values: np.ndarray
    """Of the dimension, `[steps]`."""
    images: np.ndarray
    """`[rows, steps, H, W, C]` in [0, 1]."""


@dataclasses.dataclass(frozen=True)
class Neighbours:
    """The test images whose embeddings lie nearest to those of some queries."""

    queries: np.ndarray
    """Indices of the test images, or of the views, that are looked for, `[queries]`."""
    nearest: np.ndarray
    """Indices of the test images found, the nearest first, `[queries, neighbours]`."""


@dataclasses.dataclass(frozen=True)
class Exhibit:
    """What a run has to show; None where it lacks what that is made of."""

    images: TestImages | None = None
    plane: tuple[np.ndarray, np.ndarray] | None = None
    """Images and views in the plane of `figures.principal_plane`, `[images, 2]` each."""
    reconstructions: dict[str, np.ndarray] | None = None
    """Rows of images `[columns, H, W, C]` by title."""
    samples: np.ndarray | None = None
    """`[rows, columns, H, W, C]`."""
    traversals: Traversals | None = None
    neighbours: Neighbours | None = None
    """Of images among all others."""
    view_neighbours: Neighbours | None = None
    """Of views among all images, their own included."""
    remarks: tuple[str, ...] = ()
    """What could not be used."""


def test_images(data: ImageData, binarization: str, transformation: RandomAffine) -> TestImages:
    """Returns the test images that an exhibit is made from.

    Args:
      data: the run's.
      binarization: as the run was trained with.
      transformation: that of its transformed test set.
    """

    def first(transform):
        batches = datasets.evaluation_batches(
            data.test, _AT_A_TIME, binarization, transform, SEARCHED_IMAGES
        )
        images = np.concatenate([images for _, images, _ in batches.as_numpy_iterator()])
        return np.clip(images, 0.0, 1.0)  # Resampling rounds.

    return TestImages(first(None), first(transformation))


def exhibit(record: RunRecord, load_images: Callable[[], TestImages]) -> Exhibit:
    """Returns what a run has to show, as far as its encoder, its decoder and its data are there.

    Args:
      record: of the run.
      load_images: returns its test images, or raises InputError or OSError where it cannot.
    """
    remarks = []
    encoder = _loaded(load_encoder, record.run.encoder, remarks)
    decoder = _loaded(load_decoder, record.run.decoder, remarks)
    images = None
    if encoder is not None:
        try:
            images = load_images()
        except (InputError, OSError) as error:
            remarks.append(f"no test images ({' '.join(str(error).split())})")
    embedded = [_embedded(encoder, part) for part in (images.images, images.views)] if images else []
    means = [part.mean for part in embedded]
    return Exhibit(
        images,
        remarks=tuple(remarks),
        **(_of_embeddings(*(part.content for part in embedded)) if embedded else {}),
        **(_of_decoder(decoder, means) if decoder else {}),
        reconstructions=_reconstructions(decoder, images, means) if decoder and means else None,
    )


def nearest(
    embeddings: np.ndarray, queries: np.ndarray, number: int, excluded: Sequence[int] | None = None
) -> np.ndarray:
    """Returns the indices of the embeddings nearest to each query by Euclidean distance.

    Args:
      embeddings: `[images, latent_dim]`.
      queries: `[queries, latent_dim]`.
      number: of neighbours; fewer are found where there are fewer.
      excluded: for each query the index of an embedding that must not be found, or None.

    Returns:
      Integers `[queries, number]`, the nearest first.

    >>> nearest(np.array([[0.0], [1.0], [3.0]]), np.array([[0.9], [3.0]]), 2, excluded=[1, 2])
    array([[0, 2],
           [1, 0]])
    """
    distances = cdist(queries, embeddings)
    if excluded is not None:
        distances[np.arange(len(queries)), excluded] = np.inf
        number = min(number, len(embeddings) - 1)
    return np.argsort(distances, axis=1, kind="stable")[:, :number]


def traversals(
    decode: Callable[[np.ndarray], np.ndarray], base: np.ndarray, values: np.ndarray, rows: int
) -> Traversals:
    """Returns images along the latent dimensions that change the image most.

    Args:
      decode: maps latents `[N, latent_dim]` to images `[N, H, W, C]`.
      base: the latents that one dimension at a time is changed in, `[latent_dim]`.
      values: that it takes, `[steps]`.
      rows: dimensions to show; all where there are fewer. They are those with the largest mean
        squared distance between the images at the first and at the last value.
    """
    ends = decode(_moved(base, values[[0, -1]]).reshape(-1, len(base)))
    first, last = ends[::2], ends[1::2]
    change = np.mean(np.square(last - first), axis=(1, 2, 3))
    dimensions = np.argsort(-change, kind="stable")[:rows]
    latents = _moved(base, values)[dimensions]
    images = decode(latents.reshape(-1, len(base)))
    return Traversals(dimensions, values, images.reshape(*latents.shape[:2], *images.shape[1:]))


def _moved(base: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Returns `base` with each dimension in turn at each value, `[latent_dim, steps, latent_dim]`."""
    latents = np.tile(base, (len(base), len(values), 1))
    diagonal = np.arange(len(base))
    latents[diagonal, :, diagonal] = values
    return latents


def _loaded(load: Callable[..., _Exported], path, remarks: list[str]) -> _Exported | None:
    """Returns an exported part of a run, None where there is none; a broken one is remarked on."""
    if not path.exists():
        return None
    try:
        return load(path)
    except (InputError, tf.errors.OpError):
        remarks.append(f"{path.name} cannot be loaded")
        return None


def _embedded(encoder: Encoder, images: np.ndarray) -> Embeddings:
    parts = [encoder(part) for part in _parts(images)]
    return Embeddings(*(np.concatenate(arrays) for arrays in zip(*parts, strict=True)))


def _parts(array: np.ndarray) -> list[np.ndarray]:
    """Returns the array as parts of so many rows as are computed at a time."""
    return [array[start : start + _AT_A_TIME] for start in range(0, len(array), _AT_A_TIME)]


def _of_embeddings(embeddings: np.ndarray, view_embeddings: np.ndarray) -> dict[str, object]:
    queries = np.arange(min(_QUERIES, len(embeddings)))
    own, views = embeddings[queries], view_embeddings[queries]
    return {
        "plane": figures.principal_plane(embeddings[:_PLANE_IMAGES], view_embeddings[:_PLANE_IMAGES]),
        "neighbours": Neighbours(queries, nearest(embeddings, own, _NEIGHBOURS, queries)),
        "view_neighbours": Neighbours(queries, nearest(embeddings, views, _NEIGHBOURS)),
    }


def _of_decoder(decoder: Decoder, means: Sequence[np.ndarray]) -> dict[str, object]:
    """Samples of the prior, and traversals from the first test image, or from 0 without one."""

    def decode(latents):
        return np.concatenate([decoder(part) for part in _parts(latents)])

    key = randomness.key(0, Purpose.PRIOR)
    latents = tf.random.stateless_normal([_SAMPLE_ROWS * _COLUMNS, decoder.latent_dim], key)
    samples = decode(latents.numpy())
    base = means[0][0] if means else np.zeros(decoder.latent_dim, np.float32)
    return {
        "samples": samples.reshape(_SAMPLE_ROWS, _COLUMNS, *samples.shape[1:]),
        "traversals": traversals(decode, base, _STDDEVS, _TRAVERSED),
    }


def _reconstructions(
    decoder: Decoder, images: TestImages, means: Sequence[np.ndarray]
) -> dict[str, np.ndarray]:
    """The test images and their views, each with the likelihood's mean at the posterior's mean."""
    return {
        "test images": images.images[:_COLUMNS],
        "reconstructions": decoder(means[0][:_COLUMNS]),
        "transformed test images": images.views[:_COLUMNS],
        "reconstructions of these": decoder(means[1][:_COLUMNS]),
    }
