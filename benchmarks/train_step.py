"""How fast a CR-VAE trains, beside the bare step, and beside PyTorch and pythae.

  python -m benchmarks.train_step --only=mlp --json=results/benchmarks/train_step_mlp.json

`fit` is training.train as a user's command runs it: pipeline, transformation, step, checks and logs;
`bare step` the same step on batches in memory. PyTorch draws, transforms and trains likewise, in one
thread of Python. pythae has no CR-VAE: its VAE is set against ours, on single images. Digits of
MNIST's size stand in for MNIST: no cost here depends on what an image shows.
"""

import functools
import logging
import tempfile
from collections.abc import Callable, Iterator
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

import crvae_tf
from benchmarks import measurement, operations
from benchmarks.measurement import Figure, Goal
from crvae_tf import datasets, networks, training
from crvae_tf.datasets import ArrayImages, ImageData
from crvae_tf.optimizers import Adam
from crvae_tf.runs import Run

try:
    import torch

    from benchmarks import pytorch_model
except ImportError:  # The extra `benchmark` is not installed.
    torch = None

SHAPE = (28, 28, 1)
STEP_PRODUCTS, LARGE_PRODUCTS = "products of the bare step", "products of large matrices"
PYTORCH = ("PyTorch, eager", "PyTorch, compiled")


class Case(NamedTuple):
    """What is trained."""

    network: str
    width: float
    batch_size: int
    precision: str
    method: str = "cr_vae"

    @property
    def label(self) -> str:
        """What a table calls it."""
        width = f" of width {self.width:g}" if self.network == "wae" else ""
        method = ", VAE" if self.method == "vae" else ""
        return f"{self.network}{width}, batch {self.batch_size}, {self.precision}{method}"


CASES = [
    Case(network, width, batch_size, precision)
    for network, width, batch_size in (
        ("mlp", 1.0, 64),
        ("mlp", 1.0, 128),
        ("wae", 0.25, 64),
        ("wae", 1.0, 64),
    )
    for precision in ("float32", "bfloat16")
] + [Case("mlp", 1.0, 64, "float32", "vae")]


def main() -> None:
    parser = measurement.parser(__doc__)
    parser.add_argument("--only", default="", help="only cases whose name begins so")
    parser.add_argument("--seconds", type=float, default=2.0, help="about how long a turn takes")
    options = parser.parse_args()
    figures, goals = [], []
    for case in CASES:
        if case.label.startswith(options.only):
            found = measure(case, options.seconds, options.repeats)
            figures += found
            goals += goals_of(case, {figure.name: figure.values for figure in found})
            print(measurement.table(found), flush=True)
    measurement.report(options, figures, goals)


def measure(case: Case, duration: float, repeats: int) -> list[Figure]:
    """Returns the images/s of every contestant, and the operations/s of step and machine."""
    step = bare_step(case)
    steps = measurement.times_for(step, duration)
    contestants = {"fit": functools.partial(fit_rate, case, steps)}
    contestants["bare step"] = lambda: case.batch_size / measurement.seconds(step, steps)
    contestants |= others(case, steps)
    contestants[LARGE_PRODUCTS] = functools.partial(operations.matrix_product_rate, case.precision)
    found = measurement.by_turns(contestants, repeats)
    machine = [rate / 1e9 for rate in found.pop(LARGE_PRODUCTS)]
    figures = [Figure(case.label, name, "images/s", values) for name, values in found.items()]
    if case.method != "cr_vae":
        return figures
    of_pair = operations.step_operations(*build(case), pairs=1) / 1e9
    return [
        *figures,
        Figure(case.label, LARGE_PRODUCTS, "GFLOP/s", machine),
        Figure(case.label, STEP_PRODUCTS, "GFLOP/s", [of_pair * r for r in found["bare step"]]),
    ]


def goals_of(case: Case, rates: dict[str, list[float]]) -> Iterator[Goal]:
    """Yields what the figures of a case shall be."""
    to_bare = measurement.ratio(rates["fit"], rates["bare step"])
    yield Goal(f"{case.label}: fit to bare step", 0.95, to_bare)
    best = [max(turn) for turn in zip(*(rates[n] for n in PYTORCH if n in rates), strict=True)]
    if best:
        wanted = {"mlp": 2.0, "wae": 1.2 if case.precision == "float32" else 1.3}[case.network]
        to_best = measurement.ratio(rates["fit"], best)
        yield Goal(f"{case.label}: fit to PyTorch's best", wanted, to_best)
    if case.network == "wae":
        share = measurement.ratio(rates[STEP_PRODUCTS], rates[LARGE_PRODUCTS])
        yield Goal(f"{case.label}: step's share of the machine's rate", 0.8, share)


