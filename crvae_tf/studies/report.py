"""One self-contained HTML page that compares runs: figures, configurations, curves and pictures."""

import dataclasses
import itertools
import json
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import pandas as pd
from jinja2 import Environment, PackageLoader
from matplotlib.axes import Axes

import crvae_tf
from crvae_tf.errors import InputError
from crvae_tf.evaluation.metrics import BY_NAME, CONDITIONS, NLL, PARTS, Quantity
from crvae_tf.runs import drawing
from crvae_tf.runs.run import Run
from crvae_tf.studies import comparisons, pictures
from crvae_tf.studies.pictures import Pictures, Served

_COLOURS = ("#0b5cad", "#b3261e", "#1b7837", "#7b3fa0", "#8a5a00", "#00707f", "#a0287a", "#4d4d4d")
"""Dark enough for white text on them."""
_MISSING = "\N{EN DASH}"
_IMAGES = ("dataset", "data_fingerprint", "image_size", "channels", "binarization")
_DATA = (*_IMAGES, "eval_images", "eval_split")
_LIKELIHOOD = (*_DATA, "likelihood", "nll_samples")
_TEST_VIEWS = ("test_translation", "test_rotation", "test_scaling")
_COMPARABLE = {
    "test": _LIKELIHOOD,
    "transformed_test": (*_LIKELIHOOD, *_TEST_VIEWS),
    "clean": _DATA,
    "train_transform": (*_DATA, "translation", "rotation", "scaling"),
    "test_transform": (*_DATA, *_TEST_VIEWS),
}
"""The options that must agree for figures to be compared, by what these were measured under."""
_TRANSFORMS = ("train_transform", "test_transform")
_COUNTS = (Quantity("nll_samples", "K of the NLL"), Quantity("num_images", "images"))
_HEADLINE = (
    ("splits", "test", [NLL]),
    ("splits", "transformed_test", [NLL]),
    ("consistency", "test_transform", [BY_NAME["retrieval_at_1"]]),
    ("probe", "test_transform", [BY_NAME["probe_linear"]]),
)
_EVALUATION = {
    "Test set": [("splits", "test", (*PARTS["splits"], *_COUNTS))],
    "Transformed test set": [("splits", "transformed_test", (*PARTS["splits"], *_COUNTS))],
    "Consistency of images and views": [("consistency", c, PARTS["consistency"]) for c in _TRANSFORMS],
    "Accuracy of probes": [("probe", c, PARTS["probe"]) for c in ("clean", *_TRANSFORMS)],
}


@dataclasses.dataclass(frozen=True, eq=False)
class RunRecord:
    """The files of a run; those not written yet are empty.

    `number` stands for it in charts, from 1 on. `config` has what the last evaluation changed.
    """

    number: int
    name: str
    run: Run
    config: dict[str, Any]
    metrics: list[dict[str, float]]
    evaluation: dict[str, Any]
    invariance: dict[str, list[dict[str, float]]]

    @property
    def colour(self) -> str:
        """Its colour in charts."""
        return _COLOURS[(self.number - 1) % len(_COLOURS)]

    @property
    def remarks(self) -> list[str]:
        """What the run lacks."""
        done, whole = len(self.metrics), self.config["epochs"]
        unfinished = [f"unfinished, {done} of {whole} epochs"] if done < whole else []
        parts = self.run.evaluation, self.run.encoder, self.run.decoder
        return unfinished + [f"no {part.name}" for part in parts if not part.exists()]


@dataclasses.dataclass
class Sheet:
    """A table of texts; rows or columns that are of a run have its record as their label."""

    title: str
    frame: pd.DataFrame
    folded: bool = False
    remarks: dict[str, str] = dataclasses.field(default_factory=dict)
    """By column, the unit, and which way is better."""
    best: set[tuple[RunRecord, str]] = dataclasses.field(default_factory=set)
    """The labels of cells that are the best of their column."""
    notes: list[str] = dataclasses.field(default_factory=list)


Panel = tuple[str, RunRecord | None, Pictures]
"""A title and the pictures of one run, or a chart of all."""


