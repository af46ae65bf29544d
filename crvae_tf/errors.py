"""The errors that stand for something other than a fault of the program."""


class InputError(ValueError):
    """What the user gave cannot be used; the message is one line that says what was expected.

    Launchers print it without a traceback. Every other exception is a fault of the program.
    """


class Interrupted(Exception):  # noqa: N818 - nothing went wrong.
    """The run was told to stop, and stopped after a checkpoint.

    Attributes:
      signal: the number of the signal that told it.
    """

    def __init__(self, signal: int):
        super().__init__("stopped after a checkpoint; the same command goes on from there")
        self.signal = signal


class NotFiniteError(ArithmeticError):
    """A term of the objective or a gradient became NaN or infinite; the message is one line."""
