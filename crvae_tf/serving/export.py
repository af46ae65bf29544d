"""Exports encoder and decoder as SavedModels, loads them, and converts encoders to TFLite and ONNX.

Using a SavedModel needs only TensorFlow. SavedModels are code: load only those that you trust.
"""

import contextlib
import dataclasses
import hashlib
import logging
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from crvae_tf.datasets.preprocessing import Preprocessing, to_unit_interval
from crvae_tf.errors import InputError
from crvae_tf.runs import files
from crvae_tf.runs.files import DAMAGED_VARIABLES

_ABOUT = "about.json"
_ONNX_OPSET = 17
_GRAY_NOTE = (
    "Trained on images whose pixels were drawn 0 or 1 with the gray value as probability; served, it "
    "takes the gray image as it is, so that an embedding is deterministic."
)


class Embeddings(NamedTuple):
    """Posteriors of images, diagonal Gaussians: `mean` and `stddev`, float32 `[images, latent_dim]`.

    `content`, float32 `[images, content_dim]`, is the embedding: `mean` unless networks are registered.
    Only these have a `pose`, float32 `[images, 4]`: pixels right, pixels down, degrees, factor.
    """

    mean: np.ndarray
    stddev: np.ndarray
    content: np.ndarray
    pose: np.ndarray | None = None


def export_encoder(
    model: keras.Model,
    path: str | PathLike,
    preprocessing: Preprocessing,
    binarization: str,
    portable: bool = False,
) -> None:
    """Writes the encoder as a SavedModel with two signatures, in place of a SavedModel at `path`.

    `serving_default(images)` takes float32 `[N, H, W, C]` in [0, 1]; `encode_bytes(image_bytes)` takes
    string `[N]`, the contents of image files, and preprocesses them as in training. docs/serving.md has
    the outputs; `about.json` describes the input. The model has `posterior(images)` and `prior`, and
    may have a `pose`. Preprocessing and binarization are those of its training. A `portable` encoder of
    registered networks has only operations that TFLite and ONNX have, and is slower.
    """
    from crvae_tf import poses  # It imports TFP and KerasCV, which loading an encoder does without.

    pose = getattr(model, "pose", None)

    def encode(images):
        posterior = model.posterior(images)
        mean = posterior.mean()
        outputs = {"mean": mean, "stddev": posterior.stddev()}
        if pose:
            outputs["content"] = mean[:, : -pose.dim]
            outputs["pose"] = tf.stack(pose.of_mean(mean), axis=-1)
            outputs["upright"] = pose.upright(images, mean)
        return outputs

    def encode_bytes(image_bytes):
        spec = tf.TensorSpec(preprocessing.image_shape, tf.uint8)
        images = tf.map_fn(preprocessing.decode, image_bytes, fn_output_signature=spec)
        return encode(to_unit_interval(images))

    images = tf.TensorSpec([None, *preprocessing.image_shape], tf.float32, name="images")
    image_bytes = tf.TensorSpec([None], tf.string, name="image_bytes")
    about = {
        "image_shape": list(preprocessing.image_shape),
        "latent_dim": int(model.prior.event_shape[-1]),
        "pixels": "float32 in [0, 1]",
        "preprocessing": dataclasses.asdict(preprocessing),
        "portable": portable or not pose,
        "note": "" if binarization == "none" else _GRAY_NOTE,
    }
    tracing = contextlib.nullcontext() if portable else poses.serving()
    with _model_folder(path) as folder, tracing:
        _write(folder, serving_default=(encode, images), encode_bytes=(encode_bytes, image_bytes))
        files.write_json(folder / _ABOUT, about)


def export_decoder(model: keras.Model, path: str | PathLike) -> None:
    """Writes the decoder as a SavedModel, in place of a SavedModel at `path`.

    `serving_default(latents)` takes float32 `[N, latent_dim]` and returns `images`, the likelihood's
    mean, float32 `[N, H, W, C]` in [0, 1].
    """
    from crvae_tf import poses  # As above.

    def decode(latents):
        return {"images": model.likelihood(latents).mean()}

    latents = tf.TensorSpec([None, model.prior.event_shape[-1]], tf.float32, name="latents")
    with _model_folder(path) as folder, poses.serving():
        _write(folder, serving_default=(decode, latents))


