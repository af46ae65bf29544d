"""Every option of a training, once: its flag, its default, its values and its meaning.

No import of this module loads TensorFlow, so that a mistyped flag is answered at once.
"""

import dataclasses
import os
import re
import shlex
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Any

from absl import flags

from crvae_tf.errors import InputError
from launch import command
from launch.command import DATA_DIR, IMAGES, RUN_FOLDER, choice, either, integer, number, positive

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
CHECKPOINTING = ("checkpoint_minutes", "steps_per_execution")
"""Options that say where things lie and what a broken run loses; they change no figure."""

EVALUATION = (
    *("eval_split", "nll_samples", "eval_images"),
    *("test_translation", "test_rotation", "test_scaling"),
)
"""Options that say how a run is evaluated; a finished run may be evaluated with others."""


def _flag(default: Any, kind: flags.ArgumentParser, meaning: str, purpose: str = "") -> Any:
    """Returns a field that defines a flag, and may be the first of a purpose in the help."""
    about = {"kind": kind, "meaning": meaning, "purpose": purpose}
    return dataclasses.field(default=default, metadata=about)


@dataclasses.dataclass(frozen=True)
class Options:
    """The options of a run; each field defines a flag. `resolve` fills in defaults that are None."""

    dataset: str = _flag("digits", IMAGES, "digits, a TFDS data set, folder:PATH, FILE.npy", "data")
    data_dir: str | None = _flag(None, DATA_DIR, "where TFDS keeps its data (TFDS's own place)")
    image_size: int = _flag(None, integer(1, 2**13), "side of the images, pixels (by data set)")
    channels: int = _flag(None, choice(1, 3), "1 for gray, 3 for colour (by data set)")
    invert: bool = _flag(None, command.BOOLEAN, "invert dark ink on a light ground (by data set)")
    binarization: str = _flag(None, choice("dynamic", "fixed", "none"), "of pixels (by data set)")
    validation_images: int = _flag(0, integer(0), "training images to hold out, a fixed sample")
    test_fraction: float = _flag(0.1, positive(0.99), "share to test on if there is no test set")
    network: str = _flag("wae", choice("wae", "mlp"), "convolutions, or two dense layers", "model")
    width: float = _flag(1.0, positive(16), "multiplier of the network's channels")
    latent_dim: int = _flag(50, integer(1), "dimensions of z")
    pose: str = _flag("none", choice("none", "affine"), "affine: registered networks")
    pose_steps: int = _flag(2, integer(1), "steps that turn an image upright in training")
    likelihood: str = _flag(
        None, choice("bernoulli", "continuous_bernoulli", "gaussian"), "of a pixel (by data set)"
    )
    pixel_stddev: float | str = _flag(
        None, either("learned", "learned", positive()), "of Gaussian pixels (learned; celeb_a: 1)"
    )
    model: str = _flag(None, choice("vae", "iwae", "beta_vae"), "base (vae)", "objective")
    beta: float = _flag(1.0, number(), "weight of the rate, for --model=beta_vae")
    importance_samples: int = _flag(5, integer(1), "K, for --model=iwae")
    lambda_: float = _flag(None, number(), "weight of the view's bound in Equation 2 (1)")
    eta: float = _flag(
        None, either("auto", None, number()), "weight of the consistency term; auto: 0.1 beta (auto)"
    )
    kl_direction: str = _flag("forward", choice("forward", "reverse", "symmetric"), "of the pair's KL")
    translation: float = _flag(
        None, number(), "largest shift of a view, pixels (2 of 28)", "transformation"
    )
    rotation: float = _flag(15.0, number(0, 180), "largest angle of a training view, degrees")
    scaling: float = _flag(0.1, number(0, 0.99), "largest change of a training view's size, a fraction")
    fill: str = _flag("constant", choice("constant", "reflect"), "how to fill what a view uncovers")
    views_per_image: int = _flag(1, integer(1), "views of each image in a step")
    epochs: int = _flag(100, integer(1), "passes over the training images (burda: 3280)", "training")
    batch_size: int = _flag(64, integer(1), "images in a step, over all devices")
    learning_rate: float = _flag(1e-4, positive(), "Adam's initial rate")
    schedule: str = _flag("constant", choice("constant", "cosine", "burda"), "how the rate falls")
    clip_norm: float | None = _flag(None, positive(), "largest norm of the gradient (none)")
    seed: int = _flag(0, integer(0, 2**31 - 1), "seed of everything random")
    strategy: str = _flag("none", choice("none", "mirrored", "multi_worker"), "for several devices")
    precision: str = _flag("float32", choice("float32", "mixed_bfloat16", "mixed_float16"), "of layers")
    jit: str = _flag("auto", choice("auto", "on", "off"), "whether XLA compiles the step")
    steps_per_execution: int = _flag(None, either("auto", None, integer(1)), "steps in a call (auto)")
    checkpoint_minutes: float = _flag(15.0, number(), "minutes between checkpoints within an epoch")
    eval_split: str = _flag("test", choice("test", "validation"), "images to evaluate on", "evaluation")
    eval_images: int | None = _flag(None, integer(2), "test images to use, a fixed sample (all)")
    nll_samples: int = _flag(1000, integer(1), "importance samples of the negative log-likelihood")
    test_translation: float = _flag(None, number(), "of the transformed test set, pixels (4 of 28)")
    test_rotation: float = _flag(30.0, number(0, 180), "of the transformed test set, degrees")
    test_scaling: float = _flag(0.25, number(0, 0.99), "of the transformed test set, a fraction")
    output_dir: str = _flag(None, RUN_FOLDER, "its folder (runs/DATASET_METHOD_SEED)", "where")

    def to_config(self) -> dict[str, Any]:
        """Returns the options by the names of their flags."""
        return {name.rstrip("_"): value for name, value in dataclasses.asdict(self).items()}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Options":
        """Returns the options of a configuration; missing ones take their defaults."""
        return cls(**{n + "_" * (n == "lambda"): config[n] for n in _OPTIONS if n in config})

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
        of_files = ("dataset",) if self.dataset.startswith((command.FOLDER_PREFIX, "/")) else ()
        return (*PLACES, *CHECKPOINTING, *of_files)


