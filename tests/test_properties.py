"""Laws that hold for all flags, image files, images and transformations, tried on many at random."""

import json
import random

import numpy as np
import tensorflow as tf
import tensorflow_probability as tfp
from absl import flags
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from crvae_tf import RandomAffine, networks, objectives, randomness
from crvae_tf.datasets import Preprocessing, decoding
from launch import options
from launch.options import Options, UsageError
from tests.command_line import forgotten_flags, resolved  # noqa: F401 - the first is a fixture.
from tests.image_files import blocks, encoded
from torture.command_lines import line
from torture.inprocess import run

tfd = tfp.distributions

FLAGS = sorted(options.training_flags())
SHARED_FOLDER = [HealthCheck.function_scoped_fixture]


def refusal(*arguments):
    """What the user of these arguments is told, on one line; None where they are taken."""
    flags.FLAGS.unparse_flags()
    try:
        options.parse(["train", *arguments])
    except UsageError as error:
        message = str(error)
    else:
        return None
    assert len(message.splitlines()) == 1
    return message


@given(name=st.sampled_from(FLAGS), value=st.text() | st.floats().map(str) | st.integers().map(str))
@example(name="eta", value="nan")
@example(name="seed", value="-1")
@example(name="epochs", value="9" * 5000)
@settings(max_examples=400, deadline=None)
def test_whatever_a_flag_is_given_it_is_taken_or_refused_in_one_line_by_its_name(name, value):
    refused = refusal(f"--{name}={value}")
    if refused is None:
        assert flags.FLAGS[name].present
    else:
        assert refused.startswith(f"--{name} must be ")
        assert "; received " in refused


VALID = {
    "image_size": st.integers(1, 512),
    "channels": st.sampled_from([1, 3]),
    "method": st.sampled_from(sorted(set(options.METHODS) - {"beta_vae", "cr_beta_vae"})),
    "lambda": st.floats(0.0, 1e6),
    "eta": st.floats(0.0, 1e6) | st.just("auto"),
    "kl_direction": st.sampled_from(objectives.KL_DIRECTIONS),
    "network": st.sampled_from(sorted(networks.NETWORKS)),
    "width": st.floats(1e-9, 16.0),
    "latent_dim": st.integers(1, 10**6),
    "epochs": st.integers(1, 2**31 - 1),
    "learning_rate": st.floats(1e-12, 1e3),
    "translation": st.floats(0.0, 100.0),
    "rotation": st.floats(0.0, 180.0),
    "scaling": st.floats(0.0, 0.999),
    "clip_norm": st.floats(1e-6, 1e6),
    "checkpoint_steps": st.integers(1, 10**6),
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


@given(content=st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
@example(content=b"--epochs=3\n\x00--seed=1")
@example(content=b"--flagfile=/dev/null\n--seed=\xff")
@settings(max_examples=100, deadline=None, suppress_health_check=SHARED_FOLDER)
def test_whatever_a_flagfile_holds_it_is_taken_or_refused_in_one_line(tmp_path, content):
    (tmp_path / "random.flags").write_bytes(content)
    refused = refusal(f"--flagfile={tmp_path / 'random.flags'}")
    try:
        lines = content.decode().splitlines()
    except UnicodeDecodeError:
        assert refused.startswith("--flagfile must be a file of UTF-8 text; received ")
    else:
        assert refused is None or any(line.strip() for line in lines)


def test_random_command_lines_end_cleanly_or_with_one_error(tmp_path):
    """`make torture` gives 2,000 of them to all launchers, and trains some."""
    draw = random.Random(1)
    names = [*options.training_flags(), "method", "allow_config_change", "flagfile"]
    ends = {True: 0, False: 0}
    for _ in range(60):
        arguments = line(draw, names, tmp_path)
        outcome = run(options.resolve, arguments)
        assert outcome.is_clean, (arguments, outcome)
        ends[outcome.code == 0] += 1
    assert min(ends.values()) > 5


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


@given(image=IMAGES)
@settings(max_examples=30, deadline=None)
def test_an_image_of_the_right_size_is_stored_decoded_and_preprocessed_unchanged(image):
    side, channels = min(image.shape[:2]), image.shape[2]
    square = image[:side, :side]
    stored = encoded(square[..., 0] if channels == 1 else square, "PNG")
    np.testing.assert_array_equal(Preprocessing(side, channels).decode(stored), square)


FILES = [
    encoded(blocks(0, 3), "PNG"),
    encoded(blocks(1), "PNG"),
    encoded(blocks(2, 3), "JPEG"),
    encoded(blocks(3, 3), "BMP"),
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
        image = decoding.decode(tf.constant(damaged)).numpy()
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


NORMALS = st.tuples(
    arrays.arrays(np.float32, (2, 4), elements=st.floats(-1e3, 1e3, width=32)),
    arrays.arrays(np.float32, (2, 4), elements=st.floats(-12.0, 12.0, width=32)),
)


@given(one=NORMALS, other=NORMALS)
@settings(max_examples=40, deadline=None)
def test_divergences_are_finite_not_negative_and_symmetric_where_they_shall_be(one, other):
    q, p = (tfd.Independent(tfd.Normal(mean, np.exp(log)), 1) for mean, log in (one, other))
    forward, reverse, symmetric = (
        objectives.consistency(q, p, direction).numpy() for direction in objectives.KL_DIRECTIONS
    )
    assert np.isfinite([forward, reverse, symmetric]).all()
    assert (forward >= -1e-4).all()
    np.testing.assert_array_equal(reverse, objectives.consistency(p, q))
    np.testing.assert_array_equal(symmetric, objectives.consistency(p, q, "symmetric"))
    np.testing.assert_array_equal(objectives.consistency(q, q), np.zeros(2))
