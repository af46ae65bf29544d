"""Pictures from arrays."""

import io
from collections.abc import Sequence
from os import PathLike
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image
from sklearn.decomposition import PCA

from crvae_tf import files

_NOT_TERMS = ("epoch", "learning_rate", "seconds", "images_per_second")
_MARKERS = "osD^vP*X"
_RED, _BLUE = "tab:red", "tab:blue"
_INVARIANCE_COLUMNS = {"translation": "pixels", "rotation": "degrees", "scaling": "fraction"}
_INVARIANCE_ROWS = {
    "kl": "KL, nats",
    "retrieval_at_1": "retrieval at 1",
    "linear": "linear probe",
    "nearest_neighbours": "5 nearest neighbours",
}
_ETA_PANELS = {"nll": "nats", "rate": "nats", "consistency_kl": "nats", "retrieval_at_1": "share"}
_ETA_SPLITS = {
    "test": "held-out images",
    "transformed_test": "transformed held-out images",
    "train_transform": "training transformation",
    "test_transform": "test transformation",
}
_FRAME_COLOUR = (0.95, 0.5, 0.1, 1.0)
_SHEET_SIDE = 256
_ARROW = {"arrowstyle": "->", "color": "0.6", "shrinkA": 2.0, "shrinkB": 2.0}


def latent_plane(path: str | PathLike, means: np.ndarray, view_means: np.ndarray) -> None:
    """Draws Figure 1 of Sinha et al. 2020: images and their views in the plane of the latent means.

    The plane is that of the first two principal components of all of the means.

    Args:
      path: of the PNG file.
      means: of the images' posteriors (red), `[images, latent_dim]`.
      view_means: of their views' (blue), joined to them by arrows.
    """
    figure = Figure(figsize=(5.0, 5.0), layout="constrained")
    _draw_plane(figure.subplots(), means, view_means)
    _legend_above(figure)
    _save(figure, path)


def latent_planes(path: str | PathLike, planes: dict[str, tuple[np.ndarray, np.ndarray]]) -> None:
    """Draws `latent_plane` for several models side by side, each under its title.

    Args:
      path: of the PNG file.
      planes: by title, the means of the images' posteriors and of their views'.
    """
    figure = Figure(figsize=(4.2 * len(planes), 4.4), layout="constrained")
    for axes, (title, means) in zip(
        figure.subplots(1, len(planes), squeeze=False)[0], planes.items(), strict=True
    ):
        _draw_plane(axes, *means)
        axes.set_title(_plain(title))
    _legend_above(figure)
    _save(figure, path)


def _draw_plane(axes: Axes, means: np.ndarray, view_means: np.ndarray) -> None:
    red, blue = principal_plane(means, view_means)
    for image, view in zip(red, blue, strict=True):
        axes.annotate("", xy=view, xytext=image, arrowprops=_ARROW)
    axes.scatter(*red.T, s=14.0, color=_RED, label="image")
    axes.scatter(*blue.T, s=14.0, color=_BLUE, label="transformed view")
    axes.set(xlabel="first principal component", ylabel="second principal component")


def invariance_curves(
    path: str | PathLike, curves: dict[str, dict[str, Any]], ranges: dict[str, float]
) -> None:
    """Draws how embeddings change with the size of each transformation, a line for each model.

    Args:
      path: of the PNG file.
      curves: by title, what `invariance.measure` returns.
      ranges: of the transformed test set, by transformation: a dotted line marks each.
    """
    first = next(iter(curves.values()))
    names = [name for name in _INVARIANCE_ROWS if first["translation"][0][name] is not None]
    figure = Figure(figsize=(10.0, 2.3 * len(names)), layout="constrained")
    for row, name in zip(figure.subplots(len(names), len(first)), names, strict=True):
        for axes, (transformation, unit) in zip(row, _INVARIANCE_COLUMNS.items(), strict=True):
            for title, found in curves.items():
                points = found[transformation]
                sizes = [point["size"] for point in points]
                axes.plot(sizes, [point[name] for point in points], marker=".", label=_plain(title))
            if transformation in ranges:
                axes.axvline(ranges[transformation], color="0.6", linestyle=":")
            axes.set(
                xlabel=f"{transformation}, {unit}", ylabel=_INVARIANCE_ROWS[name], ylim=(0.0, None)
            )
    _legend_above(figure)
    _save(figure, path)


