"""From options to objects: data, model and the files of a run. No mathematics."""

import dataclasses
import functools
import os
import platform
import time
from importlib import metadata
from typing import Any

import keras
import numpy as np
from absl import flags

import crvae_tf
from crvae_tf import datasets, networks, poses
from crvae_tf.datasets import ImageData
from crvae_tf.errors import InputError
from crvae_tf.evaluation import embeddings, metrics
from crvae_tf.evaluation import evaluate as evaluation
from crvae_tf.runs import drawing
from crvae_tf.runs.run import Run, commit, hardware, load_weights
from crvae_tf.training import fit as training
from launch.command import ProgressBar, say
from launch.options import PLACES, Options, command_line, resolve_evaluation

_PACKAGES = (
    *("tensorflow", "keras", "tensorflow-probability", "tensorflow-datasets", "keras-cv"),
    *("numpy", "scikit-learn"),
)
_PLANE_IMAGES = 40
_ROW_IMAGES = 16
_SAMPLES = 128
_REST_SECONDS = 20.0
"""What a small network needs for pictures, exports and probes."""

_load = functools.lru_cache(maxsize=1)(datasets.load)  # Runs in a row often share their data.


def load_data(options: Options) -> ImageData:
    """Returns the data set that the options name; its test set is the split to evaluate on."""
    shape = options.image_size, options.channels
    cut = options.validation_images, options.invert, options.test_fraction
    data = _load(options.dataset, options.data_dir, *shape, *cut)
    if data.test.num_images < 2:
        raise InputError("dataset", "images of which two or more are test images", options.dataset)
    if options.eval_split == "test":
        return data
    if data.validation is None or data.validation.num_images < 2:
        expected = "at least 2 to evaluate on them, or a folder with 2 or more below validation/"
        raise InputError("validation_images", expected, options.validation_images)
    return dataclasses.replace(data, test=data.validation)


def config(options: Options, data: ImageData) -> dict[str, Any]:
    """Returns the contents of `config.json`."""
    versions = {name: metadata.version(name) for name in _PACKAGES}
    versions |= {"crvae_tf": crvae_tf.__version__, "python": platform.python_version()}
    return options.to_config() | {"data_fingerprint": data.fingerprint, "versions": versions}


def make_model(options: Options, data: ImageData) -> keras.Model:
    """Returns the model that the options describe, with its initial weights."""
    base_model, own = {
        "vae": (crvae_tf.VAE, {}),
        "iwae": (crvae_tf.IWAE, {"importance_samples": options.importance_samples}),
        "beta_vae": (crvae_tf.BetaVAE, {"beta": options.beta}),
    }[options.model]
    common = {name: getattr(options, name) for name in ("seed", "likelihood", "pixel_stddev")}
    base = base_model(*make_networks(options, data), **common, **own)
    if not options.lambda_:
        return base
    return crvae_tf.CRVAE(base, options.lambda_, options.eta, options.kl_direction)


def make_networks(options: Options, data: ImageData) -> tuple[keras.Model, keras.Model]:
    """Returns the encoder and the decoder that the options describe."""
    keras.mixed_precision.set_global_policy(options.precision)
    of_kind, size = (options.network, data.preprocessing.image_shape), (options.width, options.seed)
    if options.pose == "none":
        return networks.build(*of_kind, options.latent_dim, *size)
    moves = transformation(options)
    pose = poses.Pose.of(moves)
    pair = networks.build(*of_kind, options.latent_dim - pose.dim, *size)
    return poses.register(*pair, moves, options.pose_steps, poses.network(*of_kind, pose, *size))


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
    counts = ", ".join(f"{part.num_images:,} {name}" for name, part in parts.items() if part)
    shape, classes = "x".join(map(str, data.preprocessing.image_shape)), data.train.num_classes or "no"
    say(f"data: {data.name}, {counts} images, {shape}, {options.likelihood}, {classes} classes")
    pose = f" ({model.pose.dim} of pose)" if model.pose else ""
    size = f"{options.latent_dim} latent dimensions{pose}, {model.count_params():,} parameters"
    say(f"model: {options.method}, eta {options.eta:g}, network {options.network}, {size}")
    done = len(Run(options.output_dir).read_metrics())
    say(f"run: {options.output_dir}, {done} of {options.epochs} epochs trained")


def train(options: Options, model: keras.Model, data: ImageData, run: Run) -> None:
    """Trains the model, from its last checkpoint if there is one."""
    images = data.test.up_to(options.eval_images)

    def later_seconds():
        return _REST_SECONDS + evaluation.estimate_seconds(model, images, options.nll_samples)

    training.train(model, data, run, training_settings(options, model), later_seconds)


