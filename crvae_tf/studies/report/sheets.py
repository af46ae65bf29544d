"""The tables of a report: rows of runs, or of options, with what cells show and are sorted by."""

import dataclasses
import json
import statistics
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from crvae_tf.evaluation import quantities
from crvae_tf.evaluation.quantities import CONDITIONS, PARTS, Quantity
from crvae_tf.studies.report.records import RunRecord

_MISSING = "\N{EN DASH}"
_ABSENT = object()
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
_COMPARABLE = {
    "test": _LIKELIHOOD,
    "transformed_test": (*_LIKELIHOOD, *_TEST_VIEWS),
    "clean": _DATA,
    "train_transform": (*_DATA, *_TRAIN_VIEWS),
    "test_transform": (*_DATA, *_TEST_VIEWS),
}
"""The options that must agree for figures to be compared, by what these were measured under."""
_COUNTS = (
    Quantity("nll_samples", "K of the NLL", decimals=0),
    Quantity("num_images", "images", decimals=0),
)
_TRANSFORMS = ("train_transform", "test_transform")


class Cell(NamedTuple):
    """One cell of a table."""

    text: str
    key: float | str | None = None
    """What the column is sorted by; None is last."""
    run: RunRecord | None = None
    """The run that the cell names."""
    best: bool = False


class Column(NamedTuple):
    """The head of a column."""

    label: str
    remark: str = ""
    """The unit, and which way is better."""
    run: RunRecord | None = None


@dataclasses.dataclass(frozen=True)
class Sheet:
    """A table whose first column names what the row is about."""

    name: str
    """Lower case with hyphens: the element's id."""
    title: str
    columns: list[Column]
    rows: list[list[Cell]]
    groups: list[tuple[str, int]] = dataclasses.field(default_factory=list)
    """Titles over so many columns each, the first column left out."""
    notes: list[str] = dataclasses.field(default_factory=list)
    text: str = ""
    folded: bool = False

    def is_numeric(self, column: int) -> bool:
        """Returns whether a column holds numbers, and nothing else."""
        cells = [row[column] for row in self.rows]
        keys = [cell.key for cell in cells if cell.key is not None]
        return bool(keys) and not any(cell.run or isinstance(cell.key, str) for cell in cells)


def runs(records: Sequence[RunRecord]) -> Sheet:
    """Returns what the runs are, and how far they have come."""
    names = ("dataset", "model", "network", "latent_dim", "lambda", "eta", "beta")
    heads = ["run", *names, "epochs", "time of an epoch", "folder"]
    remarks = {"time of an epoch": "s"}
    rows = []
    for record in records:
        options = [_option(record.config.get(name, _ABSENT)) for name in names]
        done = len(record.metrics)
        seconds = [line["seconds"] for line in record.metrics if "seconds" in line]
        time = statistics.median(seconds) if seconds else None
        folder = str(record.run.directory)
        epochs = Cell(f"{done} of {record.config['epochs']}", done)
        rows.append([_run(record), *options, epochs, _figure(time), Cell(folder, folder)])
    return Sheet("runs", "", [Column(head, remarks.get(head, "")) for head in heads], rows)


def evaluation(records: Sequence[RunRecord]) -> list[Sheet]:
    """Returns the tables of what `evaluation.json` holds; none if no run was evaluated."""
    measured = [record for record in records if record.evaluation]
    consistency = (
        "Of the first test images and of their views under the training and the test transformation. "
        "The distance of a pair's means is over that of strangers; retrieval at 1 is the share of "
        "views whose nearest image is their own."
    )
    probe = (
        "Of classifiers fitted on the embeddings of clean training images, on the test images as they "
        "are and under the training and the test transformation."
    )
    sheets = (
        ("splits-test", "Test set", "splits", ["test"], ""),
        ("splits-transformed_test", "Transformed test set", "splits", ["transformed_test"], ""),
        ("consistency", "Consistency of images and views", "consistency", _TRANSFORMS, consistency),
        ("probe", "Accuracy of probes", "probe", ["clean", *_TRANSFORMS], probe),
    )
    made = [_evaluation_sheet(measured, *sheet) for sheet in sheets] if measured else []
    return [sheet for sheet in made if len(sheet.columns) > 1]


