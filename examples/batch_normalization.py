"""How much of a likelihood is its normalisation: python examples/batch_normalization.py RUN DATA_DIR

Images and their views pass a network apart: in training each batch is normalised by its own statistics,
and the moving statistics that an evaluation uses are those of both. Here they are estimated anew, from
training images alone and from their views alone, and the likelihoods of the first 1,000 test images are
measured again, with K = 100. RUN is a finished run of `--network=wae`; nothing in it changes.
"""

import sys
from collections.abc import Iterable

import keras
import tensorflow as tf

from crvae_tf import datasets, evaluation, evaluation_frame
from crvae_tf.datasets import ImageData
from crvae_tf.transforms import RandomAffine
from launch import assembly, run_sets
from launch.options import Options

IMAGES, SAMPLES, BATCHES = 1000, 100, 150


def main() -> None:
    run, data_dir = sys.argv[1:]
    options = run_sets.options_of(run_sets.finished(run), data_dir)
    model, data = assembly.open_run(options)
    rows = [["as trained", *likelihoods(model, data, options)]]
    transformation = assembly.transformation(options)
    for name, transform in (("of images", None), ("of views", transformation)):
        estimate(model, training_images(data, options, transform))
        rows.append([name, *likelihoods(model, data, options)])
    heads = ["statistics", "NLL, test, nats", "NLL, transformed test, nats"]
    print(evaluation_frame.markdown(heads, rows))


def estimate(model: keras.Model, batches: Iterable[tf.Tensor]) -> None:
    """Moves the statistics of batch normalisation towards those of `batches`, and no weight.

    Args:
      model: offers `posterior` and `likelihood`.
      batches: images `[batch, H, W, C]`; each moves the statistics by a tenth.
    """
    base = getattr(model, "base", model)

    @tf.function
    def step(images, key):
        base.likelihood(base.posterior(images, training=True).sample(seed=key), training=True)

    for number, images in enumerate(batches):
        step(images, tf.constant([0, number]))


def training_images(
    data: ImageData, options: Options, transform: RandomAffine | None
) -> Iterable[tf.Tensor]:
    """Returns batches of training images, or of their views."""
    batches = datasets.training_batches(
        data.train, options.batch_size, options.binarization, transform, options.seed, range(1)
    ).take(BATCHES)
    return batches if transform is None else batches.map(lambda images, views: views)


def likelihoods(model: keras.Model, data: ImageData, options: Options) -> list[str]:
    """Returns the NLL of the test images and of the transformed ones."""
    return [
        f"{evaluation.split_figures(model, batches, SAMPLES)['nll']:.2f}"
        for batches in (
            datasets.evaluation_batches(data.test, 50, options.binarization, transform, IMAGES)
            for transform in (None, assembly.test_transformation(options))
        )
    ]


if __name__ == "__main__":
    main()
