"""What is exported, used as a user has it: TensorFlow alone, NumPy, `load_encoder`, other formats."""

import json
import math
import re
import subprocess
import sys

import numpy as np
import pytest
import scipy.special
import scipy.stats
import tensorflow as tf

from crvae_tf import (
    VAE,
    InputError,
    RandomAffine,
    datasets,
    evaluate,
    export_decoder,
    export_encoder,
    load_encoder,
    networks,
)
from crvae_tf.datasets import Preprocessing
from crvae_tf.serving.export import convert, load_decoder
from tests.conftest import python_blocks
from tests.image_files import encoded

LATENT_DIM = 5
LARGE = np.random.default_rng(0).integers(256, size=(3, 56, 56, 3)).astype(np.uint8)
"""Colour images of another size than the model's."""

ALONE = """
import sys
import numpy as np
import tensorflow as tf

gray = np.load("gray.npy")
encoder, decoder = tf.saved_model.load("encoder"), tf.saved_model.load("decoder")
embed, embed_bytes = encoder.signatures["serving_default"], encoder.signatures["encode_bytes"]
made = {}
for size in (1, 7, 64):
    batches = [gray[i : i + size] / np.float32(255.0) for i in range(0, 64, size)]
    parts = [embed(images=tf.constant(batch)) for batch in batches]
    for name in ("mean", "stddev"):
        made[f"{name}_{size}"] = np.concatenate([part[name].numpy() for part in parts])
files = tf.stack([tf.io.encode_png(image) for image in gray])
made["mean_of_files"] = embed_bytes(image_bytes=files)["mean"].numpy()
latents = tf.constant(made["mean_64"])
made["decoded"] = decoder.signatures["serving_default"](latents=latents)["images"].numpy()
assert not {"crvae_tf", "tensorflow_probability", "keras_cv"} & set(sys.modules)
np.savez("made.npz", **made)
"""


@pytest.fixture(scope="module")
def gray(digits):
    """The first test images, uint8."""
    return next(digits.test.batches(64).as_numpy_iterator())[1]


@pytest.fixture(scope="module")
def exported(trained, tmp_path_factory):
    """A folder with `encoder` and `decoder`."""
    folder = tmp_path_factory.mktemp("exported")
    export_encoder(trained.model, folder / "encoder", trained.data.preprocessing, "dynamic")
    export_decoder(trained.model, folder / "decoder")
    return folder


@pytest.fixture(scope="module")
def encoder(exported):
    return load_encoder(exported / "encoder")


def test_tensorflow_alone_gives_the_models_posterior_at_every_batch_size_and_decodes(
    exported, trained, gray
):
    np.save(exported / "gray.npy", gray)
    subprocess.run([sys.executable, "-c", ALONE], cwd=exported, check=True)
    made = np.load(exported / "made.npz")
    posterior = trained.model.posterior(tf.constant(gray / np.float32(255.0)))
    for size in (1, 7, 64):
        np.testing.assert_allclose(made[f"mean_{size}"], posterior.mean(), atol=1e-5)
        np.testing.assert_allclose(made[f"stddev_{size}"], posterior.stddev(), atol=1e-5)
    np.testing.assert_allclose(made["mean_of_files"], posterior.mean(), atol=1e-5)
    decoded = trained.model.likelihood(tf.constant(made["mean_64"])).mean()
    np.testing.assert_allclose(made["decoded"], decoded, atol=1e-6)


@pytest.mark.parametrize("likelihood", ["continuous_bernoulli", "gaussian"])
def test_the_mean_of_every_likelihood_is_decoded(tmp_path, likelihood):
    model = VAE(*networks.build("mlp", (8, 8, 3), 2, 0.1), likelihood=likelihood)
    export_decoder(model, tmp_path / "decoder")
    latents = tf.constant([[0.5, -1.0], [3.0, 3.0]])
    decoded = load_decoder(tmp_path / "decoder")(latents)
    np.testing.assert_allclose(decoded, model.likelihood(latents).mean(), atol=1e-6)
    with pytest.raises(InputError, match=r"latents: expected \[N, 2\]; received \[2, 1\]"):
        load_decoder(tmp_path / "decoder")(latents[:, :1])


