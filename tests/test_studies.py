"""What launch.reproduce trains, and the flags of the commands that gather runs."""

import json
import shlex
from pathlib import Path

import numpy as np
import pytest

from crvae_tf import datasets, files
from crvae_tf.errors import InputError
from launch import assembly, flag_kinds, grid, options, run_sets, studies, study_options
from launch.options import UsageError
from tests.command_line import defined
from tests.conftest import ROOT
from tests.test_report import evaluation, probe


@pytest.fixture
def command_line():
    """Defines the flags of launch.reproduce and parses a command line."""
    with defined(study_options.define_reproduce):
        yield lambda *arguments: options.parse(["launch.reproduce", *arguments])


def jobs_of(command_line, *arguments):
    command_line(*arguments)
    return studies.jobs(study_options.reproduce())


def test_table_1_is_eight_methods_for_each_seed_all_methods_of_the_first_seed_first(command_line):
    jobs = jobs_of(command_line, "--table=1", "--preset=cpu", "--seeds=2", "--dataset=digits")
    labels = ["vae", "cr_vae", "iwae", "cr_iwae"]
    labels += ["beta_vae_0.5", "cr_beta_vae_0.5", "beta_vae_10", "cr_beta_vae_10"]
    assert [job.label for job in jobs] == labels * 2
    assert [job.options.seed for job in jobs] == [0] * 8 + [1] * 8
    assert len({job.options.output_dir for job in jobs}) == 16


def test_each_run_has_its_method_its_beta_and_the_papers_eta(command_line):
    jobs = jobs_of(command_line, "--table=1", "--preset=cpu", "--seeds=1", "--dataset=digits")
    found = {job.label: job.options for job in jobs}
    weights = {name: (o.model, o.beta, o.lambda_, o.eta) for name, o in found.items()}
    assert weights["vae"] == ("vae", 1.0, 0.0, 0.0)
    assert weights["cr_iwae"] == ("iwae", 1.0, 1.0, 0.1)
    assert weights["cr_beta_vae_0.5"] == ("beta_vae", 0.5, 1.0, pytest.approx(0.05))
    assert weights["cr_beta_vae_10"] == ("beta_vae", 10.0, 1.0, pytest.approx(1.0))


def test_table_4_is_the_ablation_on_mnist_and_omniglot(command_line, shared_data_dir):
    jobs = jobs_of(command_line, "--table=4", "--seeds=1", f"--data_dir={shared_data_dir}")
    assert [(job.dataset, job.label) for job in jobs] == [
        ("mnist", "vae_aug"),
        ("mnist", "cr_vae"),
        ("omniglot", "vae_aug"),
        ("omniglot", "cr_vae"),
    ]
    assert f"--data_dir={shared_data_dir}" in jobs[0].arguments


def test_the_preset_holds_and_flags_given_override_it(command_line):
    arguments = ("--epochs=3", "--table=4", "--preset=cpu", "--dataset=digits")
    (job, *_) = jobs_of(command_line, *arguments)
    chosen = job.options
    assert (chosen.network, chosen.batch_size, chosen.learning_rate) == ("mlp", 128, 1e-3)
    assert chosen.epochs == 3
    assert {"--epochs=3", "--network=mlp", "--method=vae_aug", "--seed=0"} <= set(job.arguments)


def test_a_preset_may_be_a_file_of_the_users(command_line, tmp_path):
    preset = tmp_path / "mine.flags"
    preset.write_text("# mine\n--network=mlp\n--width=0.5\n")
    (job, *_) = jobs_of(command_line, "--table=4", f"--preset={preset}", "--dataset=digits")
    assert (job.options.network, job.options.width) == ("mlp", 0.5)


def test_the_study_of_eta_evaluates_on_images_held_out_of_the_training_set(command_line):
    arguments = ("--preset=eta", "--dataset=digits", "--validation_images=300", "--seeds=1")
    jobs = jobs_of(command_line, *arguments)
    assert [job.options.eta for job in jobs] == [1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0]
    assert {job.options.lambda_ for job in jobs} == {1.0}
    assert {job.options.eval_split for job in jobs} == {"validation"}


