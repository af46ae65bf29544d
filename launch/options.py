"""Every flag, once: its meaning, its default, what it may be, and what it resolves to.

No import of this module loads TensorFlow, so that a mistyped flag is answered at once.
"""

import dataclasses
import math
import re
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags

from launch import flag_kinds, resolution
from launch.flag_kinds import Checked as _Checked
from launch.flag_kinds import choice as _choice
from launch.flag_kinds import define as _define
from launch.flag_kinds import integer as _integer
from launch.flag_kinds import number as _number
from launch.flag_kinds import text as _text
from launch.resolution import METHODS, UsageError

PLACES = ("output_dir", "data_dir")
"""Options that say where things lie and change no figure."""

_PLACES_OF_GRIDS = ("records",)

EVALUATION = (
    *PLACES,
    "eval_split",
    "nll_samples",
    "eval_images",
    "test_translation",
    "test_rotation",
    "test_scaling",
)
"""Options that may differ between a training and a later evaluation of it."""


CHECKPOINTING = ("checkpoint_steps", "checkpoint_minutes", "checkpoints_kept", "steps_per_execution")
"""Options that decide what a broken run loses, and change no figure."""

MAY_CHANGE = (*EVALUATION, "epochs", "strategy", "num_devices", "jit", "precision", "versions")
"""What a run may go on with other values of, where `allowed_changes` says so."""


flag_kinds.images(
    "dataset", "digits", "digits (embedded), a TFDS image data set, folder:PATH or FILE.npy"
)
_text("data_dir", None, "where TFDS keeps its data (TFDS's own place)")
_integer("image_size", None, 1, "side of the images, pixels (by data set)", highest=2**13)
_choice("channels", None, ("1", "3"), "1 for gray, 3 for colour (by data set)")
flag_kinds.boolean("invert", None, "make dark light, for dark ink on a light ground (by data set)")
_number(
    "test_fraction",
    0.1,
    "of the images to test on, where the data set has no test images of its own",
    lambda value: 0.0 < value < 1.0,
    "in (0, 1)",
)
_choice("binarization", None, ("dynamic", "fixed", "none"), "how pixels become 0 or 1 (by data set)")
_choice(
    "likelihood",
    None,
    ("bernoulli", "continuous_bernoulli", "gaussian"),
    "the family of p(x|z) (by data set)",
)
_integer("validation_images", 0, 0, "training images to hold out and validate on, a fixed sample")
_choice(
    "eval_split", "test", ("test", "validation"), "what to evaluate on; validation is what is held out"
)
_choice("method", None, tuple(METHODS), "sets --model, --lambda and --eta together")
_choice("model", None, ("vae", "iwae", "beta_vae"), "the base model (vae)")
_number("beta", 1.0, "weight of the rate, for --model=beta_vae")
_integer("importance_samples", 5, 1, "K, for --model=iwae", highest=10**6)
_choice(
    "gradient",
    "standard",
    ("standard", "doubly_reparameterized"),
    "how --model=iwae estimates the gradient of its encoder",
)
_number("lambda", None, "weight of the view's bound in Equation 2 (1)")
_define(
    "eta",
    None,
    _Checked(flag_kinds.number_or_auto, lambda eta: eta is None or 0.0 <= eta < math.inf, ">= 0"),
    "weight of the consistency term in Equation 2; auto is 0.1 * beta (auto)",
)
_choice(
    "kl_direction",
    "forward",
    ("forward", "reverse", "symmetric"),
    "of the consistency term; forward is the paper's",
)
_choice(
    "pose",
    "none",
    ("none", "affine"),
    "affine: registered networks, whose content holds still when the image moves",
)
_integer(
    "pose_steps",
    2,
    1,
    "how often registered networks bring an image upright in training; twice as often elsewhere",
    highest=100,
)
_integer("views_per_image", 1, 1, "views that each image of a step is paired with")
_choice("network", "wae", ("wae", "mlp"), "encoder and decoder")
_number(
    "width",
    1.0,
    "multiplier of the network's channels",
    lambda value: 0.0 < value <= 16.0,
    "> 0 and at most 16",
)
_integer("latent_dim", 50, 1, "dimensions of z")
_integer("epochs", 100, 1, "passes over the training images")
_integer("batch_size", 64, 1, "images in a step, over all devices")
_number("learning_rate", 1e-4, "of Adam, at the first step", lambda value: value > 0.0, "> 0")
_SCHEDULES = ("constant", "cosine", "burda")
_choice("schedule", "constant", _SCHEDULES, "how the learning rate falls; burda decides --epochs")
_integer("schedule_stages", 8, 1, "stages of --schedule=burda, of 1, 3, 9, 27 ... epochs")
_number("translation", None, "of training views, pixels (2 of a 28-pixel side)")
_number("rotation", 15.0, "of training views, degrees", lambda v: 0.0 <= v <= 180.0, "in [0, 180]")
_number("scaling", 0.1, "of training views, a fraction", lambda v: 0.0 <= v < 1.0, "in [0, 1)")
_number("test_translation", None, "of the transformed test set, pixels (4 of a 28-pixel side)")
_number(
    "test_rotation",
    30.0,
    "of the transformed test set, degrees",
    lambda v: 0.0 <= v <= 180.0,
    "in [0, 180]",
)
_number(
    "test_scaling",
    0.25,
    "of the transformed test set, a fraction",
    lambda v: 0.0 <= v < 1.0,
    "in [0, 1)",
)
_integer("nll_samples", 1000, 1, "importance samples of the negative log-likelihood")
_integer("eval_images", None, 2, "how many of the test images to evaluate, a fixed sample (all)")
_choice("strategy", "none", ("none", "mirrored", "multi_worker", "tpu"), "how training is distributed")
_integer(
    "num_devices",
    None,
    1,
    "of --strategy=mirrored: GPUs, or parts of the CPU where there is none (all GPUs, or the CPU)",
)
_choice("precision", "float32", ("float32", "mixed_bfloat16", "mixed_float16"), "of the computation")
_define(
    "steps_per_execution",
    None,
    _Checked(
        flag_kinds.integer_or_auto,
        lambda steps: steps is None or steps >= 1,
        "an integer >= 1, or auto",
        highest=2**31 - 1,
    ),
    "steps that TensorFlow takes before it returns to Python, at most; auto is more than 1 for small "
    "networks (auto)",
)
_choice("jit", "auto", ("auto", "on", "off"), "whether XLA compiles the step; auto: on one GPU")
_number("clip_norm", None, "largest norm of the gradient (none)", lambda value: value > 0.0, "> 0")
_number("min_stddev", 0.0, "smallest standard deviation of a posterior")
_integer("checkpoint_steps", None, 1, "steps between checkpoints within an epoch (none)")
_number(
    "checkpoint_minutes",
    15.0,
    "minutes between checkpoints within an epoch",
    lambda value: value > 0.0,
    "> 0",
)
_integer("checkpoints_kept", 2, 1, "how many of the last checkpoints to keep")
flag_kinds.boolean(
    "allow_config_change",
    False,
    "go on with a run under another number of epochs, evaluation, strategy, number of devices, "
    "precision, --jit or package version",
)
_integer("seed", 0, 0, "of everything that is drawn")
flag_kinds.run_folder("output_dir", None, "where the run lives (runs/DATASET_METHOD_SEED)")


