"""The evaluations of many runs as one pandas frame, and tables made of it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from crvae_tf.errors import InputError
from crvae_tf.evaluation import quantities
from crvae_tf.evaluation.quantities import BY_NAME
from crvae_tf.runs.run import Run

Evaluation = dict[str, Any]
Column = tuple[str, str]
"""A quantity's name and what it is measured under."""

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


def read(run: Run) -> Evaluation:
    """Returns a run's evaluation.

    Raises:
      InputError: it lacks what all tables need.
    """
    found = run.read_evaluation()
    try:
        found["splits"]["test"]["nll"], found["consistency"]["test_transform"]["retrieval_at_1"]
    except (KeyError, TypeError) as error:
        raise InputError(str(run.evaluation), "the figures of an evaluation", error) from error
    return found


def spread(evaluations: Mapping[tuple[str, str], Sequence[Evaluation]]) -> pd.DataFrame:
    """Returns a row for each figure of each method.

    Args:
      evaluations: by (data set, method's label), one for each seed.

    Returns:
      The columns of `CELL`, the `values` of the seeds, their `mean`, and `std`, their sample standard
      deviation, NaN for one seed.
    """
    figures = [
        (dataset, method, metric, split, value)
        for (dataset, method), of_seeds in evaluations.items()
        for evaluation in of_seeds
        for metric, split, value in _figures(evaluation)
    ]
    values = pd.DataFrame(figures, columns=[*CELL, "value"]).groupby(CELL, sort=False)["value"]
    return values.agg(values=list, mean="mean", std="std").reset_index()


def to_json(rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Returns rows as JSON holds them, None for NaN."""
    return rows.astype(object).where(rows.notna(), None).to_dict("records")


def csv(rows: pd.DataFrame) -> str:
    """Returns rows as CSV, with the number of seeds in place of their values."""
    first = ["dataset", "method", "metric", "split", "seeds", "mean", "std"]
    published = [name for name in ("paper_mean", "paper_std") if name in rows]
    return rows.assign(seeds=rows["values"].map(len))[[*first, *published]].to_csv(index=False)


def _figures(evaluation: Evaluation) -> Iterable[tuple[str, str, float]]:
    for part, measured in quantities.PARTS.items():
        for split, values in evaluation.get(part, {}).items():
            if split in quantities.CONDITIONS:
                for quantity in measured:
                    if quantity.key in values:
                        yield quantity.name, split, float(values[quantity.key])


def by_method(
    rows: pd.DataFrame, columns: Iterable[Column], missing: str = "-", precision: str | None = None
) -> pd.DataFrame:
    """Returns the means as text, a line for each method; columns that no method has are left out.

    Args:
      rows: of one data set, with `mean` and `std`.
      columns: to show, in their order.
      missing: stands where a method has no such figure.
      precision: a format of numbers in place of each quantity's own.
    """
    wanted = [column for column in columns if column in set(zip(rows.metric, rows.split, strict=True))]
    shown = rows.assign(text=[_text(row, precision) for row in rows.itertuples()])
    table = shown.pivot(index="method", columns=["metric", "split"], values="text")
    return table.reindex(index=rows.method.unique(), columns=wanted).fillna(missing)


def _text(row: Any, precision: str | None) -> str:
    if precision is None or pd.isna(row.mean):
        return BY_NAME[row.metric].text(row.mean, row.std)
    return f"{row.mean:{precision}} ± {row.std:{precision}}"


def columns_of(names: Iterable[str], splits: Iterable[str]) -> list[Column]:
    """Returns a column for each quantity under each condition."""
    return [(name, split) for name in names for split in splits]


def headings(columns: Iterable[Column]) -> list[str]:
    """Returns the heads of columns."""
    return [quantities.heading(*column) for column in columns]


def markdown(heads: Sequence[str], lines: Iterable[Sequence[Any]]) -> str:
    """Returns a table in Markdown."""
    rows = [[str(cell).replace("|", r"\|") for cell in row] for row in (heads, *lines)]
    rows.insert(1, ["---"] * len(heads))
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def methods_markdown(table: pd.DataFrame, title: Callable[[str], str] = str) -> str:
    """Returns what `by_method` returned in Markdown, each method under its title."""
    lines = ([title(method), *texts] for method, *texts in table.itertuples(name=None))
    return markdown(["method", *headings(table.columns)], lines)
