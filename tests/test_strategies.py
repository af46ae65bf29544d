"""Who the workers are, by the environment. What they train is tested in `test_replicas.py`."""

import json

import pytest

from crvae_tf import InputError
from crvae_tf.training import strategies

SLURM = {
    "SLURM_PROCID": "2",
    "SLURM_STEP_NUM_TASKS": "3",
    "SLURM_STEP_NODELIST": "node[08-09]",
    "SLURM_STEP_TASKS_PER_NODE": "2,1",
}
OF_SLURM = {"worker": ["node08:8888", "node08:8889", "node09:8888"]}


@pytest.fixture
def environment(monkeypatch):
    """Sets variables, and no others that workers are known by."""
    for name in ("TF_CONFIG", *SLURM):
        monkeypatch.delenv(name, raising=False)

    def change(**variables):
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return change


def test_the_workers_of_slurm_are_its_tasks(environment):
    environment(**SLURM)
    cluster = strategies._cluster()
    assert cluster.cluster_spec().as_dict() == OF_SLURM
    assert (cluster.task_type, cluster.task_id) == ("worker", 2)
    # No GPU is visible here, which TensorFlow's own resolver refuses.
    assert cluster.num_accelerators() == {"GPU": 0}


def test_tf_config_comes_before_slurm(environment):
    named = {"worker": ["a:1", "b:1"]}
    config = {"cluster": named, "task": {"type": "worker", "index": 1}}
    environment(TF_CONFIG=json.dumps(config), **SLURM)
    cluster = strategies._cluster()
    assert cluster.cluster_spec().as_dict() == named
    assert cluster.task_id == 1


@pytest.mark.parametrize(
    "variables",
    [
        {"TF_CONFIG": "worker 0 of 2"},
        {"TF_CONFIG": json.dumps({"cluster": {"worker": ["a:1", "b:1"]}})},
        SLURM | {"SLURM_STEP_TASKS_PER_NODE": "4"},
    ],
    ids=["no JSON", "no task", "other tasks"],
)
def test_workers_that_cannot_be_made_out_are_answered_in_one_line(environment, variables):
    environment(**variables)
    with pytest.raises(InputError, match=r"^strategy: expected one whose workers TF_CONFIG ") as error:
        strategies.make("multi_worker")
    assert "\n" not in str(error.value)


def test_a_strategy_of_another_name_is_an_input_error():
    with pytest.raises(InputError, match=r"^strategy: expected one of none, .*; received nonsense$"):
        strategies.make("nonsense")
