"""Runs at the edge of what may be asked for, and what becomes of a run when its surroundings change."""

import math
import shutil

import numpy as np
import pytest

from crvae_tf import load_encoder
from crvae_tf.runs import files
from crvae_tf.runs.run import Run
from launch import assembly, evaluate, options, train
from tests.command_line import assert_told, contents, outcome_of

ODD = (
    "--image_size=8", "--channels=3", "--pixel_stddev=1", "--network=wae", "--width=1e-6",
    "--latent_dim=1", "--model=iwae", "--importance_samples=1", "--batch_size=1000", "--epochs=1",
    "--nll_samples=3", "--eval_images=1000",
)  # fmt: skip


class OddRun:
    """A run on 40 black images in colour: a batch larger than the data, K = 1, one latent."""

    def __init__(self, folder):
        self.folder, self.images, self.run = folder, folder / "images.npy", Run(folder / "run")
        np.save(self.images, np.zeros([40, 9, 7], np.uint8))

    def train(self, *more):
        data = f"--dataset={self.images}"
        return self._give(train.main, options.define_training, *ODD, data, *more)

    def evaluate(self, *more):
        return self._give(evaluate.main, options.define_evaluation, *more)

    def _give(self, main, define, *given):
        """Gives a command as in a process of its own, which has read no images."""
        assembly._load.cache_clear()
        return outcome_of(main, define, f"--output_dir={self.run.directory}", *given)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    odd = OddRun(tmp_path_factory.mktemp("odd"))
    outcome = odd.train()
    assert outcome.code == 0, outcome
    return odd


@pytest.fixture
def odd(finished):
    """The finished run; what a test changes in it and in its images is taken back."""
    kept = finished.folder.with_name("kept")
    shutil.copytree(finished.folder, kept)
    yield finished
    shutil.rmtree(finished.folder)
    kept.rename(finished.folder)


def test_a_run_at_all_edges_at_once_is_whole_and_its_figures_are_those_of_black_images(finished):
    assert finished.run.is_complete()
    found = finished.run.read_json(finished.run.evaluation)
    for split in found["splits"].values():
        assert all(math.isfinite(value) for value in split.values())
        # Pixels of unit variance cost 0.5 ln(2 pi) nats each.
        assert split["nll"] > 0.5 * math.log(2 * math.pi) * 8 * 8 * 3
        # All images are one, so that which of them a latent is of cannot be told.
        assert split["mutual_information_lower"] == pytest.approx(0.0, abs=1e-6)
        assert split["active_units"] == 0
    for view in found["consistency"].values():
        assert view["kl"] == 0.0
        assert view["distance_ratio"] == 0.0
    assert load_encoder(finished.run.encoder).image_shape == (8, 8, 3)


def test_a_finished_run_is_shown_and_evaluated_with_other_packages_and_moved_images(
    odd, tmp_path, monkeypatch
):
    files.write_json(odd.run.config, odd.run.read_config() | {"versions": {"keras": "2.0"}})
    before, evaluated = contents(odd.run.directory), odd.run.read_json(odd.run.evaluation)
    odd.images.rename(tmp_path / "moved.npy")
    monkeypatch.chdir(tmp_path)
    outcome = odd.train("--dataset=moved.npy")
    assert outcome.code == 0, outcome
    assert "was complete" in outcome.err
    assert "NLL, K = 3" in outcome.out
    assert contents(odd.run.directory) == before
    assert odd.evaluate("--dataset=moved.npy").code == 0
    assert odd.run.read_json(odd.run.evaluation)["splits"] == evaluated["splits"]


def test_a_run_whose_images_changed_is_neither_resumed_nor_evaluated(odd):
    before = contents(odd.run.directory)
    images = np.zeros([40, 9, 7], np.uint8)
    images[7] = 1
    np.save(odd.images, images)
    assert_told(odd.train(), "data_fingerprint=")
    assert_told(odd.evaluate(), "--dataset must be the run's training data, of the fingerprint ")
    assert contents(odd.run.directory) == before
