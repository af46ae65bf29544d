"""The code in docs/python.md: the guide to regularising one's own VAE, and the calls from Python."""

import numpy as np
import pytest

from crvae_tf import load_encoder
from tests.conftest import python_blocks


def test_the_guide_regularises_a_vae_of_the_reader_s_own(digits):
    _, images, _ = next(digits.train.batches(512).as_numpy_iterator())
    (guide,) = python_blocks("docs/python.md", "Regularising your own VAE")
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
    (code,) = python_blocks("docs/python.md", "Data, evaluation and export")
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
