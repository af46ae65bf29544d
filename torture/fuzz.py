"""Gives commands random arguments: each ends cleanly or with one line that begins with `error: `.

python -m torture.fuzz --lines=2000 --seed=0 [--launchers=train,embed] [--trained=40]

Each launcher has a process of its own, in which its flags are parsed and resolved line after line. Of
the lines for launch.train that stand for a training, some are trained, shrunk to one epoch of a few
small images.
"""

import argparse
import importlib
import json
import random
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
from absl import flags
from PIL import Image

from torture import print_table
from torture.command_lines import line
from torture.inprocess import Outcome, run

_SHRUNK = (
    "--image_size=8", "--channels=1", "--network=mlp", "--width=0.02", "--latent_dim=2",
    "--schedule=constant", "--epochs=1", "--batch_size=16", "--nll_samples=2", "--eval_images=2",
    "--importance_samples=2", "--strategy=none", "--validation_images=2",
)  # fmt: skip
_DEBUGGING = {"pdb", "pdb_post_mortem", "run_with_pdb", "run_with_profiling", "profile_file"}
"""absl's own, which start other programs."""


def _train() -> None:
    from launch import options

    options.resolve()


def _of_finished_run() -> None:
    from launch import assembly

    assembly.finished_run()


def _export() -> None:
    from launch import encoder_options

    encoder_options.export_format()
    _of_finished_run()


def _embed() -> None:
    from launch import encoder_options

    encoder_options.embed()


def _search() -> None:
    from launch import encoder_options

    encoder_options.search()


def _reproduce() -> None:
    from launch import reproduce, studies

    studies.jobs(reproduce.study())


def _compare() -> None:
    from launch import compare

    compare.check()


def _results() -> None:
    from launch import results

    results.check()


def _report() -> None:
    from launch import report

    report.check()


_WANTED = {
    "embed": ("--encoder=encoder", "--input=digits", "--output=embeddings"),
    "search": ("--index=embeddings", "--image=image.png"),
    "reproduce": ("--table=4", "--dataset=digits"),
    "compare": ("--runs=one,two", "--output_dir=pictures"),
    "report": ("--runs=one,two",),
}

_MAINS: dict[str, Callable[[], None]] = {
    "train": _train,
    "evaluate": _of_finished_run,
    "export": _export,
    "embed": _embed,
    "search": _search,
    "reproduce": _reproduce,
    "compare": _compare,
    "results": _results,
    "report": _report,
}
"""Each launcher as far as its flags are concerned."""


def fuzz(launcher: str, lines: int, seed: int, trained: int) -> dict[str, object]:
    """Gives one launcher `lines` random command lines, and trains up to `trained` of them.

    Returns:
      How often each end came, under `ends`, and what ended otherwise, under `faults`.
    """
    _define_flags(launcher)
    names = sorted(name for name in flags.FLAGS if name not in _DEBUGGING)
    draw = random.Random(f"{launcher} {seed}")
    ends, faults = Counter(), []
    with tempfile.TemporaryDirectory() as folder:
        images = _write_images(Path(folder) / "images")
        for number in range(lines):
            arguments = line(draw, names, Path(folder), _WANTED.get(launcher, ()))
            outcome = run(_MAINS[launcher], arguments)
            _count("parsed", outcome, arguments, ends, faults)
            if (
                launcher == "train"
                and outcome.code == 0
                and not outcome.out
                and ends["trained"] < trained
            ):
                place = f"--output_dir={folder}/run{number}"
                shrunk = [*arguments, *_SHRUNK, f"--dataset=folder:{images}", place]
                outcome = run(_training_main(), shrunk)
                ends["trained"] += 1
                _count("training", outcome, shrunk, ends, faults)
    return {"ends": ends, "faults": faults}


def _define_flags(launcher: str) -> None:
    from launch import encoder_options

    getattr(encoder_options, f"define_{launcher}", lambda: None)()
    getattr(importlib.import_module(f"launch.{launcher}"), "define", lambda: None)()


def _training_main() -> Callable[[], None]:
    from launch import train

    return train.main


def _count(what: str, outcome: Outcome, arguments: list[str], ends: Counter, faults: list[str]) -> None:
    if not outcome.is_clean:
        last = (outcome.fault or outcome.err).strip().splitlines()[-1:]
        faults.append(f"{arguments}: exit {outcome.code}: {last}")
    ends[f"{what}, {'refused' if outcome.code else 'clean'}"] += 1


def _write_images(folder: Path) -> Path:
    folder.mkdir()
    generator = np.random.default_rng(0)
    for number in range(60):
        pixels = generator.integers(0, 256, [8, 8], np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def _in_process(launcher: str, lines: int, seed: int, trained: int) -> dict[str, object]:
    """Runs `fuzz` in a process of its own: absl's flags are one set for the whole process."""
    arguments = [
        f"--launchers={launcher}",
        f"--lines={lines}",
        f"--seed={seed}",
        f"--trained={trained}",
    ]
    command = [sys.executable, "-m", "torture.fuzz", *arguments, "--as_json"]
    with tempfile.TemporaryFile("w+", encoding="utf-8") as noise:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=noise, text=True, check=False)
        noise.seek(0)
        if done.returncode:
            return {
                "ends": {},
                "faults": [f"the process ended with {done.returncode}: {noise.read()[-500:]}"],
            }
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lines", type=int, default=2000, help="of all launchers together")
    parser.add_argument("--seed", type=int, default=0, help="of the lines")
    parser.add_argument("--launchers", default=",".join(_MAINS))
    parser.add_argument(
        "--trained", type=int, default=40, help="lines of launch.train to train, shrunk"
    )
    parser.add_argument("--as_json", action="store_true", help="of one launcher, in this process")
    given = parser.parse_args()
    launchers = given.launchers.split(",")
    if given.as_json:
        print(json.dumps(fuzz(launchers[0], given.lines, given.seed, given.trained)))
        return
    shares = np.diff(np.arange(len(launchers) + 1) * given.lines // len(launchers)).tolist()
    found = {
        name: _in_process(name, share, given.seed, given.trained)
        for name, share in zip(launchers, shares, strict=True)
    }
    columns = ["parsed, clean", "parsed, refused", "training, clean", "training, refused"]
    print(f"seed {given.seed}")
    print_table(
        ["launcher", *columns, "faults"],
        [[n, *(f["ends"].get(c, 0) for c in columns), len(f["faults"])] for n, f in found.items()],
    )
    faults = [f"launch.{name} {fault}" for name, result in found.items() for fault in result["faults"]]
    print("\n".join(faults))
    sys.exit(bool(faults))


if __name__ == "__main__":
    main()
