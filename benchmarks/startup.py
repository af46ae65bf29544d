"""How long it takes from the command to the end of the first step on digits.

  python -m benchmarks.startup

The command is `launch.train --flagfile=digits.flags` with all images in one step; the step is done when
the first line of metrics.jsonl is there.
"""

import pathlib
import subprocess
import sys
import tempfile
import time

from benchmarks import measurement
from benchmarks.measurement import Figure

FLAGS = ("--flagfile=digits.flags", "--validation_images=0", "--batch_size=2000")
ROOT = pathlib.Path(__file__).resolve().parent.parent


def main() -> None:
    options = measurement.parser(__doc__, repeats=3).parse_args()
    totals = [until_first_step() for _ in range(options.repeats)]
    measurement.report([Figure("launch.train", "to the first step", "s", totals)])


def until_first_step() -> float:
    """Returns after how many seconds the command wrote its first metrics; ends it then."""
    with tempfile.TemporaryDirectory() as folder:
        metrics = pathlib.Path(folder, "run", "metrics.jsonl")
        command = [sys.executable, "-m", "launch.train", *FLAGS, f"--output_dir={metrics.parent}"]
        began = time.perf_counter()
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        while not (metrics.exists() and metrics.stat().st_size):
            if process.poll() is not None:
                sys.exit(f"it ended without a step: {' '.join(command)}")
            time.sleep(0.01)
        spent = time.perf_counter() - began
        process.kill()
        process.wait()
        return spent


if __name__ == "__main__":
    main()
