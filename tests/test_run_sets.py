"""Which of the runs that a user names are seeds of one method, and what a picture calls them."""

import pytest

from crvae_tf import InputError
from crvae_tf.runs import files
from crvae_tf.runs.run import Run
from launch import options, results, run_sets
from tests.command_line import forgotten_flags, outcome_of, resolved  # noqa: F401 - the first is a fixture.
from tests.made_up import evaluation


@pytest.fixture
def make_run(tmp_path):
    """Leaves behind what a training of the digits does, as far as these commands look at it."""

    def make(name, *flags):
        run = Run(tmp_path / name)
        of_run = resolved("--dataset=digits", f"--output_dir={run.directory}", *flags)
        for folder in (run.encoder, run.decoder, run.figures):
            folder.mkdir(parents=True)
        run.weights.touch()
        files.write_json(run.config, of_run.to_config())
        shown = {n: v for n, v in of_run.to_config().items() if n not in options.PLACES}
        files.write_json(run.evaluation, evaluation(100.0 + of_run.seed, 0.5) | {"config": shown})
        return str(run.directory)

    return make


def summary_of(*runs):
    return run_sets.summary(runs, "some")


def test_runs_that_differ_in_the_seed_alone_are_one_method(make_run):
    runs = [
        make_run("a"),
        make_run("b", "--seed=1", "--checkpoint_minutes=9"),
        make_run("c", "--method=vae"),
    ]
    rows = summary_of(*runs)["rows"].set_index(["method", "metric", "split"])
    assert rows["values"]["cr_vae", "nll", "test"] == [100.0, 101.0]
    assert rows["values"]["vae", "nll", "test"] == [100.0]


@pytest.mark.parametrize(
    ("flags", "received"),
    [
        (["--seed=1", "--eta=1"], "eta=0.1 and eta=1.0"),
        (["--seed=1", "--latent_dim=7"], "latent_dim=50 and latent_dim=7"),
        (["--seed=1", "--nll_samples=9"], "nll_samples=1000 and nll_samples=9"),
        (["--seed=2"], "seed=2 and seed=2"),
    ],
)
def test_runs_that_differ_otherwise_are_not_taken_for_seeds(make_run, flags, received):
    runs = make_run("a"), make_run("b", "--seed=2"), make_run("c", *flags)
    with pytest.raises(InputError) as raised:
        summary_of(*runs)
    assert str(raised.value) == (
        "runs: expected different in the seed alone where they are of one method, cr_vae; "
        f"received {received}"
    )


@pytest.mark.parametrize(
    ("flags", "label"),
    [
        (["--method=cr_iwae"], "cr_iwae_5"),
        (["--method=vae_aug", "--views_per_image=4"], "vae_aug views_per_image=4"),
        (["--method=cr_beta_vae", "--beta=2", "--pose=affine"], "registered cr_beta_vae_2"),
    ],
)
def test_runs_of_other_networks_or_views_are_not_taken_for_seeds_of_one_method(flags, label):
    assert run_sets.label(resolved("--dataset=digits", *flags)) == label


def test_a_picture_has_as_many_names_as_runs(make_run):
    methods = make_run("x/run"), make_run("y/run", "--method=vae")
    assert list(run_sets.titled(methods)) == ["CR-VAE", "VAE"]
    folders = make_run("one"), make_run("two")
    assert list(run_sets.titled(folders)) == ["one", "two"]
    paths = make_run("u/run"), make_run("v/run")
    assert list(run_sets.titled(paths)) == [*paths]


def test_a_run_is_shown_once_and_beside_others_of_its_data(make_run, tmp_path):
    one, other = make_run("one"), make_run("other", "--dataset=mnist")
    (tmp_path / "link").symlink_to(one)
    for again in (one, str(tmp_path / "link")):
        with pytest.raises(InputError, match=r"expected folders that differ; received .*/one more"):
            run_sets.titled([one, again])
    with pytest.raises(InputError, match="expected of one data set; received digits, mnist"):
        run_sets.titled([one, other])


def launch_results(*arguments):
    """How the command ends, and what it says of a mistake."""
    outcome = outcome_of(results.main, results.define, *arguments)
    assert outcome.is_clean, outcome
    return outcome.code, outcome.err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--add=sub/one", "--runs=a"],
            "--add must be a name without a folder; received sub/one",
        ),
    ],
)
def test_a_mistake_in_what_is_added_is_answered_in_one_line(arguments, message):
    assert launch_results(*arguments) == (1, f"error: {message}\n")


def test_a_summary_is_added_unless_another_is_damaged(make_run, tmp_path):
    folder, page = tmp_path / "results", tmp_path / "PAGE.md"
    arguments = ["--add=new", f"--runs={make_run('a')}", f"--results={folder}", f"--output={page}"]
    folder.mkdir()
    (folder / "damaged.json").write_text("{")
    code, error = launch_results(*arguments)
    assert code == 1
    assert error.startswith(f"error: {folder}/damaged.json: ")
    assert [path.name for path in folder.iterdir()] == ["damaged.json"]
    (folder / "damaged.json").unlink()
    assert launch_results(*arguments) == (0, "")
    assert "| CR-VAE | 100.00 |" in page.read_text()
