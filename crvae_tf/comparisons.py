"""Comparisons of runs beyond the paper's tables: values of eta, settings, and runs side by side."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from crvae_tf import evaluation_frame, paper
from crvae_tf.evaluation_frame import Evaluation, dataset_title, method_title
from crvae_tf.quantities import NLL

PAPER_ETA = 0.1
REFERENCE = "vae_aug"
"""The setting that the NLLs of others are set against: the same views, and no consistency."""

_TRANSFORMS = ("train_transform", "test_transform")
_CONDITIONS = ("clean", *_TRANSFORMS)
_ETA_COLUMNS = (
    ("nll", "test"),
    ("nll", "transformed_test"),
    ("rate", "test"),
    *evaluation_frame.columns_of(["consistency_kl", "retrieval_at_1"], _TRANSFORMS),
    ("probe_linear", "clean"),
    ("probe_linear", "test_transform"),
)
_RUN_COLUMNS = (*_ETA_COLUMNS[:3], ("active_units", "test"), *_ETA_COLUMNS[3:])
_SETTING_COLUMNS = (
    *_ETA_COLUMNS[:3],
    *evaluation_frame.columns_of(["retrieval_at_1"], _TRANSFORMS),
    *evaluation_frame.columns_of(["probe_linear", "probe_nearest_neighbours"], _CONDITIONS),
)
_POINT_TITLES = {
    "nll_loss": "NLL less that of VAE+Aug",
    "train_gap": "linear probe's loss, training transformation",
    "test_gap": "linear probe's loss, test transformation",
    "retrieval_loss": "1 - retrieval at 1, training transformation",
}
_NOTE = (
    "A setting is named by its flags; all other flags are the same. Retrieval and probes are of the "
    "embedding. `pixels`, `pca` and `contrastive` (SimCLR, by the same network on the same pairs) have "
    "no likelihood. A probe's loss is its accuracy on clean images less that on transformed ones. A "
    "setting is on the frontier if no other is better in one of the NLL and `{}`, and as good in the "
    "other."
)


def setting_label(setting: Mapping[str, Any]) -> str:
    """Returns the label of runs with these flags: the method, before it what the pose is.

    >>> setting_label({"method": "cr_vae", "pose": "affine", "eta": 1.0})
    'registered cr_vae eta=1'
    >>> setting_label({"method": "vae", "pose": "none", "eta": None})
    'vae eta=auto'
    """
    registered = ["registered"] if setting.get("pose", "none") == "affine" else []
    others = [f"{n}={_text(v)}" for n, v in setting.items() if n not in ("method", "pose")]
    return " ".join([*registered, setting["method"], *others])


def _text(value: float | str | None) -> str:
    if value is None:
        return "auto"
    return f"{value:g}" if isinstance(value, float) else str(value)


def eta_label(eta: float) -> str:
    """Returns the label of CR-VAEs with an eta."""
    return setting_label({"method": "cr_vae", "eta": float(eta)})


def eta_of(label: str) -> float:
    """Returns the eta of an `eta_label`."""
    return float(label.rpartition("eta=")[2])


def summarize_eta(dataset: str, evaluations: Mapping[float, Sequence[Evaluation]]) -> dict[str, Any]:
    """Returns the study of eta: CR-VAE at each, on images held out of the training set.

    Args:
      dataset: its name.
      evaluations: by eta, one for each finished seed.

    Returns:
      `study` ("eta"); `datasets`; `rows` as of `evaluation_frame.spread`; `best_eta`, that of the
      lowest mean NLL; and `verdict`, what `paper.judge` returns of whether the paper's eta is better
      than the best of the others, with that one as `other_eta`.
    """
    cells = {(dataset, eta_label(eta)): found for eta, found in evaluations.items()}
    rows = evaluation_frame.spread(cells)
    nlls = rows[(rows.metric == NLL.name) & (rows.split == "test")]
    values = {eta_of(row.method): row.values for row in nlls.itertuples()}
    best = min(values, key=lambda eta: statistics.fmean(values[eta]), default=None)
    others = [eta for eta in values if eta != PAPER_ETA]
    rival = min(others, key=lambda eta: statistics.fmean(values[eta]), default=None)
    judged = paper.judge(values.get(rival, []), values.get(PAPER_ETA, []), better=-1)
    about = {"study": "eta", "datasets": [dataset], "rows": rows}
    return about | {"best_eta": best, "verdict": {"other_eta": rival} | judged}


def eta_markdown(summary: dict[str, Any]) -> str:
    """Returns what `summarize_eta` returned as a table, with a verdict on the paper's choice."""
    rows = summary["rows"]
    table = evaluation_frame.by_method(rows, _ETA_COLUMNS, paper.NOT_RUN)
    seeds = rows["values"].map(len).max() if len(rows) else 0
    dataset = dataset_title(summary["datasets"][0])
    return "\n\n".join(
        [
            f"### eta: CR-VAE on {dataset}, images held out of the training set",
            f"{seeds} seeds. `test` stands for the held-out images, which no model was trained on.",
            evaluation_frame.methods_markdown(table, lambda label: f"{eta_of(label):g}", "eta"),
            _eta_verdict(summary),
            f"± is the sample standard deviation over seeds. {paper.NOISE_RULE}\n",
        ]
    )


