"""Runs, values of eta and settings side by side."""

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from crvae_tf.evaluation.metrics import NLL
from crvae_tf.studies import evaluation_frame, paper
from crvae_tf.studies.evaluation_frame import Evaluation, columns_of, dataset_title

PAPER_ETA = 0.1

_TRANSFORMS = ("train_transform", "test_transform")
_COLUMNS = (
    ("nll", "test"),
    ("nll", "transformed_test"),
    ("rate", "test"),
    ("active_units", "test"),
    *columns_of(["consistency_kl", "retrieval_at_1"], _TRANSFORMS),
    *columns_of(["probe_linear", "probe_nearest_neighbours"], ["clean", *_TRANSFORMS]),
)
_SPREAD_NOTE = "± is the sample standard deviation over seeds, where there are several."
_SETTINGS_NOTE = (
    "A setting is named by its flags; all other flags are the same. Retrieval and probes are of the "
    "embedding. `pixels`, `pca` and `contrastive` (SimCLR, by the same network on the same pairs) have "
    "no likelihood."
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
    """Returns a summary of methods or settings side by side.

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
    for dataset, rows in evaluation_frame.by_dataset(summary):
        table = evaluation_frame.by_method(rows, _COLUMNS)
        heading = f"### {dataset_title(dataset)}{', held-out images' if study == 'eta' else ''}"
        parts += [heading, evaluation_frame.methods_markdown(table, title)]
        parts += [_eta_verdict(rows)] if study == "eta" else []
        parts += [_SETTINGS_NOTE] if study == "invariance" else []
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
