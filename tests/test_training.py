"""Training: what it writes, and that it goes on from where it stood."""

import dataclasses
import itertools
import json
import signal
import types
from pathlib import Path

import keras
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from crvae_tf import InputError
from crvae_tf.runs.run import Run, load_weights
from crvae_tf.training import callbacks
from tests.command_line import outcome_of_python
from tests.small_training import (
    EPOCHS,
    IMAGES,
    TIMINGS,
    assert_same_to_the_bit,
    assert_same_weights,
    new_model,
    train,
)

TERMS = ("loss", "bound", "view_bound", "consistency", "rate", "distortion")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return Run(tmp_path_factory.mktemp("whole"))


@pytest.fixture(scope="module")
def whole(run, noise):
    """The model, and what `train` returned, of a run that was never stopped."""
    return train(run, noise)


def test_each_epoch_has_a_line_with_every_term_and_its_validation(whole, run):
    held = [json.loads(line) for line in run.metrics.read_text().splitlines()]
    assert held == whole[1] == run.read_metrics()
    assert [line["epoch"] for line in held] == [1, 2, 3]
    names = {"epoch", *TERMS, *(f"val_{term}" for term in TERMS), "learning_rate", *TIMINGS}
    assert all(set(line) == names for line in held)
    rates = [1e-2 * 10 ** (-stage / 7) for stage in (0, 1, 1)]
    assert [line["learning_rate"] for line in held] == pytest.approx(rates)
    assert float(whole[0].optimizer.learning_rate) == pytest.approx(rates[-1])


def test_the_terms_of_a_line_add_up_to_equation_two(whole):
    """Each is a mean over the same images; eta is 0.1."""
    for line in whole[1]:
        for prefix in ("", "val_"):
            value = {term: line[prefix + term] for term in TERMS}
            objective = value["bound"] + value["view_bound"] - 0.1 * value["consistency"]
            assert value["loss"] == pytest.approx(-objective, rel=1e-5)
            assert value["bound"] == pytest.approx(-value["rate"] - value["distortion"], rel=1e-5)


def test_training_maximises_the_bound(trained):
    bounds = [line["bound"] for line in trained.run.read_metrics()]
    assert bounds == sorted(bounds)
    assert bounds[-1] > -543.0  # 784 fair coins cost 543 nats.


def test_two_runs_are_the_same_to_the_bit(whole, unbroken):
    assert_same_to_the_bit(whole, unbroken)


def checkpoints_of(folder, layers):
    """Of a model whose layers have one shape, so that only their number tells it from others."""
    model = keras.Sequential([keras.Input([16]), *(keras.layers.Dense(16) for _ in range(layers))])
    model.compile(keras.optimizers.Adam(), "mse")
    model.optimizer.build(model.trainable_variables)
    return callbacks.Checkpoints(model, Run(folder), 1, None, lambda: None, [])


@pytest.mark.parametrize(("kept", "wanted"), [(1, 2), (2, 1)])
def test_a_checkpoint_of_fewer_or_more_layers_is_refused(tmp_path, kept, wanted):
    checkpoints_of(tmp_path, kept).on_epoch_end(0)
    assert checkpoints_of(tmp_path, kept).restore() == 1
    with pytest.raises(InputError, match="expected a checkpoint of this model; received "):
        checkpoints_of(tmp_path, wanted).restore()


def test_the_index_of_a_checkpoint_is_there_when_all_of_it_is(tmp_path, monkeypatch):
    """A process that is killed while it writes leaves nothing that a run would go on from."""
    moved, replace = [], Path.replace
    monkeypatch.setattr(Path, "replace", lambda *names: moved.append(names) or replace(*names))
    checkpoints_of(tmp_path, 1).on_epoch_end(0)
    assert [part.suffix for part, _ in moved] == [".data-00000-of-00001", ".index"]
    assert all(part.name.startswith(".unfinished.") for part, _ in moved)
    (tmp_path / "checkpoints" / ".unfinished.ckpt-9.index").write_bytes(b"killed")
    Run(tmp_path).lock()
    assert not list(tmp_path.glob("checkpoints/.unfinished.*"))


