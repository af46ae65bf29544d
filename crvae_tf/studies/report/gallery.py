"""Rows of pictures of what the encoder and the decoder of a run do.

A section of a report is one entry of `SECTIONS`: a function that returns its rows.
"""

import base64
import dataclasses
import io
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
import tensorflow as tf
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from scipy.spatial.distance import cdist

from crvae_tf import randomness
from crvae_tf.errors import InputError
from crvae_tf.randomness import Purpose
from crvae_tf.runs import drawing
from crvae_tf.serving.export import Decoder, Embeddings, load_decoder, load_encoder
from crvae_tf.studies.report.records import RunRecord

SEARCHED_IMAGES = 1000
"""Nearest neighbours are looked for among so many of the first test images."""

_PLANE_IMAGES = 40
_COLUMNS = 10
_SAMPLE_ROWS = 6
_QUERIES = 6
_NEIGHBOURS = 5
_TRAVERSED = 8
_STDDEVS = np.linspace(-3.0, 3.0, 9, dtype=np.float32)
_AT_A_TIME = 256
_FRAME = 2
_FRAME_COLOUR = (0.95, 0.5, 0.1, 1.0)

Rows = dict[str, np.ndarray | str]
"""By caption an image `[H, W, C]` in [0, 1], or the data URI of a chart."""


@dataclasses.dataclass(frozen=True)
class Served:
    """A run's exported parts and what they make of its first test images; None where it lacks them."""

    images: np.ndarray | None = None
    """float32 `[images, H, W, C]` in [0, 1]."""
    views: np.ndarray | None = None
    """The same images under the test transformation."""
    embedded: tuple[Embeddings, Embeddings] | None = None
    """Of images and views."""
    upright: tuple[np.ndarray, np.ndarray] | None = None
    """Of registered networks, the first images and views brought upright."""
    decoder: Decoder | None = None
    remarks: tuple[str, ...] = ()
    """What could not be used."""

    def decode(self, latents: np.ndarray) -> np.ndarray:
        """Returns the likelihood's mean at any number of latents `[N, latent_dim]`."""
        return np.concatenate([self.decoder(part) for part in _parts(latents)])


class Section(NamedTuple):
    """A section with a panel of pictures for each run."""

    name: str
    title: str
    text: str
    rows: Callable[[Served], Rows]
    """Returns no rows where the run lacks what they are made of."""
    stand_in: str = ""
    """The picture among the run's own that then takes their place."""


def serve(
    record: RunRecord, load_images: Callable[[RunRecord], tuple[np.ndarray, np.ndarray]]
) -> Served:
    """Loads a run's encoder and decoder, as far as they are there, and embeds its test images.

    Args:
      record: of the run.
      load_images: returns the test images and their views, or raises InputError or OSError.
    """
    remarks = []
    encoder = _loaded(load_encoder, record.run.encoder, remarks)
    decoder = _loaded(load_decoder, record.run.decoder, remarks)
    shown = []
    if encoder is not None:
        try:
            shown = [np.clip(images, 0.0, 1.0) for images in load_images(record)]  # Resampling rounds.
        except (InputError, OSError) as error:
            remarks.append(f"no test images ({' '.join(str(error).split())})")
    embedded = tuple(_embedded(encoder, images) for images in shown) or None
    upright = None
    if embedded and embedded[0].pose is not None:
        upright = tuple(_upright(record.run.encoder, images[:_COLUMNS]) for images in shown)
    return Served(*(shown or (None, None)), embedded, upright, decoder, tuple(remarks))


def _upright(encoder: Path, images: np.ndarray) -> np.ndarray:
    encode = tf.saved_model.load(str(encoder)).signatures["serving_default"]
    return encode(images=tf.constant(images))["upright"].numpy()


def _loaded(load: Callable, path: Path, remarks: list[str]):
    """Returns an exported part of a run, None where there is none; a broken one is remarked on."""
    if not path.exists():
        return None
    try:
        return load(path)
    except (InputError, tf.errors.OpError):
        remarks.append(f"{path.name} cannot be loaded")
        return None


