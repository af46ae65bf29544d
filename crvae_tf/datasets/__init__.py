"""Image data: images in a fixed order, preprocessing, and input pipelines."""

from crvae_tf import attribute_of

_NAMES = {
    "images": ("NO_LABEL", "ArrayImages", "ImageData", "Images"),
    "pipelines": ("evaluation_batches", "training_batches", "validation_pairs"),
    "preprocessing": ("Preprocessing",),
    "sources": ("FOLDER_PREFIX", "defaults", "is_prepared", "load", "open_images"),
}
"""The public names of each module. It is imported on first use, because embedding needs no KerasCV."""
_HOMES = {name: module for module, names in _NAMES.items() for name in names}

__all__ = list(_HOMES)


def __getattr__(name: str):
    return attribute_of(__name__, _HOMES, name)
