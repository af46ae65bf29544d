"""One self-contained page of HTML from the records of runs and from what they serve."""

import dataclasses
from collections.abc import Collection, Sequence

import pandas as pd
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.axes import Axes

import crvae_tf
from crvae_tf.evaluation.quantities import Quantity
from crvae_tf.runs import drawing
from crvae_tf.studies import curves
from crvae_tf.studies.report import gallery, sheets
from crvae_tf.studies.report.gallery import Served
from crvae_tf.studies.report.records import RunRecord
from crvae_tf.studies.report.sheets import Sheet

_TERM_ORDER = ("bound", "view_bound", "consistency", "rate", "distortion", "loss")
_MARKED = 25
"""Points are marked on lines of up to so many."""


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture and its caption."""

    caption: str
    source: str
    """A data URI."""
    alt: str


@dataclasses.dataclass(frozen=True)
class Panel:
    """The pictures of one run, or a chart of all."""

    pictures: list[Picture]
    run: RunRecord | None = None
    title: str = ""
    note: str = ""
    kind: str = ""
    """`chart`, `photo`, for a large picture that is shown smaller, or nothing for pixels."""


@dataclasses.dataclass(frozen=True)
class Part:
    """A section of the page."""

    name: str
    title: str
    text: str = ""
    panels: list[Panel] = dataclasses.field(default_factory=list)
    sheets: list[Sheet] = dataclasses.field(default_factory=list)


def render(
    records: Sequence[RunRecord], served: Sequence[Served], leave_out: Collection[str] = ()
) -> str:
    """Returns the page that compares runs.

    Args:
      records: of the runs.
      served: theirs, in the same order.
      leave_out: options that change no figure and are not to be compared.
    """
    parts = [
        Part("runs", "Runs", sheets=[sheets.runs(records)]),
        _evaluation(records),
        Part("configuration", "Configuration", sheets=sheets.configuration(records, leave_out)),
        _training(records),
        *(_gallery(section, records, served) for section in gallery.SECTIONS),
        _invariance(records),
    ]
    lacking = [
        (record, "; ".join([*record.remarks, *own.remarks]))
        for record, own in zip(records, served, strict=True)
    ]
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
        remarks=[(record, line) for record, line in lacking if line],
        parts=[part for part in parts if part.panels or part.sheets],
    )


def _evaluation(records: Sequence[RunRecord]) -> Part:
    text = (
        "Sums over pixels and latent dimensions, means over images, in nats, at beta = 1. ± is the "
        "standard error over images; K is the number of importance samples of the NLL, "
        "-log (1/K) Σ p(x, z) / q(z|x)."
    )
    if len(records) > 1:
        text += (
            " The best of a column is marked where the runs were measured alike. "
            "The head of a column sorts by it."
        )
    return Part("evaluation", "Evaluation", text, sheets=sheets.evaluation(records))


def _training(records: Sequence[RunRecord]) -> Part:
    text = (
        "Means over the images of an epoch; validation is dashed. A line ends in the number of its "
        "run. The vertical axis is that of the epochs after the first fifth; what lies beyond it is "
        "cut off. The loss is the negative of each run's own objective: it compares only runs of the "
        "same objective."
    )
    names = dict.fromkeys(term for record in records for term in drawing.terms_of(record.metrics))
    terms = sorted(names, key=(*_TERM_ORDER, *names).index)
    panels = [
        _chart(f"{term}, nats", lambda axes, term=term: _draw_term(axes, records, term))
        for term in terms
    ]
    last = [sheets.last_epoch(records, terms)] if terms else []
    return Part("training", "Training curves", text, panels, last)


def _chart(title: str, draw, alt: str = "") -> Panel:
    alt = alt or f"{title}, a line for each run"
    return Panel([Picture("", gallery.chart(draw), alt)], title=title, kind="chart")


def _draw_term(axes: Axes, records: Sequence[RunRecord], term: str) -> None:
    lines = pd.concat([pd.DataFrame(r.metrics).assign(run=r.number) for r in records if r.metrics])
    shown = [name for name in (term, f"val_{term}") if name in lines]
    for record in records:
        own = lines[lines.run == record.number]
        for name, style in zip(shown, ("-", "--"), strict=False):
            marker = "." if len(own) <= _MARKED else ""
            axes.plot(own.epoch, own[name], style, color=record.colour, marker=marker)
        _number(axes, record, own.epoch, own[term])
    settled = lines[lines.epoch > 0.2 * lines.epoch.max()][shown]
    low, high = settled.min().min(), settled.max().max()
    margin = 0.05 * (high - low) or 0.5
    axes.set(xlabel="epoch", ylim=(low - margin, high + margin))
    axes.xaxis.get_major_locator().set_params(integer=True)


def _number(axes: Axes, record: RunRecord, x: Sequence[float], y: Sequence[float]) -> None:
    """Writes the run's number at the end of its line."""
    ends = pd.Series(list(y), list(x)).dropna()
    if len(ends):
        at = (ends.index[-1], ends.iloc[-1])
        style = {"color": record.colour, "weight": "bold", "va": "center"}
        place = (4 + 6 * ((record.number - 1) % 4), 0)  # Beside those of lines that end nearby.
        axes.annotate(str(record.number), at, place, textcoords="offset points", **style)


def _invariance(records: Sequence[RunRecord]) -> Part:
    text = "Figures as the test images are transformed more. A line ends in the number of its run."
    measured = [record for record in records if record.invariance]
    panels = [
        _chart(
            f"{quantity.label}: {name}",
            lambda axes, q=quantity, n=name: _draw_invariance(axes, measured, q, n),
        )
        for quantity in curves.INVARIANCE
        if any(curves.has_curve(record.invariance, quantity) for record in measured)
        for name in curves.TRANSFORMATIONS
    ]
    return Part("invariance", "Invariance", text, panels)


def _draw_invariance(
    axes: Axes, records: Sequence[RunRecord], quantity: Quantity, transformation: str
) -> None:
    shown = [record for record in records if curves.has_curve(record.invariance, quantity)]
    lines = [(record.invariance, {"color": record.colour}) for record in shown]
    curves.draw_invariance(axes, lines, transformation, quantity)
    for record in shown:
        last = record.invariance[transformation][-1]
        _number(axes, record, [last["size"]], [last[quantity.key]])


def _gallery(section: gallery.Section, records: Sequence[RunRecord], served: Sequence[Served]) -> Part:
    panels = []
    for record, own in zip(records, served, strict=True):
        stand_in = record.run.figures / section.stand_in
        rows = section.rows(own)
        if rows:
            kind = "chart" if any(isinstance(row, str) for row in rows.values()) else ""
            panels.append(
                Panel([_picture(section, record, *row) for row in rows.items()], record, kind=kind)
            )
        elif section.stand_in and stand_in.exists():
            alt = f"{section.title} of {record.name}, as the run drew them itself"
            note = f"From the run's own {stand_in.name}."
            drawn = Picture("", gallery.picture(stand_in), alt)
            panels.append(Panel([drawn], record, note=note, kind="photo"))
    return Part(section.name, section.title, section.text, panels)


def _picture(section: gallery.Section, record: RunRecord, caption: str, row) -> Picture:
    source = row if isinstance(row, str) else gallery.png(row)
    return Picture(caption, source, ", ".join(filter(None, (section.title, caption, record.name))))
