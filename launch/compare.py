"""Compares finished runs: python -m launch.compare --runs=RUN,RUN --output_dir=FOLDER

Draws Figure 1 of the paper for the runs side by side, `figure_1.png`, and how the embedding of each
changes with the size of each transformation alone, `invariance.png`. What the latter shows stays in
each run's `invariance.json`.
"""

from collections.abc import Collection, Sequence
from pathlib import Path

from absl import flags

from crvae_tf.errors import InputError
from launch import command, flag_kinds, options
from launch.flag_kinds import BOOLEAN, FOLDERS

_PICTURES = ("figure_1", "invariance")


def define() -> None:
    """Defines the flags of this command."""
    options.define("data_dir", "output_dir")
    flag_kinds.define("runs", None, FOLDERS, "finished runs of one data set to compare")
    flag_kinds.define("figure_1", True, BOOLEAN, "draw Figure 1 of the paper for each run")
    flag_kinds.define("invariance", True, BOOLEAN, "measure and draw invariance curves")


def check() -> None:
    """Raises InputError if no run is named, or no folder for the pictures."""
    if flags.FLAGS.runs is None:
        raise InputError("runs", "folders of finished runs, separated by commas", "none")
    if flags.FLAGS.output_dir is None:
        raise InputError("output_dir", "a folder for the pictures", "none")


def draw(
    directories: Sequence[str], folder: Path, data_dir: str | None, wanted: Collection[str] = _PICTURES
) -> None:
    """Draws the pictures, and measures what they show where that was not done before.

    Args:
      directories: of finished runs of one data set.
      folder: for the pictures.
      data_dir: holds the runs' data, if they were moved.
      wanted: `figure_1`, `invariance` or both.
    """
    from crvae_tf.runs import drawing
    from crvae_tf.studies import curves
    from launch import assembly, run_sets

    planes, measured, ranges = {}, {}, []
    for title, run in run_sets.titled(directories).items():
        of_run = run_sets.options_of(run, data_dir)
        model, data = assembly.open_run(of_run)
        if "figure_1" in wanted:
            planes[title] = assembly.latent_means(of_run, model, data)
        if "invariance" in wanted:
            run.lock()
            measured[title] = assembly.invariance_curves(of_run, model, data, run)
            transformed = assembly.test_transformation(of_run)
            ranges.append({(name, getattr(transformed, name)) for name in measured[title]})
    if planes:
        drawing.latent_planes(folder / "figure_1.png", planes)
    if measured:
        common = dict(set.intersection(*ranges))
        curves.invariance_curves(folder / "invariance.png", measured, common)


def main() -> None:
    """Draws the pictures that the flags describe."""
    from launch import assembly

    check()
    given = flags.FLAGS
    wanted = [name for name in _PICTURES if given[name].value]
    draw(given.runs, Path(given.output_dir), given.data_dir, wanted)
    assembly.say(f"pictures: {given.output_dir}")


if __name__ == "__main__":
    command.run(main, define)