def _embedded(encoder: Callable, images: np.ndarray) -> Embeddings:
    parts = [encoder(part) for part in _parts(images)]
    fields = zip(*parts, strict=True)
    return Embeddings(*(None if of[0] is None else np.concatenate(of) for of in fields))


def _parts(array: np.ndarray) -> list[np.ndarray]:
    return [array[start : start + _AT_A_TIME] for start in range(0, len(array), _AT_A_TIME)]


def _plane(served: Served) -> Rows:
    if not served.embedded:
        return {}
    means = [part.content[:_PLANE_IMAGES] for part in served.embedded]

    def draw(axes):
        drawing.draw_plane(axes, *means)
        axes.legend()
        axes.set(xticks=[], yticks=[], aspect="equal", adjustable="datalim")

    return {"": chart(draw, height=3.4)}


def _reconstructions(served: Served) -> Rows:
    if not (served.embedded and served.decoder):
        return {}
    rows, pairs = {}, (served.images, served.views)
    for index, title in enumerate(("test images", "views")):
        rows[title] = pairs[index][:_COLUMNS]
        if served.upright:
            rows[f"{title} brought upright"] = served.upright[index]
        rows[f"reconstructions of the {title}"] = served.decode(served.embedded[index].mean[:_COLUMNS])
    return {title: drawing.tiled([images]) for title, images in rows.items()}


def _samples(served: Served) -> Rows:
    if not served.decoder:
        return {}
    shape = [_SAMPLE_ROWS * _COLUMNS, served.decoder.latent_dim]
    latents = tf.random.stateless_normal(shape, randomness.key(0, Purpose.PRIOR))
    return {"": drawing.tiled(np.split(served.decode(latents.numpy()), _SAMPLE_ROWS))}


def _traversals(served: Served) -> Rows:
    if not served.decoder:
        return {}
    nowhere = np.zeros(served.decoder.latent_dim, np.float32)
    base = served.embedded[0].mean[0] if served.embedded else nowhere
    found = traversals(served.decode, base, _STDDEVS, _TRAVERSED)
    return {f"z{dimension}": drawing.tiled([images]) for dimension, images in found.items()}


def traversals(
    decode: Callable[[np.ndarray], np.ndarray], base: np.ndarray, values: np.ndarray, rows: int
) -> dict[int, np.ndarray]:
    """Returns images along the latent dimensions that change the image most.

    Args:
      decode: maps latents `[N, latent_dim]` to images `[N, H, W, C]`.
      base: the latents that one dimension at a time is changed in, `[latent_dim]`.
      values: of the dimension, `[steps]`.
      rows: dimensions to show; all if there are fewer. They are those with the largest mean squared
        distance between the images at the first and at the last value.

    Returns:
      By dimension, the most effective first, `[steps, H, W, C]`.
    """
    ends = [decode(_moved(base, value)) for value in values[[0, -1]]]
    change = np.mean(np.square(ends[1] - ends[0]), axis=(1, 2, 3))
    shown = np.argsort(-change, kind="stable")[:rows]
    latents = np.stack([_moved(base, value)[shown] for value in values], axis=1)
    images = decode(latents.reshape(-1, len(base)))
    return dict(zip(shown.tolist(), np.split(images, len(shown)), strict=True))


def _moved(base: np.ndarray, value: float) -> np.ndarray:
    """Returns `base` with each dimension in turn at a value, `[latent_dim, latent_dim]`."""
    return np.where(np.eye(len(base), dtype=bool), value, base).astype(base.dtype)


def _neighbours(served: Served) -> Rows:
    if not served.embedded:
        return {}
    clean, moved = (part.content for part in served.embedded)
    found = nearest(clean, clean[:_QUERIES], itself=False)
    views_found = nearest(clean, moved[:_QUERIES], itself=True)
    own = (views_found[:, 0] == np.arange(len(views_found))).sum()
    caption = f"views; the nearest is their own image for {own} of {len(views_found)}"
    return {
        "images": _searched(served.images, served.images, found),
        caption: _searched(served.views, served.images, views_found),
    }


