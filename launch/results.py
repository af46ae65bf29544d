"""Writes RESULTS.md from the summaries in results/: python -m launch.results

With --add=NAME --runs=RUN,RUN it first writes results/NAME.json, a summary of finished runs. The one
of a table is the JSON file that launch.reproduce writes: copy it there.
"""

import os
from pathlib import Path

from absl import flags

from crvae_tf.errors import InputError
from launch import command, flag_kinds
from launch.flag_kinds import FOLDERS, PLACE


def define() -> None:
    """Defines the flags of this command."""
    flag_kinds.define("results", "results", PLACE, "folder of the JSON summaries")
    flag_kinds.define("output", "RESULTS.md", PLACE, "the page to write")
    flag_kinds.define("add", None, PLACE, "name of a summary of --runs to write first")
    meaning = "finished runs; those that differ in the seed alone are one method"
    flag_kinds.define("runs", None, FOLDERS, meaning)
    flag_kinds.define("title", None, PLACE, "of that summary (its name)")


def check() -> None:
    """Raises InputError if a flag lacks another that it goes with."""
    given = flags.FLAGS
    if bool(given.add) != bool(given.runs):
        raise InputError(
            "add", "given together with --runs", f"--add={given.add} and --runs={given.runs}"
        )
    if given.add and os.path.basename(given.add) != given.add:
        raise InputError("add", "a name without a folder", given.add)


def main() -> None:
    """Writes the page that the flags describe."""
    from crvae_tf.runs import files
    from crvae_tf.studies import pages
    from launch import run_sets

    check()
    given = flags.FLAGS
    if given.add:
        summary = run_sets.summary(given.runs, given.title or given.add)
        pages.read(given.results)  # If another is damaged, this one is not written either.
        runs = [run_sets.finished(directory) for directory in given.runs]
        commands = dict.fromkeys(c for run in runs for c in run.read_provenance().get("commands", []))
        pages.write_json(Path(given.results, f"{given.add}.json"), summary, runs, list(commands))
    files.write_text(given.output, pages.document(given.results, given.output))


if __name__ == "__main__":
    command.run(main, define)
