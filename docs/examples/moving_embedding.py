"""Draws what embeddings do while an image turns and moves, for two trained encoders side by side.

    python docs/examples/moving_embedding.py CR_VAE_RUN REGISTERED_RUN --output=moving_embedding.png

The two runs are of one gray data set with classes:

    FLAGS="--flagfile=flagfiles/mnist_registered.flags"
    python -m launch.train $FLAGS --pose=none --output_dir=CR_VAE_RUN
    python -m launch.train $FLAGS --output_dir=REGISTERED_RUN
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

    runs = dict(zip(COLOURS, (given.cr_vae_run, given.registered_run), strict=True))
    encoders = {name: crvae_tf.load_encoder(f"{run}/encoder") for name, run in runs.items()}
    prepared = encoders["CR-VAE"].preprocessing
    test = datasets.open_images(given.dataset, prepared, given.data_dir, split="test")
    _, pixels, labels = next(test.batches(1000).as_numpy_iterator())
    images = pixels.astype(np.float32) / 255.0
    firsts = [int(np.flatnonzero(labels == label)[1]) for label in np.unique(labels)]

    figure = plt.figure(figsize=(11.0, 7.0), layout="constrained", dpi=110)
    above, below = figure.subfigures(2, 1, height_ratios=[2.4, 4.0])
    shown = moved(images[firsts[EXAMPLE_CLASS]], FRAMES)
    draw_strips(above, shown, encoders["registered CR-VAE"].upright(shown))
    *planes, curves = below.subplots(1, 3)
    for axes, (name, encoder) in zip(planes, encoders.items(), strict=True):
        paths = [encoder(moved(images[first], STEPS)).content for first in firsts]
        draw_paths(axes, name, encoder(images).content, paths)
    draw_distances(curves, {name: distances(encoder, images) for name, encoder in encoders.items()})
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


def draw_strips(figure, images: np.ndarray, upright: np.ndarray) -> None:
    titles = "An image turns and moves", "The registered encoder brings it upright"
    for axes, strip, title in zip(figure.subplots(2, 1), (images, upright), titles, strict=True):
        padded = [np.pad(image[..., 0], [(0, 0), (5, 5)]) for image in strip]
        axes.imshow(np.hstack(padded), cmap="gray_r")
        axes.set_title(title, fontsize=11)
        axes.spines[:].set_visible(False)
        centres = (np.arange(len(strip)) + 0.5) * (strip.shape[2] + 10)
        axes.set_xticks(centres, [f"{DEGREES * step:g}°" for step in FRAMES], fontsize=8, color="0.4")
        axes.tick_params(length=0, labelbottom=strip is images, labelleft=False)


def draw_paths(axes, name: str, cloud: np.ndarray, paths: list[np.ndarray]) -> None:
    """Draws the plane in which the test images vary most, and the way of one image of each class."""
    plane = PCA(2).fit(cloud)
    axes.scatter(*plane.transform(cloud).T, s=6, color="0.86", linewidths=0)
    for colour, path in zip(plt.get_cmap("tab10").colors, paths, strict=True):
        x, y = plane.transform(path).T
        axes.plot(x, y, color=colour, lw=2.2, solid_capstyle="round")
        axes.plot(x[UPRIGHT], y[UPRIGHT], "o", color=colour, ms=7, mec="white", mew=1.2)
    axes.set_title(name, fontsize=12, color=COLOURS[name], weight="bold")
    axes.spines[:].set_color("0.8")
    axes.set(xticks=[], yticks=[])
    axes.set_xlabel("embeddings of ten digits that turn and move", color="0.3")


def draw_distances(axes, curves: dict[str, np.ndarray]) -> None:
    places = {"CR-VAE": (0.0, 0.75), "registered CR-VAE": (19.5, 0.15)}
    for name, curve in curves.items():
        axes.plot(STEPS * DEGREES, curve, color=COLOURS[name], lw=2.5)
        axes.text(*places[name], name, color=COLOURS[name], weight="bold", ha="center", fontsize=9)
    axes.axhline(1.0, color="0.6", lw=1, ls="--")
    axes.text(0.0, 1.02, "two different images", color="0.4", ha="center", fontsize=9)
    axes.set(ylim=(0.0, 1.4), xticks=[-30, -15, 0, 15, 30])
    axes.set_xlabel("degrees turned", color="0.3")
    axes.set_title("Distance from the upright image", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)


if __name__ == "__main__":
    main()