def _eta_verdict(summary: dict[str, Any]) -> str:
    verdict = summary["verdict"]
    choice = f"The paper's choice, eta = {PAPER_ETA:g},"
    if summary["best_eta"] is None:
        return "No eta was run."
    best = f"The lowest NLL is at eta = {summary['best_eta']:g}."
    if verdict["verdict"] == paper.NOT_RUN:
        return f"{best} {choice} or another to set it against was not run."
    return (
        f"{best} {choice} has a lower NLL than the best of the others, eta = {verdict['other_eta']:g}: "
        f"**{verdict['verdict']}** (nats: {paper.difference('nll', verdict)})."
    )


def summarize_runs(
    title: str,
    evaluations: Mapping[tuple[str, str], Sequence[Evaluation]],
    published: Mapping[str, float],
    published_by: str | None,
) -> dict[str, Any]:
    """Returns runs side by side.

    Args:
      title: what they show.
      evaluations: by (data set, method's label), one for each seed.
      published: NLLs by method's label; may be empty.
      published_by: whose they are.

    Returns:
      `study` ("runs"), `title`, `datasets`, `published`, `published_by`, and `rows` as of
      `evaluation_frame.spread`.
    """
    datasets = list(dict.fromkeys(dataset for dataset, _ in evaluations))
    rows = evaluation_frame.spread(evaluations)
    about = {"study": "runs", "title": title, "datasets": datasets, "rows": rows}
    return about | {"published": dict(published), "published_by": published_by}


def runs_markdown(summary: dict[str, Any]) -> str:
    """Returns what `summarize_runs` returned, a table for each data set."""
    parts, all_rows = [], summary["rows"]
    for dataset in summary["datasets"]:
        rows = all_rows[all_rows.dataset == dataset]
        table = evaluation_frame.by_method(rows, _RUN_COLUMNS, paper.NOT_RUN)
        parts += [
            f"### {dataset_title(dataset)}",
            evaluation_frame.methods_markdown(table, method_title),
        ]
    if summary["published"]:
        parts += [f"NLL beside {summary['published_by']}, nats:", _published_table(summary)]
    parts.append("± is the sample standard deviation over seeds, where there are several.\n")
    return "\n\n".join(parts)


def _published_table(summary: dict[str, Any]) -> str:
    """Returns each NLL with the published one, and both with what they gain on the first."""
    rows = summary["rows"]
    means = rows[(rows.metric == NLL.name) & (rows.split == "test")].set_index("method")["mean"]
    found = pd.DataFrame({"published": summary["published"]}).join(means, how="inner")
    first = f"less {method_title(found.index[0])}"
    lines = [
        [
            method_title(row.Index),
            f"{row.mean:.2f}",
            f"{row.published:.2f}",
            f"{row.mean - row.published:+.2f}",
            f"{row.mean - found['mean'].iloc[0]:+.2f}",
            f"{row.published - found['published'].iloc[0]:+.2f}",
        ]
        for row in found.itertuples()
    ]
    heads = ["method", "NLL", "published", "difference", f"NLL {first}", f"published {first}"]
    return evaluation_frame.markdown(heads, lines)


