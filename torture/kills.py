"""Kills commands at random moments, and compares their ends with those of commands never killed.

python -m torture.kills --kills=50 --seed=0 --folder=/tmp/kills [--commands=train,embed]

Each command is run once to its end. Then it is started again and again in another folder and killed by
SIGKILL, with its children or alone, after a random share of the time that it takes, until it has been
killed as often as asked for. Whenever it ends before, and at last, its end is compared, and it begins
anew. The unbroken ends stay in the folder, so that a later call with another seed goes on from them.
"""

import argparse
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from torture import print_table
from torture.comparison import differences

_TINY = [
    "--dataset=digits",
    "--network=mlp",
    "--width=0.1",
    "--latent_dim=4",
    "--nll_samples=200",
    "--checkpoint_minutes=0",
]
_EMBEDDED_IMAGES = 40_000
COMMANDS = ("train", "evaluate", "reproduce", "embed")


class Subject:
    """A command that is killed.

    Args:
      name: one of `COMMANDS`.
      folder: where the ends of all commands lie.
    """

    def __init__(self, name: str, folder: Path):
        self.name = name
        self._folder = folder
        self.whole = folder / f"{name}_whole"
        self.broken = folder / f"{name}_broken"
        self._log = folder / f"{name}.log"

    def prepare(self, end: Path) -> None:
        """Puts what the command works on into the folder `end`."""
        if self.name == "evaluate":
            shutil.copytree(self._folder / "train_whole", end)

    def arguments(self, end: Path) -> list[str]:
        """Returns the command that fills the folder `end`."""
        if self.name == "train":
            return ["launch.train", *_TINY, "--epochs=20", f"--output_dir={end}"]
        if self.name == "evaluate":
            return ["launch.evaluate", "--nll_samples=400", f"--output_dir={end}"]
        if self.name == "reproduce":
            grid = ["--table=4", "--preset=cpu", "--seeds=1", "--epochs=4", "--noinvariance"]
            return ["launch.reproduce", *_TINY, *grid, f"--output_dir={end}"]
        places = [f"--encoder={self._folder / 'train_whole' / 'encoder'}", f"--output={end}"]
        return [
            "launch.embed",
            *places,
            f"--input={self._folder / 'images.npy'}",
            "--rows_per_file=100",
        ]

    def start(self, end: Path) -> subprocess.Popen:
        """Starts the command, with its children in a group of their own."""
        with open(self._log, "ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", *self.arguments(end)],
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def finish(self, end: Path) -> float:
        """Runs the command to its end and returns the seconds that it took."""
        began = time.monotonic()
        self.check(self.start(end).wait())
        return time.monotonic() - began

    def check(self, code: int) -> None:
        """Stops this program if the command ended with `code` for another reason than a kill."""
        if code not in (0, -signal.SIGKILL):
            raise SystemExit(f"{self.name} ended with {code}: see {self._log}")


def torment(subject: Subject, kills: int, random_moment: random.Random) -> list[object]:
    """Kills a command `kills` times, and returns its row of the table."""
    seconds = _unbroken(subject)
    done, ends, wrong = 0, 0, []
    shutil.rmtree(subject.broken, ignore_errors=True)
    while done < kills:
        if _killed(subject, seconds, random_moment):
            done += 1
        else:
            ends += 1
            wrong += _compared(subject)
    subject.finish(subject.broken)
    wrong += _compared(subject)
    return [subject.name, f"{seconds:.0f}", done, ends + 1, len(wrong), "; ".join(wrong[:3]) or "-"]


def _compared(subject: Subject) -> list[str]:
    """Returns what differs at the end of a command that was killed, and removes that end."""
    found = differences(subject.whole, subject.broken)
    shutil.rmtree(subject.broken)
    return found


def _unbroken(subject: Subject) -> float:
    """Returns the seconds that a command takes that nothing kills; they are kept beside its end."""
    kept = subject.whole.with_suffix(".seconds")
    if not kept.exists():
        shutil.rmtree(subject.whole, ignore_errors=True)
        subject.prepare(subject.whole)
        kept.write_text(str(subject.finish(subject.whole)), encoding="utf-8")
    return float(kept.read_text(encoding="utf-8"))


def _killed(subject: Subject, seconds: float, random_moment: random.Random) -> bool:
    """Starts a command and returns whether it was killed before it ended by itself."""
    if not subject.broken.exists():
        subject.prepare(subject.broken)
    process = subject.start(subject.broken)
    try:
        process.wait(random_moment.uniform(0.0, seconds))
    except subprocess.TimeoutExpired:
        kill = random_moment.choice((os.kill, os.killpg))
        kill(process.pid, signal.SIGKILL)
    code = process.wait()
    subject.check(code)
    return code == -signal.SIGKILL


def _write_images(path: Path) -> None:
    if not path.exists():
        generator = np.random.default_rng(0)
        np.save(path, generator.integers(0, 256, [_EMBEDDED_IMAGES, 28, 28], np.uint8))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50, help="of all commands together")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--folder", type=Path, default=Path("runs/torture/kills"))
    parser.add_argument("--commands", default=",".join(COMMANDS), help="which to kill")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    _write_images(given.folder / "images.npy")
    names = given.commands.split(",")
    shares = np.diff(np.arange(len(names) + 1) * given.kills // len(names)).tolist()
    _unbroken(Subject("train", given.folder))  # The others work on its end.
    random_moment = random.Random(given.seed)
    rows = [
        torment(Subject(name, given.folder), share, random_moment)
        for name, share in zip(names, shares, strict=True)
    ]
    print(f"seed {given.seed}")
    print_table(["command", "seconds unbroken", "kills", "ends", "differences", "which"], rows)
    sys.exit(any(row[4] for row in rows))


if __name__ == "__main__":
    main()
