"""The code that users read: README.md's, and the programs in `examples/`."""

import runpy

import numpy as np
import pytest
import tensorflow as tf

import crvae_tf
from crvae_tf import load_encoder, networks
from tests.conftest import ROOT, python_blocks


def test_the_guide_regularises_a_vae_of_the_reader_s_own(digits):
    _, images, _ = next(digits.train.batches(512).as_numpy_iterator())
    (guide,) = python_blocks("README.md", "Regularising your own VAE")
    reader = {"images": images.astype(np.float32) / 255.0}
    exec(guide, reader)
    history = reader["model"].history.history
    assert history["loss"][-1] < 0.6 * history["loss"][0]
    np.testing.assert_allclose(
        history["loss"],
        0.1 * np.array(history["consistency"])
        - np.array(history["bound"])
        - np.array(history["view_bound"]),
        rtol=1e-4,
    )
    assert min(history["consistency"]) > 0.0


def test_the_calls_from_python_evaluate_and_export(tmp_path, monkeypatch):
    (code,) = python_blocks("README.md", "From Python")
    monkeypatch.chdir(tmp_path)
    reader = {}
    exec(code, reader)
    test = reader["figures"]["splits"]["test"]
    assert (test["num_images"], test["nll_samples"]) == (100, 100)
    # What has not learned anything finds either value of a pixel about as likely.
    assert test["nll"] == pytest.approx(784 * np.log(2.0), rel=0.05)
    assert set(reader["figures"]) == {"splits", "consistency", "probe"}
    assert load_encoder(tmp_path / "encoder").latent_dim == 50
    assert (tmp_path / "decoder" / "saved_model.pb").exists()


def test_statistics_of_batch_normalisation_that_were_estimated_are_those_of_the_batches():
    """A batch that was seen often is then normalised as in training, and no weight has moved."""
    base = crvae_tf.VAE(*networks.build("wae", (8, 8, 1), latent_dim=3, width=0.02))
    images = tf.random.stateless_uniform([6, 8, 8, 1], [0, 0])
    before = [v.numpy() for v in base.trainable_variables]
    trained, evaluated = (base.posterior(images, training).mean() for training in (True, False))
    assert np.abs(trained - evaluated).max() > 0.01
    estimate = runpy.run_path(str(ROOT / "examples" / "batch_normalization.py"))["estimate"]
    estimate(crvae_tf.CRVAE(base), [images] * 150)
    np.testing.assert_allclose(base.posterior(images).mean(), trained, rtol=1e-3, atol=1e-4)
    for variable, value in zip(base.trainable_variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)
