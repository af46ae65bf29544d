"""The evaluations of many runs as one pandas frame; runs and settings side by side."""

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from os import PathLike
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from crvae_tf.evaluation.embeddings import InvarianceCurves
from crvae_tf.evaluation.metrics import BY_NAME, CONDITIONS, CONSISTENCY, PARTS, PROBE, Quantity
from crvae_tf.runs import drawing

Evaluations = Mapping[tuple[str, str], Sequence[dict[str, Any]]]
"""What `evaluation.json` holds, for each seed, by data set and the label of a method or setting."""

CELL = ["dataset", "method", "metric", "split"]
"""What tells one figure of a table from the others; its values are of the seeds."""

_DATASETS = {"mnist": "MNIST", "omniglot": "OMNIGLOT", "celeb_a": "CelebA"}
_METHODS = {
    "vae": "VAE",
    "vae_aug": "VAE+Aug",
    "cr_vae": "CR-VAE",
    "iwae": "IWAE",
    "cr_iwae": "CR-IWAE",
    "beta_vae": "beta-VAE",
    "cr_beta_vae": "CR-beta-VAE",
}

INVARIANCE = (*CONSISTENCY[::3], *PROBE)
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


def dataset_title(name: str) -> str:
    """Returns a data set's name as the paper writes it."""
    return _DATASETS.get(name, name)


def method_title(label: str) -> str:
    """Returns a method's name as the paper writes it.

    >>> method_title("cr_beta_vae_0.5"), method_title("iwae_5"), method_title("registered cr_vae eta=1")
    ('CR-beta-VAE (beta = 0.5)', 'IWAE (K = 5)', 'registered CR-VAE eta=1')
    """
    label = re.sub(r"(iwae)_(\d+)", r"\1 (K = \2)", label)
    label = re.sub(r"(beta_vae)_([\d.]+)", r"\1 (beta = \2)", label)
    return " ".join(_METHODS.get(word, word) for word in label.split())


def spread(evaluations: Evaluations) -> pd.DataFrame:
    """Returns a row for each figure of each method.

    It has the columns of `CELL`, the `values` of the seeds, their `mean`, and `std`, their sample
    standard deviation, NaN for one seed.
    """
    figures = [
        (*cell, quantity.name, split, float(values[quantity.key]))
        for cell, of_seeds in evaluations.items()
        for evaluation in of_seeds
        for part, quantities in PARTS.items()
        for split, values in evaluation.get(part, {}).items()
        if split in CONDITIONS
        for quantity in quantities
        if quantity.key in values
    ]
    values = pd.DataFrame(figures, columns=[*CELL, "value"]).groupby(CELL, sort=False)["value"]
    return values.agg(values=list, mean="mean", std="std").reset_index()


def by_method(
    rows: pd.DataFrame, columns: Iterable[tuple[str, str]], missing: str = "-"
) -> pd.DataFrame:
    """Returns a line of the texts of `by_dataset` for each method, without columns that none has.

    `columns` are pairs of a quantity's name and what it is measured under; `missing` stands where a
    method has no such figure.
    """
    table = rows.pivot(index="method", columns=["metric", "split"], values="text")
    there = [column for column in columns if column in table.columns]
    return table.reindex(index=rows.method.unique(), columns=there).fillna(missing)


def by_dataset(summary: Mapping[str, Any]) -> Iterable[tuple[str, pd.DataFrame]]:
    """Yields each data set of a summary with its rows and `text`, their figures as tables show them."""
    for dataset in summary["datasets"]:
        rows = summary["rows"].query("dataset == @dataset")
        texts = [BY_NAME[row.metric].text(row.mean, row.std) for row in rows.itertuples()]
        yield dataset, rows.assign(text=texts)


def table_markdown(heads: Sequence[str], lines: Iterable[Sequence[Any]]) -> str:
    """Returns a table in Markdown."""
    rows = [[str(cell).replace("|", r"\|") for cell in row] for row in (heads, *lines)]
    rows.insert(1, ["---"] * len(heads))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def methods_markdown(table: pd.DataFrame) -> str:
    """Returns the table of `by_method` in Markdown: one column for each quantity, slashes within."""
    columns = {}
    for name, cells in table.T.groupby(level="metric", sort=False):
        under = " / ".join(CONDITIONS[split] for _, split in cells.index)
        head = f"{BY_NAME[name].label}, {under}".replace("transformation / ", "/ ")
        columns[head] = cells.agg(" / ".join).replace(r"^(\D+)( / \1)+$", r"\1", regex=True)
    return table_markdown(["method", *columns], pd.DataFrame(columns).itertuples(name=None))


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


def summarize(title: str, evaluations: Evaluations) -> dict[str, Any]:
    """Returns `study` ("settings"), `title`, `datasets`, `labels`, and `rows` as of `spread`.

    What was not run has an empty list in `evaluations`.
    """
    datasets, labels = (list(dict.fromkeys(cell[i] for cell in evaluations)) for i in (0, 1))
    about = {"study": "settings", "title": title, "datasets": datasets, "labels": labels}
    return about | {"rows": spread(evaluations)}


def markdown(summary: dict[str, Any]) -> str:
    """Returns what `summarize` returned: a table for each data set, and what was not run."""
    parts = []
    for dataset, rows in by_dataset(summary):
        table = by_method(rows, _COLUMNS).rename(method_title)
        parts += [f"### {dataset_title(dataset)}", methods_markdown(table)]
        parts += [_SETTINGS_NOTE] if "contrastive" in summary["labels"] else []
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
    for row, quantity in zip(figure.subplots(len(shown), 3, squeeze=False), shown, strict=True):
        for axes, name in zip(row, TRANSFORMATIONS, strict=True):
            for title, found in curves.items():
                draw_invariance(axes, found, name, quantity, label=title.replace("$", r"\$"))
            if name in ranges:
                axes.axvline(ranges[name], color="0.6", linestyle=":")
    drawing.legend_above(figure)
    drawing.save(figure, path)


def has_curve(found: InvarianceCurves, quantity: Quantity) -> bool:
    """Returns whether a quantity was measured: probes need classes."""
    return bool(found) and found["translation"][0].get(quantity.key) is not None


def draw_invariance(
    axes: Axes, found: InvarianceCurves, name: str, quantity: Quantity, **style
) -> None:
    """Draws a quantity against the size of the transformation `name`, as a line of this style."""
    points = pd.DataFrame(found[name])
    axes.plot(points["size"], points[quantity.key], marker=".", **style)
    unit = f"{quantity.label}, {quantity.unit}" if quantity.unit else quantity.label
    axes.set(xlabel=f"{name}, {TRANSFORMATIONS[name]}", ylabel=unit, ylim=(0.0, None))
