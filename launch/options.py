"""Every option of a training, once: its flag's name and default, what it may be, and its meaning.

No import of this module loads TensorFlow, so that a mistyped flag is answered at once.
"""

import dataclasses
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
    Choice,
    Integer,
    IntegerOrAuto,
    Number,
    NumberOrAuto,
    Positive,
    value,
)

PLACES = ("output_dir", "data_dir")
"""Options that say where things lie and change no figure."""

_PLACES_OF_GRIDS = ("records",)

EVALUATION = (
    "eval_split",
    "nll_samples",
    "eval_images",
    "test_translation",
    "test_rotation",
    "test_scaling",
)
"""Options that say how a run is evaluated; a finished run may be evaluated with others."""

CHECKPOINTING = ("checkpoint_minutes", "steps_per_execution")
"""Options that decide what a broken run loses, and change no figure."""


@dataclasses.dataclass(frozen=True)
class Options:
    """The options of a run; each field defines a flag, `lambda_` the flag `--lambda`.

    None stands for a default that depends on the data set or on other options; `resolve` fills it in.
    """

    dataset: str = value(
        "digits", IMAGES, "digits (embedded), a TFDS image data set, folder:PATH or FILE.npy"
    )
    data_dir: str | None = value(None, PLACE, "where TFDS keeps its data (TFDS's own place)")
    image_size: int = value(None, Integer(1, 2**13), "side of the images, pixels (by data set)")
    channels: int = value(None, Choice(["1", "3"]), "1 for gray, 3 for colour (by data set)")
    invert: bool | None = value(
        None, BOOLEAN, "make dark light, for dark ink on a light ground (by data set)"
    )
    test_fraction: float = value(
        0.1,
        Positive(0.99),
        "of the images to test on, where the data set has no test images of its own",
    )
    binarization: str = value(
        None, Choice(["dynamic", "fixed", "none"]), "how pixels become 0 or 1 (by data set)"
    )
    likelihood: str = value(
        None,
        Choice(["bernoulli", "continuous_bernoulli", "gaussian"]),
        "the family of p(x|z) (by data set)",
    )
    pixel_stddev: float | str = value(
        None,
        NUMBER_OR_LEARNED,
        "standard deviation of Gaussian pixels: a number, or learned, one for all pixels (1 for "
        "celeb_a as in the paper, else learned)",
    )
    validation_images: int = value(0, Integer(0), "training images to hold out, a fixed sample")
    eval_split: str = value(
        "test", Choice(["test", "validation"]), "evaluate on the test images or on those held out"
    )
    model: str = value(None, Choice(["vae", "iwae", "beta_vae"]), "the base model (vae)")
    beta: float = value(1.0, Number(), "weight of the rate, for --model=beta_vae")
    importance_samples: int = value(5, Integer(1, 10**6), "K, for --model=iwae")
    lambda_: float = value(None, Number(), "weight of the view's bound in Equation 2 (1)")
    eta: float = value(
        None, NumberOrAuto(), "weight of the consistency term in Equation 2; auto is 0.1 * beta (auto)"
    )
    kl_direction: str = value(
        "forward",
        Choice(["forward", "reverse", "symmetric"]),
        "of the consistency term; forward is the paper's",
    )
    pose: str = value(
        "none",
        Choice(["none", "affine"]),
        "affine: registered networks, whose content holds still when the image moves",
    )
    pose_steps: int = value(
        2,
        Integer(1, 100),
        "how often registered networks bring an image upright in training; twice as often elsewhere",
    )
    views_per_image: int = value(1, Integer(1), "views that each image of a step is paired with")
    network: str = value("wae", Choice(["wae", "mlp"]), "encoder and decoder")
    width: float = value(1.0, Positive(16.0), "multiplier of the network's channels")
    latent_dim: int = value(50, Integer(1), "dimensions of z")
    epochs: int = value(100, Integer(1), "passes over the training images")
    batch_size: int = value(64, Integer(1), "images in a step, over all devices")
    learning_rate: float = value(1e-4, Positive(), "of Adam, at the first step")
    schedule: str = value(
        "constant",
        Choice(["constant", "cosine", "burda"]),
        "how the learning rate falls; burda decides --epochs",
    )
    translation: float = value(None, Number(), "of training views, pixels (2 of a 28-pixel side)")
    rotation: float = value(15.0, Number(0.0, 180.0), "of training views, degrees")
    scaling: float = value(0.1, Number(0.0, 0.99), "of training views, a fraction")
    fill: str = value(
        "constant",
        Choice(["constant", "reflect"]),
        "what comes in from outside a moved image: 0, or its reflection, for photographs",
    )
    test_translation: float = value(
        None, Number(), "of the transformed test set, pixels (4 of a 28-pixel side)"
    )
    test_rotation: float = value(30.0, Number(0.0, 180.0), "of the transformed test set, degrees")
    test_scaling: float = value(0.25, Number(0.0, 0.99), "of the transformed test set, a fraction")
    nll_samples: int = value(1000, Integer(1), "importance samples of the negative log-likelihood")
    eval_images: int | None = value(
        None, Integer(2), "how many of the first test images to evaluate (all)"
    )
    strategy: str = value(
        "none", Choice(["none", "mirrored", "multi_worker"]), "how training is distributed"
    )
    precision: str = value(
        "float32", Choice(["float32", "mixed_bfloat16", "mixed_float16"]), "of the computation"
    )
    steps_per_execution: int | None = value(
        None,
        IntegerOrAuto(1),
        "steps that TensorFlow takes before it returns to Python, at most; auto is more than 1 for "
        "small networks (auto)",
    )
    jit: str = value(
        "auto", Choice(["auto", "on", "off"]), "whether XLA compiles the step; auto: on one GPU"
    )
    clip_norm: float | None = value(None, Positive(), "largest norm of the gradient (none)")
    checkpoint_minutes: float = value(15.0, Number(), "minutes between checkpoints within an epoch")
    seed: int = value(0, Integer(0), "of everything that is drawn")
    output_dir: str = value(None, RUN_FOLDER, "where the run lives (runs/DATASET_METHOD_SEED)")

    def to_config(self) -> dict[str, Any]:
        """Returns the options by the names of their flags."""
        return {name.rstrip("_"): value for name, value in dataclasses.asdict(self).items()}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Options":
        """Returns the options that a configuration holds; those that it lacks have their defaults."""
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
        """The options that another command for the same run may give other values of."""
        of_folder = ("dataset",) if self.dataset.startswith(FOLDER_PREFIX) else ()
        return (*PLACES, *CHECKPOINTING, *of_folder)


