"""Consistency-regularised variational auto-encoders (Sinha, Odena and Dieng 2020) in Keras."""

import importlib

__version__ = "0.1.0"

_NAMES = {
    "errors": ("InputError",),
    "evaluation.evaluate": ("evaluate",),
    "models": ("CRVAE", "IWAE", "VAE", "BetaVAE"),
    "objectives": ("Bound", "consistency", "elbo", "importance_weighted_bound"),
    "serving.export": ("export_decoder", "export_encoder", "load_encoder"),
    "transforms": ("RandomAffine",),
}
"""The public names of each module. It is imported on first use, because most need TensorFlow."""
_HOMES = {name: module for module, names in _NAMES.items() for name in names}

__all__ = list(_HOMES)


def __getattr__(name: str):
    if _HOMES.get(name, name) != "errors":
        _check_backend()
    return attribute_of(__name__, _HOMES, name)


def attribute_of(package: str, homes: dict[str, str], name: str):
    """Returns an attribute of a package: a public name, from its module in `homes`, or a module."""
    module_name = f"{package}.{homes.get(name, name)}"
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name != module_name:
            raise
        raise AttributeError(f"module {package!r} has no attribute {name!r}") from error
    return getattr(module, name) if name in homes else module


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _check_backend() -> None:
    message = "crvae_tf needs TensorFlow: set the environment variable KERAS_BACKEND to tensorflow"
    try:
        import keras
    except ModuleNotFoundError as error:
        if error.name == "keras":
            raise
        raise ImportError(message) from error  # KERAS_BACKEND names one that is not installed.
    if keras.backend.backend() != "tensorflow":
        raise ImportError(message)