def test_an_export_takes_the_place_of_the_one_before_unless_it_fails(tmp_path):
    model = VAE(*networks.build("mlp", (8, 8, 1), 2, 0.1))
    export_encoder(model, tmp_path / "encoder", Preprocessing(8, 1), "none")
    first = load_encoder(tmp_path / "encoder")
    export_encoder(model, tmp_path / "encoder", Preprocessing(8, 1, invert=True), "dynamic")
    with pytest.raises(Exception):  # noqa: B017, PT011 - Keras' own, and not the point.
        export_encoder(model, tmp_path / "encoder", Preprocessing(9, 3), "none")
    image = np.random.default_rng(0).integers(256, size=(8, 8, 1)).astype(np.uint8)
    second = load_encoder(tmp_path / "encoder")
    for encoder, served in ((first, image), (second, 255 - image)):
        received = encoder.encode_bytes([encoded(image[..., 0], "PNG")]).mean
        expected = model.posterior(served[np.newaxis] / np.float32(255.0)).mean()
        np.testing.assert_allclose(received, expected, atol=1e-5)
    assert first.note == ""  # It was trained on gray images.
    variables = tf.train.list_variables(str(tmp_path / "encoder" / "variables" / "variables"))
    numbers = sum(math.prod(shape) for name, shape in variables if name.endswith("VARIABLE_VALUE"))
    assert numbers == model.encoder.count_params()  # Nothing of the decoder.
    assert first.fingerprint != second.fingerprint
    assert [path.name for path in tmp_path.iterdir()] == ["encoder"]


def test_nothing_but_a_saved_model_is_replaced(tmp_path):
    model = VAE(*networks.build("mlp", (8, 8, 1), LATENT_DIM, 0.1))
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "work.py").touch()
    for place in (tmp_path / "project", tmp_path / "project" / "work.py"):
        with pytest.raises(InputError, match="path: expected a new folder, or one with a SavedModel"):
            export_encoder(model, place, Preprocessing(8, 1), "none")
        with pytest.raises(InputError, match="path: expected a new folder, or one with a SavedModel"):
            export_decoder(model, place)
    assert [path.name for path in tmp_path.rglob("*")] == ["project", "work.py"]


def test_the_likelihood_computed_outside_from_the_two_models_is_the_evaluations(
    exported, encoder, trained
):
    """Importance sampling in NumPy with samples of its own, on the same binary images."""
    number, samples = 60, 200
    received = evaluate(
        trained.model, trained.data, "dynamic", RandomAffine(), RandomAffine(), samples, number
    )["splits"]["test"]
    batches = datasets.evaluation_batches(trained.data.test, number, "dynamic", limit=number)
    x = next(batches.as_numpy_iterator())[1]
    mean, stddev, *_ = encoder(x)
    z = mean + stddev * np.random.default_rng(0).normal(size=(samples, number, LATENT_DIM))
    p = load_decoder(exported / "decoder")(z.reshape(-1, LATENT_DIM))
    p = np.clip(p.reshape(samples, *x.shape).astype(np.float64), 1e-7, 1.0 - 1e-7)
    normal = scipy.stats.norm.logpdf
    weights = np.where(x == 1.0, np.log(p), np.log1p(-p)).sum(axis=(2, 3, 4))
    weights += normal(z).sum(axis=-1) - normal(z, mean, stddev).sum(axis=-1)
    nll = np.log(samples) - scipy.special.logsumexp(weights, axis=0)
    # The images are the same and only the samples differ, so the two are closer than the error.
    assert received["nll_stderr"] > 0.5
    assert received["nll"] == pytest.approx(nll.mean(), abs=0.5)
    assert received["nll_stderr"] == pytest.approx(nll.std(ddof=1) / np.sqrt(number), rel=0.05)


def test_what_the_encoder_takes_is_said_beside_it(exported, encoder):
    about = json.loads((exported / "encoder" / "about.json").read_text())
    assert about["pixels"] == "float32 in [0, 1]"
    assert "takes the gray image as it is" in encoder.note == about["note"]
    assert (encoder.image_shape, encoder.latent_dim) == ((28, 28, 1), LATENT_DIM)
    assert encoder(np.zeros((0, 28, 28, 1), np.float32)).mean.shape == (0, LATENT_DIM)
    assert encoder.encode_bytes([]).mean.shape == (0, LATENT_DIM)


