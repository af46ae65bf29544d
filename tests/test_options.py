"""Flags: defaults, what they may be, and what is said where they are something else."""

import dataclasses
import re

import pytest
from absl import flags

from crvae_tf import InputError
from launch import options
from launch.options import METHODS, Options, UsageError
from tests.command_line import forgotten_flags, resolved  # noqa: F401 - the first is a fixture.

DEFAULTS = {
    "dataset": "digits",
    "data_dir": None,
    "image_size": 28,
    "channels": 1,
    "binarization": "dynamic",
    "likelihood": "bernoulli",
    "validation_images": 0,
    "model": "vae",
    "beta": 1.0,
    "importance_samples": 5,
    "lambda": 1.0,
    "eta": 0.1,
    "kl_direction": "forward",
    "network": "wae",
    "width": 1.0,
    "latent_dim": 50,
    "epochs": 100,
    "batch_size": 64,
    "learning_rate": 1e-4,
    "translation": 2.0,
    "rotation": 15.0,
    "scaling": 0.1,
    "test_translation": 4.0,
    "test_rotation": 30.0,
    "test_scaling": 0.25,
    "nll_samples": 1000,
    "eval_images": None,
    "strategy": "none",
    "precision": "float32",
    "eval_split": "test",
    "gradient": "standard",
    "schedule": "constant",
    "schedule_stages": 8,
    "seed": 0,
    "output_dir": "runs/digits_cr_vae_0",
    "clip_norm": None,
    "min_stddev": 0.0,
    "checkpoint_steps": None,
    "checkpoint_minutes": 15.0,
    "checkpoints_kept": 2,
    "view": "free",
    "pose_dim": 0,
    "views_per_image": 1,
    "num_devices": None,
    "steps_per_execution": None,
    "jit": "auto",
    "invert": None,
    "test_fraction": 0.1,
}


def message(*arguments):
    """What the user of these flags is told."""
    with pytest.raises(UsageError) as error:
        resolved(*arguments)
    return str(error.value)


def test_without_a_flag_the_options_are_the_papers_on_the_digits():
    assert resolved().to_config() == DEFAULTS


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [
        ("mnist", (28, 1, "dynamic", "bernoulli")),
        ("omniglot", (28, 1, "dynamic", "bernoulli")),
        ("fashion_mnist", (28, 1, "none", "continuous_bernoulli")),
        ("cifar10", (32, 3, "none", "gaussian")),
        ("celeb_a", (64, 3, "none", "gaussian")),
        ("mnist:3.0.1", (28, 1, "dynamic", "bernoulli")),
        ("folder:/nowhere", (64, 3, "none", "gaussian")),
    ],
)
def test_a_data_set_is_modelled_as_usual(dataset, expected, tmp_path):
    received = resolved(f"--dataset={dataset}", f"--data_dir={tmp_path}")
    assert (
        received.image_size,
        received.channels,
        received.binarization,
        received.likelihood,
    ) == expected


def test_what_the_user_says_of_the_images_comes_before_the_data_sets_defaults():
    received = resolved(
        "--image_size=32", "--channels=3", "--binarization=none", "--likelihood=gaussian"
    )
    assert (received.image_size, received.channels) == (32, 3)
    assert (received.binarization, received.likelihood) == ("none", "gaussian")


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--likelihood=gaussian"], ("none", "gaussian")),
        (["--likelihood=continuous_bernoulli"], ("none", "continuous_bernoulli")),
        (["--binarization=none"], ("none", "continuous_bernoulli")),
        (["--binarization=none", "--channels=3"], ("none", "gaussian")),
        (["--binarization=fixed"], ("fixed", "bernoulli")),
        (["--dataset=folder:/nowhere", "--likelihood=bernoulli"], ("dynamic", "bernoulli")),
        (["--dataset=folder:/nowhere", "--binarization=dynamic"], ("dynamic", "bernoulli")),
    ],
)
def test_likelihood_and_binarization_resolve_together(arguments, expected):
    received = resolved(*arguments)
    assert (received.binarization, received.likelihood) == expected


