"""What several test files share."""

import gc
import logging
import os
import pathlib
import re
import types

import keras
import numpy as np
import pytest

from crvae_tf import CRVAE, VAE, InputError, datasets, networks
from crvae_tf.runs import drawing
from crvae_tf.runs.run import Run
from tests import small_training

ROOT = pathlib.Path(__file__).resolve().parent.parent


def pytest_collection_finish():
    """Hides what was imported from the collector, which took a tenth of the tests' time with it."""
    gc.collect()
    gc.freeze()


def python_blocks(document, heading):
    """Returns the Python under the `heading` of a Markdown `document`."""
    text = (ROOT / document).read_text(encoding="utf-8")
    section = re.search(rf"^## {heading}$(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)[1]
    return re.findall(r"```python\n(.*?)```", section, re.DOTALL)


def concatenated(batches):
    """The parts of all batches, end to end."""
    return [np.concatenate(parts) for parts in zip(*batches, strict=True)]


def message_of(load, *args, **kwargs):
    """What the InputError says that `load` raises."""
    with pytest.raises(InputError) as error:
        load(*args, **kwargs)
    message = str(error.value)
    assert "\n" not in message
    return message


@pytest.fixture(autouse=True)
def _same_policy():
    """What a command set for its process is not left to the next test."""
    before = keras.mixed_precision.global_policy()
    yield
    keras.mixed_precision.set_global_policy(before)


@pytest.fixture
def log(caplog):
    """What the package logs."""
    caplog.set_level(logging.INFO, "crvae_tf")
    return caplog


@pytest.fixture(scope="session")
def digits():
    """The embedded data set."""
    return datasets.load("digits")


@pytest.fixture(scope="session")
def shared_data_dir():
    """Prepared TFDS folders of MNIST and OMNIGLOT."""
    folder = pathlib.Path(os.environ.get("CRVAE_TFDS_DATA_DIR", ROOT.parent / "shared" / "tfds"))
    if not (folder / "mnist").is_dir():
        pytest.skip("no prepared MNIST and OMNIGLOT: set CRVAE_TFDS_DATA_DIR to a TFDS folder")
    return str(folder)


@pytest.fixture(scope="session")
def noise():
    """What `small_training` trains on."""
    return small_training.noise()


@pytest.fixture(scope="session")
def unbroken(noise, tmp_path_factory):
    """The outcome of a training of `small_training` that nothing disturbed."""
    return small_training.train(tmp_path_factory.mktemp("unbroken"), noise)


@pytest.fixture
def drawn(monkeypatch):
    """The figures that are drawn, in place of their files."""
    figures = []
    monkeypatch.setattr(drawing, "save", lambda figure, path: figures.append(figure))
    return figures


@pytest.fixture(scope="session")
def trained(digits, tmp_path_factory):
    """A CR-VAE of the digits that knows a little of them, its data and its run."""
    run = Run(tmp_path_factory.mktemp("trained") / "run")
    model = CRVAE(VAE(*networks.build("mlp", digits.preprocessing.image_shape, 5, 0.25)))
    small_training.train(run, digits, model, epochs=4, batch_size=64, learning_rate=3e-3, seed=0)
    return types.SimpleNamespace(model=model, data=digits, run=run)
