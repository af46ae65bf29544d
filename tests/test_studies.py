"""What launch.reproduce trains, and what it makes of finished runs."""

import json
from pathlib import Path

import numpy as np
import pytest
from absl import flags

from crvae_tf import datasets
from crvae_tf.errors import InputError
from crvae_tf.runs import files
from launch import assembly, baselines, flag_kinds, options, reproduce, studies
from tests.command_line import defined
from tests.conftest import ROOT
from tests.made_up import evaluation, probe


@pytest.fixture
def jobs_of():
    """Defines the flags of launch.reproduce; returns the jobs of a command line."""

    def jobs_of(*arguments):
        options.parse(["launch.reproduce", *arguments])
        return studies.jobs(reproduce.study())

    with defined(reproduce.define):
        yield jobs_of


def test_table_1_is_eight_methods_for_each_seed_all_methods_of_the_first_seed_first(jobs_of):
    jobs = jobs_of("--table=1", "--preset=cpu", "--seeds=2", "--dataset=digits")
    labels = ["vae", "cr_vae", "iwae", "cr_iwae"]
    labels += ["beta_vae_0.5", "cr_beta_vae_0.5", "beta_vae_10", "cr_beta_vae_10"]
    assert [job.label for job in jobs] == labels * 2
    assert [job.options.seed for job in jobs] == [0] * 8 + [1] * 8
    assert len({job.options.output_dir for job in jobs}) == 16


def test_each_run_has_its_method_its_beta_and_the_papers_eta(jobs_of):
    jobs = jobs_of("--table=1", "--preset=cpu", "--seeds=1", "--dataset=digits")
    found = {job.label: job.options for job in jobs}
    weights = {name: (o.model, o.beta, o.lambda_, o.eta) for name, o in found.items()}
    assert weights["vae"] == ("vae", 1.0, 0.0, 0.0)
    assert weights["cr_iwae"] == ("iwae", 1.0, 1.0, 0.1)
    assert weights["cr_beta_vae_0.5"] == ("beta_vae", 0.5, 1.0, pytest.approx(0.05))
    assert weights["cr_beta_vae_10"] == ("beta_vae", 10.0, 1.0, pytest.approx(1.0))


def test_table_4_is_the_ablation_on_mnist_and_omniglot(jobs_of, shared_data_dir):
    jobs = jobs_of("--table=4", "--seeds=1", f"--data_dir={shared_data_dir}")
    assert [(job.dataset, job.label) for job in jobs] == [
        ("mnist", "vae_aug"),
        ("mnist", "cr_vae"),
        ("omniglot", "vae_aug"),
        ("omniglot", "cr_vae"),
    ]
    assert f"--data_dir={shared_data_dir}" in jobs[0].arguments


def test_a_preset_shipped_or_of_the_users_holds_and_flags_given_override_it(jobs_of, tmp_path):
    (job, *_) = jobs_of("--epochs=3", "--table=4", "--preset=cpu", "--dataset=digits")
    chosen = job.options
    assert (chosen.network, chosen.batch_size, chosen.learning_rate) == ("mlp", 128, 1e-3)
    assert chosen.epochs == 3
    assert {"--epochs=3", "--network=mlp", "--method=vae_aug", "--seed=0"} <= set(job.arguments)
    preset = tmp_path / "mine.flags"
    preset.write_text("# mine\n--network=mlp\n--width=0.5\n")
    (job, *_) = jobs_of("--table=4", f"--preset={preset}", "--dataset=digits")
    assert (job.options.network, job.options.width) == ("mlp", 0.5)


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


def finish(job, nll, accuracy):
    """Leaves behind what a training does, as far as the study looks at it."""
    for folder in (job.run.encoder, job.run.decoder, job.run.figures):
        folder.mkdir(parents=True)
    job.run.weights.touch()
    files.write_json(job.run.config, job.options.to_config())
    files.write_json(job.run.evaluation, evaluation(nll, accuracy) | {"probe": probe(accuracy)})


def test_settings_are_written_with_their_baselines_and_their_picture(jobs_of, tmp_path, monkeypatch):
    jobs = jobs_of(
        "--settings=vae_aug,cr_vae:eta=1",
        "--dataset=digits",
        "--seeds=1",
        "--width=0.125",
        f"--output_dir={tmp_path}",
    )
    chosen = reproduce.study()
    finish(jobs[0], nll=90.0, accuracy=0.5)

    def measure(of_baselines):
        retrieval = {t: {"retrieval_at_1": 0.2} for t in ("train_transform", "test_transform")}
        found = {"pixels": {"consistency": retrieval, "probe": probe(0.7)}}
        files.write_json(Path(of_baselines.output_dir, "baselines.json"), found)

    monkeypatch.setattr(baselines, "measure", measure)
    studies.measure_baselines(chosen)
    text = studies.write(chosen, jobs)
    assert "| vae_aug | 90.00 |" in text
    assert "| pixels | - |" in text
    assert "Not run: `cr_vae eta=1`." in text
    summary = json.loads((tmp_path / "invariance_digits.json").read_text())
    assert summary["network"] == "wae of width 0.125"
    made = {path.name for path in tmp_path.glob("invariance_digits.*")}
    assert made == {f"invariance_digits.{suffix}" for suffix in ("json", "csv", "md", "png")}


