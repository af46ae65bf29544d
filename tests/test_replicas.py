"""Two replicas, and two workers, train as one does. The training is in `replicas.py`."""

import json
import os
import pathlib
import socket
import subprocess
import sys

import numpy as np
import pytest

from tests import replicas

ROOT = pathlib.Path(__file__).resolve().parent.parent
SECONDS = 200


def start(what: str, **environment: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.replicas", what],
        cwd=ROOT,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def result(process: subprocess.Popen) -> dict:
    output, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, errors[-3000:]
    return json.loads(output.splitlines()[-1])


def free_ports(number: int) -> list[int]:
    sockets = [socket.create_server(("localhost", 0)) for _ in range(number)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


@pytest.fixture(scope="module")
def outcomes() -> dict:
    return result(start("replicas"))


@pytest.fixture(scope="module")
def workers() -> list[dict]:
    cluster = {"worker": [f"localhost:{port}" for port in free_ports(2)]}
    processes = [
        start(
            "worker", TF_CONFIG=json.dumps({"cluster": cluster, "task": {"type": "worker", "index": i}})
        )
        for i in range(2)
    ]
    try:
        return [result(process) for process in processes]
    finally:
        for process in processes:
            process.kill()


def assert_same_training(one, other) -> None:
    assert isinstance(one, dict), one
    assert isinstance(other, dict), other
    for a, b in zip(one["weights"], other["weights"], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    assert one["terms"] == pytest.approx(other["terms"], rel=1e-5)


@pytest.mark.parametrize("case", replicas.SIZES)
def test_two_replicas_take_the_steps_of_one(outcomes, case):
    assert_same_training(outcomes["1"][case], outcomes["2"][case])


@pytest.mark.parametrize("step", [0, 1], ids=["training", "validation"])
def test_two_replicas_draw_different_noise(outcomes, step):
    first, second = outcomes["bounds_of_one_image"][step]
    assert abs(first - second) > 1e-3


def test_two_workers_take_the_steps_of_one(outcomes, workers):
    for worker in workers:
        assert_same_training(outcomes["1"]["uneven_last_batch"], worker["uneven_last_batch"])
