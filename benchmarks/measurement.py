"""What the benchmarks share: contestants by turns, medians with their spread, tables and JSON.

A noisy machine slows what happens to run in that minute. So contestants take turns, each figure is the
median of its values beside the least and the most, and a ratio is the median of the ratios by turn.
"""

import argparse
import dataclasses
import datetime
import importlib.metadata
import pathlib
import re
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from crvae_tf import files, provenance
from crvae_tf.studies.evaluation_frame import markdown as markdown_table

_PACKAGES = ("tensorflow", "keras", "tensorflow-probability", "keras-cv", "torch", "pythae", "jax")


@dataclasses.dataclass(frozen=True)
class Figure:
    """One quantity, as often as it was measured.

    Figures of one case and unit are compared with the first of them.
    """

    case: str
    """What was done, e.g. `mlp, batch 64, float32`."""
    name: str
    """By whom, or which quantity it is."""
    unit: str
    values: Sequence[float]
    """In the order of the turns, 1 or more."""


@dataclasses.dataclass(frozen=True)
class Goal:
    """What a figure, or a ratio of two, shall be."""

    name: str
    wanted: float
    reached: float
    at_least: bool = True
    """Whether more than `wanted` is as good; less is, where this is false."""

    @property
    def is_met(self) -> bool:
        """Whether it was reached."""
        return self.reached >= self.wanted if self.at_least else self.reached <= self.wanted


def parser(text: str | None, repeats: int = 5) -> argparse.ArgumentParser:
    """Returns a parser with the flags of every benchmark; `text` is what --help says of it."""
    made = argparse.ArgumentParser(
        description=text, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--repeats", type=int, default=repeats, help="turns that each contestant takes")
    made.add_argument("--json", help="file to write the figures to")
    return made


def by_turns(contestants: dict[str, Callable[[], float]], repeats: int) -> dict[str, list[float]]:
    """Returns what each contestant measured, one value for each of the turns.

    >>> by_turns({"one": lambda: 1.0, "other": lambda: 2.0}, repeats=2)
    {'one': [1.0, 1.0], 'other': [2.0, 2.0]}
    """
    found = {name: [] for name in contestants}
    for _ in range(repeats):
        for name, measure in contestants.items():
            found[name].append(measure())
    return found


def seconds(call: Callable[[], Any], times: int = 1) -> float:
    """Returns how long one of `times` calls in a row takes."""
    began = time.perf_counter()
    for _ in range(times):
        call()
    return (time.perf_counter() - began) / times


def times_for(call: Callable[[], Any], duration: float) -> int:
    """Returns how many calls take about `duration` seconds, 1 or more; a first is not counted."""
    call()
    return max(1, round(duration / seconds(call)))


def ratio(values: Sequence[float], others: Sequence[float]) -> float:
    """Returns the median ratio of what was measured in the same turn.

    >>> ratio([2.0, 8.0, 9.0], [1.0, 2.0, 3.0])
    3.0
    """
    return statistics.median(value / other for value, other in zip(values, others, strict=True))


def table(figures: Iterable[Figure]) -> str:
    """Returns the figures as Markdown, each with its ratio to the first of its case and unit."""
    firsts: dict[tuple[str, str], Figure] = {}
    lines = []
    for figure in figures:
        first = firsts.setdefault((figure.case, figure.unit), figure)
        to_first = "" if first is figure else f"{ratio(figure.values, first.values):.2f}"
        median = _shown(statistics.median(figure.values))
        spread = f"{_shown(min(figure.values))} to {_shown(max(figure.values))}"
        lines.append([figure.case, figure.name, figure.unit, median, spread, to_first])
    return markdown_table(["case", "", "unit", "median", "spread", "to the first"], lines)


def goal_table(goals: Iterable[Goal]) -> str:
    """Returns the goals as Markdown, with what was reached of each."""
    lines = [
        [
            goal.name,
            f"{'>=' if goal.at_least else '<='} {goal.wanted:g}",
            _shown(goal.reached),
            "yes" if goal.is_met else "no",
        ]
        for goal in goals
    ]
    return markdown_table(["goal", "wanted", "reached", "met"], lines)


def report(options: argparse.Namespace, figures: list[Figure], goals: Sequence[Goal] = ()) -> None:
    """Prints the figures and goals, and writes them to the file that --json names."""
    print(table(figures))
    if goals:
        print(f"\n{goal_table(goals)}")
    if options.json:
        files.write_json(options.json, summary(figures, goals))


def summary(figures: Iterable[Figure], goals: Iterable[Goal]) -> dict[str, Any]:
    """Returns what is to be known of figures: themselves, the command, machine, versions and date."""
    program = pathlib.Path(sys.argv[0]).stem
    return {
        "benchmark": program,
        "command": shlex.join(["python", "-m", f"benchmarks.{program}", *sys.argv[1:]]),
        "date": datetime.date.today().isoformat(),
        "hardware": provenance.hardware(),
        "commit": provenance.commit(),
        "versions": {name: _version(name) for name in _PACKAGES if _version(name)},
        "figures": [dataclasses.asdict(figure) for figure in figures],
        "goals": [dataclasses.asdict(goal) for goal in goals],
    }


def resident_peak(pid: int | str = "self") -> float:
    """Returns the largest resident memory of a process so far, MiB; 0 if it has ended.

    What wait4 reports would begin at that of the process which started it.
    """
    try:
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    found = re.search(r"VmHWM:\s*(\d+) kB", status)
    return float(found[1]) / 1024 if found else 0.0


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _shown(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000.0 else f"{value:.3g}"
