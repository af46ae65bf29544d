"""What SIGINT and SIGTERM do while they are noted, and to whom they go afterwards."""

import signal

import pytest

from crvae_tf.training.strategies import Interruption

SIGNALS = (signal.SIGTERM, signal.SIGINT)


@pytest.fixture(autouse=True)
def received():
    """What a user's own handlers receive, in turn."""
    numbers = []
    before = {
        number: signal.signal(number, lambda number, _: numbers.append(number)) for number in SIGNALS
    }
    yield numbers
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("first", SIGNALS)
@pytest.mark.parametrize("second", SIGNALS)
def test_the_first_signal_is_noted_and_the_second_goes_to_who_handled_it_before(
    first, second, received
):
    interruption = Interruption()
    with interruption.noted():
        signal.raise_signal(first)
        assert (interruption.signal, received) == (first, [])
        signal.raise_signal(second)
        assert (interruption.signal, received) == (first, [second])


def test_signals_go_to_who_handled_them_when_nothing_is_noted_any_more(received):
    interruption = Interruption()
    with pytest.raises(ValueError, match="a step failed"), interruption.noted():
        raise ValueError("a step failed")
    for number in SIGNALS:
        signal.raise_signal(number)
    assert (interruption.signal, received) == (None, [*SIGNALS])


def test_a_signal_that_the_process_ignores_stays_ignored():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    interruption = Interruption()
    with interruption.noted():
        signal.raise_signal(signal.SIGINT)
    assert (interruption.signal, signal.getsignal(signal.SIGINT)) == (None, signal.SIG_IGN)