@pytest.mark.parametrize(("side", "training", "test"), [(28, 2.0, 4.0), (56, 4.0, 8.0), (14, 1.0, 2.0)])
def test_moves_are_the_same_fraction_of_every_side(side, training, test):
    received = resolved(f"--image_size={side}")
    assert (received.translation, received.test_translation) == (training, test)


def test_moves_that_the_user_gives_are_pixels_of_any_side():
    received = resolved("--image_size=56", "--translation=3", "--test_translation=5.5")
    assert (received.translation, received.test_translation) == (3.0, 5.5)


@pytest.mark.parametrize(
    ("method", "expected"),
    [
        ("vae", ("vae", 0.0, 0.0)),
        ("vae_aug", ("vae", 1.0, 0.0)),
        ("cr_vae", ("vae", 1.0, 0.1)),
        ("iwae", ("iwae", 0.0, 0.0)),
        ("cr_iwae", ("iwae", 1.0, 0.1)),
        ("beta_vae", ("beta_vae", 0.0, 0.0)),
        ("cr_beta_vae", ("beta_vae", 1.0, 0.1)),
    ],
)
def test_a_method_sets_model_lambda_and_eta(method, expected):
    received = resolved(f"--method={method}")
    assert (received.model, received.lambda_, received.eta) == expected
    assert received.method == method
    assert received.output_dir == f"runs/digits_{method}_0"


def test_every_method_of_the_paper_has_a_name():
    expected = {"vae", "vae_aug", "cr_vae", "iwae", "cr_iwae", "beta_vae", "cr_beta_vae"}
    assert set(METHODS) == expected


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--method=vae_aug", "--lambda=0.5"], ("vae", 0.5, 0.0)),
        (["--method=cr_vae", "--eta=0.3"], ("vae", 1.0, 0.3)),
        (["--method=vae", "--eta=auto"], ("vae", 0.0, 0.1)),
        (["--method=cr_iwae", "--model=iwae"], ("iwae", 1.0, 0.1)),
        (["--model=iwae"], ("iwae", 1.0, 0.1)),
        (["--lambda=0", "--eta=0"], ("vae", 0.0, 0.0)),
    ],
)
def test_a_flag_of_its_own_comes_before_the_methods(arguments, expected):
    received = resolved(*arguments)
    assert (received.model, received.lambda_, received.eta) == expected


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0, 10.0])
def test_automatic_eta_is_a_tenth_of_beta(beta):
    for arguments in (["--method=cr_beta_vae"], ["--model=beta_vae", "--eta=auto"]):
        flags.FLAGS.unparse_flags()
        assert resolved(*arguments, f"--beta={beta}").eta == pytest.approx(0.1 * beta)


def test_an_eta_that_is_given_does_not_depend_on_beta():
    assert resolved("--method=cr_beta_vae", "--beta=10", "--eta=0.1").eta == 0.1


@pytest.mark.parametrize(
    ("argument", "field", "value"),
    [
        ("--eta=0", "eta", 0.0),
        ("--lambda=2.5", "lambda_", 2.5),
        ("--width=16", "width", 16.0),
        ("--rotation=180", "rotation", 180.0),
        ("--test_rotation=0", "test_rotation", 0.0),
        ("--scaling=0.999", "scaling", 0.999),
        ("--eval_images=2", "eval_images", 2),
        ("--validation_images=0", "validation_images", 0),
        ("--seed=2147483647", "seed", 2**31 - 1),
        ("--learning_rate=1e-12", "learning_rate", 1e-12),
        ("--channels=3", "channels", 3),
        ("--dataset=digits", "dataset", "digits"),
    ],
)
def test_values_at_the_edge_of_what_is_allowed_are_taken(argument, field, value):
    received = getattr(resolved(argument, "--binarization=dynamic"), field)
    assert received == value
    assert type(received) is type(value)


