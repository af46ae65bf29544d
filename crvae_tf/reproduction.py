"""The tables of Sinha et al. 2020: what they hold, and our runs set against them, claim by claim.

Pure functions on dictionaries: an evaluation is what a run's `evaluation.json` holds, a summary what
`reproduce` writes as JSON.
"""

import csv
import math
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from scipy.stats import t as student_t

from crvae_tf import quantities

Evaluation = dict[str, Any]

HELD, FAILED, NOISE, NOT_RUN = "held", "did not hold", "within the noise", "not run"
CONFIDENCE = 0.95
NOISE_RULE = (
    "A difference of two means is within the noise when Welch's 95 % interval, by Student's t over "
    "the seeds of each, holds 0, and always where either has a single seed; for active units also when "
    "it is at most 1."
)
PAPER_ETA = 0.1

_PAPER_TABLES = Path(__file__).with_name("paper_tables.csv")
_SPLITS = ("test", "transformed_test")


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


class Metric(NamedTuple):
    """A figure that a table compares its methods by."""

    name: str
    better: int
    """-1 where lower is better, 1 where higher is."""
    claimed: str | None = None
    """The paper's metric that the claim is on."""
    least: float = 0.0
    """A difference of this much or less says nothing."""


METRICS = (
    Metric("nll", -1, "nll"),
    Metric("mutual_information_disjoint", 1, "mutual_information"),
    Metric("mutual_information_upper", 1),
    Metric("active_units", 1, "active_units", least=1.0),
)
"""What the paper makes claims on; its mutual information is set against two estimators of it."""

GAUSSIAN_NLL = quantities.GAUSSIAN.key
"""What the paper's NLL of CelebA can only be: the negative ELBO without the Gaussian's constant."""


def paper_figures() -> dict[tuple[int, str, str, str, str], dict[str, float]]:
    """Returns `mean` and `std` of the paper's cells by (table, dataset, method, metric, split)."""
    with open(_PAPER_TABLES, newline="", encoding="utf-8") as file:
        return {
            (int(row["table"]), row["dataset"], row["method"], row["metric"], row["split"]): {
                "mean": float(row["mean"]),
                "std": float(row["std"]),
            }
            for row in csv.DictReader(file)
        }


def figures(evaluation: Evaluation) -> dict[tuple[str, str], float]:
    """Returns what tables show of an evaluation, by (metric, split).

    Splits of the consistency and of the probes are transformations.
    """
    found = {}
    for split, values in evaluation.get("splits", {}).items():
        found |= {(name, split): values[name] for name in ("nll", "rate", "active_units")}
        for kind in ("disjoint", "lower", "upper"):
            name = f"mutual_information_{kind}"
            found[name, split] = values[name]
        if GAUSSIAN_NLL in values:
            found[GAUSSIAN_NLL, split] = values[GAUSSIAN_NLL]
    for transform, values in evaluation["consistency"].items():
        if "kl" in values:  # What is no posterior has none.
            found["consistency_kl", transform] = values["kl"]
        found["retrieval_at_1", transform] = values["retrieval_at_1"]
    for condition, values in evaluation.get("probe", {}).items():
        if condition != "num_train_images":
            found |= {(f"probe_{name}", condition): value for name, value in values.items()}
    return found


def summarize_table(
    number: int, datasets: Iterable[str], evaluations: dict[tuple[str, str], list[Evaluation]]
) -> dict[str, Any]:
    """Returns a table of the paper made anew.

    Args:
      number: of the table.
      datasets: to show.
      evaluations: by (dataset, method's label), one for each seed that is finished.

    Returns:
      `study` ("table"), `table`, `datasets`, `rows` and `verdicts`. A row has `dataset`, `method`,
      `metric`, `split`, the `values` of the seeds, their `mean` and `std` (None below two), and the
      paper's `paper_mean` and `paper_std` (None where it has none); a verdict what `judge` returns, and
      of which claim.
    """
    table, datasets = TABLES[number], list(datasets)
    rows = []
    for dataset in datasets:
        for method in table.methods:
            cells = evaluations.get((dataset, method.label), [])
            about = {"dataset": dataset, "method": method.label}
            rows += [about | row for row in rows_of(cells)]
    _add_paper(number, rows)
    verdicts = [
        verdict
        for dataset in datasets
        for pair in table.pairs
        for verdict in _verdicts(number, rows, dataset, pair)
    ]
    return {
        "study": "table",
        "table": number,
        "datasets": datasets,
        "rows": rows,
        "verdicts": verdicts,
    }


def rows_of(evaluations: Sequence[Evaluation]) -> list[dict[str, Any]]:
    """Returns a row for each figure that all of the evaluations have."""
    found = [figures(evaluation) for evaluation in evaluations]
    names = [name for name in found[0] if all(name in other for other in found)] if found else []
    return [
        {"metric": metric, "split": split} | spread([values[metric, split] for values in found])
        for metric, split in names
    ]


def spread(values: Sequence[float]) -> dict[str, Any]:
    """Returns the `values` with their `mean` and sample standard deviation `std`, None below two.

    >>> spread([1, 3])
    {'values': [1, 3], 'mean': 2.0, 'std': 1.4142135623730951}
    """
    std = statistics.stdev(values) if len(values) > 1 else None
    return {"values": list(values), "mean": float(statistics.fmean(values)), "std": std}


