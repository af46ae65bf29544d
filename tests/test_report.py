"""What a report reads, computes and draws, from files and arrays made up for the purpose."""

import io
import json
import re

import numpy as np
import pytest
from PIL import Image

from crvae_tf import figures, report
from crvae_tf.errors import InputError
from crvae_tf.report import charts, exhibits, records, tables
from crvae_tf.report.charts import Line

CONFIG = {
    "dataset": "digits",
    "epochs": 2,
    "eta": 0.1,
    "test_rotation": 30.0,
    "nll_samples": 5,
    "data_dir": None,
    "versions": {"keras": "3.15.1"},
}


def split(nll, active_units=7):
    names = ("lower", "upper", "cap", "disjoint")
    information = {f"mutual_information_{name}": 1.0 for name in names}
    parts = {"num_images": 40, "nll": nll, "nll_stderr": 0.25, "nll_samples": 5, "elbo": -nll - 3.0}
    return parts | {"rate": 10.0, "distortion": 90.0, "active_units": active_units} | information


def probe(accuracy):
    """What an evaluation holds of probes that are all as accurate."""
    accuracies = {"linear": accuracy, "nearest_neighbours": accuracy}
    conditions = ("clean", "train_transform", "test_transform")
    return {"num_train_images": 9} | dict.fromkeys(conditions, accuracies)


def evaluation(nll, retrieval, **config):
    figures_of_pairs = {"kl": 4.0, "symmetric_kl": 5.0, "distance_ratio": 0.5}
    transforms = ("train_transform", "test_transform")
    return {
        "config": {name: value for name, value in CONFIG.items() if name != "versions"} | config,
        "splits": {"test": split(nll), "transformed_test": split(2.0 * nll)},
        "consistency": {t: figures_of_pairs | {"retrieval_at_1": retrieval} for t in transforms},
    }


@pytest.fixture
def make_run(tmp_path):
    def make(name, epochs=2, evaluated=None, **config):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps(CONFIG | config))
        lines = [{"epoch": e + 1, "loss": 9.0 - e, "seconds": 2.0} for e in range(epochs)]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        if evaluated:
            (folder / "evaluation.json").write_text(json.dumps(evaluated))
        return str(folder)

    return make


def tables_of(directories):
    read = report.read(directories)
    series = charts.series_of([record.name for record in read])
    return {table.name: table for table in tables.evaluation(read, series)}


def column(table, label, occurrence=0):
    places = [i for i, column in enumerate(table.columns) if column.label == label]
    return [row[places[occurrence]] for row in table.rows]


def test_a_folder_that_is_no_run_is_named_in_one_line(tmp_path, make_run):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text('{"hidden_size": 768}')
    for folder in (tmp_path / "other", tmp_path / "missing"):
        with pytest.raises(InputError, match=rf"^--runs: expected .*; received {folder}.*$"):
            report.read([make_run(f"good for {folder.name}"), str(folder)])


def test_a_run_is_compared_once(make_run):
    folder = make_run("vae")
    with pytest.raises(InputError, match=r"received .*vae twice"):
        report.read([folder, folder + "/"])


def test_what_an_unfinished_run_lacks_is_said(make_run):
    unfinished, bare = report.read([make_run("a", epochs=1), make_run("b", epochs=0)])
    assert unfinished.remarks == (
        "unfinished, 1 of 2 epochs",
        "no evaluation.json",
        "no encoder",
        "no decoder",
    )
    assert bare.remarks[0] == "unfinished, 0 of 2 epochs"


@pytest.mark.parametrize("text", ['{"splits": ', "[]", '{"splits": 3}', '{"config": []}'])
def test_files_that_cannot_be_read_or_are_of_another_shape_count_as_lacking(make_run, tmp_path, text):
    folder = make_run("torn")
    for name in ("evaluation.json", "invariance.json", "metrics.jsonl"):
        (tmp_path / "torn" / name).write_text(text)
    record = report.read([folder])[0]
    assert (record.evaluation, record.invariance, record.metrics) == ({}, {}, [])
    for name in ("evaluation.json", "invariance.json", "metrics.jsonl"):
        assert f"{name} is not readable" in record.remarks


def test_runs_whose_folders_share_a_name_go_by_their_paths(make_run):
    folders = [make_run("mnist/vae"), make_run("digits/vae"), make_run("digits/iwae")]
    assert [record.name for record in report.read(folders)] == [*folders[:2], "iwae"]


def test_options_that_differ_are_told_from_those_that_do_not(make_run):
    folders = [
        make_run("a", versions={"keras": "3.10.0"}),
        make_run("b", evaluated=evaluation(90.0, 0.5, nll_samples=50)),
        make_run("c", data_dir="elsewhere", beta=4.0),
    ]
    read = report.read(folders)
    series = charts.series_of([record.name for record in read])
    differing, common = tables.configuration(read, series, leave_out=("data_dir",))
    texts = {row[0].text: [cell.text for cell in row[1:]] for row in differing.rows}
    assert texts == {
        "nll_samples": ["5", "50", "5"],
        "versions.keras": ["3.10.0", "3.15.1", "3.15.1"],
        "beta": ["\N{EN DASH}", "\N{EN DASH}", "4.0"],
    }
    assert {row[0].text for row in common.rows} == {"dataset", "epochs", "eta", "test_rotation"}


