"""Every option of a training, once: its flag, its default, its values and its meaning.

No import of this module loads TensorFlow, so that a mistyped flag is answered at once.
"""

import contextlib
import dataclasses
import io
import os
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags

from crvae_tf.errors import InputError
from launch import defaults, flag_kinds
from launch.defaults import METHODS
from launch.flag_kinds import (
    BOOLEAN,
    FOLDER_PREFIX,
    IMAGES,
    NUMBER_OR_LEARNED,
    PLACE,
    RUN_FOLDER,
    choice,
    integer,
    number,
    or_auto,
    positive,
    value,
)

PLACES = ("output_dir", "data_dir")
"""Options that say where things lie and change no figure."""

CHECKPOINTING = ("checkpoint_minutes", "steps_per_execution")
"""Options that decide what a broken run loses, and change no figure."""

EVALUATION = (
    *("eval_split", "nll_samples", "eval_images"),
    *("test_translation", "test_rotation", "test_scaling"),
)
"""Options that say how a run is evaluated; a finished run may be evaluated with others."""

_FIRST_FLAGS = {
    "dataset": "data",
    "network": "model",
    "model": "objective",
    "translation": "transformation",
    "epochs": "training",
    "eval_split": "evaluation",
    "output_dir": "where",
}
"""The first option of each purpose by which the help groups the flags."""


@dataclasses.dataclass(frozen=True)
class Options:
    """The options of a run; each field defines a flag, `lambda_` the flag `--lambda`.

    None stands for a default that depends on the data set or on other options; `resolve` fills it in.
    """

    dataset: str = value("digits", IMAGES, "digits (embedded), a TFDS data set, folder:PATH, FILE.npy")
    data_dir: str | None = value(None, PLACE, "where TFDS keeps its data (TFDS's own place)")
    image_size: int = value(None, integer(1, 2**13), "side of the images, pixels (by data set)")
    channels: int = value(None, choice(1, 3), "1 for gray, 3 for colour (by data set)")
    invert: bool = value(None, BOOLEAN, "invert dark ink on a light ground (by data set)")
    binarization: str = value(None, choice("dynamic", "fixed", "none"), "of pixels (by data set)")
    validation_images: int = value(0, integer(0), "training images to hold out, a fixed sample")
    test_fraction: float = value(0.1, positive(0.99), "share to test on if there is no test set")
    network: str = value("wae", choice("wae", "mlp"), "encoder and decoder")
    width: float = value(1.0, positive(16), "multiplier of the network's channels")
    latent_dim: int = value(50, integer(1), "dimensions of z")
    pose: str = value("none", choice("none", "affine"), "affine: registered networks")
    pose_steps: int = value(2, integer(1), "steps that turn an image upright in training")
    likelihood: str = value(
        None, choice("bernoulli", "continuous_bernoulli", "gaussian"), "of a pixel (by data set)"
    )
    pixel_stddev: float | str = value(
        None, NUMBER_OR_LEARNED, "of Gaussian pixels; learned: the same for all (learned; celeb_a: 1)"
    )
    model: str = value(None, choice("vae", "iwae", "beta_vae"), "the base model (vae)")
    beta: float = value(1.0, number(), "weight of the rate, for --model=beta_vae")
    importance_samples: int = value(5, integer(1), "K, for --model=iwae")
    lambda_: float = value(None, number(), "weight of the view's bound in Equation 2 (1)")
    eta: float = value(
        None, or_auto(number()), "weight of the consistency term in Equation 2; auto: 0.1 beta (auto)"
    )
    kl_direction: str = value(
        "forward", choice("forward", "reverse", "symmetric"), "direction of the consistency term's KL"
    )
    translation: float = value(None, number(), "largest shift of a training view, pixels (2 of 28)")
    rotation: float = value(15.0, number(0, 180), "largest angle of a training view, degrees")
    scaling: float = value(0.1, number(0, 0.99), "largest change of a training view's size, a fraction")
    fill: str = value("constant", choice("constant", "reflect"), "how to fill what a view uncovers")
    views_per_image: int = value(1, integer(1), "views of each image in a step")
    epochs: int = value(100, integer(1), "passes over the training images")
    batch_size: int = value(64, integer(1), "images in a step, over all devices")
    learning_rate: float = value(1e-4, positive(), "Adam's initial rate")
    schedule: str = value(
        "constant", choice("constant", "cosine", "burda"), "how the rate falls; burda has 3280 epochs"
    )
    clip_norm: float | None = value(None, positive(), "largest norm of the gradient (none)")
    seed: int = value(0, integer(0, 2**31 - 1), "seed of everything random")
    strategy: str = value("none", choice("none", "mirrored", "multi_worker"), "for several devices")
    precision: str = value(
        "float32", choice("float32", "mixed_bfloat16", "mixed_float16"), "precision of the networks"
    )
    jit: str = value("auto", choice("auto", "on", "off"), "whether XLA compiles the step")
    steps_per_execution: int = value(None, or_auto(integer(1)), "steps in one call, at most (auto)")
    checkpoint_minutes: float = value(15.0, number(), "minutes between checkpoints within an epoch")
    eval_split: str = value("test", choice("test", "validation"), "which images to evaluate on")
    eval_images: int | None = value(None, integer(2), "how many of the first test images to use (all)")
    nll_samples: int = value(1000, integer(1), "importance samples of the negative log-likelihood")
    test_translation: float = value(None, number(), "of the transformed test set, pixels (4 of 28)")
    test_rotation: float = value(30.0, number(0, 180), "of the transformed test set, degrees")
    test_scaling: float = value(0.25, number(0, 0.99), "of the transformed test set, a fraction")
    output_dir: str = value(None, RUN_FOLDER, "where the run lives (runs/DATASET_METHOD_SEED)")

    def to_config(self) -> dict[str, Any]:
        """Returns the options by the names of their flags."""
        return {name.rstrip("_"): value for name, value in dataclasses.asdict(self).items()}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Options":
        """Returns the options of a configuration; missing ones take their defaults."""
        fields = [field.name for field in dataclasses.fields(cls)]
        return cls(**{f: config[f.rstrip("_")] for f in fields if f.rstrip("_") in config})

    @property
    def method(self) -> str:
        """The name in `METHODS` that comes nearest to these options."""
        if not self.lambda_:
            return self.model
        if self.model == "vae" and not self.eta:
            return "vae_aug"
        return f"cr_{self.model}"

    @property
    def free(self) -> tuple[str, ...]:
        """The options that a later command for the same run may change."""
        of_folder = ("dataset",) if self.dataset.startswith(FOLDER_PREFIX) else ()
        return (*PLACES, *CHECKPOINTING, *of_folder)


