"""How the learning rate falls, and that a run under it resumes exactly."""

import dataclasses

import numpy as np
import pytest

from crvae_tf import VAE, networks
from crvae_tf.datasets import ArrayImages
from crvae_tf.runs.run import Run
from crvae_tf.training import fit as training
from crvae_tf.training import schedules
from launch import assembly
from tests.command_line import forgotten_flags, resolved  # noqa: F401 - the first is a fixture.


def test_burdas_schedule_is_ten_to_the_minus_i_sevenths_for_three_to_the_i_epochs():
    epoch = 0
    for stage in range(8):
        for _ in range(3**stage):
            expected = 1e-3 * 10.0 ** (-stage / 7.0)
            assert schedules.burda_rate(epoch, 1e-3) == pytest.approx(expected)
            epoch += 1
    assert epoch == schedules.BURDA_EPOCHS == 3280


def test_a_cosine_falls_from_the_first_rate_to_nothing():
    rates = [schedules.cosine_rate(epoch, 2e-3, 100) for epoch in range(101)]
    assert rates[0] == 2e-3
    assert rates[50] == pytest.approx(1e-3)
    assert rates[100] == 0.0 == schedules.cosine_rate(101, 2e-3, 100)
    np.testing.assert_allclose(rates, 2e-3 * np.cos(np.pi * np.arange(101) / 200) ** 2, atol=1e-12)


def test_the_schedule_of_a_training_is_the_one_named():
    def rates(*arguments):
        rate = assembly.learning_rate(resolved("--learning_rate=1e-3", *arguments))
        return [rate(epoch) for epoch in range(4)]

    falling = [1e-3, 0.5e-3 * (1 + 2**-0.5), 0.5e-3, 0.5e-3 * (1 - 2**-0.5)]
    assert rates("--schedule=cosine", "--epochs=4") == pytest.approx(falling)
    assert rates("--schedule=burda") == pytest.approx([1e-3] + 3 * [1e-3 * 10 ** (-1 / 7)])
    assert assembly.learning_rate(resolved("--learning_rate=1e-3")) == 1e-3


def trained(tmp_path, data, name, epochs):
    encoder, decoder = networks.build("mlp", (28, 28, 1), latent_dim=2, width=0.05, seed=1)
    model = VAE(encoder, decoder, seed=1)
    lines = training.train(
        model,
        data,
        Run(tmp_path / name),
        binarization="dynamic",
        transformation=None,
        epochs=epochs,
        batch_size=32,
        learning_rate=lambda epoch: schedules.burda_rate(epoch, 1e-2),
        seed=1,
        verbose=0,
    )
    return model, lines


def test_a_run_that_was_broken_off_resumes_under_its_schedule_to_the_bit(tmp_path, digits):
    images = digits.train.fetch(np.arange(64))[0].numpy()
    data = dataclasses.replace(digits, train=ArrayImages(images))
    whole, lines = trained(tmp_path, data, "whole", epochs=4)
    trained(tmp_path, data, "broken", epochs=2)
    resumed, resumed_lines = trained(tmp_path, data, "broken", epochs=4)
    assert [line["learning_rate"] for line in lines] == pytest.approx(
        [1e-2] + 3 * [1e-2 * 10 ** (-1 / 7)]
    )
    assert [line["loss"] for line in lines] == [line["loss"] for line in resumed_lines]
    for one, other in zip(whole.weights, resumed.weights, strict=True):
        np.testing.assert_array_equal(one, other)
