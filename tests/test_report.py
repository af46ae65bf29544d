"""What a report reads, computes and draws, from files and arrays made up for the purpose."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from crvae_tf.errors import InputError
from crvae_tf.runs import files
from crvae_tf.runs.run import Run
from crvae_tf.studies import pictures, report
from crvae_tf.studies.pictures import Embedded, Served
from crvae_tf.transforms import RandomAffine
from tests import made_up

CONFIG = {"dataset": "digits", "epochs": 2, "eta": 0.1, "test_rotation": 30.0, "nll_samples": 5}
CONFIG |= {"data_dir": None, "versions": {"keras": "3.15.1"}}


def evaluation(nll, retrieval, **config):
    return made_up.evaluation(nll, retrieval, CONFIG | config)


@pytest.fixture
def make_run(tmp_path):
    def make(name, epochs=2, evaluated=None, **config):
        run = Run(tmp_path / name)
        files.write_json(run.config, CONFIG | config)
        lines = [{"epoch": e + 1, "loss": 9.0 - e, "seconds": 2.0} for e in range(epochs)]
        run.metrics.write_text("".join(json.dumps(line) + "\n" for line in lines))
        if evaluated:
            files.write_json(run.evaluation, evaluated)
        return str(run.directory)

    return make


def is_best(sheet, label):
    return [(record, label) in sheet.best for record in sheet.frame.index]


def test_a_folder_that_is_no_run_is_named_in_one_line(tmp_path, make_run):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text('{"hidden_size": 768}')
    good = make_run("good")
    for folder in (tmp_path / "other", tmp_path / "missing"):
        with pytest.raises(InputError, match=rf"^runs: expected .*; received {folder}.*$"):
            report.read([good, str(folder)])
    with pytest.raises(InputError, match=f"^runs: expected each run once; received {good}, {good}$"):
        report.read([good, good])


def test_runs_whose_folders_share_a_name_go_by_their_paths(make_run):
    folders = [make_run("mnist/vae"), make_run("digits/vae"), make_run("digits/iwae")]
    assert [record.name for record in report.read(folders)] == [*folders[:2], "iwae"]


def test_options_that_differ_are_told_from_those_that_do_not(make_run):
    first = make_run("a", versions={"keras": "3.10.0"})
    second = make_run("b", evaluated=evaluation(90.0, 0.5, nll_samples=50))
    third = make_run("c", data_dir="elsewhere", beta=4.0, jit=None)
    records = report.read([first, second, third])
    differing, common = report.configuration(records, leave_out=("data_dir",))
    assert {name: list(texts) for name, texts in differing.frame.T.items()} == {
        "nll_samples": ["5", "50", "5"],
        "versions.keras": ["3.10.0", "3.15.1", "3.15.1"],
        "beta": ["\N{EN DASH}", "\N{EN DASH}", "4.0"],
        "jit": ["\N{EN DASH}", "\N{EN DASH}", "null"],
    }
    assert set(common.frame.index) == {"dataset", "epochs", "eta", "test_rotation"}


def test_the_best_of_a_column_is_marked(make_run):
    measured = [evaluation(91.0, 0.25), evaluation(90.5, 0.125), None]  # The last is left out.
    runs = [make_run(name, evaluated=e) for name, e in zip("abc", measured, strict=True)]
    test, _, consistency = report.evaluations(report.read(runs))
    assert list(test.frame["NLL"]) == ["91.00 ± 0.25", "90.50 ± 0.25"]
    assert list(test.frame["K of the NLL"]) == ["5", "5"]
    assert is_best(test, "NLL") == is_best(test, "ELBO") == [False, True]
    assert is_best(consistency, "retrieval at 1, training transformation") == [True, False]
    assert not any(is_best(test, "rate"))
    assert not any(is_best(consistency, "symmetric KL, test transformation"))


SPLITS = {"Test set", "Transformed test set"}
RETRIEVAL = {"retrieval at 1, training transformation", "retrieval at 1, test transformation"}


@pytest.mark.parametrize(
    ("changed", "ranked"),
    [
        ({"test_rotation": 60.0}, {"Test set", "retrieval at 1, training transformation"}),
        ({"eval_split": "validation"}, set()),
        ({"nll_samples": 6}, RETRIEVAL),
        ({"eta": 1.0}, SPLITS | RETRIEVAL),
    ],
)
def test_figures_that_were_measured_otherwise_are_not_ranked(make_run, changed, ranked):
    first = make_run("a", evaluated=evaluation(91.0, 0.25, eval_split="test"))
    second = make_run("b", evaluated=evaluation(90.5, 0.125, **{"eval_split": "test"} | changed))
    *splits, consistency = report.evaluations(report.read([first, second]))
    found = {sheet.title for sheet in splits if any(is_best(sheet, "NLL"))}
    assert found | {label for _, label in consistency.best} == ranked
    notes = [note for sheet in (*splits, consistency) for note in sheet.notes]
    assert len(notes) == 4 - len(ranked)
    assert all(f"differ in {next(iter(changed))}, so" in note for note in notes)


def test_traversals_show_the_dimensions_that_change_the_image_most(monkeypatch):
    effect = np.array([0.0, 0.1, 0.4, 0.2], np.float32)

    def decode(latents):
        return (latents @ effect)[:, np.newaxis, np.newaxis, np.newaxis] * np.ones([1, 1, 1])

    decode.latent_dim = 4
    base = np.array([[5.0, 1.0, 1.0, 1.0]], np.float32)
    monkeypatch.setattr(pictures, "_TRAVERSED", 2)
    monkeypatch.setattr(pictures, "png", lambda rows: rows[0])
    found = pictures._traversals(Served(None, decode, [Embedded(None, base, base)]))
    assert list(found) == ["z2", "z3"]
    steps = np.linspace(-3.0, 3.0, 9)
    np.testing.assert_allclose(found["z2"][:, 0, 0, 0], 0.3 + 0.4 * steps, atol=1e-6)
    np.testing.assert_allclose(found["z3"][:, 0, 0, 0], 0.5 + 0.2 * steps, atol=1e-6)


def test_neighbours_are_by_the_content(monkeypatch):
    images = np.arange(7.0)[:, None, None, None] * np.ones([7, 4, 4, 1])
    content = np.arange(7.0)[:, np.newaxis]
    monkeypatch.setattr(pictures, "png", lambda rows: np.stack(rows)[:, :, 2, 2, 0].tolist())
    embedded = [Embedded(images, None, c) for c in (content, content + 1.1)]
    rows = pictures._neighbours(Served(embedded=embedded))
    caption = "views; the nearest is their own image for 0 of 6"
    assert list(rows) == ["images", caption]
    assert rows["images"][0] == [0, 1, 2, 3, 4, 5]  # The image itself, and the others by distance.
    assert rows[caption][0] == [0, 1, 2, 0, 3, 4]


def test_the_distance_of_a_moving_image_is_in_units_of_two_different_images():
    images = np.zeros((2, 9, 9, 1), np.float32)
    images[0, 4, 4] = images[1, 4, 2] = 1.0

    def column(images):
        mean = (images[..., 0].sum(axis=1) * np.arange(9)).sum(axis=1, keepdims=True)
        return SimpleNamespace(mean=mean, content=mean)

    column.upright = lambda images: None
    clean = Embedded(images, None, column(images).content)
    transformation = RandomAffine(2.0, 0.0, 0.0)
    steps, distances = pictures._moving(Served(column, None, [clean], transformation))
    np.testing.assert_allclose(distances, np.abs(np.linspace(-1.0, 1.0, 17)), atol=1e-5)
    assert [steps[0].images[0, 4, 2, 0], steps[-1].images[0, 4, 6, 0]] == [1.0, 1.0]


def test_an_exported_part_that_is_broken_is_said_and_done_without(make_run, tmp_path):
    run = Run(make_run("a"))
    for part in ("encoder", "decoder"):
        (tmp_path / "a" / part).mkdir()
        (tmp_path / "a" / part / "saved_model.pb").write_bytes(b"not a model")
    found = pictures.serve(run, lambda: pytest.fail("there is no encoder"))
    assert found.remarks == ["encoder cannot be loaded", "decoder cannot be loaded"]
    assert not any(getattr(found, needed) for needed, _ in pictures.SECTIONS.values())


def test_a_report_on_runs_without_anything_says_so(make_run):
    read = report.read([make_run("empty", epochs=0), make_run("started", epochs=1)])
    text = report.render(read, [Served()] * 2, leave_out=())
    assert "<strong>empty</strong>: unfinished, 0 of 2 epochs; no evaluation.json" in text
    assert 'id="training-curves"' in text
    assert 'id="evaluation"' not in text
    assert "image/png" not in text
