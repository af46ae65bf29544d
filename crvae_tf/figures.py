"""Pictures from arrays."""

import io
from collections.abc import Sequence
from os import PathLike

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from PIL import Image
from sklearn.decomposition import PCA

from crvae_tf import files

_RED, _BLUE = "tab:red", "tab:blue"
_FRAME_COLOUR = (0.95, 0.5, 0.1, 1.0)
_NO_TERMS = ("epoch", "seconds", "images_per_second")
_ARROW = {"arrowstyle": "->", "color": "0.6", "shrinkA": 2.0, "shrinkB": 2.0}


def latent_plane(path: str | PathLike, means: np.ndarray, view_means: np.ndarray) -> None:
    """Draws Figure 1 of Sinha et al. 2020: images and their views in the plane of the latent means.

    The plane is that of the first two principal components of all of the means.

    Args:
      path: of the PNG file.
      means: of the images' posteriors (red), `[images, latent_dim]`.
      view_means: of their views' (blue), joined to them by arrows.
    """
    red, blue = principal_plane(means, view_means)
    figure = Figure(figsize=(5.0, 5.0), layout="constrained")
    axes = figure.subplots()
    for image, view in zip(red, blue, strict=True):
        axes.annotate("", xy=view, xytext=image, arrowprops=_ARROW)
    axes.scatter(*red.T, s=14.0, color=_RED, label="image")
    axes.scatter(*blue.T, s=14.0, color=_BLUE, label="transformed view")
    axes.set(xlabel="first principal component", ylabel="second principal component")
    axes.legend(loc="upper right")
    _save(figure, path)


def principal_plane(means: np.ndarray, view_means: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns means `[images, latent_dim]`, and their views', in the plane of both's largest variance.

    Returns:
      The two as points `[images, 2]`: first and second principal component.
    """
    both = np.concatenate([means, view_means])
    plane = PCA(2, svd_solver="full").fit_transform(both) if both.shape[1] > 1 else _on_a_line(both)
    red, blue = np.split(plane, 2)
    return red, blue


def image_rows(path: str | PathLike, rows: dict[str, np.ndarray]) -> None:
    """Draws rows of images, each under a title.

    Args:
      path: of the PNG file.
      rows: by title, `[images, H, W, C]` in [0, 1].
    """
    widest = max(len(images) for images in rows.values())
    figure = Figure(figsize=(0.6 * widest + 0.2, 0.85 * len(rows)), layout="constrained")
    for axes, (title, images) in zip(
        figure.subplots(len(rows), squeeze=False)[:, 0], rows.items(), strict=False
    ):
        axes.imshow(_with_colour(tiled([images])), interpolation="nearest")
        axes.set_title(title, fontsize=8, loc="left", pad=2)
        axes.axis("off")
    _save(figure, path)


def image_grid(path: str | PathLike, images: np.ndarray, columns: int) -> None:
    """Draws `images` `[rows * columns, H, W, C]` in [0, 1] as a grid."""
    grid = tiled(np.split(images, len(images) // columns))
    figure = Figure(figsize=(0.5 * columns, 0.5 * len(images) / columns), layout="constrained")
    axes = figure.subplots()
    axes.imshow(_with_colour(grid), interpolation="nearest")
    axes.axis("off")
    _save(figure, path)


def training_curves(path: str | PathLike, lines: Sequence[dict[str, float]]) -> None:
    """Draws each term of the objective against the epoch, its validation beside it where there is one.

    Args:
      path: of the PNG file.
      lines: of `metrics.jsonl`.
    """
    names, terms = list(lines[0]), terms_of(lines)
    epochs = [line["epoch"] for line in lines]
    figure = Figure(figsize=(3.0 * len(terms), 2.6), layout="constrained")
    for axes, term in zip(figure.subplots(1, len(terms), squeeze=False)[0], terms, strict=True):
        for name, label in ((term, "training"), (f"val_{term}", "validation")):
            if name in names:
                axes.plot(epochs, [line[name] for line in lines], marker=".", label=label)
        axes.set(title=term, xlabel="epoch", ylabel="nats")
        axes.legend(fontsize=8)
    _save(figure, path)


def terms_of(lines: Sequence[dict[str, float]]) -> list[str]:
    """Returns the terms of the objective that lines of `metrics.jsonl` hold, without validation's."""
    names = lines[0] if lines else []
    return [name for name in names if name not in _NO_TERMS and not name.startswith("val_")]


def tiled(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Returns one image `[rows * H, columns * W, C]` from rows of `[columns, H, W, C]` each."""
    return np.concatenate([np.concatenate(list(row), axis=1) for row in rows], axis=0)


def framed(images: np.ndarray, marked: np.ndarray, width: int) -> np.ndarray:
    """Puts a frame around images: orange around those that are marked, transparent around the others.

    Args:
      images: `[images, H, W, C]` in [0, 1].
      marked: booleans `[images]`.
      width: of the frame, pixels.

    Returns:
      `[images, H + 2 * width, W + 2 * width, 4]`: red, green, blue and opacity.
    """
    height, breadth = images.shape[1:3]
    canvas = np.zeros((len(images), height + 2 * width, breadth + 2 * width, 4), np.float32)
    canvas[marked] = _FRAME_COLOUR
    inside = canvas[:, width : width + height, width : width + breadth]
    inside[...] = 1.0
    inside[..., :3] = _with_colour(images)
    return canvas


def png(image: np.ndarray) -> bytes:
    """Returns a PNG file of an image `[H, W, C]` in [0, 1]; C is 1, 3, or 4 with opacity."""
    pixels = np.round(np.clip(image, 0.0, 1.0) * 255.0).astype(np.uint8)
    written = io.BytesIO()
    Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels).save(written, "PNG")
    return written.getvalue()


def _on_a_line(means: np.ndarray) -> np.ndarray:
    """Returns points of a one-dimensional latent space on a horizontal line."""
    return np.stack([means[:, 0], np.zeros(len(means))], axis=1)


def _with_colour(image: np.ndarray) -> np.ndarray:
    return np.clip(np.repeat(image, 3, axis=-1) if image.shape[-1] == 1 else image, 0.0, 1.0)


def _save(figure: Figure, path: str | PathLike) -> None:
    with files.whole_file(path) as unfinished, matplotlib.rc_context({"font.size": 8}):
        figure.savefig(unfinished, dpi=150, format="png")
