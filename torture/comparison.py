"""Whether two folders that commands filled hold the same, to the bit."""

import json
from pathlib import Path

import h5py
import numpy as np
import pyarrow.parquet as pq
import tensorflow as tf

_TIMINGS = ("seconds", "images_per_second")


def differences(whole: Path, broken: Path) -> list[str]:
    """Returns what differs between the results of one command in two folders, or was left behind.

    Compared are each run's weights, optimizer state and evaluation and, timings apart, its metrics;
    tables; and the rows of embeddings.
    """
    found = [f"{path} was left behind" for path in sorted(broken.rglob("*")) if _is_unfinished(path)]
    for path in sorted(whole.rglob("*")):
        read = _reader(path)
        if read is None:
            continue
        twin = broken / path.relative_to(whole)
        if not twin.exists():
            found.append(f"{twin} is missing")
        elif not _same(read(path), read(twin)):
            found.append(f"{twin} differs")
    return found


def _is_unfinished(path: Path) -> bool:
    return path.name.startswith(".") or "_temp" in path.name or ".tempstate" in path.name


def _reader(path: Path):
    """Returns the function that reads what is compared of a file, or None where nothing is."""
    if path.name in ("evaluation.json", "table_4.csv"):
        return Path.read_bytes
    if path.suffix == ".parquet":
        return lambda file: pq.read_table(file).to_pydict()
    readers = {
        "metrics.jsonl": _untimed,
        "model.weights.h5": _weights,
        "checkpoints": _checkpoint,
    }
    return readers.get(path.name)


def _untimed(path: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [{name: line[name] for name in line if name not in _TIMINGS} for line in lines]


def _weights(path: Path) -> dict[str, np.ndarray]:
    arrays = {}

    def note(name, item):
        if isinstance(item, h5py.Dataset):
            arrays[name] = item[...]

    with h5py.File(path) as file:
        file.visititems(note)
    return arrays


def _checkpoint(folder: Path) -> dict[str, np.ndarray]:
    """Returns all variables of the last checkpoint, the optimizer's too."""
    last = max(folder.glob("ckpt-*.index"), key=lambda path: int(path.stem.removeprefix("ckpt-")))
    reader = tf.train.load_checkpoint(str(last.with_suffix("")))
    return {
        name: reader.get_tensor(name)
        for name in reader.get_variable_to_shape_map()
        if name.endswith("VARIABLE_VALUE")
    }


def _same(one, other) -> bool:
    if not isinstance(one, dict):
        return one == other
    return one.keys() == other.keys() and all(np.array_equal(one[k], other[k]) for k in one)
