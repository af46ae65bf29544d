"""Who the workers are, by the environment, and what signals do."""

import contextlib
import itertools
import json
import signal

import pytest

from crvae_tf.training import strategies
from crvae_tf.training.strategies import noted
from tests.conftest import message_of

SIGNALS = (signal.SIGTERM, signal.SIGINT)


@pytest.fixture(autouse=True)
def received():
    """What a user's own handlers receive, in turn."""
    numbers = []
    before = {n: signal.signal(n, lambda number, _: numbers.append(number)) for n in SIGNALS}
    yield numbers
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(("first", "second"), itertools.product(SIGNALS, SIGNALS))
def test_the_first_signal_is_noted_and_later_ones_go_to_who_had_them_before(first, second, received):
    signals = []
    with contextlib.suppress(ValueError), noted(signals):
        signal.raise_signal(first)
        assert (signals, received) == ([first], [])
        signal.raise_signal(second)
        assert (signals, received) == ([first], [second])
        raise ValueError("a step failed")
    signal.raise_signal(first)
    assert received == [second, first]


def test_a_signal_that_the_process_ignores_stays_ignored():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signals = []
    with noted(signals):
        signal.raise_signal(signal.SIGINT)
    assert (signals, signal.getsignal(signal.SIGINT)) == ([], signal.SIG_IGN)


@pytest.mark.parametrize(
    "config",
    ["worker 0 of 2", json.dumps({"cluster": {"worker": ["a:1", "b:1"]}})],
    ids=["no JSON", "no task"],
)
def test_workers_that_cannot_be_made_out_are_answered_in_one_line(monkeypatch, config):
    monkeypatch.setenv("TF_CONFIG", config)
    message = message_of(strategies.make, "multi_worker")
    assert message.startswith("strategy: expected one whose workers TF_CONFIG ")
