"""Compares runs on one page of HTML: python -m launch.report --runs=RUN[,RUN...] --output=report.html

The page needs no network: its pictures are in it. Runs may be unfinished.
"""

import functools
import os

from absl import flags

from crvae_tf.errors import InputError
from launch import command, options
from launch.command import BOOLEAN, FOLDERS, Checked

_PAGE = Checked(os.path.expanduser, lambda name: not os.path.isdir(name), "a file, not a folder")


def define() -> None:
    options.define("data_dir")
    command.require("runs", FOLDERS, "folders of runs, separated by commas")
    command.define("output", "report.html", _PAGE, "the page to write")
    meaning = "measure how far embeddings move with the size of a transformation, minutes a run"
    command.define("invariance", False, BOOLEAN, meaning)


def load_images(record):
    """Returns a sample of the test images of a run, their views and the transformation of the views."""
    from crvae_tf import datasets
    from crvae_tf.runs import drawing
    from crvae_tf.studies.pictures import SEARCHED_IMAGES
    from launch import assembly

    of_run = assembly.options_of(record.run, flags.FLAGS.data_dir, record.config)
    if not datasets.is_prepared(of_run.dataset, of_run.data_dir):
        raise InputError("data_dir", f"a folder with {of_run.dataset} prepared in it", of_run.data_dir)
    data = assembly.load_data(of_run)
    if data.fingerprint != record.config.get("data_fingerprint"):
        raise InputError(data.name, "the training's data", "others")
    view = assembly.test_transformation(of_run)
    # Gray, as the encoder is served.
    shown = (drawing.sample_images(data, "none", each, SEARCHED_IMAGES) for each in (None, view))
    return *shown, view


def measure_invariance() -> None:
    """Measures runs that have no invariance curves yet; says which of them cannot be measured."""
    from crvae_tf.runs.run import Run
    from launch import assembly

    for run in map(Run, flags.FLAGS.runs):
        try:
            assembly.invariance_curves(assembly.options_of(run, flags.FLAGS.data_dir))
            command.say(f"{run.directory}: its invariance is measured")
        except (InputError, OSError) as error:
            command.say(f"{run.directory}: its invariance was not measured: {command.told(error)}")


def main() -> None:
    from crvae_tf.runs import files
    from crvae_tf.studies import pictures, report

    if flags.FLAGS.invariance:
        measure_invariance()
    records = report.read(flags.FLAGS.runs)
    served = []
    for record in records:
        served.append(pictures.serve(record.run, functools.partial(load_images, record)))
        command.say(f"{record.name}: {'; '.join([*record.remarks, *served[-1].remarks]) or 'drawn'}")
    files.write_text(flags.FLAGS.output, report.render(records, served, leave_out=options.PLACES))
    command.say(f"report: {flags.FLAGS.output}")


if __name__ == "__main__":
    command.run(main, define)
