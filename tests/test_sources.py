"""The embedded digits, data sets of TFDS (real, prepared and mocked) and folders of image files."""

import ast
import functools
import hashlib
import importlib
import logging

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from crvae_tf import InputError, datasets
from crvae_tf.datasets import NO_LABEL, ArrayImages, Defaults, StreamSplit, tfds_source
from tests import reference
from tests.conftest import ROOT


def contents(split, limit=None):
    """(images, labels) of a split, in order."""
    batches = list(split.batches(256, limit).as_numpy_iterator())
    _, images, labels = (np.concatenate(parts) for parts in zip(*batches, strict=True))
    return images, labels


def message_of(load, *args, **kwargs):
    """What the InputError says that `load` raises."""
    with pytest.raises(InputError) as error:
        load(*args, **kwargs)
    message = str(error.value)
    assert "\n" not in message
    return message


@pytest.fixture
def log(caplog):
    """What the package logs, also where a launcher has taken its logger over."""
    logger = logging.getLogger("crvae_tf")
    caplog.set_level(logging.INFO, "crvae_tf")
    logger.addHandler(caplog.handler)
    yield caplog
    logger.removeHandler(caplog.handler)


# The embedded digits.


def test_digits_are_1437_and_360_images_of_28_pixels(digits):
    assert (digits.train.num_images, digits.test.num_images) == (1437, 360)
    assert digits.validation is None
    assert digits.train.image_shape == digits.test.image_shape == (28, 28, 1)
    assert digits.preprocessing.image_shape == (28, 28, 1)


def test_a_fifth_of_each_class_of_digits_is_in_the_test_set(digits):
    everything = np.bincount(load_digits().target)
    train, test = (np.bincount(contents(part)[1]) for part in (digits.train, digits.test))
    np.testing.assert_array_equal(train + test, everything)
    np.testing.assert_allclose(test, everything * 360 / 1797, atol=1)


def test_digits_are_scikit_learns_scans_20_pixels_high_in_a_dark_frame(digits):
    scans, labels = load_digits(return_X_y=True)
    splits = train_test_split(scans, labels, test_size=360, stratify=labels, random_state=0)
    for split, expected, classes in zip(
        (digits.train, digits.test), splits[:2], splits[2:], strict=True
    ):
        images, found = contents(split)
        np.testing.assert_array_equal(found, classes)
        framed = images.copy()
        framed[:, 4:24, 4:24] = 0
        assert not framed.any()
        small = tf.image.resize(images[:, 4:24, 4:24], [8, 8], antialias=True)
        # Enlarged by cubics and made small by triangles: a little smoother, otherwise the same.
        correlation = np.corrcoef(np.ravel(small), np.ravel(expected))[0, 1]
        assert correlation > 0.97
        assert abs(small.numpy().mean() / 255 - expected.mean() / 16) < 0.01


def test_digits_held_out_are_the_last_of_the_training_images(digits):
    held_out = datasets.load("digits", validation_images=100)
    assert (held_out.train.num_images, held_out.validation.num_images) == (1337, 100)
    whole, parts = contents(digits.train), (contents(held_out.train), contents(held_out.validation))
    for everything, *pieces in zip(whole, *parts, strict=True):
        np.testing.assert_array_equal(np.concatenate(pieces), everything)
    np.testing.assert_array_equal(contents(held_out.test)[0], contents(digits.test)[0])


def test_holding_all_digits_out_is_an_input_error():
    message = message_of(datasets.load, "digits", validation_images=1437)
    assert message == "--validation_images: expected fewer than the 1437 training images; received 1437"


def test_the_fingerprint_of_digits_is_stable_and_changes_with_the_images(digits):
    assert datasets.load("digits").fingerprint == digits.fingerprint
    smaller = datasets.load("digits", image_size=8, channels=3)
    assert smaller.train.image_shape == (8, 8, 3)
    assert smaller.fingerprint != digits.fingerprint


