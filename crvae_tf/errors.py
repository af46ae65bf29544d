"""Errors that are not bugs; launchers print each as one line."""

import numbers
import re
import sys
from collections.abc import Iterable


class InputError(ValueError):
    """Invalid user input; launchers print its one line without a traceback.

    Its attributes are the argument's name, what was expected and what was received.

    >>> print(InputError("eta", "a number >= 0", -1))
    eta: expected a number >= 0; received -1
    """

    def __init__(self, argument: str, expected: str | None = None, received: object = None):
        received = "nothing" if received == "" else received
        message = f"{argument}: expected {expected}; received {received}" if expected else argument
        super().__init__(message)
        self.argument = argument
        self.expected = expected
        self.received = received


def check_choice(name: str, value: str, choices: Iterable[str]) -> None:
    """Raises InputError, naming the argument `name`, unless `value` is one of `choices`.

    >>> check_choice("direction", "back", ["forward", "reverse"])
    Traceback (most recent call last):
    crvae_tf.errors.InputError: direction: expected one of forward, reverse; received back
    """
    if value not in choices:
        raise InputError(name, f"one of {', '.join(choices)}", value)


def check_number(
    name: str, value: float, expected: str, lowest: float = 0.0, highest: float = sys.float_info.max
) -> None:
    """Raises InputError, naming the argument `name`, unless `value` is a number in an interval.

    >>> check_number("eta", -1, "a number >= 0")
    Traceback (most recent call last):
    crvae_tf.errors.InputError: eta: expected a number >= 0; received -1
    """
    if not isinstance(value, numbers.Real) or not lowest <= value <= highest:
        raise InputError(name, expected, repr(value))


class Interrupted(Exception):  # noqa: N818 - nothing went wrong.
    """The run received a signal and stopped after a checkpoint.

    Attributes:
      signal: the signal's number.
    """

    def __init__(self, signal: int):
        super().__init__("Stopped after a checkpoint. Run the same command again to resume.")
        self.signal = signal


class NotFiniteError(ArithmeticError):
    """A term of the objective, a gradient or a weight became NaN or infinite; one line says which."""


class LostWorkerError(Exception):
    """Another worker of the same training ended before this one; the message is one line."""


def is_told(error: Exception) -> bool:
    """Returns whether an error is not a bug, so that its `one_line` tells the user enough."""
    return isinstance(error, (InputError, NotFiniteError, LostWorkerError, *storage_errors()))


def storage_errors() -> tuple[type[Exception], ...]:
    """Returns the errors of a full disk and of files that are missing or not accessible."""
    import tensorflow as tf  # Importing it takes seconds, and flags do not need it.

    return (
        OSError,
        tf.errors.DataLossError,
        tf.errors.NotFoundError,
        tf.errors.PermissionDeniedError,
        tf.errors.ResourceExhaustedError,
    )


def one_line(error: Exception) -> str:
    r"""Returns an error's message as one line, without TensorFlow's operations and source lines.

    >>> import tensorflow as tf
    >>> one_line(tf.errors.OpError(None, None, "{{function_node f}} Input is empty. [Op:Decode]", 3))
    'Input is empty.'
    >>> made = 'Detected at node a defined at (most recent call last):\n  File "a.py", line 1, in f\n'
    >>> one_line(tf.errors.OpError(None, None, f"Graph execution error:\n\n{made}\nOOM [[{{a}}]]", 8))
    'OOM'
    """
    text = str(getattr(error, "message", error))
    text = re.sub(r"^Graph execution error:.*\n  File [^\n]*\n", "", text, flags=re.DOTALL)
    return " ".join(re.sub(r"\{\{.*?\}\}|\[\[.*?\]\]|\[Op:.*", "", text).split())


def reason(error: Exception) -> str:
    """Returns the start of `one_line`, short enough to quote in another message."""
    return one_line(error)[:160]
