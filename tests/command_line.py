"""Flags that a test gives, forgotten after it. Import `forgotten_flags` to have it about every test."""

import pytest
from absl import flags

from launch import options
from torture import inprocess
from torture.inprocess import defined


@pytest.fixture(autouse=True)
def forgotten_flags():
    """Defines the flags of a training; absl's flags are one set for the whole process."""
    with defined(options.define_training):
        yield


def outcome_of(main, define, *arguments):
    """Gives a command, whose flags `define` defines, in this process: TensorFlow is loaded there."""
    return inprocess.run(main, arguments, define)


def resolved(*arguments):
    """The options that the arguments of a training stand for."""
    flags.FLAGS.unparse_flags()
    options.parse(["train", *arguments])
    return options.resolve()