def _model_folder(path: str | PathLike) -> contextlib.AbstractContextManager[Path]:
    """Returns `files.whole_folder`; raises InputError if anything but a SavedModel is at `path`."""
    path = Path(path).absolute()
    is_free = not path.exists() or (path.is_dir() and not any(path.iterdir()))
    if not (is_free or (path / "saved_model.pb").exists()):
        raise InputError("path", "a new folder, or one with a SavedModel", path)
    return files.whole_folder(path)


def _write(folder: Path, **endpoints: tuple) -> None:
    """Writes a SavedModel with the variables that the endpoints use."""
    archive = keras.export.ExportArchive()
    for name, (function, spec) in endpoints.items():
        archive.add_endpoint(name, function, input_signature=[spec])
    archive.write_out(str(folder), verbose=False)


def convert(encoder: str | PathLike, path: str | PathLike) -> None:
    """Converts the encoder in the folder `encoder` to the file `path`, `*.tflite` or `*.onnx`.

    Raises InputError if there is no exported encoder, or one of registered networks that is not
    `portable` (see `export_encoder`), or if tf2onnx is not installed.
    """
    loaded = load_encoder(encoder)
    if not loaded.portable:
        raise InputError(str(encoder), "an encoder exported with portable=True", "another")
    with files.whole_file(path) as unfinished:
        if Path(path).suffix == ".onnx":
            _write_onnx(loaded, unfinished)
        else:
            signatures = ["serving_default"]
            converter = tf.lite.TFLiteConverter.from_saved_model(str(encoder), signatures)
            unfinished.write_bytes(converter.convert())


def _write_onnx(encoder: "Encoder", path: Path) -> None:
    try:
        import tf2onnx
    except ImportError as error:
        expected = 'one with tf2onnx: pip install "crvae-tf[onnx]"'
        raise InputError("environment", expected, "one without it") from error
    logging.getLogger("tf2onnx").setLevel(logging.WARNING)
    images = tf.TensorSpec([None, *encoder.image_shape], tf.float32, name="images")
    encode = tf.function(lambda images: encoder.signatures["serving_default"](images=images))
    tf2onnx.convert.from_function(encode, [images], opset=_ONNX_OPSET, output_path=str(path))


def load_encoder(path: str | PathLike) -> "Encoder":
    """Loads an encoder that `export_encoder` wrote; raises InputError if there is none at `path`."""
    return _loaded(Encoder, path, "an exported encoder")


def load_decoder(path: str | PathLike) -> "Decoder":
    """Loads a decoder that `export_decoder` wrote; raises InputError if there is none at `path`."""
    return _loaded(Decoder, path, "an exported decoder")


def _loaded(kind: type, path: str | PathLike, expected: str):
    try:
        return kind(Path(path))
    except (OSError, ValueError, KeyError, TypeError, *DAMAGED_VARIABLES) as error:
        raise InputError(str(path), expected, "a folder without one") from error


def _fingerprint(path: Path) -> str:
    """Returns a number of an encoder's description and weights, in whatever order they are stored."""
    stored = tf.train.load_checkpoint(str(path / "variables" / "variables"))
    values = map(stored.get_tensor, stored.get_variable_to_shape_map())
    arrays = [value.tobytes() for value in values if isinstance(value, np.ndarray)]
    digests = sorted({hashlib.sha256(array).digest() for array in arrays})
    return hashlib.sha256(b"".join([(path / _ABOUT).read_bytes(), *digests])).hexdigest()


