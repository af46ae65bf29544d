"""What launch.reproduce trains, and what it makes of finished runs."""

import json
from pathlib import Path

import pytest

from crvae_tf.errors import InputError
from crvae_tf.runs import files
from crvae_tf.runs.run import Run
from crvae_tf.studies import pages
from launch import command, grid, reproduce
from tests.command_line import contents, defined, outcome_of_python
from tests.conftest import ROOT
from tests.made_up import evaluation, probe


@pytest.fixture
def jobs_of():
    """Defines the flags of launch.reproduce; returns the jobs of a command line."""

    def jobs_of(*arguments):
        command.parse(["launch.reproduce", *arguments])
        return reproduce.study()[1]

    with defined(reproduce.define):
        yield jobs_of


def test_table_1_is_eight_methods_for_each_seed_all_methods_of_the_first_seed_first(jobs_of):
    jobs = jobs_of("--table=1", "--preset=cpu", "--seeds=2", "--dataset=digits")
    chosen = [job.options for job in jobs]
    methods = ["vae", "cr_vae", "iwae", "cr_iwae", *["beta_vae", "cr_beta_vae"] * 2]
    assert [o.method for o in chosen] == methods * 2
    assert [o.beta for o in chosen] == [1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 10.0, 10.0] * 2
    assert [o.eta for o in chosen] == pytest.approx([0.0, 0.1, 0.0, 0.1, 0.0, 0.05, 0.0, 1.0] * 2)
    assert [o.seed for o in chosen] == [0] * 8 + [1] * 8
    assert len({o.output_dir for o in chosen}) == 16


def test_table_4_is_the_ablation_on_mnist_and_omniglot(jobs_of, shared_data_dir):
    jobs = jobs_of("--table=4", "--seeds=1", f"--data_dir={shared_data_dir}")
    cells = [(data, method) for data in ("mnist", "omniglot") for method in ("vae_aug", "cr_vae")]
    assert [(job.dataset, job.label) for job in jobs] == cells
    assert f"--data_dir={shared_data_dir}" in jobs[0].arguments


def test_settings_are_further_rows_of_a_table(jobs_of):
    jobs = jobs_of("--table=4", "--settings=cr_iwae:pose=affine", "--dataset=digits", "--seeds=1")
    assert [job.label for job in jobs] == ["vae_aug", "cr_vae", "registered cr_iwae"]
    assert (jobs[2].options.pose, jobs[2].options.model) == ("affine", "iwae")
    assert reproduce.study()[0].name == "table_4"


def test_a_preset_of_the_users_holds_and_flags_given_override_it(jobs_of, tmp_path):
    preset = tmp_path / "mine.flags"
    preset.write_text("# mine\n--network=mlp\n--width=0.5\n--epochs=9\n")
    (job, *_) = jobs_of("--table=4", f"--preset={preset}", "--dataset=digits", "--epochs=3")
    chosen = job.options
    assert (chosen.network, chosen.width, chosen.epochs) == ("mlp", 0.5, 3)
    assert {"--epochs=3", "--network=mlp", "--method=vae_aug", "--seed=0"} <= set(job.arguments)


def test_settings_are_flags_by_their_labels(jobs_of):
    given = "vae,cr_vae:pose=affine:pose_steps=1:eta=1,vae_aug:views_per_image=4"
    given += ",cr_vae:network=wae:lambda=0.5"
    jobs = jobs_of(f"--settings={given}", "--dataset=digits", "--seeds=1", "--network=mlp")
    found = {job.label: job.options for job in jobs}
    registered = found["registered cr_vae pose_steps=1 eta=1"]
    assert (registered.pose, registered.pose_steps, registered.eta) == ("affine", 1, 1.0)
    assert found["vae_aug views_per_image=4"].views_per_image == 4
    changed = found["cr_vae network=wae lambda=0.5"]
    assert (changed.network, changed.lambda_, found["vae"].network) == ("wae", 0.5, "mlp")
    assert "--network=wae" in jobs[-1].arguments
    place = Path("runs/settings_paper/runs/digits_registered_cr_vae_pose_steps_1_eta_1_seed0")
    assert jobs[1].run.directory == place