_NAMES = tuple(field.name.rstrip("_") for field in dataclasses.fields(Options))
_METHOD = Choice(list(METHODS))


def define_training() -> None:
    """Defines the flags of a training."""
    flag_kinds.define_all(Options)
    flag_kinds.define("method", None, _METHOD, "sets --model, --lambda and --eta together")


def define(*names: str) -> None:
    """Defines those flags of a training that another command takes."""
    flag_kinds.define_all(Options, names)


def define_evaluation() -> None:
    """Defines the flags of a command that is about a finished run."""
    define("dataset", *PLACES, *EVALUATION)


def parse(argv: Sequence[str]) -> list[str]:
    """Parses the command line into absl's flags; prints the help and exits where it is asked for.

    Raises:
      InputError: a flag is unknown or has a value that it cannot have.
    """
    try:
        rest = flags.FLAGS(list(argv))
        if "preset" in flags.FLAGS:
            first = f"--flagfile={flag_kinds.preset_file(flags.FLAGS.preset)}"
            rest = flags.FLAGS([argv[0], first, *argv[1:]])
    except SystemExit:  # With which absl ends its help, as a failure.
        sys.exit(0)
    except (UnicodeDecodeError, OSError) as error:
        raise InputError(f"--flagfile must be a file of UTF-8 text; received {error}") from error
    except (flags.Error, ValueError) as error:  # The latter are of absl's own flags.
        raise InputError(flag_kinds.refusal(error)) from error
    if len(rest) > 1:
        received = " ".join(" ".join(rest[1:]).split())
        raise InputError(f"expected flags only; received {received}")
    return rest


def given() -> dict[str, Any]:
    """Returns the values of a training's flags that the command has, None where one was not given."""
    return {n: flags.FLAGS[n].value for n in (*_NAMES, "method") if n in flags.FLAGS}


def named() -> set[str]:
    """Returns those of these flags that stand on the command line or in a flagfile."""
    return {name for name in given() if flags.FLAGS[name].present}


def training_arguments(changes: dict[str, Any]) -> list[str]:
    """Returns the command line of a training with the flags given here, but for `changes`."""
    present = named()
    values = {name: value for name, value in given().items() if name in present} | changes
    return [f"--{name}={value}" for name, value in values.items() if value is not None]


def command_line() -> str:
    """Returns the command that this process was started with, without the flags that name places."""
    spec = sys.modules["__main__"].__spec__
    module = spec.name if spec else Path(sys.argv[0]).stem
    places = (*PLACES, *_PLACES_OF_GRIDS)
    kept, skips = [], False
    for argument in sys.argv[1:]:
        name = argument.lstrip("-").split("=")[0]
        if not skips and name not in places:
            kept.append(argument)
        skips = not skips and name in places and "=" not in argument
    return shlex.join(["python", "-m", module, *kept])


def resolve(changes: dict[str, Any] | None = None) -> Options:
    """Returns the options that the flags stand for, defaults filled in.

    Args:
      changes: values of flags that stand in for those given, as if they were on the command line.

    Raises:
      InputError: two flags contradict each other.
    """
    changes = changes or {}
    values = defaults.filled(given() | changes, named() | set(changes))
    chosen = Options.from_config(values)
    if chosen.output_dir is None:
        name = re.sub(r"\W+", "_", chosen.dataset)
        place = f"runs/{name}_{chosen.method}_{chosen.seed}"
        chosen = dataclasses.replace(chosen, output_dir=place)
    defaults.check_apart("output_dir", chosen.output_dir, chosen.dataset)
    return dataclasses.replace(chosen, dataset=_absolute(chosen.dataset))


def resolve_evaluation(config: dict[str, Any]) -> Options:
    """Returns a finished run's options, with what an evaluation may change taken from the flags.

    Raises:
      InputError: two of them contradict each other.
    """
    changed = Options.from_config(config).to_config() | {n: given()[n] for n in named()}
    defaults.check(changed)
    chosen = Options.from_config(changed)
    return dataclasses.replace(chosen, dataset=_absolute(chosen.dataset))


def _absolute(dataset: str) -> str:
    """Returns the name of a data set; a folder's is the same from every working directory."""
    if not dataset.startswith(FOLDER_PREFIX):
        return dataset
    return FOLDER_PREFIX + os.path.abspath(dataset.removeprefix(FOLDER_PREFIX))
