"""Pictures of what the encoder and the decoder of a run do, for the report."""

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
from scipy.spatial.distance import cdist

from crvae_tf import randomness
from crvae_tf.errors import InputError
from crvae_tf.randomness import Purpose
from crvae_tf.runs import drawing
from crvae_tf.runs.run import Run
from crvae_tf.serving.export import Decoder, Encoder, load_decoder, load_encoder
from crvae_tf.transforms import Affine, RandomAffine

SEARCHED_IMAGES = 1000
"""Nearest neighbours are looked for among so many test images, spread over all."""

_AT_A_TIME = 250
_PLANE_IMAGES = 40
_SHOWN = 10
_SAMPLE_ROWS = 6
_TRAVERSED = 8
_STDDEVS = np.linspace(-3.0, 3.0, 9, dtype=np.float32)
_QUERIES, _NEIGHBOURS = 6, 5
_STEPS = np.linspace(-1.0, 1.0, 17, dtype=np.float32)
_MOVED = 64
"""Distances are means over so many images."""

Pictures = dict[str, str]
"""Data URIs by their captions."""


class Embedded(NamedTuple):
    """Images, float32 `[images, H, W, C]` in [0, 1], and what an encoder makes of them.

    `mean` is float32 `[images, latent_dim]`, `content` the embedding, `[images, content_dim]`. Of
    registered networks, `upright` are the first images brought upright.
    """

    images: np.ndarray
    mean: np.ndarray
    content: np.ndarray
    upright: np.ndarray | None = None


class Served(NamedTuple):
    """The exported parts of a run; `remarks` say what could not be used.

    `embedded` are a sample of test images, and their views under the `transformation`; none without an
    encoder or without images.
    """

    encoder: Encoder | None = None
    decoder: Decoder | None = None
    embedded: Sequence[Embedded] = ()
    transformation: RandomAffine | None = None
    remarks: Sequence[str] = ()


def serve(run: Run, load_images: Callable[[], tuple[np.ndarray, np.ndarray, RandomAffine]]) -> Served:
    """Loads the encoder and the decoder that a run has, and embeds its test images.

    `load_images` returns these, their views and the transformation of the views, or raises InputError
    or OSError.
    """
    remarks, embedded, transformation = [], [], None
    encoder = _loaded(load_encoder, run.encoder, remarks)
    decoder = _loaded(load_decoder, run.decoder, remarks)
    try:
        if encoder:
            *shown, transformation = load_images()
            embedded = [_embedded(encoder, images) for images in shown]
    except (InputError, OSError) as error:
        remarks.append(f"no test images ({' '.join(str(error).split())})")
    return Served(encoder, decoder, embedded, transformation, remarks)


def _loaded(load: Callable, path: Path, remarks: list[str]):
    """Returns an exported part of a run, None where there is none; a broken one is remarked on."""
    try:
        return load(path) if path.exists() else None
    except InputError:
        remarks.append(f"{path.name} cannot be loaded")
        return None


