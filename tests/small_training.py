"""A training of three epochs of ten steps on noise, and whether two of them ended alike."""

import dataclasses
import os
import signal
import threading
import time

import numpy as np

from crvae_tf import CRVAE, VAE, networks
from crvae_tf.datasets import ArrayImages, ImageData, Preprocessing
from crvae_tf.runs.run import Run
from crvae_tf.training import fit as training
from crvae_tf.transforms import RandomAffine

IMAGES, BATCH = 95, 10
STEPS = 10
EPOCHS = 3
TIMINGS = {"seconds", "images_per_second"}


def noise():
    """Images, the same for training, validation and test."""
    images = np.random.default_rng(0).integers(0, 256, [IMAGES, 8, 8, 1], dtype=np.uint8)
    split = ArrayImages(images, np.arange(IMAGES) % 2)
    return ImageData("noise", split, split, split, Preprocessing(8, 1), "fingerprint")


def new_model(latent_dim=3, width=0.05, weights_seed=0, base=VAE):
    """A CR-VAE of the images of `noise`."""
    return CRVAE(base(*networks.build("mlp", (8, 8, 1), latent_dim, width, weights_seed), seed=3))


def train(run, data, model=None, later_seconds=lambda: 0.0, **options):
    """Trains in a `Run` or a folder; returns the model and the lines of its metrics."""
    model = model or new_model()
    run = run if isinstance(run, Run) else Run(run)
    settings = training.Settings("dynamic", RandomAffine(), EPOCHS, BATCH, 1e-2, 3, schedule="burda")
    settings = dataclasses.replace(settings, **options)
    return model, training.train(model, data, run, settings, later_seconds)


def train_until_killed(directory):
    """Trains in a process that kills itself as soon as the first epoch is kept."""

    def watch():
        while not list(Run(directory).checkpoints.glob("ckpt-*.index")):
            time.sleep(0.001)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()
    train(directory, noise())


def assert_same_to_the_bit(first, second):
    """Compares weights, optimizer state and, timings apart, metrics of what `train` returned."""
    held = [[*model.variables, *model.optimizer.variables] for model, _ in (first, second)]
    np.testing.assert_equal(*([variable.numpy() for variable in each] for each in held))
    assert untimed(first[1]) == untimed(second[1])


def assert_same_weights(model, other):
    np.testing.assert_equal(model.get_weights(), other.get_weights())


def untimed(lines):
    """Lines of metrics without what differs from one run to the same one."""
    return [{name: value for name, value in line.items() if name not in TIMINGS} for line in lines]
