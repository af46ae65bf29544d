"""The encoder and the decoder as SavedModels, and loading the encoder.

What is exported needs TensorFlow alone. A SavedModel is code: load only those that you trust.
"""

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from crvae_tf.datasets.preprocessing import Preprocessing, to_unit_interval
from crvae_tf.errors import InputError
from crvae_tf.poses import Pose
from crvae_tf.runs import files
from crvae_tf.runs.files import DAMAGED_VARIABLES

_ABOUT = "about.json"
_GRAY_NOTE = (
    "Trained on images whose pixels were drawn 0 or 1 with the gray value as probability; served, it "
    "takes the gray image as it is, so that an embedding is deterministic."
)


class Embeddings(NamedTuple):
    """Posteriors of images: diagonal Gaussians."""

    mean: np.ndarray
    """float32 `[images, latent_dim]`."""
    stddev: np.ndarray
    """float32 `[images, latent_dim]`."""
    content: np.ndarray
    """float32 `[images, content_dim]`: the embedding; `mean` unless the networks are registered."""
    pose: np.ndarray | None = None
    """float32 `[images, 4]` of registered networks: pixels right, pixels down, degrees, factor."""


def export_encoder(
    model: keras.Model, path: str | PathLike, preprocessing: Preprocessing, binarization: str
) -> None:
    """Writes the encoder as a SavedModel with two signatures, in place of what was at `path`.

    `serving_default(images)` takes float32 `[N, H, W, C]` in [0, 1]; `encode_bytes(image_bytes)` takes
    string `[N]`, the contents of image files of any size, and preprocesses them as in
    training. Both return `mean` and `stddev`, float32 `[N, latent_dim]`. With registered networks they
    also return `content`, the first dimensions of `mean`; `pose`, float32 `[N, 4]`: pixels to the right
    and down, degrees counter-clockwise, factor; and `upright`, the images brought upright. `about.json`
    beside them says what the encoder takes.

    Args:
      model: offers `posterior(images)` and `prior`, and may have a `pose`.
      path: of the folder.
      preprocessing: the training data's.
      binarization: the training's.
    """

    latent_dim, pose = int(model.prior.event_shape[-1]), getattr(model, "pose", None)

    def encode(images):
        posterior = model.posterior(images)
        outputs = {"mean": posterior.mean(), "stddev": posterior.stddev()}
        return outputs | (_registered(pose, images, posterior) if pose else {})

    def encode_bytes(image_bytes):
        spec = tf.TensorSpec(preprocessing.image_shape, tf.uint8)
        images = tf.map_fn(preprocessing.decode, image_bytes, fn_output_signature=spec)
        return encode(to_unit_interval(images))

    images = tf.TensorSpec([None, *preprocessing.image_shape], tf.float32, name="images")
    image_bytes = tf.TensorSpec([None], tf.string, name="image_bytes")
    about = {
        "image_shape": list(preprocessing.image_shape),
        "latent_dim": latent_dim,
        "content_dim": latent_dim - (pose.dim if pose else 0),
        "pixels": "float32 in [0, 1]",
        "preprocessing": dataclasses.asdict(preprocessing),
        "note": "" if binarization == "none" else _GRAY_NOTE,
    }
    with files.whole_folder(path) as folder:
        _write(
            model,
            folder,
            {"serving_default": (encode, images), "encode_bytes": (encode_bytes, image_bytes)},
        )
        files.write_json(folder / _ABOUT, about)


def _registered(pose: Pose, images: tf.Tensor, posterior) -> dict[str, tf.Tensor]:
    mean = posterior.mean()
    return {
        "content": mean[:, : -pose.dim],
        "pose": tf.stack(pose.of_mean(mean), axis=-1),
        "upright": pose.upright(images, mean),
    }


def export_decoder(model: keras.Model, path: str | PathLike) -> None:
    """Writes the decoder as a SavedModel, in place of what was at `path`.

    `serving_default(latents)` takes float32 `[N, latent_dim]` and returns `images`, the likelihood's
    mean, float32 `[N, H, W, C]` in [0, 1].
    """

    def decode(latents):
        return {"images": model.likelihood(latents).mean()}

    latents = tf.TensorSpec([None, model.prior.event_shape[-1]], tf.float32, name="latents")
    with files.whole_folder(path) as folder:
        _write(model, folder, {"serving_default": (decode, latents)})


def load_encoder(path: str | PathLike) -> "Encoder":
    """Loads an encoder that `export_encoder` wrote.

    Raises:
      InputError: there is none at `path`.
    """
    path = Path(path)
    try:
        about = files.read_json(path / _ABOUT)
        saved_model = tf.saved_model.load(str(path))
        _check_about(about, saved_model.signatures["serving_default"])
        return Encoder(saved_model, about, _fingerprint(path))
    except (OSError, ValueError, KeyError, TypeError, *DAMAGED_VARIABLES) as error:
        raise InputError(str(path), "an exported encoder", "a folder without one") from error


