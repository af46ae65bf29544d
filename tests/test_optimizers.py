"""Our Adam against Keras' own, and how its rate falls."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from crvae_tf.training.fit import BURDA_EPOCHS, Adam, Settings


def weights_after(optimizer, gradients):
    """Two variables after a step for each of `gradients`, and what the optimizer keeps."""
    variables = [keras.Variable(np.linspace(-1.0, 1.0, n), name=f"v{n}") for n in (3, 500)]
    optimizer.build(variables)
    step = tf.function(lambda a, b: optimizer.apply([a, b], variables))
    for pair in gradients:
        step(*map(tf.constant, pair))
    return [v.numpy() for v in (*variables, *optimizer.variables)]


@pytest.mark.parametrize("options", [{}, {"global_clipnorm": 1.0}, {"beta_1": 0.5, "epsilon": 1e-3}])
def test_the_steps_are_those_of_keras(options):
    generator = np.random.default_rng(0)
    sizes = [0.0, *10.0 ** np.linspace(-6.0, 3.0, 19)]  # No gradient, then from tiny to huge ones.
    draw = generator.standard_normal
    gradients = [[size * draw(n).astype(np.float32) for n in (3, 500)] for size in sizes]
    ours = weights_after(Adam(1e-2, name="adam", **options), gradients)
    theirs = weights_after(keras.optimizers.Adam(1e-2, name="adam", **options), gradients)
    assert abs(theirs[0] - np.linspace(-1.0, 1.0, 3)).min() > 1e-2  # They went somewhere.
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def rates(schedule, epochs):
    settings = Settings("dynamic", None, epochs, 10, 1e-3, 0, schedule)
    return [settings.rate(epoch) for epoch in range(epochs)]


def test_burdas_schedule_is_ten_to_the_minus_i_sevenths_for_three_to_the_i_epochs():
    expected = [1e-3 * 10.0 ** (-stage / 7.0) for stage in range(8) for _ in range(3**stage)]
    assert rates("burda", 3280) == pytest.approx(expected)
    assert BURDA_EPOCHS == 3280


def test_a_cosine_falls_from_the_first_rate_to_nothing():
    expected = 1e-3 * np.cos(np.pi * np.arange(100) / 200) ** 2
    np.testing.assert_allclose(rates("cosine", 100), expected, atol=1e-12)
    assert rates("constant", 2) == [1e-3, 1e-3]
