"""From options to objects: data, model and the files of a run. No mathematics."""

import dataclasses
import functools
import platform
import sys
import time
from collections.abc import Callable
from importlib import metadata
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import crvae_tf
from crvae_tf import datasets, networks, poses
from crvae_tf.datasets import ImageData
from crvae_tf.errors import InputError
from crvae_tf.evaluation import evaluate as evaluation
from crvae_tf.runs import drawing, provenance, weights
from crvae_tf.runs.run import Run
from crvae_tf.training import fit as training
from crvae_tf.training import schedules
from launch import tables
from launch.options import PLACES, Options, command_line, given, resolve_evaluation

_FRAMEWORKS = ("tensorflow", "keras", "tensorflow-probability", "tensorflow-datasets", "keras-cv")
_PACKAGES = (*_FRAMEWORKS, "numpy", "scikit-learn")
_PLANE_IMAGES = 40
_ROW_IMAGES = 16
_GRID_COLUMNS = 16

_load = functools.lru_cache(maxsize=1)(datasets.load)  # Runs in a row often share their data.


def load_data(options: Options) -> ImageData:
    """Returns the data set that the options name; its test set is the split to evaluate on."""
    data = _load(
        options.dataset,
        options.data_dir,
        options.image_size,
        options.channels,
        options.validation_images,
        options.invert,
        options.test_fraction,
    )
    if data.test.num_images < 2:
        raise InputError("dataset", "images of which two or more are test images", options.dataset)
    if options.eval_split == "validation":
        if data.validation is None or data.validation.num_images < 2:
            expected = "at least 2 to evaluate on them, or a folder with 2 or more below validation/"
            raise InputError("validation_images", expected, options.validation_images)
        return dataclasses.replace(data, test=data.validation)
    return data


def config(options: Options, data: ImageData) -> dict[str, Any]:
    """Returns the contents of `config.json`."""
    versions = {name: metadata.version(name) for name in _PACKAGES}
    versions |= {"crvae_tf": crvae_tf.__version__, "python": platform.python_version()}
    return options.to_config() | {"data_fingerprint": data.fingerprint, "versions": versions}


def make_model(
    options: Options, data: ImageData, strategy: tf.distribute.Strategy | None = None
) -> keras.Model:
    """Returns the model that the options describe, with its initial weights."""
    with (strategy or tf.distribute.get_strategy()).scope():
        base = _base(options, *make_networks(options, data))
        if not options.lambda_:
            return base
        return crvae_tf.CRVAE(base, options.lambda_, options.eta, options.kl_direction)


def make_networks(options: Options, data: ImageData) -> tuple[keras.Model, keras.Model]:
    """Returns the encoder and the decoder that the options describe."""
    keras.mixed_precision.set_global_policy(options.precision)
    shape, kind = data.preprocessing.image_shape, options.network
    width, seed = options.width, options.seed
    if options.pose == "none":
        return networks.build(kind, shape, options.latent_dim, width, seed)
    moves = transformation(options)
    pose = poses.Pose.of(moves)
    pair = networks.build(kind, shape, options.latent_dim - pose.dim, width, seed)
    pose_network = poses.network(kind, shape, pose, width, seed)
    return poses.register(*pair, moves, options.pose_steps, pose_network)


def _base(options: Options, encoder: keras.Model, decoder: keras.Model) -> crvae_tf.VAE:
    makers = {
        "vae": crvae_tf.VAE,
        "iwae": functools.partial(crvae_tf.IWAE, importance_samples=options.importance_samples),
        "beta_vae": functools.partial(crvae_tf.BetaVAE, beta=options.beta),
    }
    return makers[options.model](
        encoder,
        decoder,
        likelihood=options.likelihood,
        pixel_stddev=options.pixel_stddev,
        seed=options.seed,
    )


def transformation(options: Options) -> crvae_tf.RandomAffine:
    """Returns t(x~|x) of the training."""
    return crvae_tf.RandomAffine(options.translation, options.rotation, options.scaling, options.fill)


def test_transformation(options: Options) -> crvae_tf.RandomAffine:
    """Returns the transformation of the transformed test set."""
    sizes = options.test_translation, options.test_rotation, options.test_scaling
    return crvae_tf.RandomAffine(*sizes, options.fill)


def introduce(options: Options, model: keras.Model, data: ImageData) -> None:
    """Says what the command understood: the data, the model, and where the run lives."""
    parts = {"training": data.train, "validation": data.validation, "test": data.test}
    counts = [f"{part.num_images:,} {name}" for name, part in parts.items() if part]
    shape = "x".join(map(str, data.preprocessing.image_shape))
    kind = f"{shape}, {options.likelihood}, {data.train.num_classes or 'no'} classes"
    say(f"data: {data.name}, {', '.join(counts)} images, {kind}")
    pose = f" ({model.pose.dim} of pose)" if model.pose else ""
    size = f"{options.latent_dim} latent dimensions{pose}, {model.count_params():,} parameters"
    say(f"model: {options.method}, eta {options.eta:g}, network {options.network}, {size}")
    done = len(Run(options.output_dir).read_metrics())
    say(f"run: {options.output_dir}, {done} of {options.epochs} epochs trained")


def train(options: Options, model: keras.Model, data: ImageData, run: Run) -> None:
    """Trains the model, from its last checkpoint if there is one."""
    settings = training_settings(options, model)
    evaluated = data.test.up_to(options.eval_images)

    def later_seconds():
        return evaluation.estimate_seconds(model, evaluated, options.nll_samples)

    training.train(model, data, run, settings, later_seconds)


