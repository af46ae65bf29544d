"""A model's weights in a file of Keras' format, with a digest by which damage to it is noticed."""

import hashlib
import io
import os
from pathlib import Path

import h5py
import keras

from crvae_tf.errors import InputError, reason

_DIGEST = "sha256"


def save(model: keras.Model, path: str | os.PathLike) -> None:
    """Writes the model's weights, without the optimizer's, to a file of any name.

    Raises:
      OSError: the file cannot be written.
    """
    memory = _Memory()
    model.save_weights(memory)
    with h5py.File(memory, "r+") as file:
        file.attrs[_DIGEST] = _digest(file)
    Path(path).write_bytes(memory.getbuffer())


class _Memory(io.BytesIO):
    """What Keras writes to as to a file: where a disk is full, HDF5 may end the process."""

    def __str__(self) -> str:
        return "memory.weights.h5"  # Keras decides the format by the end of the name.


def load(model: keras.Model, path: str | os.PathLike) -> None:
    """Reads weights that `save` wrote, or Keras itself, whose files hold no digest.

    Raises:
      InputError: there is no such file, it is damaged, or its weights are another model's.
    """
    if not os.path.exists(path):
        raise InputError(f"{path}: expected the weights of a finished run; received no such file")
    try:
        damaged = _is_damaged(path)
        if not damaged:
            model.load_weights(str(path))
    except (ValueError, KeyError, OSError, RuntimeError) as error:
        raise InputError(f"{path}: expected weights of this model; received {reason(error)}") from error
    if damaged:
        raise InputError(
            f"{path}: expected the weights that were written; received others: the file is damaged"
        )


def _is_damaged(path: str | os.PathLike) -> bool:
    with h5py.File(path) as file:
        return _DIGEST in file.attrs and file.attrs[_DIGEST] != _digest(file)


def _digest(file: h5py.File) -> str:
    """Returns the SHA-256 of the names and the values of all arrays."""
    digest = hashlib.sha256()

    def add(name, item):
        if isinstance(item, h5py.Dataset):
            digest.update(name.encode() + item[()].tobytes())

    file.visititems(add)
    return digest.hexdigest()
