"""Pictures of what a model does, from arrays and from the model itself."""

import itertools
from collections.abc import Mapping, Sequence
from os import PathLike

import keras
import matplotlib
import numpy as np
import pandas as pd
import tensorflow as tf
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.decomposition import PCA

from crvae_tf import datasets, randomness
from crvae_tf.datasets import ImageData
from crvae_tf.randomness import Purpose
from crvae_tf.runs import files
from crvae_tf.transforms import RandomAffine

_NOT_TERMS = ("epoch", "learning_rate", "seconds", "images_per_second")
_COLUMNS = 16


def sample_images(
    data: ImageData, binarization: str, transformation: RandomAffine | None, number: int
) -> np.ndarray:
    """Returns a sample of `number` test images or their views, float32 `[number, H, W, C]`."""
    batches = datasets.evaluation_batches(data.test, number, binarization, transformation, number)
    return next(images for _, images, _ in batches.as_numpy_iterator())


def reconstructions(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """Returns the likelihood's mean at the posterior's mean, `[batch, H, W, C]`."""
    return model.likelihood(model.posterior(tf.constant(images)).mean()).mean().numpy()


def upright(model: keras.Model, images: np.ndarray) -> np.ndarray:
    """Returns the images `[N, H, W, C]` as registered networks bring them upright."""
    return model.pose.upright(tf.constant(images), model.posterior(images).mean()).numpy()


def samples(model: keras.Model, number: int, seed: int) -> np.ndarray:
    """Returns the likelihood's mean at `number` draws of the prior, `[number, H, W, C]`."""
    latents = model.prior.sample(number, seed=randomness.key(seed, Purpose.PRIOR))
    return model.likelihood(latents).mean().numpy()


def latent_planes(path: str | PathLike, planes: Mapping[str, tuple[np.ndarray, np.ndarray]]) -> None:
    """Draws Figure 1 of Sinha et al. 2020 for models side by side; see `draw_plane` for their means."""
    figure = Figure(figsize=(4.2 * len(planes), 4.4), layout="constrained")
    panels = figure.subplots(1, len(planes), squeeze=False)[0]
    for axes, (title, means) in zip(panels, planes.items(), strict=True):
        draw_plane(axes, *means)
        axes.set_title(title, parse_math=False)
        axes.set(xlabel="first principal component", ylabel="second principal component")
    legend_above(figure)
    save(figure, path)


def draw_plane(axes: Axes, means: np.ndarray, view_means: np.ndarray) -> None:
    """Draws images (red) and their views (blue), joined by arrows, in their principal plane.

    The means of the posteriors are `[images, latent_dim]`.
    """
    both = np.concatenate([means, view_means])
    both = np.pad(both, [(0, 0), (0, max(0, 2 - both.shape[1]))])  # One latent is a line in a plane.
    red, blue = np.split(PCA(2, svd_solver="full").fit_transform(both), 2)
    arrow = {"arrowstyle": "->", "color": "0.6", "shrinkA": 2.0, "shrinkB": 2.0}
    for image, view in zip(red, blue, strict=True):
        axes.annotate("", xy=view, xytext=image, arrowprops=arrow)
    axes.scatter(*red.T, s=14.0, color="tab:red", label="image")
    axes.scatter(*blue.T, s=14.0, color="tab:blue", label="transformed view")


def image_rows(path: str | PathLike, rows: Mapping[str, np.ndarray]) -> None:
    """Draws images `[images, H, W, C]` in [0, 1] under titles, 16 side by side; more are a multiple."""
    number = max(map(len, rows.values()))
    columns = min(_COLUMNS, number)
    size = 0.6 * columns + 0.2, (0.6 * (number // columns) + 0.25) * len(rows)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(len(rows), squeeze=False)[:, 0]
    for axes, (title, images) in zip(panels, rows.items(), strict=True):
        _show(axes, tiled(np.split(images, max(1, len(images) // columns))))
        axes.set_title(title, fontsize=8, loc="left", pad=2)
    save(figure, path)


def training_curves(path: str | PathLike, lines: Sequence[Mapping[str, float]]) -> None:
    """Draws each term of `metrics.jsonl` against the epoch; without any lines nothing is drawn."""
    if not (terms := terms_of(lines)):
        return
    frame = pd.DataFrame(lines).set_index("epoch")
    figure = Figure(figsize=(3.0 * len(terms), 2.6), layout="constrained")
    for axes, term in zip(figure.subplots(1, len(terms), squeeze=False)[0], terms, strict=True):
        for name, label in ((term, "training"), (f"val_{term}", "validation")):
            if name in frame:
                axes.plot(frame[name], marker=".", label=label)
        axes.set(title=term, xlabel="epoch", ylabel="nats")
        axes.legend(fontsize=8)
    save(figure, path)


def terms_of(lines: Sequence[Mapping[str, float]]) -> list[str]:
    """Returns the terms of the objective that lines of `metrics.jsonl` hold, without validation's."""
    names = lines[0] if lines else []
    return [name for name in names if name not in _NOT_TERMS and not name.startswith("val_")]


def contact_sheet(
    path: str | PathLike, pictures: Sequence[np.ndarray | None], captions: Sequence[str]
) -> None:
    """Draws pictures, uint8 `[h, w, 1 or 3]`, six in a row under their captions; None is a blank."""
    rows = -(-len(pictures) // 6)
    figure = Figure(figsize=(9.0, 1.8 * rows), layout="constrained")
    grid = figure.subplots(rows, 6, squeeze=False).flat
    for axes, picture, caption in itertools.zip_longest(grid, pictures, captions, fillvalue=None):
        axes.axis("off")
        axes.set_title(caption or "", fontsize=6, parse_math=False)
        if picture is not None:
            _show(axes, picture / 255.0, "auto")  # It may be larger than it is shown.
    save(figure, path)


def _show(axes: Axes, image: np.ndarray, interpolation: str = "nearest") -> None:
    """Shows an image `[H, W, 1 or 3]` in [0, 1] alone."""
    coloured = np.broadcast_to(image, (*image.shape[:2], 3))
    axes.imshow(np.clip(coloured, 0.0, 1.0), interpolation=interpolation)
    axes.axis("off")


def tiled(rows: Sequence[np.ndarray]) -> np.ndarray:
    """Returns one image `[rows * H, columns * W, C]` from rows of `[columns, H, W, C]` each."""
    return np.concatenate([np.concatenate(list(row), axis=1) for row in rows], axis=0)


def legend_above(figure: Figure) -> None:
    """Puts one legend above all axes, which share their marks."""
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4, fontsize=8)


def save(figure: Figure, path: str | PathLike) -> None:
    """Writes a figure as a PNG file into a folder that is there."""
    with files.whole_file(path, parents=False) as unfinished, matplotlib.rc_context({"font.size": 8}):
        figure.savefig(unfinished, dpi=150, format="png")
