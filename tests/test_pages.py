"""Pages of results are made of the JSON files in their folders and of nothing else."""

import math
import shutil
from pathlib import Path

import pytest

from crvae_tf import InputError
from crvae_tf.runs import files
from crvae_tf.runs import run as provenance
from crvae_tf.runs.run import Run
from crvae_tf.studies import pages, paper
from tests.conftest import ROOT
from tests.made_up import evaluation


def a_run(folder, seed=0, commit="abc"):
    run = Run(folder)
    files.write_json(run.config, {"seed": seed, "epochs": 3})
    files.write_json(run.evaluation, evaluation(80.5, 0.5))
    made = {"training_seconds": 1800.0, "evaluation_seconds": 1800.0}
    files.write_json(run.provenance, made | {"commit": commit, "hardware": "2 cores"})
    return run


def summary(title):
    one = {name: ["some"] for name in ("epochs", "nll_samples", "num_images", "hardware", "commits")}
    made = one | {"commands": ["python -m launch.train"], "runs": 1, "seeds": 1, "hours": 1.25}
    about = {"study": "runs", "title": title, "datasets": ["digits"], "labels": []}
    return about | {"rows": [], "provenance": made}


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
    files.write_json(tmp_path / "b.json", summary("Second"))
    files.write_json(tmp_path / "a.json", summary("First"))
    (tmp_path / "a.md").write_text("It did not hold.\n")
    (tmp_path / "a_figure_1.png").touch()
    (tmp_path / "ab.png").touch()
    text = pages.document(tmp_path, tmp_path.parent / "RESULTS.md")
    picture = f"![a_figure_1]({tmp_path.name}/a_figure_1.png)"
    places = [text.index(part) for part in ("## First", picture, "It did not hold.", "## Second")]
    assert places == sorted(places)
    assert text.count("![") == 1


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("{", "expected JSON; received"),
        ('{"study": "other"}', "expected a summary of runs; received something else"),
    ],
)
def test_a_file_that_is_no_summary_is_an_input_error(tmp_path, content, expected):
    (tmp_path / "one.json").write_text(content)
    with pytest.raises(InputError, match=f"one.json: .*{expected}"):
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
