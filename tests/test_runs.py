"""A run's directory: whose it is and what is in it."""

import json

import pytest

from crvae_tf import InputError
from crvae_tf.runs import Run
from tests.made_up import evaluation

CONFIG = {"dataset": "digits", "epochs": 3, "eta": 0.1, "data_dir": None, "versions": {"keras": "3"}}
PARTS = ("model.weights.h5", "evaluation.json", "encoder", "decoder", "figures")


def message_of(error):
    text = str(error.value)
    assert "\n" not in text
    return text


@pytest.mark.parametrize("name", [".photos.20261126", ".git.disabled", ".encoder.original.backup99"])
def test_a_folder_of_the_users_is_no_leftover(tmp_path, name):
    (tmp_path / name).mkdir()
    (tmp_path / name / "image.png").touch()
    with pytest.raises(InputError, match="received a folder of other files"):
        Run(tmp_path).begin(CONFIG)
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / ".12.notes.txt").touch()
    Run(tmp_path).begin(CONFIG)
    assert (tmp_path / name / "image.png").exists()
    assert (tmp_path / "figures" / ".12.notes.txt").exists()


@pytest.mark.parametrize("trains", [False, True])
def test_what_another_configuration_makes_untrue_is_removed(tmp_path, trains):
    Run(tmp_path).begin(CONFIG)
    for name in (
        "evaluation.json",
        "invariance.json",
        "baselines.json",
        "encoder.tflite",
        "encoder.onnx",
    ):
        (tmp_path / name).touch()
    run = Run(tmp_path)
    run.begin(CONFIG | {"epochs": 4}, may_change=("epochs",))
    run.go_on(trains=trains)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"config.json"} | (set() if trains else {"encoder.tflite", "encoder.onnx"})


def test_a_new_run_keeps_its_configuration(tmp_path):
    run = Run(tmp_path / "runs" / "one")
    run.begin(CONFIG)
    assert json.loads((tmp_path / "runs" / "one" / "config.json").read_text()) == CONFIG
    assert run.read_config() == CONFIG


def test_an_empty_folder_may_become_a_run(tmp_path):
    Run(tmp_path).begin(CONFIG)
    assert Run(tmp_path).read_config() == CONFIG


def test_a_run_may_be_begun_again_and_keeps_all_its_files(tmp_path):
    Run(tmp_path).begin(CONFIG)
    before = (tmp_path / "config.json").read_bytes(), (tmp_path / "config.json").stat().st_mtime_ns
    (tmp_path / "metrics.jsonl").write_text("{}\n")
    Run(tmp_path).begin(dict(reversed(CONFIG.items())))
    assert (
        (tmp_path / "config.json").read_bytes(),
        (tmp_path / "config.json").stat().st_mtime_ns,
    ) == before
    assert (tmp_path / "metrics.jsonl").read_text() == "{}\n"


def test_options_that_came_later_had_their_defaults_in_an_older_run(tmp_path):
    Run(tmp_path).begin(CONFIG)
    (tmp_path / "evaluation.json").write_text("{}")
    Run(tmp_path).begin(CONFIG | {"jit": "auto"}, absent={"jit": "auto"})
    assert (tmp_path / "evaluation.json").exists()
    with pytest.raises(InputError, match="jit=auto; received jit=on"):
        Run(tmp_path).begin(CONFIG | {"jit": "on"}, absent={"jit": "auto"})


def test_a_tuple_is_the_list_that_json_makes_of_it(tmp_path):
    Run(tmp_path).begin({"sides": (28, 28)})
    assert Run(tmp_path).read_config() == {"sides": [28, 28]}
    (tmp_path / "evaluation.json").touch()
    again = Run(tmp_path)
    again.begin({"sides": (28, 28)}, may_change=("sides",))
    again.go_on(trains=False)
    assert again.evaluation.exists()
    with pytest.raises(InputError, match=r"with sides=\[28, 28\]; received sides="):
        Run(tmp_path).begin({"sides": (28, 29)})