def training_settings(options: Options, model: keras.Model) -> training.Settings:
    """Returns how a model is trained: a VAE by itself on images alone, all else on pairs."""
    fields = {field.name for field in dataclasses.fields(training.Settings)}
    settings = {name: value for name, value in options.to_config().items() if name in fields}
    settings["transformation"] = None if isinstance(model, crvae_tf.VAE) else transformation(options)
    settings["jit"] = {"auto": None, "on": True, "off": False}[options.jit]
    return training.Settings(**settings)


def evaluate(options: Options, model: keras.Model, data: ImageData, run: Run) -> None:
    """Evaluates the model, writes `evaluation.json` and `provenance.json`, and prints a table."""
    began = time.perf_counter()
    moves = transformation(options), test_transformation(options)
    size = options.nll_samples, options.eval_images
    with ProgressBar("evaluating", "images") as bar:
        found = crvae_tf.evaluate(model, data, options.binarization, *moves, *size, progress=bar)
    commands = run.read_json(run.provenance).get("commands", [])
    made = {
        "commands": list(dict.fromkeys([*commands, command_line()])),
        "commit": commit(),
        "hardware": hardware(),
        "training_seconds": sum(line.get("seconds", 0.0) for line in run.read_metrics()),
        "evaluation_seconds": time.perf_counter() - began,
    }
    run.write_json(run.provenance, made)
    shown = {name: v for name, v in options.to_config().items() if name not in PLACES}
    run.write_json(run.evaluation, {"config": shown} | found)
    print(metrics.as_text(found))


def export(options: Options, model: keras.Model, data: ImageData, run: Run) -> None:
    """Writes `encoder/` and `decoder/`, and removes conversions of an earlier encoder."""
    run.check_there()
    for file in filter(os.path.exists, run.converted.values()):
        file.unlink()
        say(f"removed: {file}, of the encoder before; launch.export --format makes it anew")
    crvae_tf.export_encoder(model, run.encoder, data.preprocessing, options.binarization)
    run.check_there()
    crvae_tf.export_decoder(model, run.decoder)


def draw_figures(options: Options, model: keras.Model, data: ImageData, run: Run) -> None:
    """Writes `figures/`."""
    run.check_there()
    run.figures.mkdir(exist_ok=True)
    rows = {}
    for name, view in {"test": None, "transformed test": test_transformation(options)}.items():
        images = drawing.sample_images(data, options.binarization, view, _ROW_IMAGES)
        rows[f"{name} images"] = images
        if model.pose:
            rows[f"{name} images, brought upright"] = drawing.upright(model, images)
        rows[f"reconstructions of the {name} images"] = drawing.reconstructions(model, images)
    samples = {"samples of the prior": drawing.samples(model, _SAMPLES, options.seed)}
    drawing.latent_planes(run.figures / "latent_plane.png", {"": latent_means(options, model, data)})
    drawing.image_rows(run.figures / "reconstructions.png", rows)
    drawing.image_rows(run.figures / "samples.png", samples)
    drawing.training_curves(run.figures / "training_curves.png", run.read_metrics())


def latent_means(
    options: Options, model: keras.Model, data: ImageData
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the embeddings of some test images and of their transformed views, for Figure 1."""
    embed = evaluation.Embedder(model).means
    limit, views = min(_PLANE_IMAGES, data.test.num_images), (None, test_transformation(options))
    batches = (datasets.evaluation_batches(data.test, limit, "none", view, limit) for view in views)
    return tuple(map(embed, batches))


def options_of(run: Run, data_dir: str | None, config: dict[str, Any] | None = None) -> Options:
    """Returns the options of a run, or of its `config`; run and data may have moved."""
    places = {"output_dir": str(run.directory)} | ({"data_dir": data_dir} if data_dir else {})
    return Options.from_config((config or run.read_config()) | places)


def invariance_curves(options: Options) -> embeddings.InvarianceCurves:
    """Returns how far a finished run's embeddings move; measures it unless that is done."""
    run = Run(options.output_dir)
    run.lock()
    if not run.invariance.exists():
        model, data = open_run(options)
        view = test_transformation(options)
        found = embeddings.measure_invariance(model, data, options.binarization, view)
        run.write_json(run.invariance, found)
    return run.read_json(run.invariance)


def finished_run() -> tuple[Run, Options]:
    """Returns the run that --output_dir names, and its options as the other flags change them."""
    run = Run(flags.FLAGS.output_dir)
    trained = run.read_config()
    run.lock()
    return run, resolve_evaluation(trained)


def open_run(options: Options) -> tuple[keras.Model, ImageData]:
    """Returns a finished run's model and data; raises InputError if it was trained on other data."""
    run, data = Run(options.output_dir), load_data(options)
    trained_on = run.read_config().get("data_fingerprint")
    if trained_on != data.fingerprint:
        expected = f"the run's training data, of the fingerprint {trained_on}"
        raise InputError("dataset", expected, f"{options.dataset}, of {data.fingerprint}")
    model = make_model(options, data)
    load_weights(model, run.weights)
    return model, data
