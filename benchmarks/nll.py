"""How fast the importance-sampled likelihood is beside the decoder alone.

  python -m benchmarks.nll

An image-sample is one latent decoded and scored. The decoder alone is given as many latents at a time.
"""

import functools
import math

import tensorflow as tf

import crvae_tf
from benchmarks import measurement, train_step
from benchmarks.measurement import Figure
from benchmarks.train_step import Case
from crvae_tf.evaluation import evaluate as evaluation

CASES = {Case("mlp", batch_size=50): 1000, Case("wae", 0.25, batch_size=50): 40}
"""And the K of each."""
LATENTS = 1000


def main() -> None:
    options = measurement.parser(__doc__, repeats=3).parse_args()
    for case, samples in CASES.items():
        if case.label.startswith(options.only):
            measurement.report(rates(case, samples, options.repeats))


def rates(case: Case, samples: int, repeats: int) -> list[Figure]:
    """Returns the image-samples/s of the likelihood and of the decoder."""
    model = train_step.model_of(case)
    work = case.batch_size * samples
    latents = tf.random.stateless_normal([LATENTS, 50], [0, 0])
    decode = tf.function(model.base.decoder)
    likelihood = functools.partial(likelihood_function(model, samples), *first_images(case))
    likelihood(), decode(latents)
    calls = math.ceil(work / LATENTS)
    contestants = {
        "likelihood": lambda: work / measurement.seconds(lambda: likelihood().numpy()),
        "decoder alone": lambda: LATENTS / measurement.seconds(lambda: decode(latents).numpy(), calls),
    }
    found = measurement.by_turns(contestants, repeats)
    return [Figure(case.label, name, "image-samples/s", values) for name, values in found.items()]


def likelihood_function(model: crvae_tf.CRVAE, samples: int):
    """Returns `negative_log_likelihood` of (indices, images) as one function, as `evaluate` has it."""
    return tf.function(
        lambda indices, images: evaluation.negative_log_likelihood(model, images, indices, samples)
    )


def first_images(case: Case) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the indices and the images of a batch."""
    split = crvae_tf.datasets.ArrayImages(train_step.some_images(case.batch_size))
    batches = crvae_tf.datasets.evaluation_batches(split, case.batch_size, "dynamic")
    return next(iter(batches))[:2]


if __name__ == "__main__":
    main()