# What a data set is modelled as.


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("digits", Defaults(28, 1, "dynamic", "bernoulli")),
        ("mnist", Defaults(28, 1, "dynamic", "bernoulli")),
        ("mnist:3.0.1", Defaults(28, 1, "dynamic", "bernoulli")),
        ("omniglot", Defaults(28, 1, "dynamic", "bernoulli")),
        ("fashion_mnist", Defaults(28, 1, "none", "continuous_bernoulli")),
        ("cifar10", Defaults(32, 3, "none", "gaussian")),
        ("celeb_a", Defaults(64, 3, "none", "gaussian")),
        ("oxford_flowers102", Defaults(64, 3, "none", "gaussian")),
        ("folder:anywhere", Defaults(64, 3, "none", "gaussian")),
    ],
)
def test_a_data_set_has_defaults_of_its_own(name, expected, tmp_path):
    assert datasets.defaults(name, str(tmp_path)) == expected


# Prepared folders of MNIST and OMNIGLOT.


@pytest.fixture
def streamed(monkeypatch):
    """Reads no more of a data set of TFDS than is asked for."""
    monkeypatch.setattr(tfds_source, "MEMORY_LIMIT", 0)


@pytest.mark.usefixtures("streamed")
def test_mnist_is_in_the_order_of_tfds(shared_data_dir):
    mnist = datasets.load("mnist", shared_data_dir, validation_images=10_000)
    sizes = (mnist.train.num_images, mnist.validation.num_images, mnist.test.num_images)
    assert sizes == (50_000, 10_000, 10_000)
    # TFDS writes examples in an order of its own: these are the first labels that it has everywhere.
    assert contents(mnist.train, 10)[1].tolist() == [4, 1, 0, 7, 8, 1, 2, 7, 1, 6]
    assert contents(mnist.test, 10)[1].tolist() == [2, 0, 4, 8, 7, 6, 0, 6, 3, 1]
    last = tfds.as_numpy(tfds.load("mnist", split="train[50000:50010]", data_dir=shared_data_dir))
    assert contents(mnist.validation, 10)[1].tolist() == [example["label"] for example in last]


@pytest.mark.usefixtures("streamed")
def test_mnist_images_are_kept_to_the_bit(shared_data_dir):
    raw = tfds.as_numpy(tfds.load("mnist", split="test[:20]", data_dir=shared_data_dir))
    images, _ = contents(datasets.load("mnist", shared_data_dir).test, 20)
    np.testing.assert_array_equal(images, [example["image"] for example in raw])


@pytest.mark.usefixtures("streamed")
def test_omniglot_becomes_light_strokes_on_dark_at_28_pixels(shared_data_dir):
    omniglot = datasets.load("omniglot", shared_data_dir)
    assert (omniglot.train.num_images, omniglot.test.num_images) == (19_280, 13_180)
    images, labels = contents(omniglot.test, 200)
    assert images.shape == (200, 28, 28, 1)
    assert len(np.unique(labels)) > 100
    # Over the whole of it 0.084 of the area is ink, and next to none of it in the outermost row.
    assert 0.06 < images.mean() / 255 < 0.11
    assert images[:, 0].mean() / 255 < 0.01
    assert (images.max(axis=(1, 2, 3)) > 150).all()


@pytest.mark.usefixtures("streamed")
def test_omniglot_equals_inverting_and_resizing_by_hand(shared_data_dir):
    raw = tfds.as_numpy(tfds.load("omniglot", split="train[:5]", data_dir=shared_data_dir))
    images, labels = contents(datasets.load("omniglot", shared_data_dir).train, 5)
    for image, label, example in zip(images, labels, raw, strict=True):
        assert example["image"].shape == (105, 105, 3)
        expected = reference.antialiased_resize(255.0 - example["image"][:, :, :1], 28)
        np.testing.assert_allclose(image, expected, atol=0.5 + 1e-3)
        assert label == example["label"]


@pytest.mark.slow
def test_all_of_mnist_has_the_published_statistics(shared_data_dir):
    """Mean 0.1307 and standard deviation 0.3081 of the training set, and the counts of the classes."""
    mnist = datasets.load("mnist", shared_data_dir)
    images, labels = contents(mnist.train)
    assert abs(images.mean() / 255 - 0.1307) < 5e-5
    assert abs(images.std() / 255 - 0.3081) < 5e-5
    train = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    test = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert np.bincount(labels).tolist() == train
    assert np.bincount(contents(mnist.test)[1]).tolist() == test