def eta_curves(path: str | PathLike, rows: Sequence[dict[str, Any]]) -> None:
    """Draws NLL, rate, consistency and retrieval against eta, with bars of a standard deviation.

    Args:
      path: of the PNG file.
      rows: of `reproduction.summarize_eta`.
    """
    figure = Figure(figsize=(3.2 * len(_ETA_PANELS), 3.0), layout="constrained")
    for axes, (metric, unit) in zip(
        figure.subplots(1, len(_ETA_PANELS)), _ETA_PANELS.items(), strict=True
    ):
        for split in dict.fromkeys(row["split"] for row in rows if row["metric"] == metric):
            line = [row for row in rows if (row["metric"], row["split"]) == (metric, split)]
            etas, means = [row["eta"] for row in line], [row["mean"] for row in line]
            deviations = [row["std"] or 0.0 for row in line]
            label = _ETA_SPLITS[split]
            axes.errorbar(etas, means, deviations, marker=".", capsize=2.0, label=label)
        smallest = min((row["eta"] for row in rows if row["eta"] > 0.0), default=1.0)
        axes.set_xscale("symlog", linthresh=smallest)
        axes.set(title=metric.replace("_", " "), xlabel="eta", ylabel=unit)
        axes.legend(fontsize=7)
    _save(figure, path)


def invariance_frontier(path: str | PathLike, points: Sequence[dict[str, Any]], loss: str) -> None:
    """Draws NLL against what the embedding loses under a transformation.

    Each setting is a point; those on the frontier are joined; dotted lines mark what has no likelihood.

    Args:
      path: of the PNG file.
      points: of `invariance_study.summarize`.
      loss: what the loss is.
    """
    figure = Figure(figsize=(7.6, 4.0), layout="constrained")
    axes = figure.subplots()
    frontier = sorted((p["nll"], p["loss"]) for p in points if p["frontier"])
    axes.plot(*zip(*frontier, strict=True), color=_RED, linewidth=0.8, label="frontier")
    shown = [point for point in points if point["loss"] is not None]
    colours = matplotlib.colormaps["viridis"](np.linspace(0.0, 0.9, len(shown)))
    for place, (point, colour) in enumerate(zip(shown, colours, strict=True)):
        common = {"color": colour, "label": point["setting"]}
        if point["nll"] is None:
            axes.axhline(point["loss"], linestyle=":", **common)
        else:
            marker = _MARKERS[place % len(_MARKERS)]
            axes.plot(point["nll"], point["loss"], marker, zorder=3.0, **common)
    axes.set(xlabel="NLL, test, nats", ylabel=loss)
    axes.set_ylim(0.0, None)
    figure.legend(loc="outside right upper", fontsize=7)
    _save(figure, path)


def _plain(text: str) -> str:
    """Returns a text in which Matplotlib sees no formula."""
    return text.replace("$", r"\$")


def _legend_above(figure: Figure) -> None:
    """Says what the marks of all axes, which are the same, stand for, where it covers none of them."""
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4, fontsize=8)


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
      path: of the PNG file, which is not written where there are no lines.
      lines: of `metrics.jsonl`.
    """
    if not lines:  # Of a run whose log was lost.
        return
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
    return [name for name in names if name not in _NOT_TERMS and not name.startswith("val_")]


def contact_sheet(
    path: str | PathLike,
    pictures: Sequence[np.ndarray | None],
    captions: Sequence[str],
    columns: int = 6,
) -> None:
    """Draws pictures of any size, each under a caption of a few lines.

    Args:
      path: of the PNG file.
      pictures: uint8 `[h, w, 1 or 3]`; None leaves a blank.
      captions: as many.
      columns: pictures in a row.
    """
    rows = -(-len(pictures) // columns)
    figure = Figure(figsize=(1.5 * columns, 1.8 * rows), layout="constrained")
    grid = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axes in grid:
        axes.axis("off")
    for axes, picture, caption in zip(grid, pictures, captions, strict=False):
        axes.set_title(caption, fontsize=6, parse_math=False)
        if picture is not None:
            axes.imshow(_with_colour(_small(picture) / 255.0), interpolation="nearest")
    _save(figure, path)


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


def _small(picture: np.ndarray) -> np.ndarray:
    """Returns a picture, uint8, with its sides brought to at most 256 pixels."""
    image = Image.fromarray(picture[..., 0] if picture.shape[-1] == 1 else picture)
    image.thumbnail((_SHEET_SIDE, _SHEET_SIDE))
    return np.asarray(image).reshape(image.height, image.width, -1)


def _with_colour(image: np.ndarray) -> np.ndarray:
    return np.clip(np.repeat(image, 3, axis=-1) if image.shape[-1] == 1 else image, 0.0, 1.0)


def _save(figure: Figure, path: str | PathLike) -> None:
    with files.whole_file(path) as unfinished, matplotlib.rc_context({"font.size": 8}):
        figure.savefig(unfinished, dpi=150, format="png")
