"""How fast pairs of images and views are made, and how long a training waits for them.

  python -m benchmarks.pipeline --json=results/benchmarks/pipeline.json

Our own layer, which resamples once; KerasCV's three layers in its place; and PyTorch's affine_grid and
grid_sample, as torchvision resamples, in one thread of Python. Each alone, on a batch in memory, and in
the pipeline of a training, which also shuffles and binarises.
"""

import functools
import itertools
import statistics
import time
from collections.abc import Callable, Iterator

import keras_cv
import tensorflow as tf

from benchmarks import measurement, train_step
from benchmarks.measurement import Figure, Goal
from benchmarks.train_step import Case
from crvae_tf import datasets

IMAGES = 20_000
WAITING = [
    Case("mlp", 1.0, 64, "float32"),
    Case("wae", 0.25, 64, "float32"),
    Case("wae", 1.0, 64, "float32"),
]
OWN, STACK, PYTORCH = "one composed layer", "KerasCV, three layers", "PyTorch, grid_sample"


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
    parser = measurement.parser(__doc__)
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--only", default="", help="waits only of cases whose name begins so")
    options = parser.parse_args()
    figures, goals = rates(options.batch_size, options.repeats)
    for case in WAITING:
        if case.label.startswith(options.only):
            waits = [waiting(case) for _ in range(options.repeats)]
            figures.append(Figure(case.label, "step's time spent waiting", "%", waits))
            name = f"{case.label}: % of a step spent waiting"
            goals.append(Goal(name, 3.0, statistics.median(waits), at_least=False))
    measurement.report(options, figures, goals)


def rates(batch_size: int, repeats: int) -> tuple[list[Figure], list[Goal]]:
    """Returns the pairs/s of every pipeline, and what they shall be."""
    cases = {
        f"batch {batch_size}, transformation alone": {
            OWN: views_rate(train_step.transformation(), batch_size),
            STACK: views_rate(KerasCVStack(), batch_size),
        },
        f"batch {batch_size}, whole pipeline": {
            OWN: functools.partial(pairs_rate, pipeline(train_step.transformation(), batch_size)),
            STACK: functools.partial(pairs_rate, pipeline(KerasCVStack(), batch_size)),
        },
    }
    if train_step.torch is not None:
        alone, whole = cases.values()
        alone[PYTORCH] = pytorch_views_rate(batch_size)
        whole[PYTORCH] = functools.partial(pairs_rate, pytorch_pairs(batch_size))
    figures, goals = [], []
    for case, contestants in cases.items():
        found = measurement.by_turns(contestants, repeats)
        figures += [Figure(case, name, "pairs/s", values) for name, values in found.items()]
        to_stack = measurement.ratio(found[OWN], found[STACK])
        goals.append(Goal(f"{case}: pairs/s to KerasCV's stack", 2.3, to_stack))
    return figures, goals


def views_rate(transformation, batch_size: int) -> Callable[[], float]:
    """Returns what measures the views/s of a transformation, drawn and applied, in memory."""
    images = tf.constant(train_step.some_images(batch_size) / 255.0, tf.float32)

    @tf.function
    def views(key):
        return transformation.augment_images(images, transformation.sample(batch_size, key))

    keys = itertools.count()
    return timed_views(lambda: views(tf.constant([0, next(keys)])).numpy(), batch_size)


def pytorch_views_rate(batch_size: int) -> Callable[[], float]:
    """Returns what measures the views/s of the same in PyTorch."""
    pairs = train_step.pytorch_model.Pairs(train_step.some_images(batch_size), batch_size)
    images = pairs.gray(slice(None))
    return timed_views(lambda: pairs.views(images), batch_size)


def timed_views(make: Callable[[], object], batch_size: int) -> Callable[[], float]:
    """Returns what measures the views/s of calls that make a batch of them."""
    times = measurement.times_for(make, 2.0)
    return lambda: batch_size / measurement.seconds(make, times)


def pipeline(transformation, batch_size: int, epochs: range = range(1)) -> Callable[[], Iterator]:
    """Returns what begins the epochs of pairs."""
    data = datasets.training_batches(
        train_step.split_of(IMAGES), batch_size, "dynamic", transformation, 0, epochs
    )
    return lambda: iter(data)


def pytorch_pairs(batch_size: int) -> Callable[[], Iterator]:
    """Returns what begins an epoch of pairs made in PyTorch."""
    pairs = train_step.pytorch_model.Pairs(train_step.some_images(IMAGES), batch_size)
    return lambda: (pairs.draw() for _ in range(IMAGES // batch_size))


def pairs_rate(epoch: Callable[[], Iterator]) -> float:
    """Returns the pairs/s of an epoch, its first batch left out."""
    batches, pairs = epoch(), 0
    next(batches)
    began = time.perf_counter()
    for images, _ in batches:
        pairs += len(images)
    return pairs / (time.perf_counter() - began)


def waiting(case: Case, duration: float = 5.0) -> float:
    """Returns which percentage of about `duration` seconds of training was spent waiting for data."""
    step = train_step.step_function(case)
    epochs = range(10**6)  # The clock ends it.
    batches = pipeline(train_step.transformation(), case.batch_size, epochs)()
    step(next(batches))
    waited, began = 0.0, time.perf_counter()
    while (now := time.perf_counter()) - began < duration:
        batch = next(batches)
        waited += time.perf_counter() - now
        step(batch)
    return 100.0 * waited / (time.perf_counter() - began)


if __name__ == "__main__":
    main()