@pytest.mark.slow
def test_all_of_omniglot_has_twenty_drawings_of_each_character(shared_data_dir):
    omniglot = datasets.load("omniglot", shared_data_dir)
    for split, characters in ((omniglot.train, 964), (omniglot.test, 659)):
        images, labels = contents(split)
        assert np.unique(labels, return_counts=True)[1].tolist() == [20] * characters
        assert 0.07 < images.mean() / 255 < 0.09


# Data sets of TFDS that are made here.


class TinyImages(tfds.core.GeneratorBasedBuilder):
    """Images of many sizes, image i of level 10 i throughout."""

    VERSION = tfds.core.Version("1.0.0")
    sizes = {"train": 7, "test": 4}  # noqa: RUF012
    labelled = True
    shape = (None, None, 3)

    def _info(self):
        features = {"image": tfds.features.Image(shape=self.shape)}
        if self.labelled:
            features["label"] = tfds.features.ClassLabel(num_classes=3)
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(features),
            supervised_keys=("image", "label") if self.labelled else None,
            disable_shuffling=True,
        )

    def _split_generators(self, download_manager):
        return {name: self._generate_examples(number) for name, number in self.sizes.items()}

    def _generate_examples(self, number=0):
        for i in range(number):
            example = {"image": np.full((10 + i, 20, self.shape[-1]), 10 * i, np.uint8)}
            yield i, example | ({"label": i % 3} if self.labelled else {})


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """Loads `tiny_images`, prepared afresh as the given attributes of its builder say."""

    def load(attributes=(), **kwargs):
        for name, value in dict(attributes).items():
            monkeypatch.setattr(TinyImages, name, value)
        return datasets.load("tiny_images", str(tmp_path), image_size=8, **kwargs)

    return load


def test_a_tfds_data_set_is_prepared_and_its_images_of_many_sizes_become_one(tiny):
    data = tiny()
    assert data.train.image_shape == (8, 8, 3)
    for split, number in ((data.train, 7), (data.test, 4)):
        images, labels = contents(split)
        levels = np.broadcast_to(10 * np.arange(number)[:, None, None, None], [number, 8, 8, 3])
        np.testing.assert_array_equal(images, levels)
        np.testing.assert_array_equal(labels, np.arange(number) % 3)


@pytest.mark.parametrize("limit", [0, 2**30], ids=["streamed", "in memory"])
def test_the_last_training_images_of_a_tfds_data_set_are_held_out(tiny, monkeypatch, limit):
    monkeypatch.setattr(tfds_source, "MEMORY_LIMIT", limit)
    data = tiny(validation_images=2)
    for split, numbers in ((data.train, range(5)), (data.validation, [5, 6]), (data.test, range(4))):
        assert isinstance(split, ArrayImages if limit else StreamSplit)
        assert split.num_images == len(numbers)
        assert contents(split)[0][:, 0, 0, 0].tolist() == [10 * number for number in numbers]


def test_holding_all_of_a_tfds_data_set_out_is_an_input_error(tiny):
    message = message_of(tiny, validation_images=7)
    assert message == "--validation_images: expected fewer than the 7 training images; received 7"


def test_a_tfds_data_set_without_classes_has_no_labels(tiny):
    data = tiny({"labelled": False})
    assert not data.train.has_labels
    assert contents(data.train)[1].tolist() == [NO_LABEL] * 7


def test_a_gray_tfds_data_set_has_one_channel_unless_three_are_asked_for(tiny):
    assert tiny({"shape": (None, None, 1)}).train.image_shape == (8, 8, 1)
    assert tiny({"shape": (None, None, 1)}, channels=3).train.image_shape == (8, 8, 3)


def test_the_validation_split_stands_for_a_missing_test_split(tiny):
    assert tiny({"sizes": {"train": 7, "validation": 3}}).test.num_images == 3