def _add_paper(number: int, rows: list[dict[str, Any]]) -> None:
    paper = paper_figures()
    gaussian = {row["dataset"] for row in rows if row["metric"] == GAUSSIAN_NLL}
    for row in rows:
        name = paper_metric(row["metric"], row["dataset"] in gaussian)
        figure = paper.get((number, row["dataset"], row["method"], name, row["split"]), {})
        row["paper_mean"], row["paper_std"] = figure.get("mean"), figure.get("std")


def paper_metric(metric: str, gaussian: bool) -> str | None:
    """Returns the paper's metric that ours is to be set against, or None.

    Args:
      metric: ours.
      gaussian: whether the likelihood is Gaussian, where the paper's NLL lacks a constant.
    """
    nll = GAUSSIAN_NLL if gaussian else "nll"
    return {
        nll: "nll",
        "mutual_information_disjoint": "mutual_information",
        "active_units": "active_units",
    }.get(metric)


def _verdicts(
    number: int, rows: list[dict[str, Any]], dataset: str, pair: tuple[Method, Method]
) -> list[dict[str, Any]]:
    """Returns a verdict on each claim about a pair: better in every metric, on both splits."""
    base, regularised = (method.label for method in pair)
    paper = {key[2:]: cell for key, cell in paper_figures().items() if key[:2] == (number, dataset)}
    cells = {(r["method"], r["metric"], r["split"]): r for r in rows if r["dataset"] == dataset}
    found = []
    for metric in METRICS:
        for split in _SPLITS:
            ours = [cells.get((method, metric.name, split), {}) for method in (base, regularised)]
            about = {"dataset": dataset, "base": base, "regularised": regularised}
            about |= {"metric": metric.name, "split": split}
            judged = judge(*(cell.get("values", []) for cell in ours), metric.better, metric.least)
            theirs = [paper.get((method, metric.claimed, split)) for method in (base, regularised)]
            found.append(about | judged | {"paper_difference": _paper_difference(*theirs)})
    return found


def _paper_difference(
    base: dict[str, float] | None, regularised: dict[str, float] | None
) -> float | None:
    return round(regularised["mean"] - base["mean"], 6) if base and regularised else None


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
    shares = [statistics.variance(values) / len(values) for values in (base, other)]
    if sum(shares) == 0.0:
        return 0.0
    freedom = sum(shares) ** 2 / sum(
        share**2 / (len(values) - 1) for share, values in zip(shares, (base, other), strict=True)
    )
    return float(student_t.ppf(0.5 + CONFIDENCE / 2.0, freedom)) * math.sqrt(sum(shares))


def summarize_eta(dataset: str, evaluations: dict[float, list[Evaluation]]) -> dict[str, Any]:
    """Returns the study of eta: the figures of CR-VAE at each, on images held out of the training set.

    Args:
      dataset: its name.
      evaluations: by eta, one for each seed that is finished.

    Returns:
      `study` ("eta"); `datasets`; `rows` as in `summarize_table`, with `eta` in place of the method;
      `best_eta`, that of the lowest mean NLL; and `verdict`, what `judge` returns of whether the
      paper's eta is better than the best of the others, with that one as `other_eta`.
    """
    rows = [
        {"dataset": dataset, "eta": eta} | row
        for eta, cells in evaluations.items()
        for row in rows_of(cells)
    ]
    likelihoods = {r["eta"]: r for r in rows if (r["metric"], r["split"]) == ("nll", "test")}
    best = min(likelihoods, key=lambda eta: likelihoods[eta]["mean"], default=None)
    return {
        "study": "eta",
        "datasets": [dataset],
        "rows": rows,
        "best_eta": best,
        "verdict": _eta_verdict({eta: row["values"] for eta, row in likelihoods.items()}),
    }


def _eta_verdict(likelihoods: dict[float, list[float]]) -> dict[str, Any]:
    others = {eta: values for eta, values in likelihoods.items() if eta != PAPER_ETA}
    rival = min(others, key=lambda eta: statistics.fmean(others[eta]), default=None)
    judged = judge(others.get(rival, []), likelihoods.get(PAPER_ETA, []), better=-1)
    return {"other_eta": rival} | judged


def summarize_runs(
    title: str,
    evaluations: dict[tuple[str, str], list[Evaluation]],
    published: dict[str, float],
    published_by: str | None,
) -> dict[str, Any]:
    """Returns runs that are of no table side by side.

    Args:
      title: what they show.
      evaluations: by (dataset, method's label), one for each seed.
      published: NLLs by method's label; may be empty.
      published_by: whose they are.

    Returns:
      `study` ("runs"), `title`, `datasets`, `published`, `published_by`, and `rows` as in
      `summarize_table`, without the paper's.
    """
    rows = [
        {"dataset": dataset, "method": label} | row
        for (dataset, label), cells in evaluations.items()
        for row in rows_of(cells)
    ]
    return {
        "study": "runs",
        "title": title,
        "datasets": list(dict.fromkeys(dataset for dataset, _ in evaluations)),
        "published": published,
        "published_by": published_by,
        "rows": rows,
    }
