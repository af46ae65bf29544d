"""Every shipped flagfile parses, resolves to what its header says, and builds."""

import types

import pytest

from crvae_tf import CRVAE
from crvae_tf.datasets import Preprocessing
from launch import assembly
from tests.command_line import forgotten_flags, resolved  # noqa: F401 - the first is a fixture.
from tests.conftest import ROOT

FILES = {path.name: path for path in (*ROOT.glob("*.flags"), *ROOT.glob("flagfiles/*.flags"))}
FLAGFILES = sorted(FILES)
PAPER = {
    "model": "vae",
    "beta": 1.0,
    "lambda": 1.0,
    "eta": 0.1,
    "kl_direction": "forward",
    "network": "wae",
    "width": 1.0,
    "latent_dim": 50,
    "epochs": 100,
    "batch_size": 64,
    "learning_rate": 1e-4,
    "rotation": 15.0,
    "scaling": 0.1,
    "test_rotation": 30.0,
    "test_scaling": 0.25,
    "nll_samples": 1000,
    "eval_images": None,
    "validation_images": 0,
    "precision": "float32",
    "seed": 0,
}
INK = {"image_size": 28, "channels": 1, "binarization": "dynamic", "likelihood": "bernoulli"}
COLOUR = {"image_size": 64, "channels": 3, "binarization": "none", "likelihood": "gaussian"}
MOVES_OF_28 = {"translation": 2.0, "test_translation": 4.0}
MOVES_OF_64 = {"translation": 2.0 * 64 / 28, "test_translation": 4.0 * 64 / 28}
EXPECTED = {
    "mnist.flags": PAPER | INK | MOVES_OF_28 | {"dataset": "mnist"},
    "mnist_mlp.flags": PAPER | INK | MOVES_OF_28 | {"dataset": "mnist", "network": "mlp"},
    "mnist_wae.flags": PAPER
    | INK
    | MOVES_OF_28
    | {"dataset": "mnist", "width": 0.125, "epochs": 36, "batch_size": 128, "learning_rate": 1e-3}
    | {"precision": "mixed_bfloat16", "eval_images": 1000},
    "mnist_registered.flags": PAPER
    | INK
    | MOVES_OF_28
    | {"dataset": "mnist", "network": "mlp", "pose": "affine", "epochs": 20, "batch_size": 128}
    | {"learning_rate": 1e-3, "nll_samples": 500, "eval_images": 1000},
    "omniglot.flags": PAPER | INK | MOVES_OF_28 | {"dataset": "omniglot"},
    "celeb_a.flags": PAPER | COLOUR | MOVES_OF_64 | {"dataset": "celeb_a"},
    "digits.flags": PAPER
    | INK
    | MOVES_OF_28
    | {"dataset": "digits", "network": "mlp", "learning_rate": 1e-3, "validation_images": 137},
}
BURDA = INK | {
    "dataset": "mnist",
    "model": "vae",
    "lambda": 0.0,
    "eta": 0.0,
    "network": "mlp",
    "width": 1.0,
    "latent_dim": 50,
    "nll_samples": 5000,
}
LONG = {
    "batch_size": 20,
    "learning_rate": 1e-3,
    "schedule": "burda",
    "epochs": 3280,
}
SHORT = {"batch_size": 50, "learning_rate": 1e-3, "schedule": "cosine"}
IWAE_5 = {"model": "iwae", "importance_samples": 5}
EXPECTED |= {
    "burda_vae.flags": BURDA | LONG,
    "burda_vae_short.flags": BURDA | SHORT | {"epochs": 800},
    "burda_iwae_5.flags": BURDA | LONG | IWAE_5,
    "burda_iwae_5_short.flags": BURDA | SHORT | IWAE_5 | {"epochs": 600},
}
MNIST_PARAMETERS = 24_478_693
MLP_PARAMETERS = 425_284


def resolved_file(name, *arguments):
    return resolved(f"--flagfile={FILES[name]}", *arguments)


def built(chosen):
    """The model of these options; their data's size is all that it needs of them."""
    preprocessing = Preprocessing(chosen.image_size, chosen.channels)
    return assembly.make_model(chosen, types.SimpleNamespace(preprocessing=preprocessing))


def parameters(model):
    return sum(int(variable.shape.num_elements()) for variable in model.trainable_variables)


@pytest.mark.parametrize("name", FLAGFILES)
def test_a_flagfile_resolves_to_the_papers_protocol_on_its_data(name, tmp_path):
    config = resolved_file(name, f"--data_dir={tmp_path}").to_config()
    assert {key: config[key] for key in EXPECTED[name]} == EXPECTED[name]


@pytest.mark.parametrize("name", FLAGFILES)
def test_the_header_of_a_flagfile_says_how_it_is_run(name):
    place = FILES[name].relative_to(ROOT)
    assert f"python -m launch.train --flagfile={place}\n" in FILES[name].read_text()


@pytest.mark.parametrize(
    ("name", "number"), [("mnist.flags", MNIST_PARAMETERS), ("mnist_mlp.flags", MLP_PARAMETERS)]
)
def test_a_flagfile_builds_the_network_of_the_paper_at_full_width(name, number, tmp_path):
    model = built(resolved_file(name, f"--data_dir={tmp_path}"))
    assert isinstance(model, CRVAE)
    assert (model.lambda_, model.eta, model.kl_direction) == (1.0, 0.1, "forward")
    assert parameters(model) == number


@pytest.mark.parametrize("name", FLAGFILES)
def test_a_later_flag_overrides_every_flagfile(name, tmp_path):
    chosen = resolved_file(name, f"--data_dir={tmp_path}", "--width=0.02", "--latent_dim=5", "--eta=0")
    assert (chosen.width, chosen.latent_dim, chosen.eta) == (0.02, 5, 0.0)
    model = built(chosen)
    images = (chosen.image_size, chosen.image_size, chosen.channels)
    base = model.base if isinstance(model, CRVAE) else model
    assert base.encoder.input_shape[1:] == images
    assert base.decoder.output_shape[1:] == images
    assert base.decoder.input_shape == (None, 5)