def read(directories: Sequence[str]) -> list[RunRecord]:
    """Reads runs, finished or not; raises InputError if a directory is no run, or is named twice."""
    runs = {Path(directory).resolve(): Run(directory) for directory in directories}
    if len(runs) < len(directories):
        raise InputError("runs", "each run once", ", ".join(directories))
    names = [place.name for place in runs]
    paths = [str(run.directory) for run in runs.values()]
    shown = [name if names.count(name) == 1 else path for name, path in zip(names, paths, strict=True)]
    return list(map(_read, itertools.count(1), shown, runs.values()))


def _read(number: int, name: str, run: Run) -> RunRecord:
    config = run.read_config() if run.config.exists() else {}
    if not {"dataset", "epochs"} <= set(config):
        raise InputError("runs", "the folders of runs", f"{run.directory}, which holds no run")
    evaluation, invariance = (run.read_json(path) for path in (run.evaluation, run.invariance))
    config |= evaluation.get("config", {})
    return RunRecord(number, name, run, config, run.read_metrics(), evaluation, invariance)


def render(records: Sequence[RunRecord], served: Sequence[Served], leave_out: Collection[str]) -> str:
    """Returns the page that compares runs; options to `leave_out` change no figure."""
    both = list(zip(records, served, strict=True))
    remarks = {record: "; ".join([*record.remarks, *own.remarks]) for record, own in both}
    galleries = [
        (title, [(title, record, draw(own)) for record, own in both if getattr(own, needed)], [])
        for title, (needed, draw) in pictures.SECTIONS.items()
    ]
    parts = [
        ("Runs", [], [_overview(records)]),
        *galleries,
        ("Evaluation", [], evaluations(records)),
        ("Training curves", _training(records), []),
        ("Invariance", _invariance(records), []),
        ("Configuration", [], configuration(records, leave_out)),
    ]
    environment = Environment(
        loader=PackageLoader("crvae_tf.studies"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("report.html").render(
        version=crvae_tf.__version__,
        records=records,
        remarks={record: line for record, line in remarks.items() if line},
        parts=[part for part in parts if any(part[1:])],
    )


def _overview(records: Sequence[RunRecord]) -> Sheet:
    """Returns the figures that matter most, what the runs are, and how far they have come."""
    sheet = _sheet("Runs", records, _HEADLINE)
    options = _options(records).T.reindex(columns=["dataset", "network", "pose", "eta"])
    sheet.frame = sheet.frame.join(options.fillna(_MISSING))
    sheet.frame["epochs"] = [f"{len(r.metrics)} of {r.config['epochs']}" for r in records]
    seconds = [[line["seconds"] for line in r.metrics if "seconds" in line] for r in records]
    sheet.frame["time of an epoch"] = [f"{median(s):.2f}" if s else _MISSING for s in seconds]
    sheet.frame["folder"] = [str(record.run.directory) for record in records]
    sheet.remarks["time of an epoch"] = "s"
    return sheet


def evaluations(records: Sequence[RunRecord]) -> list[Sheet]:
    """Returns the tables of `evaluation.json`; none if no run was evaluated."""
    measured = [record for record in records if record.evaluation]
    sheets = [_sheet(title, measured, figures) for title, figures in _EVALUATION.items()]
    return [sheet for sheet in sheets if len(sheet.frame.columns)]


def _sheet(title: str, records: Sequence[RunRecord], figures: Sequence[tuple]) -> Sheet:
    """Returns a table of figures, each a part of `evaluation.json`, a condition and quantities."""
    sheet = Sheet(title, pd.DataFrame(index=pd.Index(records, name="run")))
    for part, condition, quantities in figures:
        found = [record.evaluation.get(part, {}).get(condition, {}) for record in records]
        measured = pd.DataFrame(found, records, dtype=object)  # Counts stay integers.
        configs = [record.config for record in measured.dropna(how="all").index]
        differing = [n for n in _COMPARABLE[condition] if len({str(c.get(n)) for c in configs}) > 1]
        if differing:
            why = f"{CONDITIONS[condition]}: the runs differ in {', '.join(differing)}"
            sheet.notes.append(f"{why}, so their figures cannot be compared.")
        where = f", {CONDITIONS[condition]}" if len(figures) > 1 else ""
        for quantity in quantities:
            if quantity.key in measured:
                _add_column(sheet, quantity.label + where, quantity, measured, not differing)
    return sheet


def _add_column(
    sheet: Sheet, label: str, quantity: Quantity, figures: pd.DataFrame, comparable: bool
) -> None:
    shown = figures.reindex(columns=[quantity.key, f"{quantity.key}_stderr"])
    sheet.frame[label] = [quantity.text(*pair) or _MISSING for pair in shown.itertuples(False, None)]
    error = "± standard error" if quantity is NLL else ""
    better = quantity.better and f"{quantity.better} is better"
    sheet.remarks[label] = ", ".join(filter(None, (quantity.unit, error, better)))
    values = figures[quantity.key].dropna()
    if comparable and quantity.better and values.nunique() > 1:
        best = values.min() if quantity.better == "lower" else values.max()
        sheet.best |= {(record, label) for record in values.index[values == best]}


def configuration(records: Sequence[RunRecord], leave_out: Collection[str]) -> list[Sheet]:
    """Returns the options that differ, a column for each run, and those that do not."""
    options = _options(records).drop(index=list(leave_out), errors="ignore").rename_axis("option")
    differs = options.nunique(axis=1) > 1
    common = options[~differs].iloc[:, :1].set_axis(["value"], axis=1)
    title = "What does not differ" if len(records) > 1 else "All options"
    sheets = [
        Sheet("What differs", options[differs]),
        Sheet(f"{title}: {len(common)} options", common, folded=True),
    ]
    return [sheet for sheet in sheets if len(sheet.frame)]


def _options(records: Sequence[RunRecord]) -> pd.DataFrame:
    """Returns options as texts, a column for each run, nested ones as rows such as `versions.keras`."""
    texts = {}
    for record in records:
        (options,) = pd.json_normalize(record.config).to_dict("records")
        texts[record] = {n: v if isinstance(v, str) else json.dumps(v) for n, v in options.items()}
    return pd.DataFrame(texts).fillna(_MISSING)


def _training(records: Sequence[RunRecord]) -> list[Panel]:
    terms = dict.fromkeys(term for record in records for term in drawing.terms_of(record.metrics))
    return [_chart(f"{term}, nats", _draw_term, records, term) for term in terms]


def _chart(title: str, draw: Callable, *given: Any) -> Panel:
    return title, None, {"": pictures.chart(lambda axes: draw(axes, *given))}


def _draw_term(axes: Axes, records: Sequence[RunRecord], term: str) -> None:
    settled, last = [], max(len(record.metrics) for record in records)
    for record in records:
        lines = pd.DataFrame(record.metrics)
        for name, style in ((term, ".-"), (f"val_{term}", ".--")):
            if name in lines:
                axes.plot(lines.epoch, lines[name], style, color=record.colour, markersize=3)
                settled.append(lines[name][lines.epoch > 0.2 * last])
        if term in lines:
            _number(axes, record, lines.epoch.iloc[-1], lines[term].iloc[-1])
    shown = pd.concat(settled)
    margin = 0.05 * (shown.max() - shown.min()) or 0.5
    axes.set(xlabel="epoch", ylim=(shown.min() - margin, shown.max() + margin))
    axes.xaxis.get_major_locator().set_params(integer=True)


def _number(axes: Axes, record: RunRecord, x: float, y: float) -> None:
    """Writes the run's number at the end of its line."""
    place = (4 + 6 * ((record.number - 1) % 4), 0)  # Beside those of lines that end nearby.
    style = {"color": record.colour, "weight": "bold", "va": "center"}
    axes.annotate(str(record.number), (x, y), place, textcoords="offset points", **style)


def _invariance(records: Sequence[RunRecord]) -> list[Panel]:
    panels = []
    for quantity in comparisons.INVARIANCE:
        measured = [r for r in records if comparisons.has_curve(r.invariance, quantity)]
        for name in comparisons.TRANSFORMATIONS if measured else ():
            title = f"{quantity.label}: {name}"
            panels.append(_chart(title, _draw_invariance, measured, name, quantity))
    return panels


def _draw_invariance(axes: Axes, records: Sequence[RunRecord], name: str, quantity: Quantity) -> None:
    for record in records:
        comparisons.draw_invariance(axes, record.invariance, name, quantity, color=record.colour)
        last = record.invariance[name][-1]
        _number(axes, record, last["size"], last[quantity.key])
