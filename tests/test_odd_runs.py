"""Runs at the edge of what may be asked for, and what becomes of a run when its surroundings change."""

import gc
import json
import math
import shutil
import signal

import numpy as np
import pytest

from crvae_tf.evaluation import evaluate as evaluation
from crvae_tf.runs import files
from crvae_tf.runs.run import Run
from launch import assembly, evaluate, options, train
from tests.command_line import assert_told, outcome_of
from tests.image_files import encoded

ODD = (
    "--image_size=8", "--channels=1", "--network=wae", "--width=1e-6", "--latent_dim=1",
    "--model=iwae", "--importance_samples=1", "--batch_size=1000", "--epochs=1", "--nll_samples=3",
    "--eval_images=1000",
)  # fmt: skip


class OddRun:
    """A run on 40 black images: a batch larger than the data, K = 1, one latent, one channel."""

    def __init__(self, folder):
        self.images, self.run = folder / "images", Run(folder / "run")
        self.images.mkdir()
        for index in range(40):
            (self.images / f"{index}.png").write_bytes(encoded(np.zeros([9, 7], np.uint8), "PNG"))

    def train(self, *more):
        given = *ODD, f"--dataset=folder:{self.images}", *more
        return self._give(train.main, options.define_training, *given)

    def evaluate(self, *more):
        return self._give(evaluate.main, options.define_evaluation, *more)

    def _give(self, main, define, *given):
        """Gives a command as in a process of its own: it has read no images and holds no lock."""
        assembly._load.cache_clear()
        gc.collect()  # The traceback of an error holds the run, and so its lock.
        return outcome_of(main, define, f"--output_dir={self.run.directory}", *given)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    odd = OddRun(tmp_path_factory.mktemp("odd"))
    outcome = odd.train()
    assert outcome.code == 0, outcome
    return odd


@pytest.fixture
def odd(finished):
    """The finished run; what a test changes in it is taken back."""
    kept = finished.run.directory.with_name("kept")
    shutil.copytree(finished.run.directory, kept)
    yield finished
    shutil.rmtree(finished.run.directory)
    kept.rename(finished.run.directory)


def test_a_run_at_all_edges_at_once_is_whole_and_its_figures_are_those_of_black_images(finished):
    assert finished.run.is_complete()
    found = finished.run.read_evaluation()
    for split in found["splits"].values():
        assert all(math.isfinite(value) for value in split.values())
        # All images are one, so that which of them a latent is of cannot be told.
        assert split["mutual_information_lower"] == pytest.approx(0.0, abs=1e-6)
        assert split["active_units"] == 0
    for view in found["consistency"].values():
        assert view["kl"] == 0.0
        assert view["distance_ratio"] == 0.0


def test_a_finished_run_is_shown_with_other_packages_and_moved_images(odd, tmp_path, monkeypatch):
    config = odd.run.read_config() | {"versions": {"keras": "2.0"}}
    files.write_json(odd.run.config, config)
    place = tmp_path / "moved"
    odd.images.rename(place)
    monkeypatch.chdir(tmp_path)
    try:
        outcome = odd.train("--dataset=folder:moved")
        assert odd.evaluate(f"--dataset=folder:{place}").code == 0
    finally:
        place.rename(odd.images)
    assert outcome.code == 0, outcome
    assert "NLL, K = 3" in outcome.out
    assert odd.run.read_config() == config


def test_a_run_whose_images_changed_is_neither_resumed_nor_evaluated(odd):
    image = odd.images / "7.png"
    kept = image.read_bytes()
    before = odd.run.evaluation.read_bytes()
    image.write_bytes(encoded(np.ones([9, 7], np.uint8), "PNG"))
    try:
        assert_told(odd.train(), "data_fingerprint=")
        assert_told(odd.evaluate(), "--dataset must be the run's training data, of the fingerprint ")
    finally:
        image.write_bytes(kept)
    assert odd.run.evaluation.read_bytes() == before
    assert odd.evaluate().code == 0
    assert odd.run.read_evaluation()["splits"] == json.loads(before)["splits"]


@pytest.mark.slow
def test_a_command_told_to_stop_says_how_to_go_on_and_exits_by_the_signal(odd, monkeypatch):
    shutil.rmtree(odd.run.directory)
    arguments = ["--batch_size=4", "--epochs=2", "--steps_per_execution=1"]
    with monkeypatch.context() as patched:
        patched.setattr(
            evaluation, "estimate_seconds", lambda *_: signal.raise_signal(signal.SIGTERM) or 0
        )
        stopped = odd.train(*arguments)
    assert stopped.code == 128 + signal.SIGTERM
    assert stopped.err.endswith("Stopped after a checkpoint. Run the same command again to resume.\n")
    assert not odd.run.is_complete()
    assert odd.train(*arguments).code == 0
    assert [line["epoch"] for line in odd.run.read_metrics()] == [1, 2]
