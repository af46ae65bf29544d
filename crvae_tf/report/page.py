"""One self-contained page of HTML from records and exhibits."""

import base64
import dataclasses
import itertools
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

import numpy as np
from markupsafe import Markup

import crvae_tf
from crvae_tf import figures
from crvae_tf.report import charts, tables
from crvae_tf.report.charts import Line, Series
from crvae_tf.report.exhibits import Exhibit, Neighbours
from crvae_tf.report.records import RunRecord

_FRAME = 2
"""Pixels around an image that was searched for."""
_TERM_ORDER = ("bound", "view_bound", "consistency", "rate", "distortion", "loss")
_MERITS = (
    ("kl", "KL(q(z|x) || q(z~|x~)), nats"),
    ("retrieval_at_1", "retrieval at 1"),
    ("linear", "accuracy of the linear probe"),
    ("nearest_neighbours", "accuracy of the 5 nearest neighbours"),
)
_TRANSFORMATIONS = (
    ("translation", "translation, pixels"),
    ("rotation", "rotation, degrees"),
    ("scaling", "scaling, fraction"),
)


@dataclasses.dataclass(frozen=True)
class Chart:
    """A chart and what stands above it."""

    title: str
    svg: Markup


@dataclasses.dataclass(frozen=True)
class Strip:
    """A picture and what stands beside it."""

    title: str
    source: str
    """A data URI."""
    alt: str


@dataclasses.dataclass(frozen=True)
class Panel:
    """What one run has to show in a section."""

    series: Series
    strips: Sequence[Strip] = ()
    svg: Markup | None = None
    note: str = ""
    smooth: bool = False
    """Whether its pictures are large ones that are shown smaller."""


def render(
    records: Sequence[RunRecord], exhibits: Sequence[Exhibit], leave_out: Collection[str] = ()
) -> str:
    """Returns the page that compares runs.

    Args:
      records: of the runs.
      exhibits: theirs, in the same order.
      leave_out: options that change no figure and are not to be compared.
    """
    series = charts.series_of([record.name for record in records])
    shown = list(zip(series, records, exhibits, strict=True))
    differences, common = tables.configuration(records, series, leave_out)
    terms = _terms(records)
    return charts.ENVIRONMENT.get_template("report.html").render(
        version=crvae_tf.__version__,
        series=series,
        remarks=[(own, line) for own, *parts in shown if (line := remarks(*parts))],
        runs=tables.runs(records, series),
        evaluation=tables.evaluation(records, series),
        differences=differences,
        common=common,
        curves=[chart for term in terms if (chart := _curve(records, series, term))],
        last_epoch=tables.last_epoch(records, series, terms),
        planes=_panels(shown, _plane),
        reconstructions=_panels(shown, _reconstructions),
        samples=_panels(shown, _samples),
        traversals=_panels(shown, _traversals),
        invariance=_invariance(records, series),
        neighbours=_panels(shown, _neighbours),
    )


def remarks(record: RunRecord, exhibit: Exhibit) -> str:
    """Returns one line on what a run lacks; empty where it lacks nothing."""
    return "; ".join((*record.remarks, *exhibit.remarks))


_Shown = tuple[Series, RunRecord, Exhibit]


def _panels(shown: Sequence[_Shown], draw: Callable[..., Panel | None]) -> list[Panel]:
    """Returns the panels of the runs that have one."""
    return [panel for item in shown if (panel := draw(*item)) is not None]


def _plane(series: Series, record: RunRecord, exhibit: Exhibit) -> Panel | None:
    description = f"Latent plane of {series.name}: images, and arrows to their transformed views"
    if exhibit.plane is not None:
        return Panel(series, svg=charts.latent_plane(*exhibit.plane, description))
    return _own_figure(series, record.run.figures / "latent_plane.png", description)


def _reconstructions(series: Series, record: RunRecord, exhibit: Exhibit) -> Panel | None:
    if exhibit.reconstructions is None:
        description = f"Reconstructions of {series.name}, as it drew them itself"
        return _own_figure(series, record.run.figures / "reconstructions.png", description)
    strips = [
        _strip(title, figures.tiled([images]), f"{title}, {len(images)}, {series.name}")
        for title, images in exhibit.reconstructions.items()
    ]
    return Panel(series, strips)


def _samples(series: Series, record: RunRecord, exhibit: Exhibit) -> Panel | None:
    if exhibit.samples is None:
        description = f"Samples of {series.name}, as it drew them itself"
        return _own_figure(series, record.run.figures / "samples.png", description)
    number = len(exhibit.samples) * len(exhibit.samples[0])
    strip = _strip("", figures.tiled(exhibit.samples), f"{number} samples of {series.name}")
    return Panel(series, [strip])


