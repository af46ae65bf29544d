"""Disks that are full, and folders that vanish."""

import os
import subprocess

import numpy as np
import pytest

from crvae_tf.errors import one_line, storage_errors
from crvae_tf.runs import drawing
from crvae_tf.runs.run import Run, save_weights
from crvae_tf.training.callbacks import MetricsLog
from tests.small_training import assert_same_to_the_bit, new_model, train


@pytest.fixture
def mount(tmp_path):
    """Returns a function that mounts a disk by options, and returns its folder."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(options):
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("disks can be mounted by root alone")
        return folder

    yield mount
    while os.path.ismount(folder):
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.parametrize(
    "kibibytes", [4, *(pytest.param(size, marks=pytest.mark.slow) for size in (40, 80)), 120]
)
def test_a_full_disk_is_told_in_one_line_and_the_run_goes_on_when_there_is_room(
    mount, noise, unbroken, kibibytes
):
    """In turn TensorBoard's files, a checkpoint, a later checkpoint and the weights find no room."""
    disk = mount(f"size={kibibytes}k")
    with pytest.raises(storage_errors()) as full:
        train(disk / "run", noise)
    assert "No space left on device" in one_line(full.value)
    assert not list(disk.glob("run/.*"))
    assert not (disk / "run" / "model.weights.h5").exists()
    mount("remount,size=10m")
    assert_same_to_the_bit(train(disk / "run", noise), unbroken)


@pytest.mark.parametrize(
    "write",
    [
        lambda run: run.write_json(run.evaluation, {}),
        lambda run: MetricsLog(run, 0, 1, 0),
        lambda run: save_weights(new_model(), run.weights),
        lambda run: drawing.image_rows(run.figures / "a.png", {"": np.zeros((1, 2, 2, 1))}),
    ],
)
def test_what_is_written_of_a_run_does_not_bring_a_moved_folder_back(tmp_path, monkeypatch, write):
    run = Run(tmp_path / "run")
    run.begin({"seed": 1})
    monkeypatch.setattr(run, "check_there", lambda: None)  # It is moved just after.
    os.rename(run.directory, tmp_path / "moved")
    with pytest.raises(FileNotFoundError):
        write(run)
    assert not run.directory.exists()


def test_a_run_whose_folder_vanishes_stops_and_is_not_begun_in_another(tmp_path, noise):
    run = Run(tmp_path / "run")
    run.begin({"seed": 1})
    with pytest.raises(FileNotFoundError, match="removed or moved during the run") as gone:
        train(run, noise, later_seconds=lambda: os.rename(tmp_path / "run", tmp_path / "moved") or 0.0)
    assert str(gone.value).startswith(f"{tmp_path / 'run'}: expected the run's folder")
    assert not (tmp_path / "run").exists()
    assert (tmp_path / "moved" / "config.json").exists()