def test_settings_are_written_with_their_baselines(jobs_of, tmp_path):
    given = ["--settings=vae_aug,cr_vae:eta=1", "--dataset=digits", "--seeds=2", "--width=0.125"]
    jobs = jobs_of(*given, f"--output_dir={tmp_path}")
    chosen, _ = reproduce.study()
    for job, nll in ((jobs[0], 97.0), (jobs[2], 98.0)):
        for folder in (job.run.encoder, job.run.decoder, job.run.figures):
            folder.mkdir(parents=True)
        job.run.weights.touch()
        files.write_json(job.run.config, job.options.to_config())
        files.write_json(job.run.evaluation, evaluation(nll) | {"probe": probe(0.5)})
    pca = {"consistency": evaluation(1.0)["consistency"], "probe": probe(0.9, 0.8, 0.3)}
    files.write_json(chosen.baselines().baselines, {"pca": pca})
    lines = grid.write(chosen, jobs).splitlines()
    assert any(line.startswith("| VAE+Aug | 97.50 ± 0.71 / 195.00 ± 1.41 |") for line in lines)
    (figures_of_pca,) = (line for line in lines if line.startswith("| pca | - | - |"))
    assert "| 0.900 / 0.800 / 0.300 |" in figures_of_pca
    assert "Not run: `cr_vae eta=1`." in lines
    summary = json.loads((tmp_path / "settings_digits.json").read_text())
    assert summary["title"] == "Settings compared, digits, wae of width 0.125"
    assert (tmp_path / "settings_digits_frontier.png").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            "--preset=cpu",
            "--table must be one of 1, 2, 3, 4, unless there are --settings; received none",
        ),
        ("--table=4 --preset=gpu", "--preset must be cpu, eta, invariance, "),
        ("--table=4 --beta=3", "--beta must be left out, the study sets it; received 3"),
        ("--settings=cr_vae:width=2", "--settings must be of beta, eta, lambda, method, model, "),
        ("--settings=vae,vae", "--settings must be different from each other; received vae, vae"),
        ("--settings=cr_vae:eta", "--settings must be METHOD:FLAG=VALUE where eta must be "),
    ],
)
def test_a_mistake_is_answered_with_the_flag_and_what_was_expected(jobs_of, arguments, message):
    with pytest.raises(InputError) as raised:
        jobs_of(*arguments.split())
    assert command.told(raised.value).startswith(message)


PRESETS = {  # The jobs of one seed, and what sets the preset apart from the others.
    "paper": (2, {"network": "wae", "width": 1.0, "epochs": 100, "nll_samples": 1000}),
    "cpu": (2, {"network": "mlp", "epochs": 100, "eval_split": "test"}),
    "eta": (6, {"network": "mlp", "epochs": 100, "eval_split": "validation", "lambda_": 1.0}),
    "invariance": (7, {"network": "mlp", "epochs": 20, "nll_samples": 500}),
    "invariance_wae": (7, {"network": "wae", "width": 0.125, "epochs": 6, "eval_images": 1000}),
}


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_read_and_is_what_its_header_says(jobs_of, name):
    number, expected = PRESETS[name]
    assert {path.stem for path in (ROOT / "launch" / "presets").iterdir()} == set(PRESETS)
    table = ["--table=4"] if name in ("paper", "cpu") else []
    jobs = jobs_of(*table, f"--preset={name}", "--dataset=digits", "--seeds=1")
    assert len(jobs) == number
    for job in jobs:
        assert (expected | {"latent_dim": 50}).items() <= vars(job.options).items()


def reproduced(folder, *more):
    small = "--dataset=digits --width=0.1 --epochs=2 --nll_samples=5 --eval_images=40 --seeds=1"
    given = ("--preset=cpu", *small.split(), f"--output_dir={folder}", *more)
    (folder / "launch.py").write_text("raise SystemExit('another launch')")
    outcome = outcome_of_python("-m", "crvae_tf", "reproduce", *given, folder=folder)
    assert outcome.code == 0, outcome
    return outcome


@pytest.mark.slow
def test_curves_are_added_to_a_table_and_to_runs_that_stay_as_they_are(tmp_path):
    table = reproduced(tmp_path, "--table=4", "--noinvariance").out
    assert table == (tmp_path / "table_4.md").read_text() + "\n"
    assert "| CR-VAE | here | 1 |" in table
    run = Run(tmp_path / "runs" / "digits_cr_vae_seed0")
    before = contents(run.directory)
    again = reproduced(tmp_path, "--table=4", "--invariance")
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
    text = reproduced(tmp_path, settings, "--noinvariance").out
    for name in ("VAE+Aug", "CR-VAE eta=1 views_per_image=2", "pixels", "pca", "contrastive"):
        assert f"| {name} |" in text
    run = Run(tmp_path / "runs" / "digits_cr_vae_eta_1_views_per_image_2_seed0")
    assert run.read_config()["views_per_image"] == 2
    page = pages.document(tmp_path, tmp_path / "PAGE.md")
    assert "## Settings compared, digits, mlp of width 0.1\n" in page