@pytest.mark.parametrize("sizes", [{"train": 7}, {"test": 7}, {"everything": 7}])
def test_a_tfds_data_set_without_training_and_test_split_is_an_input_error(tiny, sizes):
    [name] = sizes
    message = message_of(tiny, {"sizes": sizes})
    assert message == f"--dataset=tiny_images: expected splits train and test; received {name}"


def test_the_fingerprint_of_a_tfds_data_set_changes_with_its_data(tmp_path, monkeypatch):
    found = []
    for place, number in (("first", 7), ("second", 7), ("third", 6)):
        monkeypatch.setattr(TinyImages, "sizes", {"train": number, "test": 4})
        found.append(datasets.load("tiny_images", str(tmp_path / place)).fingerprint)
    assert found[0] == found[1] != found[2]


# Mocked data sets of TFDS.


@pytest.fixture
def mocked(tmp_path):
    """Returns a context in which a data set has random images and the given sizes of its splits."""

    def mock(name, num_examples, **sizes):
        builder = tfds.builder(name, data_dir=str(tmp_path))
        template = functools.partial(
            tfds.core.ShardedFileTemplate,
            data_dir=builder.data_path,
            dataset_name=builder.name,
            filetype_suffix="tfrecord",
        )
        infos = [
            tfds.core.SplitInfo(
                name=split,
                shard_lengths=[size],
                num_bytes=size,
                filename_template=template(split=split),
            )
            for split, size in sizes.items()
        ]
        builder.info.set_splits(tfds.core.splits.SplitDict(infos))
        builder.data_path.mkdir(parents=True)
        builder.info.write_to_directory(builder.data_path)
        return tfds.testing.mock_data(num_examples=num_examples, data_dir=str(tmp_path))

    return mock


def test_celeb_a_is_streamed_and_cropped_to_140_and_resized_to_64(mocked):
    """The training set is 2.0 GB at 64x64x3, the test set 0.2."""
    with mocked("celeb_a", 6, train=162_770, validation=19_867, test=19_962):
        raw = [example["image"] for example in tfds.as_numpy(tfds.load("celeb_a", split="train"))]
        data = datasets.load("celeb_a")
        images, _ = contents(data.train)
        [(epoch, step, indices, shuffled)] = data.train.shuffled_batches(6, 0, range(1))
    assert isinstance(data.train, StreamSplit)
    assert isinstance(data.test, ArrayImages)
    assert data.train.num_images == 162_770
    assert data.train.image_shape == (64, 64, 3)
    assert data.train.steps_per_epoch(64) == 2544
    assert raw[0].shape == (218, 178, 3)
    for image, pixels in zip(images, raw, strict=True):
        expected = reference.antialiased_resize(pixels[39:179, 19:159], 64)
        np.testing.assert_allclose(image, expected, atol=0.5 + 1e-3)
    assert (int(epoch), int(step)) == (0, 0)
    np.testing.assert_array_equal(shuffled, images[indices])
    np.testing.assert_array_equal(contents(data.test)[0], images)


def test_pixels_that_are_stored_as_0_and_1_are_black_and_white(mocked):
    with mocked("binarized_mnist", 5, train=5, validation=5, test=5):
        data = datasets.load("binarized_mnist")
        stored = [example["image"] for example in tfds.as_numpy(tfds.load(data.name, split="test"))]
    images, _ = contents(data.test)
    np.testing.assert_array_equal(images, np.where(np.array(stored) > 0, 255, 0))
    assert {0, 255} == set(np.unique(images))


def test_a_mocked_data_set_of_many_sizes_equals_cropping_and_resizing_by_hand(mocked):
    with mocked("oxford_flowers102", 5, train=5, validation=5, test=5):
        data = datasets.load("oxford_flowers102", image_size=16)
        examples = list(tfds.as_numpy(tfds.load("oxford_flowers102", split="test")))
    images, labels = contents(data.test)
    assert labels.tolist() == [example["label"] for example in examples]
    assert len({example["image"].shape for example in examples}) == 5
    for image, example in zip(images, examples, strict=True):
        height, width, _ = example["image"].shape
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        square = example["image"][top : top + side, left : left + side]
        np.testing.assert_allclose(image, reference.antialiased_resize(square, 16), atol=0.5 + 1e-3)


