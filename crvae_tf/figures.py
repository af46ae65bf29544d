"""Pictures from arrays."""

from collections.abc import Sequence
from os import PathLike

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from PIL import Image
from sklearn.decomposition import PCA

from crvae_tf import files

_RED, _BLUE = "tab:red", "tab:blue"
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
    both = np.concatenate([means, view_means])
    plane = PCA(2, svd_solver="full").fit_transform(both) if both.shape[1] > 1 else _on_a_line(both)
    red, blue = np.split(plane, 2)
    figure = Figure(figsize=(5.0, 5.0), layout="constrained")
    axes = figure.subplots()
    for image, view in zip(red, blue, strict=True):
        axes.annotate("", xy=view, xytext=image, arrowprops=_ARROW)
    axes.scatter(*red.T, s=14.0, color=_RED, label="image")
    axes.scatter(*blue.T, s=14.0, color=_BLUE, label="transformed view")
    axes.set(xlabel="first principal component", ylabel="second principal component")
    axes.legend(loc="upper right")
    _save(figure, path)


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
    names = [name for name in lines[0] if name not in ("epoch", "seconds", "images_per_second")]
    terms = [name for name in names if not name.startswith("val_")]
    epochs = [line["epoch"] for line in lines]
    figure = Figure(figsize=(3.0 * len(terms), 2.6), layout="constrained")
    for axes, term in zip(figure.subplots(1, len(terms), squeeze=False)[0], terms, strict=True):
        for name, label in ((term, "training"), (f"val_{term}", "validation")):
            if name in names:
                axes.plot(epochs, [line[name] for line in lines], marker=".", label=label)
        axes.set(title=term, xlabel="epoch", ylabel="nats")
        axes.legend(fontsize=8)
    _save(figure, path)


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
    grid = figure.subplots(rows, columns, squeeze=False).flat
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
