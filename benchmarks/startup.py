"""How long it takes from the command to the end of the first step on digits, and what it imports.

  python -m benchmarks.startup

The command is `launch.train --flagfile=digits.flags` with all images in one step; the step is done when
the first line of metrics.jsonl is there. `python -X importtime` tells how long each package takes that
the command imports, without the others that it imports.
"""

import collections
import pathlib
import re
import subprocess
import sys
import tempfile
import time

from benchmarks import measurement
from benchmarks.measurement import Figure

COMMAND = (
    "-m",
    "launch.train",
    "--flagfile=digits.flags",
    "--validation_images=0",
    "--batch_size=2000",
)
IMPORTS = (sys.executable, "-X", "importtime", "-c", "import launch.assembly")
ROOT = pathlib.Path(__file__).resolve().parent.parent
LEAST_SECONDS = 0.1


def main() -> None:
    options = measurement.parser(__doc__, repeats=3).parse_args()
    totals, imports = [], collections.defaultdict(list)
    for _ in range(options.repeats):
        totals.append(until_first_step())
        log = subprocess.run(IMPORTS, cwd=ROOT, check=True, capture_output=True, text=True).stderr
        for package, spent in import_seconds(log).items():
            imports[package].append(spent)
    figures = [Figure("launch.train", "to the first step", "s", totals)]
    for package, spent in sorted(imports.items(), key=lambda item: -max(item[1])):
        if max(spent) >= LEAST_SECONDS:
            figures.append(Figure("launch.train", f"import of {package}", "s", spent))
    measurement.report(figures)


def until_first_step() -> float:
    """Returns after how many seconds the command wrote its first metrics; ends it then."""
    with tempfile.TemporaryDirectory() as folder:
        metrics = pathlib.Path(folder, "run", "metrics.jsonl")
        command = [sys.executable, *COMMAND, f"--output_dir={metrics.parent}"]
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


def import_seconds(log: str) -> dict[str, float]:
    """Returns the seconds of each package in what `-X importtime` wrote.

    >>> import_seconds("import time:  200000 |  300000 | numpy.core\\nimport time: 100000 | 1 | numpy")
    {'numpy': 0.3}
    """
    found = collections.Counter()
    for own, package in re.findall(r"import time: +(\d+) \| +\d+ \| +(\w+)", log):
        found[package] += int(own)
    return {package: microseconds / 1e6 for package, microseconds in found.items()}


if __name__ == "__main__":
    main()
