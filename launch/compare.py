"""Compares finished runs: python -m launch.compare --runs=RUN,RUN --output_dir=FOLDER

Draws Figure 1 of the paper for the runs side by side, `figure_1.png`, and how the embedding of each
changes with the size of each transformation alone, `invariance.png`. What the latter shows stays in
each run's `invariance.json`.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from absl import flags

from crvae_tf.errors import InputError
from launch import command, options
from launch.command import BOOLEAN, FOLDERS, PLACE
from launch.options import Options

_PICTURES = ("figure_1", "invariance")


def define() -> None:
    options.define("data_dir")
    command.require("runs", FOLDERS, "finished runs of one data set, separated by commas")
    command.require("output_dir", PLACE, "a folder for the pictures")
    command.define("figure_1", True, BOOLEAN, "draw Figure 1 of the paper for each run")
    command.define("invariance", True, BOOLEAN, "measure and draw invariance curves")


def options_of(run, data_dir: str | None, config: dict[str, Any] | None = None) -> Options:
    """Returns the options of a run, or of its `config`; run and data may have moved."""
    places = {"output_dir": str(run.directory)} | ({"data_dir": data_dir} if data_dir else {})
    return Options.from_config((config or run.read_config()) | places)


def draw(runs: Mapping[str, Any], folder: Path, data_dir: str | None, wanted: Collection[str]) -> None:
    """Draws the pictures of finished runs of one data set, by their titles; see `options_of`."""
    from crvae_tf.evaluation import embeddings
    from crvae_tf.runs import drawing
    from crvae_tf.studies import comparisons
    from launch import assembly

    planes, measured, ranges = {}, {}, []
    for title, run in runs.items():
        of_run = options_of(run, data_dir)
        model, data = assembly.open_run(of_run)
        view = assembly.test_transformation(of_run)
        if "figure_1" in wanted:
            planes[title] = assembly.latent_means(of_run, model, data)
        if "invariance" in wanted:
            run.lock()
            if not run.invariance.exists():
                found = embeddings.measure_invariance(model, data, of_run.binarization, view)
                run.write_json(run.invariance, found)
            measured[title] = run.read_json(run.invariance)
            ranges.append({(name, getattr(view, name)) for name in measured[title]})
    if planes:
        drawing.latent_planes(folder / "figure_1.png", planes)
    if measured:
        marked = dict(set.intersection(*ranges))
        comparisons.invariance_curves(folder / "invariance.png", measured, marked)


def main() -> None:
    from crvae_tf.studies import evaluation_frame
    from launch import tables

    given = flags.FLAGS
    runs = evaluation_frame.named_runs(given.runs)
    for run in runs.values():
        if not run.is_complete():
            raise InputError("runs", "folders of finished runs", run.directory)
    datasets = dict.fromkeys(run.read_config()["dataset"] for run in runs.values())
    if len(datasets) > 1:
        raise InputError("runs", "of one data set", ", ".join(datasets))
    command.say(f"runs: {len(runs)}, of {''.join(datasets)}")
    evaluations = {name: run.read_json(run.evaluation) for name, run in runs.items()}
    print(tables.side_by_side(evaluations))
    wanted = [name for name in _PICTURES if given[name].value]
    draw(runs, Path(given.output_dir), given.data_dir, wanted)
    command.say(f"report: python -m launch.report --runs={','.join(given.runs)}")
    for name in wanted:
        command.say(f"look: {given.output_dir}/{name}.png")


if __name__ == "__main__":
    command.run(main, define)
