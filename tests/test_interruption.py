"""What SIGINT and SIGTERM do while they are noted, and to whom they go afterwards."""

import contextlib
import itertools
import signal

import pytest

from crvae_tf.training.strategies import Interruption

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
def test_the_first_signal_is_noted_and_later_ones_go_to_who_handled_them_before(
    first, second, received
):
    interruption = Interruption()
    with contextlib.suppress(ValueError), interruption.noted():
        signal.raise_signal(first)
        assert (interruption.signal, received) == (first, [])
        signal.raise_signal(second)
        assert (interruption.signal, received) == (first, [second])
        raise ValueError("a step failed")
    signal.raise_signal(first)
    assert received == [second, first]


def test_a_signal_that_the_process_ignores_stays_ignored():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    interruption = Interruption()
    with interruption.noted():
        signal.raise_signal(signal.SIGINT)
    assert (interruption.signal, signal.getsignal(signal.SIGINT)) == (None, signal.SIG_IGN)
