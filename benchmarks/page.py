"""Writes BENCHMARKS.md from the JSON files in results/benchmarks: python -m benchmarks.page

Beside NAME.json may lie NAME.md, what is to be said of it.
"""

import json
import pathlib
from typing import Any

from benchmarks.measurement import Figure, Goal, goal_table, table
from crvae_tf import files

FOLDER = pathlib.Path("results/benchmarks")
PAGE = "BENCHMARKS.md"
HEAD = """# Benchmarks

Written by `python -m benchmarks.page` from the JSON files in `results/benchmarks`: change those, not
this page.

Contestants took turns. Each figure is the median of their values, with the least and the most; a ratio
is the median of the ratios by turn, to the first figure of the same case and unit. On a machine that
other programs share rates drift by tens of per cent from one hour to the next, ratios by turn much
less: compare those, and rates within one section alone."""


def document(folder: pathlib.Path) -> str:
    """Returns the page: all goals, then a section for each JSON file, in the order of their names."""
    summaries = {path: json.loads(path.read_text("utf-8")) for path in sorted(folder.glob("*.json"))}
    goals = [Goal(**goal) for summary in summaries.values() for goal in summary["goals"]]
    parts = [HEAD, f"## Goals\n\n{goal_table(goals)}"]
    parts += [section(path, summary) for path, summary in summaries.items()]
    return "\n\n".join(parts) + "\n"


def section(path: pathlib.Path, summary: dict[str, Any]) -> str:
    """Returns a benchmark's command, machine, versions, date, figures and note."""
    versions = ", ".join(f"{name} {version}" for name, version in summary["versions"].items())
    lines = [
        f"`{summary['command']}`",
        f"{summary['date']}, {summary['hardware']}, commit {summary['commit']}",
        versions,
    ]
    parts = [
        f"## {path.stem}",
        "\n".join(f"* {line}" for line in lines),
        table(Figure(**figure) for figure in summary["figures"]),
    ]
    note = path.with_suffix(".md")
    if note.exists():
        parts.append(note.read_text("utf-8").rstrip("\n"))
    return "\n\n".join(parts)


def main() -> None:
    files.write_text(PAGE, document(FOLDER))


if __name__ == "__main__":
    main()