@dataclasses.dataclass(frozen=True)
class Options:
    """The options of a run, all resolved; `lambda_` is the flag `--lambda`."""

    dataset: str
    data_dir: str | None
    image_size: int
    channels: int
    binarization: str
    likelihood: str
    validation_images: int
    eval_split: str
    model: str
    beta: float
    importance_samples: int
    gradient: str
    lambda_: float
    eta: float
    kl_direction: str
    network: str
    width: float
    latent_dim: int
    epochs: int
    batch_size: int
    learning_rate: float
    schedule: str
    schedule_stages: int
    translation: float
    rotation: float
    scaling: float
    test_translation: float
    test_rotation: float
    test_scaling: float
    nll_samples: int
    eval_images: int | None
    strategy: str
    precision: str
    clip_norm: float | None
    min_stddev: float
    checkpoint_steps: int | None
    checkpoint_minutes: float
    checkpoints_kept: int
    seed: int
    output_dir: str
    pose: str = "none"
    pose_steps: int = 2
    views_per_image: int = 1
    num_devices: int | None = None
    steps_per_execution: int | None = None
    jit: str = "auto"
    invert: bool | None = None
    test_fraction: float = 0.1

    def to_config(self) -> dict[str, Any]:
        """Returns the options by the names of their flags."""
        return {name.rstrip("_"): value for name, value in dataclasses.asdict(self).items()}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Options":
        """Returns the options that `to_config` gave; those that came later have their defaults.

        Raises:
          InputError: one is missing, or is what its flag cannot be.
        """
        values = later_options() | config
        for field in dataclasses.fields(cls):
            flag_kinds.check_kept(field.name.rstrip("_"), field.type, values)
        return cls(**_fields(values))

    @property
    def method(self) -> str:
        """The name in `METHODS` that comes nearest to these options."""
        if not self.lambda_ and not self.eta:
            return self.model
        if self.model == "vae" and not self.eta:
            return "vae_aug"
        return f"cr_{self.model}"


def training_flags() -> list[str]:
    """Returns the names of the flags that describe a training, but for --method."""
    return [field.name.rstrip("_") for field in dataclasses.fields(Options)]


