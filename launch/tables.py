"""Figures as text for a terminal."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd
from tqdm import tqdm

from crvae_tf.datasets.folders import printable
from crvae_tf.evaluation import metrics
from crvae_tf.evaluation.metrics import NLL, Quantity

_HEADLINE = {
    ("nll", "test"): "NLL, nats",
    ("nll", "transformed_test"): "transformed",
    ("retrieval_at_1", "test_transform"): "retrieval",
    ("probe_linear", "test_transform"): "linear probe",
}


def evaluation(result: dict[str, Any]) -> str:
    """Returns `evaluation.json` as tables with units and standard errors."""
    splits = result["splits"]
    nll = NLL._replace(label=f"NLL, K = {splits['test']['nll_samples']}")
    measured = (Quantity("num_images", "images"), nll, *metrics.SPLIT, metrics.GAUSSIAN)
    parts = [_table(measured, splits), _table(metrics.CONSISTENCY, result["consistency"])]
    if "probe" in result:
        probe = dict(result["probe"])
        number = probe.pop("num_train_images")
        parts.append(f"accuracy of probes fitted on {number} clean training images")
        parts.append(_table(metrics.PROBE, probe))
    shares = [f"{100.0 * view['retrieval_at_1']:.0f}" for view in result["consistency"].values()]
    verdict = "A view's nearest image is its own for {} of 100 (training transformation)\n"
    verdict += "and for {} of 100 (test transformation)."
    return "\n\n".join([*parts, verdict.format(*shares)])


def _table(measured: Iterable[Quantity], columns: Mapping[str, dict[str, Any]]) -> str:
    """Returns a row for each quantity that all columns have."""
    rows = [q for q in measured if all(q.key in column for column in columns.values())]
    texts = {
        name.replace("_", " "): [q.text(column[q.key], column.get(f"{q.key}_stderr")) for q in rows]
        for name, column in columns.items()
    }
    return pd.DataFrame(texts, [[q.label for q in rows], [q.unit for q in rows]]).to_string()


def side_by_side(evaluations: Mapping[str, dict[str, Any]]) -> str:
    """Returns the headline of evaluations, a row for each."""
    from crvae_tf.studies import evaluation_frame

    rows = evaluation_frame.spread({("", name): [found] for name, found in evaluations.items()})
    table = evaluation_frame.by_method(evaluation_frame.with_texts(rows), _HEADLINE)
    table = table.set_axis([_HEADLINE[column] for column in table.columns], axis="columns")
    told = "Retrieval and the linear probe are of images under the test transformation."
    table = table.rename(lambda name: name[-34:]).rename_axis(None)  # 80 columns hold it.
    return f"{table.to_string()}\n{told}"


def neighbours(found: Sequence[Any]) -> str:
    """Returns the images found as a table, the nearest first."""
    rows = [("" if n.label is None else str(n.label), f"{n.distance:.4g}") for n in found]
    table = pd.DataFrame(rows, [str(n.key) for n in found], ["class", "distance"])
    return table.rename_axis(columns="image").to_string()


def captions(image: str, found: Sequence[Any]) -> list[str]:
    """Returns the captions of a contact sheet: the image's own, then those of the images found."""
    lines = [("" if n.label is None else n.label, str(n.key)[-28:], n.distance) for n in found]
    of_found = [f"{key}\n{label}  {distance:.4g}" for label, key, distance in lines]
    return [f"{printable(image)[-28:]}\n", *of_found]


class ProgressBar(tqdm):
    """A progress bar on standard error; a log gets a line a minute."""

    def __init__(self, title: str, unit: str):
        seconds = 0.1 if sys.stderr.isatty() else 60.0
        form = "{desc} |{bar:20}| {n_fmt} of {total_fmt}" + f" {unit}, " + "{remaining} left"
        super().__init__(
            desc=title, file=sys.stderr, leave=False, delay=0.01, mininterval=seconds, bar_format=form
        )

    def __call__(self, done: int, whole: int) -> None:
        if self.total is None:  # What was done before tells nothing of the time that is left.
            self.initial = self.n = done
        self.total = whole
        self.update(done - self.n)
