"""What models are fed: training pairs, the test set and the transformed test set."""

import numpy as np
import pytest
import tensorflow as tf

from crvae_tf import InputError, RandomAffine, randomness
from crvae_tf.datasets import ArrayImages, evaluation_batches, training_batches, validation_pairs
from crvae_tf.datasets.pipelines import BINARIZATIONS, TEST_SEED
from crvae_tf.randomness import Purpose
from tests.conftest import concatenated

SIDE = 8
TRANSFORMATION = RandomAffine(2.0, 30.0, 0.25)
IDENTITY = RandomAffine(0.0, 0.0, 0.0)
GOLDEN_TRANSFORMATIONS = [  # Right, down, angle and scale of three images.
    [-0.07406235, 0.28650093, -1.5060911],
    [3.0144444, -2.6977625, 2.6693354],
    [6.4422655, 15.2674055, -10.5787325],
    [0.8270037, 1.1896087, 1.0255868],
]


def gray_levels(number, seed=0):
    """Images whose pixels are of all levels, black and white among them."""
    images = np.random.default_rng(seed).integers(0, 256, (number, SIDE, SIDE, 1), dtype=np.uint8)
    images[:, 0] = 0
    images[:, -1] = 255
    return images


def half_gray(number, side=16):
    """Images that only their binarisations tell apart."""
    return np.full((number, side, side, 1), 128, np.uint8)


def training(split, seed=0, epochs=range(1), batch_size=4, binarization="dynamic", **kwargs):
    transformation = kwargs.pop("transformation", TRANSFORMATION)
    batches = training_batches(split, batch_size, binarization, transformation, seed, epochs, **kwargs)
    return list(batches.as_numpy_iterator())


def evaluated(split, batch_size=4, binarization="dynamic", transformation=None, limit=None):
    """All images of the test set, in order."""
    batches = evaluation_batches(split, batch_size, binarization, transformation, limit)
    return concatenated(batches.as_numpy_iterator())[1]


def patterns(images):
    """The images as a set, whatever their order."""
    return {image.tobytes() for image in images}


@pytest.fixture
def split():
    return ArrayImages(gray_levels(10), np.arange(10))


@pytest.mark.parametrize(
    ("binarization", "epoch", "step"),
    [("none", 1, 2), ("dynamic", 0, 1), ("dynamic", 2, 0), ("fixed", 1, 1)],
)
def test_a_batch_is_a_function_of_seed_epoch_and_step(split, binarization, epoch, step):
    everything = training(split, epochs=range(3), binarization=binarization)
    resumed = training(split, epochs=range(epoch, 3), first_step=step, binarization=binarization)
    np.testing.assert_equal(resumed, everything[3 * epoch + step :])


@pytest.mark.parametrize(
    ("binarization", "number"), [("dynamic", 1), ("none", 1), ("none", 3), ("fixed", 3)]
)
def test_each_image_stands_in_as_many_pairs_as_it_is_to_have_views(split, binarization, number):
    given = {"binarization": binarization, "views_per_image": number}
    alone = training(split, binarization=binarization, transformation=None)
    pairs = training(split, **given)
    triples = training(split, **given, with_transformations=True)
    for images, pair, (*same, drawn) in zip(alone, pairs, triples, strict=True):
        repeated, views = pair
        np.testing.assert_equal(same, pair)
        np.testing.assert_array_equal(repeated, np.repeat(images, number, axis=0))
        assert len(patterns(views)) == len(views) == number * len(images)
        if binarization == "none":
            np.testing.assert_array_equal(RandomAffine().augment_images(repeated, drawn), views)
    if binarization == "none":  # Each image comes as it is, once an epoch.
        gray = np.float32(gray_levels(10)) / np.float32(255)
        assert patterns(np.concatenate(alone)) == patterns(gray)


@pytest.mark.parametrize("binarization", BINARIZATIONS)
def test_black_and_white_stay_so_and_the_identity_keeps_gray_as_it_is(binarization):
    for images, views in training(
        ArrayImages(gray_levels(6)), binarization=binarization, transformation=IDENTITY
    ):
        for part in (images, views):
            assert (part[:, 0] == 0).all()
            assert (part[:, -1] == 1).all()
        if binarization == "none":
            np.testing.assert_array_equal(images, views)


@pytest.mark.parametrize(
    ("images", "binarization", "transformation"),
    [
        (np.repeat(gray_levels(1), 6, axis=0), "none", TRANSFORMATION),
        (half_gray(6), "dynamic", IDENTITY),
    ],
)
def test_no_random_number_is_used_twice(images, binarization, transformation):
    """Frozen randomness (a cache or a shuffle after it) would repeat views of the one image."""
    split, batches = ArrayImages(images), []
    for seed in (0, 1):
        batches += training(split, seed, range(30), 2, binarization, transformation=transformation)
    drawn = [np.concatenate(parts) for parts in zip(*batches, strict=True)]
    assert len(patterns(drawn[1])) == 2 * 6 * 30
    if binarization == "dynamic":
        assert len(patterns(np.concatenate(drawn))) == 2 * 2 * 6 * 30


