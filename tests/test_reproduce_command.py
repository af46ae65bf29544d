"""The real command, shrunk, on the embedded digits."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from crvae_tf.runs.run import Run
from tests.conftest import ROOT

SMALL = "--dataset=digits --width=0.1 --epochs=2 --nll_samples=5 --eval_images=40 --seeds=1"


def reproduce(folder, *more, study="--table=4"):
    command = [sys.executable, "-m", "launch.reproduce", study, "--preset=cpu", *SMALL.split()]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([*command, f"--output_dir={folder}", *more], cwd=ROOT, text=True, **streams)


def contents(folder):
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


@pytest.mark.slow
def test_a_killed_reproduction_ends_with_the_same_table_and_leaves_finished_runs_alone(tmp_path):
    first, second = (Run(tmp_path / "runs" / f"digits_{name}_seed0") for name in ("vae_aug", "cr_vae"))
    killed = reproduce(tmp_path, "--noinvariance")
    while not second.read_metrics():
        assert killed.poll() is None
        time.sleep(0.1)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    assert first.is_complete()
    before = contents(first.directory)

    resumed = reproduce(tmp_path, "--invariance")
    table, errors = resumed.communicate()
    assert resumed.returncode == 0, errors
    assert errors.splitlines()[-1] == f"pictures: {tmp_path}"
    assert table == (tmp_path / "table_4.md").read_text() + "\n"
    assert "| CR-VAE | here | 1 |" in table
    after = contents(first.directory)
    assert {path: after[path] for path in before} == before
    assert set(after) - set(before) == {first.invariance}
    for picture in ("figure_1.png", "invariance.png"):
        assert (tmp_path / "figures" / "digits" / picture).stat().st_size > 0
    assert len(json.loads(second.invariance.read_text())["rotation"]) == 9

    whole = reproduce(tmp_path / "whole", "--noinvariance")
    assert whole.communicate()[0] == table
    made = [(folder / "table_4.csv").read_bytes() for folder in (tmp_path, tmp_path / "whole")]
    assert made[0] == made[1]


@pytest.mark.slow
def test_the_study_of_invariance_trains_its_settings_and_measures_its_baselines(tmp_path):
    settings = "--settings=vae_aug,cr_vae:eta=1:views_per_image=2"
    made = reproduce(tmp_path, "--noinvariance", study=settings)
    text, errors = made.communicate()
    assert made.returncode == 0, errors
    for name in ("vae_aug", "cr_vae eta=1 views_per_image=2", "pixels", "pca", "contrastive"):
        assert f"| {name} |" in text
    run = Run(tmp_path / "runs" / "digits_cr_vae_eta_1_views_per_image_2_seed0")
    assert run.read_config()["views_per_image"] == 2
    page = [sys.executable, "-m", "launch.results", f"--results={tmp_path}"]
    page += [f"--output={tmp_path}/PAGE.md"]
    assert subprocess.run(page, cwd=ROOT, capture_output=True, check=False).returncode == 0
    assert (
        "## Embeddings that stay put, digits, mlp of width 0.1\n" in (tmp_path / "PAGE.md").read_text()
    )
