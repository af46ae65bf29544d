"""Stands in for launch.train where a test is about many runs: writes what a run leaves behind, slowly.

It knows the names of a run's files by heart: to import them is to import TensorFlow.
"""

import argparse
import os
import signal
import sys
import time
from pathlib import Path


def note_signals(path: Path) -> None:
    """Notes those that arrive within a second of the first, in which a step would be finished."""

    def note(number, frame):
        with open(path, "a", encoding="utf-8") as file:
            file.write(f"{int(number)}\n")
        time.sleep(1.0)
        sys.exit()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, note)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--output_dir", type=Path)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--outcome", default="finishes")
    parser.add_argument("--told", type=Path, help="takes the signals that arrive before it ends")
    given = parser.parse_args()
    if given.told:
        note_signals(given.told)
    run = given.output_dir
    run.mkdir(parents=True, exist_ok=True)
    metrics = run / "metrics.jsonl"
    done = metrics.read_text(encoding="utf-8").count("\n") if metrics.exists() else 0
    print(f"begins at epoch {done}", flush=True)
    for epoch in range(done, given.epochs):
        time.sleep(given.seconds)
        with open(metrics, "a", encoding="utf-8") as file:
            file.write(f'{{"epoch": {epoch + 1}}}\n')
    if given.outcome == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if given.outcome == "fails":
        sys.exit("first line\nerror: the data are gone\n")
    for folder in ("encoder", "decoder", "figures"):
        (run / folder).mkdir()
    (run / "model.weights.h5").touch()
    (run / "evaluation.json").write_text("{}", encoding="utf-8")


if __name__ == "__main__":
    main()
