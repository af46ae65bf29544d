"""Finds images that are so dark that they look black: masks of 0 and 1, or 12 bits stored in 16."""

import dataclasses
import logging

import numpy as np

from crvae_tf.datasets.images import Images
from crvae_tf.datasets.preprocessing import Preprocessing
from crvae_tf.errors import InputError

_LOGGER = logging.getLogger(__name__)

_DARK = 0.1
"""Images look black if their brightest pixel is below this share of their type's range."""
_SAMPLED = 1000


def stretched(images: Images) -> Preprocessing:
    """Returns the preprocessing that makes the brightest pixel white, if the images look black.

    It only logs a warning if the images have several types or hold only zeros.

    Raises:
      InputError: some floats are outside [0, 1].
    """
    found = shares(images, "dataset")
    brightest = max(found.values(), default=1.0)
    if len(found) > 1 or not 0.0 < brightest < _DARK:
        warn_of_dark(images, found)
        return images.preprocessing
    told = "%s: the brightest pixel is %.2f%% of its type's range; all images are stretched to white"
    _LOGGER.warning(told, images.origin, 100.0 * brightest)
    return dataclasses.replace(images.preprocessing, brightest=brightest)


def warn_of_dark(images: Images, found: dict[str, float]) -> None:
    """Logs the types of image that look black, given their `shares`."""
    for kind, share in found.items():
        if share < _DARK * images.preprocessing.brightest:
            told = "%s: the brightest pixel of %s is %.2f%% of its type's range; these look black"
            _LOGGER.warning(told, images.origin, kind, 100.0 * share)


def shares(images: Images, argument: str) -> dict[str, float]:
    """Returns the brightest value of each type of image, as a share of the type's range.

    It reads a sample, and all images only if the sample is dark or has floats.

    Raises:
      InputError: some floats are outside [0, 1]; it names `argument`.
    """
    for limit in (_SAMPLED, None):
        found = {}
        for image in images.raw(limit):
            kind, low, high = image.dtype.name, float(image.min()), float(image.max())
            if image.dtype.kind == "f" and not (low >= 0.0 and high <= 1.0):
                received = f"{images.origin}, with {low:g} to {high:g}"
                raise InputError(argument, "float images in [0, 1]", received)
            scale = np.iinfo(kind).max if image.dtype.kind == "u" else 1.0
            share = high / scale if image.shape[-1] % 2 else 1.0  # The ground is white.
            found[kind] = max(found.get(kind, 0.0), share)
        if all(share >= _DARK and not kind.startswith("float") for kind, share in found.items()):
            break
    return found
