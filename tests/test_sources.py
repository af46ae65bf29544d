"""The embedded digits, data sets of TFDS (real, prepared and mocked), arrays and folders of files."""

import hashlib
import io
import os
import re
import struct
import types

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from crvae_tf import InputError, datasets
from crvae_tf.datasets import NO_LABEL, Preprocessing, open_images, sources
from crvae_tf.datasets.images import spread
from crvae_tf.evaluation import embeddings
from launch import assembly
from tests import reference
from tests.command_line import forgotten_flags, resolved  # noqa: F401 - the first is a fixture.
from tests.conftest import concatenated, message_of
from tests.image_files import blocks, encoded


def contents(split):
    """(images, labels) of a split, in order."""
    return concatenated(split.batches(256).as_numpy_iterator())[1:]


def test_digits_are_scikit_learns_scans_20_pixels_high_in_a_dark_frame(digits):
    scans, labels = load_digits(return_X_y=True)
    splits = train_test_split(scans, labels, test_size=360, stratify=labels, random_state=0)
    for split, expected, classes in zip(
        (digits.train, digits.test), splits[:2], splits[2:], strict=True
    ):
        pixels, found = contents(split)
        np.testing.assert_array_equal(found, classes)
        small = tf.image.resize(pixels[:, 4:24, 4:24], [8, 8], antialias=True)
        # Enlarged by cubics and made small by triangles: a little smoother, otherwise the same.
        assert np.corrcoef(np.ravel(small), np.ravel(expected))[0, 1] > 0.97
        assert abs(small.numpy().mean() / 255 - expected.mean() / 16) < 0.01
        pixels[:, 4:24, 4:24] = 0
        assert not pixels.any()


def test_digits_held_out_are_a_fixed_sample_of_the_training_images(digits):
    held_out = datasets.load("digits", validation_images=100)
    assert (held_out.train.num_images, held_out.validation.num_images) == (1337, 100)
    places = spread(100, 1437)
    for whole, rest, sample in zip(
        *map(contents, (digits.train, held_out.train, held_out.validation)), strict=True
    ):
        np.testing.assert_array_equal(sample, whole[places])
        np.testing.assert_array_equal(rest, np.delete(whole, places, axis=0))
    message = message_of(datasets.load, "digits", validation_images=1437)
    assert message == "validation_images: expected fewer than the 1437 training images; received 1437"


def test_the_fingerprint_of_digits_changes_with_the_images(digits):
    smaller = datasets.load("digits", image_size=8, channels=3)
    assert smaller.train.image_shape == (8, 8, 3)
    assert smaller.fingerprint != digits.fingerprint == datasets.load("digits").fingerprint


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("mnist:3.0.1", (28, 1, "dynamic", "bernoulli")),
        ("omniglot", (28, 1, "dynamic", "bernoulli")),
        ("fashion_mnist", (28, 1, "none", "continuous_bernoulli")),
        ("cifar10", (32, 3, "none", "gaussian")),
        ("oxford_flowers102", (64, 3, "none", "gaussian")),
        ("folder:anywhere", (64, 3, "none", "gaussian")),
    ],
)
def test_a_data_set_has_defaults_of_its_own(name, expected, tmp_path):
    found = datasets.defaults(name, str(tmp_path))
    names = ("image_size", "channels", "binarization", "likelihood")
    assert tuple(found[name] for name in names) == expected
    assert found["invert"] == name.startswith("omniglot")


def test_splits_of_tfds_are_read_in_their_stored_order_and_kept_to_the_bit(shared_data_dir):
    parts = ["test[9970:]", "train[:30]"]
    stored = tfds.load("mnist", data_dir=shared_data_dir, split=parts, batch_size=-1)
    pixels, labels = (np.concatenate([part[key] for part in stored]) for key in ("image", "label"))
    mnist = open_images("mnist", Preprocessing(28, 1), shared_data_dir, "+".join(parts))
    for bounds in ([(0, 16), (16, 25), (25, 60)], [(8, 12), (50, 51)]):
        wanted = np.concatenate([np.arange(*bound) for bound in bounds])
        expected = [wanted, pixels[wanted], labels[wanted]]
        np.testing.assert_equal(concatenated(mnist.read(bounds)), expected)
    with pytest.raises(InputError, match="split: expected train, test, or slices of them"):
        open_images("mnist", Preprocessing(28, 1), shared_data_dir, "holdout")