def training_settings(options: Options, model: keras.Model) -> training.Settings:
    """Returns how a model is trained: a VAE by itself on images alone, all else on pairs."""
    alone = isinstance(model, crvae_tf.VAE)
    return training.Settings(
        binarization=options.binarization,
        transformation=None if alone else transformation(options),
        epochs=options.epochs,
        batch_size=options.batch_size,
        learning_rate=learning_rate(options),
        seed=options.seed,
        views_per_image=options.views_per_image,
        clip_norm=options.clip_norm,
        checkpoint_minutes=options.checkpoint_minutes,
        steps_per_execution=options.steps_per_execution or training.default_steps_per_execution(model),
        jit={"auto": None, "on": True, "off": False}[options.jit],
    )


def learning_rate(options: Options) -> float | Callable[[int], float]:
    """Returns Adam's rate, or a function that returns it for an epoch, counted from 0."""
    if options.schedule == "constant":
        return options.learning_rate
    if options.schedule == "cosine":
        return lambda epoch: schedules.cosine_rate(epoch, options.learning_rate, options.epochs)
    return lambda epoch: schedules.burda_rate(epoch, options.learning_rate)


def evaluate(options: Options, model: keras.Model, data: ImageData, run: Run) -> None:
    """Evaluates the model, writes `evaluation.json` and prints it as a table.

    `provenance.json` records the hardware, the commit and how long the run took, without the part of an
    epoch before an interruption.
    """
    began = time.perf_counter()
    bar = tables.ProgressBar("evaluating", "images")
    found = crvae_tf.evaluate(
        model,
        data,
        options.binarization,
        transformation(options),
        test_transformation(options),
        options.nll_samples,
        options.eval_images,
        progress=bar,
    )
    bar.close()
    commands = run.read_provenance().get("commands", [])
    made = {
        "commands": list(dict.fromkeys([*commands, command_line()])),
        "commit": provenance.commit(),
        "hardware": provenance.hardware(),
        "training_seconds": sum(line.get("seconds", 0.0) for line in run.read_metrics()),
        "evaluation_seconds": time.perf_counter() - began,
    }
    run.write_json(run.provenance, made)
    shown = {name: v for name, v in options.to_config().items() if name not in PLACES}
    run.write_json(run.evaluation, {"config": shown} | found)
    print(tables.evaluation(found))


def export(options: Options, model: keras.Model, data: ImageData, run: Run) -> None:
    """Writes `encoder/` and `decoder/`, and removes conversions of an earlier encoder."""
    run.check_there()
    for file in run.converted.values():
        file.unlink(missing_ok=True)
    crvae_tf.export_encoder(model, run.encoder, data.preprocessing, options.binarization)
    crvae_tf.export_decoder(model, run.decoder)


def draw_figures(options: Options, model: keras.Model, data: ImageData, run: Run) -> None:
    """Writes `figures/`."""
    run.check_there()
    views = {"test images": None, "transformed test images": test_transformation(options)}
    rows = {}
    for title, transform in views.items():
        images = drawing.first_images(data, options.binarization, transform, _ROW_IMAGES)
        rows[title] = images
        if model.pose:
            rows[f"{title}, brought upright"] = drawing.upright(model, images)
        rows[f"reconstructions of the {title}"] = drawing.reconstructions(model, images)
    drawing.latent_planes(run.figures / "latent_plane.png", {"": latent_means(options, model, data)})
    drawing.image_rows(run.figures / "reconstructions.png", rows)
    samples = drawing.samples(model, _GRID_COLUMNS * _GRID_COLUMNS // 2, options.seed)
    drawing.image_grid(run.figures / "samples.png", samples, _GRID_COLUMNS)
    drawing.training_curves(run.figures / "training_curves.png", run.read_metrics())


def latent_means(
    options: Options, model: keras.Model, data: ImageData
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the embeddings of some test images and of their transformed views, for Figure 1."""
    embed = evaluation.Embedder(model).means
    limit = min(_PLANE_IMAGES, data.test.num_images)

    def means(transform):
        return embed(datasets.evaluation_batches(data.test, limit, "none", transform, limit))

    return means(None), means(test_transformation(options))


def invariance_curves(
    options: Options, model: keras.Model, data: ImageData, run: Run
) -> dict[str, list[dict[str, float | None]]]:
    """Returns the contents of `invariance.json`; measures and writes them if the run has none."""
    from crvae_tf.evaluation import embeddings

    if not run.invariance.exists():
        found = embeddings.measure_invariance(
            model, data, options.binarization, test_transformation(options)
        )
        run.write_json(run.invariance, found)
    return run.read_invariance()


def finished_run() -> tuple[Run, Options]:
    """Returns the run that --output_dir names, and its options as the other flags change them."""
    directory = given()["output_dir"]
    if directory is None:
        raise InputError("output_dir", "the folder of a finished run")
    run = Run(directory)
    trained = run.read_config()
    run.lock()
    return run, resolve_evaluation(trained | {"output_dir": directory})


def open_run(options: Options) -> tuple[keras.Model, ImageData]:
    """Returns the trained model of a finished run and its data.

    Raises:
      InputError: the data are not those that the run was trained on.
    """
    run, data = Run(options.output_dir), load_data(options)
    trained_on = run.read_config().get("data_fingerprint")
    if trained_on != data.fingerprint:
        expected = f"the run's training data, of the fingerprint {trained_on}"
        raise InputError("dataset", expected, f"{options.dataset}, of {data.fingerprint}")
    model = make_model(options, data)
    weights.load(model, run.weights)
    return model, data


def say(message: str) -> None:
    """Prints a line to standard error."""
    print(message, file=sys.stderr, flush=True)
