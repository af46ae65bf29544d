"""The tables of Sinha et al. 2020, our runs beside them, and a verdict on each claim."""

import statistics
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from crvae_tf.evaluation.quantities import BY_NAME, CONDITIONS, GAUSSIAN, NLL
from crvae_tf.studies import evaluation_frame
from crvae_tf.studies.evaluation_frame import Evaluation, dataset_title, method_title

HELD, FAILED, NOISE, NOT_RUN = "held", "did not hold", "within the noise", "not run"
CONFIDENCE = 0.95
NOISE_RULE = (
    "A difference of two means is within the noise when Welch's 95 % interval, by Student's t over "
    "the seeds of each, holds 0, and always where either has a single seed; for active units also when "
    "it is at most 1."
)

_PAPER_TABLES = Path(__file__).with_name("paper_tables.csv")
_SPLITS = ("test", "transformed_test")
_INFORMATION_NOTE = (
    "Mutual information: the paper's figures exceed the rate, which bounds it from above, so they can "
    "be set against `mutual_information_disjoint` (64 posteriors of other images) only, and in "
    "magnitude only."
)
_GAUSSIAN_NOTE = (
    "The paper's NLL of these images can only be half the squared error plus the rate, the Gaussian's "
    "constant left out: that figure of ours stands beside it; the NLL itself is among the further ones."
)
_FURTHER_COLUMNS = (
    ("nll", "test"),
    ("nll", "transformed_test"),
    ("rate", "test"),
    *evaluation_frame.columns_of(["mutual_information_upper"], _SPLITS),
    *evaluation_frame.columns_of(
        ["consistency_kl", "retrieval_at_1"], ["train_transform", "test_transform"]
    ),
    *evaluation_frame.columns_of(["probe_linear"], ["clean", "test_transform"]),
)


class Method(NamedTuple):
    """A row of a table: what `--method` and `--beta` are called with."""

    name: str
    beta: float = 1.0

    @property
    def label(self) -> str:
        """Its name in tables, with beta where it has one.

        >>> Method("cr_beta_vae", 0.5).label, Method("iwae").label
        ('cr_beta_vae_0.5', 'iwae')
        """
        return f"{self.name}_{self.beta:g}" if self.name.endswith("beta_vae") else self.name


class Table(NamedTuple):
    """A table of the paper."""

    datasets: tuple[str, ...]
    pairs: tuple[tuple[Method, Method], ...]
    """Each a model and the one that the paper claims to be better."""

    @property
    def methods(self) -> list[Method]:
        """Its rows."""
        return [method for pair in self.pairs for method in pair]


_BASES = (Method("vae"), Method("iwae"), Method("beta_vae", 0.5), Method("beta_vae", 10.0))
_REGULARISED = tuple((base, Method(f"cr_{base.name}", base.beta)) for base in _BASES)
_ABLATION = ((Method("vae_aug"), Method("cr_vae")),)
TABLES = {
    1: Table(("mnist",), _REGULARISED),
    2: Table(("omniglot",), _REGULARISED),
    3: Table(("celeb_a",), _REGULARISED),
    4: Table(("mnist", "omniglot"), _ABLATION),
}
"""By number. The paper's Table 4 also has CelebA, which asks for more than the others together."""


class Claim(NamedTuple):
    """What the paper says of each pair, on both splits."""

    metric: str
    better: int
    """-1 where lower is better, 1 where higher is."""
    words: str
    published: str | None = None
    """The paper's own metric."""
    least: float = 0.0
    """A difference of this much or less says nothing."""


CLAIMS = (
    Claim("nll", -1, "a lower NLL", "nll"),
    Claim("mutual_information_disjoint", 1, "more mutual information (disjoint)", "mutual_information"),
    Claim("mutual_information_upper", 1, "more mutual information (upper bound)"),
    Claim("active_units", 1, "more active units", "active_units", least=1.0),
)
"""The paper's mutual information is set against two estimators of it."""


def paper_figures() -> pd.DataFrame:
    """Returns the paper's 180 cells: `table`, `dataset`, `method`, `metric`, `split`, `mean`, `std`."""
    return pd.read_csv(_PAPER_TABLES)


def summarize(
    number: int,
    datasets: Iterable[str],
    evaluations: Mapping[tuple[str, str], Sequence[Evaluation]],
) -> dict[str, Any]:
    """Returns a table of the paper made anew.

    Args:
      number: of the table.
      datasets: to show.
      evaluations: by (data set, method's label), one for each finished seed.

    Returns:
      `study` ("table"), `table`, `datasets`, `rows` as of `evaluation_frame.spread`, with `paper_mean`
      and `paper_std`, and `verdicts`: what `judge` returns, and of which claim.
    """
    wanted = [(d, method.label) for d in datasets for method in TABLES[number].methods]
    rows = evaluation_frame.spread({cell: evaluations.get(cell, []) for cell in wanted})
    rows = rows.merge(_published(number, rows), "left", evaluation_frame.CELL)
    verdicts = [v for d in datasets for v in _verdicts(number, d, rows[rows.dataset == d])]
    about = {"study": "table", "table": number, "datasets": list(datasets)}
    return about | {"rows": rows, "verdicts": verdicts}


