"""Training: what it writes, and that it goes on from where it stood."""

import dataclasses
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from crvae_tf import CRVAE, VAE, InputError, RandomAffine, datasets, networks
from crvae_tf.datasets import ArrayImages, ImageData
from crvae_tf.runs import drawing, weights
from crvae_tf.runs.run import Run
from crvae_tf.training import callbacks
from crvae_tf.training import fit as training
from crvae_tf.training.checkpoints import Checkpoints
from tests.conftest import ROOT
from tests.small_training import TIMINGS, assert_same_to_the_bit, assert_same_weights

EPOCHS = 3
TERMS = ("loss", "bound", "view_bound", "consistency", "rate", "distortion")


def some_digits():
    """300 images to train on (5 steps of 64, the last of 44), 50 to validate on, 20 to test on."""
    digits = datasets.load("digits")
    _, images, labels = next(digits.train.batches(370).as_numpy_iterator())
    parts = [ArrayImages(images[a:b], labels[a:b]) for a, b in ((0, 300), (300, 350), (350, 370))]
    train, validation, test = parts
    return ImageData("digits", train, test, validation, digits.preprocessing, "")


def new_model(latent_dim=3, width=0.1, regularised=True, weights_seed=0):
    base = VAE(*networks.build("mlp", (28, 28, 1), latent_dim, width, weights_seed))
    return CRVAE(base) if regularised else base


def train(model, run, data, epochs=EPOCHS, seed=0, **options):
    return training.train(
        model,
        data,
        run,
        binarization="dynamic",
        transformation=RandomAffine() if isinstance(model, CRVAE) else None,
        epochs=epochs,
        batch_size=64,
        learning_rate=1e-3,
        seed=seed,
        verbose=0,
        **options,
    )


def train_until_killed(directory):
    """Trains in a process that kills itself as soon as the first epoch is kept."""
    run = Run(directory)

    def watch():
        while not list(run.checkpoints.glob("ckpt-*.index")):
            time.sleep(0.001)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()
    train(new_model(), run, some_digits())


@pytest.fixture(scope="module")
def data():
    return some_digits()


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """(model, run, what `train` returned) of a run that was never stopped."""
    run, model = Run(tmp_path_factory.mktemp("whole")), new_model()
    return model, run, train(model, run, data)


def test_each_epoch_has_a_line_with_every_term_and_its_validation(whole):
    _, run, lines = whole
    held = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    assert held == lines == run.read_metrics()
    assert [line["epoch"] for line in held] == [1, 2, 3]
    validation = {f"val_{term}" for term in TERMS}
    names = {"epoch", *TERMS, *validation, *TIMINGS}
    assert all(set(line) == names for line in held)


def test_the_terms_of_a_line_add_up_to_equation_two(whole):
    """Each is a mean over the same images; eta is 0.1."""
    for line in whole[2]:
        for prefix in ("", "val_"):
            value = {term: line[prefix + term] for term in TERMS}
            objective = value["bound"] + value["view_bound"] - 0.1 * value["consistency"]
            assert value["loss"] == pytest.approx(-objective, rel=1e-5)
            assert value["bound"] == pytest.approx(-value["rate"] - value["distortion"], rel=1e-5)


def test_training_maximises_the_bound(whole):
    bounds = [line["bound"] for line in whole[2]]
    assert bounds == sorted(bounds)
    # 784 fair coins cost 543 nats.
    assert min(bounds[-1], whole[2][-1]["val_bound"]) > -543.0


def test_the_weights_of_a_run_are_those_of_the_model(whole):
    model, run, _ = whole
    other = new_model(weights_seed=1)
    weights.load(other, run.weights)
    assert_same_weights(other, model)


def test_two_runs_are_the_same_to_the_bit(whole, data, tmp_path):
    model = new_model()
    lines = train(model, Run(tmp_path), data)
    assert_same_to_the_bit((model, lines), (whole[0], whole[2]))


