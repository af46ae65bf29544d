"""Trains again and again, and on and on, and prints what that costs in memory, files and processes.

python -m torture.soak --runs=200 --epochs=2000 --seed=0 [--folder=runs/torture/soak]

First as many short runs as asked for, one after the other in this process, each trained, drawn,
exported and evaluated, and Keras' session cleared, as a program that trains many models should; then
one training of many epochs of the digits in a process of its own. The slope is that of a line through
the second half of the measurements. Either is left out where its number is 0.
"""

import argparse
import gc
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil

from torture import print_table

_TINY = (
    "--dataset=digits", "--network=mlp", "--width=0.1", "--latent_dim=4", "--batch_size=128",
    "--nll_samples=5", "--eval_images=40",
)  # fmt: skip
_SECONDS_BETWEEN_LOOKS = 2.0


class Usage(NamedTuple):
    """What a process holds."""

    memory: float
    """Of its own, MiB: what is resident but for pages of files, which the system may drop."""
    files: int
    """Open ones."""
    threads: int
    children: int
    temporary: int
    """Entries of the folder of temporary files."""


def usage(process: psutil.Process) -> Usage:
    """Returns what a process holds now."""
    with process.oneshot():
        memory = process.memory_info()
        return Usage(
            (memory.rss - memory.shared) / 2**20,
            process.num_fds(),
            process.num_threads(),
            len(process.children(recursive=True)),
            len(os.listdir(tempfile.gettempdir())),
        )


def short_runs(number: int, seed: int, folder: Path) -> list[Usage]:
    """Trains `number` runs of one epoch in this process, and returns what it holds after each.

    What was found so far stands in `short.jsonl`.
    """
    import keras

    from launch import options, train
    from torture.inprocess import run

    found = []
    for index in range(number):
        place = folder / "short"
        shutil.rmtree(place, ignore_errors=True)
        arguments = [*_TINY, "--epochs=1", f"--seed={seed + index}", f"--output_dir={place}"]
        outcome = run(train.main, arguments, options.define_training)
        if outcome.code or outcome.fault:
            raise SystemExit(f"run {index} failed: {outcome.fault or outcome.err}")
        keras.utils.clear_session()  # Or TensorFlow keeps the kernels of every graph that it ran.
        gc.collect()
        found.append(usage(psutil.Process()))
        with open(folder / "short.jsonl", "a", encoding="utf-8") as log:
            log.write(json.dumps(found[-1]._asdict()) + "\n")
    return found


def long_run(epochs: int, seed: int, folder: Path) -> list[tuple[int, Usage]]:
    """Trains for `epochs` in a process of its own; returns finished epochs and what it held then."""
    place = folder / "long"
    shutil.rmtree(place, ignore_errors=True)
    arguments = [*_TINY, f"--epochs={epochs}", f"--seed={seed}", f"--output_dir={place}"]
    found = []
    with open(folder / "long.log", "wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "launch.train", *arguments], stdout=log, stderr=log
        )
        while process.poll() is None:
            time.sleep(_SECONDS_BETWEEN_LOOKS)
            done = _finished_epochs(place / "metrics.jsonl")
            if 0 < done < epochs and process.poll() is None:
                found.append((done, usage(psutil.Process(process.pid))))
    if process.returncode:
        raise SystemExit(f"the long run ended with {process.returncode}: see {folder / 'long.log'}")
    return found


def _finished_epochs(metrics: Path) -> int:
    return metrics.read_bytes().count(b"\n") if metrics.exists() else 0


def _row(what: str, places: list[int], found: list[Usage], per: int, seconds: float) -> list[object]:
    """Returns the row of the table; the slope is for `per` of what is counted."""
    half = len(found) // 2
    memory = np.array([each.memory for each in found])
    slope = per * np.polyfit(places[half:], memory[half:], 1)[0]
    pairs = [f"{getattr(found[half], name)} / {getattr(found[-1], name)}" for name in Usage._fields[1:]]
    kept = f"{memory[half]:.0f} / {memory[-1]:.0f}"
    return [what, f"{seconds:.0f}", kept, f"{slope:+.2f} per {per}", *pairs]


def _use_temporary_folder(path: Path) -> None:
    """Has this process and its children keep temporary files apart from those of other programs."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()
    tempfile.tempdir = os.environ["TMPDIR"] = str(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=200, help="short ones, one after the other")
    parser.add_argument("--epochs", type=int, default=2000, help="of the long one")
    parser.add_argument("--seed", type=int, default=0, help="of the first run")
    parser.add_argument("--folder", type=Path, default=Path("runs/torture/soak"))
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    _use_temporary_folder(given.folder / "temporary")
    rows = []
    if given.runs:
        began = time.monotonic()
        found = short_runs(given.runs, given.seed, given.folder)
        places = list(range(given.runs))
        rows.append(_row(f"{given.runs} runs", places, found, 100, time.monotonic() - began))
    if given.epochs:
        began = time.monotonic()
        places, found = zip(*long_run(given.epochs, given.seed, given.folder), strict=True)
        rows.append(_row(f"{given.epochs} epochs", places, found, 1000, time.monotonic() - began))
    print(f"seed {given.seed}; pairs are half way / at the end")
    slope = "slope, MiB"
    print_table(
        ["what", "seconds", "MiB", slope, "open files", "threads", "children", "temporary"], rows
    )


if __name__ == "__main__":
    main()
