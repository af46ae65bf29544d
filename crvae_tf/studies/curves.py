"""Curves of many runs: against the size of a transformation, and against eta."""

from collections.abc import Iterable, Mapping
from os import PathLike

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from crvae_tf.evaluation import metrics
from crvae_tf.evaluation.embeddings import InvarianceCurves
from crvae_tf.evaluation.metrics import BY_NAME, CONDITIONS, Quantity
from crvae_tf.runs import drawing
from crvae_tf.studies import comparisons

INVARIANCE = (*metrics.CONSISTENCY[::3], *metrics.PROBE)
"""What invariance curves show: the KL, retrieval and probes."""

TRANSFORMATIONS = {"translation": "pixels", "rotation": "degrees", "scaling": "fraction"}
"""The units of their sizes."""

_ETA_PANELS = ("nll", "rate", "consistency_kl", "retrieval_at_1")


def invariance_curves(
    path: str | PathLike, curves: Mapping[str, InvarianceCurves], ranges: Mapping[str, float]
) -> None:
    """Draws how embeddings change with the size of each transformation, a line for each model.

    Args:
      path: of the PNG file.
      curves: by title, what `embeddings.measure_invariance` returns.
      ranges: of the transformed test set, by transformation: a dotted line marks each.
    """
    shown = [q for q in INVARIANCE if has_curve(next(iter(curves.values())), q)]
    figure = Figure(figsize=(10.0, 2.3 * len(shown)), layout="constrained")
    lines = [(found, {"label": title.replace("$", r"\$")}) for title, found in curves.items()]
    for row, quantity in zip(figure.subplots(len(shown), 3, squeeze=False), shown, strict=True):
        for axes, name in zip(row, TRANSFORMATIONS, strict=True):
            draw_invariance(axes, lines, name, quantity)
            if name in ranges:
                axes.axvline(ranges[name], color="0.6", linestyle=":")
    drawing.legend_above(figure)
    drawing.save(figure, path)


def has_curve(found: InvarianceCurves, quantity: Quantity) -> bool:
    """Returns whether a quantity was measured: probes need classes."""
    return found["translation"][0].get(quantity.key) is not None


def draw_invariance(
    axes: Axes,
    lines: Iterable[tuple[InvarianceCurves, dict[str, str]]],
    transformation: str,
    quantity: Quantity,
) -> None:
    """Draws one quantity against the size of one transformation, a styled line for each model."""
    for found, style in lines:
        points = found[transformation]
        sizes = [point["size"] for point in points]
        axes.plot(sizes, [point[quantity.key] for point in points], marker=".", **style)
    unit = f"{quantity.label}, {quantity.unit}" if quantity.unit else quantity.label
    axes.set(xlabel=f"{transformation}, {TRANSFORMATIONS[transformation]}", ylabel=unit)
    axes.set_ylim(0.0, None)


def eta_curves(path: str | PathLike, rows: pd.DataFrame) -> None:
    """Draws NLL, rate, consistency and retrieval against eta, with bars of a standard deviation.

    Args:
      path: of the PNG file.
      rows: of settings that differ in eta.
    """
    rows = rows.assign(eta=rows.method.map(comparisons.eta_of))
    figure = Figure(figsize=(3.2 * len(_ETA_PANELS), 3.0), layout="constrained")
    for axes, metric in zip(figure.subplots(1, len(_ETA_PANELS)), _ETA_PANELS, strict=True):
        for split, line in rows[rows.metric == metric].groupby("split", sort=False):
            bars = line["std"].fillna(0.0).astype(float)
            label = CONDITIONS[split].replace("test", "held-out", 1)
            axes.errorbar(line.eta, line["mean"], bars, marker=".", capsize=2.0, label=label)
        axes.set_xscale("symlog", linthresh=rows.eta[rows.eta > 0.0].min())
        quantity = BY_NAME[metric]
        axes.set(title=quantity.label, xlabel="eta", ylabel=quantity.unit or "share")
        axes.legend(fontsize=7)
    drawing.save(figure, path)
