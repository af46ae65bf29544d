"""Our Adam against Keras' own: the same numbers, names and checkpoints."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from crvae_tf.training.fit import Adam

STEPS = 20


def weights_after(optimizer, gradients):
    """Two variables after a step for each of `gradients`, and what the optimizer keeps."""
    variables = [keras.Variable(np.linspace(-1.0, 1.0, n), name=f"v{n}") for n in (3, 500)]
    optimizer.build(variables)
    step = tf.function(lambda a, b: optimizer.apply([a, b], variables))
    for pair in gradients:
        step(*map(tf.constant, pair))
    return [v.numpy() for v in (*variables, *optimizer.variables)]


@pytest.fixture(scope="module")
def gradients():
    generator = np.random.default_rng(0)
    # From tiny to huge, and a step without any.
    sizes = [0.0, *10.0 ** np.linspace(-6.0, 3.0, STEPS - 1)]
    return [
        tuple(size * generator.standard_normal(n).astype(np.float32) for n in (3, 500))
        for size in sizes
    ]


@pytest.mark.parametrize("options", [{}, {"global_clipnorm": 1.0}, {"beta_1": 0.5, "epsilon": 1e-3}])
def test_the_steps_are_those_of_keras(gradients, options):
    ours = weights_after(Adam(1e-2, name="adam", **options), gradients)
    theirs = weights_after(keras.optimizers.Adam(1e-2, name="adam", **options), gradients)
    assert abs(theirs[0] - np.linspace(-1.0, 1.0, 3)).min() > 1e-2  # They went somewhere.
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_the_rate_can_be_set_between_steps(gradients):
    still, moved = Adam(1e-2, name="adam"), Adam(1e-2, name="adam")
    still.learning_rate = 0.0
    assert (weights_after(still, gradients)[0] == np.linspace(-1.0, 1.0, 3).astype(np.float32)).all()
    assert (weights_after(moved, gradients)[0] != np.linspace(-1.0, 1.0, 3).astype(np.float32)).all()
