"""The tables of Sinha et al. 2020, our runs beside them, and a verdict on each claim."""

import itertools
import statistics
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from crvae_tf.evaluation.metrics import BY_NAME, CONDITIONS, GAUSSIAN, NLL
from crvae_tf.studies import comparisons
from crvae_tf.studies.comparisons import CELL, Evaluations, dataset_title, method_title

HELD, FAILED, NOISE, NOT_RUN = "held", "did not hold", "within the noise", "not run"
NOISE_RULE = (
    "A difference of two means is within the noise when Welch's 95 % interval, by Student's t over "
    "the seeds of each, holds 0, and always where either has a single seed; for active units also when "
    "it is at most 1."
)

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
_OURS_NOTE = "The paper does not have the methods whose rows are marked `ours`."
_FURTHER_COLUMNS = (
    ("rate", "test"),
    *itertools.product(["mutual_information_upper"], _SPLITS),
    *itertools.product(["consistency_kl", "retrieval_at_1"], ["train_transform", "test_transform"]),
    *itertools.product(["probe_linear"], ["clean", "test_transform"]),
)
_REGULARISED = (
    ("vae", "cr_vae"),
    ("iwae", "cr_iwae"),
    ("beta_vae_0.5", "cr_beta_vae_0.5"),
    ("beta_vae_10", "cr_beta_vae_10"),
)

PAIRS = dict.fromkeys((1, 2, 3), _REGULARISED) | {4: (("vae_aug", "cr_vae"),)}
"""By table, the labels of a model and of the one that the paper claims to be better."""

DATASETS = {1: ("mnist",), 2: ("omniglot",), 3: ("celeb_a",), 4: ("mnist", "omniglot")}
"""By table. The paper's Table 4 also has CelebA, which asks for more than the others together."""


class Claim(NamedTuple):
    """What the paper says of each pair, on both splits; `published` is its own metric, if it has one.

    `better` is -1 where lower is better, 1 where higher is. A difference of `least` says nothing.
    """

    metric: str
    better: int
    words: str
    published: str | None = None
    least: float = 0.0


CLAIMS = (
    Claim("nll", -1, "a lower NLL", "nll"),
    Claim("mutual_information_disjoint", 1, "more mutual information (disjoint)", "mutual_information"),
    Claim("mutual_information_upper", 1, "more mutual information (upper bound)"),
    Claim("active_units", 1, "more active units", "active_units", least=1.0),
)
"""The paper's mutual information is set against two estimators of it."""


def methods(number: int) -> dict[str, dict[str, Any]]:
    """Returns the flags of each method of a table, by its label, in the order of the rows.

    >>> methods(4)
    {'vae_aug': {'method': 'vae_aug'}, 'cr_vae': {'method': 'cr_vae'}}
    >>> methods(1)["cr_beta_vae_0.5"]
    {'method': 'cr_beta_vae', 'beta': 0.5}
    """
    flags = {}
    for label in itertools.chain(*PAIRS[number]):
        name, vae, beta = label.partition("beta_vae_")
        flags[label] = {"method": f"{name}beta_vae", "beta": float(beta)} if vae else {"method": label}
    return flags


def paper_figures() -> pd.DataFrame:
    """Returns the paper's 180 cells: `table`, `dataset`, `method`, `metric`, `split`, `mean`, `std`."""
    return pd.read_csv(Path(__file__).with_name("paper_tables.csv"))


def summarize(number: int, datasets: Iterable[str], evaluations: Evaluations) -> dict[str, Any]:
    """Returns a table of the paper, reproduced on `datasets`; other methods are further rows.

    Returns:
      `study` ("table"), `table`, `datasets`, `rows` as of `comparisons.spread`, with `paper_mean`
      and `paper_std`, and `verdicts`: what `judge` returns, and of which claim.
    """
    wanted = dict.fromkeys(itertools.product(datasets, methods(number)), ())
    rows = comparisons.spread(wanted | evaluations)
    published = paper_figures().query("table == @number").drop(columns="table")
    verdicts = list(_verdicts(number, datasets, rows, published.set_index(CELL)["mean"]))
    # The paper's figures, under the names of ours that they are set against.
    gaussian = published.dataset.isin(rows[rows.metric == GAUSSIAN.name].dataset)
    published["metric"] = published.metric.map({claim.published: claim.metric for claim in CLAIMS})
    published.loc[gaussian & (published.metric == NLL.name), "metric"] = GAUSSIAN.name
    published = published.rename(columns={"mean": "paper_mean", "std": "paper_std"})
    about = {"study": "table", "table": number, "datasets": list(datasets)}
    return about | {"rows": rows.merge(published, "left", CELL), "verdicts": verdicts}


def _verdicts(
    number: int, datasets: Iterable[str], rows: pd.DataFrame, published: pd.Series
) -> Iterable[dict[str, Any]]:
    ours = rows.set_index(CELL)["values"]
    for dataset, names, claim, split in itertools.product(datasets, PAIRS[number], CLAIMS, _SPLITS):
        values = [ours.get((dataset, name, claim.metric, split), []) for name in names]
        theirs = [published.get((dataset, name, claim.published, split)) for name in names]
        about = {"dataset": dataset, "base": names[0], "regularised": names[1]}
        about |= {"metric": claim.metric, "split": split}
        difference = None if None in theirs else round(float(theirs[1] - theirs[0]), 6)
        yield about | judge(*values, claim.better, claim.least) | {"paper_difference": difference}