def test_the_study_of_invariance_is_its_settings(command_line):
    jobs = jobs_of(command_line, "--preset=invariance", "--dataset=digits", "--seeds=1")
    found = {job.label: (job.options.lambda_, job.options.eta) for job in jobs}
    assert found["vae"] == (0.0, 0.0)
    assert found["vae_aug"] == (1.0, 0.0)
    assert found["cr_vae"] == found["cr_vae view=conditional"] == (1.0, 0.1)
    assert found["cr_vae pose_dim=3 eta=0.3"] == (1.0, 0.3)
    views = {job.label: (job.options.view, job.options.pose_dim) for job in jobs}
    assert views["cr_vae"] == ("free", 0)
    assert views["cr_vae view=conditional pose_dim=4 eta=1"] == ("conditional", 4)
    given = {job.label: set(job.arguments) for job in jobs}
    both = given["cr_vae view=conditional pose_dim=4 eta=1"]
    assert {"--view=conditional", "--pose_dim=4", "--eta=1.0"} <= both
    assert "--views_per_image=4" in given["cr_vae pose_dim=3 eta=0.3 views_per_image=4"]
    place = Path("runs/invariance_invariance/runs/digits_cr_vae_pose_dim_3_eta_0.3_seed0")
    assert place in [job.run.directory for job in jobs]


def test_the_study_of_invariance_is_written_with_its_baselines_and_its_picture(
    command_line, tmp_path, monkeypatch
):
    command_line(
        "--settings=vae_aug,cr_vae:eta=1",
        "--dataset=digits",
        "--seeds=1",
        "--network=wae",
        "--width=0.125",
        f"--output_dir={tmp_path}",
    )
    chosen = study_options.reproduce()
    jobs = studies.jobs(chosen)
    finish(jobs[0], nll=90.0, accuracy=0.5)
    called = []

    def run_command(arguments, log):
        called.append(arguments)
        retrieval = {t: {"retrieval_at_1": 0.2} for t in ("train_transform", "test_transform")}
        found = {"consistency": retrieval, "probe": probe(0.7)}
        files.write_json(log.with_suffix("") / "baselines.json", {"pixels": found})
        return []

    monkeypatch.setattr(grid, "run_command", run_command)
    assert studies.measure_baselines(chosen) == []
    ((module, *arguments),) = called
    assert module == "launch.baselines"
    assert f"--output_dir={tmp_path}/baselines/digits" in arguments
    text = studies.write(chosen, jobs)
    assert "| vae_aug | 90.00 |" in text
    assert "| pixels | - |" in text
    assert "Not run: `cr_vae eta=1`." in text
    summary = json.loads((tmp_path / "invariance_digits.json").read_text())
    assert summary["network"] == "wae of width 0.125"
    made = {path.name for path in tmp_path.glob("invariance_digits.*")}
    assert made == {f"invariance_digits.{suffix}" for suffix in ("json", "csv", "md", "png")}


def test_a_picture_of_other_runs_is_drawn_anew(command_line, tmp_path, monkeypatch):
    drawn = []

    def run_command(arguments, log):
        drawn.append(arguments)
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text(f"{shlex.join(arguments)}\n")
        log.with_suffix(".png").touch()
        return []

    monkeypatch.setattr(grid, "run_command", run_command)
    given = ("--invariance", "--dataset=digits", "--seeds=1", f"--output_dir={tmp_path}")
    jobs = jobs_of(command_line, "--settings=vae,cr_vae", *given)
    for job in jobs:
        finish(job, nll=90.0, accuracy=0.5)
    for of_these in (jobs, jobs, jobs[:1], jobs[:1]):
        assert studies.draw(study_options.reproduce(), of_these) == []
    shown = [arguments[1] for arguments in drawn]
    both, one = (",".join(str(job.run.directory) for job in of_these) for of_these in (jobs, jobs[:1]))
    assert shown == [f"--runs={both}", f"--runs={one}"]


