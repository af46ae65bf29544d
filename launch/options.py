"""Every flag, once: its meaning, its default, what it may be, and what it resolves to.

No import of this module loads TensorFlow, so that a mistyped flag is answered at once.
"""

import dataclasses
import math
import re
import sys
from collections.abc import Sequence
from typing import Any

from absl import flags

from launch import flag_kinds
from launch.flag_kinds import Checked as _Checked
from launch.flag_kinds import choice as _choice
from launch.flag_kinds import define as _define
from launch.flag_kinds import integer as _integer
from launch.flag_kinds import number as _number
from launch.flag_kinds import text as _text


class UsageError(Exception):
    """A mistake on the command line; the message is one line."""


METHODS = {
    "vae": {"model": "vae", "lambda": 0.0, "eta": 0.0},
    "vae_aug": {"model": "vae", "lambda": 1.0, "eta": 0.0},
    "cr_vae": {"model": "vae", "lambda": 1.0, "eta": None},
    "iwae": {"model": "iwae", "lambda": 0.0, "eta": 0.0},
    "cr_iwae": {"model": "iwae", "lambda": 1.0, "eta": None},
    "beta_vae": {"model": "beta_vae", "lambda": 0.0, "eta": 0.0},
    "cr_beta_vae": {"model": "beta_vae", "lambda": 1.0, "eta": None},
}
"""What `--method` sets; an eta of None is `auto`."""

PLACES = ("output_dir", "data_dir")
"""Options that say where things lie and change no figure."""

EVALUATION = (
    *PLACES,
    "nll_samples",
    "eval_images",
    "test_translation",
    "test_rotation",
    "test_scaling",
)
"""Options that may differ between a training and a later evaluation of it."""


_text("dataset", "digits", "digits (embedded), a TFDS image data set, or folder:PATH")
_text("data_dir", None, "where TFDS keeps its data (TFDS's own place)")
_integer("image_size", None, 1, "side of the images, pixels (by data set)")
_choice("channels", None, ("1", "3"), "1 for gray, 3 for colour (by data set)")
_choice("binarization", None, ("dynamic", "fixed", "none"), "how pixels become 0 or 1 (by data set)")
_choice(
    "likelihood",
    None,
    ("bernoulli", "continuous_bernoulli", "gaussian"),
    "the family of p(x|z) (by data set)",
)
_integer("validation_images", 0, 0, "last training images to hold out and validate on")
_choice("method", None, tuple(METHODS), "sets --model, --lambda and --eta together")
_choice("model", None, ("vae", "iwae", "beta_vae"), "the base model (vae)")
_number("beta", 1.0, "weight of the rate, for --model=beta_vae")
_integer("importance_samples", 5, 1, "K, for --model=iwae")
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
_number("learning_rate", 1e-4, "of Adam", lambda value: value > 0.0, "> 0")
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
_integer("eval_images", None, 2, "how many of the first test images to evaluate (all)")
_choice("strategy", "none", ("none", "mirrored", "multi_worker", "tpu"), "how training is distributed")
_choice("precision", "float32", ("float32", "mixed_bfloat16", "mixed_float16"), "of the computation")
_integer("seed", 0, 0, "of everything that is drawn")
_text("output_dir", None, "where the run lives (runs/DATASET_METHOD_SEED)")


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
    model: str
    beta: float
    importance_samples: int
    lambda_: float
    eta: float
    kl_direction: str
    network: str
    width: float
    latent_dim: int
    epochs: int
    batch_size: int
    learning_rate: float
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
    seed: int
    output_dir: str

    def to_config(self) -> dict[str, Any]:
        """Returns the options by the names of their flags."""
        return {name.rstrip("_"): value for name, value in dataclasses.asdict(self).items()}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Options":
        """Returns the options that `to_config` gave."""
        names = [field.name for field in dataclasses.fields(cls)]
        return cls(**{name: config[name.rstrip("_")] for name in names})

    @property
    def method(self) -> str:
        """The name in `METHODS` that comes nearest to these options."""
        if not self.lambda_ and not self.eta:
            return self.model
        if self.model == "vae" and not self.eta:
            return "vae_aug"
        return f"cr_{self.model}"


def parse(argv: Sequence[str]) -> list[str]:
    """Parses the command line into absl's flags; prints the help and exits on `--help`.

    Raises:
      UsageError: a flag is unknown or has a value it cannot have.
    """
    if any(re.fullmatch(r"--?(h|help|helpfull|helpshort)", argument) for argument in argv[1:]):
        print(sys.modules["__main__"].__doc__ + "\n" + _help())
        sys.exit(0)
    try:
        rest = flags.FLAGS(list(argv))
    except flags.Error as error:
        raise UsageError(_one_line(error)) from error
    if len(rest) > 1:
        raise UsageError(f"expected flags only; received {' '.join(rest[1:])}")
    return rest