_OPTIONS = {field.name.rstrip("_"): field for field in dataclasses.fields(Options)}


def define_training() -> None:
    define(*_OPTIONS)
    meaning = "sets --model, --lambda and --eta together (cr_vae)"
    command.define("method", None, choice(*METHODS), meaning, "objective")


def define_evaluation() -> None:
    """Defines the flags of a command that is about a finished run."""
    define("dataset", *PLACES, *EVALUATION)
    flags.register_validator("output_dir", bool, "must be the folder of a finished run")


def define(*names: str) -> None:
    """Defines those flags of a training that a command takes."""
    purpose = ""
    for name, option in _OPTIONS.items():
        purpose = option.metadata["purpose"] or purpose
        if name in names:
            command.define(name, option.default, **option.metadata | {"purpose": purpose})


def named() -> dict[str, Any]:
    """Returns the values of the training flags that the command line or a flagfile sets."""
    known = {name: flags.FLAGS[name] for name in (*_OPTIONS, "method") if name in flags.FLAGS}
    return {name: flag.value for name, flag in known.items() if flag.present}


def command_line() -> str:
    """Returns the command that this process was started with, without the flags that name places."""
    spec = sys.modules["__main__"].__spec__
    module = spec.name if spec else Path(sys.argv[0]).stem
    given = "\0".join(["", *sys.argv[1:]])
    kept = re.sub(rf"\0--?({'|'.join(PLACES)}|records)[=\0][^\0]*", "", given)
    return shlex.join(["python", "-m", module, *kept.split("\0")[1:]])


def resolve(changes: dict[str, Any] | None = None) -> Options:
    """Returns the options that the flags describe, except for `changes`, with defaults filled in.

    Raises InputError if two contradict each other.
    """
    from crvae_tf.training.fit import BURDA_EPOCHS

    present = named() | (changes or {})
    values = {"method": None} | {n: option.default for n, option in _OPTIONS.items()} | present
    _fill_method(values, present)
    if values["schedule"] == "burda" and "epochs" not in present:
        values["epochs"] = BURDA_EPOCHS
    _fill_dataset(values)
    for name, pixels in (("translation", 2.0), ("test_translation", 4.0)):
        if values[name] is None:  # The paper's moves of MNIST's 28 pixels, in proportion.
            values[name] = pixels * values["image_size"] / 28.0
    chosen = Options.from_config(values)
    name = re.sub(r"\W+", "_", chosen.dataset)
    place = chosen.output_dir or f"runs/{name}_{chosen.method}_{chosen.seed}"
    check_apart("output_dir", place, chosen.dataset)
    return _checked(dataclasses.replace(chosen, output_dir=place))


