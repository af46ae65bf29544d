"""The evaluations of many runs as one pandas frame, and tables made of it."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from crvae_tf.errors import InputError
from crvae_tf.evaluation.metrics import BY_NAME, CONDITIONS, PARTS
from crvae_tf.runs.run import Run

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


def dataset_title(name: str) -> str:
    """Returns a data set's name as the paper writes it."""
    return _DATASETS.get(name, name)


def method_title(label: str) -> str:
    """Returns a method's name as the paper writes it.

    >>> method_title("cr_beta_vae_0.5"), method_title("iwae_5"), method_title("registered cr_vae eta=1")
    ('CR-beta-VAE (beta = 0.5)', 'IWAE (K = 5)', 'registered CR-VAE eta=1')
    """
    return " ".join(map(_word_title, label.split()))


def _word_title(word: str) -> str:
    name, _, number = word.rpartition("_")
    if word in _METHODS or name not in _METHODS:
        return _METHODS.get(word, word)
    return f"{_METHODS[name]} ({'K' if name.endswith('iwae') else 'beta'} = {number})"


def named_runs(directories: Sequence[str]) -> dict[str, Run]:
    """Returns runs by the names of their folders, or by their paths where two have the same name.

    Raises:
      InputError: a directory is named twice.
    """
    runs = {Path(directory).resolve(): Run(directory) for directory in directories}
    if len(runs) < len(directories):
        raise InputError("runs", "each run once", ", ".join(directories))
    names = [place.name for place in runs]
    own = {place: place.name for place in runs if names.count(place.name) == 1}
    return {own.get(place, str(run.directory)): run for place, run in runs.items()}


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


def with_texts(rows: pd.DataFrame) -> pd.DataFrame:
    """Returns rows with `text`, their means and deviations as their quantities are shown."""
    return rows.assign(text=[BY_NAME[row.metric].text(row.mean, row.std) for row in rows.itertuples()])


def by_method(
    rows: pd.DataFrame, columns: Iterable[tuple[str, str]], missing: str = "-"
) -> pd.DataFrame:
    """Returns a line of the texts of `with_texts` for each method, without columns that none has.

    `columns` are pairs of a quantity's name and what it is measured under; `missing` stands where a
    method has no such figure.
    """
    table = rows.pivot(index="method", columns=["metric", "split"], values="text")
    there = [column for column in columns if column in table.columns]
    return table.reindex(index=rows.method.unique(), columns=there).fillna(missing)


def by_dataset(summary: Mapping[str, Any]) -> Iterable[tuple[str, pd.DataFrame]]:
    """Yields each data set of a summary with its rows and their texts."""
    for dataset in summary["datasets"]:
        yield dataset, with_texts(summary["rows"][summary["rows"].dataset == dataset])


def markdown(
    heads: Sequence[str], columns: Iterable[tuple[str, str]], lines: Iterable[Sequence[Any]]
) -> str:
    """Returns a table in Markdown, whose last columns are of quantities."""
    heads = [*heads, *(f"{BY_NAME[name].label}, {CONDITIONS[split]}" for name, split in columns)]
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
    return markdown(["method", *columns], (), pd.DataFrame(columns).itertuples(name=None))