def test_the_study_of_eta_is_written_with_its_curve(jobs_of, tmp_path):
    given = ("--etas=0.1,1", "--dataset=digits", "--seeds=1", f"--output_dir={tmp_path}")
    for job, nll in zip(jobs_of(*given), (90.0, 91.0), strict=True):
        finish(job, nll, accuracy=0.5)
    text = studies.write(reproduce.study(), jobs_of(*given))
    assert "The lowest NLL is at eta = 0.1." in text
    assert (tmp_path / "eta_digits.png").stat().st_size > 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--preset=cpu"], "--table must be one of 1, 2, 3, 4; received none"),
        (
            ["--table=4", "--preset=gpu"],
            "--preset must be cpu, eta, invariance, ",
        ),
        (["--table=4", "--beta=3"], "--beta must be left out, the grid sets it; received 3"),
        (["--table=4", "--seed=3"], "--seed must be left out, the grid sets it; received 3"),
        (["--table=4", "--seeds=0"], "--seeds must be an integer >= 1; received 0"),
        (["--settings=cr_vae:width=2"], "--settings must be of beta, eta, lambda, method, model, "),
        (["--settings=cr_vae:eta"], "--settings must be METHOD:FLAG=VALUE where eta must be "),
        (
            ["--settings=vae,gan"],
            "--settings must be METHOD:FLAG=VALUE where method must be one of ",
        ),
        (
            ["--settings=cr_vae:eta=0.3:beta=1,cr_vae:beta=1:eta=0.30000001"],
            "--settings must be different in six digits; received cr_vae eta=0.3 beta=1, cr_vae",
        ),
        (["--etas=0.1,1", "--settings=vae"], "--etas must be left out where --settings is given; "),
        (["--etas=0.1,0.10000001"], "--etas must be different in six digits; received cr_vae eta=0.1"),
        (
            ["--table=4", f"--output_dir={ROOT / 'setup.py'}"],
            "--output_dir must be a folder; ",
        ),
        (["--table=4", f"--records={ROOT / 'setup.py'}"], "--records must be a folder; received "),
        (["--etas=0.1,x"], "--etas must be numbers >= 0, separated by commas; received 0.1,x"),
    ],
)
def test_a_mistake_is_answered_with_the_flag_and_what_was_expected(jobs_of, arguments, message):
    with pytest.raises(InputError) as raised:
        jobs_of(*arguments)
    assert flag_kinds.told(raised.value).startswith(message)


def test_figures_that_cannot_be_read_are_told_before_others_are_trained(jobs_of, tmp_path):
    jobs = jobs_of("--table=4", "--dataset=digits", f"--records={tmp_path}")
    studies.check(jobs)
    kept = jobs[1].record.evaluation
    kept.parent.mkdir()
    kept.write_text('{"splits": {}}')
    with pytest.raises(InputError, match=rf"^{kept}: "):
        studies.check(jobs)


PRESETS = {  # The jobs of one seed, and what sets the preset apart from the others.
    "paper": (2, {"network": "wae", "width": 1.0, "epochs": 100, "nll_samples": 1000}),
    "cpu": (2, {"network": "mlp", "epochs": 100, "eval_split": "test"}),
    "eta": (6, {"network": "mlp", "epochs": 100, "eval_split": "validation", "lambda_": 1.0}),
    "invariance": (9, {"network": "mlp", "epochs": 20, "nll_samples": 500}),
    "invariance_wae": (4, {"network": "wae", "width": 0.125, "epochs": 6, "eval_images": 500}),
}


def test_the_presets_lie_in_the_package():
    folder = ROOT / "launch" / "presets"
    assert {path.name for path in folder.iterdir()} == {f"{name}.flags" for name in PRESETS}
    for name in PRESETS:
        assert flag_kinds.preset_file(name) == folder / f"{name}.flags"


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_read_and_is_what_its_header_says(jobs_of, name):
    number, expected = PRESETS[name]
    table = ["--table=4"] if name in ("paper", "cpu") else []
    jobs = jobs_of(*table, f"--preset={name}", "--dataset=digits", "--seeds=1")
    assert len(jobs) == number
    for job in jobs:
        assert {option: getattr(job.options, option) for option in expected} == expected
        assert job.options.latent_dim == 50
    assert f"--preset={name} " in (ROOT / "launch" / "presets" / f"{name}.flags").read_text()


def test_evaluation_on_the_validation_split_never_sees_the_test_set(jobs_of, digits):
    jobs_of("--table=4", "--dataset=digits")
    flags.FLAGS.dataset = "digits"
    held_out = {"validation_images": 100, "eval_split": "validation", "output_dir": "x"}
    data = assembly.load_data(options.resolve(held_out))
    whole = datasets.load("digits", validation_images=0)
    number = whole.train.num_images
    held_out = whole.train.sample(100).fetch(np.arange(100))[0]
    np.testing.assert_array_equal(data.test.fetch(np.arange(100))[0], held_out)
    assert data.test.num_images == 100
    assert data.train.num_images == number - 100
    assert digits.test.num_images == 360
