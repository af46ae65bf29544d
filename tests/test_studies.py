"""What launch.reproduce trains, and what it makes of finished runs."""

import json
from pathlib import Path

import numpy as np
import pytest

from crvae_tf.errors import InputError
from crvae_tf.runs import files
from launch import assembly, command, grid, options, reproduce
from tests.command_line import defined
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
    weights = [  # Label, model, beta, lambda and eta, which is the paper's 0.1 beta.
        ("vae", "vae", 1.0, 0.0, 0.0),
        ("cr_vae", "vae", 1.0, 1.0, 0.1),
        ("iwae", "iwae", 1.0, 0.0, 0.0),
        ("cr_iwae", "iwae", 1.0, 1.0, 0.1),
        ("beta_vae_0.5", "beta_vae", 0.5, 0.0, 0.0),
        ("cr_beta_vae_0.5", "beta_vae", 0.5, 1.0, pytest.approx(0.05)),
        ("beta_vae_10", "beta_vae", 10.0, 0.0, 0.0),
        ("cr_beta_vae_10", "beta_vae", 10.0, 1.0, pytest.approx(1.0)),
    ]
    chosen = [(job.label, job.options) for job in jobs]
    assert [(label, o.model, o.beta, o.lambda_, o.eta) for label, o in chosen] == weights * 2
    assert [o.seed for _, o in chosen] == [0] * 8 + [1] * 8
    assert len({o.output_dir for _, o in chosen}) == 16


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
    place = Path("runs/invariance_paper/runs/digits_registered_cr_vae_pose_steps_1_eta_1_seed0")
    assert jobs[1].run.directory == place


def finish(run, config, found):
    """Leaves behind what a training does, as far as a study looks at it."""
    for folder in (run.encoder, run.decoder, run.figures):
        folder.mkdir(parents=True)
    run.weights.touch()
    files.write_json(run.config, config)
    files.write_json(run.evaluation, found)


def test_settings_are_written_with_their_baselines(jobs_of, tmp_path):
    given = ["--settings=vae_aug,cr_vae:eta=1", "--dataset=digits", "--seeds=1", "--width=0.125"]
    jobs = jobs_of(*given, f"--output_dir={tmp_path}")
    chosen, _ = reproduce.study()
    finish(jobs[0].run, jobs[0].options.to_config(), evaluation(90.0) | {"probe": probe(0.5)})

    files.write_json(chosen.baselines().baselines, {"pixels": {"probe": probe(0.7)}})
    text = grid.write(chosen, jobs)
    assert "| vae_aug | 90.00 / " in text
    assert "| pixels | - |" in text
    assert "Not run: `cr_vae eta=1`." in text
    summary = json.loads((tmp_path / "invariance_digits.json").read_text())
    assert summary["network"] == "wae of width 0.125"
    made = {path.suffix for path in tmp_path.glob("invariance_digits.*")}
    assert made == {".json", ".csv", ".md"}
    assert (tmp_path / "invariance_digits_frontier.png").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--preset=cpu", "--table must be one of 1, 2, 3, 4; received none"),
        ("--table=4 --preset=gpu", "--preset must be cpu, eta, invariance, "),
        ("--table=4 --beta=3", "--beta must be left out, the grid sets it; received 3"),
        ("--settings=cr_vae:width=2", "--settings must be of beta, eta, lambda, method, model, "),
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
    "invariance_wae": (6, {"network": "wae", "width": 0.125, "epochs": 6, "eval_images": 1000}),
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


def test_evaluation_on_the_validation_split_never_sees_the_test_set(jobs_of, digits):
    jobs_of("--table=4", "--dataset=digits")
    held_out = {"dataset": "digits", "validation_images": 100, "eval_split": "validation"}
    data = assembly.load_data(options.resolve(held_out | {"output_dir": "x"}))
    train, own = digits.train, np.arange(100)
    np.testing.assert_array_equal(data.test.fetch(own)[0], train.sample(100).fetch(own)[0])
    assert (data.test.num_images, data.train.num_images) == (100, train.num_images - 100)
