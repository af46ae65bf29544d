"""Laws that hold for all flags and image files, tried on many at random."""

import json

import numpy as np
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from crvae_tf import networks, objectives
from crvae_tf.datasets import preprocessing
from launch.options import Options
from tests.command_line import forgotten_flags, resolved  # noqa: F401 - the first is a fixture.
from tests.image_files import blocks, encoded

VALID = {
    "image_size": st.integers(1, 512),
    "channels": st.sampled_from([1, 3]),
    "method": st.sampled_from(["cr_vae", "cr_iwae", "vae_aug"]),
    "lambda": st.floats(1e-6, 1e6),
    "eta": st.floats(0.0, 1e6) | st.just("auto"),
    "kl_direction": st.sampled_from(objectives.KL_DIRECTIONS),
    "network": st.sampled_from(sorted(networks.NETWORKS)),
    "width": st.floats(1e-9, 16.0),
    "latent_dim": st.integers(1, 10**6),
    "epochs": st.integers(1, 2**31 - 1),
    "learning_rate": st.floats(1e-12, 1e3),
    "translation": st.floats(0.0, 100.0),
    "rotation": st.floats(0.0, 180.0),
    "scaling": st.floats(0.0, 0.99),
    "clip_norm": st.floats(1e-6, 1e6),
    "seed": st.integers(0, 2**31 - 1),
}


@given(chosen=st.fixed_dictionaries({}, optional=VALID))
@settings(max_examples=60, deadline=None)
def test_resolved_options_given_as_flags_or_read_from_a_run_resolve_to_themselves(chosen):
    once = resolved(*(f"--{name}={value}" for name, value in chosen.items()))
    config = once.to_config()
    again = [f"--{name}={value}" for name, value in config.items() if value is not None]
    assert resolved(*again) == once
    assert Options.from_config(json.loads(json.dumps(config))) == once
    for name in set(chosen) - {"method", "eta"}:
        assert config[name] == chosen[name]


FILES = [
    encoded(blocks(0, 3), "PNG"),
    encoded(blocks(1), "PNG"),
    encoded(blocks(2, 3), "JPEG"),
    encoded(blocks(3, 3), "BMP"),
    encoded(Image.fromarray(blocks(5, 3)).quantize(9), "BMP"),
    encoded(blocks(4), "GIF"),
]


@given(data=st.data(), file=st.sampled_from(FILES))
@settings(max_examples=150, deadline=None)
def test_a_damaged_image_file_is_decoded_to_bytes_or_refused(data, file):
    damaged = bytearray(file)
    for _ in range(data.draw(st.integers(1, 8))):
        damaged[data.draw(st.integers(0, len(file) - 1))] = data.draw(st.integers(0, 255))
    damaged = bytes(damaged[: data.draw(st.integers(0, len(file)))])
    try:
        image = preprocessing.decode(tf.constant(damaged)).numpy()
    except tf.errors.InvalidArgumentError:
        return
    assert image.dtype == np.uint8
    assert image.ndim == 3
    assert image.size
