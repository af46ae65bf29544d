"""Disks that are full, folders that may not be written, and folders and images that vanish."""

import errno
import os
import subprocess

import pytest

from crvae_tf.errors import one_line, storage_errors
from crvae_tf.runs import files
from crvae_tf.runs.run import Run
from tests.small_training import assert_same_to_the_bit, train


def test_a_file_for_which_there_is_no_room_leaves_the_old_one(tmp_path):
    """What is not yet whole has a name of its own, here that of a device that is always full."""
    files.write_text(tmp_path / "note.txt", "old")
    (tmp_path / f".unfinished.{os.getpid()}.note.txt").symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left on device") as full:
        files.write_text(tmp_path / "note.txt", "new")
    assert full.value.errno == errno.ENOSPC
    assert (tmp_path / "note.txt").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["note.txt"]


@pytest.fixture
def small_disk(tmp_path):
    """Returns a function that mounts a disk with options at a folder, and returns that."""
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
    small_disk, noise, unbroken, kibibytes
):
    """In turn TensorBoard's files, a checkpoint, a later checkpoint and the weights find no room."""
    disk = small_disk(f"size={kibibytes}k")
    with pytest.raises(storage_errors()) as full:
        train(disk / "run", noise)
    assert "No space left on device" in one_line(full.value)
    assert "\n" not in one_line(full.value)
    assert not list(disk.glob("run/.*"))
    assert not (disk / "run" / "model.weights.h5").exists()
    small_disk("remount,size=10m")
    assert_same_to_the_bit(train(disk / "run", noise), unbroken)


def test_a_run_whose_folder_vanishes_stops_and_is_not_begun_in_another(tmp_path, noise):
    run = Run(tmp_path / "run")
    run.begin({"seed": 1})
    with pytest.raises(FileNotFoundError, match="removed or moved during the run") as gone:
        train(run, noise, later_seconds=lambda: os.rename(tmp_path / "run", tmp_path / "moved") or 0.0)
    assert str(gone.value).startswith(f"{tmp_path / 'run'}: expected the run's folder")
    assert not (tmp_path / "run").exists()
    assert (tmp_path / "moved" / "config.json").exists()
