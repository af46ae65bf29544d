"""The benchmarks measure what they say: PyTorch's model is ours, the figures are medians by turn."""

import doctest
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.tsl.profiler.protobuf import xplane_pb2

import crvae_tf
from benchmarks import measurement, operations, page, profile
from benchmarks.measurement import Figure, Goal
from crvae_tf import networks, randomness
from tests.conftest import ROOT


@pytest.mark.parametrize("module", [measurement, operations, profile])
def test_the_examples_of_the_benchmarks_hold(module):
    assert doctest.testmod(module).failed == 0


def test_a_table_has_medians_spreads_and_ratios_by_turn_to_the_first_of_a_case():
    figures = [
        Figure("a", "first", "images/s", [1000.0, 4000.0, 2000.0]),
        Figure("a", "second", "images/s", [2000.0, 2000.0, 3000.0]),
        Figure("b", "third", "images/s", [0.5]),
    ]
    lines = measurement.table(figures).splitlines()[2:]
    assert lines == [
        "| a | first | images/s | 2,000 | 1,000 to 4,000 |  |",
        "| a | second | images/s | 2,000 | 2,000 to 3,000 | 1.50 |",
        "| b | third | images/s | 0.5 | 0.5 to 0.5 |  |",
    ]


@pytest.mark.parametrize(
    ("goal", "is_met"),
    [
        (Goal("a", 2.0, 2.0), True),
        (Goal("a", 2.0, 1.9), False),
        (Goal("a", 3.0, 3.1, at_least=False), False),
        (Goal("a", 3.0, 2.9, at_least=False), True),
    ],
)
def test_a_goal_is_met_on_its_own_side(goal, is_met):
    assert goal.is_met == is_met


def test_a_profile_knows_operations_from_what_surrounds_them():
    matrix = tf.random.stateless_normal([500, 500], [0, 0])
    product = tf.function(lambda: tf.linalg.matmul(matrix, matrix))
    product()
    times = profile.operation_times(lambda: product().numpy(), times=3)
    assert set(times) <= {"MatMul", "Identity", "Const"}
    assert times["MatMul"] > 0.0


def trace(*lines):
    """A profile of two planes, each with these lines of (what ran, picoseconds)."""
    names = sorted({name for line in lines for name, _ in line})
    space = xplane_pb2.XSpace()
    for first in (1, 11):
        numbers = {name: number for number, name in enumerate(names, first)}
        plane = space.planes.add()
        for name, number in numbers.items():
            plane.event_metadata[number].name = name
        for line in lines:
            events = [{"metadata_id": numbers[name], "duration_ps": time} for name, time in line]
            plane.lines.add(events=events)
    return space


def test_the_times_of_a_profile_are_the_sums_over_the_operations_of_a_kind():
    first = [("encoder/dense/MatMul:_MklMatMul", 3_000_000), ("KernelAndDeviceFunc::Run", 9_000_000)]
    second = [("decoder/MatMul:MatMul", 1_000_000), ("decoder/Tanh:Tanh", 500_000), ("idle", 7_000_000)]
    times = profile.times_by_kind(trace(first, second))
    assert times == pytest.approx({"MatMul": 8e-6, "Tanh": 1e-6}, rel=1e-9)


def test_the_shares_of_operations_are_of_their_sum_in_each_turn(monkeypatch):
    turns = iter([{"Tanh": 1.0, "MatMul": 3.95, "Const": 0.05}, {"MatMul": 1.0, "Tanh": 3.0}])
    monkeypatch.setattr(measurement, "times_for", lambda call, duration: 1)
    monkeypatch.setattr(profile, "operation_times", lambda call, times: next(turns))
    found = profile.shares("a step", lambda: None, repeats=2)
    assert [figure.name for figure in found] == ["MatMul", "Tanh"]
    assert found[0].values == pytest.approx([79.0, 25.0])
    assert found[1].values == pytest.approx([20.0, 75.0])


def test_contestants_take_turns():
    order = []
    measurement.by_turns({name: lambda name=name: order.append(name) for name in "ab"}, repeats=2)
    assert order == ["a", "b", "a", "b"]


def test_the_committed_page_is_what_the_command_writes(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert page.document(page.FOLDER) == Path(page.PAGE).read_text(encoding="utf-8")


def our_terms(model, pair, key):
    """Our loss, its gradients, and the noise that was drawn for an image and its view."""
    noise = []
    for images, place in zip(pair, (key, randomness.fold_in(key, 1)), strict=True):
        posterior = model.posterior(images, training=True)
        noise.append((posterior.sample(seed=place) - posterior.mean()) / posterior.stddev())
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(model.terms(pair, key, training=True)["loss"])
    return float(loss), tape.gradient(loss, model.trainable_variables), noise


@pytest.mark.parametrize(("network", "width"), [("mlp", 0.1), ("wae", 0.05)])
def test_the_pytorch_model_has_our_loss_and_gradients_on_the_same_weights_and_noise(network, width):
    torch = pytest.importorskip("torch")
    from benchmarks import pytorch_model

    pair = tuple(np.random.default_rng(0).integers(0, 2, [2, 5, 28, 28, 1]).astype(np.float32))
    model = crvae_tf.CRVAE(crvae_tf.VAE(*networks.build(network, (28, 28, 1), 7, width)))
    loss, gradients, noise = our_terms(model, pair, randomness.key(3))
    other = pytorch_model.CRVAE(network, width, latent_dim=7)
    pytorch_model.take_weights(other, model.base.encoder, model.base.decoder)
    images, views = (torch.from_numpy(part.transpose(0, 3, 1, 2)) for part in pair)
    their_loss = other(images, views, *(torch.from_numpy(part.numpy()) for part in noise))
    their_loss.backward()
    assert their_loss.item() == pytest.approx(loss, rel=1e-5)
    for parameter, gradient in zip(other.parameters(), gradients, strict=True):
        theirs, ours = parameter.grad.norm().item(), float(tf.norm(gradient))
        assert theirs == pytest.approx(ours, rel=1e-3, abs=1e-4)


def test_the_pytorch_transformation_is_ours():
    torch = pytest.importorskip("torch")
    from benchmarks import pytorch_model

    images = np.random.default_rng(0).random([4, 28, 28, 1], np.float32)
    transformation = crvae_tf.RandomAffine(translation=2, rotation=15, scaling=0.1)
    drawn = transformation.sample(4, randomness.key(0))
    ours = transformation.augment_images(tf.constant(images), drawn)
    theirs = pytorch_model.transformed(
        torch.from_numpy(images.transpose(0, 3, 1, 2)),
        *(torch.from_numpy(part.numpy()) for part in drawn),
    )
    np.testing.assert_allclose(theirs.numpy().transpose(0, 2, 3, 1), ours, atol=1e-4)


def test_a_lowered_step_trains_under_jax_as_under_tensorflow(tmp_path):
    jax = pytest.importorskip("jax")
    from benchmarks import lower_step, run_step
    from benchmarks.train_step import Case

    jax.config.update("jax_enable_x64", True)
    losses = lower_step.lower(Case("mlp", 0.1, 8, "float32"), tmp_path)
    assert len(set(losses)) == len(losses)
    step = run_step.Step(tmp_path)
    np.testing.assert_allclose([float(step()) for _ in losses], losses, rtol=1e-5)
