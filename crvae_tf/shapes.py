"""The shapes of the files of JSON that this package writes and reads again."""

from collections.abc import Iterable

from crvae_tf import quantities
from crvae_tf.json_files import Listed, Object
from crvae_tf.quantities import Quantity

_NUMBER_OR_NULL = (float, type(None))


def _all_of(measured: Iterable[Quantity], *others: str) -> Object:
    names = (*others, *(quantity.key for quantity in measured))
    return Object(dict.fromkeys(names, float), others=_NUMBER_OR_NULL)


_SPLIT = _all_of(quantities.SPLIT, "num_images", "nll", "nll_stderr", "nll_samples")
EVALUATION = Object(
    required={
        "splits": Object({"test": _SPLIT}, others=_SPLIT),
        "consistency": Object(others=_all_of(quantities.CONSISTENCY)),
    },
    optional={
        "config": Object(),
        "probe": Object({"num_train_images": int}, others=_all_of(quantities.PROBE)),
    },
)
"""The shape of `evaluation.json`."""

EPOCH = Object({"epoch": int}, others=float)
"""The shape of a line of `metrics.jsonl`."""

PROVENANCE = Object(
    optional={
        "commands": Listed(str),
        "commit": (str, type(None)),
        "hardware": str,
        "training_seconds": float,
        "evaluation_seconds": float,
    }
)
"""The shape of `provenance.json`."""

_SIZE = Object(dict.fromkeys(("size", "kl", "retrieval_at_1"), float), others=_NUMBER_OR_NULL)
INVARIANCE = Object(dict.fromkeys(("translation", "rotation", "scaling"), Listed(_SIZE, least=1)))
"""The shape of `invariance.json`."""

_VIEWS = ("train_transform", "test_transform")
BASELINES = Object(
    others=Object(
        {"consistency": Object(dict.fromkeys(_VIEWS, Object({"retrieval_at_1": float})))},
        {"probe": EVALUATION.optional["probe"]},
    )
)
"""The shape of `baselines.json`."""

_MADE = Object(
    {
        "commands": Listed(str),
        "runs": int,
        "seeds": int,
        "epochs": Listed(int),
        "nll_samples": Listed(int),
        "num_images": Listed(int),
        "hours": float,
        "hardware": Listed(str),
        "commits": Listed(str),
    }
)


def _rows(**more: object) -> Listed:
    figures = {"values": Listed(float), "mean": float, "std": _NUMBER_OR_NULL}
    return Listed(Object({"dataset": str, "metric": str, "split": str} | figures | more))


_COMMON = {"datasets": Listed(str, least=1), "provenance": _MADE}
_VERDICT = {"verdict": str, "difference": _NUMBER_OR_NULL, "noise": _NUMBER_OR_NULL}
_CLAIM = dict.fromkeys(("dataset", "base", "regularised", "metric", "split"), str)
_OF_PAPER = {"paper_mean": _NUMBER_OR_NULL, "paper_std": _NUMBER_OR_NULL}
_TARGETS = ("nll", "nll_loss", "retrieval_at_1", "train_gap", "test_gap")

SUMMARIES = {
    "table": Object(
        _COMMON
        | {
            "table": int,
            "rows": _rows(method=str, **_OF_PAPER),
            "verdicts": Listed(Object(_CLAIM | _VERDICT | {"paper_difference": _NUMBER_OR_NULL})),
        }
    ),
    "eta": Object(
        _COMMON
        | {
            "rows": _rows(eta=float),
            "best_eta": _NUMBER_OR_NULL,
            "verdict": Object(_VERDICT | {"other_eta": _NUMBER_OR_NULL}),
        }
    ),
    "runs": Object(
        _COMMON
        | {
            "title": str,
            "published": Object(others=float),
            "published_by": (str, type(None)),
            "rows": _rows(method=str),
        }
    ),
    "invariance": Object(
        _COMMON
        | {
            "network": str,
            "settings": Listed(str),
            "rows": _rows(method=str),
            "loss": str,
            "points": Listed(
                Object(
                    {"setting": str, "frontier": bool}
                    | dict.fromkeys((*_TARGETS, "loss"), _NUMBER_OR_NULL)
                )
            ),
        }
    ),
}
"""The shapes of the summaries in `results/`, by what they hold as `study`."""

EMBEDDING = Object(
    {
        "input": str,
        "key": str,
        "format": str,
        "num_rows": int,
        "rows_per_file": int,
        "latent_dim": int,
        "encoder_fingerprint": str,
    },
    {"content_dim": int} | dict.fromkeys(("encoder", "data_dir", "split"), (str, type(None))),
)
"""The shape of `_embedding.json`."""

ENCODER = Object(
    {
        "image_shape": Listed(int, least=3),
        "latent_dim": int,
        "note": str,
        "preprocessing": Object(
            {"image_size": int, "channels": int},
            {"crop": (int, type(None)), "invert": bool, "brightest": float},
        ),
    },
    {"content_dim": int},
)
"""The shape of what an exported encoder says of itself."""
