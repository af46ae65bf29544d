"""Weights in files: read as they were written, or refused in one line."""

import shutil
import subprocess
import sys

import h5py
import pytest

from crvae_tf import VAE, InputError, networks, weights
from tests.conftest import ROOT
from tests.small_training import assert_same_weights


def new_model(latent_dim=3, seed=0):
    return VAE(*networks.build("mlp", (8, 8, 1), latent_dim, 0.1, seed))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A model and the file of its weights."""
    model, path = new_model(), tmp_path_factory.mktemp("weights") / "model.weights.h5"
    weights.save(model, path)
    return model, path


def test_weights_are_read_as_they_were_written(written):
    model, path = written
    other = new_model(seed=1)
    weights.load(other, path)
    assert_same_weights(other, model)


def test_weights_may_be_written_under_any_name(written, tmp_path):
    model, other = written[0], new_model(seed=1)
    weights.save(model, tmp_path / "mine")
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
    (tmp_path / "mine").rename(tmp_path / "mine.weights.h5")
    weights.load(other, tmp_path / "mine.weights.h5")
    assert_same_weights(other, model)


def test_weights_that_keras_wrote_are_read(written, tmp_path):
    model, other = written[0], new_model(seed=1)
    model.save_weights(tmp_path / "kerass.weights.h5")
    weights.load(other, tmp_path / "kerass.weights.h5")
    assert_same_weights(other, model)


def test_a_single_bit_of_a_weight_that_changed_is_noticed(written, tmp_path):
    path = shutil.copy(written[1], tmp_path)
    kernel = written[0].get_weights()[0]
    contents = bytearray(written[1].read_bytes())
    contents[contents.index(kernel.tobytes()) + kernel.nbytes // 2] ^= 1
    with open(path, "wb") as file:
        file.write(contents)
    before = new_model(seed=1)
    with pytest.raises(InputError) as error:
        weights.load(before, path)
    assert str(error.value) == (
        f"{path}: expected the weights that were written; received others: the file is damaged"
    )
    assert_same_weights(before, new_model(seed=1))


def test_arrays_that_changed_places_are_noticed(written, tmp_path):
    path = shutil.copy(written[1], tmp_path)
    with h5py.File(path, "r+") as file:
        names = []
        file.visit(names.append)
        alike = [name for name in names if getattr(file[name], "shape", None) == (20, 20)]
        one, other = alike[:2]
        file.move(one, "kept")
        file.move(other, one)
        file.move("kept", other)
    with pytest.raises(InputError, match="the file is damaged"):
        weights.load(new_model(), path)


def test_weights_of_another_model_are_refused_in_one_line(written):
    with pytest.raises(InputError, match="expected weights of this model; received ") as error:
        weights.load(new_model(latent_dim=2), written[1])
    assert "\n" not in str(error.value)


def test_a_file_without_weights_is_refused(tmp_path):
    path = tmp_path / "model.weights.h5"
    with pytest.raises(InputError) as error:
        weights.load(new_model(), path)
    assert str(error.value) == f"{path}: expected the weights of a finished run; received no such file"
    path.write_text("not weights")
    with pytest.raises(InputError, match="expected weights of this model; received "):
        weights.load(new_model(), path)


def test_where_a_file_may_not_grow_that_large_the_process_goes_on(tmp_path):
    program = f"""
import resource
from crvae_tf import weights
from tests.test_weights import new_model

resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
try:
    weights.save(new_model(), {str(tmp_path / "model.weights.h5")!r})
except OSError as error:
    print(error.strerror)
"""
    command = [sys.executable, "-c", program]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (0, "File too large\n"), ended.stderr
