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

CASES = {
    Case("mlp", batch_size=50): 1000,
    Case("mlp", batch_size=50, registered=True): 1000,
    Case("wae", 0.25, batch_size=50): 40,
}
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
    decode = tf.function(model.base.decoder)
    latents = tf.random.stateless_normal([LATENTS, *model.base.decoder.inputs[0].shape[1:]], [0, 0])
    score = tf.function(evaluation.negative_log_likelihood)
    likelihood = functools.partial(score, model, *first_images(case), samples)
    likelihood(), decode(latents)
    calls = math.ceil(work / LATENTS)
    contestants = {
        "likelihood": lambda: work / measurement.seconds(lambda: likelihood().numpy()),
        "decoder alone": lambda: LATENTS / measurement.seconds(lambda: decode(latents).numpy(), calls),
    }
    found = measurement.by_turns(contestants, repeats)
    return [Figure(case.label, name, "image-samples/s", values) for name, values in found.items()]


def first_images(case: Case) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the images of a batch and their indices."""
    split = crvae_tf.datasets.ArrayImages(train_step.some_images(case.batch_size))
    batches = crvae_tf.datasets.evaluation_batches(split, case.batch_size, "dynamic")
    return next(iter(batches))[1::-1]


if __name__ == "__main__":
    main()
