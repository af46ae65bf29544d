"""From options to objects: data, model and the files of a run. No mathematics."""

import dataclasses
import functools
import logging
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import crvae_tf
from crvae_tf import datasets, networks, poses
from crvae_tf.datasets import ImageData
from crvae_tf.errors import InputError
from crvae_tf.evaluation import evaluate as evaluation
from crvae_tf.evaluation import invariance
from crvae_tf.evaluation.evaluate import Embedder
from crvae_tf.runs import drawing, provenance, weights
from crvae_tf.runs.run import Run
from crvae_tf.serving import conversion
from crvae_tf.training import fit as training
from crvae_tf.training import strategies
from crvae_tf.training.schedules import burda_rate, cosine_rate
from launch import tables
from launch.options import PLACES, Options, command_line, given, resolve_evaluation

_PACKAGES = (
    "tensorflow",
    "keras",
    "tensorflow-probability",
    "tensorflow-datasets",
    "keras-cv",
    "numpy",
    "scikit-learn",
)
_PLANE_IMAGES = 40
_ROW_IMAGES = 16
_GRID_COLUMNS = 16

_load = functools.lru_cache(maxsize=1)(datasets.load)  # Runs in a row often share their data.


def load_data(options: Options) -> ImageData:
    """Returns the data set that the options name, with what to evaluate on in the test set's place."""
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
        return dataclasses.replace(data, test=data.validation)
    return data


def config(options: Options, data: ImageData) -> dict[str, Any]:
    """Returns what `config.json` holds."""
    versions = {name: metadata.version(name) for name in _PACKAGES}
    versions |= {"crvae_tf": crvae_tf.__version__, "python": platform.python_version()}
    return options.to_config() | {"data_fingerprint": data.fingerprint, "versions": versions}


def make_strategy(options: Options) -> tf.distribute.Strategy:
    """Returns the strategy that the options name, and leaves what is logged to the chief.

    See `strategies.make` for when it may be called.
    """
    strategy = strategies.make(options.strategy)
    if not strategies.is_chief(strategy):
        logging.getLogger("crvae_tf").setLevel(logging.WARNING)
    return strategy


def make_model(
    options: Options, data: ImageData, strategy: tf.distribute.Strategy | None = None
) -> keras.Model:
    """Returns the model that the options describe, with its weights as they begin."""
    with (strategy or tf.distribute.get_strategy()).scope():
        base = _base(options, *make_networks(options, data))
        if not options.lambda_:
            return base
        return crvae_tf.CRVAE(base, options.lambda_, options.eta, options.kl_direction)


def make_networks(options: Options, data: ImageData) -> tuple[keras.Model, keras.Model]:
    """Returns the encoder and the decoder that the options describe."""
    keras.mixed_precision.set_global_policy(options.precision)
    shape = data.preprocessing.image_shape
    if options.pose == "none":
        return networks.build(options.network, shape, options.latent_dim, options.width, options.seed)
    moves = transformation(options)
    pose = poses.Pose.of(moves)
    kind, width, seed = options.network, options.width, options.seed
    pair = networks.build(kind, shape, options.latent_dim - pose.dim, width, seed)
    pose_network = poses.network(kind, shape, pose, width, seed)
    return poses.register(*pair, moves, options.pose_steps, pose_network)


def _base(options: Options, encoder: keras.Model, decoder: keras.Model) -> crvae_tf.VAE:
    common = {
        "likelihood": options.likelihood,
        "pixel_stddev": options.pixel_stddev,
        "seed": options.seed,
    }
    if options.model == "iwae":
        samples = options.importance_samples
        return crvae_tf.IWAE(encoder, decoder, importance_samples=samples, **common)
    if options.model == "beta_vae":
        return crvae_tf.BetaVAE(encoder, decoder, beta=options.beta, **common)
    return crvae_tf.VAE(encoder, decoder, **common)


def transformation(options: Options) -> crvae_tf.RandomAffine:
    """Returns t(x~|x) of the training."""
    sizes = options.translation, options.rotation, options.scaling
    return crvae_tf.RandomAffine(*sizes, options.fill)


def test_transformation(options: Options) -> crvae_tf.RandomAffine:
    """Returns that of the transformed test set."""
    sizes = options.test_translation, options.test_rotation, options.test_scaling
    return crvae_tf.RandomAffine(*sizes, options.fill)


