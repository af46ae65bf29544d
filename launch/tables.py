"""Figures as text for a terminal."""

import sys
from typing import Any

from tqdm import tqdm

from crvae_tf import quantities
from crvae_tf.datasets.folders import printable
from crvae_tf.embedding import Report
from crvae_tf.quantities import Quantity
from crvae_tf.search import Neighbour


def evaluation(result: dict[str, Any]) -> str:
    """Returns `evaluation.json` as a table with units and standard errors."""
    parts = [_splits(result["splits"]), _columns(quantities.CONSISTENCY, result["consistency"])]
    if "probe" in result:
        probe = dict(result["probe"])
        number = probe.pop("num_train_images")
        parts.append(f"accuracy of probes fitted on {number} clean training images")
        parts.append(_columns(quantities.PROBE, probe))
    return "\n\n".join(parts)


def embedding(report: Report, seconds: float) -> str:
    """Returns what a call of `embedding.embed` brought about, in lines."""
    index = report.embedding
    rate = report.new_rows / seconds
    lines = [f"{report.new_rows} images embedded in {seconds:.1f} s, {rate:.0f} images/s"]
    if report.broken:
        lines.append(f"{len(report.broken)} files are left out, they cannot be decoded")
    missing = len(index.missing())
    if missing:
        lines.append(f"{missing} of {index.num_files} files are left to other jobs")
    return "\n".join([*lines, f"embeddings: {index.path}"])


def neighbours(found: list[Neighbour]) -> str:
    """Returns images that were found, the nearest first, as a table."""
    rows = [("image", "class", "distance")]
    rows += [(str(n.key), "" if n.label is None else str(n.label), f"{n.distance:.4g}") for n in found]
    return _aligned(rows)


def captions(image: str, found: list[Neighbour]) -> list[str]:
    """Returns the captions of a contact sheet: of the image itself and of those that were found."""
    lines = [(str(n.key)[-28:], "" if n.label is None else n.label, n.distance) for n in found]
    of_image = f"{printable(image)[-28:]}\n"
    return [of_image, *(f"{key}\n{label}  {distance:.4g}" for key, label, distance in lines)]


def _splits(splits: dict[str, dict[str, Any]]) -> str:
    first = next(iter(splits.values()))
    values = [f"{split['nll']:.2f} ± {split['nll_stderr']:.2f}" for split in splits.values()]
    likelihood = (f"NLL, K = {first['nll_samples']}", "nats", *values)
    is_gaussian = all(quantities.GAUSSIAN.key in split for split in splits.values())
    gaussian = [quantities.GAUSSIAN] if is_gaussian else []
    rows = [_row(quantity, splits) for quantity in (*quantities.SPLIT, *gaussian)]
    counts = ("images", "", *(str(split["num_images"]) for split in splits.values()))
    return _aligned([("", "", *_titles(splits)), counts, likelihood, *rows])


def _columns(rows: tuple[Quantity, ...], columns: dict[str, dict[str, float]]) -> str:
    body = [_row(quantity, columns) for quantity in rows]
    return _aligned([("", "", *_titles(columns)), *body])


def _titles(columns: dict[str, Any]) -> tuple[str, ...]:
    return tuple(name.replace("_", " ") for name in columns)


def _row(quantity: Quantity, columns: dict[str, dict[str, Any]]) -> tuple[str, ...]:
    values = [quantities.formatted(column[quantity.key]) for column in columns.values()]
    return (quantity.label, quantity.unit, *values)


def _aligned(rows: list[tuple[str, ...]]) -> str:
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = []
    for label, unit, *values in rows:
        right = [value.rjust(width) for value, width in zip(values, widths[2:], strict=True)]
        lines.append("  ".join([label.ljust(widths[0]), unit.ljust(widths[1]), *right]))
    return "\n".join(lines)


class ProgressBar:
    """A progress bar on standard error that is told what is done and the whole of it."""

    def __init__(self, title: str, unit: str):
        self._title = title
        self._unit = unit
        self._bar = None

    def __call__(self, done: int, whole: int) -> None:
        if self._bar is None:
            self._bar = tqdm(
                total=whole, desc=self._title, unit=f" {self._unit}", file=sys.stderr, leave=False
            )
        self._bar.update(done - self._bar.n)

    def close(self) -> None:
        """Removes the bar."""
        if self._bar is not None:
            self._bar.close()
