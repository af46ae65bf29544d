"""A run's directory: begun, resumed or refused, read; and the weights in it."""

import h5py
import keras
import pytest

from crvae_tf import InputError
from crvae_tf.runs.run import Run, load_weights, save_weights
from tests.conftest import message_of
from tests.small_training import assert_same_weights, new_model

CONFIG = {"dataset": "digits", "eta": 0.1, "epochs": 3, "seed": 0, "data_dir": "here", "nll_samples": 5}


def begin(directory, **changes):
    run = Run(directory)
    run.begin(CONFIG | changes, may_differ=("data_dir",), may_change=("nll_samples", "seed"))
    return run


def test_the_same_configuration_resumes_and_tuples_are_the_lists_of_json(tmp_path):
    place = tmp_path / "new" / "run"
    begin(place, sides=(28, 28))
    (place / "evaluation.json").touch()
    begin(place, sides=(28, 28), data_dir="elsewhere", option_of_a_later_version=1)
    assert (place / "evaluation.json").exists()
    assert Run(place).read_config() == CONFIG | {"sides": [28, 28]}


def test_another_configuration_is_refused_by_the_name_of_the_option_that_differs(tmp_path):
    begin(tmp_path)
    expected = f"expected {tmp_path} with its own eta=0.1, or a new folder; received eta=0.0"
    with pytest.raises(InputError, match=f"^output_dir: {expected}$"):
        begin(tmp_path, eta=0.0)
    assert Run(tmp_path).read_config() == CONFIG


@pytest.mark.parametrize(("changes", "kept"), [({"nll_samples": 7}, True), ({"seed": 1}, False)])
def test_a_run_that_is_evaluated_otherwise_loses_what_was_measured(tmp_path, changes, kept):
    """The curves of invariance have no likelihood, and so no K."""
    begin(tmp_path)
    for name in ("evaluation.json", "invariance.json", "model.weights.h5"):
        (tmp_path / name).write_text("{}")
    begin(tmp_path, **changes)
    assert Run(tmp_path).read_config() == CONFIG | changes
    left = {"config.json", "model.weights.h5"} | ({"invariance.json"} if kept else set())
    assert {path.name for path in tmp_path.iterdir()} == left


@pytest.mark.parametrize(
    ("name", "text"), [("thesis.tex", "text"), ("config.json", '{"name": "another"}')]
)
def test_a_folder_of_something_else_is_refused_and_left_as_it_is(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=r"^output_dir: expected .* folder"):
        begin(tmp_path)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, text)]
    with pytest.raises(InputError, match=r"^output_dir: expected a folder that can be made; received "):
        begin(tmp_path / name / "below")


@pytest.mark.parametrize("text", [None, "[]"])
def test_a_folder_without_a_configuration_is_told(tmp_path, text):
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    with pytest.raises(InputError, match=r"^output_dir: expected the folder of a run; "):
        Run(tmp_path).read_config()


@pytest.mark.parametrize("write", [save_weights, keras.Model.save_weights])
def test_weights_are_read_as_they_or_keras_wrote_them(tmp_path, write):
    model, other = new_model(), new_model(weights_seed=1)
    write(model, tmp_path / "model.weights.h5")
    load_weights(other, tmp_path / "model.weights.h5")
    assert_same_weights(other, model)


def test_the_optimizer_is_not_in_the_file(tmp_path):
    model = new_model()
    model.compile(optimizer=keras.optimizers.Adam())
    model.optimizer.build(model.trainable_variables)
    save_weights(model, tmp_path / "any name")
    with h5py.File(tmp_path / "any name") as file:
        assert "optimizer" not in file


def test_a_file_without_the_models_weights_is_refused_in_one_line(tmp_path):
    path = tmp_path / "model.weights.h5"
    expected = f"{path}: expected the weights of a finished run; received no such file"
    assert message_of(load_weights, new_model(), path) == expected
    save_weights(new_model(), path)
    for damaged in (path.read_bytes(), path.read_bytes()[:-1000], b"not weights"):
        path.write_bytes(damaged)
        message = message_of(load_weights, new_model(latent_dim=2), path)
        assert "expected weights of this model; received " in message