INTEGERS = {
    "image_size": 1,
    "validation_images": 0,
    "importance_samples": 1,
    "latent_dim": 1,
    "epochs": 1,
    "batch_size": 1,
    "nll_samples": 1,
    "eval_images": 2,
    "seed": 0,
    "checkpoint_steps": 1,
    "checkpoints_kept": 1,
    "schedule_stages": 1,
    "pose_dim": 0,
    "views_per_image": 1,
    "num_devices": 1,
}
NUMBERS = {
    "beta": (">= 0", "-0.1"),
    "lambda": (">= 0", "-1"),
    "eta": (">= 0", "-1"),
    "width": ("> 0 and at most 16", "0", "16.5"),
    "learning_rate": ("> 0", "0", "-1e-4"),
    "translation": (">= 0", "-2"),
    "rotation": ("in [0, 180]", "-15", "180.5"),
    "scaling": ("in [0, 1)", "-0.1", "1"),
    "test_translation": (">= 0", "-4"),
    "test_rotation": ("in [0, 180]", "-30", "181"),
    "test_scaling": ("in [0, 1)", "-0.25", "1.0"),
    "clip_norm": ("> 0", "0", "-1"),
    "test_fraction": ("in (0, 1)", "0", "1"),
    "min_stddev": (">= 0", "-0.1"),
    "checkpoint_minutes": ("> 0", "0", "-1"),
    "steps_per_execution": ("an integer >= 1, or auto", "0", "2.5"),
}
CHOICES = {
    "channels": "1, 3",
    "binarization": "dynamic, fixed, none",
    "likelihood": "bernoulli, continuous_bernoulli, gaussian",
    "method": "vae, vae_aug, cr_vae, iwae, cr_iwae, beta_vae, cr_beta_vae",
    "model": "vae, iwae, beta_vae",
    "kl_direction": "forward, reverse, symmetric",
    "eval_split": "test, validation",
    "gradient": "standard, doubly_reparameterized",
    "view": "free, conditional",
    "schedule": "constant, cosine, burda",
    "network": "wae, mlp",
    "strategy": "none, mirrored, multi_worker, tpu",
    "precision": "float32, mixed_bfloat16, mixed_float16",
    "jit": "auto, on, off",
}


def test_every_flag_stands_in_one_of_these_tables():
    others = {"dataset", "data_dir", "output_dir", "invert"}
    assert {*INTEGERS, *NUMBERS, *CHOICES, *others} == {*DEFAULTS, "method"}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (name, value)
        for name, lowest in INTEGERS.items()
        for value in (str(lowest - 1), "-7", "2.5", "many", "nan", "inf", "1e3")
    ],
)
def test_no_integer_or_one_too_small_is_answered_in_one_line(name, value):
    expected = f"--{name} must be an integer >= {INTEGERS[name]}; received {value}"
    assert message(f"--{name}={value}") == expected


@pytest.mark.parametrize("name", ["epochs", "seed"])
@pytest.mark.parametrize("value", ["2147483648", "99999999999999999999"])
def test_an_integer_too_large_is_answered_with_the_largest(name, value):
    received = message(f"--{name}={value}")
    assert received.startswith(f"--{name} must be an integer ")
    assert received.endswith(f"; received {value}")
    assert "2147483647" in received


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (name, value)
        for name, (_, *values) in NUMBERS.items()
        for value in (*values, "nan", "inf", "-inf", "1e999", "much")
    ],
)
def test_no_number_or_one_out_of_range_is_answered_in_one_line(name, value):
    assert message(f"--{name}={value}") == f"--{name} must be {NUMBERS[name][0]}; received {value}"


@pytest.mark.parametrize("name", CHOICES)
@pytest.mark.parametrize("value", ["other", "VAE", "2", "none,"])
def test_none_of_the_choices_is_answered_with_all_of_them(name, value):
    assert message(f"--{name}={value}") == f"--{name} must be one of {CHOICES[name]}; received {value}"