_NAMES = tuple(field.name.rstrip("_") for field in dataclasses.fields(Options))


def define_training() -> None:
    """Defines the flags of a training."""
    define(*_NAMES)
    meaning = "sets --model, --lambda and --eta together (cr_vae)"
    flag_kinds.define("method", None, choice(*METHODS), meaning, "objective")


def define(*names: str) -> None:
    """Defines those flags of a training that a command takes."""
    purpose = ""
    for field in dataclasses.fields(Options):
        name = field.name.rstrip("_")
        purpose = _FIRST_FLAGS.get(name) or purpose
        if name in names:
            flag_kinds.define(name, field.default, **field.metadata, purpose=purpose)


def define_evaluation() -> None:
    """Defines the flags of a command that is about a finished run."""
    define("dataset", *PLACES, *EVALUATION)


def parse(argv: Sequence[str]) -> list[str]:
    """Parses the command line into absl's flags; prints the help and exits where it is asked for.

    Raises:
      InputError: a flag is unknown or has a value that it cannot have.
    """
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # It takes absl's own help.
            rest = flags.FLAGS(list(argv))
            if "preset" in flags.FLAGS:
                first = f"--flagfile={flag_kinds.preset_file(flags.FLAGS.preset)}"
                rest = flags.FLAGS([argv[0], first, *argv[1:]])
    except SystemExit:  # absl ends its help as a failure.
        print(flag_kinds.help_text())
        sys.exit(0)
    except (UnicodeDecodeError, OSError) as error:
        raise InputError(f"--flagfile must be a file of UTF-8 text; received {error}") from error
    except (flags.Error, ValueError) as error:  # The latter are of absl's own flags.
        raise InputError(flag_kinds.refusal(error)) from error
    if len(rest) > 1:
        raise InputError(f"expected flags only; received {' '.join(rest[1:])}")
    return rest