def test_the_best_of_a_column_is_marked(make_run):
    found = tables_of(
        [
            make_run("a", evaluated=evaluation(91.0, 0.25)),
            make_run("b", evaluated=evaluation(90.5, 0.125)),
        ]
    )
    likelihood = column(found["splits-test"], "NLL")
    assert [cell.text for cell in likelihood] == ["91.00 ± 0.25", "90.50 ± 0.25"]
    assert [cell.best for cell in likelihood] == [False, True]
    assert [cell.best for cell in column(found["splits-test"], "ELBO")] == [False, True]
    assert [cell.best for cell in column(found["consistency"], "retrieval at 1")] == [True, False]
    assert not any(cell.best for cell in column(found["splits-test"], "rate"))
    assert not any(cell.best for cell in column(found["consistency"], "symmetric KL"))
    assert [cell.text for cell in column(found["splits-test"], "K of the NLL")] == ["5", "5"]


def test_figures_that_were_measured_otherwise_are_not_ranked(make_run):
    found = tables_of(
        [
            make_run("a", evaluated=evaluation(91.0, 0.25)),
            make_run("b", evaluated=evaluation(90.5, 0.125, test_rotation=60.0)),
        ]
    )
    assert any(cell.best for cell in column(found["splits-test"], "NLL"))
    assert not any(cell.best for cell in column(found["splits-transformed_test"], "NLL"))
    assert any(cell.best for cell in column(found["consistency"], "retrieval at 1", 0))
    assert not any(cell.best for cell in column(found["consistency"], "retrieval at 1", 1))
    assert "differ in test_rotation" in found["splits-transformed_test"].notes[0]
    assert "under test transform are" in found["consistency"].notes[0]
    assert found["splits-test"].notes == []


def test_figures_of_another_split_are_not_ranked(make_run):
    first = make_run("a", evaluated=evaluation(91.0, 0.25, eval_split="test"))
    second = make_run("b", evaluated=evaluation(90.5, 0.125, eval_split="validation"))
    found = tables_of([first, second])
    assert not any(cell.best for cell in column(found["splits-test"], "NLL"))
    assert "differ in eval_split" in found["splits-test"].notes[0]


def test_runs_that_were_not_evaluated_are_left_out_of_the_evaluation(make_run):
    found = tables_of([make_run("a"), make_run("b", evaluated=evaluation(91.0, 0.25))])
    assert [row[0].text for row in found["splits-test"].rows] == ["b"]
    assert tables_of([make_run("c")]) == {}


def places(svg):
    """The points of the first line, and the places of the vertical axis' ticks by their text."""
    path = re.search(r'class="line[^"]*" d="([^"]*)"', svg)[1]
    points = [tuple(map(float, p.split())) for p in re.findall(r"[ML]([\d. -]+)", path)]
    ticks = re.findall(r'class="tick y" x="54" y="([\d.]+)">([^<]+)<', svg)
    return points, {text.replace("\N{MINUS SIGN}", "-"): float(place) - 3.5 for place, text in ticks}


def test_a_line_passes_through_its_ticks():
    run = charts.series_of(["a"])[0]
    svg = charts.line_chart([Line(run, [0, 1, 2], [-10.0, 0.0, 10.0])], "epoch", "")
    points, ticks = places(svg)
    assert [x for x, _ in points] == [58.0, 177.0, 296.0]
    assert [y for _, y in points] == [ticks["-10"], ticks["0"], ticks["10"]]


def test_a_line_is_broken_where_it_has_no_value():
    run = charts.series_of(["a"])[0]
    svg = charts.line_chart([Line(run, [1, 2, 3, 4], [1.0, np.nan, 2.0, 3.0])], "epoch", "")
    assert re.search(r'd="(M[^"]*)"', svg[svg.index('class="line') :])[1].count("M") == 2
    assert svg.count("<circle") == 3
    assert charts.line_chart([Line(run, [1, 2], [np.nan, np.inf])], "epoch", "") is None


def test_the_vertical_axis_can_leave_the_first_epochs_out():
    run = charts.series_of(["a"])[0]
    line = Line(run, range(1, 11), [1000.0, *np.linspace(10.0, 1.0, 9)])
    _, whole = places(charts.line_chart([line], "epoch", ""))
    points, settled = places(charts.line_chart([line], "epoch", "", settled=2.0))
    assert max(map(float, whole)) >= 1000.0
    assert max(map(float, settled)) == 10.0
    assert points[0][1] < min(settled.values())


def test_names_are_escaped_in_charts():
    run = charts.series_of(['<b>&"c"'])[0]
    svg = charts.line_chart([Line(run, [1], [1.0])], "epoch", 'of <b>&"c"')
    assert "<b>" not in svg
    assert "&lt;b&gt;&amp;&#34;c&#34;" in svg


