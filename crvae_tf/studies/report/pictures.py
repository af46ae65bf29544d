"""Pictures of what the encoder and the decoder of a run do: a function for each section of a report."""

import base64
import io
from collections.abc import Callable, Sequence
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
from crvae_tf.runs.run import Run
from crvae_tf.serving.export import Decoder, Encoder, load_decoder, load_encoder

SEARCHED_IMAGES = 1000
"""Nearest neighbours are looked for among so many of the first test images."""

_AT_A_TIME = 250
_PLANE_IMAGES = 40
_SHOWN = 10
_SAMPLE_ROWS = 6
_TRAVERSED = 8
_STDDEVS = np.linspace(-3.0, 3.0, 9, dtype=np.float32)
_QUERIES, _NEIGHBOURS = 6, 5
_LINE = 1

Pictures = dict[str, str]
"""Data URIs by their captions."""


class Embedded(NamedTuple):
    """Images and what an encoder makes of them."""

    images: np.ndarray
    """float32 `[images, H, W, C]` in [0, 1]."""
    mean: np.ndarray
    """float32 `[images, latent_dim]`."""
    content: np.ndarray
    """The embedding, float32 `[images, content_dim]`."""
    upright: np.ndarray | None = None
    """Of registered networks, the first images brought upright."""


class Served(NamedTuple):
    """What the exported parts of a run make of its test images."""

    embedded: Sequence[Embedded] = ()
    """The first test images, and their views; nothing without an encoder or without images."""
    decoder: Decoder | None = None
    remarks: Sequence[str] = ()
    """What could not be used."""


def serve(run: Run, load_images: Callable[[], Sequence[np.ndarray]]) -> Served:
    """Loads a run's encoder and decoder, as far as they are there, and embeds its test images.

    Args:
      run: finished or not.
      load_images: returns the test images and their views, or raises InputError or OSError.
    """
    remarks, shown = [], []
    encoder = _loaded(load_encoder, run.encoder, remarks)
    decoder = _loaded(load_decoder, run.decoder, remarks)
    if encoder:
        try:
            shown = [np.clip(images, 0.0, 1.0) for images in load_images()]  # Resampling rounds.
        except (InputError, OSError) as error:
            remarks.append(f"no test images ({' '.join(str(error).split())})")
    return Served([_embedded(encoder, run.encoder, images) for images in shown], decoder, remarks)


def _loaded(load: Callable, path: Path, remarks: list[str]):
    """Returns an exported part of a run, None where there is none; a broken one is remarked on."""
    try:
        return load(path) if path.exists() else None
    except InputError:
        remarks.append(f"{path.name} cannot be loaded")
        return None


def _embedded(encoder: Encoder, path: Path, images: np.ndarray) -> Embedded:
    parts = [encoder(part) for part in np.array_split(images, -(-len(images) // _AT_A_TIME))]
    mean, content = (np.concatenate([getattr(p, name) for p in parts]) for name in ("mean", "content"))
    if parts[0].pose is None:
        return Embedded(images, mean, content)
    saved_model = tf.saved_model.load(str(path))
    outputs = saved_model.signatures["serving_default"](images=tf.constant(images[:_SHOWN]))
    return Embedded(images, mean, content, outputs["upright"].numpy())


def _plane(served: Served) -> Pictures:
    def draw(axes):
        drawing.draw_plane(axes, *(part.content[:_PLANE_IMAGES] for part in served.embedded))
        axes.legend()
        axes.set(xticks=[], yticks=[], aspect="equal", adjustable="datalim")

    return {"": chart(draw, height=3.4)} if served.embedded else {}


def _reconstructions(served: Served) -> Pictures:
    rows = {}
    parts = served.embedded if served.decoder else ()
    for title, part in zip(("test images", "views"), parts, strict=False):
        rows[title] = part.images[:_SHOWN]
        if part.upright is not None:
            rows[f"{title} brought upright"] = part.upright
        rows[f"reconstructions of the {title}"] = served.decoder(part.mean[:_SHOWN])
    return {title: png(drawing.tiled([images])) for title, images in rows.items()}


def _samples(served: Served) -> Pictures:
    if not served.decoder:
        return {}
    shape = [_SAMPLE_ROWS * _SHOWN, served.decoder.latent_dim]
    images = served.decoder(tf.random.stateless_normal(shape, randomness.key(0, Purpose.PRIOR)))
    return {"": png(drawing.tiled(np.split(images, _SAMPLE_ROWS)))}


def _traversals(served: Served) -> Pictures:
    if not served.decoder:
        return {}
    latent_dim = served.decoder.latent_dim
    base = served.embedded[0].mean[0] if served.embedded else np.zeros(latent_dim, np.float32)
    moved = np.where(np.eye(latent_dim, dtype=bool), _STDDEVS[:, np.newaxis, np.newaxis], base)
    change = np.square(served.decoder(moved[-1]) - served.decoder(moved[0])).mean(axis=(1, 2, 3))
    most = np.argsort(-change, kind="stable")[:_TRAVERSED]
    return {f"z{i}": png(drawing.tiled([served.decoder(moved[:, i])])) for i in most}


def _neighbours(served: Served) -> Pictures:
    if not served.embedded:
        return {}
    clean, views = served.embedded
    others, found = (
        np.argsort(cdist(part.content[:_QUERIES], clean.content), axis=1, kind="stable")
        for part in served.embedded
    )
    own = (found[:, 0] == np.arange(len(found))).sum()
    caption = f"views; the nearest is their own image for {own} of {len(found)}"
    return {  # The image nearest to an image is itself.
        "images": _searched(clean.images, clean.images, others[:, 1 : 1 + _NEIGHBOURS]),
        caption: _searched(views.images, clean.images, found[:, :_NEIGHBOURS]),
    }


def _searched(queries: np.ndarray, images: np.ndarray, found: np.ndarray) -> str:
    """Returns rows of a query and the images found for it, a gray line around each."""
    around = [(0, 0), (_LINE, _LINE), (_LINE, _LINE), (0, 0)]
    rows = [np.concatenate([queries[[i]], images[indices]]) for i, indices in enumerate(found)]
    return png(drawing.tiled([np.pad(row, around, constant_values=0.5) for row in rows]))


class Section(NamedTuple):
    """A section with a panel of pictures for each run."""

    title: str
    draw: Callable[[Served], Pictures]
    """Returns no pictures where the run lacks what they are made of."""
    stand_in: str = ""
    """The picture among the run's own that then takes their place."""
    kind: str = ""
    """`chart`, or nothing for pixels."""


SECTIONS = (
    Section("Figure 1", _plane, "latent_plane.png", "chart"),
    Section("Reconstructions", _reconstructions, "reconstructions.png"),
    Section("Samples", _samples, "samples.png"),
    Section("Latent traversals", _traversals),
    Section("Nearest neighbours", _neighbours),
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
    return data_uri(written.getvalue(), "svg+xml")


def png(image: np.ndarray) -> str:
    """Returns an image `[H, W, 1 or 3]` in [0, 1] as a data URI."""
    pixels = np.round(np.clip(image, 0.0, 1.0) * 255.0).astype(np.uint8)
    written = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(written, "PNG")
    return data_uri(written.getvalue(), "png")


def data_uri(content: bytes, kind: str) -> str:
    """Returns the contents of a picture as a data URI."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
