"""Every shipped flagfile parses, resolves to the protocol that its header states, and builds."""

import types

import pytest

from crvae_tf import CRVAE
from crvae_tf.datasets import Preprocessing
from launch import assembly
from tests.command_line import forgotten_flags, resolved  # noqa: F401 - the first is a fixture.
from tests.conftest import ROOT

FILES = {path.name: path for path in (*ROOT.glob("*.flags"), *ROOT.glob("flagfiles/*.flags"))}
PAPER = {
    "model": "vae", "lambda": 1.0, "eta": 0.1, "kl_direction": "forward", "pose": "none",
    "network": "wae", "width": 1.0, "latent_dim": 50, "epochs": 100, "batch_size": 64,
    "learning_rate": 1e-4, "rotation": 15.0, "scaling": 0.1, "test_rotation": 30.0,
    "test_scaling": 0.25, "nll_samples": 1000, "eval_images": None, "validation_images": 0,
    "precision": "float32", "seed": 0,
}  # fmt: skip
INK = {
    "image_size": 28, "channels": 1, "binarization": "dynamic", "likelihood": "bernoulli",
    "translation": 2.0, "test_translation": 4.0,
}  # fmt: skip
COLOUR = {
    "image_size": 64, "channels": 3, "binarization": "none", "likelihood": "gaussian",
    "translation": 2.0 * 64 / 28, "test_translation": 4.0 * 64 / 28,
}  # fmt: skip
BURDA = {
    "dataset": "mnist", "lambda": 0.0, "network": "mlp", "width": 1.0, "latent_dim": 50,
    "learning_rate": 1e-3, "nll_samples": 5000,
}  # fmt: skip
LONG = {"batch_size": 20, "schedule": "burda", "epochs": 3280}
SHORT = {"batch_size": 50, "schedule": "cosine"}
EXPECTED = {
    "mnist.flags": PAPER | INK | {"dataset": "mnist"},
    "mnist_mlp.flags": PAPER | INK | {"dataset": "mnist", "network": "mlp"},
    "omniglot.flags": PAPER | INK | {"dataset": "omniglot"},
    "celeb_a.flags": PAPER | COLOUR | {"dataset": "celeb_a"},
    "burda_vae.flags": INK | BURDA | LONG | {"model": "vae"},
    "burda_vae_short.flags": INK | BURDA | SHORT | {"model": "vae", "epochs": 800},
    "burda_iwae_5.flags": INK | BURDA | LONG | {"model": "iwae", "importance_samples": 5},
    "burda_iwae_5_short.flags": INK | BURDA | SHORT | {"model": "iwae", "importance_samples": 5},
}


def built(chosen):
    """The model of these options; their data's size is all that it needs of them."""
    preprocessing = Preprocessing(chosen.image_size, chosen.channels)
    return assembly.make_model(chosen, types.SimpleNamespace(preprocessing=preprocessing))


@pytest.mark.parametrize("name", EXPECTED)
def test_a_flagfile_of_a_published_experiment_resolves_to_its_protocol(name, tmp_path):
    config = resolved(f"--flagfile={FILES[name]}", f"--data_dir={tmp_path}").to_config()
    assert {key: config[key] for key in EXPECTED[name]} == EXPECTED[name]


def test_without_a_flag_the_protocol_is_the_papers_on_the_digits():
    expected = PAPER | INK | {"dataset": "digits", "invert": False, "pixel_stddev": "learned"}
    assert resolved().to_config().items() >= expected.items()


@pytest.mark.parametrize(("name", "number"), [("mnist", 24_478_693), ("mnist_mlp", 425_284)])
def test_a_flagfile_builds_the_network_of_the_paper_at_full_width(name, number, tmp_path):
    model = built(resolved(f"--flagfile={FILES[f'{name}.flags']}", f"--data_dir={tmp_path}"))
    assert (model.lambda_, model.eta, model.kl_direction) == (1.0, 0.1, "forward")
    assert sum(int(variable.shape.num_elements()) for variable in model.trainable_variables) == number


@pytest.mark.parametrize("name", sorted(FILES))
def test_every_flagfile_builds_and_a_later_flag_overrides_it(name, tmp_path):
    shrunk = ("--width=0.02", "--latent_dim=7", "--eta=0")
    chosen = resolved(f"--flagfile={FILES[name]}", f"--data_dir={tmp_path}", *shrunk)
    model = built(chosen)
    base = model.base if isinstance(model, CRVAE) else model
    images = (chosen.image_size, chosen.image_size, chosen.channels)
    assert base.encoder.input_shape[1:] == base.decoder.output_shape[1:] == images
    assert base.decoder.input_shape == (None, 7)


@pytest.mark.parametrize("network", ["mlp", "wae"])
def test_the_pose_network_is_of_the_encoders_kind(network, tmp_path):
    given = f"--flagfile={FILES['mnist_registered.flags']}", f"--data_dir={tmp_path}", "--width=0.02"
    encoder = built(resolved(*given, f"--network={network}")).base.encoder
    parts = encoder.get_layer("registration").network, encoder.get_layer("encoder")
    kinds = [[type(each) for each in part.layers if "normalization" not in each.name] for part in parts]
    assert kinds[0] == kinds[1]