def _evaluation_sheet(
    records: Sequence[RunRecord],
    name: str,
    title: str,
    part: str,
    conditions: Sequence[str],
    text: str,
) -> Sheet:
    columns, cells = [Column("run")], [[_run(record) for record in records]]
    groups, incomparable = [], {}
    for condition in conditions:
        figures = [record.evaluation.get(part, {}).get(condition, {}) for record in records]
        shown = [*PARTS[part], *(_COUNTS if part == "splits" else ())]
        shown = [quantity for quantity in shown if any(quantity.key in found for found in figures)]
        differing = _differing(records, figures, condition)
        columns += [Column(quantity.label, _remark(quantity)) for quantity in shown]
        cells += [_column(quantity, figures, not differing) for quantity in shown]
        group = CONDITIONS[condition] if len(conditions) > 1 else ""
        groups.append((group, len(shown)))
        if differing:
            incomparable.setdefault(differing, []).append(group)
    notes = [_note(differing, where) for differing, where in incomparable.items()]
    rows = [list(row) for row in zip(*cells, strict=True)]
    return Sheet(name, title, columns, rows, groups, notes, text)


def _remark(quantity: Quantity) -> str:
    error = "± standard error" if quantity.key == quantities.NLL.key else ""
    better = quantity.better and f"{quantity.better} is better"
    return ", ".join(filter(None, (quantity.unit, error, better)))


def _differing(
    records: Sequence[RunRecord], figures: Sequence[dict[str, Any]], condition: str
) -> tuple[str, ...]:
    """Returns the options that keep figures from being compared."""
    configs = [record.config for record, found in zip(records, figures, strict=True) if found]
    return tuple(
        name
        for name in _COMPARABLE[condition]
        if any(config.get(name, _ABSENT) != configs[0].get(name, _ABSENT) for config in configs)
    )


def _note(differing: Sequence[str], groups: Sequence[str]) -> str:
    where = f" under the {' and the '.join(groups)}" if any(groups) else ""
    return (
        f"The runs differ in {', '.join(differing)}: their figures{where} are not of the same thing, "
        "and none is marked as best."
    )


def _column(quantity: Quantity, figures: Sequence[dict[str, Any]], comparable: bool) -> list[Cell]:
    values = [found.get(quantity.key) for found in figures]
    there = {value for value in values if value is not None}
    best = None
    if comparable and quantity.better and len(there) > 1:
        best = min(there) if quantity.better == "lower" else max(there)
    errors = [found.get(f"{quantity.key}_stderr") for found in figures]
    return [
        Cell(quantity.text(value, error) or _MISSING, value, best=value is not None and value == best)
        for value, error in zip(values, errors, strict=True)
    ]


def configuration(records: Sequence[RunRecord], leave_out: Collection[str]) -> list[Sheet]:
    """Returns the options that differ, a column for each run, and those that do not.

    Args:
      records: of the runs.
      leave_out: names of options that need not be shown.
    """
    options = [record.options for record in records]
    names = [n for n in dict.fromkeys(name for of in options for name in of) if n not in leave_out]
    differing, same = [], []
    for name in names:
        values = [of.get(name, _ABSENT) for of in options]
        agree = all(value == values[0] for value in values)
        row = [Cell(name, name), *map(_option, values[:1] if agree else values)]
        (same if agree else differing).append(row)
    columns = [Column("option"), *(Column(record.name, run=record) for record in records)]
    common = "What does not differ" if len(records) > 1 else "All options"
    common = f"{common}: {len(same)} options"
    sheets = [
        Sheet("differences", "What differs", columns, differing),
        Sheet("common", common, [Column("option"), Column("value")], same, folded=True),
    ]
    return [sheet for sheet in sheets if sheet.rows]


def last_epoch(records: Sequence[RunRecord], terms: Sequence[str]) -> Sheet:
    """Returns the terms of the objective at the end of each run's last epoch."""
    columns = [Column("run"), Column("epoch"), *(Column(term, "nats") for term in terms)]
    rows = [
        [_run(record), *(_figure(line.get(name)) for name in ("epoch", *terms))]
        for record in records
        for line in record.metrics[-1:]
    ]
    return Sheet("last-epoch", "At the last epoch", columns, rows)


def _figure(value: float | None) -> Cell:
    return Cell(Quantity("", "").text(value) or _MISSING, value)


def _option(value: Any) -> Cell:
    if value is _ABSENT:
        return Cell(_MISSING)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    text = value if isinstance(value, str) else json.dumps(value)
    return Cell(text, float(value) if is_number else text)


def _run(record: RunRecord) -> Cell:
    return Cell(record.name, record.number, record)