def _embedded(encoder: Encoder, images: np.ndarray) -> Embedded:
    images = np.clip(images, 0.0, 1.0)  # Resampling rounds.
    parts = [encoder(part) for part in np.array_split(images, -(-len(images) // _AT_A_TIME))]
    mean, content = (np.concatenate([getattr(p, name) for p in parts]) for name in ("mean", "content"))
    return Embedded(images, mean, content, encoder.upright(images[:_SHOWN]))


def _moving(served: Served) -> tuple[list[Embedded], np.ndarray]:
    """Returns the first images as they turn and move step by step, and how far their embeddings go.

    The distances `[steps]` are means over images, in units of that between two different images.
    """
    clean, transformation = served.embedded[0], served.transformation
    images, content = clean.images[:_MOVED], clean.content[:_MOVED]

    def moved(step: float) -> Embedded:
        parts = step * transformation.translation, 0.0, step * transformation.rotation, 1.0
        affine = Affine(*(np.full(len(images), part, np.float32) for part in parts))
        return _embedded(served.encoder, transformation.augment_images(images, affine).numpy())

    steps = [moved(step) for step in _STEPS]
    between = np.linalg.norm(clean.content - np.roll(clean.content, 1, axis=0), axis=1).mean()
    distances = [np.linalg.norm(step.content - content, axis=1).mean() for step in steps]
    return steps, np.array(distances) / max(between, np.finfo(np.float32).tiny)


def _moved(served: Served) -> Pictures:
    steps, distances = _moving(served)
    caption, rows = "turned and moved", [[step.images[0] for step in steps[::2]]]
    if steps[0].upright is not None:
        caption += "; below, brought upright"
        rows.append([step.upright[0] for step in steps[::2]])
    ends = f"{served.transformation.rotation:g}°", f"{served.transformation.translation:g} px"

    def draw(axes):
        axes.plot(_STEPS, distances, marker=".")
        axes.axhline(1.0, xmin=0.08, color="0.6", linestyle="--")
        axes.annotate("two different images", (0.0, 1.06), ha="center", va="bottom", color="0.4")
        axes.set_xticks([-1.0, 0.0, 1.0], ["-{}\n-{}".format(*ends), "0", "\n".join(ends)])
        axes.set(xlim=(-1.125, 1.125), ylim=(0.0, max(1.5, 1.05 * max(distances))))
        axes.set_yticks([0.5, 1.0])
        axes.tick_params(axis="y", length=0, pad=-14)
        axes.spines["left"].set_visible(False)

    moved = f"distance of the embedding; {distances[0]:.2f} and {distances[-1]:.2f} at the ends"
    return {caption: png(rows), moved: chart(draw, (3.8, 1.7))}


def _plane(served: Served) -> Pictures:
    def draw(axes):
        drawing.draw_plane(axes, *(part.content[:_PLANE_IMAGES] for part in served.embedded))
        axes.legend()
        axes.set(xticks=[], yticks=[], aspect="equal", adjustable="datalim")

    return {"": chart(draw, (4.6, 3.6))}


def _reconstructions(served: Served) -> Pictures:
    pictures = {}
    for title, part in zip(("test images", "views"), served.embedded, strict=True):
        rows = {title: part.images[:_SHOWN]}
        if part.upright is not None:
            rows["brought upright"] = part.upright
        if served.decoder:
            rows["reconstructed"] = served.decoder(part.mean[:_SHOWN])
        pictures[" / ".join(rows)] = png(list(rows.values()))
    return pictures


def _samples(served: Served) -> Pictures:
    shape = [_SAMPLE_ROWS * _SHOWN, served.decoder.latent_dim]
    images = served.decoder(tf.random.stateless_normal(shape, randomness.key(0, Purpose.PRIOR)))
    return {"": png(np.split(images, _SAMPLE_ROWS))}


def _traversals(served: Served) -> Pictures:
    latent_dim = served.decoder.latent_dim
    base = served.embedded[0].mean[0] if served.embedded else np.zeros(latent_dim, np.float32)
    moved = np.where(np.eye(latent_dim, dtype=bool), _STDDEVS[:, np.newaxis, np.newaxis], base)
    change = np.square(served.decoder(moved[-1]) - served.decoder(moved[0])).mean(axis=(1, 2, 3))
    most = np.argsort(-change, kind="stable")[:_TRAVERSED]
    return {f"z{i}": png([served.decoder(moved[:, i])]) for i in most}


def _neighbours(served: Served) -> Pictures:
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
    around = [(0, 0), (1, 1), (1, 1), (0, 0)]
    rows = [np.concatenate([queries[[i]], images[indices]]) for i, indices in enumerate(found)]
    return png([np.pad(row, around, constant_values=0.5) for row in rows])


SECTIONS = {
    "A moving image": ("embedded", _moved),
    "Reconstructions": ("embedded", _reconstructions),
    "Nearest neighbours": ("embedded", _neighbours),
    "Figure 1": ("embedded", _plane),
    "Samples": ("decoder", _samples),
    "Latent traversals": ("decoder", _traversals),
}
"""What each section is made of, and what draws it."""


def chart(draw: Callable[[Axes], None], size: tuple[float, float] = (3.4, 2.3)) -> str:
    """Returns what `draw` draws on axes as the data URI of an SVG picture with a transparent ground."""
    look = {"font.size": 8, "svg.fonttype": "none", "svg.hashsalt": "report", "legend.frameon": False}
    look |= {"axes.spines.top": False, "axes.spines.right": False}
    with matplotlib.rc_context(look):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure.subplots())
        written = io.BytesIO()
        figure.savefig(written, format="svg", transparent=True, metadata={"Date": None})
    return _data_uri(written.getvalue(), "svg+xml")


def png(rows: Sequence[np.ndarray]) -> str:
    """Returns rows of images `[columns, H, W, 1 or 3]` in [0, 1] as the data URI of one picture."""
    pixels = tf.image.convert_image_dtype(drawing.tiled(rows), tf.uint8, saturate=True)
    return _data_uri(tf.io.encode_png(pixels).numpy(), "png")


def _data_uri(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
