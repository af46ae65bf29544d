"""Embeddings in files: every row once, whatever the files; and what is near."""

import hashlib
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest

import crvae_tf
from crvae_tf import InputError, networks
from crvae_tf.datasets import NO_LABEL, ArrayImages, Preprocessing, folders, open_images
from crvae_tf.serving import index as search
from crvae_tf.serving.export import Embeddings
from launch import search as command
from tests.command_line import outcome_of
from tests.image_files import blocks, encoded, exif


def encoder_of(path, seed=0):
    """A small encoder, exported and loaded."""
    pair = networks.build("mlp", (28, 28, 1), latent_dim=6, width=0.05, seed=seed)
    crvae_tf.export_encoder(crvae_tf.VAE(*pair), path, Preprocessing(28, 1), "dynamic")
    return crvae_tf.load_encoder(path)


@pytest.fixture(autouse=True)
def _several_batches_in_a_file(monkeypatch):
    monkeypatch.setattr(search, "BATCH_SIZE", 16)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return encoder_of(tmp_path_factory.mktemp("run") / "encoder")


@pytest.fixture(scope="module")
def digits_images(encoder):
    return open_images("digits", encoder.preprocessing, split="test")


@pytest.fixture(scope="module")
def expected(encoder, digits):
    """What all test digits are embedded to at once."""
    return encoder(next(digits.test.batches(360).as_numpy_iterator())[1] / np.float32(255.0))


@pytest.fixture
def embedded(tmp_path, encoder, digits_images):
    """The test digits' embeddings in files of 100 rows."""
    return search.embed(encoder, digits_images, tmp_path / "index", rows_per_file=100).index


def embed(encoder, name, output, **given):
    return search.embed(encoder, open_images(name, encoder.preprocessing), output, **given)


def assert_embedded(table, expected):
    for name in ("mean", "stddev"):
        found = np.stack(table[name].to_numpy())
        np.testing.assert_allclose(found, getattr(expected, name), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("rows_per_file", "num_files"), [(100, 4), (None, 1)])
def test_every_row_is_there_once(
    tmp_path, encoder, digits, digits_images, expected, rows_per_file, num_files
):
    report = search.embed(encoder, digits_images, tmp_path, rows_per_file=rows_per_file)
    assert (report.new_rows, report.index.num_files) == (360, num_files)
    table = pq.read_table(tmp_path)
    assert table.column_names == ["index", "label", "mean", "stddev"]
    assert table["index"].to_pylist() == list(range(360))
    (_, _, labels) = next(digits.test.batches(360).as_numpy_iterator())
    assert table["label"].to_pylist() == labels.tolist()
    assert_embedded(table, expected)


def test_an_image_without_a_class_has_an_empty_label(tmp_path, encoder):
    images = ArrayImages(np.zeros([2, 28, 28, 1], np.uint8), np.array([NO_LABEL, 1]))
    images.class_names = ["cat", "dog"]
    search.embed(encoder, images, tmp_path)
    assert pq.read_table(tmp_path)["label"].to_pylist() == ["", "dog"]


class EncoderThatSeesItsBatch:
    """Stands for a processor on which an image's embedding depends on the batch it is in."""

    fingerprint = "one"
    preprocessing = Preprocessing(28, 1)
    nothing = Embeddings(*np.zeros((3, 0, 1), np.float32))

    def encode_pixels(self, images):
        ones = np.ones((len(images), 1), np.float32)
        return Embeddings(ones * len(images), ones * float(images[0].mean()), ones)


@pytest.mark.parametrize(("missing", "rows"), [([0], 80), ([1, 3], 160), ([2, 3, 4], 200)])
def test_only_what_is_missing_is_made_again_and_as_it_was(tmp_path, digits_images, missing, rows):
    encoder, told = EncoderThatSeesItsBatch(), {}
    search.embed(encoder, digits_images, tmp_path, rows_per_file=80)
    files = sorted(tmp_path.glob("part-*"))
    whole = [file.read_bytes() for file in files]
    times = [file.stat().st_mtime_ns for file in files]
    for number in missing:
        files[number].unlink()
    (tmp_path / f".unfinished.77.{files[missing[0]].name}").write_bytes(b"killed as it was written")
    report = search.embed(encoder, digits_images, tmp_path, progress=told.__setitem__)
    assert report.new_rows == rows
    assert list(told.items())[-1] == (360, 360)
    assert [file.read_bytes() for file in files] == whole
    remade = [i for i, file in enumerate(files) if file.stat().st_mtime_ns != times[i]]
    assert remade == missing
    assert not list(tmp_path.glob(".*"))


def test_a_folder_that_another_process_writes_to_is_refused(embedded, encoder, digits_images):
    with embedded.lock(), pytest.raises(InputError, match="that no other process is writing to"):
        search.embed(encoder, digits_images, embedded.path)
    assert search.embed(encoder, digits_images, embedded.path).new_rows == 0
    assert {file.name[:5] for file in embedded.path.iterdir()} == {"_embe", "part-"}


