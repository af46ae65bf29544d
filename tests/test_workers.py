"""`launch.train` by two workers: it ends, or is broken off and goes on, for both of them alike."""

import signal
import time

import pytest

from crvae_tf.runs.run import Run
from tests import cluster
from tests.command_line import TINY
from tests.small_training import untimed

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

COMMAND = ("launch.train", "--strategy=multi_worker", *TINY, "--epochs=4", "--checkpoint_minutes=0")


def start(directory):
    """Starts the workers, the chief first."""
    processes = []
    for worker, variables in enumerate(cluster.environments()):
        temporary = directory / f"temporary_{worker}"
        temporary.mkdir(exist_ok=True)
        place = f"--output_dir={directory / 'run'}"
        processes.append(cluster.start(*COMMAND, place, TMPDIR=str(temporary), **variables))
    return processes


def wait_for_a_checkpoint(run):
    until = time.monotonic() + cluster.HANGS
    while not list(run.checkpoints.glob("ckpt-*.index")):
        assert time.monotonic() < until
        time.sleep(0.01)


def assert_both_go_on(directory, expected):
    """The weights, and so the evaluation, end as in the run that was `expected`, to the bit.

    The means of an epoch that was broken off were added up in another order.
    """
    run = Run(directory / "run")
    assert not run.weights.exists()
    assert [end[0] for end in cluster.ends(start(directory))] == [0, 0]
    for part in ("splits", "consistency", "probe"):
        assert run.read_json(run.evaluation)[part] == expected.read_json(expected.evaluation)[part]
    lines, others = (untimed(each.read_metrics()) for each in (run, expected))
    for line, other in zip(lines, others, strict=True):
        assert line == pytest.approx(other, rel=1e-6)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """(folder, run, what the workers ended with)."""
    directory = tmp_path_factory.mktemp("unbroken")
    return directory, Run(directory / "run"), cluster.ends(start(directory))


def test_the_chief_alone_writes_and_speaks(unbroken):
    directory, run, (chief, other) = unbroken
    assert (chief[0], other[0]) == (0, 0), chief[2] + other[2]
    assert run.is_complete()
    assert "NLL, K = 5" in chief[1]
    assert other[1:] == ("", "")
    assert not list((directory / "temporary_1").glob("crvae_tf_worker_*"))


def test_a_finished_run_is_shown_by_the_chief(unbroken):
    directory, run, _ = unbroken
    before = {path: path.stat().st_mtime_ns for path in run.directory.rglob("*")}
    chief, other = cluster.ends(start(directory))
    assert (chief[0], other) == (0, (0, "", ""))
    assert "was complete" in chief[2]
    assert {path: path.stat().st_mtime_ns for path in run.directory.rglob("*")} == before


@pytest.mark.parametrize("killed", [0, 1], ids=["the chief", "the other"])
def test_a_worker_that_dies_ends_the_other_and_both_go_on(unbroken, tmp_path, killed):
    processes = start(tmp_path)
    wait_for_a_checkpoint(Run(tmp_path / "run"))
    processes[killed].kill()
    status, _, errors = cluster.ends(processes)[1 - killed]
    assert status == 1
    assert errors.splitlines()[-1].startswith("error: another worker ended before this one")
    assert "Traceback" not in errors
    assert_both_go_on(tmp_path, unbroken[1])


def test_a_worker_that_is_told_to_stop_stops_both_and_both_go_on(unbroken, tmp_path):
    processes = start(tmp_path)
    wait_for_a_checkpoint(Run(tmp_path / "run"))
    processes[1].send_signal(signal.SIGTERM)
    assert [end[0] for end in cluster.ends(processes)] == [128 + signal.SIGTERM] * 2
    assert_both_go_on(tmp_path, unbroken[1])