def resolve_evaluation(config: dict[str, Any]) -> Options:
    """Returns a finished run's options, with what an evaluation may change taken from the flags."""
    return _checked(Options.from_config(config | named()))


def _fill_method(values: dict[str, Any], present: Collection[str]) -> None:
    """Fills in what the method sets and the flags do not."""
    from crvae_tf.objectives import default_eta

    name = values["method"] or "cr_vae"
    method = METHODS[name]
    if values["method"] and values["model"] not in (None, method["model"]):
        raise InputError("model", f"{method['model']} for the method {name}", values["model"])
    values["model"] = values["model"] or method["model"]
    values |= {part: method[part] for part in ("lambda", "eta") if part not in present}
    if values["eta"] is None:
        values["eta"] = default_eta(values["beta"], values["lambda"])


def _fill_dataset(values: dict[str, Any]) -> None:
    """Fills in how the data set is modelled; a given likelihood or binarization decides the other."""
    from crvae_tf import datasets

    usual = datasets.defaults(values["dataset"], values["data_dir"], values["channels"])
    binarized = usual["likelihood"] == "bernoulli"
    if values["likelihood"] and (values["likelihood"] == "bernoulli") != binarized:
        usual["binarization"] = "none" if binarized else "dynamic"
    elif values["binarization"] and (values["binarization"] != "none") != binarized:
        is_gray = (values["channels"] or usual["channels"]) == 1
        of_levels = "continuous_bernoulli" if is_gray else "gaussian"
        usual["likelihood"] = of_levels if binarized else "bernoulli"
    usual["pixel_stddev"] = 1.0 if values["dataset"] == "celeb_a" else "learned"
    values |= {name: value for name, value in usual.items() if values[name] is None}


def _checked(chosen: Options) -> Options:
    """Returns options that do not contradict each other, the path of a folder made absolute."""
    has_views, registered = bool(chosen.lambda_), chosen.pose != "none"
    binarizations = ("dynamic", "fixed") if chosen.likelihood == "bernoulli" else ("none",)
    pose_dim = 2 * bool(chosen.translation) + bool(chosen.rotation) + bool(chosen.scaling)
    of_likelihood = f"{' or '.join(binarizations)} for the likelihood {chosen.likelihood}"
    of_pose = f"> {pose_dim}, the dimensions of the pose"
    rules = {
        "beta": (chosen.model == "beta_vae" or chosen.beta == 1.0, f"1 for the model {chosen.model}"),
        "eta": (has_views or not chosen.eta, "0 for a lambda of 0"),
        "views_per_image": (has_views or chosen.views_per_image == 1, "1 for a method without views"),
        "binarization": (chosen.binarization in binarizations, of_likelihood),
        "pose": (not registered or pose_dim, "none for a transformation that is the identity"),
        "latent_dim": (not registered or chosen.latent_dim > pose_dim, of_pose),
    }
    for name, (holds, expected) in rules.items():
        if not holds:
            raise InputError(name, expected, getattr(chosen, name))
    return dataclasses.replace(chosen, dataset=_absolute(chosen.dataset))


def _absolute(dataset: str) -> str:
    """Returns the name of a data set, the path of a folder or of an array made absolute."""
    path = dataset.removeprefix(command.FOLDER_PREFIX)
    if path == dataset and not path.endswith(".npy"):
        return dataset
    return dataset.removesuffix(path) + os.path.abspath(path)


def check_apart(argument: str, output: str, images: str) -> None:
    """Raises InputError if the folder `output`, of `argument`, lies in the images of `folder:PATH`.

    The pictures in it would be images too, and the folder would not be the one that was read.
    """
    folder = images.removeprefix(command.FOLDER_PREFIX)
    if folder == images or not os.path.isdir(folder):
        return
    outer, inner = os.path.realpath(folder), os.path.realpath(output)
    if os.path.commonpath([outer, inner]) == outer:
        raise InputError(argument, f"a folder outside the images of {images}", output)