def judge(base: Sequence[float], other: Sequence[float], better: int, least: float) -> dict[str, Any]:
    """Returns whether `other` is better than `base`, each a figure of every seed; see `Claim`.

    Returns:
      `verdict`, one of `HELD`, `FAILED`, `NOISE` and `NOT_RUN` (where either has no figure); the
      `difference` of the means, `other` less `base`; and its `noise`, half the width of Welch's 95 %
      interval, None where either has a single figure.
    """
    if not base or not other:
        return {"verdict": NOT_RUN, "difference": None, "noise": None}
    difference = statistics.fmean(other) - statistics.fmean(base)
    noise = _noise(base, other)
    verdict = HELD if difference * better > 0.0 else FAILED
    if noise is None or abs(difference) <= max(noise, least):
        verdict = NOISE
    return {"verdict": verdict, "difference": difference, "noise": noise}


def _noise(base: Sequence[float], other: Sequence[float]) -> float | None:
    if min(len(base), len(other)) < 2:
        return None
    with warnings.catch_warnings(action="ignore", category=RuntimeWarning):  # One may not vary.
        interval = stats.ttest_ind(other, base, equal_var=False).confidence_interval(0.95)
    return float(np.nan_to_num(interval.high - interval.low)) / 2.0  # NaN where neither has any.


def markdown(summary: dict[str, Any]) -> str:
    """Returns what `summarize` returned: our figures, the paper's below, and the verdicts."""
    parts = []
    for dataset, rows in comparisons.by_dataset(summary):
        verdicts = [verdict for verdict in summary["verdicts"] if verdict["dataset"] == dataset]
        is_gaussian = (rows.metric == GAUSSIAN.name).any()
        nll = itertools.product([NLL.name], _SPLITS) if is_gaussian else []
        further = comparisons.by_method(rows, [*nll, *_FURTHER_COLUMNS], NOT_RUN)
        notes = [] if rows.paper_mean.notna().any() else ["The paper has no such figures."]
        notes += [_INFORMATION_NOTE, _GAUSSIAN_NOTE] if is_gaussian else [_INFORMATION_NOTE]
        notes += [] if set(rows.method) <= set(methods(summary["table"])) else [_OURS_NOTE]
        parts += [
            f"### Table {summary['table']}: {dataset_title(dataset)}",
            _main_table(summary["table"], rows, (GAUSSIAN if is_gaussian else NLL).name),
            " ".join(notes),
            f"Claims of the paper, mutual information by two estimators: {count(verdicts)}.",
            _verdict_table(rows, verdicts),
            "Further figures, which the paper does not have:",
            comparisons.methods_markdown(further.rename(method_title)),
        ]
    return "\n\n".join([*parts, f"± is the sample standard deviation over seeds. {NOISE_RULE}\n"])


def _main_table(number: int, rows: pd.DataFrame, likelihood: str) -> str:
    """Returns a line for each method above the paper's line, and those of other methods at the end."""
    metrics = (likelihood, "mutual_information_disjoint", "active_units")
    columns = list(itertools.product(metrics, _SPLITS))
    known, found = list(methods(number)), comparisons.by_method(rows, columns)
    labels = dict.fromkeys([*known, *found.index])
    found = found.reindex(index=list(labels), columns=columns, fill_value=NOT_RUN)
    published = rows.dropna(subset="paper_mean")
    theirs = [f"{row.paper_mean:g} ± {row.paper_std:g}" for row in published.itertuples()]
    papers = comparisons.by_method(published.assign(text=theirs), columns)
    papers = papers.reindex(columns=columns, fill_value="")
    seeds = rows["values"].map(len).groupby(rows.method).max()
    lines = []
    for label, cells in found.iterrows():
        whose = "here" if label in known else "ours"
        lines.append([method_title(label), whose, seeds.get(label, 0), *cells])
        if label in papers.index:
            lines.append(["", "paper", "", *papers.loc[label]])
    heads = [f"{BY_NAME[name].label}, {CONDITIONS[split]}" for name, split in columns]
    return comparisons.table_markdown(["method", "", "seeds", *heads], lines)


def count(verdicts: Iterable[dict[str, Any]]) -> str:
    """Returns how many verdicts there are of each kind.

    >>> count([{"verdict": "held"}, {"verdict": "within the noise"}, {"verdict": "held"}])
    '2 held, 1 within the noise'
    """
    found = [verdict["verdict"] for verdict in verdicts]
    kinds = (HELD, FAILED, NOISE, NOT_RUN)
    return ", ".join(f"{found.count(kind)} {kind}" for kind in kinds if kind in found)


def _verdict_table(rows: pd.DataFrame, verdicts: Iterable[dict[str, Any]]) -> str:
    figures = rows.set_index(["method", "metric", "split"]).text
    words = {claim.metric: claim.words for claim in CLAIMS}
    lines = []
    for verdict in verdicts:
        metric, split, theirs = (verdict[name] for name in ("metric", "split", "paper_difference"))
        names = (verdict["regularised"], verdict["base"])
        one, other = map(method_title, names)
        claim = f"{one} has {words[metric]} than {other}, {CONDITIONS[split]}"
        both = " against ".join(figures.get((name, metric, split), "none") for name in names)
        published = "" if theirs is None else f"{theirs:+g}"
        lines.append([claim, f"**{verdict['verdict']}**", both, _difference(verdict), published])
    heads = ["claim", "verdict", "figures", "difference, with its noise", "difference in the paper"]
    return comparisons.table_markdown(heads, lines)


def _difference(verdict: dict[str, Any]) -> str:
    difference, noise = verdict["difference"], verdict["noise"]
    if difference is None:
        return ""
    shown = BY_NAME[verdict["metric"]].text(difference, noise)
    signed = shown if shown.startswith("-") else f"+{shown}"
    return signed if noise is not None else f"{signed}, of single seeds"
