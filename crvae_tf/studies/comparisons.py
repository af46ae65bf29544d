"""Methods and settings side by side: their figures, the choice of eta, and what a setting costs."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from crvae_tf.evaluation.quantities import NLL
from crvae_tf.studies import evaluation_frame, paper
from crvae_tf.studies.evaluation_frame import Evaluation, columns_of, dataset_title

PAPER_ETA = 0.1
REFERENCE = "vae_aug"
"""The setting that the NLLs of others are set against: the same views, and no consistency."""

_TRANSFORMS = ("train_transform", "test_transform")
_COLUMNS = (
    ("nll", "test"),
    ("nll", "transformed_test"),
    ("rate", "test"),
    ("active_units", "test"),
    *columns_of(["consistency_kl", "retrieval_at_1"], _TRANSFORMS),
    *columns_of(["probe_linear", "probe_nearest_neighbours"], ["clean", *_TRANSFORMS]),
)
_PRICES = {
    "nll_loss": "NLL less that of VAE+Aug",
    "train_gap": "linear probe's loss, training transformation",
    "test_gap": "linear probe's loss, test transformation",
}
_RETRIEVAL_LOSS = "1 - retrieval at 1, training transformation"
_SPREAD_NOTE = "± is the sample standard deviation over seeds, where there are several."
_SETTINGS_NOTE = (
    "A setting is named by its flags; all other flags are the same. Retrieval and probes are of the "
    "embedding. `pixels`, `pca` and `contrastive` (SimCLR, by the same network on the same pairs) have "
    "no likelihood. A probe's loss is its accuracy on clean images less that on transformed ones. A "
    "setting is on the frontier if no other is better in one of the NLL and `{}`, and as good in the "
    "other."
)


def setting_label(setting: Mapping[str, Any]) -> str:
    """Returns the label of runs with these flags: the method, and before it what the networks are.

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


def eta_of(label: str) -> float:
    """Returns the eta in a setting's label."""
    return float(label.rpartition("eta=")[2])


def summarize(
    study: str, evaluations: Mapping[tuple[str, str], Sequence[Evaluation]], **about: Any
) -> dict[str, Any]:
    """Returns methods or settings side by side.

    Args:
      study: `runs`, of finished runs; `eta`, of settings that differ in eta, on held-out images; or
        `invariance`, of settings whose embeddings are compared.
      evaluations: by (data set, label), one for each finished seed.
      **about: for the reader: the `title` of runs, the `network` of settings.

    Returns:
      `study`, `datasets`, `labels`, all of them, `rows` as of `evaluation_frame.spread`, and `about`.
    """
    datasets, labels = (list(dict.fromkeys(cell[i] for cell in evaluations)) for i in (0, 1))
    rows = evaluation_frame.spread(evaluations)
    return {"study": study, "datasets": datasets, "labels": labels, "rows": rows} | about


def markdown(summary: dict[str, Any]) -> str:
    """Returns what `summarize` returned: a table for each data set, and what its study adds."""
    parts, study = [], summary["study"]
    title = evaluation_frame.method_title if study == "runs" else str
    for dataset in summary["datasets"]:
        rows = summary["rows"][summary["rows"].dataset == dataset]
        table = evaluation_frame.by_method(rows, _COLUMNS)
        heading = f"### {dataset_title(dataset)}{', held-out images' if study == 'eta' else ''}"
        parts += [heading, evaluation_frame.methods_markdown(table, title)]
        parts += [_eta_verdict(rows)] if study == "eta" else []
        parts += _prices(rows) if study == "invariance" else []
    missing = [f"`{label}`" for label in summary["labels"] if label not in set(summary["rows"].method)]
    parts += [f"Not run: {', '.join(missing)}."] if missing else []
    return "\n\n".join([*parts, _SPREAD_NOTE]) + "\n"


def _eta_verdict(rows: pd.DataFrame) -> str:
    """Returns a verdict on the paper's eta, set against the best of the others."""
    nlls = rows[(rows.metric == NLL.name) & (rows.split == "test")]
    values = {eta_of(row.method): row.values for row in nlls.itertuples()}
    means = {eta: statistics.fmean(of_seeds) for eta, of_seeds in values.items()}
    choice = f"The paper's choice, eta = {PAPER_ETA:g},"
    best = f"The lowest NLL is at eta = {min(means, key=means.get):g}. {choice}" if means else choice
    rival = min(means.keys() - {PAPER_ETA}, key=means.get, default=None)
    if rival is None or PAPER_ETA not in means:
        return f"{best} or another to set it against was not run."
    judged = paper.judge(values[rival], values[PAPER_ETA], better=-1)
    return (
        f"{best} has a lower NLL than the best of the others, eta = {rival:g}: "
        f"**{judged['verdict']}** (nats: {paper.difference('nll', judged)}). {paper.NOISE_RULE}"
    )


def _prices(rows: pd.DataFrame) -> list[str]:
    """Returns a table of what each setting costs and loses, and what it says."""
    points, loss = price_and_loss(rows)
    texts = (
        points[["nll_loss"]]
        .map("{:.2f}".format)
        .join(points[["train_gap", "test_gap"]].map("{:.3f}".format))
    )
    texts = texts.replace("nan", "-").assign(frontier=points.frontier.map({True: "yes", False: ""}))
    heads = ["method", *_PRICES.values(), "on the frontier"]
    table = evaluation_frame.markdown(heads, texts.itertuples(name=None))
    return [table, _SETTINGS_NOTE.format(loss)]


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
    return points, _PRICES["test_gap"] if has_probes else _RETRIEVAL_LOSS


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
