"""Flags: defaults, what they may be, what is said where they are something else; and flagfiles."""

import types

import numpy as np
import pytest
from absl import flags

from crvae_tf import CRVAE, networks
from crvae_tf.datasets import Preprocessing
from crvae_tf.errors import InputError
from launch import assembly, command, options
from launch.options import Options
from tests.command_line import assert_told, forgotten_flags, outcome_of_python, resolved  # noqa: F401 - one is a fixture.
from tests.conftest import ROOT


def message(*arguments):
    """What the user of these flags of a training is told."""
    with pytest.raises(InputError) as error:
        resolved(*arguments)
    return command.told(error.value)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--likelihood=gaussian"], ("none", "gaussian")),
        (["--binarization=none"], ("none", "continuous_bernoulli")),
        (["--binarization=none", "--channels=3"], ("none", "gaussian")),
        (["--binarization=fixed"], ("fixed", "bernoulli")),
        (["--dataset=folder:/nowhere", "--channels=1"], ("none", "continuous_bernoulli")),
        (["--dataset=folder:/nowhere", "--likelihood=bernoulli"], ("dynamic", "bernoulli")),
        (["--dataset=folder:/nowhere", "--binarization=dynamic"], ("dynamic", "bernoulli")),
    ],
)
def test_likelihood_and_binarization_resolve_together(arguments, expected):
    received = resolved(*arguments)
    assert (received.binarization, received.likelihood) == expected


def test_moves_are_the_same_fraction_of_every_side_unless_they_are_given():
    received = resolved("--image_size=56")
    assert (received.translation, received.test_translation) == (4.0, 8.0)
    received = resolved("--image_size=14", "--translation=3")
    assert (received.translation, received.test_translation) == (3.0, 2.0)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("--method=vae", ("vae", "vae", 0.0, 0.0)),
        ("--method=vae_aug", ("vae_aug", "vae", 1.0, 0.0)),
        ("--method=cr_vae", ("cr_vae", "vae", 1.0, 0.1)),
        ("--method=iwae", ("iwae", "iwae", 0.0, 0.0)),
        ("--method=cr_iwae", ("cr_iwae", "iwae", 1.0, 0.1)),
        ("--method=beta_vae", ("beta_vae", "beta_vae", 0.0, 0.0)),
        ("--method=cr_beta_vae --beta=10", ("cr_beta_vae", "beta_vae", 1.0, 1.0)),
        ("--method=vae_aug --lambda=0.5", ("vae_aug", "vae", 0.5, 0.0)),
        ("--method=cr_vae --eta=0.3", ("cr_vae", "vae", 1.0, 0.3)),
        ("--model=iwae", ("cr_iwae", "iwae", 1.0, 0.1)),
        ("--method=cr_iwae --lambda=0", ("iwae", "iwae", 0.0, 0.0)),
    ],
)
def test_a_method_sets_model_lambda_and_eta_but_for_those_given(arguments, expected):
    received = resolved(*arguments.split())
    assert (received.method, received.model, received.lambda_, received.eta) == expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("images.npy", "{}/images.npy"),
        ("folder:images", "folder:{}/images"),
        ("folder:caf\udce9", "folder:{}/caf\udce9"),
    ],
)
def test_places_of_images_are_absolute_and_may_change(tmp_path, monkeypatch, given, expected):
    np.save(tmp_path / "images.npy", np.zeros([4, 8, 8], np.uint8))
    monkeypatch.chdir(tmp_path)
    chosen = resolved(f"--dataset={given}", "--data_dir=tfds")
    assert chosen.dataset == expected.format(tmp_path)
    assert "dataset" in chosen.free
    assert chosen.data_dir == str(tmp_path / "tfds")
    assert "dataset" not in resolved("--dataset=mnist").free


