"""The benchmarks measure what they say: PyTorch's model is ours, a lowered step trains as ours does."""

import doctest

import numpy as np
import pytest
import tensorflow as tf

import crvae_tf
from benchmarks import lower_step, measurement, train_step
from benchmarks.measurement import Figure
from crvae_tf import networks, randomness


@pytest.mark.parametrize("module", [lower_step, train_step])
def test_the_examples_of_the_benchmarks_hold(module):
    found = doctest.testmod(module)
    assert found.attempted > found.failed == 0


def test_a_table_has_medians_spreads_and_ratios_by_turn_to_the_first_of_a_case():
    figures = [
        Figure("a", "first", "images/s", [1000.0, 4000.0, 2000.0]),
        Figure("a", "second", "images/s", [2000.0, 2000.0, 3000.0]),
        Figure("b", "third", "images/s", [0.5]),
    ]
    numbers = measurement.table(figures).iloc[:, 3:].values.tolist()
    assert numbers == [[2000, 1000, 4000, 1], [2000, 2000, 3000, 1.5], [0.5, 0.5, 0.5, 1]]


def test_contestants_take_turns():
    order = []
    measurement.by_turns({name: lambda name=name: order.append(name) for name in "ab"}, repeats=2)
    assert order == ["a", "b", "a", "b"]


def our_terms(model, pair, key):
    """Our loss, its gradients, and the noise that was drawn for the images and their views."""
    posterior = model.posterior(np.concatenate(pair), training=True)
    noise = (posterior.sample(seed=key) - posterior.mean()) / posterior.stddev()
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(model.terms(pair, key, training=True)["loss"])
    return float(loss), tape.gradient(loss, model.trainable_variables), noise


def take_weights(torch, model, weights):
    """Copies Keras' trainable weights to a model of PyTorch, in their order."""
    for parameter, weight in zip(model.parameters(), weights, strict=True):
        axes = {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}[len(weight.shape)]
        parameter.data = torch.from_numpy(np.ascontiguousarray(weight.numpy().transpose(axes)))


@pytest.mark.parametrize(("network", "width"), [("mlp", 0.1), ("wae", 0.05)])
def test_the_pytorch_model_has_our_loss_and_gradients_on_the_same_weights_and_noise(network, width):
    torch = pytest.importorskip("torch")
    from benchmarks import pytorch_model

    pair = tuple(np.random.default_rng(0).integers(0, 2, [2, 5, 28, 28, 1]).astype(np.float32))
    model = crvae_tf.CRVAE(crvae_tf.VAE(*networks.build(network, (28, 28, 1), 7, width)))
    loss, gradients, noise = our_terms(model, pair, randomness.key(3))
    other = pytorch_model.CRVAE(network, width, latent_dim=7)
    base = model.base
    take_weights(torch, other, base.encoder.trainable_variables + base.decoder.trainable_variables)
    images, views = (torch.from_numpy(part.transpose(0, 3, 1, 2)) for part in pair)
    their_loss = other(images, views, torch.from_numpy(noise.numpy()))
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
    from benchmarks import run_step

    jax.config.update("jax_enable_x64", True)
    losses = lower_step.lower(train_step.Case("mlp", 0.1, 8), tmp_path)
    assert len(set(losses)) == len(losses)
    step = run_step.Step(tmp_path)
    np.testing.assert_allclose([float(step()) for _ in losses], losses, rtol=1e-5)