@pytest.mark.parametrize(
    ("name", "value"), [("epochs", 4), ("eta", 0.0), ("dataset", "mnist"), ("seed", 1)]
)
def test_another_run_is_refused_by_the_name_of_the_option_that_differs(tmp_path, name, value):
    Run(tmp_path).begin(CONFIG)
    with pytest.raises(InputError) as error:
        Run(tmp_path).begin(CONFIG | {name: value})
    assert message_of(error) == (
        f"--output_dir={tmp_path}: expected a new folder, or the run in it with "
        f"{name}={CONFIG.get(name)}; received {name}={value}"
    )
    assert Run(tmp_path).read_config() == CONFIG


def test_places_may_differ_and_the_first_ones_stay(tmp_path):
    Run(tmp_path).begin(CONFIG)
    Run(tmp_path).begin(CONFIG | {"data_dir": "elsewhere"}, may_differ=("data_dir",))
    assert Run(tmp_path).read_config() == CONFIG


def test_a_folder_of_other_files_is_refused_and_left_as_it_is(tmp_path):
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(InputError) as error:
        Run(tmp_path).begin(CONFIG)
    assert message_of(error) == (
        f"--output_dir={tmp_path}: expected a new or empty folder, or a run to resume; "
        "received a folder of other files"
    )
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_is_no_folder_to_run_in(tmp_path):
    (tmp_path / "thesis.tex").write_text("text")
    with pytest.raises(InputError) as error:
        Run(tmp_path / "thesis.tex").begin(CONFIG)
    assert message_of(error).startswith(f"--output_dir={tmp_path / 'thesis.tex'}: expected a ")
    assert (tmp_path / "thesis.tex").read_text() == "text"


@pytest.mark.parametrize("text", [None, "", "{", "\xff"])
def test_a_folder_without_a_readable_configuration_is_no_run(tmp_path, text):
    if text is not None:
        (tmp_path / "config.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError) as error:
        Run(tmp_path).read_config()
    assert message_of(error) == (
        f"--output_dir={tmp_path}: expected the folder of a run; received no readable config.json in it"
    )


@pytest.mark.parametrize("text", ["[]", "null"])
def test_a_configuration_of_something_else_is_no_run(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(InputError):
        Run(tmp_path).begin(CONFIG)
    with pytest.raises(InputError):
        Run(tmp_path).read_config()
    assert (tmp_path / "config.json").read_text() == text


@pytest.mark.parametrize("missing", [None, *PARTS])
def test_a_run_is_complete_when_all_that_it_leaves_behind_is_there(tmp_path, missing):
    run = Run(tmp_path)
    run.begin(CONFIG)
    for part in PARTS:
        if part != missing:
            (tmp_path / part).mkdir()
    assert run.is_complete() == (missing is None)


def test_metrics_and_evaluation_are_read_as_they_were_written(tmp_path):
    run = Run(tmp_path)
    assert run.read_metrics() == []
    assert run.read_evaluation() is None
    run.metrics.write_text('{"epoch": 1}\n{"epoch": 2}\n')
    run.evaluation.write_text(json.dumps(evaluation(80.5, 0.5)))
    assert run.read_metrics() == [{"epoch": 1}, {"epoch": 2}]
    assert run.read_evaluation() == evaluation(80.5, 0.5)


def test_a_run_that_another_process_began_meanwhile_is_looked_at_anew(tmp_path, monkeypatch):
    lock = Run.lock

    def lock_after_another(run):
        (tmp_path / "config.json").write_text(json.dumps(CONFIG | {"epochs": 5}))
        lock(run)

    monkeypatch.setattr(Run, "lock", lock_after_another)
    with pytest.raises(InputError, match="epochs=5; received epochs=3"):
        Run(tmp_path).begin(CONFIG)
