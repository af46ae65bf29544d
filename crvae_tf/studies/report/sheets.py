"""The tables of a report: frames of texts, a row for each run or option."""

import dataclasses
import json
from collections.abc import Collection, Sequence
from statistics import median
from typing import Any

import pandas as pd

from crvae_tf.evaluation.metrics import BY_NAME, CONDITIONS, NLL, PARTS, Quantity

_MISSING = "\N{EN DASH}"
_IMAGES = ("dataset", "data_fingerprint", "image_size", "channels", "binarization")
_DATA = (*_IMAGES, "eval_images", "eval_split")
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
_COUNTS = (Quantity("nll_samples", "K of the NLL"), Quantity("num_images", "images"))
_TRANSFORMS = ("train_transform", "test_transform")
_EVALUATION = {
    "Test set": ("splits", ["test"]),
    "Transformed test set": ("splits", ["transformed_test"]),
    "Consistency of images and views": ("consistency", _TRANSFORMS),
    "Accuracy of probes": ("probe", ["clean", *_TRANSFORMS]),
}
_HEADLINE = (
    ("splits", "test", "nll"),
    ("splits", "transformed_test", "nll"),
    ("consistency", "test_transform", "retrieval_at_1"),
    ("probe", "test_transform", "probe_linear"),
)
_OPTIONS = ("dataset", "network", "pose", "eta")


@dataclasses.dataclass
class Sheet:
    """A table."""

    title: str
    frame: pd.DataFrame
    """Of texts; rows or columns that are of a run have its record as their label."""
    folded: bool = False
    remarks: dict[str, str] = dataclasses.field(default_factory=dict)
    """By column, the unit, and which way is better."""
    best: set[tuple[Any, str]] = dataclasses.field(default_factory=set)
    """The labels of cells that are the best of their column."""
    notes: list[str] = dataclasses.field(default_factory=list)


def runs(records: Sequence) -> Sheet:
    """Returns the figures that matter most, what the runs are, and how far they have come."""
    sheet = Sheet("Runs", pd.DataFrame(index=pd.Index(records, name="run")))
    for part, condition, name in _HEADLINE:
        _add_columns(sheet, part, condition, [BY_NAME[name]], f", {CONDITIONS[condition]}")
    options = pd.DataFrame({record: _texts(record.config) for record in records}).T
    sheet.frame = sheet.frame.join(options.reindex(columns=_OPTIONS).fillna(_MISSING))
    sheet.frame["epochs"] = [f"{len(r.metrics)} of {r.config['epochs']}" for r in records]
    seconds = [[line["seconds"] for line in r.metrics if "seconds" in line] for r in records]
    sheet.frame["time of an epoch"] = [f"{median(s):.2f}" if s else _MISSING for s in seconds]
    sheet.frame["folder"] = [str(record.run.directory) for record in records]
    sheet.remarks["time of an epoch"] = "s"
    return sheet


def evaluation(records: Sequence) -> list[Sheet]:
    """Returns the tables of `evaluation.json`; none if no run was evaluated."""
    measured = [record for record in records if record.evaluation]
    sheets = []
    for title, (part, conditions) in _EVALUATION.items():
        sheet = Sheet(title, pd.DataFrame(index=pd.Index(measured, name="run")))
        quantities = (*PARTS[part], *(_COUNTS if part == "splits" else ()))
        for condition in conditions:
            where = f", {CONDITIONS[condition]}" if len(conditions) > 1 else ""
            _add_columns(sheet, part, condition, quantities, where)
        sheets.append(sheet)
    return [sheet for sheet in sheets if len(sheet.frame.columns)]


def _add_columns(
    sheet: Sheet, part: str, condition: str, quantities: Sequence[Quantity], where: str
) -> None:
    """Adds the quantities that a run has under a condition."""
    figures = {r: r.evaluation.get(part, {}).get(condition, {}) for r in sheet.frame.index}
    configs = [record.config for record, found in figures.items() if found]
    differing = [n for n in _COMPARABLE[condition] if len({str(c.get(n)) for c in configs}) > 1]
    if differing:
        why = f"{CONDITIONS[condition]}: the runs differ in {', '.join(differing)}"
        sheet.notes.append(f"{why}, so their figures cannot be compared.")
    for quantity in quantities:
        if any(quantity.key in found for found in figures.values()):
            _add_column(sheet, quantity.label + where, quantity, figures, not differing)


def _add_column(
    sheet: Sheet, label: str, quantity: Quantity, figures: dict[Any, dict[str, Any]], comparable: bool
) -> None:
    values = {record: found.get(quantity.key) for record, found in figures.items()}
    errors = [found.get(f"{quantity.key}_stderr") for found in figures.values()]
    texts = map(quantity.text, values.values(), errors)
    sheet.frame[label] = [text or _MISSING for text in texts]
    error = "± standard error" if quantity is NLL else ""
    better = quantity.better and f"{quantity.better} is better"
    sheet.remarks[label] = ", ".join(filter(None, (quantity.unit, error, better)))
    there = {value for value in values.values() if value is not None}
    if comparable and quantity.better and len(there) > 1:
        best = min(there) if quantity.better == "lower" else max(there)
        sheet.best |= {(record, label) for record, value in values.items() if value == best}


def configuration(records: Sequence, leave_out: Collection[str]) -> list[Sheet]:
    """Returns the options that differ, a column for each run, and those that do not."""
    frame = pd.DataFrame({record: _texts(record.config) for record in records}).fillna(_MISSING)
    frame = frame.drop(index=list(leave_out), errors="ignore").rename_axis("option")
    differs = frame.nunique(axis=1) > 1
    common = frame[~differs].iloc[:, :1].set_axis(["value"], axis=1)
    title = "What does not differ" if len(records) > 1 else "All options"
    sheets = [
        Sheet("What differs", frame[differs]),
        Sheet(f"{title}: {len(common)} options", common, folded=True),
    ]
    return [sheet for sheet in sheets if len(sheet.frame)]


def _texts(config: dict[str, Any]) -> pd.Series:
    """Returns options as texts, nested ones by names such as `versions.keras`."""
    (options,) = pd.json_normalize(config).to_dict("records")
    return pd.Series({n: v if isinstance(v, str) else json.dumps(v) for n, v in options.items()})
