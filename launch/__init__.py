"""The commands: `crvae train` or `python -m launch.train`, and so on for the others."""

import sys

from launch import stopping

if sys.argv[:1] == ["-m"]:  # While Python looks for the command that it shall run.
    stopping.listen()
