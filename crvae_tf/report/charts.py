"""Line charts and the latent plane as SVG, from arrays.

The pictures take their colours from the page: text and axes from its style, a line from the class
`series` and its hue.
"""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.ticker import MaxNLocator

ENVIRONMENT = Environment(
    loader=PackageLoader("crvae_tf.report"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)

_FIRST_HUE = 255.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 58.0, 296.0, 10.0, 158.0
_LINE_HEIGHT = 10.0
_MARKED = 25
"""Points are marked on lines of up to so many."""

_PLANE_SIDE = 320.0
_PLANE_MARGIN = 12.0
_ARROW_HEAD = 5.0


@dataclasses.dataclass(frozen=True)
class Series:
    """What stands for one run in all charts: its number from 1 on, its name and a hue."""

    number: int
    name: str
    hue: float
    """Degrees on the colour circle."""


@dataclasses.dataclass(frozen=True)
class Line:
    """One line of a chart."""

    series: Series
    x: Sequence[float]
    y: Sequence[float]
    """As many as `x`; what is not finite leaves a gap."""
    dashed: bool = False
    note: str = ""
    """Says after the run's name what the line shows."""


def series_of(names: Sequence[str]) -> list[Series]:
    """Returns a series for each name, hues as far apart as they can be.

    >>> [(series.number, series.hue) for series in series_of(["a", "b", "c"])]
    [(1, 255.0), (2, 15.0), (3, 135.0)]
    """
    step = 360.0 / max(len(names), 1)
    return [
        Series(index + 1, name, (_FIRST_HUE + step * index) % 360.0) for index, name in enumerate(names)
    ]


def line_chart(
    lines: Sequence[Line], x_label: str, description: str, settled: float = -math.inf
) -> Markup | None:
    """Returns a chart as an `<svg>` element, each line ending in its run's number.

    Args:
      lines: of runs.
      x_label: stands below the chart.
      description: for readers who cannot see it.
      settled: the vertical axis is that of the points from this `x` on, if there are any; what lies
        beyond it is cut off.

    Returns:
      None where no line has a finite value.
    """
    points = [_finite_points(line) for line in lines]
    every = np.concatenate([np.zeros((0, 2)), *points])
    if not len(every):
        return None
    late = every[:, 0] >= min(settled, every[:, 0].max())
    x_axis = _Axis(every[:, 0], _LEFT, _RIGHT, tight=True)
    y_axis = _Axis(every[late, 1], _BOTTOM, _TOP)
    drawn = [(line, found) for line, found in zip(lines, points, strict=True) if len(found)]
    return _rendered(
        "line_chart.svg",
        lines=[_drawn(line, found, x_axis, y_axis) for line, found in drawn],
        numbers=_numbers(drawn, x_axis, y_axis),
        x_axis=x_axis,
        y_axis=y_axis,
        x_label=x_label,
        description=description,
    )


def latent_plane(points: np.ndarray, view_points: np.ndarray, description: str) -> Markup:
    """Returns Figure 1 of Sinha et al. 2020 as an `<svg>` element, one scale for both axes.

    Args:
      points: images in a plane, `[images, 2]`.
      view_points: their views, which arrows point to.
      description: for readers who cannot see it.
    """
    both = np.concatenate([points, view_points])
    low, high = both.min(axis=0), both.max(axis=0)
    scale = (_PLANE_SIDE - 2.0 * _PLANE_MARGIN) / max(float((high - low).max()), 1e-12)

    def placed(array):
        centred = (array - (low + high) / 2.0) * [scale, -scale]
        return np.round(centred + _PLANE_SIDE / 2.0, 1)

    images, views = placed(points), placed(view_points)
    return _rendered(
        "latent_plane.svg",
        images=images.tolist(),
        views=views.tolist(),
        arrows=[_arrow(*pair) for pair in zip(images, views, strict=True)],
        side=_PLANE_SIDE,
        description=description,
    )


class _Axis:
    """Maps values to places between two ends, with ticks at round numbers.

    Args:
      values: of which the least and the largest count.
      start: place of the least.
      end: place of the largest.
      tight: whether the axis ends at the values and not at the ticks beyond them.
    """

    def __init__(self, values: Sequence[float], start: float, end: float, tight: bool = False):
        low, high = float(min(values)), float(max(values))
        if low == high:
            low, high = low - 0.5, high + 0.5
        whole = all(float(value).is_integer() for value in values)
        ticks = MaxNLocator(5, steps=[1, 2, 5, 10], integer=whole).tick_values(low, high)
        if tight:
            ticks = [tick for tick in ticks if low <= tick <= high]
        self._low, self._high = min([low, *ticks]), max([high, *ticks])
        self.start, self.end = start, end
        self.ticks = [(self(tick), f"{tick:.10g}".replace("-", "\N{MINUS SIGN}")) for tick in ticks]

    def __call__(self, value: float) -> float:
        share = (value - self._low) / (self._high - self._low)
        return round(self.start + share * (self.end - self.start), 1)


def _rendered(template: str, **values) -> Markup:
    return Markup(ENVIRONMENT.get_template(template).render(**values))


def _drawn(line: Line, points: np.ndarray, x_axis: _Axis, y_axis: _Axis) -> dict[str, Any]:
    """Returns a line as the template takes it, with its finite points marked if they are few."""
    marked = [(x_axis(x), y_axis(y)) for x, y in points] if len(points) <= _MARKED else []
    return {"line": line, "path": _path(line, x_axis, y_axis), "points": marked}


def _numbers(
    drawn: Sequence[tuple[Line, np.ndarray]], x_axis: _Axis, y_axis: _Axis
) -> list[tuple[int, float, float]]:
    """Returns the runs' numbers at the ends of the lines that are not dashed, and their places."""
    ends = [(line.series.number, *points[-1]) for line, points in drawn if not line.dashed]
    places = _spread([y_axis(y) for _, _, y in ends], _BOTTOM)
    return [(number, x_axis(x), place) for (number, x, _), place in zip(ends, places, strict=True)]


def _finite_points(line: Line) -> np.ndarray:
    """Returns the points `[points, 2]` of a line that can be drawn."""
    points = np.stack([np.asarray(line.x, float), np.asarray(line.y, float)], axis=1)
    return points[np.isfinite(points).all(axis=1)]


def _path(line: Line, x_axis: _Axis, y_axis: _Axis) -> str:
    """Returns the commands of an SVG path that is broken where a value is not finite."""
    commands, pen = [], "M"
    for x, y in zip(line.x, line.y, strict=True):
        if math.isfinite(x) and math.isfinite(y):
            commands.append(f"{pen}{x_axis(x)} {y_axis(y)}")
        pen = "L" if math.isfinite(x) and math.isfinite(y) else "M"
    return "".join(commands)


def _spread(places: Sequence[float], lowest: float) -> list[float]:
    """Moves the places of labels apart until no two are nearer than a line of text.

    >>> _spread([20.0, 50.0, 21.0], lowest=100.0), _spread([98.0, 99.0], lowest=100.0)
    ([20.0, 50.0, 30.0], [90.0, 100.0])
    """
    spread, order = list(places), sorted(range(len(places)), key=places.__getitem__)
    last = -math.inf
    for index in order:
        last = spread[index] = max(places[index], last + _LINE_HEIGHT)
    last = lowest + _LINE_HEIGHT
    for index in reversed(order):
        last = spread[index] = min(spread[index], last - _LINE_HEIGHT)
    return spread


def _arrow(start: np.ndarray, end: np.ndarray) -> str:
    """Returns the commands of an SVG path from one point to another, with a head."""
    away = start - end
    length = float(np.hypot(*away))
    if length < _ARROW_HEAD:
        return ""
    along = away / length * _ARROW_HEAD
    across = np.array([-along[1], along[0]]) * 0.6
    left, right = end + along + across, end + along - across
    return "M{} {}L{} {}M{} {}L{} {}L{} {}".format(
        *(f"{number:.1f}" for point in (start, end, left, end, right) for number in point)
    )
