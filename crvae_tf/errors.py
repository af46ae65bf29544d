"""The one error that stands for a mistake in what the user gave."""


class InputError(ValueError):
    """What the user gave cannot be used; the message is one line that says what was expected.

    Launchers print it without a traceback. Every other exception is a fault of the program.
    """
