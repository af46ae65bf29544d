"""The real command, shrunk, on the embedded digits."""

import pytest

from crvae_tf.runs.run import Run
from crvae_tf.studies import pages
from tests.command_line import contents, outcome_of_python

SMALL = "--dataset=digits --width=0.1 --epochs=2 --nll_samples=5 --eval_images=40 --seeds=1"


def reproduce(folder, *more):
    given = ("--preset=cpu", *SMALL.split(), f"--output_dir={folder}", *more)
    outcome = outcome_of_python("-m", "launch.reproduce", *given)
    assert outcome.code == 0, outcome
    return outcome


@pytest.mark.slow
def test_curves_are_added_to_a_table_and_to_runs_that_stay_as_they_are(tmp_path):
    table = reproduce(tmp_path, "--table=4", "--noinvariance").out
    assert table == (tmp_path / "table_4.md").read_text() + "\n"
    assert "| CR-VAE | here | 1 |" in table
    run = Run(tmp_path / "runs" / "digits_cr_vae_seed0")
    before = contents(run.directory)
    again = reproduce(tmp_path, "--table=4", "--invariance")
    assert again.out == table
    assert again.err.splitlines()[-1] == f"pictures: {tmp_path}"
    after = contents(run.directory)
    assert {path: after[path] for path in before} == before
    assert set(after) - set(before) == {run.invariance}
    for picture in ("figure_1.png", "invariance.png"):
        assert (tmp_path / "figures" / "digits" / picture).stat().st_size > 0
    assert len(run.read_json(run.invariance)["rotation"]) == 9


@pytest.mark.slow
def test_the_study_of_invariance_trains_its_settings_and_measures_its_baselines(tmp_path):
    settings = "--settings=vae_aug,cr_vae:eta=1:views_per_image=2"
    text = reproduce(tmp_path, settings, "--noinvariance").out
    for name in ("vae_aug", "cr_vae eta=1 views_per_image=2", "pixels", "pca", "contrastive"):
        assert f"| {name} |" in text
    run = Run(tmp_path / "runs" / "digits_cr_vae_eta_1_views_per_image_2_seed0")
    assert run.read_config()["views_per_image"] == 2
    page = pages.document(tmp_path, tmp_path / "PAGE.md")
    assert "## Embeddings that stay put, digits, mlp of width 0.1\n" in page
