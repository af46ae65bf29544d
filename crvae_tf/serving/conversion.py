"""An exported encoder as TFLite or ONNX, for programs without TensorFlow.

Either has what `serving_default` has.
"""

import logging
from os import PathLike
from pathlib import Path

import tensorflow as tf

from crvae_tf.errors import InputError
from crvae_tf.runs import files
from crvae_tf.serving.export import load_encoder

_ONNX_OPSET = 17


def to_tflite(encoder: str | PathLike, path: str | PathLike) -> None:
    """Writes the exported encoder in the folder `encoder` as a TFLite file.

    Raises:
      InputError: there is no exported encoder.
    """
    load_encoder(encoder)
    converter = tf.lite.TFLiteConverter.from_saved_model(
        str(encoder), signature_keys=["serving_default"]
    )
    with files.whole_file(path) as unfinished:
        unfinished.write_bytes(converter.convert())


def to_onnx(encoder: str | PathLike, path: str | PathLike) -> None:
    """Writes the exported encoder in the folder `encoder` as an ONNX file.

    Raises:
      InputError: there is no exported encoder, or tf2onnx is not installed.
    """
    try:
        import tf2onnx
    except ImportError as error:
        expected = 'one with tf2onnx: pip install "crvae-tf[onnx]"'
        raise InputError("environment", expected, "one without it") from error
    logging.getLogger("tf2onnx").setLevel(logging.WARNING)
    image_shape = load_encoder(encoder).image_shape
    saved_model = tf.saved_model.load(str(encoder))
    images = tf.TensorSpec([None, *image_shape], tf.float32, name="images")
    with files.whole_file(path) as unfinished:
        tf2onnx.convert.from_function(
            tf.function(lambda images: saved_model.signatures["serving_default"](images=images)),
            input_signature=[images],
            opset=_ONNX_OPSET,
            output_path=str(unfinished),
        )


CONVERSIONS = {"tflite": to_tflite, "onnx": to_onnx}


def convert(encoder: str | PathLike, path: str | PathLike) -> None:
    """Writes the exported encoder in the folder `encoder` in the format of the suffix of `path`.

    Args:
      encoder: the folder.
      path: of the file; its suffix is a dot and a name in `CONVERSIONS`.

    Raises:
      InputError: there is no exported encoder, or what converts it is not installed.
    """
    CONVERSIONS[Path(path).suffix[1:]](encoder, path)
