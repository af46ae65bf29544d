"""`launch.train` by two workers: it ends, or is broken off and goes on, for both of them alike."""

import os
import signal
import subprocess
import sys
import time

import pytest

from crvae_tf.runs.run import Run
from tests import cluster
from tests.conftest import ROOT
from tests.small_training import untimed

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

COMMAND = (
    sys.executable, "-m", "launch.train", "--strategy=multi_worker", "--network=mlp", "--width=0.1",
    "--latent_dim=4", "--epochs=4", "--checkpoint_minutes=0", "--nll_samples=5", "--eval_images=40",
)  # fmt: skip
HANGS = 300


def start(directory):
    """Starts the workers, the chief first."""
    return [
        subprocess.Popen(
            [*COMMAND, f"--output_dir={directory / 'run'}"],
            cwd=ROOT,
            env=os.environ | variables | {"TMPDIR": str(temporary(directory, worker))},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for worker, variables in enumerate(cluster.environments(2))
    ]


def temporary(directory, worker):
    folder = directory / f"temporary_{worker}"
    folder.mkdir(exist_ok=True)
    return folder


def ends(processes):
    """Returns (exit status, standard output, standard error) of each worker."""
    try:
        written = [process.communicate(timeout=HANGS) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(p.returncode, *texts) for p, texts in zip(processes, written, strict=True)]


def wait_for_a_checkpoint(run):
    until = time.monotonic() + HANGS
    while not list(run.checkpoints.glob("ckpt-*.index")):
        assert time.monotonic() < until
        time.sleep(0.01)


def assert_same_outcome(run, other):
    """The weights, and so the evaluation, agree to the bit.

    The means of an epoch that was broken off were added up in another order.
    """
    for part in ("splits", "consistency", "probe"):
        assert run.read_evaluation()[part] == other.read_evaluation()[part]
    lines, others = (untimed(each.read_metrics()) for each in (run, other))
    for line, expected in zip(lines, others, strict=True):
        assert line == pytest.approx(expected, rel=1e-6)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    """(folder, run, what the workers ended with)."""
    directory = tmp_path_factory.mktemp("unbroken")
    return directory, Run(directory / "run"), ends(start(directory))


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
    chief, other = ends(start(directory))
    assert (chief[0], other) == (0, (0, "", ""))
    assert "was complete" in chief[2]
    assert {path: path.stat().st_mtime_ns for path in run.directory.rglob("*")} == before


@pytest.mark.parametrize("killed", [0, 1], ids=["the chief", "the other"])
def test_a_worker_that_dies_ends_the_other_and_both_go_on(unbroken, tmp_path, killed):
    run, processes = Run(tmp_path / "run"), start(tmp_path)
    wait_for_a_checkpoint(run)
    processes[killed].kill()
    status, _, errors = ends(processes)[1 - killed]
    assert status == 1
    assert errors.splitlines()[-1].startswith("error: another worker ended before this one")
    assert "Traceback" not in errors
    assert not run.weights.exists()
    assert [end[0] for end in ends(start(tmp_path))] == [0, 0]
    assert_same_outcome(run, unbroken[1])


def test_a_worker_that_is_told_to_stop_stops_both_and_both_go_on(unbroken, tmp_path):
    run, processes = Run(tmp_path / "run"), start(tmp_path)
    wait_for_a_checkpoint(run)
    processes[1].send_signal(signal.SIGTERM)
    assert [end[0] for end in ends(processes)] == [128 + signal.SIGTERM] * 2
    assert not run.weights.exists()
    assert [end[0] for end in ends(start(tmp_path))] == [0, 0]
    assert_same_outcome(run, unbroken[1])