# What cannot be had.


@pytest.mark.parametrize("name", ["no_such_images", "mnist/nothing", "mnist:9.9.9", "not a name", ""])
def test_an_unknown_name_is_an_input_error_in_one_line(name, tmp_path):
    message = message_of(datasets.load, name, str(tmp_path))
    assert message == (
        f"--dataset: expected digits, folder:PATH or the name of a TFDS data set; received {name}"
    )


def test_a_tfds_data_set_without_images_is_an_input_error(tmp_path):
    assert message_of(datasets.load, "imdb_reviews", str(tmp_path)) == (
        "--dataset=imdb_reviews: expected a data set with images; received text, label"
    )
    assert message_of(tfds_source.StoredSplit, "imdb_reviews", str(tmp_path), "train") == (
        "--input=imdb_reviews: expected a data set with images; received text, label"
    )


def test_without_a_network_one_line_names_the_ways_out_after_what_is_fetched(
    tmp_path, monkeypatch, log
):
    said_before = []

    def download_and_prepare(self, **kwargs):
        said_before.extend(record.getMessage() for record in log.records)
        raise ConnectionError("Max retries exceeded\nwith url: /mnist.gz\n(Caused by ...)")

    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", download_and_prepare)
    message = message_of(datasets.load, "mnist", str(tmp_path))
    assert message.startswith("--dataset=mnist: expected it prepared under --data_dir=")
    assert str(tmp_path) in message
    assert "received ConnectionError: Max retries exceeded with url" in message
    assert message.endswith("; --dataset=digits needs neither")
    [line] = set(said_before)
    assert line.startswith("fetching mnist/3.0.1 ")
    assert str(tmp_path) in line


def test_the_data_dir_that_the_message_names_can_be_given_as_it_stands(tmp_path, monkeypatch):
    """TFDS looks for NAME/VERSION below it."""

    def download_and_prepare(self, **kwargs):
        raise ConnectionError

    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", download_and_prepare)
    assert f"--data_dir={tmp_path} " in message_of(datasets.load, "mnist", str(tmp_path))


def test_a_prepared_data_set_is_not_fetched_again(tiny, monkeypatch):
    first = tiny()
    monkeypatch.delattr(tfds.core.DatasetBuilder, "download_and_prepare")
    again = tiny()
    assert again.fingerprint == first.fingerprint
    np.testing.assert_array_equal(contents(again.train)[0], contents(first.train)[0])


def test_what_tfds_needs_to_download_and_does_not_declare_is_declared_here():
    tree = ast.parse((ROOT / "setup.py").read_text())
    [requirements] = [
        ast.literal_eval(keyword.value)
        for call in ast.walk(tree)
        if isinstance(call, ast.Call)
        for keyword in call.keywords
        if keyword.arg == "install_requires"
    ]
    assert any(requirement.startswith("importlib_resources") for requirement in requirements)
    assert callable(importlib.import_module("importlib_resources").files)


# Folders of image files.


def write_image(path, level=100, side=4):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((side, side), level, np.uint8)).save(path)


def write_images(folder, names):
    """Image i of the names is of level i, modulo 200."""
    for i, name in enumerate(names):
        write_image(folder / name, i % 200)


def load_folder(folder, **kwargs):
    return datasets.load(f"folder:{folder}", image_size=4, channels=1, **kwargs)


def is_test(name):
    """Whether a file is a test image: a tenth of all names."""
    return int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) / 2**32 < 0.1


def names_of(number, for_test, pattern="{}.png"):
    """The first `number` names that are or are not in the test set."""
    names = (pattern.format(i) for i in range(10_000))
    return [name for name in names if is_test(name) == for_test][:number]


def levels(split):
    return sorted(contents(split)[0][:, 0, 0, 0].tolist())


def test_a_folder_is_split_by_a_hash_of_each_name(tmp_path):
    names = [f"{i}.png" for i in range(150)]
    write_images(tmp_path, names)
    data = load_folder(tmp_path)
    expected = [i for i, name in enumerate(names) if is_test(name)]
    assert 5 < len(expected) < 30
    assert levels(data.test) == expected
    assert levels(data.train) == sorted(set(range(150)) - set(expected))
    assert data.validation is None


