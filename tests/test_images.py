"""The order of images, in memory and in a temporary file; samples of them, and what is held out."""

import re

import numpy as np
import pytest
import tensorflow as tf

from crvae_tf import InputError
from crvae_tf.datasets import ArrayImages, Preprocessing, images, training_batches
from crvae_tf.datasets.images import kept, spread
from tests.conftest import concatenated

NUMBER = 11
BATCH_SIZE = 4


def numbered_images(number):
    """Image i is of level 10 + i throughout."""
    return np.broadcast_to(np.uint8(np.arange(number) + 10)[:, None, None, None], [number, 3, 3, 1])


def make_images(number=NUMBER):
    """The same images with the labels 100 + i."""
    return ArrayImages(numbered_images(number), np.arange(number) + 100)


@pytest.fixture(params=["memory", "temporary file", "sample"])
def split(request, monkeypatch):
    if request.param == "memory":
        return make_images()
    if request.param == "sample":
        larger = np.repeat(numbered_images(NUMBER), 3, axis=0)
        return ArrayImages(larger, np.repeat(np.arange(NUMBER) + 100, 3)).sample(NUMBER)
    monkeypatch.setattr(images, "MEMORY_LIMIT", 0)
    whole = make_images()
    whole.preprocessing = Preprocessing(3, 1)
    return kept(whole)[0]


def contents(split, batch_size=BATCH_SIZE):
    """(indices, images, labels) of all batches in order."""
    return concatenated(split.batches(batch_size).as_numpy_iterator())


def shuffled(split, seed=0, epochs=range(1), first_step=0, batch_size=BATCH_SIZE):
    """The indices of the images of each batch of a training."""
    batches = training_batches(split, batch_size, "none", None, seed, epochs, first_step)
    return [np.int64(np.round(x[:, 0, 0, 0] * 255.0)) - 10 for x in batches.as_numpy_iterator()]


def orders(split, seed=0, epochs=range(3), batch_size=BATCH_SIZE):
    """The order of each epoch."""
    found = np.concatenate(shuffled(split, seed, epochs, batch_size=batch_size))
    return found.reshape(len(epochs), split.num_images).tolist()


@pytest.mark.parametrize("batch_size", [1, 4, 50])
def test_batches_hold_every_image_once_in_order_with_its_index_and_label(split, batch_size):
    indices, pixels, labels = contents(split, batch_size)
    np.testing.assert_array_equal(indices, np.arange(NUMBER))
    np.testing.assert_array_equal(pixels, numbered_images(NUMBER))
    np.testing.assert_array_equal(labels, np.arange(NUMBER) + 100)
    sizes = [len(indices) for indices, _, _ in split.batches(batch_size)]
    assert list(map(len, shuffled(split, batch_size=batch_size))) == sizes
    assert split.steps_per_epoch(batch_size) == len(sizes)


def test_each_epoch_holds_all_images_in_an_order_that_is_a_function_of_the_seed_alone(split, request):
    request.addfinalizer(lambda: tf.random.set_seed(None))
    found = []
    for global_seed, batch_size in ((1, BATCH_SIZE), (2, 3), (0, 11)):
        tf.random.set_seed(global_seed)
        found.append(orders(split, batch_size=batch_size))
    assert found[0] == found[1] == found[2] != orders(split, seed=1)
    assert all(sorted(order) == list(range(NUMBER)) for order in found[0])


def test_no_order_comes_back_in_hundreds_of_epochs():
    """A shuffle that keeps eight bits of its key begins again after 256."""
    found = orders(make_images(20), epochs=range(323), batch_size=20)
    assert len({tuple(order) for order in found}) == 323


@pytest.mark.parametrize(("number", "whole"), [(1, 1), (3, 7), (100, 1000), (999, 1000), (0, 5)])
def test_a_sample_has_one_image_of_each_of_as_many_equal_stretches(number, whole):
    places = spread(number, whole)
    assert len(places) == number
    starts = np.arange(number) * whole // max(number, 1)
    assert (places >= starts).all()
    assert (places < [*starts[1:], whole][:number]).all()


def test_a_sample_of_images_in_turn_has_all_classes_in_their_shares():
    """As equal distances would not."""
    for labels in (np.arange(1000) % 2, np.arange(1000) // 500):
        sampled = labels[spread(100, 1000)]
        assert 30 <= sampled.sum() <= 70


@pytest.mark.parametrize(("limit", "number"), [(1, 1), (4, 4), (500, 11), (None, 11)])
def test_a_limit_takes_a_fixed_sample_with_indices_of_its_own(split, limit, number):
    indices, pixels, labels = contents(split.sample(limit))
    np.testing.assert_array_equal(indices, np.arange(number))
    places = spread(number, NUMBER)
    np.testing.assert_array_equal(pixels, numbered_images(NUMBER)[places])
    np.testing.assert_array_equal(labels, places + 100)
    assert split.up_to(limit) == number


PIXELS = np.zeros([3, 8, 8, 1], np.uint8)


@pytest.mark.parametrize("pixels", [PIXELS[:0], PIXELS.astype(np.uint16), PIXELS[..., 0]])
def test_no_images_and_images_of_another_type_are_refused(pixels):
    received = f"{pixels.dtype} {list(pixels.shape)}"
    expected = f"images: expected uint8 [N, H, W, C], N >= 1; received {received}"
    with pytest.raises(InputError, match=re.escape(expected)):
        ArrayImages(pixels)


@pytest.mark.parametrize("labels", [[0, 1], [[1, 0]] * 3, list("abc"), [0.5, 1.0, 2.0]])
def test_labels_are_one_integer_for_each_image(labels):
    with pytest.raises(InputError, match=r"labels: expected integers \[3\]; received "):
        ArrayImages(PIXELS, labels)
