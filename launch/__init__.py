"""The commands: `python -m launch.train`, `launch.evaluate`, `launch.export`, `launch.report`."""

import sys

from launch import stopping

if sys.argv[:1] == ["-m"]:  # While Python looks for the command that it shall run.
    stopping.listen()
