"""Runs and settings side by side, in tables and in curves."""

import itertools
from collections.abc import Iterable, Mapping
from os import PathLike
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from crvae_tf.evaluation import metrics
from crvae_tf.evaluation.embeddings import InvarianceCurves
from crvae_tf.evaluation.metrics import Quantity
from crvae_tf.runs import drawing
from crvae_tf.studies import evaluation_frame
from crvae_tf.studies.evaluation_frame import Evaluations, dataset_title, method_title

INVARIANCE = (*metrics.CONSISTENCY[::3], *metrics.PROBE)
"""What invariance curves show: the KL, retrieval and probes."""

TRANSFORMATIONS = {"translation": "pixels", "rotation": "degrees", "scaling": "fraction"}
"""The units of their sizes."""

_TRANSFORMS = ("train_transform", "test_transform")
_COLUMNS = (
    ("nll", "test"),
    ("nll", "transformed_test"),
    ("rate", "test"),
    ("active_units", "test"),
    *itertools.product(["consistency_kl", "retrieval_at_1"], _TRANSFORMS),
    *itertools.product(["probe_linear", "probe_nearest_neighbours"], ["clean", *_TRANSFORMS]),
)
_SETTINGS_NOTE = (
    "A setting is named by its flags; all other flags are the same. Retrieval and probes are of the "
    "embedding. `pixels`, `pca` and `contrastive` (SimCLR, by the same network on the same pairs) have "
    "no likelihood."
)


def setting_label(setting: Mapping[str, Any]) -> str:
    """Returns the label of runs with these flags: the method, and before it what the networks are.

    >>> setting_label({"method": "cr_vae", "pose": "affine", "eta": 1.0})
    'registered cr_vae eta=1'
    >>> setting_label({"method": "vae", "pose": "none", "eta": None})
    'vae eta=auto'
    """
    registered = ["registered"] if setting.get("pose", "none") == "affine" else []
    given = {n: "auto" if v is None else v for n, v in setting.items() if n not in ("method", "pose")}
    others = [f"{n}={v:g}" if isinstance(v, float) else f"{n}={v}" for n, v in given.items()]
    return " ".join([*registered, setting["method"], *others])


def summarize(study: str, evaluations: Evaluations, **about: Any) -> dict[str, Any]:
    """Returns `study`, `datasets`, `labels`, `rows` as of `evaluation_frame.spread`, and `about`.

    A study is of `runs`, or of the `invariance` of embeddings. What was not run has an empty list in
    `evaluations`. `about` is the `title` of runs or the `network`.
    """
    datasets, labels = (list(dict.fromkeys(cell[i] for cell in evaluations)) for i in (0, 1))
    rows = evaluation_frame.spread(evaluations)
    return {"study": study, "datasets": datasets, "labels": labels, "rows": rows} | about


def markdown(summary: dict[str, Any]) -> str:
    """Returns what `summarize` returned: a table for each data set, and what its study adds."""
    parts, study = [], summary["study"]
    for dataset, rows in evaluation_frame.by_dataset(summary):
        table = evaluation_frame.by_method(rows, _COLUMNS)
        table = table.rename(method_title) if study == "runs" else table
        parts += [f"### {dataset_title(dataset)}", evaluation_frame.methods_markdown(table)]
        parts += [_SETTINGS_NOTE] if study == "invariance" else []
    missing = [f"`{label}`" for label in summary["labels"] if label not in set(summary["rows"].method)]
    parts += [f"Not run: {', '.join(missing)}."] if missing else []
    parts += ["± is the sample standard deviation over seeds, where there are several.\n"]
    return "\n\n".join(parts)


def frontier(path: str | PathLike, rows: pd.DataFrame) -> None:
    """Draws, for each setting that has both, its retrieval against its NLL, as a PNG file.

    `rows` are those of `summarize`; retrieval is under the test transformation, the NLL of test images.
    """
    means = rows.pivot(index="method", columns=["metric", "split"], values="mean")
    points = means.reindex(columns=[("nll", "test"), ("retrieval_at_1", "test_transform")]).dropna()
    figure = Figure(figsize=(6.5, 3.2), layout="constrained")
    axes = figure.subplots()
    for label, (nll, retrieval) in points.iterrows():
        axes.scatter(nll, retrieval, label=method_title(label))
    axes.set(xlabel="NLL of test images, nats", ylim=(0.0, 1.02))
    axes.set_ylabel("retrieval at 1, test transformation")
    figure.legend(loc="outside right upper")
    drawing.save(figure, path)


def invariance_curves(
    path: str | PathLike, curves: Mapping[str, InvarianceCurves], ranges: Mapping[str, float]
) -> None:
    """Draws how embeddings change with the size of each transformation, as a PNG file.

    `curves` are of `embeddings.measure_invariance`, by the model's title. A dotted line marks each of
    `ranges`, which are of the transformed test set.
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
    return bool(found) and found["translation"][0].get(quantity.key) is not None


def draw_invariance(
    axes: Axes, lines: Iterable[tuple[InvarianceCurves, dict[str, str]]], name: str, quantity: Quantity
) -> None:
    """Draws a quantity against the size of the transformation `name`, a styled line for each model."""
    for found, style in lines:
        points = pd.DataFrame(found[name])
        axes.plot(points["size"], points[quantity.key], marker=".", **style)
    unit = f"{quantity.label}, {quantity.unit}" if quantity.unit else quantity.label
    axes.set(xlabel=f"{name}, {TRANSFORMATIONS[name]}", ylabel=unit, ylim=(0.0, None))
