"""How the learning rate falls, and that a run under it resumes exactly."""

import numpy as np
import pytest

from crvae_tf.training import fit
from tests import small_training


def rates(schedule, epochs):
    settings = fit.Settings("dynamic", None, epochs, 10, 1e-3, 0, schedule)
    return [settings.rate(epoch) for epoch in range(epochs)]


def test_burdas_schedule_is_ten_to_the_minus_i_sevenths_for_three_to_the_i_epochs():
    expected = [1e-3 * 10.0 ** (-stage / 7.0) for stage in range(8) for _ in range(3**stage)]
    assert rates("burda", 3280) == pytest.approx(expected)
    assert fit.BURDA_EPOCHS == 3280


def test_a_cosine_falls_from_the_first_rate_to_nothing():
    expected = 1e-3 * np.cos(np.pi * np.arange(100) / 200) ** 2
    np.testing.assert_allclose(rates("cosine", 100), expected, atol=1e-12)
    assert rates("constant", 2) == [1e-3, 1e-3]


def test_a_run_that_was_broken_off_resumes_under_its_schedule_to_the_bit(tmp_path, noise):
    def train(name, epochs):
        return small_training.train(tmp_path / name, noise, epochs=epochs, schedule="burda")

    whole = train("whole", 4)
    train("broken", 2)
    small_training.assert_same_to_the_bit(train("broken", 4), whole)
    falling = [1e-2] + 3 * [1e-2 * 10 ** (-1 / 7)]
    assert [line["learning_rate"] for line in whole[1]] == pytest.approx(falling)