def _published(number: int, rows: pd.DataFrame) -> pd.DataFrame:
    """Returns the paper's figures under the names of those of ours that they are set against.

    Where ours have a Gaussian likelihood, the paper's NLL lacks the constant.
    """
    paper = paper_figures().query("table == @number").drop(columns="table")
    gaussian = paper.dataset.isin(rows[rows.metric == GAUSSIAN.name].dataset)
    names = {claim.published: claim.metric for claim in CLAIMS if claim.published}
    paper["metric"] = paper.metric.map(names)
    paper.loc[gaussian & (paper.metric == NLL.name), "metric"] = GAUSSIAN.name
    return paper.rename(columns={"mean": "paper_mean", "std": "paper_std"})


def _verdicts(number: int, dataset: str, rows: pd.DataFrame) -> list[dict[str, Any]]:
    """Returns a verdict on each claim about each pair."""
    values = rows.set_index(["method", "metric", "split"])["values"]
    paper = paper_figures().query("table == @number and dataset == @dataset")
    paper = paper.set_index(["method", "metric", "split"])["mean"]
    found = []
    for base, regularised in TABLES[number].pairs:
        about = {"dataset": dataset, "base": base.label, "regularised": regularised.label}
        for claim in CLAIMS:
            for split in _SPLITS:
                ours, theirs = (
                    [of.get((method.label, metric, split)) for method in (base, regularised)]
                    for of, metric in ((values, claim.metric), (paper, claim.published))
                )
                judged = judge(*(of_seeds or [] for of_seeds in ours), claim.better, claim.least)
                difference = None if None in theirs else round(float(theirs[1] - theirs[0]), 6)
                about |= {"metric": claim.metric, "split": split}
                found.append(about | judged | {"paper_difference": difference})
    return found


def judge(
    base: Sequence[float], other: Sequence[float], better: int, least: float = 0.0
) -> dict[str, Any]:
    """Returns whether `other` is better than `base`, each a figure of every seed.

    Args:
      base: figures of the one model.
      other: of the one that is claimed to be better.
      better: -1 where lower is better, 1 where higher is.
      least: a difference of this much or less says nothing.

    Returns:
      `verdict`, one of `HELD`, `FAILED`, `NOISE` and `NOT_RUN` (where either has no figure); the
      `difference` of the means, `other` less `base`; and its `noise`, as `noise_of_difference` has it.
    """
    if not base or not other:
        return {"verdict": NOT_RUN, "difference": None, "noise": None}
    difference = statistics.fmean(other) - statistics.fmean(base)
    noise = noise_of_difference(base, other)
    if noise is None or abs(difference) <= max(noise, least):
        verdict = NOISE
    else:
        verdict = HELD if difference * better > 0.0 else FAILED
    return {"verdict": verdict, "difference": difference, "noise": noise}


def noise_of_difference(base: Sequence[float], other: Sequence[float]) -> float | None:
    """Returns half the width of Welch's 95 % interval of a difference of two means.

    None where either has fewer than two values.

    >>> round(noise_of_difference([0.0, 2.0], [10.0, 12.0]), 3)  # sqrt(2) t(0.975; 2)
    6.085
    """
    if min(len(base), len(other)) < 2:
        return None
    if np.ptp(base) == 0.0 and np.ptp(other) == 0.0:
        return 0.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # One of the two may have no variance.
        interval = stats.ttest_ind(other, base, equal_var=False).confidence_interval(CONFIDENCE)
    return float(interval.high - interval.low) / 2.0


def markdown(summary: dict[str, Any]) -> str:
    """Returns what `summarize` returned: our figures, the paper's below, and the verdicts."""
    parts = []
    for dataset in summary["datasets"]:
        rows = summary["rows"][summary["rows"].dataset == dataset]
        verdicts = [verdict for verdict in summary["verdicts"] if verdict["dataset"] == dataset]
        further = [c for c in _FURTHER_COLUMNS if c[0] != "nll" or (rows.metric == GAUSSIAN.name).any()]
        parts += [
            f"### Table {summary['table']}: {dataset_title(dataset)}",
            _main_table(summary["table"], rows),
            _notes(rows),
            f"Claims of the paper, mutual information by two estimators: {count(verdicts)}.",
            _verdict_table(rows, verdicts),
            "Further figures, which the paper does not have:",
            evaluation_frame.methods_markdown(
                evaluation_frame.by_method(rows, further, NOT_RUN), method_title
            ),
        ]
    return "\n\n".join([*parts, f"± is the sample standard deviation over seeds. {NOISE_RULE}\n"])


