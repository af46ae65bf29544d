"""One self-contained HTML page, made of the files of runs and of the models they serve."""

import dataclasses
from collections.abc import Callable, Collection, Sequence
from typing import Any, NamedTuple

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.axes import Axes

import crvae_tf
from crvae_tf.errors import InputError
from crvae_tf.runs import drawing
from crvae_tf.runs.run import Run
from crvae_tf.studies import comparisons, evaluation_frame
from crvae_tf.studies.report import sheets
from crvae_tf.studies.report.pictures import SECTIONS, Pictures, Section, Served, chart, data_uri

_COLOURS = ("#0b5cad", "#b3261e", "#1b7837", "#7b3fa0", "#8a5a00", "#00707f", "#a0287a", "#4d4d4d")
"""Dark enough for white text on them."""
_TERM_ORDER = ("bound", "view_bound", "consistency", "rate", "distortion", "loss")
_MARKED = 25
"""Points are marked on lines of up to so many."""


@dataclasses.dataclass(frozen=True, eq=False)
class RunRecord:
    """The files of a run; those not written yet are empty.

    `number` stands for it in charts, from 1 on. `name` is of `evaluation_frame.named_runs`. `config`
    has what the last evaluation changed.
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


class Panel(NamedTuple):
    """The pictures of one run, or a chart of all."""

    pictures: Pictures
    title: str
    run: RunRecord | None = None
    note: str = ""


class Part(NamedTuple):
    """A section of the page."""

    title: str
    panels: Sequence[Panel] = ()
    tables: Sequence[sheets.Sheet] = ()


def read(directories: Sequence[str]) -> list[RunRecord]:
    """Reads runs, finished or not.

    Raises:
      InputError: a directory is no run, or is named twice.
    """
    runs = evaluation_frame.named_runs(directories).items()
    return [_read(number, name, run) for number, (name, run) in enumerate(runs, 1)]


def _read(number: int, name: str, run: Run) -> RunRecord:
    config = run.read_config() if run.config.exists() else {}
    if not {"dataset", "epochs"} <= set(config):
        raise InputError("runs", "the folders of runs", f"{run.directory}, which holds no run")
    evaluation = run.read_evaluation() or {}
    config |= evaluation.get("config", {})
    invariance = run.read_invariance() if run.invariance.exists() else {}
    return RunRecord(number, name, run, config, run.read_metrics(), evaluation, invariance)


def render(
    records: Sequence[RunRecord], served: Sequence[Served], leave_out: Collection[str] = ()
) -> str:
    """Returns the page that compares runs; options to `leave_out` change no figure."""
    parts = [
        Part("Runs", tables=[sheets.runs(records)]),
        *(_gallery(section, records, served) for section in SECTIONS),
        Part("Evaluation", tables=sheets.evaluation(records)),
        _training(records),
        _invariance(records),
        Part("Configuration", tables=sheets.configuration(records, leave_out)),
    ]
    remarks = {
        record: "; ".join([*record.remarks, *own.remarks])
        for record, own in zip(records, served, strict=True)
    }
    environment = Environment(
        loader=PackageLoader("crvae_tf.studies.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html").render(
        version=crvae_tf.__version__,
        records=records,
        remarks={record: line for record, line in remarks.items() if line},
        parts=[part for part in parts if part.panels or part.tables],
    )


def _training(records: Sequence[RunRecord]) -> Part:
    names = dict.fromkeys(term for record in records for term in drawing.terms_of(record.metrics))
    terms = sorted(names, key=(*_TERM_ORDER, *names).index)
    panels = [_chart(f"{term}, nats", _draw_term, records, term) for term in terms]
    return Part("Training curves", panels)


def _chart(title: str, draw: Callable, *given: Any) -> Panel:
    return Panel({"": chart(lambda axes: draw(axes, *given))}, title)


def _draw_term(axes: Axes, records: Sequence[RunRecord], term: str) -> None:
    settled, last = [], max(len(record.metrics) for record in records)
    for record in records:
        lines = pd.DataFrame(record.metrics)
        marker = "." if len(lines) <= _MARKED else ""
        for name, style in ((term, "-"), (f"val_{term}", "--")):
            if name in lines:
                axes.plot(lines.epoch, lines[name], style, color=record.colour, marker=marker)
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


def _invariance(records: Sequence[RunRecord]) -> Part:
    measured = [record for record in records if record.invariance]
    panels = [
        _chart(f"{quantity.label}: {name}", _draw_invariance, shown, name, quantity)
        for quantity in comparisons.INVARIANCE
        if (
            shown := [
                record for record in measured if comparisons.has_curve(record.invariance, quantity)
            ]
        )
        for name in comparisons.TRANSFORMATIONS
    ]
    return Part("Invariance", panels)


def _draw_invariance(axes: Axes, records: Sequence[RunRecord], name: str, quantity: Any) -> None:
    lines = [(record.invariance, {"color": record.colour}) for record in records]
    comparisons.draw_invariance(axes, lines, name, quantity)
    for record in records:
        last = record.invariance[name][-1]
        _number(axes, record, last["size"], last[quantity.key])


def _gallery(section: Section, records: Sequence[RunRecord], served: Sequence[Served]) -> Part:
    panels = []
    for record, own in zip(records, served, strict=True):
        stand_in = record.run.figures / section.stand_in
        if pictures := section.draw(own):
            panels.append(Panel(pictures, section.title, record))
        elif stand_in.is_file():
            drawn = {"": data_uri(stand_in.read_bytes(), "png")}
            note = f"From the run's own {stand_in.name}."
            panels.append(Panel(drawn, section.title, record, note))
    return Part(section.title, panels)
