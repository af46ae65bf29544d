"""How fast a CR-VAE trains beside its bare step and beside PyTorch.

  python -m benchmarks.train_step --only=mlp
  python -m benchmarks.train_step --growth

`fit` is training.train as a user's command runs it: pipeline, transformation, step, checks and logs.
`bare step` is the same step on one batch in memory, `registered` that of registered networks around
the same pair. PyTorch draws, transforms and trains likewise, in one thread of Python. `--growth`
measures instead how the time of a bare step grows. The digits stand in for MNIST: no cost here depends
on what an image shows.
"""

import argparse
import functools
import logging
import math
import tempfile
from collections.abc import Callable, Iterator
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

import crvae_tf
from benchmarks import measurement
from benchmarks.measurement import Figure
from crvae_tf import datasets, networks, poses
from crvae_tf.datasets import ArrayImages, ImageData
from crvae_tf.runs.run import Run
from crvae_tf.training import fit as training
from crvae_tf.training.fit import Adam

try:
    import torch

    from benchmarks import pytorch_model
except ImportError:  # The extra `benchmark` is not installed.
    torch = None

TRANSFORMATION = crvae_tf.RandomAffine(translation=2.0, rotation=15.0, scaling=0.1)
"""The t(x~|x) of MNIST."""


class Case(NamedTuple):
    """What is trained."""

    network: str
    width: float = 1.0
    batch_size: int = 64
    precision: str = "float32"
    registered: bool = False
    side: int = 28
    latent_dim: int = 50
    views: int = 1

    @property
    def label(self) -> str:
        """What a table calls it."""
        network = f"registered {self.network}" if self.registered else self.network
        width = f" of width {self.width:g}" if self.network == "wae" else ""
        return f"{network}{width}, batch {self.batch_size}, {self.precision}"


CASES = [
    case._replace(precision=precision)
    for case in (
        Case("mlp"),
        Case("mlp", batch_size=128),
        Case("wae", 0.125),
        Case("wae", 0.25),
        Case("wae"),
    )
    for precision in ("float32", "bfloat16")
]
GROWTH = {
    ("mlp", "batch_size"): {size: Case("mlp", batch_size=size) for size in (32, 64, 128, 256, 512)},
    ("mlp", "latent_dim"): {dim: Case("mlp", latent_dim=dim) for dim in (10, 50, 200)},
    ("mlp", "views_per_image"): {views: Case("mlp", views=views) for views in (1, 2, 4, 8)},
    ("wae", "batch_size"): {size: Case("wae", 0.25, size) for size in (16, 32, 64, 128)},
    ("wae", "width"): {width: Case("wae", width, 16) for width in (0.125, 0.25, 0.5, 1.0)},
    ("wae", "image_size"): {side: Case("wae", 0.125, 16, side=side) for side in (28, 32, 64, 128)},
}
"""By network and flag, the values of the flag and their cases."""


def main() -> None:
    parser = measurement.parser(__doc__)
    parser.add_argument("--seconds", type=float, default=2.0, help="about how long a turn takes")
    parser.add_argument("--growth", action="store_true", help="measure how a step's time grows")
    options = parser.parse_args()
    for (network, flag), cases in GROWTH.items() if options.growth else ():
        if f"{network}, {flag}".startswith(options.only):
            measurement.report(growth(network, flag, cases, options))
    for case in () if options.growth else CASES:
        if case.label.startswith(options.only):
            measurement.report(measure(case, options))


def growth(
    network: str, flag: str, cases: dict[float, Case], options: argparse.Namespace
) -> list[Figure]:
    """Returns the milliseconds of a bare step of each case."""

    def milliseconds(case: Case) -> Callable[[], float]:
        step = bare_step(case)
        times = measurement.times_for(step, options.seconds)
        return lambda: 1e3 * measurement.seconds(step, times)

    contestants = {f"{flag}={value:g}": milliseconds(case) for value, case in cases.items()}
    found = measurement.by_turns(contestants, options.repeats)
    return [Figure(network, label, "ms", values) for label, values in found.items()]


def measure(case: Case, options: argparse.Namespace) -> list[Figure]:
    """Returns the images/s of every contestant."""
    step, registered = bare_step(case), bare_step(case._replace(registered=True))
    steps = measurement.times_for(step, options.seconds)
    contestants = {
        "fit": lambda: fit_rate(case, steps),
        "bare step": lambda: case.batch_size / measurement.seconds(step, steps),
        "registered": lambda: case.batch_size / measurement.seconds(registered, steps),
    }
    if torch:
        for name, compiled in (("PyTorch, eager", False), ("PyTorch, compiled", True)):
            other = pytorch_step(case, compiled)
            contestants[name] = lambda other=other: case.batch_size / measurement.seconds(other, steps)
    found = measurement.by_turns(contestants, options.repeats)
    return [Figure(case.label, name, "images/s", values) for name, values in found.items()]


