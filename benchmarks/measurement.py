"""What the benchmarks share: contestants take turns, and each figure is the median of their values.

A noisy machine slows whatever runs in that minute, so a ratio is the median of the ratios by turn.
"""

import argparse
import datetime
import pathlib
import re
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import pandas as pd

from crvae_tf.runs import run as provenance


class Figure(NamedTuple):
    """One quantity, with its value in each turn.

    Figures of one case and unit are compared with the first of them.
    """

    case: str
    name: str
    unit: str
    values: Sequence[float]


def parser(text: str | None, repeats: int = 5) -> argparse.ArgumentParser:
    """Returns a parser with the flags of every benchmark; --help prints `text`."""
    made = argparse.ArgumentParser(
        description=text, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--repeats", type=int, default=repeats, help="turns that each contestant takes")
    made.add_argument("--only", default="", help="only cases whose name begins so")
    return made


def by_turns(contestants: dict[str, Callable[[], float]], repeats: int) -> dict[str, list[float]]:
    """Returns what each contestant measured, one value for each of the turns."""
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
    """Returns how many calls take about `duration` seconds, 1 or more; the first call is not timed."""
    call()
    return max(1, round(duration / seconds(call)))


def ratio(values: Sequence[float], others: Sequence[float]) -> float:
    """Returns the median ratio of what was measured in the same turn."""
    return statistics.median(value / other for value, other in zip(values, others, strict=True))


def table(figures: Iterable[Figure]) -> pd.DataFrame:
    """Returns a row for each figure, with its ratio to the first of its case and unit."""
    firsts: dict[tuple[str, str], Figure] = {}
    rows = []
    for figure in figures:
        first = firsts.setdefault((figure.case, figure.unit), figure)
        of_values = (statistics.median(figure.values), min(figure.values), max(figure.values))
        to_first = ratio(figure.values, first.values)
        rows.append([figure.case, figure.name, figure.unit, *of_values, to_first])
    return pd.DataFrame(rows, columns=["case", "", "unit", "median", "least", "most", "ratio"])


def report(figures: Iterable[Figure]) -> None:
    """Prints the date, the machine, the commit and the figures."""
    print(f"{datetime.date.today()}, {provenance.hardware()}, commit {provenance.commit()}")
    print(table(figures).to_string(index=False, float_format="{:,.4g}".format))


def resident_peak(pid: int | str = "self") -> float:
    """Returns the largest resident memory of a process so far, MiB; 0 if it has ended.

    What wait4 reports would begin at the peak of the parent.
    """
    try:
        status = pathlib.Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0.0
    found = re.search(r"VmHWM:\s*(\d+) kB", status)
    return float(found[1]) / 1024 if found else 0.0