@pytest.mark.parametrize(
    ("name", "expected", "values"),
    [
        ("epochs", "an integer >= 1", ("0", "2.5", "ten")),
        ("image_size", "an integer >= 1 and <= 8192", ("0", "8193")),
        ("eta", ">= 0", ("-1", "nan", "inf")),
        ("width", "> 0 and <= 16", ("0", "16.5", "nan")),
        ("rotation", ">= 0 and <= 180", ("-15", "180.5")),
        ("learning_rate", "> 0", ("0", "-1e-4", "inf")),
        ("pixel_stddev", "> 0 or learned", ("0", "-1", "nan")),
        ("channels", "one of 1, 3", ("2",)),
        ("invert", "true or false", ("perhaps",)),
    ],
)
def test_a_value_that_a_flag_cannot_have_is_answered_in_one_line(name, expected, values):
    for value in values:
        assert message(f"--{name}={value}") == f"--{name} must be {expected}; received {value}"
    assert message(f"--{name}=") == f"--{name} must be {expected}; received nothing"


@pytest.mark.parametrize("place", ["run[1]", "a*b", "what?", r"back\slash", "gs://bucket/run", "a\0b"])
def test_a_run_is_not_put_where_tensorflow_would_not_find_its_checkpoints_again(place):
    expected = r"--output_dir must be a folder whose name is UTF-8 and has none of [ ] * ? \ ://"
    assert message(f"--output_dir={place}") == f"{expected}; received {place}"
    assert resolved("--output_dir=runs/{a}/café: 1").output_dir == "runs/{a}/café: 1"


def test_the_users_home_is_found_in_every_place(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    chosen = resolved("--output_dir=~/run", "--data_dir=~/data", "--dataset=folder:~/images")
    expected = (f"{tmp_path}/run", f"{tmp_path}/data", f"folder:{tmp_path}/images")
    assert (chosen.output_dir, chosen.data_dir, chosen.dataset) == expected


@pytest.mark.parametrize("place", [".", "images", "images/runs/one", "other/../images/one", "link/one"])
def test_a_run_lies_outside_the_images_that_it_reads(tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").mkdir()
    (tmp_path / "link").symlink_to("images")
    dataset = "folder:." if place == "." else f"folder:{tmp_path}/images"
    expected = f"--output_dir must be a folder outside the images of {dataset}; received {place}"
    assert message(f"--dataset={dataset}", f"--output_dir={place}") == expected
    assert resolved("--dataset=folder:images", "--output_dir=images2").output_dir == "images2"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("--method=cr_vae --model=iwae", "--model must be vae for the method cr_vae; received iwae"),
        ("--beta=4", "--beta must be 1 for the model vae; received 4.0"),
        ("--method=iwae --eta=0.5", "--eta must be 0 for a lambda of 0; received 0.5"),
        ("--pose=affine --latent_dim=4", "--latent_dim must be > 4, the dimensions of the pose; "),
        (
            "--pose=affine --translation=0 --rotation=0 --scaling=0",
            "--pose must be none for a transformation that is the identity; received affine",
        ),
        ("--views_per_image=2 --method=iwae", "--views_per_image must be 1 for a method without views"),
        (
            "--likelihood=bernoulli --binarization=none",
            "--binarization must be dynamic or fixed for the likelihood bernoulli; received none",
        ),
        ("--epoch=2", "expected a flag that --help lists, such as --epochs; received --epoch=2"),
        ("--epochs 3 cr_vae mnist", "expected flags only; received cr_vae mnist"),
        (
            "--flagfile=/nowhere/a",
            "--flagfile must be a readable file of UTF-8 text; received [Errno 2] ",
        ),
    ],
)
def test_flags_that_contradict_each_other_or_are_none_are_named(arguments, expected):
    assert message(*arguments.split()).startswith(expected)


def test_a_later_value_wins_over_the_flagfile_and_a_mistake_in_it_is_told(tmp_path):
    path = tmp_path / "mine.flags"
    path.write_text("# A comment.\n--epochs=3\n--method=vae\n")
    received = resolved(f"--flagfile={path}", "--epochs=5")
    assert (received.epochs, received.eta) == (5, 0.0)
    assert resolved("--epochs=5", f"--flagfile={path}").epochs == 3
    path.write_text("--epochs=3\n--eta=-1\n")
    assert message(f"--flagfile={path}") == "--eta must be >= 0; received -1"
    path.write_bytes(b"--epochs=3\xff")
    assert "--flagfile must be a readable file of UTF-8 text; " in message(f"--flagfile={path}")