def test_a_run_that_was_killed_ends_as_one_that_never_stopped(whole, noise, tmp_path):
    """It dies after its first epoch was kept, wherever in the second it then is."""
    run = Run(tmp_path / "run")
    program = "import sys; from tests.small_training import *; train_until_killed(sys.argv[1])"
    assert outcome_of_python("-c", program, str(run.directory)).code == -signal.SIGKILL
    assert not run.weights.exists()
    before = run.read_metrics()
    resumed = train(run, noise, new_model(weights_seed=5))  # Its own first weights do not matter.
    assert_same_to_the_bit(resumed, whole)
    assert resumed[1][0] == before[0]  # Its timings show that this epoch was not trained anew.
    assert run.read_metrics() == resumed[1]


def test_a_finished_run_is_not_trained_further(whole, run, noise):
    other, lines = train(run, noise, new_model(weights_seed=5))
    assert lines == whole[1]
    third = new_model(weights_seed=1)
    load_weights(third, run.weights)
    for model in (other, third):
        assert_same_weights(model, whole[0])


def test_an_epoch_has_as_many_pairs_of_an_image_as_that_has_views(noise, tmp_path):
    data = dataclasses.replace(noise, validation=None)
    model, _ = train(tmp_path, data, epochs=1, views_per_image=3)
    counts = {metric.name: int(metric.count) for metric in model.metrics}
    assert counts["consistency"] == 3 * IMAGES


def test_a_checkpoint_of_another_model_is_refused_in_one_line(whole, run, noise):
    kept, metrics = run.weights.read_bytes(), run.metrics.read_bytes()
    with pytest.raises(InputError, match="expected a checkpoint of this model; received ") as error:
        train(run, noise, new_model(latent_dim=2))
    assert "\n" not in str(error.value)
    assert run.weights.read_bytes() == kept
    assert run.metrics.read_bytes() == metrics


def test_tensorboard_shows_the_lines_of_the_metrics_and_pictures_of_the_last_epoch(whole, run):
    def events_of(folder, tag):
        events = EventAccumulator(str(run.tensorboard / folder), size_guidance={"tensors": 0})
        events.Reload()
        return events.Tensors(tag)

    for folder, prefix in (("train", ""), ("validation", "val_")):
        for term in TERMS:
            shown = events_of(folder, f"epoch_{term}")
            assert [event.step for event in shown] == [1, 2, 3]
            expected = [line[prefix + term] for line in whole[1]]
            values = [float(tf.make_ndarray(event.tensor_proto)) for event in shown]
            assert values == pytest.approx(expected, rel=1e-6)
    for tag in ("reconstructions", "samples"):
        (event,) = events_of("pictures", tag)
        assert event.step == EPOCHS
        picture = event.tensor_proto.string_val[2]
        assert tf.io.decode_png(picture).shape == (4 * 8, 16 * 8, 1)


def test_a_base_model_is_trained_without_views(noise, tmp_path):
    _, (line,) = train(tmp_path, noise, new_model().base, epochs=1, transformation=None)
    terms = ("loss", "bound", "rate", "distortion")
    assert set(line) == {"epoch", *terms, *(f"val_{term}" for term in terms), "learning_rate", *TIMINGS}
    assert line["loss"] == pytest.approx(-line["bound"], rel=1e-6)


def test_a_training_says_once_how_long_it_will_take_and_of_an_hour_what_is_quicker(log, monkeypatch):
    """Of two epochs of 200 steps; the first step traces for 20 s, and each later one takes 0.5 s."""
    clock = itertools.chain([0.0], itertools.count(20.0, 0.5))
    monkeypatch.setattr(callbacks, "time", types.SimpleNamespace(perf_counter=lambda: next(clock)))
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind: [])
    progress = callbacks.Progress(2, 200, lambda: 3600.0)
    progress.on_epoch_begin(0)
    for batch in range(200):
        progress.on_train_batch_end(batch, {"loss": 1.0})
    progress.on_epoch_end(0, {"loss": 1.0, "val_loss": 2.0})
    assert [record.getMessage() for record in log.records] == [
        "this run takes about 1:03:16 here: 0:03:16 to train at 0.5 s a step, 1:00:00 to evaluate",
        "without a GPU flagfiles/mnist_mlp.flags is quicker; digits.flags takes minutes",
        "epoch 1/2 step 82/200  loss 1.0  0:01:00, 0:02:39 left",
        "epoch 1/2  loss 1.0  val 2.0  0:02:00, 0:01:41 left",
    ]
