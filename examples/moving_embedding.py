"""Draws what embeddings do while an image turns and moves, for two trained encoders side by side.

    python examples/moving_embedding.py CR_VAE_RUN REGISTERED_RUN --output=moving_embedding.png

The two runs are of one gray data set with classes, for example

    python -m launch.train --flagfile=flagfiles/mnist_registered.flags --pose=none --output_dir=CR_VAE_RUN
    python -m launch.train --flagfile=flagfiles/mnist_registered.flags --output_dir=REGISTERED_RUN
"""

import argparse

import matplotlib.pyplot as plt
import numpy as np
import tensorflow as tf
from sklearn.decomposition import PCA

import crvae_tf
from crvae_tf import datasets
from crvae_tf.transforms import Affine

DEGREES, PIXELS = 30.0, 4.0
STEPS = np.linspace(-1.0, 1.0, 41)
FRAMES = STEPS[::5]
UPRIGHT = len(STEPS) // 2
EXAMPLE_CLASS = 4
COLOURS = {"CR-VAE": "#d1495b", "registered CR-VAE": "#00798c"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cr_vae_run")
    parser.add_argument("registered_run")
    parser.add_argument("--dataset", default="mnist")
    parser.add_argument("--data_dir", help="where TFDS keeps its data")
    parser.add_argument("--output", default="moving_embedding.png")
    given = parser.parse_args()

    data = datasets.load(given.dataset, given.data_dir)
    _, pixels, labels = next(data.test.batches(1000).as_numpy_iterator())
    images = pixels.astype(np.float32) / 255.0
    firsts = [int(np.flatnonzero(labels == label)[1]) for label in np.unique(labels)]
    runs = dict(zip(COLOURS, (given.cr_vae_run, given.registered_run), strict=True))
    encoders = {name: crvae_tf.load_encoder(f"{run}/encoder") for name, run in runs.items()}

    figure = plt.figure(figsize=(11.0, 7.2), layout="constrained", dpi=110)
    strips, panels = figure.subfigures(2, 1, height_ratios=[2.3, 4.0])
    shown = moved(images[firsts[EXAMPLE_CLASS]], FRAMES)
    served = tf.saved_model.load(f"{given.registered_run}/encoder").signatures["serving_default"]
    draw_strips(strips, shown, served(images=tf.constant(shown))["upright"].numpy())
    left, middle, right = panels.subplots(1, 3)
    for axes, (name, encoder) in zip((left, middle), encoders.items(), strict=True):
        paths = [encoder(moved(images[first], STEPS)).content for first in firsts]
        draw_paths(axes, name, encoder(images).content, paths)
    for name, encoder in encoders.items():
        right.plot(STEPS * DEGREES, distances(encoder, images), color=COLOURS[name], lw=2.5, label=name)
    finish_distances(right)
    figure.savefig(given.output)
    print(f"picture: {given.output}")


def moved(image: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Returns an image turned and moved by each step, a share of the largest turn and move."""
    steps = tf.constant(steps, tf.float32)
    nothing = tf.zeros_like(steps)
    transformations = Affine(PIXELS * steps, nothing, DEGREES * steps, nothing + 1.0)
    copies = tf.tile(image[None], [len(steps), 1, 1, 1])
    return crvae_tf.RandomAffine().augment_images(copies, transformations).numpy()


def distances(encoder, images: np.ndarray) -> np.ndarray:
    """Returns how far each step moves embeddings, as a share of the distance of two images."""
    still = encoder(images).content
    strangers = np.linalg.norm(still - np.roll(still, 1, axis=0), axis=1).mean()
    paths = np.stack([encoder(moved(image, STEPS)).content for image in images[:200]])
    return np.linalg.norm(paths - paths[:, UPRIGHT, None], axis=2).mean(axis=0) / strangers


def draw_strips(figure, *strips: np.ndarray) -> None:
    for axes, images, title in zip(
        figure.subplots(2, 1),
        strips,
        ("an image turns and moves", "the same images, brought upright by the registered encoder"),
        strict=True,
    ):
        axes.imshow(np.hstack([np.pad(image[..., 0], 1) for image in images]), cmap="gray_r")
        axes.set_title(title, fontsize=11, loc="left")
        axes.set_axis_off()


def draw_paths(axes, name: str, cloud: np.ndarray, paths: list[np.ndarray]) -> None:
    """Draws the plane in which the test images vary most, and the way of one image of each class."""
    plane = PCA(2).fit(cloud)
    axes.scatter(*plane.transform(cloud).T, s=6, color="0.85", linewidths=0)
    for colour, path in zip(plt.get_cmap("tab10").colors, paths, strict=True):
        x, y = plane.transform(path).T
        axes.plot(x, y, color=colour, lw=2.2, solid_capstyle="round")
        axes.plot(x[UPRIGHT], y[UPRIGHT], "o", color=colour, ms=7, mec="white", mew=1.2)
    axes.set_title(name, fontsize=12, color=COLOURS[name], weight="bold")
    axes.set(xticks=[], yticks=[], xlabel="where the embedding goes: one path a digit")


def finish_distances(axes) -> None:
    axes.axhline(1.0, color="0.6", lw=1, ls="--")
    axes.text(0.0, 1.01, "two different images", color="0.4", ha="center", va="bottom", fontsize=9)
    axes.set(ylim=(0.0, 1.15), xticks=[-30, -15, 0, 15, 30], xlabel="turned by, degrees")
    axes.set_title("distance from the upright image's", fontsize=12)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, loc="center right", fontsize=9)


if __name__ == "__main__":
    main()