def test_images_of_another_shape_type_or_range_and_other_bytes_are_refused(encoder, gray):
    images, file = np.zeros((2, 28, 28, 1), np.float32), encoded(gray[0, ..., 0], "PNG")
    for embed, wrong, expected in (
        (encoder, images[..., 0], "float32 [N, 28, 28, 1]; received float32 [2, 28, 28]"),
        (encoder, np.uint8(images), "float32 [N, 28, 28, 1]; received uint8 [2, 28, 28, 1]"),
        (encoder, images + 255.0, "values in [0, 1]; received 255.0 to 255.0"),
        (encoder, images + np.nan, "values in [0, 1]; received nan to nan"),
        (encoder.upright, images[0], "float32 [N, 28, 28, 1]; received float32 [28, 28, 1]"),
        (encoder.encode_pixels, images, "uint8 [N, 28, 28, 1]; received float32 [2, 28, 28, 1]"),
        (encoder.encode_bytes, file, "a list of the contents of image files; received bytes"),
        (encoder.encode_bytes, [file, file[:50]], "the contents of PNG, JPEG, JPEG XL, BMP"),
    ):
        with pytest.raises(InputError, match=re.escape(f": expected {expected}")):
            embed(wrong)


@pytest.mark.parametrize("part", ["", "nowhere", "decoder"])
def test_a_folder_without_an_encoder_is_refused_and_not_converted(exported, part):
    for use in (load_encoder, lambda path: convert(path, path.with_suffix(".tflite"))):
        with pytest.raises(InputError, match="expected an exported encoder; received "):
            use(exported / part)
    assert not list(exported.rglob("*.tflite"))


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A small model with running averages of its own, the folder with its encoder, and that encoder."""
    folder = tmp_path_factory.mktemp("small") / "encoder"
    model = VAE(*networks.build("wae", (28, 28, 1), LATENT_DIM, width=0.05))
    for layer in model.encoder.layers:
        if hasattr(layer, "moving_mean"):
            layer.moving_mean.assign(tf.fill(layer.moving_mean.shape, 0.1))
            layer.moving_variance.assign(tf.fill(layer.moving_variance.shape, 0.3))
    export_encoder(model, folder, Preprocessing(28, 1), "dynamic")
    return model, folder, load_encoder(folder)


def test_batch_normalisation_is_served_with_its_running_averages(small, gray):
    """In training mode an embedding would depend on the other images of its batch."""
    model, _, encoder = small
    images = gray[:4] / np.float32(255.0)
    expected = model.posterior(tf.constant(images), training=False).mean()
    np.testing.assert_allclose(encoder(images).mean, expected, atol=1e-5)
    np.testing.assert_allclose(encoder(images[:1]).mean, expected[:1], atol=1e-5)


def test_the_code_of_the_page_serves_what_load_encoder_does(small, gray, tmp_path):
    _, folder, encoder = small
    files = [encoded(image, "PNG") for image in LARGE]
    for number, data in enumerate(files):
        (tmp_path / f"{number}.png").write_bytes(data)
    code = "\n".join(python_blocks("docs/serving.md", "In Python"))
    code = code.replace("runs/digits/encoder", str(folder)).replace("images/", f"{tmp_path}/")
    served = {}
    exec(code, served)
    images = gray[:7] / np.float32(255.0)
    mean, stddev, *_ = encoder(images)
    outputs = served["embed"](images=images)
    assert set(outputs) == {"mean", "stddev"}
    np.testing.assert_allclose(outputs["stddev"], stddev, rtol=1e-5)
    np.testing.assert_array_equal(served["content"], encoder.encode_bytes(files[:1]).content)
    embedded = np.concatenate(list(served["embedded"].as_numpy_iterator()))
    np.testing.assert_allclose(embedded, encoder.encode_bytes(files).mean, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(served["layer"](images)["mean"], mean, rtol=1e-5, atol=1e-6)
    assert len(served["classifier"].trainable_weights) == 2
    weights, bias = served["classifier"].layers[-1].get_weights()
    classified = served["classifier"](images)
    np.testing.assert_allclose(classified, mean @ weights + bias, rtol=1e-4, atol=1e-5)


def run_tflite(path, images):
    return tf.lite.Interpreter(str(path)).get_signature_runner("serving_default")(images=images)


def run_onnx(path, images):
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path))
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {"images": images}), strict=True))


@pytest.mark.parametrize(("suffix", "run"), [(".tflite", run_tflite), (".onnx", run_onnx)])
def test_other_formats_agree_with_the_saved_model(small, gray, suffix, run):
    _, folder, encoder = small
    images = gray[:7] / np.float32(255.0)
    if run is run_onnx:
        for module in ("tf2onnx", "onnxruntime"):
            pytest.importorskip(module, reason="the extra onnx is not installed")
    convert(folder, folder.with_suffix(suffix))
    embedded = run(folder.with_suffix(suffix), images)
    for name in ("mean", "stddev"):
        np.testing.assert_allclose(embedded[name], getattr(encoder(images), name), atol=1e-4)
