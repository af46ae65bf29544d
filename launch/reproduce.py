"""Reproduces a table of the paper: python -m launch.reproduce --table=4 --preset=cpu --seeds=3

Each method and seed is a run of its own, trained as by launch.train with the flags of the preset and
those given here. Run the same command again to resume: it keeps finished runs as they are.
"""

import os
import sys
from pathlib import Path
from typing import Any

from absl import flags

from crvae_tf.errors import InputError
from launch import command, options
from launch.command import BOOLEAN, PLACE, PRESETS, Checked, choice, integer

_PRESET = Checked(
    str,
    lambda name: os.path.isfile(command.preset_file(name)),
    f"{', '.join(sorted(path.stem for path in PRESETS.iterdir()))} or the path of a flagfile",
)
_SET_BY_GRID = {"method", "model", "beta", "lambda", "eta", "seed"}
_AXES = {"method", "model", "beta", "lambda", "eta", "network", "pose", "pose_steps", "views_per_image"}
"""The flags that settings may differ in."""


def define() -> None:
    options.define_training()
    command.define("table", None, choice(1, 2, 3, 4), "of the paper, to make anew")
    command.define("preset", "paper", _PRESET, "flags for each training, which later ones override")
    command.define("seeds", 3, integer(1), "how many seeds, from 0 on")
    settings = Checked(str, bool, "METHOD:FLAG=VALUE, separated by commas")
    command.define("settings", None, settings, "settings to compare, or further rows of the table")
    command.define("parallel", 1, integer(1), "trainings at a time")
    meaning = "compare settings with raw pixels, PCA and SimCLR, which are measured, too"
    command.define("baselines", True, BOOLEAN, meaning)
    meaning = "folder of what tables need of finished runs: taken from it as it is, and kept there"
    command.define("records", None, PLACE, meaning)
    meaning = "draw invariance curves of the first seed of each method"
    command.define("invariance", True, BOOLEAN, meaning)


def study():
    """Returns the study that the flags describe, and its trainings.

    Raises InputError if flags contradict each other, or one is given that the grid sets.
    """
    from crvae_tf.studies import paper
    from launch import grid

    given = flags.FLAGS
    for name in sorted(options.named().keys() & _SET_BY_GRID):
        raise InputError(name, "left out, the study sets it", given[name].value)
    table, cells = given.table, _cells()
    name = f"table_{table}" if table else "settings"
    datasets = (given.dataset,) if "dataset" in options.named() else paper.DATASETS[table or 1]
    directory = given.output_dir or f"runs/{name}_{Path(given.preset).stem}"
    chosen = grid.Study(name, cells, datasets, Path(directory), table)
    return chosen, list(chosen.jobs(given.seeds, given.records))


def _cells() -> dict[str, dict[str, Any]]:
    """Returns the flags of the study's methods and settings by their labels."""
    from crvae_tf.studies import comparisons, paper

    given = flags.FLAGS
    if not given.table and not given.settings:
        raise InputError("table", "one of 1, 2, 3, 4, unless there are --settings", "none")
    settings = list(map(_setting, given.settings.split(","))) if given.settings else []
    labels = list(map(comparisons.setting_label, settings))
    if len(set(labels)) < len(labels):
        raise InputError("settings", "different from each other", ", ".join(labels))
    methods = paper.methods(given.table) if given.table else {}
    return methods | dict(zip(labels, settings, strict=True))


def _setting(text: str) -> dict[str, Any]:
    """Returns the flags of METHOD:FLAG=VALUE with their values read."""
    read = {}
    for part in f"method={text}".split(":"):
        name, _, value = part.partition("=")
        if name not in _AXES:
            raise InputError("settings", f"of {', '.join(sorted(_AXES))}", name)
        try:
            read[name] = flags.FLAGS[name].parser.parse(value)
        except ValueError as error:
            raise InputError("settings", f"METHOD:FLAG=VALUE where {name} {error}", value) from error
    return read


def main() -> None:
    from crvae_tf import errors
    from launch import assembly, grid

    chosen, jobs = study()
    title = chosen.name.replace("_", " ")
    command.say(f"study: {title}, {', '.join(chosen.cells)} on {', '.join(chosen.datasets)}")
    done = [job for job in jobs if job.finished]
    command.say(f"runs: {chosen.directory}, {len(done)} of {len(jobs)} done")
    for job in {job.dataset: job for job in jobs if not job.finished}.values():
        assembly.load_data(job.options)  # Once, and not in each of the trainings, it fetches them.
    failures = grid.run(jobs, flags.FLAGS.parallel, title)
    try:
        if flags.FLAGS.baselines and not chosen.table:
            grid.measure_baselines(chosen)
    except Exception as error:  # The tables are written without them.
        if not errors.is_told(error):
            raise
        failures.append(f"baselines failed: {command.told(error)}")
    print(grid.write(chosen, jobs), flush=True)
    command.say(f"tables: {chosen.directory}; the pictures are being drawn")
    grid.draw(chosen, flags.FLAGS.data_dir, flags.FLAGS.invariance)
    command.say("\n".join([f"pictures: {chosen.directory}", *failures]))
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    command.run(main, define)