def test_a_table_has_no_baselines(command_line):
    command_line("--table=4", "--preset=cpu", "--dataset=digits")
    assert studies.measure_baselines(study_options.reproduce()) == []


def finish(job, nll, accuracy):
    """Leaves behind what a training does, as far as the study looks at it."""
    for folder in (job.run.encoder, job.run.decoder, job.run.figures):
        folder.mkdir(parents=True)
    job.run.weights.touch()
    files.write_json(job.run.config, job.options.to_config())
    files.write_json(job.run.evaluation, evaluation(nll, accuracy) | {"probe": probe(accuracy)})


def test_what_is_said_of_iwaes_gradient_is_said_to_iwae_alone(command_line):
    given = "--gradient=doubly_reparameterized"
    jobs = jobs_of(command_line, "--table=1", "--preset=cpu", "--dataset=digits", given)
    found = {job.label: job.options.gradient for job in jobs}
    assert found["cr_iwae"] == found["iwae"] == "doubly_reparameterized"
    assert found["vae"] == found["cr_beta_vae_10"] == "standard"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--preset=cpu"], "--table must be one of 1, 2, 3, 4; received none"),
        (["--table=5"], "--table must be one of 1, 2, 3, 4; received 5"),
        (
            ["--table=4", "--preset=gpu"],
            "--preset must be paper, cpu, eta, invariance, invariance_wae or the path of a flagfile; ",
        ),
        (["--table=4", "--beta=3"], "--beta must be left out, the grid sets it; received 3"),
        (["--table=4", "--seed=3"], "--seed must be left out, the grid sets it; received 3"),
        (["--table=4", "--seeds=0"], "--seeds must be an integer >= 1; received 0"),
        (["--table=4", "--view=conditional"], "--view must be left out, the grid sets it; received c"),
        (
            ["--settings=cr_vae:width=2"],
            "--settings must be of the flags beta, eta, lambda, method, model, pose_dim, view, "
            "views_per_image; received width",
        ),
        (["--settings=cr_vae:eta"], "--settings: eta must be >= 0; received "),
        (["--settings=vae,gan"], "--settings: method must be one of vae, vae_aug, cr_vae, iwae, "),
        (
            ["--settings=cr_vae:pose_dim=60", "--dataset=digits"],
            "--pose_dim must be < --latent_dim=50; received 60",
        ),
        (
            ["--settings=cr_vae:eta=0.3:pose_dim=3,cr_vae:pose_dim=3:eta=0.30000001"],
            "--settings must differ in six digits; received cr_vae eta=0.3 pose_dim=3, cr_vae",
        ),
        (
            ["--etas=0.1,1", "--settings=vae"],
            "--etas must be left out where --settings is given; received both",
        ),
        (["--etas=0.1,0.10000001"], "--etas must differ in six digits; received 0.1,0.10000001"),
        (
            ["--table=4", "--output_dir=a,b"],
            "--output_dir must have no comma, which separates runs; received a,b",
        ),
        (
            ["--table=4", f"--output_dir={ROOT / 'setup.py'}"],
            f"--output_dir must be a folder; received {ROOT / 'setup.py'}, a file",
        ),
        (
            ["--table=4", f"--records={ROOT / 'setup.py'}"],
            f"--records must be a folder; received {ROOT / 'setup.py'}, a file",
        ),
        (["--etas=0.1,x"], "--etas must be numbers >= 0, separated by commas; received 0.1,x"),
    ],
)
def test_a_mistake_is_answered_with_the_flag_what_was_expected_and_what_came(
    command_line, arguments, message
):
    with pytest.raises(UsageError) as raised:
        jobs_of(command_line, *arguments)
    assert str(raised.value).startswith(message)


