"""Two replicas, and two workers, train as one does. The training is in `replicas.py`."""

import json
import os
import pathlib
import signal
import subprocess
import sys

import numpy as np
import pytest

from tests import cluster, replicas, small_training
from tests.conftest import ROOT

SECONDS = 280
ENVIRONMENT = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "CUDA_VISIBLE_DEVICES": "",
    # The convolutions of oneDNN return no images in the shape of their input, not of their output.
    "TF_ENABLE_ONEDNN_OPTS": "0",
}


def start(what: str, folder: pathlib.Path, **environment: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.replicas", what, str(folder)],
        cwd=ROOT,
        env=os.environ | ENVIRONMENT | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def result(process: subprocess.Popen) -> dict:
    output, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, errors[-3000:]
    return json.loads(output.splitlines()[-1])


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory) -> dict:
    return result(start("replicas", tmp_path_factory.mktemp("replicas")))


@pytest.fixture(scope="module")
def calm(tmp_path_factory) -> dict:
    return result(start("calm", tmp_path_factory.mktemp("calm")))


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> pathlib.Path:
    """Where the workers' runs lie, `several` and `two`."""
    return tmp_path_factory.mktemp("workers")


@pytest.fixture(scope="module")
def workers(folder) -> list[dict]:
    processes = [start("worker", folder, **variables) for variables in cluster.environments(2)]
    try:
        return [result(process) for process in processes]
    finally:
        for process in processes:
            process.kill()


def assert_same_training(one, other, rounding: float = 1e-6) -> None:
    assert isinstance(one, dict), one
    assert isinstance(other, dict), other
    for a, b in zip(one["weights"], other["weights"], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=rounding)
    # A rate near 0 is the difference of terms near 1, so float32 rounds it by some 1e-7.
    assert one["terms"] == pytest.approx(other["terms"], rel=1e-5, abs=1e-6)


@pytest.mark.parametrize(
    ("network", "case"),
    [(network, case) for network in replicas.WIDTHS for case in replicas.cases_of(network)],
)
def test_two_replicas_take_the_steps_of_one(outcomes, network, case):
    # The gradient of a bias before batch normalisation is nothing but rounding.
    rounding = 5e-6 if network == "wae" else 1e-6
    assert_same_training(outcomes["1"][network][case], outcomes["2"][network][case], rounding)


@pytest.mark.parametrize("step", [0, 1], ids=["training", "validation"])
def test_two_replicas_draw_different_noise(outcomes, step):
    first, second = outcomes["bounds_of_one_image"][step]
    assert abs(first - second) > 1e-3


def test_two_replicas_train_where_several_steps_at_a_time_are_asked_for(outcomes):
    assert outcomes["several_steps"] == [1]


@pytest.mark.slow
def test_two_workers_train_where_several_steps_at_a_time_are_asked_for(workers):
    assert [worker["several_steps"] for worker in workers] == [[1], [1]]


def test_two_replicas_evaluate_to_the_figures_of_one(outcomes):
    one, two = (flat(outcomes[number]["figures"]) for number in ("1", "2"))
    assert one["splits.test.num_images"] == small_training.IMAGES
    assert one == pytest.approx(two, rel=1e-5)


def flat(figures: dict, prefix: str = "") -> dict[str, float]:
    """Returns the leaves of nested dictionaries by their path."""
    leaves = {}
    for name, value in figures.items():
        path = f"{prefix}{name}"
        leaves |= flat(value, f"{path}.") if isinstance(value, dict) else {path: value}
    return leaves


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
def test_a_worker_that_is_told_to_stop_stops_all_of_them_after_the_same_step(workers):
    for worker in workers:
        assert worker["stopped"]["signal"] == signal.SIGTERM
        assert worker["stopped"]["kept"] == ["ckpt-8.index"]


@pytest.mark.slow
def test_workers_go_on_from_the_chiefs_checkpoint_to_what_one_ends_with(calm, workers):
    for worker in workers:
        for a, b in zip(calm["weights"], worker["resumed"]["weights"], strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5)
    for expected, line in zip(calm["lines"], workers[0]["resumed"]["lines"], strict=True):
        for name in ("loss", "bound", "view_bound", "val_loss"):
            assert line[name] == pytest.approx(expected[name], rel=1e-5)


@pytest.mark.slow
def test_the_chief_alone_writes_the_run(folder, workers):
    chief, other = (worker["resumed"] for worker in workers)
    assert chief["directory"] == str(folder / "two")
    assert chief["left"]
    assert other["directory"].startswith(workers[1]["temporary"])
    assert not other["left"]
    assert sorted(path.name for path in folder.iterdir()) == ["several", "two"]
    parts = {"checkpoints", "metrics.jsonl", "model.weights.h5", "tensorboard"}
    assert {path.name for path in (folder / "two").iterdir()} == parts