def test_the_index_of_a_checkpoint_is_there_when_all_of_it_is(data, tmp_path, monkeypatch):
    """A process that is killed while it writes leaves nothing that a run would go on from."""
    moved, replace = [], Path.replace
    monkeypatch.setattr(Path, "replace", lambda *names: moved.append(names) or replace(*names))
    run = Run(tmp_path)
    train(new_model(), run, data, epochs=1)
    assert [part.suffix for part, _ in moved] == [".data-00000-of-00001", ".index"]
    assert all(part.name.startswith(".unfinished.") for part, _ in moved)
    (run.checkpoints / ".unfinished.ckpt-9.index").write_bytes(b"killed")
    Run(tmp_path).lock()
    assert not list(run.checkpoints.glob(".unfinished.*"))


def test_a_run_that_was_killed_ends_as_one_that_never_stopped(whole, data, tmp_path):
    """It dies after its first epoch was kept, wherever in the second it then is."""
    model, _, expected = whole
    run = Run(tmp_path / "run")
    program = f"from tests.test_training import *; train_until_killed({str(run.directory)!r})"
    process = subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=False)
    assert process.returncode == -signal.SIGKILL
    assert not run.weights.exists()
    before = run.read_metrics()
    resumed = new_model(weights_seed=5)  # Its own first weights do not matter.
    lines = train(resumed, run, data)
    assert_same_to_the_bit((resumed, lines), (model, expected))
    assert lines[0] == before[0]  # Its timings show that this epoch was not trained anew.
    assert run.read_metrics() == lines


def test_a_finished_run_is_not_trained_further(whole, data):
    model, run, lines = whole
    other = new_model(weights_seed=5)
    assert train(other, run, data) == lines
    assert_same_weights(other, model)


def test_an_epoch_has_as_many_pairs_of_an_image_as_that_has_views(data, tmp_path):
    model = new_model()
    run = Run(tmp_path)
    train(model, run, dataclasses.replace(data, validation=None), epochs=1, views_per_image=3)
    assert {metric.name: int(metric.count) for metric in model.metrics}["consistency"] == 900


@pytest.mark.parametrize(
    "other",
    [{"latent_dim": 2}, {"width": 0.2}],
    ids=["other latents", "other layers"],
)
def test_a_checkpoint_of_another_model_is_refused_in_one_line(whole, data, other):
    _, run, _ = whole
    kept, metrics = run.weights.read_bytes(), run.metrics.read_bytes()
    with pytest.raises(InputError, match="expected a checkpoint of this model; received ") as error:
        train(new_model(**other), run, data)
    assert "\n" not in str(error.value)
    assert run.weights.read_bytes() == kept
    assert run.metrics.read_bytes() == metrics


def model_of_depth(layers):
    """A VAE whose layers all have the same shape, so that only their number tells two apart."""
    images, latents = keras.Input((4, 4, 1)), keras.Input((16,))
    x = keras.layers.Flatten()(images)
    encoder = keras.Model(images, (keras.layers.Dense(16)(x), keras.layers.Dense(16)(x)))
    x = latents
    for _ in range(layers):
        x = keras.layers.Dense(16)(x)
    model = VAE(encoder, keras.Model(latents, keras.layers.Reshape((4, 4, 1))(x)))
    model.compile(optimizer=keras.optimizers.Adam())
    model.optimizer.build(model.trainable_variables)
    return model


@pytest.mark.parametrize(("kept", "wanted"), [(1, 2), (2, 1)])
def test_a_checkpoint_of_fewer_or_more_layers_is_refused_in_one_line(tmp_path, kept, wanted):
    Checkpoints(model_of_depth(kept), Run(tmp_path), 1).on_epoch_end(0)
    assert Checkpoints(model_of_depth(kept), Run(tmp_path), 1).restore() == 1
    with pytest.raises(InputError, match="expected a checkpoint of this model; received ") as error:
        Checkpoints(model_of_depth(wanted), Run(tmp_path), 1).restore()
    assert "\n" not in str(error.value)


def events_of(folder):
    events = EventAccumulator(str(folder), size_guidance={"tensors": 0})
    events.Reload()
    return events


