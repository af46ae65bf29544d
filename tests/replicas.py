"""Trains small models on one replica, on two, or as one of two workers, and prints the outcome as JSON.

TensorFlow splits a CPU into devices only before it starts, so `test_replicas.py` runs this in processes
of its own: `python -m tests.replicas replicas`, or `worker` with TF_CONFIG set.
"""

import json
import sys

import keras
import numpy as np
import tensorflow as tf

import crvae_tf
from crvae_tf import networks, objectives

SHAPE = (8, 8, 1)
PENALTY = 0.5
RATE = 0.1
SIZES = {"uneven_last_batch": (7, 4), "uneven_first_batch": (5, 5), "empty_replica": (5, 4)}


class CalmVAE(crvae_tf.VAE):
    """A VAE without noise: its latents are the posterior's means."""

    def bound(self, images, seed, training=False):
        posterior = self.posterior(images, training)
        likelihood = self.likelihood(posterior.mean(), training)
        return crvae_tf.Bound(
            value=objectives.elbo(posterior, self.prior, likelihood, images),
            posterior=posterior,
            rate=objectives.rate(posterior, self.prior),
            distortion=objectives.distortion(likelihood, images),
        )


class NoisyVAE(crvae_tf.VAE):
    """A VAE that keeps the bounds of its images, as each replica finds them."""

    def bound(self, images, seed, training=False):
        bound = super().bound(images, seed, training)
        self.kept.append(bound.value.numpy().tolist())
        return bound


def pairs(images: int, batch: int) -> tf.data.Dataset:
    """Returns pairs of random images in batches over all replicas."""
    generator = np.random.default_rng(0)
    pixels = (generator.random((2, images, *SHAPE)) > 0.5).astype(np.float32)
    return tf.data.Dataset.from_tensor_slices((pixels[0], pixels[1])).batch(batch)


def calm_model() -> crvae_tf.CRVAE:
    """Returns a compiled and built model, with a penalty on the kernels of its encoder."""
    encoder, decoder = networks.build("mlp", SHAPE, latent_dim=3, width=0.05)
    for layer in encoder.layers:
        if isinstance(layer, keras.layers.Dense):
            layer.kernel.regularizer = keras.regularizers.L2(PENALTY)
    model = crvae_tf.CRVAE(CalmVAE(encoder, decoder))
    model.compile(optimizer=keras.optimizers.SGD(RATE))
    model.optimizer.build(model.trainable_variables)
    return model


def trained(model: crvae_tf.CRVAE, images: int, batch: int) -> dict:
    """Returns the weights and the history of one epoch with validation."""
    history = model.fit(pairs(images, batch), validation_data=pairs(images, batch), verbose=0).history
    terms = {name: float(np.squeeze(values)) for name, values in history.items()}
    return {"weights": [w.tolist() for w in model.get_weights()], "terms": terms}


def outcomes(strategy: tf.distribute.Strategy, cases) -> dict:
    """Returns what is trained from the same weights in each case, or why it could not be.

    One failure must not hide the others, so an exception becomes a line of text.
    """
    with strategy.scope():
        model = calm_model()
    initial = model.get_weights()
    found = {}
    for case in cases:
        model.set_weights(initial)
        try:
            found[case] = trained(model, *SIZES[case])
        except Exception as error:
            found[case] = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
    return found


def bounds_of_one_image(strategy: tf.distribute.Strategy) -> list:
    """Returns the bounds that each replica finds for the same image, in a training and a test step."""
    with strategy.scope():
        model = NoisyVAE(*networks.build("mlp", SHAPE, latent_dim=3, width=0.05))
        model.kept = []
        model.compile(optimizer=keras.optimizers.SGD(RATE))
        model.optimizer.build(model.trainable_variables)
    found = []
    for step in (model.train_step, model.test_step):
        strategy.run(step, args=(tf.ones([1, *SHAPE]),))
        found.append([bound[0] for bound in model.kept])
        model.kept.clear()
    return found


def replicas() -> dict:
    """Returns everything on one and on two replicas, by the number of replicas."""
    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    strategies = {
        "1": tf.distribute.get_strategy(),
        "2": tf.distribute.MirroredStrategy(["cpu:0", "cpu:1"]),
    }
    results = {number: outcomes(strategy, SIZES) for number, strategy in strategies.items()}
    return results | {"bounds_of_one_image": bounds_of_one_image(strategies["2"])}


def worker() -> dict:
    """Returns what this worker of several trains."""
    return outcomes(tf.distribute.MultiWorkerMirroredStrategy(), ["uneven_last_batch"])


if __name__ == "__main__":
    print(json.dumps({"replicas": replicas, "worker": worker}[sys.argv[1]]()))
