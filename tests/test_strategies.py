"""Who the workers are, by the environment. What they train is tested in `test_replicas.py`."""

import json

import pytest

from crvae_tf import InputError
from crvae_tf.training import strategies


@pytest.mark.parametrize(
    "config",
    ["worker 0 of 2", json.dumps({"cluster": {"worker": ["a:1", "b:1"]}})],
    ids=["no JSON", "no task"],
)
def test_workers_that_cannot_be_made_out_are_answered_in_one_line(monkeypatch, config):
    monkeypatch.setenv("TF_CONFIG", config)
    with pytest.raises(InputError, match=r"^strategy: expected one whose workers TF_CONFIG ") as error:
        strategies.make("multi_worker")
    assert "\n" not in str(error.value)


def test_a_strategy_of_another_name_is_an_input_error():
    with pytest.raises(InputError, match=r"^strategy: expected one of none, .*; received nonsense$"):
        strategies.make("nonsense")