@pytest.mark.parametrize("name", [*DEFAULTS, "method"])
def test_an_empty_value_is_answered_in_one_line_that_names_the_flag(name):
    received = message(f"--{name}=")
    assert received.startswith(f"--{name} must be ")
    assert "\n" not in received


@pytest.mark.parametrize("value", [" ", "a b", "1\n2"])
def test_a_value_with_blanks_is_answered_in_one_line(value):
    received = message(f"--epochs={value}")
    assert received.startswith("--epochs must be an integer >= 1; received")
    assert "\n" not in received


@pytest.mark.parametrize("name", ["data_dir", "output_dir"])
def test_a_place_whose_name_is_no_utf_8_is_answered_in_one_line(name):
    answer = message(f"--{name}=caf\udce9")
    assert answer.startswith(f"--{name} must be a text of UTF-8 that is not empty")
    assert answer.endswith("; received caf\udce9")
    assert message(f"--{name}=a\0b").startswith(f"--{name} must be a text of UTF-8")
    assert getattr(resolved(f"--{name}=café"), name) == "café"


@pytest.mark.parametrize("place", ["run[1]", "run]", "a*b", "what?", r"back\slash", "gs://bucket/run"])
def test_a_run_is_not_put_where_tensorflow_would_not_find_its_checkpoints_again(place):
    assert message(f"--output_dir={place}") == (
        r"--output_dir must be a text of UTF-8 that is not empty, without [ ] * ? \ and ://; "
        f"received {place}"
    )
    assert resolved("--output_dir=runs/{a}/café: 1").output_dir == "runs/{a}/café: 1"


@pytest.mark.parametrize(
    ("flag", "highest"),
    [
        ("image_size", 8192),
        ("importance_samples", 1_000_000),
        ("clip_norm", 3e38),
        ("min_stddev", 3e38),
    ],
)
def test_what_is_too_large_to_be_computed_is_answered_in_one_line(flag, highest):
    kind = "an integer" if isinstance(highest, int) else "a number"
    assert message(f"--{flag}={10 * highest}") == (
        f"--{flag} must be {kind} <= {highest}; received {10 * highest}"
    )


def test_images_may_lie_in_a_folder_whose_name_is_no_utf_8():
    assert resolved("--dataset=folder:caf\udce9").dataset == "folder:caf\udce9"


@pytest.mark.parametrize("place", [".", "images", "images/runs/one", "other/../images/one", "link/one"])
def test_a_run_lies_outside_the_images_that_it_reads(tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").mkdir()
    (tmp_path / "link").symlink_to("images")
    dataset = "folder:." if place == "." else f"folder:{tmp_path}/images"
    expected = f"--output_dir must lie outside the images of {dataset}; received {place}"
    assert message(f"--dataset={dataset}", f"--output_dir={place}") == expected


def test_a_run_without_a_place_of_its_own_is_not_written_among_its_images(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert message("--dataset=folder:.").endswith("folder:.; received runs/folder__cr_vae_0")


@pytest.mark.parametrize("place", ["images/.runs/one", "images2", "one", ".hidden"])
def test_a_run_lies_beside_its_images_or_where_none_are_looked_for(tmp_path, monkeypatch, place):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "images").mkdir()
    assert resolved("--dataset=folder:images", f"--output_dir={place}").output_dir == place


def test_the_message_of_the_manual_is_this():
    assert message("--eta=-1") == "--eta must be >= 0; received -1"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ["--method=cr_vae", "--model=iwae"],
            "--model must be vae with --method=cr_vae; received iwae",
        ),
        (
            ["--model=vae", "--method=beta_vae"],
            "--model must be beta_vae with --method=beta_vae; received vae",
        ),
        (
            ["--beta=4"],
            "--beta must be 1 unless --model=beta_vae; received 4.0 with --model=vae",
        ),
        (
            ["--method=cr_iwae", "--beta=0.5"],
            "--beta must be 1 unless --model=beta_vae; received 0.5 with --model=iwae",
        ),
        (
            ["--view=conditional", "--method=cr_vae", "--jit=on"],
            "--jit must be off or auto for --view=conditional; received on",
        ),
        (
            ["--pose_dim=50"],
            "--pose_dim must be < --latent_dim=50; received 50",
        ),
        (
            ["--pose_dim=4", "--method=vae"],
            "--pose_dim must be 0 with --lambda=0, which no view is scored with; received 4",
        ),
        (
            ["--view=conditional", "--lambda=0"],
            "--view must be free with --lambda=0, which no view is scored with; received conditional",
        ),
        (
            ["--views_per_image=2", "--method=iwae"],
            "--views_per_image must be 1 with --lambda=0 and --eta=0, which have no view; received 2",
        ),
        (
            ["--pose_dim=4", "--method=cr_iwae"],
            "--pose_dim must be 0 with --model=iwae; received 4",
        ),
        (
            ["--num_devices=2"],
            "--num_devices must go with --strategy=mirrored; received 2 with --strategy=none",
        ),
        (
            ["--binarization=none", "--likelihood=bernoulli"],
            "--likelihood=bernoulli must go with --binarization=dynamic or fixed; received none",
        ),
        (
            ["--binarization=fixed", "--likelihood=gaussian"],
            "--likelihood=gaussian must go with --binarization=none; received fixed",
        ),
    ],
)
def test_flags_that_contradict_each_other_are_named(arguments, expected):
    assert message(*arguments) == expected


