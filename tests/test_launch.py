"""The commands as users give them, on the digits and on prepared MNIST."""

import json
import re
import shutil
from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf

from crvae_tf import CRVAE, VAE, load_encoder, networks
from crvae_tf import __main__ as crvae
from crvae_tf.evaluation import embeddings
from crvae_tf.runs.run import Run, load_weights
from crvae_tf.studies import comparisons
from launch import evaluate, export, grid, options, report, train
from tests.command_line import TINY, assert_told, outcome_of, outcome_of_python

COMMANDS = {
    "train": (train.main, options.define_training),
    "evaluate": (evaluate.main, options.define_evaluation),
    "export": (export.main, export.define),
}
SPLIT_NAMES = {
    "num_images", "nll", "nll_stderr", "nll_samples", "elbo", "rate", "distortion", "active_units",
    "mutual_information_lower", "mutual_information_upper", "mutual_information_cap",
    "mutual_information_disjoint",
}  # fmt: skip


def launch(name, *arguments):
    return outcome_of(*COMMANDS[name], *arguments)


def drawn_in(folder):
    """The names of a folder's pictures, none of which is blank."""
    for path in folder.iterdir():
        assert len(np.unique(tf.io.decode_png(path.read_bytes()).numpy())) > 1
    return sorted(path.stem for path in folder.iterdir())


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The directory of a whole run on the digits, and what its command printed on either stream."""
    directory = tmp_path_factory.mktemp("finished") / "run"
    given = *TINY, "--validation_images=100", "--steps_per_execution=1"
    outcome = outcome_of_python("-m", "launch.train", *given, f"--output_dir={directory}")
    assert outcome.code == 0, outcome
    return directory, outcome.out, outcome.err


@pytest.mark.parametrize("name", crvae._COMMANDS)
def test_help_says_what_a_command_does_and_exits_as_a_success(name):
    outcome = outcome_of_python("-m", f"launch.{name}", "--help")
    assert (outcome.code, outcome.err) == (0, "")
    assert re.search(rf"python -m launch\.{name}\b", outcome.out)
    assert re.search(r"^(data|where|this command):\n  --\w+: ", outcome.out, re.MULTILINE)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--network=wae", "--image_size=30"], ("--image_size", "divisible by", "received 30x30")),
        (["--validation_images=5000"], ("--validation_images", "received 5000")),
        (["--eval_split=validation"], ("--validation_images must be at least 2", "received 0")),
    ],
)
def test_a_mistake_in_the_data_or_the_model_leaves_nothing_behind(tmp_path, arguments, expected):
    outcome = launch("train", *TINY, *arguments, f"--output_dir={tmp_path / 'run'}")
    assert_told(outcome, *expected)
    assert list(tmp_path.iterdir()) == []


def test_an_evaluation_asks_for_a_run_and_has_no_flag_that_would_change_the_model():
    assert_told(launch("evaluate"), "--output_dir must be the folder of a finished run; received none")
    outcome = launch("evaluate", "--output_dir=run", "--latent_dim=3")
    assert_told(outcome, "expected a flag that --help lists", "received --latent_dim=3")


def test_a_run_leaves_all_that_is_promised(finished):
    directory = finished[0]
    assert {path.name for path in directory.iterdir()} == {
        "config.json", "metrics.jsonl", "tensorboard", "checkpoints", "model.weights.h5",
        "evaluation.json", "provenance.json", "figures", "encoder", "decoder",
    }  # fmt: skip
    names = ["latent_plane", "reconstructions", "samples", "training_curves"]
    assert drawn_in(directory / "figures") == names


def test_an_evaluation_has_the_names_of_the_contract_and_finite_values(finished):
    result = json.loads((finished[0] / "evaluation.json").read_text())
    assert set(result) == {"config", "splits", "consistency", "probe"}
    assert set(result["splits"]) == {"test", "transformed_test"}
    for split in result["splits"].values():
        assert set(split) == SPLIT_NAMES  # Half the squared error is of Gaussian pixels alone.
        assert (split["num_images"], split["nll_samples"]) == (40, 5)
    assert set(result["consistency"]) == {"train_transform", "test_transform"}
    assert result["probe"].pop("num_train_images") == 1337
    assert set(result["probe"]) == {"clean", "train_transform", "test_transform"}
    assert all(set(view) == {"linear", "nearest_neighbours"} for view in result["probe"].values())
    assert result["config"]["nll_samples"] == 5
    assert not {"output_dir", "data_dir"} & set(result["config"])


def test_a_run_says_what_it_understood_how_far_it_is_and_what_came_of_it(finished):
    directory, out, err = finished
    counts = "1,337 training, 100 validation, 360 test"
    # What TensorFlow says when it is imported is not shown.
    assert err.startswith("digits: 1437 images of 28x28 pixels\n")
    assert f"data: digits, {counts} images, 28x28x1, bernoulli, 10 classes\nmodel: cr_vae, " in err
    assert f"run: {directory}, 0 of 1 epochs trained\n" in err
    assert re.search(r"^epoch 1/1  loss ", err, re.MULTILINE)
    assert max(map(len, out.splitlines())) <= 80
    lines = [line.split() for line in out.splitlines()]
    splits = json.loads((directory / "evaluation.json").read_text())["splits"].values()
    shown = " ".join(f"{split['nll']:.2f} ± {split['nll_stderr']:.2f}" for split in splits)
    assert f"NLL, K = 5 nats {shown}".split() in lines
    assert re.search(r"^A view's nearest image is its own for \d+ of 100 ", out, re.MULTILINE)


def test_a_run_is_evaluated_again_with_more_samples(finished, tmp_path):
    run = Run(shutil.copytree(finished[0], tmp_path / "run"))
    before = run.read_json(run.evaluation)
    outcome = launch("evaluate", f"--output_dir={run.directory}", "--nll_samples=30")
    assert outcome.code == 0
    assert "NLL, K = 30" in outcome.out
    after = run.read_json(run.evaluation)
    assert after["config"] == before["config"] | {"nll_samples": 30}
    for name, split in after["splits"].items():
        assert split["nll_samples"] == 30
        # More samples can only tighten the bound in expectation, and here do so by nats.
        assert split["nll"] < before["splits"][name]["nll"]
        changed = {key: split[key] for key in ("nll", "nll_stderr", "nll_samples")}
        assert split == pytest.approx(before["splits"][name] | changed, rel=1e-5)
    assert after["probe"] == before["probe"]


def test_a_run_is_exported_again_with_the_same_embeddings(finished, digits):
    directory = finished[0]
    images = next(digits.test.batches(5).as_numpy_iterator())[1] / np.float32(255.0)
    before = load_encoder(directory / "encoder")(images)
    shutil.rmtree(directory / "encoder")
    (directory / "encoder.onnx").touch()  # Of the encoder before.
    outcome = launch("export", f"--output_dir={directory}")
    assert outcome.code == 0
    assert f"removed: {directory}/encoder.onnx" in outcome.err
    assert not (directory / "encoder.onnx").exists()
    assert str(directory / "encoder") in outcome.err
    np.testing.assert_allclose(load_encoder(directory / "encoder")(images).mean, before.mean, atol=1e-6)


def test_a_study_and_a_report_show_how_far_embeddings_move(finished, tmp_path, monkeypatch):
    study = grid.Study("table_4", {"vae_aug": {}, "cr_vae": {}}, ("digits",), tmp_path, table=4)
    run = study.run("digits", "cr_vae", 0)
    shutil.copytree(finished[0], run.directory)
    monkeypatch.setattr(embeddings, "SIZES", 2)
    draw = mock.Mock(wraps=comparisons.invariance_curves)
    monkeypatch.setattr(comparisons, "invariance_curves", draw)
    grid.draw(study, None, with_curves=True)
    assert draw.call_args.args[2] == {"translation": 4.0, "rotation": 30.0, "scaling": 0.25}
    assert drawn_in(tmp_path / "figures" / "digits") == ["figure_1", "invariance"]
    curves = run.read_json(run.invariance)
    assert [len(curve) for curve in curves.values()] == [2, 2, 2]
    run.invariance.unlink()
    page = tmp_path / "report.html"
    given = (f"--runs={run.directory}", "--invariance", f"--output={page}")
    assert outcome_of(report.main, report.define, *given).code == 0
    assert run.read_json(run.invariance) == curves
    assert "retrieval at 1: rotation" in page.read_text()


@pytest.mark.slow
def test_the_encoder_of_a_run_in_mixed_precision_is_converted_in_float32(tmp_path, digits):
    given = (*TINY, "--precision=mixed_bfloat16", f"--output_dir={tmp_path}")
    assert launch("train", "--dataset=digits", *given).code == 0
    outcome = launch("export", f"--output_dir={tmp_path}", "--format=tflite")
    assert (outcome.code, outcome.err.splitlines()[-1]) == (0, f"encoder: {tmp_path}/encoder.tflite")
    images = next(digits.test.batches(5).as_numpy_iterator())[1] / np.float32(255.0)
    interpreter = tf.lite.Interpreter(str(tmp_path / "encoder.tflite"))
    converted = interpreter.get_signature_runner("serving_default")(images=images)["mean"]
    keras.mixed_precision.set_global_policy("float32")
    model = CRVAE(VAE(*networks.build("mlp", (28, 28, 1), 4, 0.1)))
    load_weights(model, tmp_path / "model.weights.h5")
    np.testing.assert_allclose(converted, model.posterior(images).mean(), atol=1e-5)
    served = load_encoder(tmp_path / "encoder")(images).mean
    np.testing.assert_allclose(converted, served, atol=0.05)


@pytest.mark.slow
def test_the_launcher_runs_on_prepared_mnist(shared_data_dir, tmp_path):
    """One step: all but 500 training images are held out, and few are evaluated."""
    outcome = launch(
        *("train", "--dataset=mnist", f"--data_dir={shared_data_dir}", *TINY, "--method=vae"),
        *("--validation_images=59500", "--batch_size=500", f"--output_dir={tmp_path / 'run'}"),
    )
    assert outcome.code == 0, outcome.err
    run = Run(tmp_path / "run")
    (line,) = run.read_metrics()
    # 784 fair coins cost 543 nats, which an untrained decoder is near.
    assert line["bound"] == pytest.approx(-543.0, abs=15.0)
    assert line["val_bound"] > line["bound"]
    result = run.read_json(run.evaluation)
    assert result["splits"]["test"]["num_images"] == 40
    assert result["probe"]["num_train_images"] == 500