def given() -> dict[str, Any]:
    """Returns the values of the training flags that this command has; None for one not given."""
    return {n: flags.FLAGS[n].value for n in (*_NAMES, "method") if n in flags.FLAGS}


def named() -> set[str]:
    """Returns the names of those flags that the command line or a flagfile sets."""
    return {name for name in given() if flags.FLAGS[name].present}


def training_arguments(changes: dict[str, Any]) -> list[str]:
    """Returns the command line of a training with the flags given here, except for `changes`."""
    present = named()
    values = {name: value for name, value in given().items() if name in present} | changes
    return [f"--{name}={value}" for name, value in values.items() if value is not None]


def command_line() -> str:
    """Returns the command that this process was started with, without the flags that name places."""
    spec = sys.modules["__main__"].__spec__
    module = spec.name if spec else Path(sys.argv[0]).stem
    place = re.compile(rf"--?({'|'.join(PLACES)}|records)=")
    return shlex.join(["python", "-m", module, *(a for a in sys.argv[1:] if not place.match(a))])


def resolve(changes: dict[str, Any] | None = None) -> Options:
    """Returns the options that the flags describe, with defaults filled in.

    Args:
      changes: values of flags that stand in for those given, as if they were on the command line.

    Raises:
      InputError: two flags contradict each other.
    """
    changes = changes or {}
    chosen = Options.from_config(defaults.filled(given() | changes, named() | set(changes)))
    _check(chosen)
    if chosen.output_dir is None:
        name = re.sub(r"\W+", "_", chosen.dataset)
        place = f"runs/{name}_{chosen.method}_{chosen.seed}"
        chosen = dataclasses.replace(chosen, output_dir=place)
    defaults.check_apart("output_dir", chosen.output_dir, chosen.dataset)
    return _found_from_everywhere(chosen)


def resolve_evaluation(config: dict[str, Any]) -> Options:
    """Returns a finished run's options, with what an evaluation may change taken from the flags.

    Raises:
      InputError: two of them contradict each other.
    """
    chosen = Options.from_config(config | {name: given()[name] for name in named()})
    _check(chosen)
    return _found_from_everywhere(chosen)


def _check(chosen: Options) -> None:
    """Raises InputError if two options contradict each other."""
    has_views, registered = bool(chosen.lambda_), chosen.pose != "none"
    binarizations = ("dynamic", "fixed") if chosen.likelihood == "bernoulli" else ("none",)
    pose_dim = 2 * bool(chosen.translation) + bool(chosen.rotation) + bool(chosen.scaling)
    rules = {
        "beta": (chosen.model == "beta_vae" or chosen.beta == 1.0, f"1 for the model {chosen.model}"),
        "eta": (has_views or not chosen.eta, "0 for a lambda of 0"),
        "views_per_image": (has_views or chosen.views_per_image == 1, "1 for a method without views"),
        "binarization": (
            chosen.binarization in binarizations,
            f"{' or '.join(binarizations)} for the likelihood {chosen.likelihood}",
        ),
        "pose": (not registered or pose_dim, "none for a transformation that is the identity"),
        "latent_dim": (
            not registered or chosen.latent_dim > pose_dim,
            f"> {pose_dim}, the dimensions of the pose",
        ),
    }
    for name, (holds, expected) in rules.items():
        if not holds:
            raise InputError(name, expected, getattr(chosen, name))


def _found_from_everywhere(chosen: Options) -> Options:
    """Returns the options with the path of a folder of images made absolute."""
    if not chosen.dataset.startswith(FOLDER_PREFIX):
        return chosen
    path = os.path.abspath(chosen.dataset.removeprefix(FOLDER_PREFIX))
    return dataclasses.replace(chosen, dataset=FOLDER_PREFIX + path)