def test_dynamic_binarisation_has_the_gray_value_as_its_mean():
    levels, number = np.arange(256, dtype=np.uint8).reshape(16, 16, 1), 600
    gray, split = levels / 255, ArrayImages(np.repeat(levels[None], number, axis=0))
    deviation = np.sqrt(gray * (1 - gray) / number)
    [trained_on] = training(split, batch_size=number, transformation=IDENTITY)
    tested_on = (evaluated(split, transformation=moves) for moves in (None, IDENTITY))
    for images in (*trained_on, *tested_on):
        assert (np.abs(images.mean(axis=0) - gray) <= 4.5 * deviation).all()


def test_fixed_binarisation_belongs_to_the_image_whatever_the_seed_the_epoch_and_the_batch():
    """Image i is the only one with a white pixel i in its first row, so that bits name their image."""
    images = half_gray(8)
    images[:, 0] = 0
    images[np.arange(8), 0, np.arange(8)] = 255
    bits = {}
    for seed, batch_size in ((0, 3), (1, 3), (0, 8)):
        batches = training(
            ArrayImages(images), seed, range(4), batch_size, "fixed", transformation=IDENTITY
        )
        for part, seen in enumerate(zip(*batches, strict=True)):
            for image in np.concatenate(seen):
                bits.setdefault((part, image[0, :, 0].argmax()), set()).add(image.tobytes())
    assert len(set().union(*bits.values())) == len(bits) == 16


@pytest.mark.parametrize("transformation", [None, TRANSFORMATION], ids=["test", "transformed"])
@pytest.mark.parametrize("binarization", ["none", "dynamic"])
def test_the_test_sets_are_the_same_for_every_batch_size_and_limit(binarization, transformation):
    """More images than are drawn for at a time, and sizes that cut across those groups."""
    split = ArrayImages(gray_levels(100))
    expected = evaluated(split, 64, binarization, transformation)
    assert len(expected) == 100
    for batch_size in (1, 7, 1000):
        actual = evaluated(split, batch_size, binarization, transformation)
        np.testing.assert_array_equal(actual, expected)
    limited = evaluated(split, 64, binarization, transformation, limit=70)
    sample = evaluated(split.sample(70), 7, binarization, transformation)
    np.testing.assert_array_equal(limited, sample)


def test_the_test_sets_stay_the_same_for_every_seed_and_from_release_to_release(request):
    """Published figures hang on their transformations and binarisations."""
    request.addfinalizer(lambda: tf.random.set_seed(None))
    tf.random.set_seed(1)
    split, transformation = ArrayImages(half_gray(3, side=2)), RandomAffine(4.0, 30.0, 0.25, seed=1)
    ((_, _, drawn),) = validation_pairs(split, 3, "none", transformation, with_transformations=True)
    alone = transformation.sample_run(
        tf.range(3, dtype=tf.int64), randomness.key(TEST_SEED, Purpose.TRANSFORMATION)
    )
    for found in (drawn, alone):
        np.testing.assert_allclose(found, GOLDEN_TRANSFORMATIONS, rtol=1e-5)
    test_set, transformed = evaluated(split), evaluated(split, transformation=IDENTITY)
    assert test_set.reshape(3, 4).tolist() == [[0, 0, 1, 1], [1, 0, 0, 1], [1, 0, 1, 0]]
    assert transformed.reshape(3, 4).tolist() == [[1, 0, 0, 1], [1, 1, 0, 1], [1, 1, 0, 1]]


def test_the_test_set_is_binarised_once_and_apart_from_the_training_set():
    split = ArrayImages(half_gray(50))
    images = evaluated(split)
    np.testing.assert_array_equal(evaluated(split, binarization="fixed"), images)
    for binarization in ("dynamic", "fixed"):
        batches = training(split, binarization=binarization, transformation=None)
        assert not patterns(images) & patterns(np.concatenate(batches))


@pytest.mark.parametrize("binarization", ["none", "dynamic"])
def test_validation_batches_are_the_two_test_sets_side_by_side(split, binarization):
    alone = list(validation_pairs(split, 4, binarization, None).as_numpy_iterator())
    pairs, triples = (
        list(validation_pairs(split, 4, binarization, TRANSFORMATION, number == 3).as_numpy_iterator())
        for number in (2, 3)
    )
    np.testing.assert_array_equal(np.concatenate(alone), evaluated(split, 4, binarization))
    views = np.concatenate([pair[1] for pair in pairs])
    np.testing.assert_array_equal(views, evaluated(split, 4, binarization, TRANSFORMATION))
    for images, pair, (*same, drawn) in zip(alone, pairs, triples, strict=True):
        np.testing.assert_equal((images, pair[1]), same)
        np.testing.assert_equal(pair, same)
        if binarization == "none":
            np.testing.assert_array_equal(RandomAffine().augment_images(images, drawn), pair[1])


@pytest.mark.parametrize("batches", [training, evaluated])
def test_a_binarisation_of_another_name_is_an_input_error(split, batches):
    message = "^binarization: expected one of dynamic, fixed, none; received Dynamic$"
    with pytest.raises(InputError, match=message):
        batches(split, binarization="Dynamic")
