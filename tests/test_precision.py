"""Other arithmetic, the same figures: mixed precision, and steps that XLA compiles."""

import keras
import numpy as np
import pytest

from crvae_tf import CRVAE, VAE, datasets, networks
from crvae_tf.evaluation import evaluate as evaluation
from tests import small_training
from tests.replicas import SHAPE, CalmVAE

pytestmark = pytest.mark.slow

TRAINING = {"epochs": 2, "batch_size": 100, "learning_rate": 1e-3, "steps_per_execution": 10}
SEEDS = range(3)


def mnist_nll(precision, data, directory, seed):
    """Returns the NLL of 500 test images, nats, K = 100, after some epochs of `mlp`."""
    keras.mixed_precision.set_global_policy(precision)
    shape = data.preprocessing.image_shape
    model = CRVAE(VAE(*networks.build("mlp", shape, seed=seed), seed=seed))
    folder = directory / f"{precision}{seed}"
    small_training.train(folder, data, model, seed=seed, schedule="constant", **TRAINING)
    batches = datasets.evaluation_batches(data.test, 50, "dynamic", limit=500)
    of_images = evaluation.image_figures(model, batches, 100, lambda done: None)
    return evaluation.split_figures(model, of_images, nll_samples=100)["nll"]


@pytest.mark.timeout(900)
def test_mixed_bfloat16_and_float32_agree_within_half_a_nat(shared_data_dir, tmp_path):
    data = datasets.load("mnist", shared_data_dir)
    # One seed says nothing: any rounding sends a training elsewhere, and seeds differ by 0.8 nats.
    single, mixed = (
        np.mean([mnist_nll(precision, data, tmp_path, seed) for seed in SEEDS])
        for precision in ("float32", "mixed_bfloat16")
    )
    assert single < 150.0  # 784 fair coins cost 543 nats.
    assert mixed == pytest.approx(single, abs=0.5)


def test_a_step_without_noise_that_xla_compiles_is_the_same(tmp_path):
    lines = {}
    for jit in (False, True):
        model = CRVAE(CalmVAE(*networks.build("mlp", SHAPE, latent_dim=3, width=0.05)))
        data = small_training.noise()
        _, lines[jit] = small_training.train(tmp_path / str(jit), data, model=model, jit=jit)
        assert model.jit_compile == jit
    for name in ("loss", "view_bound", "consistency", "val_loss"):
        received, expected = ([line[name] for line in lines[jit]] for jit in (True, False))
        assert received == pytest.approx(expected, rel=1e-4)