def others(case: Case, steps: int) -> dict[str, Callable[[], float]]:
    """Returns the contestants that are not of this package, as far as they are installed."""
    if torch is None:
        return {}
    if case.method == "vae":
        return {"pythae": functools.partial(pythae_rate, case, steps)}
    return {
        name: functools.partial(steps_rate, pytorch_step(case, compiled), case.batch_size, steps)
        for name, compiled in zip(PYTORCH, (False, True), strict=True)
    }


def steps_rate(step: Callable[[], float], batch_size: int, steps: int) -> float:
    """Returns the images/s of steps in a row."""
    return batch_size / measurement.seconds(step, steps)


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
    return networks.build(case.network, SHAPE, width=case.width)


def model_of(case: Case) -> keras.Model:
    """Returns a model that is not compiled."""
    base = crvae_tf.VAE(*build(case))
    return base if case.method == "vae" else crvae_tf.CRVAE(base)


def compiled_model(case: Case) -> keras.Model:
    """Returns a model with its optimizer, both built."""
    model = model_of(case)
    model.compile(optimizer=Adam(1e-4))
    model.optimizer.build(model.trainable_variables)
    return model


def step_function(case: Case) -> Callable[[tuple], tf.Tensor]:
    """Returns the model's own train_step as one function, from a batch to its loss."""
    step = tf.function(compiled_model(case).train_step)
    return lambda batch: step(batch)["loss"].numpy()


def bare_step(case: Case) -> Callable[[], float]:
    """Returns a step on one batch in memory."""
    step, batch = step_function(case), batch_of(case)
    return lambda: step(batch)


def batch_of(case: Case) -> tuple[tf.Tensor, tf.Tensor] | tf.Tensor:
    """Returns a batch as the training makes them: of pairs, or of images alone."""
    split = split_of(case.batch_size)
    batches = datasets.training_batches(
        split, case.batch_size, "dynamic", transformation_of(case), 0, range(1)
    )
    return next(iter(batches))


def transformation() -> crvae_tf.RandomAffine:
    """Returns the t(x~|x) of MNIST."""
    return crvae_tf.RandomAffine(translation=2.0, rotation=15.0, scaling=0.1)


def transformation_of(case: Case) -> crvae_tf.RandomAffine | None:
    """Returns t(x~|x) of the case, or None where no view is needed."""
    return None if case.method == "vae" else transformation()


def fit_rate(
    case: Case, steps: int, strategy: tf.distribute.Strategy | None = None, epochs: int = 2
) -> float:
    """Returns the images/s of the last of some epochs of `steps`, over all replicas."""
    steps = steps - steps % 10 or steps  # A number with divisors, as most epochs have one.
    split = split_of(steps * case.batch_size)
    data = ImageData("digits", split, split, None, datasets.Preprocessing(28, 1), "")
    with (strategy or tf.distribute.get_strategy()).scope():
        model = model_of(case)
    with tempfile.TemporaryDirectory() as folder:
        lines = training.train(
            model,
            data,
            Run(folder),
            binarization="dynamic",
            transformation=transformation_of(case),
            epochs=epochs,
            batch_size=case.batch_size,
            learning_rate=1e-4,
            seed=0,
            pictures_every=epochs + 1,
            steps_per_execution=training.default_steps_per_execution(model),
            verbose=0,
        )
    return lines[-1]["images_per_second"]


def pythae_rate(case: Case, steps: int) -> float:
    """Returns the images/s of an epoch of pythae's trainer on a VAE with the same network."""
    from benchmarks import pythae_model

    return pythae_model.epoch_rate(some_images(steps * case.batch_size), case.batch_size)


@functools.lru_cache(maxsize=1)
def digits() -> np.ndarray:
    """The embedded digits, uint8 `[N, 28, 28, 1]`."""
    data = datasets.load("digits").train
    return next(data.batches(data.num_images).as_numpy_iterator())[1]


def some_images(number: int) -> np.ndarray:
    """Returns digits, uint8 `[number, 28, 28, 1]`, as often as they are needed."""
    return np.resize(digits(), [number, *SHAPE])


def split_of(number: int) -> ArrayImages:
    """Returns a split of as many images."""
    return ArrayImages(some_images(number))


if __name__ == "__main__":
    logging.getLogger("crvae_tf").setLevel(logging.WARNING)
    main()
