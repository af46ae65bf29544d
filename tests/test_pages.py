"""Pages of results, made of JSON files alone; tables of the paper and verdicts, worked out by hand."""

import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from crvae_tf import InputError
from crvae_tf.runs import files
from crvae_tf.runs import run as provenance
from crvae_tf.runs.run import Run
from crvae_tf.studies import comparisons, pages, paper
from crvae_tf.studies.paper import FAILED, HELD, NOISE, NOT_RUN
from tests.conftest import ROOT
from tests.made_up import evaluation


def a_run(folder, seed=0, commit="abc"):
    run = Run(folder)
    files.write_json(run.config, {"seed": seed, "epochs": 3})
    files.write_json(run.evaluation, evaluation(80.5, 0.5))
    made = {"training_seconds": 1800.0, "evaluation_seconds": 1800.0}
    files.write_json(run.provenance, made | {"commit": commit, "hardware": "2 cores"})
    return run


@pytest.mark.parametrize("folder", ["docs/results", "docs/invariance"])
def test_the_committed_page_is_what_the_script_writes(monkeypatch, folder):
    monkeypatch.chdir(ROOT)
    page = f"{folder}.md"
    assert pages.document(folder, page) == Path(page).read_text(encoding="utf-8")


def test_what_is_known_of_runs_is_gathered(tmp_path):
    runs = [a_run(tmp_path / "a", 0), a_run(tmp_path / "b", 1, commit="def")]
    found = pages.provenance(runs, ["python -m launch.reproduce --table=4"])
    assert (found["runs"], found["seeds"], found["hours"]) == (2, 2, 2.0)
    assert (found["commits"], found["hardware"]) == (["abc", "def"], ["2 cores"])
    assert (found["nll_samples"], found["num_images"], found["epochs"]) == ([5], [40], [3])
    runs[0].provenance.unlink()
    assert pages.provenance(runs, [])["commits"] == ["def", "unknown"]


def test_sections_follow_the_names_of_their_files_with_notes_and_pictures(tmp_path):
    for name, title in (("b", "Second"), ("a", "First")):
        pages.write(tmp_path / name, comparisons.summarize(title, {}), [], ["command"])
    (tmp_path / "a.md").write_text("It did not hold.\n")
    (tmp_path / "a_figure_1.png").touch()
    (tmp_path / "ab.png").touch()
    text = pages.document(tmp_path, tmp_path.parent / "RESULTS.md")
    picture = f"![a_figure_1]({tmp_path.name}/a_figure_1.png)"
    places = [text.index(part) for part in ("## First", picture, "It did not hold.", "## Second")]
    assert places == sorted(places)
    assert text.count("![") == 1


def test_a_folder_without_summaries_or_with_something_else_is_an_input_error(tmp_path):
    for content, expected in (("{", "JSON"), ('{"study": "other"}', "a summary of runs")):
        (tmp_path / "one.json").write_text(content)
        with pytest.raises(InputError, match=f"one.json: expected {expected}; received "):
            pages.document(tmp_path, "RESULTS.md")
    (tmp_path / "one.json").unlink()
    with pytest.raises(InputError, match=r"expected a folder with summaries of runs, \*\.json; "):
        pages.document(tmp_path, "RESULTS.md")


def test_a_table_is_written_as_csv_and_as_json_that_a_page_is_made_of(tmp_path):
    cells = {("mnist", "vae_aug"): [evaluation(84.0), evaluation(86.0)]}
    made = paper.summarize(4, ["mnist"], cells)
    text = pages.write(tmp_path / "table_4", made, [a_run(tmp_path / "a")], ["command"])
    lines = (tmp_path / "table_4.csv").read_text().splitlines()
    assert lines[0] == "dataset,method,metric,split,seeds,mean,std,paper_mean,paper_std"
    assert f"mnist,vae_aug,nll,test,2,85.0,{math.sqrt(2.0)},82.8,0.4" in lines
    assert len(lines) == 1 + len(made["rows"])
    (tmp_path / "table_4.md").unlink()  # Which would stand there as a note.
    assert text.rstrip() in pages.document(tmp_path, tmp_path / "RESULTS.md")


def test_the_commit_of_a_copy_without_history_is_what_the_environment_says(tmp_path, monkeypatch):
    monkeypatch.setenv(provenance.COMMIT_VARIABLE, "0123abc")
    assert provenance.commit() == "0123abc"
    monkeypatch.delenv(provenance.COMMIT_VARIABLE)
    monkeypatch.setattr(provenance, "__file__", shutil.copy(provenance.__file__, tmp_path))
    assert provenance.commit() is None


def test_the_hardware_names_the_cores_this_process_may_use(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 2})
    assert provenance.hardware().split(", ")[1] == "3 cores"


def test_the_package_holds_all_180_cells_of_the_paper():
    figures = paper.paper_figures()
    assert len(figures) == 180
    cells = figures.set_index(["table", "dataset", "method", "metric", "split"])
    assert cells.loc[1, "mnist", "vae", "nll", "test"].to_list() == [83.7, 0.3]
    cell = cells.loc[2, "omniglot", "cr_beta_vae_10", "mutual_information", "transformed_test"]
    assert cell["mean"] == 22.5
    assert cells.loc[4, "celeb_a", "cr_vae", "active_units", "test"].to_list() == [33.0, 1.2]
    number_of = figures.groupby(["table", "dataset", "method"]).size()
    for number, datasets in paper.DATASETS.items():
        for dataset in datasets:
            assert {number_of[number, dataset, label] for label in paper.methods(number)} == {6}


