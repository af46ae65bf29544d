"""The tables of a report: rows of runs, or of options, with what cells show and are sorted by."""

import dataclasses
import json
import math
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

import numpy as np

from crvae_tf import quantities
from crvae_tf.quantities import Quantity
from crvae_tf.report.charts import Series
from crvae_tf.report.records import ABSENT, RunRecord, agree, options_by_name

_MISSING = "\N{EN DASH}"

_DATA = (
    "dataset",
    "data_fingerprint",
    "image_size",
    "channels",
    "binarization",
    "eval_images",
    "eval_split",
)
_LIKELIHOOD = (*_DATA, "likelihood", "nll_samples")
_TRAIN_VIEWS = ("translation", "rotation", "scaling")
_TEST_VIEWS = ("test_translation", "test_rotation", "test_scaling")
_VIEWS = {"clean": (), "train_transform": _TRAIN_VIEWS, "test_transform": _TEST_VIEWS}
_SPLITS = (
    ("test", "Test set", ()),
    ("transformed_test", "Transformed test set", _TEST_VIEWS),
)


@dataclasses.dataclass(frozen=True)
class Cell:
    """One cell of a table."""

    text: str
    key: float | str | None
    """What the column is sorted by; None is last."""
    series: Series | None = None
    """The run that the cell names."""
    best: bool = False


@dataclasses.dataclass(frozen=True)
class Column:
    """The head of a column."""

    label: str
    unit: str = ""
    better: str = ""
    series: Series | None = None

    @property
    def remark(self) -> str:
        """The unit and which way is better."""
        return ", ".join(filter(None, (self.unit, self.better and f"{self.better} is better")))


@dataclasses.dataclass(frozen=True)
class Table:
    """A table whose first column names what the row is about."""

    name: str
    """Lower case with hyphens: the element's id."""
    title: str
    columns: list[Column]
    rows: list[list[Cell]]
    groups: list[tuple[str, int]] = dataclasses.field(default_factory=list)
    """Titles over so many columns each, the first column left out."""
    notes: list[str] = dataclasses.field(default_factory=list)

    def is_numeric(self, column: int) -> bool:
        """Returns whether a column holds numbers, and nothing else."""
        cells = [row[column] for row in self.rows]
        keys = [cell.key for cell in cells if cell.key is not None]
        return bool(keys) and not any(cell.series or isinstance(cell.key, str) for cell in cells)


class _Group(NamedTuple):
    """Columns that were measured under one condition."""

    title: str
    quantities: Sequence[Quantity]
    figures: Sequence[dict[str, Any]]
    """Of each run, by name."""
    depends_on: Sequence[str]
    """Options that must agree for these figures to be compared."""


def runs(records: Sequence[RunRecord], series: Sequence[Series]) -> Table:
    """Returns what the runs are, and how far they have come."""
    names = ("dataset", "model", "network", "latent_dim", "lambda", "eta", "beta")
    columns = [Column("run"), *map(Column, names), Column("epochs")]
    columns += [Column("time of an epoch", "s"), Column("folder")]
    rows = []
    for record, own in zip(records, series, strict=True):
        options = [_option(record.config.get(name, ABSENT)) for name in names]
        epochs = Cell(f"{record.epochs} of {record.config['epochs']}", record.epochs)
        seconds = [line["seconds"] for line in record.metrics if "seconds" in line]
        time = _figure(float(np.median(seconds)) if seconds else None)
        folder = str(record.run.directory)
        rows.append([_run(own), *options, epochs, time, Cell(folder, folder)])
    return Table("runs", "Runs", columns, rows)


def evaluation(records: Sequence[RunRecord], series: Sequence[Series]) -> list[Table]:
    """Returns the tables of what `evaluation.json` holds; none where no run was evaluated."""
    pairs = [pair for pair in zip(records, series, strict=True) if pair[0].evaluation]
    if not pairs:
        return []
    measured, own = zip(*pairs, strict=True)
    tables = [
        _table(f"splits-{name}", title, measured, own, [_split_group(measured, name, views)])
        for name, title, views in _SPLITS
    ]
    groups = _groups(measured, "consistency", quantities.CONSISTENCY)
    tables.append(_table("consistency", "Consistency of images and views", measured, own, groups))
    probes = _groups(measured, "probe", quantities.PROBE)
    if probes:
        groups = [*probes, _fitted_group(measured)]
        tables.append(_table("probe", "Accuracy of probes", measured, own, groups))
    return tables


def configuration(
    records: Sequence[RunRecord], series: Sequence[Series], leave_out: Collection[str]
) -> tuple[Table, Table]:
    """Returns the options that differ, a column for each run, and those that do not, in one.

    Args:
      records: of the runs.
      series: of the runs.
      leave_out: names of options that need not be shown.
    """
    options = options_by_name(records, leave_out)
    differing = {name: values for name, values in options.items() if not agree(values)}
    columns = [Column("option"), *(Column(own.name, series=own) for own in series)]
    rows = [[Cell(name, name), *map(_option, values)] for name, values in differing.items()]
    same = [
        [Cell(name, name), _option(values[0])]
        for name, values in options.items()
        if name not in differing
    ]
    return (
        Table("differences", "What differs", columns, rows),
        Table("common", "What does not differ", [Column("option"), Column("value")], same),
    )