def test_adding_and_removing_files_moves_no_other(tmp_path):
    names = [f"{i}.png" for i in range(100)]
    write_images(tmp_path, names)
    data = load_folder(tmp_path)
    before = levels(data.train), levels(data.test)
    for i in range(20):
        write_image(tmp_path / f"new{i}.png", 250)
    (tmp_path / names[0]).unlink()
    data = load_folder(tmp_path)
    after = levels(data.train), levels(data.test)
    for old, new in zip(before, after, strict=True):
        assert set(new) - {250} == set(old) - {0}


def test_the_folders_directly_below_are_the_classes(tmp_path):
    train, test = names_of(4, False, "cat/{}.png"), names_of(2, True, "dog/deep/{}.png")
    for i, name in enumerate(train):
        write_image(tmp_path / name, i)
    for i, name in enumerate(test):
        write_image(tmp_path / name, 100 + i)
    data = load_folder(tmp_path)
    assert data.train.has_labels
    assert data.test.has_labels
    assert contents(data.train)[1].tolist() == [0] * 4
    assert contents(data.test)[1].tolist() == [1] * 2
    assert levels(data.test) == [100, 101]


@pytest.mark.parametrize(
    "patterns", [["{}.png"], ["only/{}.png"], ["{}.png", "cat/{}.png", "dog/{}.png"]]
)
def test_without_two_classes_or_with_images_outside_of_them_there_are_no_labels(tmp_path, patterns):
    for pattern in patterns:
        write_images(tmp_path, names_of(3, False, pattern) + names_of(1, True, pattern))
    data = load_folder(tmp_path)
    assert not data.train.has_labels
    assert set(contents(data.train)[1]) == {NO_LABEL}


def test_held_out_images_of_a_folder_are_not_trained_on(tmp_path):
    write_images(tmp_path, [f"{i}.png" for i in range(60)])
    whole, data = load_folder(tmp_path), load_folder(tmp_path, validation_images=10)
    assert data.validation.num_images == 10
    assert not set(levels(data.train)) & set(levels(data.validation))
    assert sorted(levels(data.train) + levels(data.validation)) == levels(whole.train)
    assert levels(data.test) == levels(whole.test)


def test_files_of_every_kind_and_any_name_are_found_and_others_are_left_alone(tmp_path):
    kinds = ["{}.png", "{}.PNG", "{}.jpg", "{}.jpeg", "{}.bmp", "{}.gif", "ä ö {}.png", "[{}]*?.png"]
    for kind, level in zip(kinds, range(10, 90, 10), strict=True):
        [name] = names_of(1, False, kind)
        write_image(tmp_path / name, level)
    write_image(tmp_path / names_of(1, True)[0], 200)
    (tmp_path / "notes.txt").write_text("not an image")
    (tmp_path / "noextension").write_bytes(b"")
    data = load_folder(tmp_path)
    np.testing.assert_allclose(levels(data.train), range(10, 90, 10), atol=1)
    assert levels(data.test) == [200]


def test_the_smallest_folder_has_one_image_to_train_on_and_one_to_test_on(tmp_path):
    [train], [test] = names_of(1, False), names_of(1, True)
    write_image(tmp_path / train, 10)
    write_image(tmp_path / test, 20)
    data = load_folder(tmp_path)
    assert (levels(data.train), levels(data.test)) == ([10], [20])


@pytest.mark.parametrize("names", [names_of(3, False), names_of(3, True), names_of(1, True)])
def test_a_folder_too_small_to_be_split_is_an_input_error(tmp_path, names):
    write_images(tmp_path, names)
    assert message_of(load_folder, tmp_path) == (
        f"--dataset=folder:{tmp_path}: expected enough images to hold out a tenth for testing; "
        f"received {len(names)}"
    )


def test_holding_all_of_a_folder_out_is_an_input_error(tmp_path):
    write_images(tmp_path, names_of(5, False) + names_of(2, True))
    message = message_of(load_folder, tmp_path, validation_images=5)
    assert message == "--validation_images: expected fewer than the 5 training images; received 5"


