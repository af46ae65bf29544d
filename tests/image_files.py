"""Image files for tests, as bytes."""

import io

import numpy as np
from PIL import Image

ORIENTATION = 0x112


def encoded(pixels, file_format, **options):
    """Returns the file that holds `pixels`, an array or a Pillow image."""
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    written = io.BytesIO()
    image.save(written, file_format, **options)
    return written.getvalue()


def blocks(seed, *channels, height=3, width=4, side=8):
    """Returns uint8 blocks of random colour, larger than those that JPEG works on."""
    drawn = np.random.default_rng(seed).integers(0, 256, (height, width, *channels))
    return drawn.repeat(side, axis=0).repeat(side, axis=1).astype(np.uint8)


def exif(orientation, big_endian=False):
    """Returns an Exif block with other entries beside the orientation."""
    block = Image.Exif()
    block.endian = ">" if big_endian else "<"
    block[0x10F] = "maker"
    block[ORIENTATION] = orientation
    block[0x131] = "software"
    return block.tobytes()