def later_options() -> dict[str, Any]:
    """Returns the defaults of the options that configurations of older runs lack."""
    absent = dataclasses.MISSING
    return {f.name: f.default for f in dataclasses.fields(Options) if f.default is not absent}


def drop_training_flags(kept: Sequence[str] = ()) -> None:
    """Undefines the flags that describe a training, for a command that takes none but those `kept`."""
    for name in (*training_flags(), "method", "allow_config_change"):
        if name not in kept:
            delattr(flags.FLAGS, name)


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


def parse(argv: Sequence[str]) -> list[str]:
    """Parses the command line into absl's flags; prints the help and exits where it is asked for.

    It may be asked for in each of absl's ways, on the command line or in a flagfile.

    Raises:
      UsageError: a flag is unknown or has a value it cannot have.
    """
    flag_kinds.answer_help(argv[1:])
    try:
        rest = flags.FLAGS(list(argv))
        if "preset" in flags.FLAGS:
            first = f"--flagfile={flag_kinds.preset_file(flags.FLAGS.preset)}"
            rest = flags.FLAGS([argv[0], first, *argv[1:]])
    except (UnicodeDecodeError, OSError) as error:
        raise UsageError(
            f"--flagfile must be a file of UTF-8 text; received one that cannot be read: {error}"
        ) from error
    except (flags.Error, ValueError) as error:  # The latter are of absl's own flags.
        raise UsageError(flag_kinds.refusal(error)) from error
    if len(rest) > 1:
        received = " ".join(" ".join(rest[1:]).split())
        raise UsageError(f"expected flags only; received {received}")
    return rest


def given() -> dict[str, Any]:
    """Returns the values of the flags, None where one was not given and has no fixed default."""
    return {name: flags.FLAGS[name].value for name in (*training_flags(), "method")}


def named() -> set[str]:
    """Returns the flags that stand on the command line or in a flagfile."""
    return {name for name in given() if flags.FLAGS[name].present}


def resolve(changes: dict[str, Any] | None = None) -> Options:
    """Returns the options that the flags stand for, defaults filled in.

    Args:
      changes: values of flags that stand in for those given, as if they were on the command line.

    Raises:
      UsageError: two flags contradict each other.
    """
    changes = changes or {}
    present = named() | set(changes)
    values = resolution.with_method(given() | changes, present)
    resolution.resolve_epochs(values, present)
    resolution.resolve_dataset(values)
    resolution.resolve_translations(values)
    resolution.check_pairs(values)
    if values["output_dir"] is None:
        name = re.sub(r"\W+", "_", values["dataset"])
        method = Options(**_fields(values | {"output_dir": ""})).method
        values["output_dir"] = f"runs/{name}_{method}_{values['seed']}"
    resolution.check_apart("output_dir", values["output_dir"], values["dataset"])
    return Options(**_fields(values))


def resolve_evaluation(config: dict[str, Any]) -> Options:
    """Returns a finished run's options, with what an evaluation may change taken from the flags.

    Raises:
      UsageError: another flag was given with another value than the run's.
    """
    held, values = Options.from_config(config), given()
    changed = held.to_config()
    named_like_the_run = values["method"] in (None, held.method)
    if not named_like_the_run and not resolution.is_method_of(changed, values, named()):
        raise UsageError(f"--method must be the run's own, {held.method}; received {values['method']}")
    for name in named() - {"method"} - set(EVALUATION):
        own, value = changed[name], values[name]
        if name == "eta" and value is None:
            value = resolution.paper_eta(held.beta)
        if value != own and (None in (value, own) or type(own)(value) != own):
            received = "auto" if values[name] is None else values[name]
            raise UsageError(f"--{name} must be the run's own, {own}; received {received}")
    changed |= {name: values[name] for name in named() & set(EVALUATION)}
    resolution.check_pairs(changed)
    return Options(**_fields(changed))


def allowed_changes(options: Options, precision: str | None, epochs_trained: int) -> tuple[str, ...]:
    """Returns the options that a run may go on with other values of.

    Args:
      options: what is asked for.
      precision: of the run, or None where there is none yet.
      epochs_trained: of the run.
    """
    allowed = set(MAY_CHANGE if flags.FLAGS.allow_config_change else ())
    # Of a falling rate the epochs that were trained would be those of another schedule.
    if options.schedule != "constant" or options.epochs <= epochs_trained:
        allowed -= {"epochs"}
    if "mixed_float16" in (options.precision, precision):  # Its optimizer keeps the scale of the loss.
        allowed -= {"precision"}
    return tuple(allowed)


def _fields(values: dict[str, Any]) -> dict[str, Any]:
    names = [field.name for field in dataclasses.fields(Options)]
    return {name: values[name.rstrip("_")] for name in names}
