"""Weights in files: read as they were written, or refused in one line."""

import subprocess
import sys

import h5py
import keras
import pytest

from crvae_tf import VAE, InputError, networks
from crvae_tf.runs.run import load_weights, save_weights
from tests.conftest import ROOT
from tests.small_training import assert_same_weights


def new_model(latent_dim=3, seed=0):
    return VAE(*networks.build("mlp", (8, 8, 1), latent_dim, 0.1, seed))


@pytest.mark.parametrize("write", [save_weights, keras.Model.save_weights])
def test_weights_are_read_as_they_or_keras_wrote_them(tmp_path, write):
    model, other = new_model(), new_model(seed=1)
    write(model, tmp_path / "model.weights.h5")
    load_weights(other, tmp_path / "model.weights.h5")
    assert_same_weights(other, model)


def test_the_optimizer_is_kept_and_is_not_in_the_file(tmp_path):
    model = new_model()
    model.compile(optimizer=keras.optimizers.Adam())
    model.optimizer.build(model.trainable_variables)
    optimizer = model.optimizer
    save_weights(model, tmp_path / "any name")
    assert model.optimizer is optimizer
    sizes = []
    with h5py.File(tmp_path / "any name") as file:
        file.visititems(lambda _, item: sizes.append(getattr(item, "size", 0)))
    metrics = sum(v.shape.num_elements() for metric in model.metrics for v in metric.variables)
    assert model.count_params() <= sum(sizes) <= model.count_params() + metrics


def test_a_file_without_the_models_weights_is_refused_in_one_line(tmp_path):
    path = tmp_path / "model.weights.h5"
    with pytest.raises(InputError) as error:
        load_weights(new_model(), path)
    assert str(error.value) == f"{path}: expected the weights of a finished run; received no such file"
    save_weights(new_model(), path)
    for damaged in (path.read_bytes(), path.read_bytes()[:-1000], b"not weights"):
        path.write_bytes(damaged)
        with pytest.raises(InputError, match="expected weights of this model; received ") as error:
            load_weights(new_model(latent_dim=2), path)
        assert "\n" not in str(error.value)


def test_where_a_file_may_not_grow_that_large_the_process_goes_on(tmp_path):
    program = f"""
import resource
from crvae_tf.runs.run import load_weights, save_weights
from tests.test_weights import new_model

resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    save_weights(new_model(), {str(tmp_path / "model.weights.h5")!r})
except OSError as error:
    print(error.strerror)
"""
    command = [sys.executable, "-c", program]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (0, "File too large\n"), ended.stderr
