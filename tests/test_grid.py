"""Many runs as child processes; tests/fake_training.py stands in for the trainings."""

import dataclasses
import multiprocessing
import os
import shutil
import signal
import time

import pytest

from crvae_tf import InputError
from crvae_tf.runs import files
from crvae_tf.runs.run import Run
from launch import command, grid
from tests.command_line import contents, forgotten_flags, resolved  # noqa: F401 - one is a fixture.


@pytest.fixture(autouse=True)
def _fake_training(monkeypatch):
    monkeypatch.setattr(grid, "TRAINING", ("tests.fake_training",))


def job(tmp_path, seed=0, epochs=2, seconds=0.01, **more):
    place = tmp_path / f"run_{seed}"
    options = resolved("--method=vae", f"--epochs={epochs}", f"--seed={seed}", f"--output_dir={place}")
    given = {"output_dir": place, "epochs": epochs, "seconds": seconds} | more
    return grid.Job("digits", "vae", options, tuple(f"--{n}={value}" for n, value in given.items()))


def beginnings(of):
    """The lines of a job's log that a training began with, among what TensorFlow says when imported."""
    return [line for line in of.log.read_text().splitlines() if line.startswith("begins")]


def test_every_run_is_trained_and_finished_ones_are_left_as_they_are(tmp_path):
    jobs = [job(tmp_path, seed) for seed in range(3)]
    assert grid.run(jobs[:2], parallel=2, title="test") == []
    before = contents(tmp_path)
    assert grid.run(jobs, parallel=1, title="test") == []
    assert [beginnings(j) for j in jobs] == [["begins at epoch 0"]] * 3
    assert all(j.run.is_complete() for j in jobs)
    assert before.items() <= contents(tmp_path).items()


@pytest.mark.parametrize(
    ("outcome", "reason"), [("fails", "error: the data are gone"), ("killed", "killed by signal 9")]
)
def test_a_training_that_fails_is_named_and_the_others_go_on(tmp_path, outcome, reason):
    jobs = [job(tmp_path, 0, outcome=outcome), job(tmp_path, 1)]
    (failure,) = grid.run(jobs, parallel=1, title="test")
    assert failure == f"digits vae seed 0 failed: {reason} (log: {jobs[0].log})"
    assert jobs[1].run.is_complete()


def test_a_run_that_a_record_is_kept_of_is_not_trained_again(tmp_path):
    kept = dataclasses.replace(job(tmp_path), record=Run(tmp_path / "records" / "run_0"))
    files.write_json(kept.run.config, kept.options.to_config())
    assert grid.run([kept], parallel=1, title="test") == []
    assert kept.record.evaluation.read_text() == "{}\n"
    places = {"output_dir", "data_dir"}
    assert kept.record.read_config().keys() == kept.run.read_config().keys() - places
    shutil.rmtree(kept.run.directory)
    assert grid.run([kept], parallel=1, title="test") == []
    assert not kept.run.directory.exists()
    assert kept.finished is kept.record
    assert kept.epochs_done() == kept.options.epochs


@pytest.mark.parametrize("place", ["run_0", "records"])
@pytest.mark.parametrize(
    ("file", "held", "message"),
    [
        ("config", {"epochs": 7}, "its own epochs=7, or a new folder; received epochs=2"),
        ("evaluation", {"nll_samples": 1}, "nll_samples=1000, as launch.evaluate makes; received .*=1"),
    ],
)
def test_a_run_or_record_of_other_options_is_refused_at_once(tmp_path, place, file, held, message):
    kept = dataclasses.replace(job(tmp_path), record=Run(tmp_path / "records"))
    other, config = Run(tmp_path / place), kept.options.to_config()
    changed = config | held
    files.write_json(other.config, changed if file == "config" else config)
    files.write_json(other.evaluation, {"config": changed})
    with pytest.raises(InputError, match=message):
        grid.run([job(tmp_path, 1), kept], parallel=1, title="test")
    assert not (tmp_path / "run_1").exists()


def grid_process(of):
    """A process that runs the grid of one job, whose first epoch is trained."""

    def main():
        os.setsid()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        command.listen()
        grid.run([of], parallel=1, title="test")

    process = multiprocessing.get_context("fork").Process(target=main)
    process.start()
    while not of.run.read_metrics():
        assert process.is_alive()
        time.sleep(0.05)
    return process


def test_the_training_of_a_grid_that_is_killed_is_waited_for(tmp_path):
    of = job(tmp_path, epochs=30, seconds=0.1)
    process = grid_process(of)
    process.kill()
    process.join()
    assert grid.run([of], parallel=1, title="test") == []
    assert [line["epoch"] for line in of.run.read_metrics()] == [*range(1, 31)]
    assert beginnings(of) == ["begins at epoch 0"]


def test_a_training_is_told_once_to_stop_and_goes_on_from_there(tmp_path):
    """As by Ctrl-C in a terminal, whose SIGINT all of its processes get."""
    of = job(tmp_path, epochs=60, seconds=0.05, told=tmp_path / "told")
    process = grid_process(of)
    os.killpg(process.pid, signal.SIGINT)
    process.join()
    assert process.exitcode == 128 + signal.SIGINT
    assert (tmp_path / "told").read_text() == f"{int(signal.SIGTERM)}\n"
    done = len(of.run.read_metrics())
    assert done < 60
    assert grid.run([of], parallel=1, title="test") == []
    assert beginnings(of) == ["begins at epoch 0", f"begins at epoch {done}"]