def last_epoch(records: Sequence[RunRecord], series: Sequence[Series], terms: Sequence[str]) -> Table:
    """Returns the terms of the objective at the end of each run's last epoch."""
    columns = [Column("run"), Column("epoch"), *(Column(term, "nats") for term in terms)]
    rows = [
        [_run(own), _figure(line.get("epoch")), *(_figure(line.get(term)) for term in terms)]
        for record, own in zip(records, series, strict=True)
        for line in record.metrics[-1:]
    ]
    return Table("last-epoch", "At the last epoch", columns, rows)


def _split_group(records: Sequence[RunRecord], name: str, views: Sequence[str]) -> _Group:
    likelihood = Quantity("nll", "NLL", "nats, ± standard error", "lower")
    numbers = (Quantity("nll_samples", "K of the NLL"), Quantity("num_images", "images"))
    figures = [record.evaluation.get("splits", {}).get(name, {}) for record in records]
    gaussian = [quantities.GAUSSIAN] if any(quantities.GAUSSIAN.key in f for f in figures) else []
    wanted = (likelihood, *quantities.SPLIT, *gaussian, *numbers)
    return _Group("", wanted, figures, (*_LIKELIHOOD, *views))


def _groups(records: Sequence[RunRecord], part: str, wanted: Sequence[Quantity]) -> list[_Group]:
    """Returns a group for each condition that `consistency` or `probe` was measured under."""
    measured = [record.evaluation.get(part, {}) for record in records]
    names = [name for name in _VIEWS if any(name in figures for figures in measured)]
    return [
        _Group(
            name.replace("_", " "),
            wanted,
            [figures.get(name, {}) for figures in measured],
            (*_DATA, *_VIEWS[name]),
        )
        for name in names
    ]


def _fitted_group(records: Sequence[RunRecord]) -> _Group:
    wanted = [Quantity("num_train_images", "training images")]
    return _Group("", wanted, [record.evaluation.get("probe", {}) for record in records], ())


def _table(
    name: str,
    title: str,
    records: Sequence[RunRecord],
    series: Sequence[Series],
    groups: Sequence[_Group],
) -> Table:
    columns, cells, incomparable = [Column("run")], [[_run(own) for own in series]], {}
    for group in groups:
        differing = _differing(records, group)
        incomparable.setdefault(differing, []).append(group.title)
        for quantity in group.quantities:
            columns.append(Column(quantity.label, quantity.unit, quantity.better))
            cells.append(_column(quantity, group.figures, not differing))
    titles = [(group.title, len(group.quantities)) for group in groups]
    notes = [_note(differing, where) for differing, where in incomparable.items() if differing]
    rows = [list(row) for row in zip(*cells, strict=True)]
    return Table(name, title, columns, rows, titles, notes)


def _differing(records: Sequence[RunRecord], group: _Group) -> tuple[str, ...]:
    """Returns the options that keep the figures of a group from being compared."""
    measured = [r for r, figures in zip(records, group.figures, strict=True) if figures]
    options = options_by_name(measured)
    return tuple(name for name in group.depends_on if not agree(options.get(name, [None])))


def _note(differing: Sequence[str], groups: Sequence[str]) -> str:
    where = f" under {', '.join(groups)}" if any(groups) else ""
    return (
        f"The runs differ in {', '.join(differing)}: their figures{where} are not of the same thing, "
        "and none is marked as best."
    )


def _column(quantity: Quantity, figures: Sequence[dict[str, Any]], comparable: bool) -> list[Cell]:
    values = [run_figures.get(quantity.key) for run_figures in figures]
    best = _best(values, quantity.better) if comparable else None
    return [
        _figure(value, run_figures.get(f"{quantity.key}_stderr"), value is not None and value == best)
        for value, run_figures in zip(values, figures, strict=True)
    ]


def _best(values: Sequence[float | None], better: str) -> float | None:
    """Returns the best of the values, or None where there is nothing to choose from.

    >>> _best([3.0, None, 2.0], "lower"), _best([3.0, None], "lower"), _best([2.0, 2.0], "higher")
    (2.0, None, None)
    """
    there = [value for value in values if value is not None]
    if not better or len(set(there)) < 2:
        return None
    return min(there) if better == "lower" else max(there)


def _figure(value: float | None, error: float | None = None, best: bool = False) -> Cell:
    if value is None or not math.isfinite(value):
        return Cell(_MISSING if value is None else str(value), None)
    if error is not None:
        return Cell(f"{value:.2f} ± {error:.2f}", value, best=best)
    return Cell(quantities.formatted(value), value, best=best)


def _option(value: Any) -> Cell:
    if value is ABSENT:
        return Cell(_MISSING, None)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    text = value if isinstance(value, str) else json.dumps(value)
    return Cell(text, float(value) if is_number else text)


def _run(series: Series) -> Cell:
    return Cell(series.name, series.number, series)