@pytest.mark.parametrize("argument", ["--etaa=1", "--nepochs=3", "--noepochs", "--no", "--x"])
def test_an_unknown_flag_is_named(argument):
    name = argument.removeprefix("--").split("=")[0]
    expected = f"--{name} must be a flag that --help lists; received none of that name"
    assert message(argument) == expected


def test_what_is_no_flag_is_named():
    assert message("mnist.flags") == "expected flags only; received mnist.flags"
    flags.FLAGS.unparse_flags()
    assert message("--epochs", "3", "cr_vae", "mnist") == "expected flags only; received cr_vae mnist"


def test_a_flag_without_its_value_is_named():
    received = message("--epochs")
    assert "epochs" in received
    assert "\n" not in received


def test_a_missing_flagfile_is_named():
    received = message("--flagfile=/nowhere/mnist.flags")
    assert received.startswith("--flagfile must be ")
    assert received.endswith("received /nowhere/mnist.flags")


def test_a_mistake_in_a_flagfile_is_answered_like_one_on_the_command_line(tmp_path):
    path = tmp_path / "mine.flags"
    path.write_text("# A comment.\n--epochs=3\n--eta=-1\n")
    assert message(f"--flagfile={path}") == "--eta must be >= 0; received -1"


def test_a_later_value_wins_over_the_flagfile_and_an_earlier_one_does_not(tmp_path):
    path = tmp_path / "mine.flags"
    path.write_text("# A comment.\n--epochs=3\n--method=vae\n")
    received = resolved(f"--flagfile={path}", "--epochs=5")
    assert (received.epochs, received.eta) == (5, 0.0)
    flags.FLAGS.unparse_flags()
    assert resolved("--epochs=5", f"--flagfile={path}").epochs == 3


def test_a_run_is_placed_by_its_data_method_and_seed():
    received = resolved("--dataset=folder:/my/images", "--method=cr_iwae", "--seed=7")
    assert received.output_dir == "runs/folder_my_images_cr_iwae_7"


def test_options_are_read_back_from_what_a_run_keeps_of_them():
    chosen = resolved("--method=cr_iwae", "--epochs=3", "--eval_images=40")
    assert Options.from_config(chosen.to_config()) == chosen


def test_a_run_that_is_older_than_an_option_has_its_default():
    config = resolved("--method=cr_vae").to_config()
    later = ("view", "pose_dim", "views_per_image")
    older = {name: value for name, value in config.items() if name not in later}
    assert Options.from_config(older).to_config() == config