def summarize_settings(
    dataset: str,
    network: str,
    evaluations: Mapping[str, Sequence[Evaluation]],
    baselines: Mapping[str, Evaluation],
) -> dict[str, Any]:
    """Returns how much of an embedding stays put in each setting, and at what price in likelihood.

    Args:
      dataset: its name.
      network: what encoders and decoders are, for the reader.
      evaluations: by setting's label, one for each finished seed; none where it was not run.
      baselines: what `baselines.measure` returned; may be empty.

    Returns:
      `study` ("invariance"), `datasets`, `network`, `settings`, all of their labels, and `rows` as of
      `evaluation_frame.spread`.
    """
    cells = evaluations | {name: [found] for name, found in baselines.items()}
    rows = evaluation_frame.spread({(dataset, label): found for label, found in cells.items()})
    about = {"study": "invariance", "datasets": [dataset], "network": network}
    return about | {"settings": list(cells), "rows": rows}


def price_and_loss(rows: pd.DataFrame) -> tuple[pd.DataFrame, str]:
    """Returns what each setting costs in likelihood and loses under a transformation.

    Args:
      rows: of one data set.

    Returns:
      By method `nll` and `nll_loss`, that less the reference's, both NaN without a likelihood;
      `train_gap` and `test_gap`, what a linear probe loses under the transformations; `loss`, the
      `test_gap` or, without classes, what retrieval lacks; and whether the method is on the `frontier`
      of NLL and loss. And the title of the loss.
    """
    wide = rows.pivot(index="method", columns=["metric", "split"], values="mean")
    wide = wide.reindex(rows.method.unique())
    empty = pd.Series(np.nan, wide.index)
    nll, clean = wide.get(("nll", "test"), empty), wide.get(("probe_linear", "clean"), empty)
    points = pd.DataFrame({"nll": nll, "nll_loss": nll - nll.get(REFERENCE, np.nan)})
    for name in ("train", "test"):
        points[f"{name}_gap"] = clean - wide.get(("probe_linear", f"{name}_transform"), empty)
    has_probes = points.test_gap.notna().any()
    retrieval = wide.get(("retrieval_at_1", "train_transform"), empty)
    points["loss"] = points.test_gap if has_probes else 1.0 - retrieval
    measured = points[["nll", "loss"]].dropna()
    points["frontier"] = [_is_on_frontier(point, measured) for point in points.itertuples()]
    return points, _POINT_TITLES["test_gap" if has_probes else "retrieval_loss"]


def _is_on_frontier(point: Any, measured: pd.DataFrame) -> bool:
    """Returns whether no point is better in one of NLL and loss and as good in the other.

    >>> measured = pd.DataFrame({"nll": [1, 2, 3], "loss": [3, 2, 2]})
    >>> [_is_on_frontier(point, measured) for point in measured.itertuples()]
    [True, True, False]
    """
    if pd.isna(point.nll) or pd.isna(point.loss):
        return False
    as_good = measured[(measured.nll <= point.nll) & (measured.loss <= point.loss)]
    return not ((as_good.nll < point.nll) | (as_good.loss < point.loss)).any()


def settings_markdown(summary: dict[str, Any]) -> str:
    """Returns what `summarize_settings` returned: the figures, and each setting's price and loss."""
    rows = summary["rows"]
    points, loss = price_and_loss(rows)
    shown = {"nll_loss": 2, "train_gap": 3, "test_gap": 3}
    lines = [
        [
            point.Index,
            *(_number(getattr(point, name), decimals) for name, decimals in shown.items()),
            "yes" if point.frontier else "",
        ]
        for point in points.itertuples()
    ]
    heads = ["method", *(_POINT_TITLES[name] for name in shown), "on the frontier"]
    missing = [f"`{setting}`" for setting in summary["settings"] if setting not in points.index]
    parts = [
        evaluation_frame.methods_markdown(evaluation_frame.by_method(rows, _SETTING_COLUMNS)),
        evaluation_frame.markdown(heads, lines),
        _NOTE.format(loss),
        *([f"Not run: {', '.join(missing)}."] if missing else []),
    ]
    return "\n\n".join(parts) + "\n"


def _number(value: float, decimals: int) -> str:
    return "-" if pd.isna(value) else f"{value:.{decimals}f}"


def datasets_title(names: Iterable[str]) -> str:
    """Returns the titles of data sets in one line."""
    return ", ".join(map(dataset_title, names))