def _check_about(about: dict, signature: Callable) -> None:
    """Raises ValueError where an encoder says of itself what its signature does not."""
    shape = signature.structured_input_signature[1]["images"].shape[1:].as_list()
    outputs = {name: output.shape[-1] for name, output in signature.structured_outputs.items()}
    preprocessing = Preprocessing(**about["preprocessing"])
    told = [about["image_shape"], list(preprocessing.image_shape), about["latent_dim"]]
    found = [shape, shape, outputs["mean"]]
    told.append(about.get("content_dim", about["latent_dim"]))
    found.append(outputs.get("content", outputs["mean"]))
    if told != found or (preprocessing.crop is not None and preprocessing.crop < 1):
        raise ValueError(f"expected {found}; received {told}")


def load_decoder(path: str | PathLike) -> "Decoder":
    """Loads a decoder that `export_decoder` wrote.

    Raises:
      InputError: there is none at `path`.
    """
    try:
        return Decoder(tf.saved_model.load(str(path)))
    except (OSError, ValueError, KeyError, AttributeError, *DAMAGED_VARIABLES) as error:
        raise InputError(str(path), "an exported decoder", "a folder without one") from error


class Decoder:
    """An exported decoder.

    Attributes:
      latent_dim: of the latents it takes.
    """

    def __init__(self, saved_model):
        self._saved_model = saved_model  # The signatures do not keep it alive.
        self._decode = saved_model.signatures["serving_default"]
        self.latent_dim = self._decode.structured_input_signature[1]["latents"].shape[-1]

    def __call__(self, latents: np.ndarray) -> np.ndarray:
        """Returns images, float32 `[N, H, W, C]` in [0, 1], for latents, float32 `[N, latent_dim]`."""
        return self._decode(latents=tf.constant(latents, tf.float32))["images"].numpy()


class Encoder:
    """An exported encoder, with its inputs checked.

    Attributes:
      image_shape: (H, W, C) of the images it takes.
      latent_dim: of the means.
      content_dim: of the embeddings; less than `latent_dim` where the model has a pose.
      preprocessing: what `encode_bytes` does to a decoded file.
      note: what to know of its input; may be empty.
      fingerprint: changes when the encoder does.
    """

    def __init__(self, saved_model, about: dict, fingerprint: str):
        self.image_shape = tuple(about["image_shape"])
        self.latent_dim = about["latent_dim"]
        self.content_dim = about.get("content_dim", self.latent_dim)
        self.preprocessing = Preprocessing(**about["preprocessing"])
        self.note = about["note"]
        self.fingerprint = fingerprint
        self._saved_model = saved_model  # The signatures do not keep it alive.
        self._encode = saved_model.signatures["serving_default"]
        self._encode_bytes = saved_model.signatures["encode_bytes"]
        self._encode_pixels = tf.function(
            lambda images: self._encode(images=to_unit_interval(images)), autograph=False
        ).get_concrete_function(tf.TensorSpec([None, *self.image_shape], tf.uint8))
        self._encode_pixels(tf.zeros([1, *self.image_shape], tf.uint8))  # The first call is slow.

    def __call__(self, images: np.ndarray) -> Embeddings:
        """Embeds images, float32 `[N, H, W, C]` in [0, 1].

        Raises:
          InputError: their size, type or values are others.
        """
        images = np.asarray(images)
        if images.dtype != np.float32 or images.shape[1:] != self.image_shape:
            shape = ", ".join(map(str, self.image_shape))
            received = f"{images.dtype} {list(images.shape)}"
            raise InputError("images", f"float32 [N, {shape}]", received)
        if not np.all((images >= 0.0) & (images <= 1.0)):
            raise InputError("images", "values in [0, 1]", f"{images.min()} to {images.max()}")
        return _embeddings(self._encode(images=tf.constant(images)))

    def encode_pixels(self, images: np.ndarray) -> Embeddings:
        """Embeds images, uint8 `[N, H, W, C]`, as `preprocessing` returns them."""
        return _embeddings(self._encode_pixels(tf.constant(images)))

    def encode_bytes(self, image_bytes: Sequence[bytes]) -> Embeddings:
        """Embeds image files, given as their contents.

        Raises:
          InputError: one of them cannot be decoded.
        """
        try:
            return _embeddings(
                self._encode_bytes(image_bytes=tf.constant(list(image_bytes), tf.string))
            )
        except tf.errors.InvalidArgumentError as error:
            expected = "the contents of PNG, JPEG, BMP, GIF or WebP files"
            raise InputError("image_bytes", expected, "others") from error


def _embeddings(outputs: dict[str, tf.Tensor]) -> Embeddings:
    mean = outputs["mean"].numpy()
    stddev = outputs["stddev"].numpy()
    if "content" not in outputs:
        return Embeddings(mean, stddev, mean)
    return Embeddings(mean, stddev, outputs["content"].numpy(), outputs["pose"].numpy())


def _fingerprint(path: Path) -> str:
    """Returns a hash of the weights and of what else `export_encoder` wrote down."""
    digest = hashlib.sha256()
    for file in sorted([path / _ABOUT, *(path / "variables").glob("*.data-*")]):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _write(model: keras.Model, folder: Path, endpoints: dict) -> None:
    archive = keras.export.ExportArchive()
    archive.track(model)
    for name, (function, spec) in endpoints.items():
        archive.add_endpoint(name, function, input_signature=[spec])
    archive.write_out(str(folder), verbose=False)