def pytorch_step(case: Case, compiled: bool) -> Callable[[], float]:
    """Returns a step of the same training in PyTorch, warmed up."""
    torch.manual_seed(0)
    model = pytorch_model.CRVAE(case.network, case.width)
    pairs = pytorch_model.Pairs(some_images(case.batch_size), case.batch_size)
    trained = pytorch_model.Training(model, pairs, case.precision == "bfloat16", compiled)
    for _ in range(3):
        trained.step()
    return trained.step


def build(case: Case) -> tuple[keras.Model, keras.Model]:
    """Returns the case's encoder and decoder, in its precision."""
    keras.mixed_precision.set_global_policy(
        "float32" if case.precision == "float32" else "mixed_bfloat16"
    )
    return networks.build(case.network, (case.side, case.side, 1), case.latent_dim, case.width)


def model_of(case: Case) -> crvae_tf.CRVAE:
    """Returns a model that is not compiled."""
    pair = build(case)
    if case.registered:
        pose = poses.Pose.of(TRANSFORMATION)
        pose_network = poses.network(case.network, (case.side, case.side, 1), pose, case.width)
        pair = poses.register(*pair, TRANSFORMATION, pose_network=pose_network)
    return crvae_tf.CRVAE(crvae_tf.VAE(*pair))


def compiled_model(case: Case) -> crvae_tf.CRVAE:
    """Returns a model with its optimizer, both built."""
    model = model_of(case)
    model.compile(optimizer=Adam(1e-4))
    model.optimizer.build(model.trainable_variables)
    return model


def bare_step(case: Case) -> Callable[[], tf.Tensor]:
    """Returns the model's own train_step, as one function, on one batch in memory."""
    step, batch = tf.function(compiled_model(case).train_step), next(batches_of(case))
    return lambda: step(batch)["loss"].numpy()


def batches_of(case: Case, images: int | None = None, transformation=TRANSFORMATION) -> Iterator[tuple]:
    """Returns an epoch of pairs, or triples, as a training makes them, by default of one batch."""
    split = ArrayImages(some_images(images or case.batch_size, case.side))
    of_epoch = (split, case.batch_size, "dynamic", transformation, 0, range(1), 0)
    return iter(datasets.training_batches(*of_epoch, case.registered, case.views))


def fit_rate(case: Case, steps: int) -> float:
    """Returns the images/s of the second of two epochs of `steps`."""
    steps = steps - steps % 10 or steps  # A number with divisors, as most epochs have one.
    split = ArrayImages(some_images(steps * case.batch_size))
    data = ImageData("digits", split, split, None, datasets.Preprocessing(28, 1), "")
    model = model_of(case)
    settings = training.Settings(
        binarization="dynamic",
        transformation=TRANSFORMATION,
        epochs=2,
        batch_size=case.batch_size,
        learning_rate=1e-4,
        seed=0,
        steps_per_execution=None,
    )
    with tempfile.TemporaryDirectory() as folder:
        lines = training.train(model, data, Run(folder), settings)
    return lines[-1]["images_per_second"]


@functools.cache
def some_images(number: int, side: int = 28) -> np.ndarray:
    """Returns embedded digits, uint8 `[number, side, side, 1]`, each as often as needed."""
    data = datasets.load("digits", image_size=side).train
    pixels = next(data.batches(data.num_images).as_numpy_iterator())[1]
    return np.resize(pixels, [number, side, side, 1])


def step_operations(encoder: keras.Model, decoder: keras.Model, pairs: int) -> float:
    """Returns the floating-point operations of a step's matrix products on `pairs` images and views.

    A layer's gradient needs two products of the size of the layer's own, and the first layer's one: no
    gradient of the images is wanted.

    >>> round(step_operations(*networks.build("wae", (28, 28, 1)), pairs=64) / 1e9)
    708
    """
    forward = []
    for layer in [*encoder.layers, *decoder.layers]:
        if hasattr(layer, "kernel"):
            # Every input of a transposed convolution meets the whole kernel, as every output does else.
            met = layer.input if isinstance(layer, keras.layers.Conv2DTranspose) else layer.output
            forward.append(2.0 * math.prod(layer.kernel.shape) * math.prod(met.shape[1:-1]))
    return 2.0 * pairs * (3.0 * sum(forward) - forward[0])


if __name__ == "__main__":
    logging.getLogger("crvae_tf").setLevel(logging.WARNING)
    main()