def test_the_latent_plane_has_one_scale_and_points_upwards():
    images = np.array([[0.0, 0.0], [4.0, 0.0]])
    views = np.array([[0.0, 2.0], [4.0, 2.0]])
    svg = charts.latent_plane(images, views, "")
    circle = r'class="{}" cx="([\d.]+)" cy="([\d.]+)"'
    found = {name: np.array(re.findall(circle.format(name), svg), float) for name in ("image", "view")}
    across = found["image"][1] - found["image"][0]
    up = found["view"][0] - found["image"][0]
    assert across[1] == up[0] == 0.0
    assert across[0] == -2.0 * up[1] > 0.0


def test_traversals_show_the_dimensions_that_change_the_image_most():
    effect = np.array([0.0, 0.1, 0.4, 0.2], np.float32)

    def decode(latents):
        return np.tile((latents @ effect)[:, np.newaxis, np.newaxis, np.newaxis], (1, 2, 2, 1))

    base, values = np.array([5.0, 1.0, 1.0, 1.0], np.float32), np.array([-3.0, 0.0, 3.0], np.float32)
    found = exhibits.traversals(decode, base, values, rows=2)
    assert found.dimensions.tolist() == [2, 3]
    assert found.images.shape == (2, 3, 2, 2, 1)
    expected = [[0.3 + 0.4 * value for value in values], [0.5 + 0.2 * value for value in values]]
    np.testing.assert_allclose(found.images[:, :, 0, 0, 0], expected, atol=1e-6)


def test_an_exported_part_that_is_broken_is_said_and_done_without(make_run, tmp_path):
    folder = make_run("a")
    for part in ("encoder", "decoder"):
        (tmp_path / "a" / part).mkdir()
        (tmp_path / "a" / part / "saved_model.pb").write_bytes(b"not a model")
    found = report.exhibit(report.read([folder])[0], lambda: pytest.fail("there is no encoder"))
    assert found.remarks == ("encoder cannot be loaded", "decoder cannot be loaded")
    assert found.samples is found.plane is found.neighbours is None


def test_a_report_on_runs_without_anything_says_so(make_run):
    read = report.read([make_run("empty", epochs=0), make_run("started", epochs=1)])
    page = report.render(read, [report.Exhibit()] * 2)
    assert "<strong>empty</strong>: unfinished, 0 of 2 epochs; no evaluation.json" in page
    assert 'id="training"' in page
    assert 'id="evaluation"' not in page
    assert "<img" not in page


def test_a_run_without_its_data_shows_the_figures_it_drew_itself(make_run, tmp_path):
    folder = make_run("a")
    (tmp_path / "a" / "figures").mkdir()
    figures.image_grid(tmp_path / "a" / "figures" / "samples.png", np.zeros((4, 8, 8, 1)), 2)
    page = report.render(report.read([folder]), [report.Exhibit()])
    assert page.count("data:image/png;base64,") == 1
    assert "own samples.png" in page


def test_a_png_holds_the_pixels():
    image = np.array([[0.0, 1.0], [0.5, 2.0]])[..., np.newaxis]
    decoded = np.asarray(Image.open(io.BytesIO(figures.png(image))))
    assert decoded.tolist() == [[0, 255], [128, 255]]
    colour = np.random.default_rng(0).uniform(size=(3, 2, 3))
    decoded = np.asarray(Image.open(io.BytesIO(figures.png(colour))))
    np.testing.assert_allclose(decoded / 255.0, colour, atol=0.5 / 255.0 + 1e-9)


def test_a_frame_is_seen_only_around_what_is_marked():
    framed = figures.framed(np.full((2, 4, 4, 1), 0.5), np.array([True, False]), width=1)
    assert framed.shape == (2, 6, 6, 4)
    np.testing.assert_array_equal(
        framed[:, 1:-1, 1:-1], np.broadcast_to([0.5, 0.5, 0.5, 1.0], (2, 4, 4, 4))
    )
    assert framed[0, 0, 0].tolist() == pytest.approx([0.95, 0.5, 0.1, 1.0])
    assert framed[1, 0, 0, 3] == 0.0


def test_absent_options_do_not_agree_with_null():
    assert not records.agree([None, records.ABSENT])


def test_epochs_are_counted_in_whole_numbers():
    run = charts.series_of(["a"])[0]
    svg = charts.line_chart([Line(run, [1, 2], [-3124.15, -3124.02])], "epoch", "")
    assert re.findall(r'class="tick x" [^>]*y="172">([^<]+)<', svg) == ["1", "2"]
    points, ticks = places(svg)
    assert {float(text) for text in ticks} >= {-3124.15, -3124.1, -3124.05}
    assert points[0][1] == ticks["-3124.15"]


def test_half_the_squared_error_and_the_rate_are_shown_where_a_run_has_them(make_run):
    bernoulli, gaussian = evaluation(100.0, 0.5), evaluation(90.0, 0.5)
    gaussian["splits"]["test"]["half_squared_error_plus_rate"] = 33.25
    found = tables_of([make_run("a", evaluated=bernoulli), make_run("b", evaluated=gaussian)])
    label = "half the squared error + rate"
    assert [cell.key for cell in column(found["splits-test"], label)] == [None, 33.25]
    assert label not in [column.label for column in found["splits-transformed_test"].columns]