def test_a_run_is_placed_by_its_data_method_and_seed_and_a_schedule_decides_the_epochs():
    given = ("--dataset=folder:/my/images", "--method=cr_iwae", "--seed=7", "--schedule=burda")
    received = resolved(*given)
    assert received.output_dir == "runs/folder_my_images_cr_iwae_7"
    assert received.epochs == 3280
    assert resolved("--schedule=burda", "--epochs=3").epochs == 3


def test_a_run_of_an_older_version_has_the_default_of_a_later_option():
    config = resolved("--method=cr_iwae").to_config() | {"option_of_another_version": 1}
    del config["views_per_image"]
    assert Options.from_config(config) == resolved("--method=cr_iwae")


def test_a_finished_run_is_evaluated_with_its_own_options_but_for_those_given():
    config = resolved("--method=cr_iwae", "--nll_samples=7", "--test_rotation=20").to_config()
    given = {"nll_samples": 5000, "test_scaling": 0.5, "data_dir": "/d", "output_dir": "o"}
    flags.FLAGS.unparse_flags()
    command.parse(["evaluate", *(f"--{name}={value}" for name, value in given.items())])
    assert options.resolve_evaluation(config).to_config() == config | given


def test_the_command_that_is_told_of_names_no_place(monkeypatch):
    given = ["--table=4", "--output_dir=here", "-data_dir=/there", "--seeds=2", "--records", "kept"]
    monkeypatch.setattr("sys.argv", ["reproduce.py", *given])
    assert options.command_line().endswith(" --table=4 --seeds=2")


def test_crvae_answers_without_tensorflow_and_where_something_else_is_called_launch(tmp_path):
    for name in ("tensorflow", "launch"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('imported')")
    outcome = outcome_of_python("-m", "crvae_tf", "train", "--eta=-1", folder=tmp_path)
    assert_told(outcome, "error: --eta must be >= 0; received -1")
    outcome = outcome_of_python("-m", "crvae_tf", "trian", folder=tmp_path)
    assert_told(outcome, "error: COMMAND must be one of these; received trian")
    assert " train, evaluate, " in outcome.out


def test_another_backend_of_keras_is_told_of():
    outcome = outcome_of_python("-c", "import crvae_tf; crvae_tf.VAE", KERAS_BACKEND="jax")
    assert outcome.code == 1
    assert outcome.err.splitlines()[-1].startswith("ImportError: crvae_tf needs TensorFlow: ")


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


@pytest.mark.parametrize("name", sorted(FILES))
def test_every_flagfile_builds_and_a_later_flag_overrides_it(name, tmp_path):
    shrunk = ("--width=0.02", "--latent_dim=7", "--eta=0", "--kl_direction=reverse")
    chosen = resolved(f"--flagfile={FILES[name]}", f"--data_dir={tmp_path}", *shrunk)
    model = built(chosen)
    base = model.base if isinstance(model, CRVAE) else model
    images = (chosen.image_size, chosen.image_size, chosen.channels)
    assert base.encoder.input_shape[1:] == base.decoder.output_shape[1:] == images
    assert base.decoder.input_shape == (None, 7)
    if base is not model:
        assert (model.lambda_, model.eta, model.kl_direction) == (1.0, 0.0, "reverse")
    if chosen.pose == "none":
        encoder, _ = networks.build(chosen.network, images, latent_dim=7, width=0.02)
        assert base.encoder.count_params() == encoder.count_params()


@pytest.mark.parametrize("network", ["mlp", "wae"])
def test_the_pose_network_is_of_the_encoders_kind(network, tmp_path):
    given = f"--flagfile={FILES['mnist_registered.flags']}", f"--data_dir={tmp_path}", "--width=0.02"
    encoder = built(resolved(*given, f"--network={network}")).base.encoder
    parts = encoder.get_layer("registration").network, encoder.get_layer("encoder")
    kinds = [[type(each) for each in part.layers if "normalization" not in each.name] for part in parts]
    assert kinds[0] == kinds[1]
