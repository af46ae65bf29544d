"""Stands in for launch.train where a test is about many runs: writes what a run leaves behind, slowly.

python -m tests.fake_training --output_dir=RUN --epochs=2 --seconds=0.1 [--outcome=fails|killed]
"""

import argparse
import os
import signal
import sys
import time
from pathlib import Path

from crvae_tf.runs import Run


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--output_dir", type=Path)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--outcome", default="finishes")
    given = parser.parse_args()
    run = Run(given.output_dir)
    run.directory.mkdir(parents=True, exist_ok=True)
    done = len(run.read_metrics())
    print(f"begins at epoch {done}", flush=True)
    for epoch in range(done, given.epochs):
        time.sleep(given.seconds)
        with open(run.metrics, "a", encoding="utf-8") as file:
            file.write(f'{{"epoch": {epoch + 1}}}\n')
    if given.outcome == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if given.outcome == "fails":
        sys.exit("first line\nerror: the data are gone\n")
    for folder in (run.encoder, run.decoder, run.figures):
        folder.mkdir()
    run.weights.touch()
    run.evaluation.write_text("{}", encoding="utf-8")


if __name__ == "__main__":
    main()
