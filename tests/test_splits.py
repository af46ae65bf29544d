"""The order of images: of the three kinds of split, in memory, in files and streamed."""

import math

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from crvae_tf import InputError
from crvae_tf.datasets import NO_LABEL, ArraySplit, FileSplit, Preprocessing, StreamSplit, splits
from crvae_tf.datasets.splits import hold_out

NUMBER = 11
BATCH_SIZE = 4
STEPS = 3
KINDS = ["array", "file", "stream"]


def numbered_images(number):
    """Image i is of level 10 + i throughout."""
    return np.broadcast_to(np.uint8(np.arange(number) + 10)[:, None, None, None], [number, 3, 3, 1])


def make_split(kind, folder, number=NUMBER, labels=True):
    """The same images with the labels 100 + i, as one of the three kinds."""
    images, classes = numbered_images(number), np.arange(number) + 100
    if kind == "array":
        return ArraySplit(images, classes if labels else None)
    if kind == "stream":
        streamed = classes if labels else np.full(number, NO_LABEL)
        examples = tf.data.Dataset.from_tensor_slices((images, streamed))
        return StreamSplit(lambda: examples, number, (3, 3, 1), labels)
    paths = [str(folder / f"{i}.png") for i in range(number)]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(image[..., 0]).save(path)
    digests = splits.digest([(folder / f"{i}.png").read_bytes() for i in range(number)]).numpy()
    return FileSplit(paths, digests, classes if labels else None, Preprocessing(3, 1))


@pytest.fixture(params=KINDS)
def split(request, tmp_path):
    return make_split(request.param, tmp_path)


def in_order(split, *args):
    return list(split.batches(*args).as_numpy_iterator())


def shuffled(split, seed=0, epochs=range(1), first_step=0, batch_size=BATCH_SIZE):
    return list(split.shuffled_batches(batch_size, seed, epochs, first_step).as_numpy_iterator())


def orders(split, seed=0, epochs=range(3), batch_size=BATCH_SIZE):
    """The order of each epoch."""
    batches = shuffled(split, seed, epochs, batch_size=batch_size)
    return [
        np.concatenate([indices for epoch, _, indices, _ in batches if epoch == wanted]).tolist()
        for wanted in epochs
    ]


def assert_same(batches, expected):
    assert len(batches) == len(expected)
    for batch, other in zip(batches, expected, strict=True):
        for part, wanted in zip(batch, other, strict=True):
            np.testing.assert_array_equal(part, wanted)


# In order.


@pytest.mark.parametrize("batch_size", [1, 4, 50])
def test_batches_hold_every_image_once_in_order_with_its_index_and_label(split, batch_size):
    batches = in_order(split, batch_size)
    indices, images, labels = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    np.testing.assert_array_equal(indices, np.arange(NUMBER))
    np.testing.assert_array_equal(images, numbered_images(NUMBER))
    np.testing.assert_array_equal(labels, np.arange(NUMBER) + 100)
    assert (indices.dtype, images.dtype, labels.dtype) == (np.int64, np.uint8, np.int64)


@pytest.mark.parametrize(("batch_size", "sizes"), [(4, [4, 4, 3]), (11, [11]), (5, [5, 5, 1])])
def test_the_short_last_batch_is_kept(split, batch_size, sizes):
    assert [len(indices) for indices, _, _ in in_order(split, batch_size)] == sizes
    assert [len(indices) for _, _, indices, _ in shuffled(split, batch_size=batch_size)] == sizes
    assert split.steps_per_epoch(batch_size) == len(sizes)


@pytest.mark.parametrize(("limit", "number"), [(1, 1), (4, 4), (6, 6), (500, 11)])
def test_a_limit_takes_the_first_images(split, limit, number):
    batches = in_order(split, BATCH_SIZE, limit)
    indices = np.concatenate([indices for indices, _, _ in batches])
    np.testing.assert_array_equal(indices, np.arange(number))
    assert len(batches) == math.ceil(number / BATCH_SIZE)


@pytest.mark.parametrize("kind", KINDS)
def test_images_without_a_class_have_no_label(kind, tmp_path):
    unlabelled = make_split(kind, tmp_path, labels=False)
    assert not unlabelled.has_labels
    for _, _, labels in in_order(unlabelled, BATCH_SIZE):
        np.testing.assert_array_equal(labels, np.full(len(labels), NO_LABEL))


# Shuffled.


def test_each_epoch_is_a_permutation_of_all_images(split):
    for order in orders(split, epochs=range(5)):
        assert sorted(order) == list(range(NUMBER))


def test_shuffled_images_are_those_of_their_indices(split):
    for _, _, indices, images in shuffled(split, epochs=range(2)):
        np.testing.assert_array_equal(images, numbered_images(NUMBER)[indices])


def test_epochs_have_orders_of_their_own(split):
    found = orders(split, epochs=range(6))
    assert len({tuple(order) for order in found}) == 6


def test_seeds_have_orders_of_their_own(split):
    found = [orders(split, seed)[0] for seed in range(3)]
    assert len({tuple(order) for order in found}) == 3


