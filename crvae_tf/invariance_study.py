"""How much of an embedding stays put in each setting, and at what price in likelihood.

Pure functions on dictionaries, as in `reproduction`. A setting is named by the flags that it is trained
with, such as `cr_vae pose_dim=3 eta=0.3`.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from crvae_tf import reproduction, result_tables
from crvae_tf.reproduction import Evaluation

REFERENCE = "vae_aug"
"""The setting whose NLL the others' are set against: the same views, and no consistency."""


class Target(NamedTuple):
    """What an embedding that stays put would show."""

    name: str
    title: str
    bound: float
    is_least: bool = False
    """Whether `bound` is the least that meets it, and not the most."""

    def is_met(self, value: float | None) -> bool:
        """Returns whether a value meets it; one that was not measured does not."""
        if value is None:
            return False
        return value >= self.bound if self.is_least else value <= self.bound


TARGETS = (
    Target("nll_loss", "NLL less that of VAE+Aug", 3.0),
    Target("retrieval_at_1", "retrieval at 1, training transformation", 0.9, is_least=True),
    Target("train_gap", "linear probe's loss, training transformation", 0.02),
    Target("test_gap", "linear probe's loss, test transformation", 0.15),
)

LOSSES = {
    "test_gap": "linear probe's loss, test transformation",
    "retrieval_loss": "1 - retrieval at 1, training transformation",
}
"""What the frontier sets against the NLL; the second where the images have no classes to be learned."""

_COLUMNS = (
    ("nll", "test"),
    ("nll", "transformed_test"),
    ("rate", "test"),
    ("retrieval_at_1", "train_transform"),
    ("retrieval_at_1", "test_transform"),
    *(
        (probe, condition)
        for probe in ("probe_linear", "probe_nearest_neighbours")
        for condition in ("clean", "train_transform", "test_transform")
    ),
)
_NOTE = (
    "A setting is named by its flags, all others alike. Retrieval and probes are of the embedding: "
    "the content's mean where there is a `pose_dim`. Likelihoods are of one image alone, by its "
    "content and its pose. `pixels`, `pca` and `contrastive` (SimCLR, by the same network on the same "
    "pairs) have no likelihood. A probe's loss is its accuracy on clean images less that on "
    "transformed ones. VAE+Aug is `vae_aug`, with one view of an image. In bold: targets that are met."
)
_FRONTIER = (
    "On the frontier: no other setting is better in one of the NLL and `{}`, and as good in the other."
)


def summarize(
    dataset: str,
    network: str,
    evaluations: dict[str, list[Evaluation]],
    baselines: dict[str, Evaluation],
) -> dict[str, Any]:
    """Returns the study of a data set on a network.

    Args:
      dataset: its name.
      network: what encoders and decoders are, for the person who reads.
      evaluations: by setting, one for each seed that is finished; none where it was not run.
      baselines: what `baselines.measure` returned; may be empty.

    Returns:
      `study` ("invariance"); `datasets`; `network`; `settings`, all of them; `rows` as in
      `reproduction.summarize_table`, without the paper's; `loss`, the one of `LOSSES` that the frontier
      is of; and `points`, for each setting with rows its `setting`, `nll` (None where it has none), the
      value of each of `TARGETS` by name, its `loss`, and whether it is on the `frontier`.
    """
    cells = evaluations | {name: [found] for name, found in baselines.items()}
    rows = [
        {"dataset": dataset, "method": setting} | row
        for setting, found in cells.items()
        for row in reproduction.rows_of(found)
    ]
    points = _points(rows)
    has_probes = any(point["test_gap"] is not None for point in points)
    loss = "test_gap" if has_probes else "retrieval_loss"
    for point in points:
        point["loss"] = point["test_gap"] if has_probes else 1.0 - point["retrieval_at_1"]
    return {
        "study": "invariance",
        "datasets": [dataset],
        "network": network,
        "settings": list(cells),
        "rows": rows,
        "loss": loss,
        "points": [point | {"frontier": _is_on_frontier(point, points)} for point in points],
    }


def _points(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    means = {(row["method"], row["metric"], row["split"]): row["mean"] for row in rows}
    reference = means.get((REFERENCE, "nll", "test"))
    points = []
    for setting in dict.fromkeys(row["method"] for row in rows):
        nll = means.get((setting, "nll", "test"))
        clean = means.get((setting, "probe_linear", "clean"))
        point = {"setting": setting, "nll": nll, "nll_loss": _less(nll, reference)}
        point["retrieval_at_1"] = means[setting, "retrieval_at_1", "train_transform"]
        for name in ("train", "test"):
            seen = means.get((setting, "probe_linear", f"{name}_transform"))
            point[f"{name}_gap"] = _less(clean, seen)
        points.append(point)
    return points


def _less(value: float | None, other: float | None) -> float | None:
    """Returns the difference, without the rounding that 0.80 - 0.78 <= 0.02 would fail for."""
    return None if value is None or other is None else round(value - other, 9)


def _is_on_frontier(point: dict[str, Any], points: Sequence[dict[str, Any]]) -> bool:
    """Returns whether no point is better in one of NLL and loss and as good in the other.

    >>> points = [{"nll": n, "loss": loss} for n, loss in ((1, 3), (2, 2), (3, 2), (None, 0))]
    >>> [_is_on_frontier(point, points) for point in points]
    [True, True, False, False]
    """
    own = (point["nll"], point["loss"])
    measured = [(p["nll"], p["loss"]) for p in points if None not in (p["nll"], p["loss"])]
    if own not in measured:
        return False
    return not any(nll <= own[0] and loss <= own[1] and (nll, loss) != own for nll, loss in measured)


def markdown(summary: dict[str, Any]) -> str:
    """Returns the study as tables: the figures, and how near each setting comes to the targets.

    Args:
      summary: of `summarize`.
    """
    rows, settings = summary["rows"], summary["settings"]
    measured = {row["method"] for row in rows}
    columns = [c for c in _COLUMNS if any((row["metric"], row["split"]) == c for row in rows)]
    missing = [f"`{setting}`" for setting in settings if setting not in measured]
    shown = [setting for setting in settings if setting in measured]
    parts = [
        result_tables.by_key(rows, "method", shown, columns, absent=result_tables.NONE),
        _targets_table(summary["points"]),
        f"{_NOTE} {_FRONTIER.format(LOSSES[summary['loss']])}",
    ]
    if missing:
        parts.append(f"Not run: {', '.join(missing)}.")
    return "\n\n".join(parts) + "\n"


def _targets_table(points: Sequence[dict[str, Any]]) -> str:
    heads = [f"{t.title} ({'>=' if t.is_least else '<='} {t.bound:g})" for t in TARGETS]
    lines = [
        [
            point["setting"],
            *(_shown(target, point[target.name]) for target in TARGETS),
            str(sum(target.is_met(point[target.name]) for target in TARGETS)),
            "yes" if point["frontier"] else "",
        ]
        for point in points
    ]
    return result_tables.markdown_table(["method", *heads, "targets met", "on the frontier"], lines)


def _shown(target: Target, value: float | None) -> str:
    if value is None:
        return result_tables.NONE
    shown = result_tables.number_of(target.name, value, None)
    return f"**{shown}**" if target.is_met(value) else shown
