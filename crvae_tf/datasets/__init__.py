"""Image data: images in a fixed order, preprocessing, and input pipelines."""

import importlib

_HOMES = {
    "FOLDER_PREFIX": "sources",
    "NO_LABEL": "images",
    "ArrayImages": "images",
    "ImageData": "sources",
    "Images": "images",
    "Preprocessing": "preprocessing",
    "defaults": "sources",
    "evaluation_batches": "pipelines",
    "is_prepared": "sources",
    "load": "sources",
    "open_images": "sources",
    "training_batches": "pipelines",
    "validation_pairs": "pipelines",
}
"""The module of each name. It is imported on first use, because embedding needs no KerasCV."""

__all__ = list(_HOMES)


def __getattr__(name: str):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
