"""How the learning rate falls, and that a run under it resumes exactly."""

import functools

import numpy as np
import pytest

from crvae_tf.training import optimizers
from launch import assembly
from tests import small_training
from tests.command_line import forgotten_flags, resolved  # noqa: F401 - the first is a fixture.


def test_burdas_schedule_is_ten_to_the_minus_i_sevenths_for_three_to_the_i_epochs():
    epoch = 0
    for stage in range(8):
        for _ in range(3**stage):
            expected = 1e-3 * 10.0 ** (-stage / 7.0)
            assert optimizers.burda_rate(epoch, 1e-3) == pytest.approx(expected)
            epoch += 1
    assert epoch == optimizers.BURDA_EPOCHS == 3280


def test_a_cosine_falls_from_the_first_rate_to_nothing():
    rates = [optimizers.cosine_rate(epoch, 2e-3, 100) for epoch in range(101)]
    assert rates[0] == 2e-3
    assert rates[50] == pytest.approx(1e-3)
    assert rates[100] == 0.0 == optimizers.cosine_rate(101, 2e-3, 100)
    np.testing.assert_allclose(rates, 2e-3 * np.cos(np.pi * np.arange(101) / 200) ** 2, atol=1e-12)


def test_the_schedule_of_a_training_is_the_one_named():
    def rates(*arguments):
        rate = assembly.learning_rate(resolved("--learning_rate=1e-3", *arguments))
        return [rate(epoch) for epoch in range(4)]

    falling = [1e-3, 0.5e-3 * (1 + 2**-0.5), 0.5e-3, 0.5e-3 * (1 - 2**-0.5)]
    assert rates("--schedule=cosine", "--epochs=4") == pytest.approx(falling)
    assert rates("--schedule=burda") == pytest.approx([1e-3] + 3 * [1e-3 * 10 ** (-1 / 7)])
    assert assembly.learning_rate(resolved("--learning_rate=1e-3")) == 1e-3


def test_a_run_that_was_broken_off_resumes_under_its_schedule_to_the_bit(tmp_path, noise):
    def train(name, epochs):
        rate = functools.partial(optimizers.burda_rate, learning_rate=1e-2)
        return small_training.train(tmp_path / name, noise, epochs=epochs, learning_rate=rate)

    whole = train("whole", 4)
    train("broken", 2)
    small_training.assert_same_to_the_bit(train("broken", 4), whole)
    rates = [line["learning_rate"] for line in whole[1]]
    assert rates == pytest.approx([1e-2] + 3 * [1e-2 * 10 ** (-1 / 7)])