def given() -> dict[str, Any]:
    """Returns the values of the flags, None where one was not given and has no fixed default."""
    names = [field.name.rstrip("_") for field in dataclasses.fields(Options)]
    return {name: flags.FLAGS[name].value for name in (*names, "method")}


def named() -> set[str]:
    """Returns the flags that stand on the command line or in a flagfile."""
    return {name for name in given() if flags.FLAGS[name].present}


def resolve() -> Options:
    """Returns the options that the flags stand for, defaults filled in.

    Raises:
      UsageError: two flags contradict each other.
    """
    values = _with_method(given())
    preset = _dataset_defaults(values["dataset"], values["data_dir"])
    for name, value in dataclasses.asdict(preset).items():
        values[name] = value if values[name] is None else values[name]
    values["channels"] = int(values["channels"])
    _resolve_translations(values)
    if values["likelihood"] == "bernoulli" and values["binarization"] == "none":
        raise UsageError(
            "--likelihood=bernoulli must go with --binarization=dynamic or fixed; received none"
        )
    if values["output_dir"] is None:
        name = re.sub(r"\W+", "_", values["dataset"])
        method = Options(**_fields(values | {"output_dir": ""})).method
        values["output_dir"] = f"runs/{name}_{method}_{values['seed']}"
    return Options(**_fields(values))


def resolve_evaluation(config: dict[str, Any]) -> Options:
    """Returns a finished run's options, with what an evaluation may change taken from the flags.

    Raises:
      UsageError: another flag was given with another value than the run's.
    """
    values = given()
    for name in named() - {"method"} - set(EVALUATION):
        value = type(config[name])(values[name]) if values[name] is not None else None
        if value is not None and value != config[name]:
            raise UsageError(f"--{name} must be the run's own, {config[name]}; received {values[name]}")
    changed = {name: values[name] for name in named() & set(EVALUATION)}
    return Options.from_config(config | changed)


def _with_method(values: dict[str, Any]) -> dict[str, Any]:
    method = METHODS[values["method"]] if values["method"] else METHODS["cr_vae"]
    if values["method"] and values["model"] not in (None, method["model"]):
        raise UsageError(
            f"--model must be {method['model']} with --method={values['method']}; "
            f"received {values['model']}"
        )
    resolved = dict(values)
    for name in ("lambda", "eta"):
        if name not in named():
            resolved[name] = method[name]
    resolved["model"] = values["model"] or method["model"]
    if resolved["model"] != "beta_vae" and values["beta"] != 1.0:
        raise UsageError(
            f"--beta must be 1 unless --model=beta_vae; received {values['beta']} "
            f"with --model={resolved['model']}"
        )
    if resolved["eta"] is None:
        resolved["eta"] = _paper_eta(values["beta"])
    return resolved


def _paper_eta(beta: float) -> float:
    from crvae_tf.objectives import default_eta

    return default_eta(beta)


def _dataset_defaults(dataset: str, data_dir: str | None):
    from crvae_tf import datasets

    return datasets.defaults(dataset, data_dir)


def _resolve_translations(values: dict[str, Any]) -> None:
    """Fills in the paper's moves, 2 and 4 pixels of MNIST's 28, in proportion to the side."""
    for name, pixels in (("translation", 2.0), ("test_translation", 4.0)):
        if values[name] is None:
            values[name] = pixels * values["image_size"] / 28.0


def _fields(values: dict[str, Any]) -> dict[str, Any]:
    names = [field.name for field in dataclasses.fields(Options)]
    return {name: values[name.rstrip("_")] for name in names}


def _one_line(error: flags.Error) -> str:
    text = " ".join(str(error).split())
    wrong = re.fullmatch(r"flag --(\w+)=(.*?): (must .*)", text)
    if wrong:
        return f"--{wrong[1]} {wrong[3]}; received {wrong[2]}"
    unknown = re.fullmatch(r"Unknown command line flag '(.*?)'\.? ?(.*)", text)
    if unknown:
        return f"--{unknown[1]} must be a flag that --help lists; received none of that name"
    return text


def _help() -> str:
    lines = []
    for flag in flags.FLAGS.get_flags_for_module(flag_kinds.__name__):
        default = "" if flag.default is None else f" (default {flag.default})"
        lines.append(f"  --{flag.name}: {flag.help}{default}; {flag.parser.syntactic_help}")
    return "\n".join(["Flags; a later one wins, --flagfile=FILE reads them from a file:", *lines])
