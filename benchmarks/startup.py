"""How long it takes from the command to the end of the first step on digits, and what that goes to.

  python -m benchmarks.startup --json=results/benchmarks/startup.json

The command is `launch.train --flagfile=digits.flags` with all images in one step, watched from outside:
its first step is done when the first line of metrics.jsonl is there. A second process does the same
and notes how long each import (less those within it), the data and the building of the model took.
"""

import importlib.abc
import importlib.util
import json
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

IMPORTS = (
    "tensorflow",
    "keras",
    "tf_keras",
    "tensorflow_probability",
    "keras_cv",
    "tensorflow_datasets",
    "sklearn",
    "scipy",
    "matplotlib",
)
COMMAND = ("--flagfile=digits.flags", "--validation_images=0", "--batch_size=2000")
PHASES = ("other imports", "data", "building the model", "tracing and the first step")
FIRST_STEP = "seconds to the first step"
ROOT = pathlib.Path(__file__).resolve().parent.parent
TIMES = "times.json"


def main() -> None:
    if sys.argv[1:2] == ["--watched"]:
        watched(pathlib.Path(sys.argv[2]))
        return
    from benchmarks import measurement
    from benchmarks.measurement import Figure, Goal

    options = measurement.parser(__doc__, repeats=3).parse_args()
    found = {FIRST_STEP: [], **{name: [] for name in (*IMPORTS, *PHASES)}}
    for _ in range(options.repeats):
        found[FIRST_STEP].append(command_seconds())
        for name, spent in watched_seconds().items():
            found[name].append(spent)
    total = found.pop(FIRST_STEP)
    figures = [Figure("launch.train", FIRST_STEP, "s", total)]
    figures += [
        Figure("launch.train", f"of these {name}", "s", values)
        for name, values in found.items()
        if max(values)
    ]
    goal = Goal(FIRST_STEP, 15.0, statistics.median(total), at_least=False)
    measurement.report(options, figures, [goal])


def command_seconds() -> float:
    """Returns how long the command takes to the end of its first step."""
    with tempfile.TemporaryDirectory() as folder:
        run = pathlib.Path(folder) / "run"
        command = [sys.executable, "-m", "launch.train", *COMMAND, f"--output_dir={run}"]
        return until_first_step(command, run)


def watched_seconds() -> dict[str, float]:
    """Returns what the time goes to."""
    with tempfile.TemporaryDirectory() as folder:
        run = pathlib.Path(folder) / "run"
        total = until_first_step([sys.executable, "-m", "benchmarks.startup", "--watched", folder], run)
        times = json.loads((pathlib.Path(folder) / TIMES).read_text())
    return times | {PHASES[-1]: total - sum(times.values())}


def until_first_step(command: list[str], run: pathlib.Path) -> float:
    """Starts a command and returns when it has written its first line of metrics; ends it."""
    began = time.perf_counter()
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    metrics = run / "metrics.jsonl"
    while not (metrics.exists() and metrics.stat().st_size):
        if process.poll() is not None:
            sys.exit(f"it ended without a step: {' '.join(command)}")
        time.sleep(0.01)
    spent = time.perf_counter() - began
    process.kill()
    process.wait()
    return spent


def watched(folder: pathlib.Path) -> None:
    """Does what launch.train does up to its training, and notes how long each part takes."""
    clock = ImportClock()
    sys.meta_path.insert(0, clock)
    times = {}

    def timed(name: str, call: Callable):
        began, imported = time.perf_counter(), sum(clock.seconds.values())
        result = call()
        times[name] = time.perf_counter() - began - (sum(clock.seconds.values()) - imported)
        return result

    assembly, options = timed(PHASES[0], modules)
    options.define_training()
    options.parse(["train", *COMMAND, f"--output_dir={folder / 'run'}"])
    chosen = options.resolve()
    data = timed("data", lambda: assembly.load_data(chosen))
    model = timed("building the model", lambda: assembly.make_model(chosen, data))
    (folder / TIMES).write_text(json.dumps(clock.seconds | times))
    from crvae_tf.runs import Run

    assembly.train(chosen, model, data, Run(chosen.output_dir))


def modules():
    """Imports what the command does."""
    from launch import assembly, options

    return assembly, options


class ImportClock(importlib.abc.MetaPathFinder):
    """Notes how long the heavy packages take to be imported, each without the others within it."""

    def __init__(self):
        self.seconds = dict.fromkeys(IMPORTS, 0.0)
        self._within = [0.0]

    def find_spec(self, name, path, target=None):
        if name not in self.seconds:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        sys.meta_path.insert(0, self)
        execute = spec.loader.exec_module
        spec.loader.exec_module = lambda module: self._timed(name, lambda: execute(module))
        return spec

    def _timed(self, name: str, execute: Callable[[], None]) -> None:
        self._within.append(0.0)
        began = time.perf_counter()
        execute()
        spent = time.perf_counter() - began
        self.seconds[name] = spent - self._within.pop()
        self._within[-1] += spent


if __name__ == "__main__":
    main()
