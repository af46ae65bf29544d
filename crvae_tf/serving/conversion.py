"""Converts an exported encoder's `serving_default` to TFLite or ONNX."""

import logging
from os import PathLike
from pathlib import Path

import tensorflow as tf

from crvae_tf.errors import InputError
from crvae_tf.runs import files
from crvae_tf.serving.export import load_encoder

_ONNX_OPSET = 17


def convert(encoder: str | PathLike, path: str | PathLike) -> None:
    """Converts the encoder in the folder `encoder` to the file `path`, `*.tflite` or `*.onnx`.

    Raises:
      InputError: there is no exported encoder, or tf2onnx is not installed.
    """
    image_shape = load_encoder(encoder).image_shape
    with files.whole_file(path) as unfinished:
        if Path(path).suffix == ".onnx":
            _write_onnx(encoder, image_shape, unfinished)
        else:
            converter = tf.lite.TFLiteConverter.from_saved_model(
                str(encoder), signature_keys=["serving_default"]
            )
            unfinished.write_bytes(converter.convert())


def _write_onnx(encoder: str | PathLike, image_shape: tuple[int, int, int], path: Path) -> None:
    try:
        import tf2onnx
    except ImportError as error:
        expected = 'one with tf2onnx: pip install "crvae-tf[onnx]"'
        raise InputError("environment", expected, "one without it") from error
    logging.getLogger("tf2onnx").setLevel(logging.WARNING)
    saved_model = tf.saved_model.load(str(encoder))  # The signatures do not keep it alive.
    images = tf.TensorSpec([None, *image_shape], tf.float32, name="images")
    encode = tf.function(lambda images: saved_model.signatures["serving_default"](images=images))
    tf2onnx.convert.from_function(encode, [images], opset=_ONNX_OPSET, output_path=str(path))
