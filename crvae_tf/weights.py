"""A model's weights in a file of Keras' format, with a digest by which damage to it is noticed."""

import hashlib
import os
import re

import h5py
import keras

from crvae_tf.errors import InputError, reason

_SUFFIX = ".weights.h5"
"""Keras decides the format by the end of the name."""
_DIGEST = "sha256"


def save(model: keras.Model, path: str | os.PathLike) -> None:
    """Writes the model's weights, without the optimizer's, to a file of any name.

    Raises:
      OSError: the file cannot be written.
    """
    target = f"{path}{_SUFFIX}" if not str(path).endswith(_SUFFIX) else str(path)
    try:
        model.save_weights(target)
        with h5py.File(target, "r+") as file:
            file.attrs[_DIGEST] = _digest(file)
    except RuntimeError as error:  # HDF5's own, where the disk is full.
        number = re.search(r"errno = (\d+)", str(error))
        if number is None:
            raise
        raise OSError(int(number[1]), os.strerror(int(number[1])), str(path)) from error
    if target != str(path):
        os.replace(target, path)


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