def test_omniglot_equals_inverting_and_resizing_by_hand(shared_data_dir):
    raw = tfds.as_numpy(tfds.load("omniglot", split="train[:5]", data_dir=shared_data_dir))
    omniglot = open_images("omniglot", Preprocessing(28, 1), shared_data_dir, "train[:5]")
    for image, label, example in zip(*contents(omniglot), raw, strict=True):
        assert example["image"].shape == (105, 105, 3)
        expected = reference.antialiased_resize(255.0 - example["image"][:, :, :1], 28)
        np.testing.assert_allclose(image, expected, atol=0.5 + 1e-3)
        assert label == example["label"]


@pytest.mark.slow
def test_all_of_mnist_has_the_published_statistics(shared_data_dir):
    """Mean 0.1307 and standard deviation 0.3081 of the training set, and the counts of the classes."""
    mnist = datasets.load("mnist", shared_data_dir)
    pixels, labels = contents(mnist.train)
    assert abs(pixels.mean() / 255 - 0.1307) < 5e-5
    assert abs(pixels.std() / 255 - 0.3081) < 5e-5
    train = [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    test = [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert np.bincount(labels).tolist() == train
    assert np.bincount(contents(mnist.test)[1]).tolist() == test


class TinyImages(tfds.core.GeneratorBasedBuilder):
    """Images of many sizes, image i of level 10 i throughout."""

    VERSION = tfds.core.Version("1.0.0")
    sizes = {"train": 7, "test": 4}  # noqa: RUF012
    image = tfds.features.Image(shape=(None, None, 3))
    others = {}  # noqa: RUF012
    supervised_keys = ("image", "label")
    level, labels = 10, (0, 1, 2)
    stored = staticmethod(lambda image: image)

    def _info(self):
        others = {key: feature for key, (feature, _) in self.others.items()}
        features = {**others, "image": self.image, "label": tfds.features.ClassLabel(num_classes=3)}
        return tfds.core.DatasetInfo(
            builder=self,
            features=tfds.features.FeaturesDict(features),
            supervised_keys=self.supervised_keys,
            disable_shuffling=True,
        )

    def _split_generators(self, download_manager):
        return {name: self._generate_examples(number) for name, number in self.sizes.items()}

    def _generate_examples(self, number=0):
        others = {key: value for key, (_, value) in self.others.items()}
        for i in range(number):
            shape = (10 + i, 20, self.image.shape[-1])
            image = np.full(shape, self.level * i, self.image.np_dtype)
            yield i, {**others, "image": self.stored(image), "label": self.labels[i % 3]}


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """Loads `tiny_images`, prepared afresh as the given attributes of its builder say."""

    def load(attributes=(), **kwargs):
        for name, value in dict(attributes).items():
            monkeypatch.setattr(TinyImages, name, value)
        return datasets.load("tiny_images", str(tmp_path), image_size=8, **kwargs)

    return load


def first_pixels(split):
    return contents(split)[0][:, 0, 0, 0].tolist()


def deep(dtype):
    file_format = None if dtype == np.float32 else "png"
    return tfds.features.Image(shape=(None, None, 1), dtype=dtype, encoding_format=file_format)


def half_clear_file(image):
    alpha = np.full((*image.shape[:2], 1), 128, np.uint8)
    return io.BytesIO(encoded(np.concatenate([image, alpha], axis=-1), "PNG"))


STRETCHED = [0, 42.5, 85, 127.5]
IMAGE_TYPES = {
    "uint16": ({"image": deep(np.uint16), "level": 2560}, [0, 10, 20, 30]),
    "few bits of uint16": ({"image": deep(np.uint16), "level": 20}, STRETCHED),
    "float32": ({"image": deep(np.float32), "level": np.float32(1 / 6)}, STRETCHED),
    "few levels": ({"image": deep(np.uint8), "level": 1}, STRETCHED),
    "half clear file": ({"stored": staticmethod(half_clear_file)}, [127, 132, 137, 142]),
}


@pytest.mark.parametrize(("attributes", "expected"), IMAGE_TYPES.values(), ids=IMAGE_TYPES)
def test_images_of_every_type_are_scaled_by_it_and_put_on_white(tiny, attributes, expected, tmp_path):
    data = tiny(attributes, channels=1)
    np.testing.assert_allclose(first_pixels(data.test), expected, atol=0.51)
    embedded = open_images("tiny_images", data.preprocessing, str(tmp_path), "test")
    np.testing.assert_array_equal(contents(embedded)[0], contents(data.test)[0])


def test_images_without_a_class_are_counted_in_none(tiny):
    data = tiny({"labels": (0, -1, 1), "sizes": {"train": 12, "test": 6}})
    assert data.train.num_classes == 2

    def embed(batches):
        return np.concatenate([labels for *_, labels in batches]).astype(float)[:, np.newaxis]

    found = embeddings.figures_of(embed, data, {}, 6)
    assert found["probe"]["num_train_images"] == 8
    assert found["probe"]["clean"]["linear"] == 1.0


PHOTO, LABELS = tfds.features.Image(), tfds.features.LabeledImage(labels=2)
AMBIGUOUS = "an Image feature, called image where there are several; received some, with"


@pytest.mark.parametrize(
    ("features", "keys", "expected"),
    [
        ({"mask": LABELS, "photograph": PHOTO}, None, "photograph"),
        ({"mask": LABELS, "image": PHOTO, "depth": PHOTO}, None, "image"),
        ({"image": PHOTO, "photograph": PHOTO}, ("photograph", "label"), "photograph"),
        ({"depth": PHOTO, "image": PHOTO}, ({"depth": "depth", "image": "image"}, "label"), "image"),
        ({"mask": LABELS, "photograph": PHOTO}, (("mask", "photograph"), "label"), "photograph"),
        ({"mask": LABELS}, None, "mask"),
        ({"photograph": PHOTO, "annotation": PHOTO}, None, f"{AMBIGUOUS} annotation, photograph"),
        ({"text": tfds.features.Text()}, None, f"{AMBIGUOUS} text"),
    ],
)
@pytest.mark.parametrize("order", [1, -1])
def test_the_images_are_those_that_are_named_no_masks_and_never_a_guess(
    features, keys, expected, order
):
    features = dict(list(features.items())[::order])
    info = types.SimpleNamespace(features=features, supervised_keys=keys)
    builder = types.SimpleNamespace(name="some", info=info)
    if expected in features:
        assert sources._image_key(builder, "dataset") == expected
    else:
        with pytest.raises(InputError, match=expected):
            sources._image_key(builder, "dataset")


@pytest.mark.parametrize(("other", "expected"), [("species", "breed"), ("label", "label")])
@pytest.mark.parametrize("order", [1, -1])
def test_the_classes_are_the_same_in_whatever_order_features_are_read(order, other, expected):
    classes = {name: tfds.features.ClassLabel(num_classes=2) for name in ("breed", other)[::order]}
    keys = ("image", {name: name for name in classes})
    info = types.SimpleNamespace(features=classes, supervised_keys=keys)
    assert sources._label_key(types.SimpleNamespace(info=info)) == expected


ANNOTATION = {"annotation": (tfds.features.Image(shape=(6, 6, 1)), np.full((6, 6, 1), 250, np.uint8))}
OTHER = {"other": (tfds.features.ClassLabel(names=["cat", "dog"]), 1)}


@pytest.mark.parametrize(
    ("others", "keys", "labels", "told"),
    [
        (ANNOTATION, None, [0, 1, 2, 0], "the images are image, the classes are label"),
        (ANNOTATION, ("image", "annotation"), [NO_LABEL] * 4, "no classes: supervised_keys name none"),
        (OTHER, ("image", "other"), [1] * 4, "the images are image, the classes are other"),
    ],
)
def test_supervised_keys_say_which_are_the_images_and_the_labels(tiny, log, others, keys, labels, told):
    data = tiny({"others": others, "supervised_keys": keys})
    assert first_pixels(data.test) == [0, 10, 20, 30]
    assert contents(data.test)[1].tolist() == labels
    assert data.test.has_labels == (NO_LABEL not in labels)
    assert data.test.class_names == (["cat", "dog"] if others is OTHER else None)
    assert told in log.text


def test_validation_images_are_those_of_the_validation_split(tiny):
    sizes = {"train": 7, "validation": 5, "test": 3}
    for wanted, expected in ((0, (7, None, 3)), (2, (7, 2, 3))):
        data = tiny({"sizes": sizes}, validation_images=wanted)
        parts = (data.train, data.validation, data.test)
        assert tuple(part and part.num_images for part in parts) == expected


def test_an_image_that_cannot_be_decoded_ends_the_reading_in_one_line(tiny):
    broken = staticmethod(
        lambda image: io.BytesIO(encoded(image, "PNG")[: 60 if image.any() else None])
    )
    with pytest.raises(InputError, match=r"tiny_images: expected images that TensorFlow decodes; rec"):
        tiny({"stored": broken})


@pytest.mark.parametrize("name", ["train", "everything"])
def test_test_images_are_held_out_of_a_single_split_and_that_is_said(tiny, log, name):
    data = tiny({"sizes": {name: 7}}, test_fraction=0.3)
    assert (data.train.num_images, data.test.num_images) == (5, 2)
    assert first_pixels(data.test) == (10 * spread(2, 7)).tolist()
    assert "held out 2 of 7 images for testing" in log.text


FLOATS = {"image": deep(np.float32), "sizes": {"train": 2, "test": 7}}
NO_IMAGES = "float images in [0, 1]; received tiny_images, with"


@pytest.mark.parametrize(
    ("attributes", "expected"),
    [
        (
            {"sizes": {"one": 7, "two": 3}},
            "a data set with a split train; received tiny_images, with one, two",
        ),
        (FLOATS | {"level": 40.0}, f"{NO_IMAGES} 40 to 40"),
        (FLOATS | {"level": np.float32(1 / 3)}, f"{NO_IMAGES} 1.33333 to 1.33333"),
    ],
    ids=["no training split", "floats beyond 1 in training", "floats beyond 1 in the test alone"],
)
def test_a_tfds_data_set_that_cannot_be_trained_on_is_an_input_error(tiny, attributes, expected):
    assert message_of(tiny, attributes) == f"dataset: expected {expected}"


def test_the_fingerprint_of_a_tfds_data_set_changes_with_its_data(tmp_path, monkeypatch):
    found = []
    for place, number in (("first", 7), ("second", 7), ("third", 6)):
        monkeypatch.setattr(TinyImages, "sizes", {"train": number, "test": 4})
        found.append(datasets.load("tiny_images", str(tmp_path / place)).fingerprint)
    assert found[0] == found[1] != found[2]


@pytest.mark.parametrize(("name", "crop"), [("celeb_a", 140), ("celeb_a:2.1.0", 140), ("lfw", None)])
def test_faces_of_celeb_a_are_cropped_to_140_pixels(name, crop):
    assert sources._usual(name, Preprocessing(64, 3), None).crop == crop


@pytest.mark.parametrize("name", ["no_such_images", "mnist/nothing", "mnist:9.9.9", "not a name", ""])
def test_an_unknown_name_is_an_input_error_in_one_line(name, tmp_path):
    expected = "digits, folder:PATH, FILE.npy or the name of a TFDS data set"
    message = message_of(datasets.load, name, str(tmp_path))
    assert message == f"dataset: expected {expected}; received {name} in {tmp_path}"


def test_a_tfds_data_set_without_images_is_an_input_error(tmp_path):
    expected = "a data set with an Image feature, called image where there are several"
    expected += "; received imdb_reviews, with label, text"
    assert message_of(datasets.load, "imdb_reviews", str(tmp_path)) == f"dataset: expected {expected}"
    message = message_of(open_images, "imdb_reviews", Preprocessing(8, 1), str(tmp_path))
    assert message == f"input: expected {expected}"


def test_without_a_network_one_line_names_the_ways_out_after_what_is_fetched(
    tmp_path, monkeypatch, log
):
    said_before = []

    def download_and_prepare(self, **kwargs):
        said_before.extend(record.getMessage() for record in log.records)
        raise ConnectionError("Max retries exceeded\nwith url: /mnist.gz\n(Caused by ...)")

    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", download_and_prepare)
    message = message_of(datasets.load, "mnist", str(tmp_path))
    assert message.startswith("dataset: expected digits, a data set prepared below ")
    assert f"prepared below {tmp_path}, or" in message  # TFDS looks for NAME/VERSION below it.
    assert "received mnist, and ConnectionError: Max retries exceeded with url" in message
    assert f"fetching mnist/3.0.1 into {tmp_path};" in said_before[-1]


RAMPS = np.repeat(blocks(0, height=40, width=8, side=1)[:, None], 8, axis=1)


@pytest.mark.parametrize(
    "array",
    [
        RAMPS[:, 0, :, None, None],
        RAMPS,
        RAMPS / 255.0,
        np.float16(RAMPS / RAMPS.max() * 1.0009),
        (RAMPS > 99).astype(np.uint8),
        np.asfortranarray(RAMPS * np.uint16(257)),
    ],
    ids=["columns", "gray", "floats", "rounded floats beyond 1", "masks", "uint16 by columns"],
)
def test_an_array_is_trained_on_as_it_is_embedded(tmp_path, array):
    name = str(tmp_path / "images.npy")
    np.save(name, array)
    data = datasets.load(name, image_size=8)
    assert (data.train.num_images, data.test.num_images) == (36, 4)
    embedded, places = contents(open_images(name, data.preprocessing))[0], spread(4, 40)
    np.testing.assert_array_equal(contents(data.test)[0], embedded[places])
    np.testing.assert_array_equal(contents(data.train)[0], np.delete(embedded, places, axis=0))
    expected = data.preprocessing(array.reshape(*array.shape[:3], 1))
    np.testing.assert_array_equal(embedded, expected)
    assert embedded.max() > 200


@pytest.mark.parametrize("shape", [(32, 32, 3), (20, 30, 1)])
def test_one_image_is_taken_as_one_and_that_is_said(tmp_path, log, shape):
    np.save(tmp_path / "one.npy", np.zeros(shape, np.uint8))
    assert open_images(str(tmp_path / "one.npy"), Preprocessing(8, 3)).num_images == 1
    assert f"reading {list(shape)} as one image" in log.text


def write_image(path, level=100, side=4, kind=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((side, side), level, np.uint8)).save(path, kind)


def write_images(folder, names):
    """Image i of the names is of level i, modulo 200."""
    for i, name in enumerate(names):
        write_image(folder / name, i % 200)


def load_folder(folder, **kwargs):
    return datasets.load(f"folder:{folder}", image_size=4, channels=1, **kwargs)


def open_folder(folder, **kwargs):
    return open_images(f"folder:{folder}", Preprocessing(4, 1, **kwargs))


def is_test(name, fraction=0.1):
    """Whether a file is a test image: a tenth of all names."""
    return int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) / 2**32 < fraction


def names_of(number, for_test):
    """The first `number` names that are or are not in the test set."""
    names = (f"{i}.png" for i in range(10_000))
    return [name for name in names if is_test(name) == for_test][:number]


def levels(split):
    return sorted(first_pixels(split))


@pytest.mark.parametrize(
    "parts",
    [
        ("Train", "val"),
        ("train", "validation", "test"),
        ("training_set/training_set", "test_set/test_set"),
        ("Train-Images/all/of", "test data/all/of"),
    ],
)
def test_the_users_own_split_is_kept_and_that_is_said(tmp_path, log, parts):
    for level, part in enumerate(parts):
        for name in ("cat/a.png", "cat/b.png", "dog/a.png"):
            write_image(tmp_path / part / name, 60 * (level + 1))
    data = load_folder(tmp_path)
    assert "your own split: " in log.text
    assert list(data.train.class_names) == ["cat", "dog"]
    assert (levels(data.train), levels(data.test)) == ([60] * 3, [60 * len(parts)] * 3)
    assert (data.validation is None) == (len(parts) == 2)
    for split in filter(None, (data.train, data.validation, data.test)):
        assert contents(split)[1].tolist() == [0, 0, 1]


def test_a_small_folder_has_two_test_images_and_may_be_called_like_an_array(tmp_path):
    for number, expected in ((12, 2), (2, 1)):
        write_images(tmp_path / f"{number}.npy", names_of(number, False))
        assert load_folder(tmp_path / f"{number}.npy").test.num_images == expected


def test_the_users_own_validation_images_can_be_evaluated_on(tmp_path):
    for part, level in (("train", 100), ("validation", 150), ("test", 200)):
        for i in range(2):
            write_image(tmp_path / part / f"{i}.png", level + i)
    flags = (f"--dataset=folder:{tmp_path}", "--image_size=4", "--eval_split=validation")
    assert first_pixels(assembly.load_data(resolved(*flags)).test) == [150, 151]


OWN_SPLIT = "your own split: test 4, train 4; no classes: 8 images lie outside class folders"


@pytest.mark.parametrize(
    ("patterns", "classes", "told"),
    [
        (["{}.png"], None, "no classes: 4 images lie outside class folders, such as 0.png"),
        (["only/{}.png"], None, "no classes: all images lie in the folder only"),
        (["{}.png", "cat/{}.png", "dog/{}.png"], None, "no classes: 4 images lie outside"),
        (["train_set/{}.png", "test_set/{}.png", "{}.png"], None, OWN_SPLIT),
        (["all/of/cat/{}.png", "all/of/dog/{}.png"], ["cat", "dog"], "2 classes: cat 4, dog 4"),
        (
            ["train/{}.png", "test/{}.png", "a/{}.png"],
            ["a", "test", "train"],
            "no split by test, train: it takes train, and no other folders beside it; 3 classes: a 4",
        ),
        (["val/cat/{}.png", "val/dog/{}.png"], ["cat", "dog"], "2 classes: cat 4, dog 4"),
    ],
)
def test_folders_are_classes_or_why_they_are_not_is_said(tmp_path, log, patterns, classes, told):
    for pattern in patterns:
        write_images(tmp_path, [pattern.format(i) for i in range(4)])
    found = open_folder(tmp_path)
    assert found.has_labels == (classes is not None)
    if classes:
        assert list(found.class_names) == classes
    else:
        assert set(contents(found)[1]) == {NO_LABEL}
    assert told in log.text


def test_what_was_found_and_what_was_left_out_is_said(tmp_path, log, monkeypatch):
    for i in range(5):
        write_image(tmp_path / "cat" / f"{i}.png", i)
        write_image(tmp_path / "dog" / f"{i}.webp", i, side=6, kind="WEBP")
        write_image(tmp_path / "cat" / f"{i}.tif", i)
        write_image(tmp_path / "cat" / "@eaDir" / f"{i}.png", i)
        write_image(tmp_path / "locked" / f"{i}.png", i)
    (tmp_path / "readme.txt").write_text("")
    write_image(tmp_path / "picture.txt", kind="PNG")
    write_image(tmp_path / ".thumbnails" / "0.png")
    (tmp_path / "cat" / "._0.png").write_bytes(b"of another system")
    (tmp_path / "cat" / "folder.png").mkdir()
    scandir = os.scandir

    def refuse(path):
        if os.fspath(path).endswith("locked"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    open_folder(tmp_path)
    assert f"folder:{tmp_path}: 10 images of 4x4 to 6x6 pixels" in log.text
    assert "2 classes: cat 5, dog 5; left out: " in log.text
    for told in (".tif 5", "in @eaDir 5", ".txt 2", "unreadable locked/ 1", "; Pillow can"):
        assert told in log.text


def png(pixels):
    return tf.io.encode_png(np.atleast_3d(pixels)).numpy()


RAMP, MASK = np.arange(16, dtype=np.uint16).reshape(4, 4), np.eye(4, dtype=np.uint8)
OPAQUE = np.full((4, 4), 255, np.uint8)
TOLD = "all images are stretched to white"
DARK = {
    "12 bits": ([png(RAMP * 273)], {("uint16 is 6.25%", TOLD)}, (0, 255)),
    "mask": ([png(MASK)], {("uint8 is 0.39%", TOLD)}, (0, 255)),
    "10 bits of colour": ([png(np.dstack([RAMP * 68] * 3))], {("uint16 is 1.56%", TOLD)}, (0, 255)),
    "opaque": ([png(np.dstack([MASK, MASK, MASK, OPAQUE]))], {("uint8 is 0.39%", TOLD)}, (0, 255)),
    "among light files": (
        [png(RAMP * 273), png(MASK * 200)],
        {("uint16 is 6.25%", "these look black")},
        (0, 200),
    ),
    "ink on a transparent ground": ([encoded(MASK * 20, "PNG", transparency=0)], set(), (20, 255)),
    "such ink of 16 bits": ([encoded(MASK * np.uint16(5120), "PNG", transparency=0)], set(), (20, 255)),
}


@pytest.mark.parametrize(("files", "told", "range_made"), DARK.values(), ids=DARK)
def test_images_are_stretched_to_white_where_all_look_black(tmp_path, log, files, told, range_made):
    for i in range(5):
        for j, file in enumerate(files):
            (tmp_path / f"{i}{j}.png").write_bytes(file)
    data = load_folder(tmp_path)
    pixels = np.concatenate([contents(data.train)[0], contents(data.test)[0]])
    assert (pixels.min(), pixels.max()) == range_made
    assert set(re.findall(r"brightest pixel of (.*?) of its type's range; (.*)", log.text)) == told


@pytest.mark.parametrize(
    ("level", "brightest", "told"),
    [
        (1, 1.0, "of uint8 is 0.39% of its type's range; these look black"),
        (1, 1 / 255, None),
        (60, 0.1, "is 23.53% of its type's range; all above 10.00% is white, as in training"),
        (30, 0.1, None),
    ],
)
def test_files_much_darker_or_brighter_than_the_trainings_are_warned_of(
    tmp_path, log, level, brightest, told
):
    write_image(tmp_path / "0.png", level)
    open_folder(tmp_path, brightest=brightest)
    assert told in log.text if told else "of its type's range" not in log.text


def test_a_polarity_that_is_not_the_encoders_is_told(log):
    open_images("digits", Preprocessing(28, 1, invert=True))
    assert (
        "digits: invert is False, as usual for these images; for files the encoder has True" in log.text
    )
    log.clear()
    open_images("digits", Preprocessing(28, 1))
    assert "invert" not in log.text


def test_test_images_that_are_also_trained_on_are_counted(tmp_path, log):
    for name, level in (("train/a", 1), ("train/b", 2), ("test/a", 2), ("test/b", 1), ("test/c", 3)):
        write_image(tmp_path / f"{name}.png", level)
    load_folder(tmp_path)
    assert "2 of 3 test images are exact copies of training images" in log.text


def test_dark_ink_on_a_light_ground_is_inverted(tmp_path):
    for level in (100, 150, 253):
        write_image(tmp_path / f"{level}.png", level)
    data = load_folder(tmp_path, invert=True)
    assert sorted(levels(data.train) + levels(data.test)) == [2, 105, 155]
    assert levels(open_images(f"folder:{tmp_path}", data.preprocessing)) == [2, 105, 155]


def test_links_are_followed_once_and_loops_end_and_that_is_said(tmp_path, log):
    classes, outside = tmp_path / "classes", tmp_path / "outside"
    write_images(classes, [f"{folder}/{i}.png" for folder in ("cat", "dog") for i in range(5)])
    write_images(outside, ["0.png", "1.png"])
    (classes / "linked").symlink_to(outside)
    (classes / "dog" / "loop").symlink_to(classes)
    (classes / "cat" / "again").symlink_to(outside)
    (outside / "back").symlink_to(classes / "dog")
    (classes / "itself").symlink_to("itself")
    found = open_images(f"folder:{classes}", Preprocessing(8, 3))
    assert len({os.path.realpath(path) for path in found.paths}) == found.num_images == 12
    assert {"cat/0.png", "dog/4.png"} <= set(found.names)
    for place in ("cat/again/", "dog/loop/", "linked/back/"):
        assert f"{place} (read before) 1" in log.text


NEEDED = "a folder with .png, .jpg, .jpeg, .bmp, .gif, .webp, .jxl files"
TOO_FEW = "enough images to hold out 0.1 of them for testing"


@pytest.mark.parametrize(
    ("names", "place", "expected"),
    [
        (names_of(1, False), "", f"{TOO_FEW}; received folder:.*, with 1"),
        (names_of(3, True), "", f"{TOO_FEW}; received folder:.*, with 3"),
        ([], "", f"{NEEDED}; received folder:.*, with .txt 1"),
        ([], "missing", "an existing folder; received folder:.*missing"),
    ],
)
def test_a_folder_that_cannot_be_trained_on_is_an_input_error(tmp_path, names, place, expected):
    (tmp_path / "notes.txt").write_text("")
    write_images(tmp_path, names)
    assert re.fullmatch(f"dataset: expected {expected}", message_of(load_folder, tmp_path / place))


SIZES = struct.pack(">HH", 24, 32), struct.pack(">HH", 65500, 65500)  # Stored, and claimed.
BROKEN = {
    "Input is empty.": b"",
    "jpeg::Uncompress failed. Invalid JPEG data": encoded(blocks(0, 3), "JPEG").replace(*SIZES),
    "PNG file: Invalid PNG": encoded(blocks(0, 3), "PNG")[:50],
    "JPEG2000 file: Unknown image file format.": encoded(blocks(0, 3), "JPEG2000"),
}


def test_the_hash_of_a_name_parts_what_can_be_read_and_one_broken_file_in_a_hundred_is_told(
    tmp_path, log
):
    names = [f"{i:03}.png" for i in range(500)]
    write_images(tmp_path, names)
    for name, stored in zip(names[:4], BROKEN.values(), strict=True):
        (tmp_path / name).write_bytes(stored)
    (tmp_path / names[4]).unlink()
    (tmp_path / names[4]).symlink_to("nothing")
    data = load_folder(tmp_path, test_fraction=0.4)
    assert levels(data.test) == sorted(i % 200 for i in range(5, 500) if is_test(names[i], 0.4))
    assert levels(data.train) == sorted(i % 200 for i in range(5, 500) if not is_test(names[i], 0.4))
    assert "5 of 500 files are left out" in log.text
    for name, why in zip(names[:4], BROKEN, strict=True):
        assert f"left out {name}, which cannot be decoded: {why}" in log.text
    (tmp_path / names[5]).write_bytes(b"broken")
    expected = "a folder with at most 1% broken files; received 6 of 500"
    assert message_of(load_folder, tmp_path) == f"dataset: expected {expected}, the first {names[0]}"


def test_the_fingerprint_of_a_folder_is_that_of_every_release_and_changes_with_names_and_pixels(
    tmp_path,
):
    """Otherwise no run on a folder could be resumed or evaluated."""
    write_images(tmp_path, [f"{part}/{i}.bmp" for part in "ab" for i in range(9)])
    before = load_folder(tmp_path, test_fraction=0.4).fingerprint
    assert before.startswith("d52466664b84f520")
    (tmp_path / "a" / "0.bmp").rename(tmp_path / "a" / "00.bmp")
    renamed = load_folder(tmp_path, test_fraction=0.4).fingerprint
    write_image(tmp_path / "a" / "1.bmp", 222)
    assert len({before, renamed, load_folder(tmp_path, test_fraction=0.4).fingerprint}) == 3
