"""Fixtures that several test files share."""

import os
import pathlib

import pytest

from crvae_tf import datasets

ROOT = pathlib.Path(__file__).resolve().parent.parent


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
