"""Saves and loads a model's weights in Keras' format."""

import io
import os
from pathlib import Path

import keras

from crvae_tf.errors import InputError, reason


def save(model: keras.Model, path: str | os.PathLike) -> None:
    """Writes the model's weights, without the optimizer's, to a file with any name."""
    memory = _Memory()
    optimizer = getattr(model, "optimizer", None)
    try:
        model.optimizer = None  # Keras would write its moments, too.
        model.save_weights(memory)
    finally:
        model.optimizer = optimizer
    Path(path).write_bytes(memory.getbuffer())


class _Memory(io.BytesIO):
    """A file in memory for Keras: on a full disk, HDF5 may end the process."""

    def __str__(self) -> str:
        return "memory.weights.h5"  # Keras takes the format from the suffix.


def load(model: keras.Model, path: str | os.PathLike) -> None:
    """Loads weights that `save` or Keras wrote.

    Raises:
      InputError: the file is missing or damaged, or its weights fit another model.
    """
    if not os.path.exists(path):
        raise InputError(str(path), "the weights of a finished run", "no such file")
    try:
        model.load_weights(str(path))
    except (ValueError, KeyError, OSError, RuntimeError) as error:
        raise InputError(str(path), "weights of this model", reason(error)) from error
