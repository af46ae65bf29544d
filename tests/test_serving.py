"""The encoder as docs/serving.md serves it, and in other formats."""

import numpy as np
import pytest
import tensorflow as tf

import crvae_tf
from crvae_tf import InputError, networks
from crvae_tf.datasets import Preprocessing
from crvae_tf.serving import export
from tests.conftest import python_blocks
from tests.image_files import blocks, encoded


@pytest.fixture(scope="module", params=["mlp", "wae"])
def encoder_path(request, tmp_path_factory):
    pair = networks.build(request.param, (28, 28, 1), 5, width=0.05)
    path = tmp_path_factory.mktemp(request.param) / "encoder"
    crvae_tf.export_encoder(crvae_tf.VAE(*pair), path, Preprocessing(28, 1), "dynamic")
    return path


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).uniform(size=(7, 28, 28, 1)).astype(np.float32)


def test_the_code_of_the_page_serves_what_load_encoder_does(encoder_path, images, tmp_path):
    files = [encoded(blocks(seed, 3), "PNG") for seed in range(5)]
    for number, data in enumerate(files):
        (tmp_path / f"{number}.png").write_bytes(data)
    code = "\n".join(python_blocks("docs/serving.md", "In Python"))
    code = code.replace("runs/digits/encoder", str(encoder_path)).replace("images/*", f"{tmp_path}/*")
    served = {}
    exec(code, served)
    expected = crvae_tf.load_encoder(encoder_path)
    np.testing.assert_allclose(
        served["embed"](images=images)["stddev"], expected(images).stddev, rtol=1e-5
    )
    embedded = np.concatenate(list(served["embedded"].as_numpy_iterator()))
    np.testing.assert_allclose(embedded, expected.encode_bytes(files).mean, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(
        served["layer"](images)["mean"], expected(images).mean, rtol=1e-5, atol=1e-6
    )
    weights, bias = served["classifier"].layers[-1].get_weights()
    np.testing.assert_allclose(
        served["classifier"](images), expected(images).mean @ weights + bias, rtol=1e-4, atol=1e-5
    )


def test_tflite_agrees_with_the_saved_model(encoder_path, images):
    path = encoder_path.with_suffix(".tflite")
    export.convert(encoder_path, path)
    interpreter = tf.lite.Interpreter(str(path))
    embedded = interpreter.get_signature_runner("serving_default")(images=images)
    expected = crvae_tf.load_encoder(encoder_path)(images)
    np.testing.assert_allclose(embedded["mean"], expected.mean, atol=1e-4)
    np.testing.assert_allclose(embedded["stddev"], expected.stddev, atol=1e-4)


def test_onnx_agrees_with_the_saved_model(encoder_path, images):
    pytest.importorskip("tf2onnx", reason="the extra onnx is not installed")
    onnxruntime = pytest.importorskip("onnxruntime", reason="the extra onnx is not installed")
    path = encoder_path.with_suffix(".onnx")
    export.convert(encoder_path, path)
    session = onnxruntime.InferenceSession(str(path))
    names = [output.name for output in session.get_outputs()]
    embedded = dict(zip(names, session.run(None, {"images": images}), strict=True))
    expected = crvae_tf.load_encoder(encoder_path)(images)
    np.testing.assert_allclose(embedded["mean"], expected.mean, atol=1e-4)
    np.testing.assert_allclose(embedded["stddev"], expected.stddev, atol=1e-4)


def test_what_is_no_encoder_is_not_converted(tmp_path):
    with pytest.raises(InputError, match="expected an exported encoder"):
        export.convert(tmp_path / "encoder", tmp_path / "encoder.tflite")
    assert not list(tmp_path.iterdir())