def test_the_noise_is_by_welch_and_satterthwaite():
    generator = np.random.default_rng(0)
    base, other = generator.normal(0.0, 1.0, 5), generator.normal(2.0, 3.0, 4)
    shares = [np.var(values, ddof=1) / len(values) for values in (base, other)]
    freedom = sum(shares) ** 2 / (shares[0] ** 2 / 4 + shares[1] ** 2 / 3)
    expected = stats.t.ppf(0.975, freedom) * math.sqrt(sum(shares))
    assert paper.judge(base.tolist(), other.tolist(), 1, 0.0)["noise"] == pytest.approx(expected)
    # Seeds that agree have the noise of the others alone, a share of 1 with one degree of freedom.
    noise = paper.judge([50.0, 50.0], [9.0, 11.0], 1, 0.0)["noise"]
    assert noise == pytest.approx(stats.t.ppf(0.975, 1.0))


@pytest.mark.parametrize(
    ("base", "other", "better", "least", "verdict", "difference"),
    [
        ([84.0, 84.1, 83.9], [81.0, 81.1, 80.9], -1, 0, HELD, -3.0),
        ([84.0, 84.1, 83.9], [81.0, 81.1, 80.9], 1, 0, FAILED, -3.0),
        ([84.0, 90.0], [81.0, 87.0], -1, 0, NOISE, -3.0),
        ([84.0, 84.0], [81.0], -1, 0, NOISE, -3.0),
        ([50.0, 50.0], [50.0, 50.0], 1, 0, NOISE, 0.0),
        ([], [81.0, 81.0], -1, 0, NOT_RUN, None),
        ([19, 19], [20, 20], 1, 1, NOISE, 1.0),
        ([19, 19], [21, 21], 1, 1, HELD, 2.0),
    ],
)
def test_a_claim_is_judged_by_direction_and_noise(base, other, better, least, verdict, difference):
    found = paper.judge(base, other, better, least)
    assert found["verdict"] == verdict
    assert found["difference"] == (None if difference is None else pytest.approx(difference))


def test_other_methods_stand_below_those_of_the_paper_and_are_marked():
    cells = {
        ("mnist", "registered cr_vae"): [evaluation(81.0)],
        ("mnist", "cr_vae"): [evaluation(84.0)],
    }
    summary = paper.summarize(4, ["mnist"], cells)
    assert {verdict["regularised"] for verdict in summary["verdicts"]} == {"cr_vae"}
    text = paper.markdown(summary)
    rows = (
        "| VAE+Aug | here | 0 | not run |",
        "| CR-VAE | here | 1 | 84.00",
        "| registered CR-VAE | ours | 1 | 81.00",
    )
    places = [text.index(row) for row in rows]
    assert places == sorted(places)
    assert "rows are marked `ours`" in text
    assert "`ours`" not in paper.markdown(paper.summarize(4, ["mnist"], {}))


def test_a_gaussian_nll_stands_beside_the_papers_without_its_constant():
    one = evaluation(11_380.0, half_squared_error_plus_rate=70.0)
    text = paper.markdown(paper.summarize(3, ["celeb_a"], {("celeb_a", "cr_vae"): [one]}))
    assert "| CR-VAE | here | 1 | 70.00 | 70.00 |" in text
    assert "|  | paper |  | 65.9 ± 0.2 | 98.3 ± 0.8 |" in text
    assert "| CR-VAE | 11380.00 / " in text


def test_a_table_has_the_papers_figures_below_ours_and_says_how_each_claim_fared():
    """VAE+Aug at 84 and 86 nats, CR-VAE at 79 and 81: the noise is t(0.975; 2) sqrt(2) = 6.08."""

    def of(nll, active_units, information):
        return evaluation(nll, active_units=active_units, mutual_information_disjoint=information)

    cells = {
        ("mnist", "vae_aug"): [of(84.0, 20, 100.0), of(86.0, 20, 100.0)],
        ("mnist", "cr_vae"): [of(79.0, 20, 90.0), of(81.0, 22, 90.0)],
    }
    lines = paper.markdown(paper.summarize(4, ["mnist"], cells)).splitlines()
    ours = "| CR-VAE | here | 2 | 80.00 ± 1.41 | 160.00 ± 2.83 | 90.00 ± 0.00 | 90.00 ± 0.00 | 21.0 ± "
    papers = "|  | paper |  | 81.2 ± 0.2 | 129.5 ± 0.4 | 126.3 ± 0.9 | 216.4 ± 1.2 | 47 ± 0.5 |"
    (row,) = (number for number, line in enumerate(lines) if line.startswith(ours))
    assert lines[row + 1].startswith(papers)
    for claim in (
        "a lower NLL than VAE+Aug, test | **within the noise** | "
        "80.00 ± 1.41 against 85.00 ± 1.41 | -5.00 ± 6.08 | -1.6",
        "more mutual information (disjoint) than VAE+Aug, transformed test | **did not hold** | "
        "90.00 ± 0.00 against 100.00 ± 0.00 | -10.00 ± 0.00 | +8",
        "more mutual information (upper bound) than VAE+Aug, test | **within the noise** | "
        "1.00 ± 0.00 against 1.00 ± 0.00 | +0.00 ± 0.00 | ",
    ):
        assert f"| CR-VAE has {claim} |" in lines
    assert any("2 did not hold, 6 within the noise" in line for line in lines)