def test_a_run_that_lacks_any_other_option_is_not_read():
    config = resolved("--method=cr_vae").to_config()
    del config["eta"]
    with pytest.raises(InputError, match=r"expected .* as eta; received none"):
        Options.from_config(config)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("latent_dim", "50", "expected an integer >= 1 as latent_dim; received 50"),
        ("latent_dim", 2.5, "expected an integer >= 1 as latent_dim; received 2.5"),
        ("epochs", True, "expected an integer >= 1 as epochs; received True"),
        ("epochs", 0, "expected an integer >= 1 as epochs; received 0"),
        ("eta", [0.1], "expected >= 0 as eta; received [0.1]"),
        ("eta", "0.1", "expected >= 0 as eta; received 0.1"),
        ("rotation", float("nan"), "expected in [0, 180] as rotation; received nan"),
        ("network", "other", "expected one of wae, mlp as network; received other"),
        ("network", None, "expected one of wae, mlp as network; received none"),
        ("channels", 2, "expected one of 1, 3 as channels; received 2"),
        ("dataset", {}, "expected a text that is not empty as dataset; received {}"),
    ],
)
def test_a_run_that_holds_what_an_option_cannot_be_is_not_read(name, value, expected):
    config = resolved("--method=cr_vae").to_config() | {name: value}
    with pytest.raises(InputError, match=f"^{re.escape(expected)}$"):
        Options.from_config(config)


def evaluation_of(config, *arguments):
    flags.FLAGS.unparse_flags()
    options.parse(["evaluate", *arguments])
    return options.resolve_evaluation(config)


def test_a_finished_run_is_evaluated_with_its_own_options():
    chosen = resolved("--method=cr_iwae", "--nll_samples=7", "--test_rotation=20")
    assert evaluation_of(chosen.to_config(), "--output_dir=elsewhere") == dataclasses.replace(
        chosen, output_dir="elsewhere"
    )


def test_an_evaluation_may_change_how_it_is_made():
    config = resolved("--method=cr_iwae").to_config()
    received = evaluation_of(
        config,
        "--nll_samples=5000",
        "--eval_images=100",
        "--test_translation=1",
        "--test_rotation=2",
        "--test_scaling=0.5",
        "--data_dir=d",
        "--output_dir=o",
    )
    changed = {
        "nll_samples": 5000,
        "eval_images": 100,
        "test_translation": 1.0,
        "test_rotation": 2.0,
        "test_scaling": 0.5,
        "data_dir": "d",
        "output_dir": "o",
    }
    assert received.to_config() == config | changed


@pytest.mark.parametrize(
    ("argument", "own"),
    [
        ("--epochs=3", "100"),
        ("--eta=0", "0.1"),
        ("--model=iwae", "vae"),
        ("--dataset=mnist", "digits"),
        ("--channels=3", "1"),
        ("--latent_dim=2", "50"),
        ("--seed=1", "0"),
        ("--binarization=fixed", "dynamic"),
    ],
)
def test_an_evaluation_may_not_change_the_model(argument, own):
    config = resolved().to_config()
    name, value = argument.removeprefix("--").split("=")
    with pytest.raises(UsageError) as error:
        evaluation_of(config, argument)
    received = str(error.value)
    assert received.startswith(f"--{name} must be the run's own, {own}; received ")
    assert float(received.split()[-1]) == float(value) if value.isdigit() else received.endswith(value)


@pytest.mark.parametrize("argument", ["--method=vae", "--method=cr_iwae"])
def test_an_evaluation_may_not_change_the_method(argument):
    config = resolved().to_config()
    with pytest.raises(UsageError, match="--method must be the run's own, cr_vae; received "):
        evaluation_of(config, argument)


@pytest.mark.parametrize(
    "argument", ["--epochs=100", "--channels=1", "--eta=0.1", "--eta=auto", "--method=cr_vae"]
)
def test_an_evaluation_may_repeat_what_the_run_was_trained_with(argument):
    chosen = resolved()
    assert evaluation_of(chosen.to_config(), argument) == chosen