def test_a_missing_folder_is_an_input_error(tmp_path):
    missing = tmp_path / "missing"
    assert message_of(load_folder, missing) == (
        f"--dataset=folder:{missing}: expected a folder; received no such folder"
    )


def test_a_file_in_place_of_a_folder_is_an_input_error(tmp_path):
    write_image(tmp_path / "image.png")
    assert "expected a folder; received" in message_of(load_folder, tmp_path / "image.png")


@pytest.mark.parametrize("files", [[], ["notes.txt"], ["empty/notes.txt"]])
def test_a_folder_without_images_is_an_input_error(tmp_path, files):
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    assert message_of(load_folder, tmp_path) == (
        f"--dataset=folder:{tmp_path}: expected .png, .jpg, .jpeg, .bmp, .gif files; received none"
    )


BROKEN = {"empty": b"", "text": b"not an image", "truncated": None}
REASONS = {
    "empty": "Input is empty.",
    "text": "Unknown image file format.",
    "truncated": "Invalid PNG",
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_file_is_left_out_with_a_warning_that_says_why(tmp_path, log, kind):
    names = [f"{i:03}.png" for i in range(101)]
    write_images(tmp_path, names)
    intact = load_folder(tmp_path)
    broken = tmp_path / "060.png"
    broken.write_bytes(broken.read_bytes()[:50] if BROKEN[kind] is None else BROKEN[kind])
    log.clear()
    data = load_folder(tmp_path)
    warnings = {r.getMessage() for r in log.records if r.levelno == logging.WARNING}
    counted = "1 of 101 files are left out"
    (named,) = warnings - {counted}
    assert named.startswith(f"left out, cannot be decoded: 060.png: {REASONS[kind]}")
    assert counted in warnings
    everything = levels(data.train) + levels(data.test)
    assert sorted(everything) == [i for i in range(101) if i != 60]
    assert data.fingerprint != intact.fingerprint


def test_broken_files_are_named_wherever_they_are(tmp_path, log):
    names = [f"{i:03}.png" for i in range(200)]
    write_images(tmp_path, names)
    for name in (names[0], names[-1]):
        (tmp_path / name).write_bytes(b"broken")
    data = load_folder(tmp_path)
    warned = {record.getMessage() for record in log.records}
    reason = "left out, cannot be decoded: {}: Unknown image file format."
    for name in ("000.png", "199.png"):
        assert any(line.startswith(reason.format(name)) for line in warned)
    assert len(warned) == 3
    assert data.train.num_images + data.test.num_images == 198


def test_more_than_one_file_in_a_hundred_broken_is_an_input_error(tmp_path):
    names = [f"{i:03}.png" for i in range(100)]
    write_images(tmp_path, names)
    (tmp_path / names[3]).write_bytes(b"broken")
    load_folder(tmp_path)
    (tmp_path / names[7]).write_bytes(b"broken")
    assert message_of(load_folder, tmp_path) == (
        f"--dataset=folder:{tmp_path}: expected at most 1% broken files; received 2 of 100, "
        f"the first {names[3]}"
    )


def test_the_fingerprint_of_a_folder_is_stable_and_changes_with_its_files(tmp_path):
    write_images(tmp_path, names_of(5, False) + names_of(2, True))
    first = load_folder(tmp_path).fingerprint
    assert load_folder(tmp_path).fingerprint == first
    write_image(tmp_path / "extra.png")
    second = load_folder(tmp_path).fingerprint
    (tmp_path / "extra.png").rename(tmp_path / "renamed.png")
    third = load_folder(tmp_path).fingerprint
    assert len({first, second, third}) == 3


def test_the_fingerprint_changes_with_the_pixels_of_a_file_of_the_same_size(tmp_path):
    """As those of bitmaps are, whatever they show."""
    write_images(tmp_path, names_of(5, False, "{}.bmp") + names_of(2, True, "{}.bmp"))
    before = load_folder(tmp_path).fingerprint
    write_image(tmp_path / names_of(1, False, "{}.bmp")[0], 222)
    assert load_folder(tmp_path).fingerprint != before
