"""How fast pairs of images and views are made.

  python -m benchmarks.pipeline

Our own layer, which resamples once; KerasCV's three layers in its place; and PyTorch's affine_grid and
grid_sample, as torchvision resamples, in one thread of Python. Each is part of the pipeline of a
training, which also shuffles and binarises.
"""

import functools
import time
from collections.abc import Callable, Iterator

import keras_cv

from benchmarks import measurement, train_step
from benchmarks.measurement import Figure
from benchmarks.train_step import TRANSFORMATION, Case

IMAGES = 20_000
CASE = Case("mlp")


class KerasCVStack:
    """KerasCV's three layers, to be given to `training_batches` as a transformation."""

    def __init__(self):
        options = {"fill_mode": "constant", "fill_value": 0.0}
        self._layers = [
            keras_cv.layers.RandomTranslation(2.0 / 28.0, 2.0 / 28.0, seed=1, **options),
            keras_cv.layers.RandomRotation(15.0 / 360.0, seed=2, **options),
            keras_cv.layers.RandomZoom((-0.1, 0.1), seed=3, **options),
        ]

    def sample(self, batch_size, key):
        """Returns nothing: the layers draw for themselves."""
        return ()

    def augment_images(self, images, transformations):
        for layer in self._layers:
            images = layer(images, training=True)
        return images


def main() -> None:
    options = measurement.parser(__doc__).parse_args()
    found = measurement.by_turns(pipelines(), options.repeats)
    measurement.report(Figure(CASE.label, name, "pairs/s", values) for name, values in found.items())


def pipelines() -> dict[str, Callable[[], float]]:
    """Returns what measures the pairs/s of an epoch of each pipeline."""
    own, stack = (
        functools.partial(train_step.batches_of, CASE, IMAGES, transformation)
        for transformation in (TRANSFORMATION, KerasCVStack())
    )
    found = {
        "one composed layer": lambda: pairs_rate(own()),
        "KerasCV, three layers": lambda: pairs_rate(stack()),
    }
    if train_step.torch:
        images, size = train_step.some_images(IMAGES), CASE.batch_size
        pairs = train_step.pytorch_model.Pairs(images, size)
        found["PyTorch, grid_sample"] = lambda: pairs_rate(pairs.draw() for _ in range(IMAGES // size))
    return found


def pairs_rate(batches: Iterator) -> float:
    """Returns the pairs/s of an epoch, its first batch left out."""
    pairs = 0
    next(batches)
    began = time.perf_counter()
    for images, _ in batches:
        pairs += len(images)
    return pairs / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
