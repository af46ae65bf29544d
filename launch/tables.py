"""Figures as text for a terminal."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from tqdm import tqdm

from crvae_tf.datasets.folders import printable
from crvae_tf.evaluation import metrics
from crvae_tf.evaluation.metrics import NLL, Quantity

_HEADLINE = {
    "NLL, nats": ("nll", "test"),
    "transformed": ("nll", "transformed_test"),
    "retrieval": ("retrieval_at_1", "test_transform"),
    "linear probe": ("probe_linear", "test_transform"),
}
_NAME_WIDTH = 34
"""Leaves the headline's figures room in 80 columns."""


def evaluation(result: dict[str, Any]) -> str:
    """Returns `evaluation.json` as tables with units and standard errors."""
    splits = result["splits"]
    samples = splits["test"]["nll_samples"]
    counts = [Quantity("num_images", "images"), NLL._replace(label=f"NLL, K = {samples}")]
    measured = (*counts, *metrics.SPLIT, metrics.GAUSSIAN)
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


def _table(measured: Iterable[Quantity], columns: dict[str, dict[str, Any]]) -> str:
    """Returns a row for each quantity that all columns have."""
    rows = [("", "", *(name.replace("_", " ") for name in columns))]
    for quantity in measured:
        if all(quantity.key in column for column in columns.values()):
            errors = [column.get(f"{quantity.key}_stderr") for column in columns.values()]
            texts = map(quantity.text, (column[quantity.key] for column in columns.values()), errors)
            rows.append((quantity.label, quantity.unit, *texts))
    return _aligned(rows)


def side_by_side(evaluations: Mapping[str, dict[str, Any]]) -> str:
    """Returns the headline of evaluations, a row for each."""
    from crvae_tf.studies import evaluation_frame

    rows = evaluation_frame.spread({("", name): [found] for name, found in evaluations.items()})
    ((_, rows),) = evaluation_frame.by_dataset({"datasets": [""], "rows": rows})
    table = evaluation_frame.by_method(rows, _HEADLINE.values())
    heads = [head for head, column in _HEADLINE.items() if column in table.columns]
    lines = ((name[-_NAME_WIDTH:], "", *texts) for name, *texts in table.itertuples(name=None))
    told = "Retrieval and the linear probe are of images under the test transformation."
    return "\n".join([_aligned([("", "", *heads), *lines]), told])


def embedding(report: Any, seconds: float) -> str:
    """Returns the report of a call of `index.embed` in lines, and what to do next."""
    index = report.index
    rate = report.new_rows / seconds
    lines = [f"{report.new_rows} images embedded in {seconds:.1f} s, {rate:.0f} images/s"]
    if report.broken:
        lines.append(f"left out: {len(report.broken)} files that cannot be decoded")
    missing = len(index.missing())
    if missing:
        lines.append(f"{missing} of {index.num_files} files are left to other jobs")
    lines.append(f"search: python -m launch.search --index={index.path} --image=FILE")
    return "\n".join(lines)


def neighbours(found: Sequence[Any]) -> str:
    """Returns the images found as a table, the nearest first."""
    rows = [("image", "class", "distance")]
    rows += [(str(n.key), "" if n.label is None else str(n.label), f"{n.distance:.4g}") for n in found]
    return _aligned(rows)


def captions(image: str, found: Sequence[Any]) -> list[str]:
    """Returns the captions of a contact sheet: the image's own, then those of the images found."""
    labels = ["" if n.label is None else n.label for n in found]
    lines = zip(found, labels, strict=True)
    of_found = [f"{str(n.key)[-28:]}\n{label}  {n.distance:.4g}" for n, label in lines]
    return [f"{printable(image)[-28:]}\n", *of_found]


def _aligned(rows: Sequence[tuple[str, ...]]) -> str:
    """Returns rows of a label, a unit and numbers in columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for label, unit, *values in rows:
        right = [value.rjust(width) for value, width in zip(values, widths[2:], strict=True)]
        lines.append("  ".join([label.ljust(widths[0]), unit.ljust(widths[1]), *right]))
    return "\n".join(lines)


class ProgressBar:
    """A progress bar on standard error; a log gets a line a minute."""

    def __init__(self, title: str, unit: str):
        seconds = 0.1 if sys.stderr.isatty() else 60.0
        form = "{desc} |{bar:20}| {n_fmt} of {total_fmt}" + f" {unit}, " + "{remaining} left"
        self._bar = tqdm(
            desc=title, file=sys.stderr, leave=False, delay=0.01, mininterval=seconds, bar_format=form
        )

    def __call__(self, done: int, whole: int) -> None:
        if self._bar.total is None:  # What was done before tells nothing of the time that is left.
            self._bar.initial = self._bar.n = done
        self._bar.total = whole
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        """Removes the bar."""
        self._bar.close()
