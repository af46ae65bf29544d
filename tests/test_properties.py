"""Laws that hold for all flags, image files, images and transformations, tried on many at random."""

import json

import numpy as np
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from crvae_tf import RandomAffine, networks, objectives, randomness
from crvae_tf.datasets import Preprocessing, preprocessing
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


IMAGES = arrays.arrays(
    np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 3])), unique=False
)


@given(image=IMAGES, side=st.sampled_from([1, 7, 28]), channels=st.sampled_from([1, 3]))
@settings(max_examples=60, deadline=None)
def test_preprocessing_stays_within_the_range_of_the_image(image, side, channels):
    made = Preprocessing(side, channels)(image).numpy()
    assert made.shape == (side, side, channels)
    assert made.dtype == np.uint8
    # The weights of red, green and blue add up to 0.9999, and are rounded down.
    assert made.max() <= image.max()
    assert made.min() >= max(int(image.min()) - 1, 0)


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


@given(
    translation=st.floats(0.0, 50.0),
    rotation=st.floats(0.0, 180.0),
    scaling=st.floats(0.0, 0.99),
    seed=st.integers(0, 2**31 - 1),
)
@settings(max_examples=40, deadline=None)
def test_any_view_lies_between_black_and_the_brightest_pixel(translation, rotation, scaling, seed):
    layer = RandomAffine(translation, rotation, scaling)
    key = randomness.key(seed, randomness.Purpose.TRANSFORMATION)
    drawn = layer.sample(3, key)
    images = np.random.default_rng(seed).uniform(0.0, 1.0, [3, 9, 9, 1]).astype(np.float32)
    views = layer.augment_images(tf.constant(images), drawn).numpy()
    assert views.min() >= 0.0
    assert np.all(views.max(axis=(1, 2, 3)) <= images.max(axis=(1, 2, 3)) + 1e-5)
    assert not np.any(layer.augment_images(tf.zeros([3, 9, 9, 1]), drawn))
    np.testing.assert_array_equal(
        layer.augment_images(tf.constant(images), layer.sample(3, key)), views
    )