def test_a_folder_of_other_embeddings_or_other_files_is_refused_and_left_alone(
    embedded, encoder, digits_images, tmp_path
):
    with pytest.raises(InputError, match="differs in encoder_fingerprint"):
        search.embed(EncoderThatSeesItsBatch(), digits_images, embedded.path)
    with pytest.raises(InputError, match="differs in num_rows, input_fingerprint"):
        embed(encoder, "digits", embedded.path)
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "thesis.tex").write_text("years of work")
    with pytest.raises(InputError, match="a new or empty folder, or one with unfinished embeddings"):
        search.embed(encoder, digits_images, tmp_path / "work")
    assert [file.name for file in (tmp_path / "work").iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(("name", "file"), [("folder:.", "1.bmp"), ("a.npy", "a.npy")])
def test_images_that_changed_in_place_are_others(tmp_path, encoder, monkeypatch, name, file):
    monkeypatch.chdir(tmp_path)
    for index in range(3):
        (tmp_path / f"{index}.bmp").write_bytes(encoded(blocks(index), "BMP"))
    np.save("a.npy", np.zeros((300, 28, 28), np.uint8))
    first, again = (open_images(name, encoder.preprocessing).fingerprint for _ in range(2))
    contents = bytearray((tmp_path / file).read_bytes())
    contents[len(contents) // 2] ^= 1
    (tmp_path / file).write_bytes(contents)
    assert first == again != open_images(name, encoder.preprocessing).fingerprint


STRANGE, STRANGE_SHOWN = "\udce9\n\\x0a 猫*?.GIF", r"\xe9\x0a\x5cx0a 猫*?.GIF"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Image files of many kinds, two classes, 120 of them."""
    root = tmp_path_factory.mktemp("files")
    kinds = {
        "turned.jpg": encoded(blocks(1, 3), "JPEG", exif=exif(6)),
        "clear.png": encoded(blocks(2, 4), "PNG"),
        "deep.png": encoded(blocks(3).astype(np.uint16) * 200, "PNG"),
        "gray.bmp": encoded(blocks(4), "BMP"),
        STRANGE: encoded(blocks(5), "GIF"),
    }
    for folder in ("a", "b"):
        (root / folder).mkdir()
        for index in range(55):
            kinds[f"{index:02d}.png"] = encoded(blocks(index, 3), "PNG")
        for name, data in kinds.items():
            (root / folder / name).write_bytes(data)
    return root


def test_the_rows_of_a_folder_and_what_is_trained_on_are_what_the_encoder_makes_of_each_file(
    tmp_path, encoder, files
):
    embed(encoder, f"folder:{files}", tmp_path, rows_per_file=50)
    table = pq.read_table(tmp_path)
    names = table["file"].to_pylist()
    paths = {folders.printable(str(path.relative_to(files))): path for path in files.rglob("*.*")}
    assert sorted(names) == sorted(paths)
    assert table["label"].to_pylist() == [name[0] for name in names]
    expected = encoder.encode_bytes([paths[name].read_bytes() for name in names])
    assert_embedded(table, expected)
    data = crvae_tf.datasets.load(f"folder:{files}", image_size=28, channels=1)
    _, images, _ = next(data.train.batches(data.train.num_images).as_numpy_iterator())
    digests = [hashlib.sha256(name.encode()).hexdigest() for name in names]
    trained = [row for row, digest in enumerate(digests) if int(digest[:8], 16) / 2**32 >= 0.1]
    means = encoder(images / np.float32(255.0)).mean
    np.testing.assert_allclose(means, expected.mean[trained], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("rows_per_file", [30, 1])
def test_of_broken_files_one_in_a_hundred_is_named_and_has_no_row_and_more_stop_the_embedding(
    tmp_path, encoder, files, caplog, rows_per_file
):
    """With one row to a file, a file of embeddings is empty."""
    images, output = tmp_path / "files", tmp_path / "embeddings"
    shutil.copytree(files, images)
    for name in ("torn.png", "torn.jpg"):
        (images / "a" / name).write_bytes(b"no image")
    with pytest.raises(InputError, match=r"at most 1% broken files; received 2 of 122"):
        embed(encoder, f"folder:{images}", output)
    assert not output.exists()
    (images / "a" / "torn.jpg").unlink()
    report = embed(encoder, f"folder:{images}", output, rows_per_file=rows_per_file)
    assert (report.new_rows, report.broken) == (120, ["a/torn.png"])
    assert not report.index.missing()
    assert "a/torn.png, which cannot be decoded: Unknown image file format" in caplog.text
    names = pq.read_table(output)["file"].to_pylist()
    assert len(names) == 120
    assert "a/torn.png" not in names
    again = embed(encoder, f"folder:{images}", output)
    assert (again.new_rows, again.broken) == (0, ["a/torn.png"])


@pytest.mark.parametrize(
    ("array", "received"),
    [
        (np.zeros((5, 28, 28, 5), np.uint8), r"images.npy, uint8 \[5, 28, 28, 5\]"),
        (np.zeros((5, 28, 28), np.int64), r"images.npy, int64 \[5, 28, 28\]"),
        (np.zeros((0, 28, 28), np.uint8), r"images.npy, uint8 \[0, 28, 28\]"),
        (np.zeros((), np.uint8), r"images.npy, uint8 \[\]"),
        (np.zeros((5, 28, 28), np.float32) - 1, r"images.npy, with -1 to -1"),
    ],
)
def test_an_array_of_another_kind_is_refused(tmp_path, encoder, array, received):
    np.save(tmp_path / "images.npy", array)
    with pytest.raises(InputError, match=received):
        open_images(str(tmp_path / "images.npy"), encoder.preprocessing)


def test_the_nearest_are_those_of_a_search_through_all_of_a_whole_folder(embedded, expected):
    assert len(search.nearest(embedded, expected.mean[0], 1000)) == 360
    query = expected.mean[123]
    distances = np.linalg.norm(expected.mean - query, axis=1)
    found = search.nearest(embedded, query, 12)
    assert [image.key for image in found] == np.argsort(distances, kind="stable")[:12].tolist()
    np.testing.assert_allclose([i.distance for i in found], np.sort(distances)[:12], atol=1e-5)
    assert found[0].key == 123
    embedded.file(1).unlink()
    with pytest.raises(InputError, match=r"a folder of 4 files.*which lacks 1, the first part-00001"):
        search.nearest(embedded, query, 3)


def test_an_embedding_is_searched_with_its_own_encoder(digits_images, tmp_path):
    own, _, again = (encoder_of(tmp_path / str(name), name % 2) for name in (0, 1, 2))
    assert again.fingerprint == own.fingerprint  # The weights are the same.
    index = search.embed(own, digits_images, tmp_path / "index").index
    assert search.load_encoder(index, tmp_path / "0").fingerprint == own.fingerprint
    moved, there = ({"encoder": str(tmp_path / name)} for name in ("moved", "0"))
    index = search.embed(own, digits_images, index.path, places=moved).index
    with pytest.raises(InputError, match=f"encoder: expected where .*; received {tmp_path}/moved"):
        search.load_encoder(index)
    index = search.embed(own, digits_images, index.path, places=there).index
    assert search.load_encoder(index).fingerprint == own.fingerprint
    with pytest.raises(InputError, match="encoder: expected the encoder of"):
        search.load_encoder(index, tmp_path / "1")


def test_a_query_is_an_image_file(tmp_path, encoder, files):
    image = files / "a" / "turned.jpg"
    expected = encoder.encode_bytes([image.read_bytes()]).mean[0]
    np.testing.assert_allclose(search.embed_file(encoder, image), expected, rtol=1e-6)
    (tmp_path / "text").write_text("no image")
    for absent in (files / "absent.png", files, "/dev/zero", tmp_path / "text"):
        with pytest.raises(InputError, match="image: expected an image file that TensorFlow decodes"):
            search.embed_file(encoder, absent)


def test_what_is_found_is_shown_upright_whatever_its_name(tmp_path, encoder, files):
    index = embed(encoder, f"folder:{files}", tmp_path).index
    image = str(files / "a" / STRANGE)
    (found,) = search.nearest(index, search.embed_file(encoder, image), 1)
    assert (found.key, found.label) == (f"a/{STRANGE_SHOWN}", "a")
    assert command.captions(image, [])[0].endswith(f"a/{STRANGE_SHOWN}\n")
    turned, odd, gone = search.pictures(index, encoder, ["a/turned.jpg", found.key, "a/gone.png"])
    assert turned.shape == (32, 24, 3)
    np.testing.assert_array_equal(odd[..., 0], blocks(5))
    brighter = folders.listed_picture(str(files), found.key, brightest=0.5)[..., 0]
    np.testing.assert_array_equal(brighter, np.minimum(2.0 * blocks(5), 255))
    assert gone is None


def test_images_of_an_array_that_is_gone_are_found_without_pictures_and_that_is_said(tmp_path):
    encoder = encoder_of(tmp_path / "encoder")
    np.save(tmp_path / "array.npy", np.zeros([3, 28, 28], np.uint8))
    places = {"encoder": str(tmp_path / "encoder"), "data_dir": None, "split": None}
    index = embed(encoder, str(tmp_path / "array.npy"), tmp_path / "more", places=places).index
    assert pq.read_table(index.path).column_names == ["index", "mean", "stddev"]
    assert [picture.shape for picture in search.pictures(index, encoder, [0, 2])] == [(28, 28, 1)] * 2
    (tmp_path / "array.npy").unlink()
    assert search.pictures(index, encoder, [0, 2]) == [None, None]
    (tmp_path / "image.png").write_bytes(encoded(blocks(0), "PNG"))
    given = (
        f"--index={index.path}",
        f"--image={tmp_path}/image.png",
        f"--output={tmp_path}/found/a.png",
    )
    outcome = outcome_of(command.main, command.define, *given)
    assert (outcome.code, outcome.out.splitlines()[-1]) == (0, f"look: {tmp_path}/found/a.png")
    assert "3 of the images are not where launch.embed read them" in outcome.err
