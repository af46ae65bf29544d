"""What the flags that were left out stand for, and which values may not go together.

Functions on the values of flags by name, None where a flag was not given.
"""

import os
from collections.abc import Set
from typing import Any

from crvae_tf.errors import InputError
from launch.flag_kinds import FOLDER_PREFIX

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


def filled(given: dict[str, Any], present: Set[str]) -> dict[str, Any]:
    """Returns the values of all options; `present` are the flags that were given.

    Raises:
      InputError: two values contradict each other.
    """
    from crvae_tf.training.optimizers import BURDA_EPOCHS

    values = _with_method(given, present)
    if values["schedule"] == "burda" and "epochs" not in present:
        values["epochs"] = BURDA_EPOCHS
    _fill_dataset(values)
    if values["pixel_stddev"] is None:
        values["pixel_stddev"] = 1.0 if values["dataset"] == "celeb_a" else "learned"
    for name, pixels in (("translation", 2.0), ("test_translation", 4.0)):
        if values[name] is None:  # The paper's moves of MNIST's 28 pixels, in proportion.
            values[name] = pixels * values["image_size"] / 28.0
    return values


def _with_method(given: dict[str, Any], present: Set[str]) -> dict[str, Any]:
    name = given["method"] or "cr_vae"
    method = METHODS[name]
    if given["method"] and given["model"] not in (None, method["model"]):
        raise InputError("model", f"{method['model']} for the method {name}", given["model"])
    values = given | {part: method[part] for part in ("lambda", "eta") if part not in present}
    values["model"] = given["model"] or method["model"]
    if values["eta"] is None:
        from crvae_tf.objectives import default_eta

        values["eta"] = default_eta(values["beta"])
    return values


def _fill_dataset(values: dict[str, Any]) -> None:
    """Fills in how the data set is modelled; a given likelihood or binarization decides the other."""
    from crvae_tf import datasets

    usual = datasets.defaults(values["dataset"], values["data_dir"])
    if values["likelihood"] and (values["likelihood"] == "bernoulli") != _is_binarized(usual):
        usual["binarization"] = "dynamic" if values["likelihood"] == "bernoulli" else "none"
    elif values["binarization"] and _is_binarized(values) != _is_binarized(usual):
        is_gray = (values["channels"] or usual["channels"]) == 1
        of_levels = "continuous_bernoulli" if is_gray else "gaussian"
        usual["likelihood"] = "bernoulli" if _is_binarized(values) else of_levels
    values |= {name: value for name, value in usual.items() if values[name] is None}


def _is_binarized(values: dict[str, Any]) -> bool:
    return values["binarization"] != "none"


def check_apart(argument: str, output: str, images: str) -> None:
    """Raises InputError if the folder `output`, of `argument`, lies in the images of `folder:PATH`.

    The pictures in it would be images too, and the folder would not be the one that was read.
    """
    folder = images.removeprefix(FOLDER_PREFIX)
    if folder == images or not os.path.isdir(folder):
        return
    outer, inner = os.path.realpath(folder), os.path.realpath(output)
    if os.path.commonpath([outer, inner]) == outer:
        raise InputError(argument, f"a folder outside the images of {images}", output)
