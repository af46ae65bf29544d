"""How fast the importance-sampled likelihood is beside the decoder alone, and what memory it takes.

  python -m benchmarks.nll --json=results/benchmarks/nll.json

An image-sample is one latent decoded and scored. The decoder alone is given as many latents at a time.
The peak is of the resident memory of a process of its own, which imports TensorFlow and evaluates 200
images.
"""

import functools
import math
import subprocess
import sys

import tensorflow as tf

import crvae_tf
from benchmarks import measurement, train_step
from benchmarks.measurement import Figure, Goal
from benchmarks.train_step import Case
from crvae_tf import evaluation

CASES = [Case("mlp", 1.0, 50, "float32"), Case("wae", 0.25, 50, "float32")]
SAMPLES = (100, 1000, 5000)
BATCHES = 4
TIMED_SAMPLES = {"mlp": 1000, "wae": 40}
LATENTS = 1000


def main() -> None:
    parser = measurement.parser(__doc__, repeats=3)
    parser.add_argument("--peak_of", type=int, help="print the peak at K alone: what a process does")
    options = parser.parse_args()
    if options.peak_of:
        print(own_peak(options.peak_of))
        return
    figures, goals = [], []
    for case in CASES:
        found = rates(case, options.repeats)
        whole, decoder = (figure.values for figure in found)
        name = f"{found[0].case}: likelihood to decoder alone"
        goals.append(Goal(name, 0.9, measurement.ratio(whole, decoder)))
        figures += found
    for samples in SAMPLES:
        peaks = [peak(samples) for _ in range(options.repeats)]
        figures.append(Figure("mlp, 200 images", f"K = {samples}", "MiB", peaks))
    measurement.report(options, figures, goals)


def rates(case: Case, repeats: int) -> list[Figure]:
    """Returns the image-samples/s of the likelihood and of the decoder."""
    model = train_step.model_of(case)
    samples = TIMED_SAMPLES[case.network]
    work = case.batch_size * samples
    latents = tf.random.stateless_normal([LATENTS, 50], [0, 0])
    decode = tf.function(model.base.decoder)
    calls = math.ceil(work / LATENTS)
    likelihood = functools.partial(likelihood_function(model, samples), *first_images(case))
    likelihood(), decode(latents)
    contestants = {
        "likelihood": lambda: work / measurement.seconds(lambda: likelihood().numpy()),
        "decoder alone": lambda: LATENTS / measurement.seconds(lambda: decode(latents).numpy(), calls),
    }
    found = measurement.by_turns(contestants, repeats)
    network = case.network if case.network == "mlp" else f"wae of width {case.width:g}"
    return [
        Figure(f"{network}, {case.batch_size} images", name, "image-samples/s", values)
        for name, values in found.items()
    ]


def likelihood_function(model, samples: int):
    """Returns `negative_log_likelihood` of (indices, images) as one function, as `evaluate` has it."""
    return tf.function(
        lambda indices, images: evaluation.negative_log_likelihood(model, images, indices, samples)
    )


def first_images(case: Case) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the indices and the images of a batch."""
    split = train_step.split_of(case.batch_size)
    batches = crvae_tf.datasets.evaluation_batches(split, case.batch_size, "dynamic")
    return next(iter(batches))[:2]


def peak(samples: int) -> float:
    """Returns the peak of resident memory of a process that samples K times, MiB."""
    command = [sys.executable, "-m", "benchmarks.nll", f"--peak_of={samples}"]
    printed = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    return float(printed.splitlines()[-1])


def own_peak(samples: int) -> float:
    """Returns this process' peak after the likelihoods of some batches."""
    case = CASES[0]
    likelihood = likelihood_function(train_step.model_of(case), samples)
    indices, images = first_images(case)
    for batch in range(BATCHES):
        likelihood(indices + batch * case.batch_size, images)
    return measurement.resident_peak()


if __name__ == "__main__":
    main()