class Decoder:
    """An exported decoder of latents `[N, latent_dim]`; see `load_decoder`."""

    def __init__(self, path: Path):
        self._saved_model = tf.saved_model.load(str(path))  # The signatures do not keep it alive.
        self._decode = self._saved_model.signatures["serving_default"]
        self.latent_dim = self._decode.structured_input_signature[1]["latents"].shape[-1]

    def __call__(self, latents: np.ndarray) -> np.ndarray:
        """Returns images, float32 `[N, H, W, C]` in [0, 1], for latents `[N, latent_dim]`.

        Raises InputError if the latents have another shape.
        """
        latents = tf.constant(latents, tf.float32)
        if latents.shape[1:] != [self.latent_dim]:
            raise InputError("latents", f"[N, {self.latent_dim}]", list(latents.shape))
        return self._decode(latents=latents)["images"].numpy()


class Encoder:
    """An exported encoder that checks its inputs; see `load_encoder`.

    It has the `image_shape` (H, W, C), the `latent_dim`, the `preprocessing` of `encode_bytes`, a
    `note` on its input, which may be empty, a `fingerprint`, which changes with the weights and with
    the input's description, the SavedModel's `signatures`, and `nothing`, the embeddings of no images.
    It is `portable` if it can be converted.
    """

    def __init__(self, path: Path):
        about = files.read_json(path / _ABOUT)
        self.image_shape = tuple(about["image_shape"])
        self.latent_dim = about["latent_dim"]
        self.preprocessing = Preprocessing(**about["preprocessing"])
        self.note = about["note"]
        self.portable = about.get("portable", True)
        self.fingerprint = _fingerprint(path)
        self._saved_model = tf.saved_model.load(str(path))  # The signatures do not keep it alive.
        self.signatures = self._saved_model.signatures
        # Convolutions of no images may have a wrong shape.
        first = self.encode_pixels(np.zeros([1, *self.image_shape], np.uint8))
        self.nothing = Embeddings(*(None if rows is None else rows[:0] for rows in first))

    def __call__(self, images: np.ndarray) -> Embeddings:
        """Embeds images, float32 `[N, H, W, C]` in [0, 1]; raises InputError if they are others."""
        images = self._checked(images, np.float32)
        if not np.all((images >= 0.0) & (images <= 1.0)):
            raise InputError("images", "values in [0, 1]", f"{images.min()} to {images.max()}")
        return self._embeddings("serving_default", images=tf.constant(images))

    def upright(self, images: np.ndarray) -> np.ndarray | None:
        """Returns images `[N, H, W, C]` brought upright; None without registered networks."""
        images = self._checked(images, np.float32)
        outputs = self.signatures["serving_default"](images=tf.constant(images))
        return outputs["upright"].numpy() if "upright" in outputs else None

    def encode_pixels(self, images: np.ndarray) -> Embeddings:
        """Embeds preprocessed images, uint8 `[N, H, W, C]`; raises InputError if they are others."""
        images = to_unit_interval(self._checked(images, np.uint8))
        return self._embeddings("serving_default", images=images)

    def encode_bytes(self, image_bytes: Sequence[bytes]) -> Embeddings:
        """Embeds image files, given their contents; raises InputError if one cannot be decoded."""
        if isinstance(image_bytes, bytes):
            raise InputError("image_bytes", "a list of the contents of image files", "bytes")
        try:
            contents = tf.constant(list(image_bytes), tf.string)
            return self._embeddings("encode_bytes", image_bytes=contents)
        except tf.errors.InvalidArgumentError as error:
            expected = "the contents of PNG, JPEG, JPEG XL, BMP, GIF or WebP files"
            raise InputError("image_bytes", expected, "other bytes") from error

    def _checked(self, images: np.ndarray, dtype: type) -> np.ndarray:
        images = np.asarray(images)
        if images.dtype != dtype or images.shape[1:] != self.image_shape:
            expected = f"{np.dtype(dtype)} [N, {', '.join(map(str, self.image_shape))}]"
            raise InputError("images", expected, f"{images.dtype} {list(images.shape)}")
        return images

    def _embeddings(self, signature: str, **inputs: tf.Tensor) -> Embeddings:
        outputs = self.signatures[signature](**inputs)
        arrays = {name: outputs[name].numpy() for name in Embeddings._fields if name in outputs}
        return Embeddings(**{"content": arrays["mean"]} | arrays)