def _traversals(series: Series, record: RunRecord, exhibit: Exhibit) -> Panel | None:
    if exhibit.traversals is None:
        return None
    traversals = exhibit.traversals
    low, high = traversals.values[[0, -1]]
    strips = [
        _strip(
            f"z{dimension}",
            figures.tiled([images]),
            f"Images of {series.name} as latent dimension {dimension} goes from {low:g} to {high:g}",
        )
        for dimension, images in zip(traversals.dimensions, traversals.images, strict=True)
    ]
    return Panel(series, strips)


def _neighbours(series: Series, record: RunRecord, exhibit: Exhibit) -> Panel | None:
    if exhibit.images is None:
        return None
    images, views = exhibit.images.images, exhibit.images.views
    nearest = f"each with the nearest images by the embeddings of {series.name}"
    strips = [
        _strip("images", _searched(images, images, exhibit.neighbours), f"Test images, {nearest}"),
        _strip(
            "transformed views",
            _searched(views, images, exhibit.view_neighbours),
            f"Views of the same test images, {nearest}",
        ),
    ]
    return Panel(series, strips, note=_found_again(exhibit.view_neighbours))


def _found_again(views: Neighbours) -> str:
    """Returns a sentence on how many views have their own image among their neighbours."""
    own = views.nearest == views.queries[:, np.newaxis]
    return (
        f"The view's own image is the nearest for {own[:, 0].sum()} of these {len(own)} views, "
        f"and among the {own.shape[1]} nearest for {own.any(axis=1).sum()}."
    )


def _searched(queries: np.ndarray, images: np.ndarray, found: Neighbours) -> np.ndarray:
    """Returns rows of a query and what was found for it, its own image framed."""
    rows = []
    for query, nearest in zip(found.queries, found.nearest, strict=True):
        first = figures.framed(queries[[query]], np.array([False]), _FRAME)
        gap = np.zeros_like(first[:, :, : first.shape[2] // 4])
        others = figures.framed(images[nearest], nearest == query, _FRAME)
        rows.append(np.concatenate([*first, *gap, *others], axis=1))
    return np.concatenate(rows)


def _own_figure(series: Series, path: Path, description: str) -> Panel | None:
    """Returns a picture that the run itself has drawn."""
    if not path.exists():
        return None
    strip = Strip("", _data_uri(path.read_bytes()), description)
    return Panel(series, [strip], note=f"From the run's own {path.name}.", smooth=True)


def _strip(title: str, image: np.ndarray, alt: str) -> Strip:
    return Strip(title, _data_uri(figures.png(image)), alt)


def _data_uri(png: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(png).decode()}"


def _terms(records: Sequence[RunRecord]) -> list[str]:
    """Returns the terms of all runs' objectives, those of this package first."""
    lines = (record.metrics for record in records)
    names = dict.fromkeys(itertools.chain.from_iterable(map(figures.terms_of, lines)))
    return sorted(names, key=(*_TERM_ORDER, *names).index)


def _curve(records: Sequence[RunRecord], series: Sequence[Series], term: str) -> Chart | None:
    """Returns the chart of one term, training and, dashed, validation."""
    lines = [
        Line(
            own,
            [line["epoch"] for line in record.metrics],
            [line.get(name, np.nan) for line in record.metrics],
            dashed,
            "validation" if dashed else "training",
        )
        for own, record in zip(series, records, strict=True)
        for name, dashed in ((term, False), (f"val_{term}", True))
    ]
    settled = 0.2 * max(record.epochs for record in records)
    description = f"{term} in nats against the epoch, a line for each run"
    svg = charts.line_chart(lines, "epoch", description, settled)
    return svg and Chart(f"{term}, nats", svg)


def _invariance(
    records: Sequence[RunRecord], series: Sequence[Series]
) -> list[tuple[str, list[Chart]]]:
    """Returns by figure of merit a chart for each transformation, for those that were measured."""
    sections = []
    for merit, title in _MERITS:
        found = [_invariance_chart(records, series, merit, title, *kind) for kind in _TRANSFORMATIONS]
        if any(found):
            sections.append((title, [chart for chart in found if chart]))
    return sections


def _invariance_chart(
    records: Sequence[RunRecord],
    series: Sequence[Series],
    merit: str,
    merit_title: str,
    kind: str,
    kind_title: str,
) -> Chart | None:
    lines = [
        Line(
            own,
            [point["size"] for point in record.invariance.get(kind, [])],
            [point.get(merit, np.nan) for point in record.invariance.get(kind, [])],
        )
        for own, record in zip(series, records, strict=True)
    ]
    description = f"{merit_title}, against the size of the {kind_title}, a line for each run"
    svg = charts.line_chart(lines, kind_title, description)
    return svg and Chart(kind, svg)
