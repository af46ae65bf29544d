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
            {"crop": (int, type(None)), "invert": bool},
        ),
    },
    {"content_dim": int},
)
"""The shape of what an exported encoder says of itself."""
