"""Flags that a test gives, forgotten after it. Import `forgotten_flags` to have it about every test."""

import contextlib

import pytest
from absl import flags

from launch import options
from torture import inprocess


@pytest.fixture(autouse=True)
def forgotten_flags():
    """absl's flags are one for the whole process."""
    flags.FLAGS.unparse_flags()
    yield
    flags.FLAGS.unparse_flags()


@contextlib.contextmanager
def defined(define):
    """Has the flags that a command's own `define` adds, without those that it drops."""
    before = {
        name: (flags.FLAGS.find_module_defining_flag(name), flags.FLAGS[name]) for name in flags.FLAGS
    }
    define()
    added = [name for name in flags.FLAGS if name not in before]
    try:
        yield
    finally:
        for name in added:
            delattr(flags.FLAGS, name)
        for name, (module, flag) in before.items():
            if name not in flags.FLAGS:
                flags.FLAGS[name] = flag
                flags.FLAGS.register_flag_by_module(module, flag)
        flags.FLAGS.unparse_flags()


def outcome_of(main, define, *arguments):
    """Gives a command, whose own flags `define` adds, in this process: TensorFlow is loaded there."""
    with defined(define):
        return inprocess.run(main, arguments)


def resolved(*arguments):
    """The options that the arguments of a training stand for."""
    flags.FLAGS.unparse_flags()
    options.parse(["train", *arguments])
    return options.resolve()
