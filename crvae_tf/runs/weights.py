"""A model's weights in a file of Keras' format."""

import io
import os
from pathlib import Path

import keras

from crvae_tf.errors import InputError, reason


def save(model: keras.Model, path: str | os.PathLike) -> None:
    """Writes the model's weights, without the optimizer's, to a file of any name."""
    memory = _Memory()
    optimizer = getattr(model, "optimizer", None)
    try:
        model.optimizer = None  # Keras would write its moments too.
        model.save_weights(memory)
    finally:
        model.optimizer = optimizer
    Path(path).write_bytes(memory.getbuffer())


class _Memory(io.BytesIO):
    """What Keras writes to as to a file: where a disk is full, HDF5 may end the process."""

    def __str__(self) -> str:
        return "memory.weights.h5"  # Keras decides the format by the end of the name.


def load(model: keras.Model, path: str | os.PathLike) -> None:
    """Reads weights that `save` or Keras itself wrote.

    Raises:
      InputError: there is no such file, it is damaged, or its weights are another model's.
    """
    if not os.path.exists(path):
        raise InputError(str(path), "the weights of a finished run", "no such file")
    try:
        model.load_weights(str(path))
    except (ValueError, KeyError, OSError, RuntimeError) as error:
        raise InputError(str(path), "weights of this model", reason(error)) from error
