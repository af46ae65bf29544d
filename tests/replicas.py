"""Trains small models on one replica, on two, or as one of two workers, and prints the outcome as JSON.

TensorFlow splits a CPU into devices only before it starts, so `test_replicas.py` runs this in processes
of its own: `python -m tests.replicas replicas FOLDER`, or `worker FOLDER` with TF_CONFIG set.
"""

import json
import os
import signal
import sys

import keras
import numpy as np
import tensorflow as tf

import crvae_tf
from crvae_tf import RandomAffine, datasets, networks, objectives, poses
from crvae_tf.errors import Interrupted
from crvae_tf.training import strategies
from tests import small_training

SHAPE = (8, 8, 1)
PENALTY = 0.5
RATES = {"mlp": 0.1, "wae": 0.01, "registered mlp": 0.01}
WIDTHS = {"mlp": 0.05, "wae": 0.02, "registered mlp": 0.05}
SIZES = {"uneven_last_batch": (7, 4), "uneven_first_batch": (5, 5), "empty_replica": (5, 4)}
CASES = {name: list(SIZES) for name in RATES} | {"registered mlp": ["uneven_last_batch"]}


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


def views_of_noise(images: int, batch: int, registered: bool) -> tf.data.Dataset:
    """Returns pairs of random images, or triples, in batches over all replicas."""
    generator = np.random.default_rng(0)
    pixels = (generator.random((2, images, *SHAPE)) > 0.5).astype(np.float32)
    transformation = RandomAffine().sample(images, tf.constant([0, 1]))
    data = (*pixels, transformation) if registered else tuple(pixels)
    return tf.data.Dataset.from_tensor_slices(data).batch(batch)


def calm_model(network: str) -> crvae_tf.CRVAE:
    """Returns a compiled and built model, with a penalty on the dense kernels of its encoder."""
    encoder, decoder = networks.build(network.split()[-1], SHAPE, latent_dim=3, width=WIDTHS[network])
    for layer in encoder.layers:
        if isinstance(layer, keras.layers.Dense):
            layer.kernel.regularizer = keras.regularizers.L2(PENALTY)
    if network.startswith("registered"):
        # XLA compiles for each replica and number of images; `test_poses.py` compares both.
        poses._compiled_upright = poses._compiled_resample = poses.resample
        encoder, decoder = poses.register(encoder, decoder, RandomAffine(), steps=1)
        # Bilinear interpolation has no derivative at a pixel, where a pose of 0 would take it.
        encoder.get_layer("registration").network.get_layer("mean").bias.assign([0.3, -0.2, 0.4, 0.1])
    model = crvae_tf.CRVAE(CalmVAE(encoder, decoder))
    model.compile(optimizer=keras.optimizers.SGD(RATES[network]))
    model.optimizer.build(model.trainable_variables)
    return model


def outcomes(strategy: tf.distribute.Strategy, cases, network: str = "mlp") -> dict:
    """Returns the weights and the history of one epoch with validation, by case."""
    with strategy.scope():
        model = calm_model(network)
    initial, found = model.get_weights(), {}
    for case in cases:
        model.set_weights(initial)
        data = views_of_noise(*SIZES[case], registered=bool(model.pose))
        history = model.fit(data, validation_data=data, verbose=0).history
        terms = {name: float(np.squeeze(values)) for name, values in history.items()}
        found[case] = {"weights": [w.tolist() for w in model.get_weights()], "terms": terms}
    return found


def bounds_of_one_image(strategy: tf.distribute.Strategy) -> list:
    """Returns the bounds that each replica finds for the same image, in a training and a test step."""
    with strategy.scope():
        model = crvae_tf.VAE(*networks.build("mlp", SHAPE, latent_dim=3, width=0.05))
        model.compile(optimizer=keras.optimizers.SGD(RATES["mlp"]))
        model.optimizer.build(model.trainable_variables)
    found = []
    for step in (model.train_step, model.test_step):
        bound = strategy.run(step, args=(tf.ones([1, *SHAPE]),))["bound"]
        found.append([float(each) for each in strategy.experimental_local_results(bound)])
        model.reset_metrics()
    return found


def shares(strategy: tf.distribute.Strategy) -> list:
    """Returns each pair of an epoch of the pipeline, and what this process' replicas get of it."""

    def batches():
        return datasets.training_batches(
            small_training.noise().train, small_training.BATCH, "dynamic", RandomAffine(), 3, range(1)
        )

    def listed(pair):
        return [part.numpy().round(4).tolist() for part in pair]

    found, distributed = [], strategy.experimental_distribute_dataset(batches())
    for pair, shared in zip(batches(), distributed, strict=True):
        local = zip(*map(strategy.experimental_local_results, shared), strict=True)
        found.append([listed(pair), [listed(share) for share in local]])
    return found


def figures(strategy: tf.distribute.Strategy) -> dict:
    """Returns what `crvae_tf.evaluate` does, in batches of which the last is short."""
    with strategy.scope():
        model = small_training.new_model()
    data = small_training.noise()
    views = RandomAffine(), RandomAffine(4.0, 30.0, 0.25)
    return crvae_tf.evaluate(model, data, "dynamic", *views, nll_samples=45, batch_size=19)


def calm_training(strategy: tf.distribute.Strategy, directory: str, later_seconds=lambda: 0.0) -> dict:
    """Returns the weights, the metrics and the checkpoints of a `small_training` without noise."""
    with strategies.run_of(strategy, directory) as run, strategy.scope():
        model, found = small_training.new_model(base=CalmVAE), {}
        try:
            _, found["lines"] = small_training.train(
                run, small_training.noise(), model, later_seconds=later_seconds
            )
        except Interrupted as interrupted:
            found["signal"] = interrupted.signal
        found["weights"] = [w.tolist() for w in model.get_weights()]
        found["kept"] = sorted(path.name for path in run.checkpoints.glob("*.index"))
    return found


def several_steps(strategy: tf.distribute.Strategy, directory: str) -> int:
    """Returns how many epochs are trained where several steps at a time are asked for."""
    with strategy.scope():
        options = {"epochs": 1, "steps_per_execution": 5}
        return len(small_training.train(directory, small_training.noise(), **options)[1])


def two_replicas() -> tf.distribute.Strategy:
    """Returns a strategy on two parts of the CPU."""
    (cpu,) = tf.config.list_physical_devices("CPU")
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])


def replicas(folder: str) -> dict:
    """Returns everything on one and on two replicas, by the number of replicas."""
    two = two_replicas()
    results = {
        number: {network: outcomes(strategy, cases, network) for network, cases in CASES.items()}
        | {"figures": figures(strategy)}
        for number, strategy in (("1", strategies.make("none")), ("2", two))
    }
    return results | {
        "bounds_of_one_image": bounds_of_one_image(two),
        "shares": shares(two),
        "several_steps": several_steps(two, f"{folder}/several"),
    }


def worker(folder: str) -> dict:
    """Returns what this worker of several trains; the second is told to stop after eight steps."""
    strategy = strategies.make("multi_worker")

    def terminate():
        if not strategies.is_chief(strategy):
            os.kill(os.getpid(), signal.SIGTERM)
        return 0.0

    return outcomes(strategy, ["uneven_last_batch"]) | {
        "shares": shares(strategy),
        "stopped": calm_training(strategy, f"{folder}/two", terminate),
        "resumed": calm_training(strategy, f"{folder}/two"),
    }


if __name__ == "__main__":
    print(json.dumps({"replicas": replicas, "worker": worker}[sys.argv[1]](sys.argv[2])))
