"""The programs in `examples/` that are Python."""

import runpy

import numpy as np
import tensorflow as tf

import crvae_tf
from crvae_tf import networks
from tests.conftest import ROOT

ESTIMATE = runpy.run_path(str(ROOT / "examples" / "batch_normalization.py"))["estimate"]


def test_statistics_that_were_estimated_are_those_of_the_batches():
    """A batch that was seen often is then normalised as in training, and no weight has moved."""
    base = crvae_tf.VAE(*networks.build("wae", (8, 8, 1), latent_dim=3, width=0.02))
    images = tf.random.stateless_uniform([6, 8, 8, 1], [0, 0])
    before = [v.numpy() for v in base.trainable_variables]
    trained, evaluated = (base.posterior(images, training).mean() for training in (True, False))
    assert np.abs(trained - evaluated).max() > 0.01
    ESTIMATE(crvae_tf.CRVAE(base), [images] * 150)
    np.testing.assert_allclose(base.posterior(images).mean(), trained, rtol=1e-3, atol=1e-4)
    for variable, value in zip(base.trainable_variables, before, strict=True):
        np.testing.assert_array_equal(variable, value)
