"""Two replicas, and two workers, train as one does. The training is in `replicas.py`."""

import json
import signal

import numpy as np
import pandas as pd
import pytest

from crvae_tf.training import strategies
from tests import cluster, replicas, small_training

ENVIRONMENT = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "CUDA_VISIBLE_DEVICES": "",
    # The convolutions of oneDNN return no images in the shape of their input, not of their output.
    "TF_ENABLE_ONEDNN_OPTS": "0",
}


def results(what, folder, environments) -> list[dict]:
    """Returns what `replicas.py` prints under each environment."""
    command = "tests.replicas", what, str(folder)
    processes = [cluster.start(*command, **ENVIRONMENT, **variables) for variables in environments]
    ends = cluster.ends(processes)
    assert all(status == 0 for status, _, _ in ends), ends
    return [json.loads(output.splitlines()[-1]) for _, output, _ in ends]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory) -> dict:
    return results("replicas", tmp_path_factory.mktemp("replicas"), [{}])[0]


@pytest.fixture(scope="module")
def workers(tmp_path_factory) -> list[dict]:
    return results("worker", tmp_path_factory.mktemp("workers"), cluster.environments())


def assert_same_training(one, other, rounding: float = 1e-6) -> None:
    for a, b in zip(one["weights"], other["weights"], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=rounding)
    # A rate near 0 is the difference of terms near 1, so float32 rounds it by some 1e-7.
    assert one["terms"] == pytest.approx(other["terms"], rel=1e-5, abs=1e-6)


@pytest.mark.parametrize(
    ("network", "case"),
    [(network, case) for network, cases in replicas.CASES.items() for case in cases],
)
def test_two_replicas_take_the_steps_of_one(outcomes, network, case):
    # The gradient of a bias before batch normalisation is nothing but rounding.
    rounding = 5e-6 if network == "wae" else 1e-6
    assert_same_training(outcomes["1"][network][case], outcomes["2"][network][case], rounding)


def test_two_replicas_draw_different_noise_in_training_and_in_validation(outcomes):
    for first, second in outcomes["bounds_of_one_image"]:
        assert abs(first - second) > 1e-3


def test_two_replicas_train_where_several_steps_at_a_time_are_asked_for(outcomes):
    assert outcomes["several_steps"] == 1


def test_two_replicas_evaluate_to_the_figures_of_one(outcomes):
    figures = pd.json_normalize([outcomes[number]["figures"] for number in ("1", "2")])
    one, two = figures.to_dict("records")
    assert one["splits.test.num_images"] == small_training.IMAGES
    assert one == pytest.approx(two, rel=1e-5)


def test_the_shares_of_two_replicas_are_the_batch(outcomes):
    assert len(outcomes["shares"]) == small_training.STEPS
    for batch, (first, second) in outcomes["shares"]:
        assert [one + other for one, other in zip(first, second, strict=True)] == batch


@pytest.mark.slow
def test_the_shares_of_two_workers_are_the_batch(outcomes, workers):
    for whole, *shares in zip(outcomes["shares"], *(w["shares"] for w in workers), strict=True):
        (first,), (second,) = (share for _, share in shares)
        assert [one + other for one, other in zip(first, second, strict=True)] == whole[0]


@pytest.mark.slow
def test_two_workers_take_the_steps_of_one(outcomes, workers):
    for worker in workers:
        assert_same_training(outcomes["1"]["mlp"]["uneven_last_batch"], worker["uneven_last_batch"])


@pytest.mark.slow
def test_workers_told_to_stop_do_so_after_the_same_step_and_end_as_one_does(tmp_path, workers):
    calm = replicas.calm_training(strategies.make("none"), tmp_path)
    for worker in workers:
        assert worker["stopped"]["signal"] == signal.SIGTERM
        assert worker["stopped"]["kept"] == ["ckpt-8.index"]
        for a, b in zip(calm["weights"], worker["resumed"]["weights"], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
    for expected, line in zip(calm["lines"], workers[0]["resumed"]["lines"], strict=True):
        for name in ("loss", "bound", "view_bound", "val_loss"):
            assert line[name] == pytest.approx(expected[name], rel=1e-5)
