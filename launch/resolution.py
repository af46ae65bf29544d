"""What flags that were left out stand for, and which may not go together.

Functions on the values of flags by name, None where one was not given.
"""

import dataclasses
import os
from typing import Any


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


_MOST_STAGES = 19
"""Of Burda et al.'s schedule, whose last then has 3^18 epochs."""


def check_pairs(values: dict[str, Any]) -> None:
    """Raises UsageError if two values contradict each other."""
    wanted = "dynamic or fixed" if values["likelihood"] == "bernoulli" else "none"
    if values["binarization"] not in wanted:
        raise UsageError(
            f"--likelihood={values['likelihood']} must go with --binarization={wanted}; "
            f"received {values['binarization']}"
        )
    _check_views(values)
    if values["num_devices"] and values["strategy"] != "mirrored":
        raise UsageError(
            f"--num_devices must go with --strategy=mirrored; received {values['num_devices']} "
            f"with --strategy={values['strategy']}"
        )
    if values["gradient"] != "standard" and values["model"] != "iwae":
        raise UsageError(
            f"--gradient must be standard unless --model=iwae; received {values['gradient']} "
            f"with --model={values['model']}"
        )
    if values["eval_split"] == "validation" and values["validation_images"] < 2:
        raise UsageError(
            "--eval_split=validation must go with --validation_images >= 2; "
            f"received {values['validation_images']}"
        )


def check_apart(flag: str, output: str, images: str) -> None:
    """Raises UsageError if the folder `output`, of `flag`, is among the images of `folder:PATH`.

    The pictures in it would be images too, and those that the folder was read with would have changed.
    """
    from crvae_tf.datasets import FOLDER_PREFIX

    folder = images.removeprefix(FOLDER_PREFIX)
    if folder == images or not os.path.isdir(folder):
        return
    if _is_among(output, folder):
        raise UsageError(f"--{flag} must lie outside the images of {images}; received {output}")


def _is_among(output: str, folder: str) -> bool:
    """Returns whether images would be looked for in `output` where they are looked for in `folder`."""
    below = os.path.relpath(os.path.realpath(output), os.path.realpath(folder)).split(os.sep)
    # What lies elsewhere begins with "..", and what begins with a dot is left out.
    return not any(name.startswith(".") for name in below if name != os.curdir)


def _check_views(values: dict[str, Any]) -> None:
    """Raises UsageError if --pose, --eta or --views_per_image contradicts what is trained."""
    if values["eta"] and not values["lambda"]:
        raise UsageError(f"--eta must be 0 with --lambda=0; received {values['eta']}")
    sizes = [values[name] for name in ("translation", "rotation", "scaling")]
    if values["pose"] == "affine" and not any(sizes):
        raise UsageError(
            "--pose must be none with a training transformation that is the identity; received affine"
        )
    pose_dim = 2 * bool(sizes[0]) + bool(sizes[1]) + bool(sizes[2])
    if values["pose"] == "affine" and values["latent_dim"] <= pose_dim:
        raise UsageError(
            f"--latent_dim must be > {pose_dim}, the dimensions of the pose; "
            f"received {values['latent_dim']}"
        )
    if values["views_per_image"] != 1 and not values["lambda"]:
        raise UsageError(
            "--views_per_image must be 1 with --lambda=0, which has no view; "
            f"received {values['views_per_image']}"
        )


def resolve_epochs(values: dict[str, Any], present: set[str]) -> None:
    """Fills in the epochs of a schedule that has a number of its own."""
    if values["schedule"] != "burda":
        return
    from crvae_tf.schedules import burda_epochs

    if values["schedule_stages"] > _MOST_STAGES:
        raise UsageError(
            f"--schedule_stages must be at most {_MOST_STAGES}; received {values['schedule_stages']}"
        )
    epochs = burda_epochs(values["schedule_stages"])
    if "epochs" in present and values["epochs"] != epochs:
        raise UsageError(
            f"--epochs must be {epochs} with --schedule=burda "
            f"--schedule_stages={values['schedule_stages']}; received {values['epochs']}"
        )
    values["epochs"] = epochs


def with_method(values: dict[str, Any], present: set[str]) -> dict[str, Any]:
    """Returns the values with `--method` spelled out; `present` are the flags that were given."""
    method = METHODS[values["method"]] if values["method"] else METHODS["cr_vae"]
    if values["method"] and values["model"] not in (None, method["model"]):
        raise UsageError(
            f"--model must be {method['model']} with --method={values['method']}; "
            f"received {values['model']}"
        )
    resolved = dict(values)
    for name in ("lambda", "eta"):
        if name not in present:
            resolved[name] = method[name]
    resolved["model"] = values["model"] or method["model"]
    if resolved["model"] != "beta_vae" and values["beta"] != 1.0:
        raise UsageError(
            f"--beta must be 1 unless --model=beta_vae; received {values['beta']} "
            f"with --model={resolved['model']}"
        )
    if resolved["eta"] is None:
        resolved["eta"] = paper_eta(values["beta"])
    return resolved


def is_method_of(own: dict[str, Any], values: dict[str, Any], present: set[str]) -> bool:
    """Returns whether `--method`, with the flags beside it, stands for a run whose values are `own`."""
    given = {name: values[name] for name in present}
    meant = with_method(own | {"model": None} | given, present)
    return all(meant[name] == own[name] for name in METHODS["vae"])


def paper_eta(beta: float) -> float:
    """Returns what `--eta=auto` is."""
    from crvae_tf.objectives import default_eta

    return default_eta(beta)


def resolve_dataset(values: dict[str, Any]) -> None:
    """Fills in what the data set is modelled as by default.

    Of likelihood and binarization, one that is given decides the other.
    """
    from crvae_tf import datasets

    preset = dataclasses.asdict(datasets.defaults(values["dataset"], values["data_dir"]))
    if values["likelihood"] and (values["likelihood"] == "bernoulli") != _is_binarized(preset):
        preset["binarization"] = "dynamic" if values["likelihood"] == "bernoulli" else "none"
    elif values["binarization"] and _is_binarized(values) != _is_binarized(preset):
        is_gray = int(values["channels"] or preset["channels"]) == 1
        of_levels = "continuous_bernoulli" if is_gray else "gaussian"
        preset["likelihood"] = "bernoulli" if _is_binarized(values) else of_levels
    for name, value in preset.items():
        values[name] = value if values[name] is None else values[name]
    values["channels"] = int(values["channels"])


def _is_binarized(values: dict[str, Any]) -> bool:
    return values["binarization"] != "none"


def resolve_translations(values: dict[str, Any]) -> None:
    """Fills in the paper's moves, 2 and 4 pixels of MNIST's 28, in proportion to the side."""
    for name, pixels in (("translation", 2.0), ("test_translation", 4.0)):
        if values[name] is None:
            values[name] = pixels * values["image_size"] / 28.0
