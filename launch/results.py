"""Writes docs/results.md from the summaries in docs/results/: python -m launch.results

A summary is the JSON file that launch.reproduce writes: copy it there.
"""

from absl import flags

from launch import command
from launch.command import PLACE


def define() -> None:
    command.define("results", "docs/results", PLACE, "folder of the JSON summaries")
    command.define("output", "docs/results.md", PLACE, "the page to write")


def main() -> None:
    from crvae_tf.runs import files
    from crvae_tf.studies import pages

    given = flags.FLAGS
    files.write_text(given.output, pages.document(given.results, given.output))


if __name__ == "__main__":
    command.run(main, define)
