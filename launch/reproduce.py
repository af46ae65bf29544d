"""Reproduces a table of the paper: python -m launch.reproduce --table=4 --preset=cpu --seeds=3

Each method and seed is a run of its own, trained as by launch.train with the flags of the preset and
those given here. Run the same command again to resume: it keeps finished runs as they are.
"""

import os
import sys
from typing import Any

from absl import flags

from crvae_tf.errors import InputError
from launch import command, options
from launch.command import BOOLEAN, PLACE, PRESET, Checked, choice, integer

_SET_BY_GRID = {"method", "model", "beta", "lambda", "eta", "seed"}
_AXES = {"method", "model", "beta", "lambda", "eta", "network", "pose", "pose_steps", "views_per_image"}
"""The flags that settings may differ in."""


def define() -> None:
    """Adds the flags of this command to those of a training."""
    options.define_training()
    command.define("table", None, choice(1, 2, 3, 4), "of the paper, to make anew")
    meaning = "flags for each training, which later ones override"
    command.define("preset", "paper", PRESET, meaning)
    command.define("seeds", 3, integer(1), "how many seeds, from 0 on")
    etas = Checked(command.numbers, lambda etas: min(etas) >= 0.0, "numbers >= 0, separated by commas")
    command.define("etas", None, etas, "instead of a table, CR-VAE with each of these eta")
    settings = Checked(command.settings, bool, "METHOD:FLAG=VALUE, separated by commas")
    command.define("settings", None, settings, "instead of a table, a comparison of these settings")
    command.define("parallel", 1, integer(1), "trainings at a time")
    meaning = "folder of what tables need of finished runs: taken from it as it is, and kept there"
    command.define("records", None, PLACE, meaning)
    meaning = "draw invariance curves of the first seed of each method"
    command.define("invariance", True, BOOLEAN, meaning)


def check() -> None:
    """Raises InputError if flags contradict each other, or one is given that the grid sets."""
    given = flags.FLAGS
    if given.table is None and not given.etas and not given.settings:
        raise InputError("table", "one of 1, 2, 3, 4", "none")
    if given.etas and given.settings:
        raise InputError("etas", "left out where --settings is given", "both")
    for name in sorted(options.named() & _SET_BY_GRID):
        raise InputError(name, "left out, the grid sets it", given[name].value)
    for name in ("output_dir", "records"):
        folder = given[name].value
        if folder and os.path.isfile(folder):
            raise InputError(name, "a folder", f"{folder}, a file")


def study():
    """Returns the study that the flags describe, and its trainings."""
    from launch import studies

    check()
    given = flags.FLAGS
    settings = [_setting(texts) for texts in given.settings or ()]
    chosen = studies.study(given.table or 0, given.etas or (), settings, given.preset)
    return chosen, studies.jobs(chosen, given.seeds, given.records)


def _setting(texts: dict[str, str]) -> dict[str, Any]:
    """Returns a setting's flags with their values read."""
    read = {}
    for name, text in texts.items():
        if name not in _AXES:
            raise InputError("settings", f"of {', '.join(sorted(_AXES))}", name)
        try:
            read[name] = flags.FLAGS[name].parser.parse(text)
        except ValueError as error:
            expected = f"METHOD:FLAG=VALUE where {name} {error}"
            raise InputError("settings", expected, text) from error
    return read


def main() -> None:
    """Trains what is not finished and writes the tables; exits with 1 if a training failed."""
    from crvae_tf import errors
    from launch import assembly, grid, studies

    chosen, jobs = study()
    failures = grid.run(jobs, flags.FLAGS.parallel, chosen.name.replace("_", " "))
    try:
        studies.measure_baselines(chosen)
    except Exception as error:  # The tables are written without them.
        if not errors.is_told(error):
            raise
        failures.append(f"baselines failed: {errors.one_line(error)}")
    print(studies.write(chosen, jobs), flush=True)
    assembly.say(f"tables: {chosen.directory}; the pictures are being drawn")
    studies.draw(chosen, jobs, flags.FLAGS.invariance)
    assembly.say("\n".join([f"pictures: {chosen.directory}", *failures]))
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    command.run(main, define)
