"""Whether images are so dark that they look black, as masks of 0 and 1 do, or 12 bits in 16."""

import dataclasses
import logging

import numpy as np

from crvae_tf.datasets.images import Images
from crvae_tf.datasets.preprocessing import Preprocessing
from crvae_tf.errors import InputError

_LOGGER = logging.getLogger(__name__)

_DARK = 0.1
"""Images whose brightest pixel is a smaller share of what their type can hold look black."""
_SAMPLED = 1000


def stretched(images: Images) -> Preprocessing:
    """Returns the preprocessing that makes images white where they are brightest, if they look black.

    They are stretched where one factor serves all of them, or warned of.

    Raises:
      InputError: there are floats outside [0, 1].
    """
    found = shares(images, "dataset")
    brightest = max(found.values(), default=1.0)
    if len(found) > 1 or not 0.0 < brightest < _DARK:
        warn_of_dark(images, found)
        return images.preprocessing
    told = "%s: the brightest pixel is %.2f%% of what its type can hold: all are stretched to that"
    _LOGGER.warning(told, images.origin, 100.0 * brightest)
    return dataclasses.replace(images.preprocessing, brightest=brightest)


def warn_of_dark(images: Images, found: dict[str, float]) -> None:
    """Logs which types of image look black, of the `shares` that were found."""
    for kind, share in found.items():
        if share < _DARK * images.preprocessing.brightest:
            told = "%s: the brightest pixel of %s is %.2f%% of what that can hold: these look black"
            _LOGGER.warning(told, images.origin, kind, 100.0 * share)


def shares(images: Images, argument: str) -> dict[str, float]:
    """Returns the brightest value of each type of image, as a share of what it can hold.

    Where the first images are bright, the others are not looked at.

    Raises:
      InputError: there are floats outside [0, 1]; it names `argument`.
    """
    for limit in (_SAMPLED, None):
        found = {}
        for image in images.raw(limit):
            kind, low, high = image.dtype.name, float(image.min()), float(image.max())
            if image.dtype.kind == "f" and not (low >= 0.0 and high <= 1.0):
                received = f"{images.origin}, with {low:g} to {high:g}"
                raise InputError(argument, "images in [0, 1] where they are floats", received)
            scale = np.iinfo(kind).max if image.dtype.kind == "u" else 1.0
            share = high / scale if image.shape[-1] % 2 else 1.0  # It may be transparent, on white.
            found[kind] = max(found.get(kind, 0.0), share)
        if all(share >= _DARK and not kind.startswith("float") for kind, share in found.items()):
            break
    return found