def nearest(embeddings: np.ndarray, queries: np.ndarray, itself: bool) -> np.ndarray:
    """Returns the indices of the five embeddings nearest to each query by Euclidean distance.

    Args:
      embeddings: `[images, latent_dim]`.
      queries: of the first images, `[queries, latent_dim]`.
      itself: whether an image's own embedding may be found.

    Returns:
      Integers `[queries, 5]`, the nearest first.

    >>> nearest(np.array([[0.0], [1.0], [3.0]]), np.array([[0.0], [1.0]]), itself=False)
    array([[1, 2],
           [0, 2]])
    """
    distances = cdist(queries, embeddings)
    if not itself:
        np.fill_diagonal(distances, np.inf)
    found = np.argsort(distances, axis=1, kind="stable")
    return found[:, : min(_NEIGHBOURS, len(embeddings) - (not itself))]


def _searched(queries: np.ndarray, images: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Returns rows of a query and the images found for it, its own image framed."""
    rows = []
    for query, indices in enumerate(found):
        first = _framed(queries[[query]], np.array([False]))
        gap = np.zeros_like(first[:, :, : first.shape[2] // 4])
        others = _framed(images[indices], indices == query)
        rows.append(np.concatenate([*first, *gap, *others], axis=1))
    return np.concatenate(rows)


def _framed(images: np.ndarray, marked: np.ndarray) -> np.ndarray:
    """Returns images, RGB and opacity, with an orange frame around those that are marked."""
    around = [(0, 0), (_FRAME, _FRAME), (_FRAME, _FRAME), (0, 0)]
    opaque = np.concatenate([drawing.with_colour(images), np.ones_like(images[..., :1])], axis=-1)
    inside = np.pad(np.ones_like(images[..., :1]), around)
    frames = marked[:, None, None, None] * np.array(_FRAME_COLOUR)
    return np.pad(opaque, around) + (1.0 - inside) * frames


SECTIONS = (
    Section(
        "figure-1",
        "Figure 1",
        "The embeddings of test images and, at the heads of the arrows, of their views under the test "
        "transformation, in the plane of their first two principal components. Each run has its own "
        "plane and scale.",
        _plane,
        "latent_plane.png",
    ),
    Section(
        "reconstructions",
        "Reconstructions",
        "The likelihood's mean at the posterior's mean, of the first test images and of their views "
        "under the test transformation.",
        _reconstructions,
        "reconstructions.png",
    ),
    Section(
        "samples",
        "Samples",
        "The likelihood's mean at draws of the prior, the same draws for runs of the same number of "
        "latent dimensions.",
        _samples,
        "samples.png",
    ),
    Section(
        "traversals",
        "Latent traversals",
        "From the embedding of the first test image, or from 0 if that is not known, one latent "
        "dimension goes from -3 to 3. Shown are the dimensions that change the image most, the most "
        "effective first.",
        _traversals,
    ),
    Section(
        "neighbours",
        "Nearest neighbours",
        "The first image of a row is looked for; beside it are the clean test images whose embeddings "
        "lie nearest by Euclidean distance, the nearest first, among the first 1,000. A view's own "
        "image has an orange frame.",
        _neighbours,
    ),
)


def chart(draw: Callable[[Axes], None], height: float = 2.3) -> str:
    """Returns what `draw` draws on axes as the data URI of an SVG picture with a transparent ground."""
    look = {"font.size": 8, "svg.fonttype": "none", "svg.hashsalt": "report", "legend.frameon": False}
    look |= {"axes.spines.top": False, "axes.spines.right": False}
    with matplotlib.rc_context(look):
        figure = Figure(figsize=(3.4, height), layout="constrained")
        draw(figure.subplots())
        written = io.BytesIO()
        figure.savefig(written, format="svg", transparent=True, metadata={"Date": None})
    return _data_uri(written.getvalue(), "svg+xml")


def png(image: np.ndarray) -> str:
    """Returns an image `[H, W, C]` in [0, 1] as a data URI; C is 1, 3, or 4 with opacity."""
    pixels = np.round(np.clip(image, 0.0, 1.0) * 255.0).astype(np.uint8)
    written = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(written, "PNG")
    return _data_uri(written.getvalue(), "png")


def picture(path: Path) -> str:
    """Returns a PNG file as a data URI."""
    return _data_uri(path.read_bytes(), "png")


def _data_uri(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
