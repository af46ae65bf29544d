"""Flags that a test gives, forgotten after it. Import `forgotten_flags` to have it about every test."""

import pytest
from absl import flags

from launch import options


@pytest.fixture(autouse=True)
def forgotten_flags():
    """absl's flags are one for the whole process."""
    flags.FLAGS.unparse_flags()
    yield
    flags.FLAGS.unparse_flags()


def resolved(*arguments):
    """The options that the arguments of a training stand for."""
    flags.FLAGS.unparse_flags()
    options.parse(["train", *arguments])
    return options.resolve()