def _main_table(number: int, rows: pd.DataFrame) -> str:
    likelihood = GAUSSIAN.name if (rows.metric == GAUSSIAN.name).any() else NLL.name
    columns = evaluation_frame.columns_of(
        [likelihood, "mutual_information_disjoint", "active_units"], _SPLITS
    )
    published = rows.assign(mean=rows.paper_mean, std=rows.paper_std).dropna(subset="mean")
    ours = evaluation_frame.by_method(rows, columns, NOT_RUN)
    theirs = evaluation_frame.by_method(published, columns, "", precision="g")
    lines = []
    for pair in TABLES[number].pairs:
        labels = [method.label for method in pair]
        best = _best(rows[rows.method.isin(labels)])
        for label in labels:
            cells = ours.loc[label] if label in ours.index else {}
            texts = [cells.get(column, NOT_RUN) for column in columns]
            marked = [(label, *column) in best for column in columns]
            shown = [f"**{t}**" if mark else t for t, mark in zip(texts, marked, strict=True)]
            seeds = rows[rows.method == label]["values"].map(len).max()
            lines.append([method_title(label), "here", 0 if pd.isna(seeds) else seeds, *shown])
            if label in theirs.index:
                lines.append(["", "paper", "", *(theirs.loc[label].get(c, "") for c in columns)])
    return evaluation_frame.markdown(
        ["method", "", "seeds", *evaluation_frame.headings(columns)], lines
    )


def _best(rows: pd.DataFrame) -> set[tuple[str, str, str]]:
    """Returns (method, metric, split) of the better of a pair, where both of them have a figure."""
    best = set()
    for (metric, split), cells in rows.groupby(["metric", "split"]):
        if len(cells) == 2:
            extreme = cells["mean"].min() if BY_NAME[metric].better == "lower" else cells["mean"].max()
            best |= {(method, metric, split) for method in cells[cells["mean"] == extreme].method}
    return best


def _notes(rows: pd.DataFrame) -> str:
    notes = [] if rows.paper_mean.notna().any() else ["The paper has no such figures."]
    gaussian = [_GAUSSIAN_NOTE] if (rows.metric == GAUSSIAN.name).any() else []
    return " ".join([*notes, _INFORMATION_NOTE, *gaussian])


def count(verdicts: Iterable[dict[str, Any]]) -> str:
    """Returns how many verdicts there are of each kind.

    >>> count([{"verdict": "held"}, {"verdict": "within the noise"}, {"verdict": "held"}])
    '2 held, 1 within the noise'
    """
    found = [verdict["verdict"] for verdict in verdicts]
    kinds = (HELD, FAILED, NOISE, NOT_RUN)
    return ", ".join(f"{found.count(kind)} {kind}" for kind in kinds if kind in found)


def _verdict_table(rows: pd.DataFrame, verdicts: Iterable[dict[str, Any]]) -> str:
    cells = {(row.method, row.metric, row.split): (row.mean, row.std) for row in rows.itertuples()}
    words = {claim.metric: claim.words for claim in CLAIMS}
    lines = []
    for verdict in verdicts:
        metric, split, quantity = verdict["metric"], verdict["split"], BY_NAME[verdict["metric"]]
        names = (verdict["regularised"], verdict["base"])
        figures = [quantity.text(*cells.get((name, metric, split), (None,))) for name in names]
        one, other = map(method_title, names)
        theirs = verdict["paper_difference"]
        lines.append(
            [
                f"{one} has {words[metric]} than {other}, {CONDITIONS[split]}",
                f"**{verdict['verdict']}**",
                " against ".join(figure or "none" for figure in figures),
                difference(metric, verdict),
                "" if theirs is None else f"{theirs:+g}",
            ]
        )
    heads = ["claim", "verdict", "figures", "difference, with its noise", "difference in the paper"]
    return evaluation_frame.markdown(heads, lines)


def difference(metric: str, verdict: dict[str, Any]) -> str:
    """Returns a verdict's difference with its noise.

    >>> difference("nll", {"difference": -2.5, "noise": 0.41})
    '-2.50 ± 0.41'
    >>> difference("nll", {"difference": -2.5, "noise": None})
    '-2.50, of single seeds'
    """
    if verdict["difference"] is None:
        return ""
    decimals = BY_NAME[metric].decimals
    shown = f"{verdict['difference']:+.{decimals}f}"
    noise = verdict["noise"]
    return f"{shown}, of single seeds" if noise is None else f"{shown} ± {noise:.{decimals}f}"
