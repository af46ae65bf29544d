"""Commands that are told to stop while nothing notes it: in an import, and in what follows."""

import signal

import pytest

from crvae_tf.errors import Interrupted
from launch import command
from tests import cluster
from tests.command_line import outcome_of

SIGNALS = (signal.SIGINT, signal.SIGTERM)
LINE = "\nStopped. Run the same command again to resume.\n"

# As a module in C does with what is raised while it begins.
STOPPED = """
import os
try:
    os.kill(os.getpid(), {number})
    print("went on")
except BaseException:
    raise ImportError("initialization failed")
"""


@pytest.fixture(autouse=True)
def _signals_are_not_ignored():
    """A shell has what it starts in the background ignore SIGINT, and that is handed on to children."""
    before = [signal.signal(signal.SIGINT, signal.default_int_handler)]
    before += [signal.signal(signal.SIGTERM, signal.SIG_DFL)]
    yield
    for number, handler in zip(SIGNALS, before, strict=True):
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_a_command_told_to_stop_while_it_is_loaded_says_so_and_exits_by_the_signal(tmp_path, number):
    (tmp_path / "tensorflow.py").write_text(STOPPED.format(number=int(number)))
    place = f"--output_dir={tmp_path / 'run'}"
    process = cluster.start("launch.train", place, PYTHONPATH=str(tmp_path))
    assert cluster.ends([process]) == [(128 + number, "", LINE)]
    assert not (tmp_path / "run").exists()


def interrupt(number):
    raise Interrupted(number)


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize(
    ("stop", "line"),
    [(signal.raise_signal, LINE), (interrupt, LINE.replace("Stopped", "Stopped after a checkpoint"))],
    ids=["at once", "after a checkpoint"],
)
def test_a_command_told_to_stop_later_cleans_up_first_and_says_if_it_kept_a_checkpoint(
    number, stop, line
):
    cleaned = []

    def main():
        try:
            stop(number)
        finally:
            cleaned.append(True)

    outcome = outcome_of(main, lambda: None)
    assert (outcome.code, outcome.err, outcome.fault) == (128 + number, line, "")
    assert cleaned


def test_a_signal_that_is_ignored_stays_so():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    command.listen()
    assert [signal.getsignal(number) for number in SIGNALS] == [command.stop, signal.SIG_IGN]
