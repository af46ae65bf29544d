"""The guide in README.md to regularising one's own VAE."""

import numpy as np

from tests.documents import python_blocks


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


def test_the_guide_has_about_twenty_lines_of_code():
    (guide,) = python_blocks("README.md", "Regularising your own VAE")
    lines = [line for line in guide.splitlines() if line and not line.startswith(("import", "from"))]
    assert len(lines) <= 22