def train(options: Options, model: keras.Model, data: ImageData, run: Run) -> None:
    """Trains the model, from its last checkpoint if there is one."""
    regularised = isinstance(model, crvae_tf.CRVAE)
    evaluated = data.test.up_to(options.eval_images)
    training.train(
        model,
        data,
        run,
        binarization=options.binarization,
        transformation=transformation(options) if regularised else None,
        epochs=options.epochs,
        batch_size=options.batch_size,
        learning_rate=learning_rate(options),
        seed=options.seed,
        views_per_image=options.views_per_image,
        clip_norm=options.clip_norm,
        checkpoint_minutes=options.checkpoint_minutes,
        steps_per_execution=options.steps_per_execution or training.default_steps_per_execution(model),
        jit={"auto": None, "on": True, "off": False}[options.jit],
        verbose=_verbosity(model),
        later_seconds=lambda: evaluation.estimate_seconds(model, evaluated, options.nll_samples),
    )


def _verbosity(model: keras.Model) -> int | str:
    if not strategies.is_chief(strategies.of(model)):
        return 0
    return "auto" if sys.stdout.isatty() else 2


def learning_rate(options: Options) -> float | Callable[[int], float]:
    """Returns Adam's rate, or what gives it for an epoch, counted from 0."""
    if options.schedule == "constant":
        return options.learning_rate
    if options.schedule == "cosine":
        return lambda epoch: cosine_rate(epoch, options.learning_rate, options.epochs)
    return lambda epoch: burda_rate(epoch, options.learning_rate)


def evaluate(options: Options, model: keras.Model, data: ImageData, run: Run) -> None:
    """Evaluates the model, writes `evaluation.json` and prints it as a table.

    `provenance.json` gets where and by which code that was done, and how long the run took, less what
    of an epoch was done before the training was broken off in it.
    """
    began = time.perf_counter()
    bar = tables.ProgressBar("evaluating", "images")
    figures_of_model = crvae_tf.evaluate(
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
        "commands": [*commands, *({command_line()} - set(commands))],
        "commit": provenance.commit(),
        "hardware": provenance.hardware(),
        "training_seconds": sum(line.get("seconds", 0.0) for line in run.read_metrics()),
        "evaluation_seconds": time.perf_counter() - began,
    }
    run.write_json(run.provenance, made)
    shown = {name: v for name, v in options.to_config().items() if name not in PLACES}
    run.write_json(run.evaluation, {"config": shown} | figures_of_model)
    print(tables.evaluation(run.read_evaluation()))


def export(options: Options, model: keras.Model, data: ImageData, run: Run) -> None:
    """Writes `encoder/` and `decoder/`, and removes what the encoder before was converted to."""
    run.check_there()
    for file in run.converted.values():
        file.unlink(missing_ok=True)
    crvae_tf.export_encoder(model, run.encoder, data.preprocessing, options.binarization)
    crvae_tf.export_decoder(model, run.decoder)


def convert(options: Options, run: Run, file_format: str) -> Path:
    """Writes the run's encoder as TFLite or ONNX beside it, in float32, and returns where.

    Neither format has the operations of the other precisions.
    """
    path = run.converted[file_format]
    if options.precision == "float32":
        conversion.convert(run.encoder, path)
        return path
    model, data = open_run(dataclasses.replace(options, precision="float32"))
    with tempfile.TemporaryDirectory() as folder:
        encoder = Path(folder, "encoder")
        crvae_tf.export_encoder(model, encoder, data.preprocessing, options.binarization)
        conversion.convert(encoder, path)
    return path


def draw_figures(options: Options, model: keras.Model, data: ImageData, run: Run) -> None:
    """Writes `figures/`."""
    run.check_there()
    views = (("test images", None), ("transformed test images", test_transformation(options)))
    rows = {}
    for title, transform in views:
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
    embed = Embedder(model).means
    limit = min(_PLANE_IMAGES, data.test.num_images)

    def means(transform):
        return embed(datasets.evaluation_batches(data.test, limit, "none", transform, limit))

    return means(None), means(test_transformation(options))


def invariance_curves(
    options: Options, model: keras.Model, data: ImageData, run: Run
) -> invariance.InvarianceCurves:
    """Returns what `invariance.json` holds, and writes it where there is none yet."""
    if not run.invariance.exists():
        found = invariance.measure(model, data, options.binarization, test_transformation(options))
        run.write_json(run.invariance, found)
    return run.read_invariance()


def finished_run() -> tuple[Run, Options]:
    """Returns the run that --output_dir names, and its options as the other flags change them."""
    directory = given()["output_dir"]
    if directory is None:
        raise InputError("output_dir", "the folder of a finished run")
    run = Run(directory)
    run.read_config()
    run.lock()
    return run, resolve_evaluation(run.read_config() | {"output_dir": directory})


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
    model = make_model(options, data, strategies.local(options.strategy))
    weights.load(model, run.weights)
    return model, data


def say(message: str) -> None:
    """Prints a line for the person who watches."""
    print(message, file=sys.stderr, flush=True)