def test_tensorboard_shows_the_lines_of_the_metrics(whole):
    _, run, lines = whole
    for folder, prefix in (("train", ""), ("validation", "val_")):
        events = events_of(run.tensorboard / folder)
        for term in TERMS:
            shown = [
                (event.step, float(tf.make_ndarray(event.tensor_proto)))
                for event in events.Tensors(f"epoch_{term}")
            ]
            assert [step for step, _ in shown] == [1, 2, 3]
            expected = [line[prefix + term] for line in lines]
            assert [value for _, value in shown] == pytest.approx(expected, rel=1e-6)


def test_tensorboard_shows_pictures_of_the_last_epoch(whole):
    events = events_of(whole[1].tensorboard / "pictures")
    assert set(events.Tags()["tensors"]) == {"reconstructions", "samples"}
    shapes = {"reconstructions": (4 * 28, 16 * 28, 1), "samples": (4 * 28, 16 * 28, 1)}
    for tag, shape in shapes.items():
        (event,) = events.Tensors(tag)
        assert event.step == EPOCHS
        width, height, picture = event.tensor_proto.string_val
        assert (int(height), int(width)) == shape[:2]
        assert tf.io.decode_png(picture).shape == shape


def test_a_base_model_is_trained_without_views(data, tmp_path):
    (line,) = train(new_model(regularised=False), Run(tmp_path), data, epochs=1)
    terms = ("loss", "bound", "rate", "distortion")
    validation = {f"val_{term}" for term in terms}
    assert set(line) == {"epoch", *terms, *validation, *TIMINGS}
    assert line["loss"] == pytest.approx(-line["bound"], rel=1e-6)


class Clock:
    """Stands for `time`, at so many seconds from call to call."""

    def __init__(self, seconds):
        self.seconds = seconds
        self.now = 0.0

    def perf_counter(self):
        self.now += self.seconds
        return self.now


@pytest.fixture
def estimate(caplog, monkeypatch):
    """What is said after the first steps of a training."""

    def say(seconds, steps, later=0.0):
        caplog.set_level(logging.INFO, "crvae_tf")
        # Whatever handlers other tests have left there: each message once.
        monkeypatch.setattr(logging.getLogger("crvae_tf"), "handlers", [])
        monkeypatch.setattr(logging.getLogger("crvae_tf"), "propagate", True)
        monkeypatch.setattr(callbacks, "time", Clock(seconds))
        callback = callbacks.TimeEstimate(steps, lambda: later)
        for batch in range(100):
            callback.on_train_batch_begin(batch)
            callback.on_train_batch_end(batch)
        return [record.getMessage().strip() for record in caplog.records]

    return say


def test_a_training_says_once_how_long_the_whole_run_will_take(estimate):
    (received,) = estimate(seconds=0.3, steps=1000, later=900.0)
    assert "about 20.0 minutes" in received
    assert "5.0 minutes to train at 0.3 s a step" in received
    assert "15.0 minutes to evaluate" in received


@pytest.mark.parametrize("later", [0.0, 3600.0])
def test_a_run_of_hours_names_flagfiles_that_are_quicker(estimate, monkeypatch, later):
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind=None: [])
    said, hint = estimate(seconds=3.6 if not later else 0.1, steps=50_000, later=later)
    assert "hours" in said
    named = [word for word in hint.replace(";", "").split() if ".flags" in word]
    assert named
    assert all((ROOT / name).exists() for name in named)


def test_samples_are_the_likelihoods_mean_at_draws_of_the_prior(whole):
    model = whole[0]
    drawn = drawing.samples(model, 2000, seed=0)
    assert drawn.shape == (2000, 28, 28, 1)
    z = np.random.default_rng(0).normal(size=(2000, 3)).astype(np.float32)
    expected = keras.ops.sigmoid(model.base.decoder(z)).numpy()
    # The deviation of a pixel's mean over 2,000 draws is at most 0.5 / sqrt(2000) = 0.011.
    np.testing.assert_allclose(drawn.mean(axis=0), expected.mean(axis=0), atol=0.05)
    assert drawn.std(axis=0).max() == pytest.approx(expected.std(axis=0).max(), rel=0.1)