@pytest.mark.parametrize("kind", ["array", "stream"])
def test_no_order_comes_back_in_hundreds_of_epochs(kind, tmp_path):
    """A shuffle that keeps eight bits of its key begins again after 256."""
    found = orders(make_split(kind, tmp_path, number=20), epochs=range(300), batch_size=20)
    assert len({tuple(order) for order in found}) == 300


def test_no_two_of_many_seeds_share_an_order(tmp_path):
    array = make_split("array", tmp_path, number=20)
    found = [orders(array, seed, range(1), batch_size=20)[0] for seed in range(24)]
    assert len({tuple(order) for order in found}) == 24


def test_one_seed_gives_one_order(split):
    assert orders(split, seed=5) == orders(split, seed=5)


def test_the_order_is_not_the_global_seeds(split, request):
    request.addfinalizer(lambda: tf.random.set_seed(None))
    found = []
    for global_seed in (1, 2, 0):
        tf.random.set_seed(global_seed)
        found.append(orders(split))
    assert found[0] == found[1] == found[2]


def test_the_order_is_not_the_batch_sizes(split):
    assert orders(split, batch_size=3) == orders(split, batch_size=11)


def test_epochs_and_steps_are_counted(split):
    positions = [(int(epoch), int(step)) for epoch, step, _, _ in shuffled(split, epochs=range(2, 4))]
    assert positions == [(2, 0), (2, 1), (2, 2), (3, 0), (3, 1), (3, 2)]


@pytest.mark.parametrize("epoch", [0, 1])
@pytest.mark.parametrize("first_step", [0, 1, 3])
def test_resuming_at_an_epoch_and_a_step_continues_exactly(split, epoch, first_step):
    """Step 3 of 3 is where the next epoch begins."""
    everything = shuffled(split, epochs=range(2))
    resumed = shuffled(split, epochs=range(epoch, 2), first_step=first_step)
    assert_same(resumed, everything[STEPS * epoch + first_step :])


@pytest.mark.parametrize("kind", ["array", "stream"])
def test_the_orders_of_neighbouring_epochs_and_seeds_are_not_correlated(kind, tmp_path):
    number = 4000
    split = make_split(kind, tmp_path, number)
    found = orders(split, 0, range(3), number) + orders(split, 1, range(3), number)
    correlations = np.corrcoef([*found, np.arange(number)])[~np.eye(7, dtype=bool)]
    assert np.abs(correlations).max() < 4.5 / math.sqrt(number)


@pytest.mark.parametrize("kind", ["array", "stream"])
def test_every_image_is_as_likely_in_every_place(kind, tmp_path):
    """A chi-square test: below 0.1 % by chance for 16 degrees of freedom."""
    epochs = 300
    found = np.array(orders(make_split(kind, tmp_path, number=5), epochs=range(epochs)))
    counts = np.array([np.bincount(places, minlength=5) for places in found.T])
    assert ((counts - epochs / 5) ** 2 / (epochs / 5)).sum() < 39.25


def test_a_stream_longer_than_a_block_still_gives_each_image_once(tmp_path, monkeypatch):
    monkeypatch.setattr(splits, "_SHUFFLED_TOGETHER", 4)
    for order in orders(make_split("stream", tmp_path)):
        assert sorted(order) == list(range(NUMBER))
        assert order != sorted(order)


@pytest.mark.parametrize("kind", KINDS)
def test_a_split_of_one_image_is_one_batch_an_epoch(kind, tmp_path):
    single = make_split(kind, tmp_path, number=1)
    assert single.steps_per_epoch(BATCH_SIZE) == 1
    np.testing.assert_array_equal(in_order(single, BATCH_SIZE)[0][1], numbered_images(1))
    positions = [(int(e), int(s), i.tolist()) for e, s, i, _ in shuffled(single, epochs=range(3))]
    assert positions == [(0, 0, [0]), (1, 0, [0]), (2, 0, [0])]


# Holding out.


@pytest.mark.parametrize("number", [1, 4, 10])
def test_the_last_images_are_held_out(number):
    train, validation = hold_out(numbered_images(11), np.arange(11), number)
    assert (train.num_images, validation.num_images) == (11 - number, number)
    for part, expected in ((train, np.arange(11 - number)), (validation, np.arange(11 - number, 11))):
        [(_, images, labels)] = in_order(part, 11)
        np.testing.assert_array_equal(images, numbered_images(11)[expected])
        np.testing.assert_array_equal(labels, expected)


def test_nothing_held_out_is_no_split():
    train, validation = hold_out(numbered_images(11), None, 0)
    assert validation is None
    assert train.num_images == 11
    assert not train.has_labels


@pytest.mark.parametrize("number", [11, 12, -1])
def test_holding_out_all_there_are_is_an_input_error(number):
    with pytest.raises(InputError) as error:
        hold_out(numbered_images(11), None, number)
    expected = f"--validation_images: expected fewer than the 11 training images; received {number}"
    assert str(error.value) == expected
