"""A run's directory: begun, resumed or refused, read."""

import json
import os

import pytest

from crvae_tf import InputError
from crvae_tf.runs import files
from crvae_tf.runs.run import Run

CONFIG = {"dataset": "digits", "eta": 0.1, "epochs": 3, "seed": 0, "data_dir": "here", "nll_samples": 5}


def begin(directory, **changes):
    run = Run(directory)
    run.begin(CONFIG | changes, may_differ=("data_dir",), may_change=("nll_samples",))
    return run


def test_a_run_begins_in_a_new_folder_or_an_empty_one(tmp_path):
    (tmp_path / "empty").mkdir()
    for name in ("a/b", "empty"):
        begin(tmp_path / name)
        assert json.loads((tmp_path / name / "config.json").read_text()) == CONFIG


def test_the_same_configuration_resumes_and_tuples_are_the_lists_of_json(tmp_path):
    begin(tmp_path, sides=(28, 28))
    (tmp_path / "evaluation.json").touch()
    begin(tmp_path, sides=(28, 28), data_dir="elsewhere", option_of_a_later_version=1)
    assert (tmp_path / "evaluation.json").exists()
    assert Run(tmp_path).read_config() == CONFIG | {"sides": [28, 28]}


@pytest.mark.parametrize(("name", "value"), [("epochs", 4), ("eta", 0.0), ("dataset", "mnist")])
def test_another_configuration_is_refused_by_the_name_of_the_option_that_differs(tmp_path, name, value):
    begin(tmp_path)
    with pytest.raises(InputError) as error:
        begin(tmp_path, **{name: value})
    assert error.value.argument == "output_dir"
    assert error.value.expected == f"{tmp_path} with its own {name}={CONFIG[name]}, or a new folder"
    assert error.value.received == f"{name}={value}"
    assert Run(tmp_path).read_config() == CONFIG


def test_a_run_that_is_evaluated_otherwise_takes_that_over_and_loses_its_evaluation(tmp_path):
    begin(tmp_path)
    for name in ("evaluation.json", "invariance.json", "model.weights.h5"):
        (tmp_path / name).write_text("{}")
    begin(tmp_path, nll_samples=7)
    assert Run(tmp_path).read_config() == CONFIG | {"nll_samples": 7}
    assert sorted(os.listdir(tmp_path)) == ["config.json", "model.weights.h5"]


@pytest.mark.parametrize(
    ("name", "text"), [("thesis.tex", "text"), ("config.json", '{"name": "another"}')]
)
def test_a_folder_of_something_else_is_refused_and_left_as_it_is(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=r"^output_dir: expected .* folder"):
        begin(tmp_path)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, text)]
    with pytest.raises(InputError, match=r"^output_dir: expected a folder; received the file "):
        begin(tmp_path / name)


@pytest.mark.parametrize("text", [None, "[]"])
def test_a_folder_without_a_configuration_is_told(tmp_path, text):
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    with pytest.raises(InputError, match=r"^output_dir: expected the folder of a run; "):
        Run(tmp_path).read_config()


def test_a_run_is_complete_when_all_that_it_leaves_behind_is_there(tmp_path):
    run = begin(tmp_path)
    for part in ("model.weights.h5", "evaluation.json", "encoder", "decoder", "figures"):
        assert not run.is_complete()
        (tmp_path / part).mkdir()
    assert run.is_complete()


def test_metrics_and_evaluation_are_read_as_they_were_written(tmp_path):
    run = Run(tmp_path)
    assert (run.read_metrics(), run.read_evaluation()) == ([], None)
    run.metrics.write_text('{"epoch": 1}\n{"epoch": 2}\n')
    files.write_json(run.evaluation, {"nll": 80.5})
    assert run.read_metrics() == [{"epoch": 1}, {"epoch": 2}]
    assert run.read_evaluation() == {"nll": 80.5}
    run.metrics.write_text('{"epoch": 1}\n{"epo')
    with pytest.raises(InputError, match=r"metrics.jsonl: expected lines of JSON; received "):
        run.read_metrics()


def test_a_run_that_was_moved_is_not_written_anew(tmp_path):
    run = begin(tmp_path / "run")
    os.rename(tmp_path / "run", tmp_path / "moved")
    with pytest.raises(FileNotFoundError, match="removed or moved during the run"):
        run.write_json(run.evaluation, {})
    assert os.listdir(tmp_path) == ["moved"]