@pytest.mark.parametrize("text", ["", '{"splits": {}}'])
def test_figures_that_cannot_be_read_are_told_before_others_are_trained(command_line, tmp_path, text):
    jobs = jobs_of(command_line, "--table=4", "--dataset=digits", f"--records={tmp_path}")
    studies.check(jobs)
    kept = jobs[1].record.evaluation
    kept.parent.mkdir()
    kept.write_text(text)
    with pytest.raises(InputError, match=rf"^{kept}: .*; without that file the same command makes it"):
        studies.check(jobs)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"schedule": "burda", "schedule_stages": 6, "epochs": 100},
            "--epochs must be 364 with --schedule=burda --schedule_stages=6; received 100",
        ),
        (
            {"gradient": "doubly_reparameterized", "method": "vae"},
            "--gradient must be standard unless --model=iwae",
        ),
        (
            {"eval_split": "validation"},
            "--eval_split=validation must go with --validation_images >= 2; received 0",
        ),
    ],
)
def test_flags_that_contradict_each_other_are_refused(command_line, arguments, message):
    command_line("--table=4")
    with pytest.raises(UsageError) as raised:
        options.resolve(arguments)
    assert str(raised.value).startswith(message)


PRESETS = {  # The jobs of one seed, and what sets the preset apart from the others.
    "paper": (2, {"network": "wae", "width": 1.0, "epochs": 100, "nll_samples": 1000}),
    "cpu": (2, {"network": "mlp", "epochs": 100, "eval_split": "test"}),
    "eta": (6, {"network": "mlp", "epochs": 100, "eval_split": "validation"}),
    "invariance": (19, {"network": "mlp", "epochs": 20, "nll_samples": 500}),
    "invariance_wae": (6, {"network": "wae", "width": 0.125, "epochs": 6, "eval_images": 500}),
}


def test_the_presets_lie_in_the_package():
    folder = ROOT / "launch" / "presets"
    assert {path.name for path in folder.iterdir()} == {f"{name}.flags" for name in PRESETS}
    for name in PRESETS:
        assert flag_kinds.preset_file(name) == folder / f"{name}.flags"


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_read_and_is_what_its_header_says(command_line, name):
    number, expected = PRESETS[name]
    table = ["--table=4"] if name in ("paper", "cpu") else []
    jobs = jobs_of(command_line, *table, f"--preset={name}", "--dataset=digits", "--seeds=1")
    assert len(jobs) == number
    for job in jobs:
        assert {option: getattr(job.options, option) for option in expected} == expected
        assert job.options.latent_dim == 50
    assert f"--preset={name} " in (ROOT / "launch" / "presets" / f"{name}.flags").read_text()


def test_evaluation_on_the_validation_split_never_sees_the_test_set(command_line, digits):
    command_line("--table=4")
    held_out = {"validation_images": 100, "eval_split": "validation", "output_dir": "x"}
    data = assembly.load_data(options.resolve({"dataset": "digits"} | held_out))
    whole = datasets.load("digits", validation_images=0)
    number = whole.train.num_images
    held_out = whole.train.sample(100).fetch(np.arange(100))[0]
    np.testing.assert_array_equal(data.test.fetch(np.arange(100))[0], held_out)
    assert data.test.num_images == 100
    assert data.train.num_images == number - 100
    assert digits.test.num_images == 360


@pytest.mark.parametrize(
    ("changes", "label"),
    [
        ({"method": "cr_iwae"}, "cr_iwae_5"),
        ({"pose_dim": 3}, "cr_vae pose_dim=3"),
        ({"method": "vae_aug", "views_per_image": 4}, "vae_aug views_per_image=4"),
        (
            {"method": "cr_beta_vae", "beta": 2.0, "view": "conditional", "pose_dim": 3},
            "cr_beta_vae_2 view=conditional pose_dim=3",
        ),
    ],
)
def test_runs_with_another_view_or_pose_are_not_taken_for_seeds_of_one_method(
    command_line, changes, label
):
    command_line("--table=4")
    assert run_sets.label(options.resolve(changes)) == label