def test_an_evaluation_may_not_change_eta_to_that_of_the_paper():
    config = resolved("--eta=0.5").to_config()
    with pytest.raises(UsageError, match=r"--eta must be the run's own, 0\.5; received auto"):
        evaluation_of(config, "--eta=auto")


@pytest.mark.parametrize(
    "method",
    [
        "--method=cr_iwae",
        "--method=cr_vae --eta=0",
        "--method=cr_vae --eta=0.3",
        "--method=vae_aug --eta=0.1",
        "--method=cr_vae --lambda=0 --eta=0",
        "--method=cr_beta_vae --beta=0.5 --eta=auto",
        "--method=vae --lambda=1 --eta=auto",
    ],
)
def test_the_flagfile_of_a_run_may_be_given_to_its_evaluation(tmp_path, method):
    path = tmp_path / "mine.flags"
    path.write_text("\n".join([*method.split(), "--epochs=3", "--nll_samples=7\n"]))
    chosen = resolved(f"--flagfile={path}")
    received = evaluation_of(chosen.to_config(), f"--flagfile={path}", "--nll_samples=9")
    assert received == dataclasses.replace(chosen, nll_samples=9)


@pytest.mark.parametrize("argument", ["--help", "-h", "--helpfull", "--helpshort"])
def test_help_names_every_flag_and_exits_as_a_success(argument, capsys):
    with pytest.raises(SystemExit) as stopped:
        options.parse(["train", "--epochs=none", argument])
    assert stopped.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    for name in (*DEFAULTS, "method"):
        assert sum(line.startswith(f"  --{name}: ") for line in lines) == 1


@pytest.mark.parametrize(("stages", "epochs"), [(8, 3280), (6, 364)])
def test_a_schedule_decides_the_epochs(stages, epochs):
    assert resolved("--schedule=burda", f"--schedule_stages={stages}").epochs == epochs


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ["--schedule=burda", "--schedule_stages=20"],
            "--schedule_stages must be at most 19; received 20",
        ),
        (
            ["--allow_config_change=maybe"],
            "--allow_config_change must be true or false; received maybe",
        ),
    ],
)
def test_what_no_run_can_be_given_is_refused_in_the_usual_form(arguments, expected):
    assert message(*arguments) == expected


HELP = ["--help", "-help", "-?", "--help=true", "--helpshort", "--helpfull=1", "--helpxml=t"]


def flagfile(folder, depth, argument):
    """The argument itself, or a flagfile that it stands in, or one that names such a flagfile."""
    for level in range(depth):
        (folder / f"{level}.flags").write_text(f"--epochs=2\n{argument}\n")
        argument = f"--flagfile={folder / f'{level}.flags'}"
    return argument


@pytest.mark.parametrize("depth", [0, 1, 2])
@pytest.mark.parametrize("argument", HELP)
def test_each_way_to_ask_for_help_is_answered_by_the_flags(argument, depth, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        options.parse(["train", "--seed=3", flagfile(tmp_path, depth, argument)])
    assert not stopped.value.code
    answer = capsys.readouterr()
    assert "--eta: weight of the consistency term" in answer.out
    assert answer.err == ""


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_help_that_is_declined_is_not_given(depth, tmp_path):
    for argument in ("--help=false", "--nohelpfull", "--helpxml=0"):
        assert resolved(flagfile(tmp_path, depth, argument), "--seed=3").seed == 3
    assert message(flagfile(tmp_path, depth, "--help=3")) == "--help must be true or false; received 3"


def test_the_command_that_is_told_of_names_no_place(monkeypatch):
    given = ["--table=4", "--output_dir", "here", "--data_dir=/there", "--seeds=2", "--records=kept"]
    monkeypatch.setattr("sys.argv", ["reproduce.py", *given])
    assert options.command_line().endswith(" --table=4 --seeds=2")
