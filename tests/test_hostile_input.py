"""Files and arrays that are damaged, huge, of another kind, or meant to do harm."""

import ast
import io
import json
import pickle
import re
import shutil
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf

import crvae_tf
from crvae_tf import CRVAE, IWAE, VAE, InputError, RandomAffine, embedding_files, networks
from crvae_tf import evaluation as evaluating
from crvae_tf.datasets import ArrayImages, ImageData, Preprocessing, decoding, folders, open_images
from crvae_tf.embedding import Embedding
from crvae_tf.runs import Run
from tests.conftest import ROOT
from tests.image_files import blocks, encoded
from tests.small_training import train
from tests.test_report import evaluation


def png(width, height):
    """The beginning of a PNG that claims to be of this size."""
    header = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header + struct.pack(">I", zlib.crc32(header))


GIF_SCREEN = b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0, 0, 0)


def gif(width, height):
    """The beginning of a GIF whose screen is one pixel and whose frame claims to be of this size."""
    return GIF_SCREEN + b"," + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x02\0;"


def bmp(width, height):
    return b"BM" + struct.pack("<IHHIIiiHHI", 54, 0, 0, 54, 40, width, height, 1, 24, 0) + bytes(20)


def jpeg(width, height):
    stored = bytearray(encoded(blocks(0, 3), "JPEG"))
    frame = stored.index(b"\xff\xc0")
    stored[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(stored)


@pytest.mark.parametrize("claim", [png, gif, bmp, jpeg])
def test_a_file_that_claims_pixels_that_it_lacks_is_refused(claim):
    with pytest.raises(tf.errors.InvalidArgumentError):
        decoding.decode(tf.constant(claim(65500, 65500)))


@pytest.mark.parametrize("file_format", ["PNG", "GIF", "BMP", "JPEG", "WEBP"])
def test_a_file_is_read_by_what_it_holds_and_not_by_its_name(tmp_path, file_format):
    for suffix in folders.SUFFIXES:
        (tmp_path / f"image{suffix}").write_bytes(encoded(blocks(2, 3), file_format))
        expected = decoding.decode(tf.constant(encoded(blocks(2, 3), file_format)))
        np.testing.assert_array_equal(folders.picture(str(tmp_path / f"image{suffix}")), expected)


class Payload:
    """Opens a file where it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (self.path, "w")


def test_an_array_that_holds_a_program_is_refused_and_not_run(tmp_path):
    harm = tmp_path / "harm"
    np.save(tmp_path / "images.npy", np.array([Payload(str(harm))], object), allow_pickle=True)
    (tmp_path / "bare.npy").write_bytes(pickle.dumps(Payload(str(harm))))
    np.savez(tmp_path / "part.npz", index=np.array([Payload(str(harm))], object))
    for name in ("images.npy", "bare.npy"):
        with pytest.raises(
            InputError, match=f"input: expected an array of images.*{name}, another file"
        ):
            open_images(str(tmp_path / name), Preprocessing(8, 1))
    for read in (embedding_files.read, embedding_files.read_broken):
        with pytest.raises(InputError, match="expected a file of embeddings"):
            read(tmp_path / "part.npz")
    assert not harm.exists()


def test_nothing_that_is_read_runs_code():
    """By the calls that would: unpickling, Keras' loader of whole models, and Python's own."""
    dangerous = {"load_model", "eval", "exec", "loads_pickle", "Unpickler", "model_from_json"}
    sources = [*(ROOT / "crvae_tf").rglob("*.py"), *(ROOT / "launch").rglob("*.py")]
    for path in sources:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = {alias.name for alias in node.names} | {getattr(node, "module", None)}
                assert not names & {"pickle", "dill", "joblib", "marshal", "shelve"}, path
            if isinstance(node, ast.Call):
                called = node.func
                name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
                assert name not in dangerous, f"{path}:{node.lineno}"
                assert (
                    name != "load"
                    or "np.load" not in ast.unparse(called)
                    or any(
                        word.arg == "allow_pickle" and word.value.value is False
                        for word in node.keywords
                    )
                ), f"{path}:{node.lineno}"


@pytest.mark.parametrize("suffix", ["parquet", "npz"])
@pytest.mark.parametrize("share", [0.0, 0.5, 0.95])
def test_a_file_of_embeddings_that_was_cut_short_is_named(tmp_path, suffix, share):
    path = tmp_path / f"part.{suffix}"
    vectors = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    embedding_files.write(
        path, embedding_files.Part(np.arange(50), None, vectors, vectors, vectors, [])
    )
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    for read in (embedding_files.read, embedding_files.read_broken):
        with pytest.raises(InputError, match=re.escape(f"{path}: expected a file of embeddings")):
            read(path)


@pytest.mark.parametrize("suffix", embedding_files.FORMATS)
def test_a_byte_that_changed_in_a_file_of_embeddings_changes_no_embedding(tmp_path, suffix):
    path = tmp_path / f"part.{suffix}"
    vectors = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    part = embedding_files.Part(np.arange(20), None, vectors, 2 * vectors, vectors, [])
    embedding_files.write(path, part)
    whole, refused = path.read_bytes(), 0
    for place in range(0, len(whole), 3):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        try:
            found = embedding_files.read(path)
        except InputError:
            refused += 1
            continue
        np.testing.assert_array_equal(found.keys, part.keys)
        np.testing.assert_array_equal(found.mean, part.mean)
        np.testing.assert_array_equal(found.stddev, part.stddev)
    assert refused > len(whole) // 12


def npy(shape, dtype="|u1"):
    """The beginning of a file .npy whose header claims a shape."""
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}}}".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header) + 1) + header + b"\n"


def zipped():
    archive = io.BytesIO()
    np.savez(archive, images=np.zeros((2, 8, 8, 1), np.uint8))
    return archive.getvalue()


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "content",
    [
        *(b"", b"\x93NUMPY", zipped(), zipped()[:100], b"\x93NUMPY\x01\x00\x05\x00((((\n"),
        *(npy(shape) for shape in ("(True, 8, 8)", "(-1, 8, 8)", f"({10**23}, 8, 8)", "(1, 2)")),
        *(npy(f"({2**62}, 8, 8)"), npy("(1, 8, 8)", "|O"), npy("(1,", "|u1")),
    ],
)
def test_an_array_that_is_none_is_refused(tmp_path, content):
    path = tmp_path / "images.npy"
    path.write_bytes(content)
    with pytest.raises(InputError, match=f"input: expected an array .*{path}"):
        open_images(str(path), Preprocessing(8, 1))


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("value", "shown"), [(np.nan, "nan"), (1e300, r"1e\+300"), (-0.5, "-0.5")])
def test_a_value_late_in_an_array_that_is_none_of_an_image_is_named(tmp_path, value, shown):
    images = np.full((600, 8, 8, 1), 0.5, np.float64)
    images[577, 3, 4, 0] = value
    np.save(tmp_path / "images.npy", images)
    expected = rf"expected images in \[0, 1\] where they are floats; received .*{shown}"
    with pytest.raises(InputError, match=expected):
        open_images(str(tmp_path / "images.npy"), Preprocessing(8, 1))


ABOUT = dict.fromkeys(("input", "key", "format", "encoder_fingerprint"), "x")
ABOUT |= dict.fromkeys(("num_rows", "rows_per_file", "latent_dim"), 1)


def test_the_description_of_an_embedding_is_taken(tmp_path):
    (tmp_path / "_embedding.json").write_text(json.dumps(ABOUT))
    assert Embedding.open(tmp_path).num_files == 1


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "null", "{}"),
        *(json.dumps(ABOUT | {"num_rows": "many"}), json.dumps(ABOUT | {"rows_per_file": 0})),
        *(json.dumps(ABOUT | {"format": None}), json.dumps(ABOUT | {"input": ["digits"]})),
    ],
)
def test_an_embedding_without_its_description_is_none(tmp_path, text):
    (tmp_path / "_embedding.json").write_text(text)
    with pytest.raises(InputError, match="expected a folder of embeddings"):
        Embedding.open(tmp_path)


@pytest.mark.parametrize("name", ["evaluation", "provenance", "metrics"])
@pytest.mark.parametrize("content", [b'{"epoch": ', b"\xff", b'{"a": 1}\n{"b'])
def test_a_damaged_file_of_a_run_is_named(tmp_path, name, content):
    run = Run(tmp_path)
    path = getattr(run, name)
    path.write_bytes(content)
    with pytest.raises(InputError, match=re.escape(f"{path}: expected JSON; received ")) as error:
        getattr(run, f"read_{name}")()
    assert "\n" not in str(error.value)


EVALUATED = evaluation(80.5, 0.5)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("evaluation", "[]", "expected an object; received []"),
        ("evaluation", "{}", "expected splits; received none"),
        ("evaluation", json.dumps(EVALUATED | {"splits": [1]}), "an object as splits; received [1]"),
        ("evaluation", json.dumps(EVALUATED | {"splits": {}}), "expected splits.test; received none"),
        ("evaluation", json.dumps(EVALUATED | {"probe": None}), "an object as probe; received null"),
        ("evaluation", "[" * 100_000, "expected JSON; received"),
        (
            "evaluation",
            json.dumps(EVALUATED).replace("80.5", "1" + 400 * "0"),
            "expected a number as splits.test.nll; received 1000",
        ),
        ("provenance", "[]", "expected an object; received []"),
        ("provenance", '{"commands": [3]}', "expected a text as commands.0; received 3"),
        ("provenance", '{"commit": 3}', "expected a text or null as commit; received 3"),
        ("metrics", '{"epoch": 1}\n2\n', "line 2: expected an object; received 2"),
        ("metrics", '{"epoch": true}', "line 1: expected an integer as epoch; received true"),
        ("metrics", '{"epoch": 1, "loss": "x"}', 'line 1: expected a number as loss; received "x"'),
        ("invariance", '{"rotation": [], "scaling": []}', "expected translation; received none"),
        ("invariance", '{"translation": [{}]}', "expected rotation; received none"),
    ],
)
def test_a_file_of_a_run_of_another_shape_is_named(tmp_path, name, text, expected):
    run = Run(tmp_path)
    path = getattr(run, name)
    path.write_text(text)
    with pytest.raises(InputError, match=f"^{re.escape(str(path))}: .*{re.escape(expected)}") as error:
        getattr(run, f"read_{name}")()
    assert len(str(error.value)) < 400


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """An encoder that nothing was done to."""
    path = tmp_path_factory.mktemp("exported") / "encoder"
    pair = networks.build("mlp", (8, 8, 1), latent_dim=3, width=0.05)
    crvae_tf.export_encoder(VAE(*pair), path, Preprocessing(8, 1), "none")
    crvae_tf.load_encoder(path)  # As it is, it is taken.
    return path


@pytest.fixture
def encoder(exported, tmp_path):
    """A copy of it, for one test alone."""
    return shutil.copytree(exported, tmp_path / "encoder")


@pytest.mark.parametrize(
    "change",
    [
        *({"latent_dim": "3"}, {"image_shape": 8}, {"preprocessing": []}),
        *({"latent_dim": 4}, {"content_dim": 2}, {"image_shape": [8, 8, 3]}),
        {"preprocessing": {"image_size": 9, "channels": 1}},
        {"preprocessing": {"image_size": 8, "channels": 1, "crop": -5}},
    ],
)
def test_an_encoder_that_says_something_else_of_itself_is_refused(encoder, change):
    about = encoder / "about.json"
    about.write_text(json.dumps(json.loads(about.read_text()) | change))
    with pytest.raises(InputError, match="expected an exported encoder"):
        crvae_tf.load_encoder(encoder)


@pytest.mark.parametrize("part", ["saved_model.pb", "variables/variables.index", "variables/*.data*"])
def test_an_encoder_that_was_cut_short_is_refused(encoder, part):
    (path,) = encoder.glob(part)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match="expected an exported encoder"):
        crvae_tf.load_encoder(encoder)


@pytest.mark.parametrize("model", [VAE, IWAE])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.int64])
def test_images_of_integers_are_refused(model, dtype):
    pair = networks.build("mlp", (8, 8, 1), latent_dim=3, width=0.05)
    with pytest.raises(InputError, match=f"expected floats in .* received {np.dtype(dtype).name}"):
        model(*pair).bound(np.ones([2, 8, 8, 1], dtype), seed=[1, 2])


@pytest.mark.parametrize("pixel", [-0.1, 1.1, 255.0, np.nan])
def test_images_outside_the_unit_interval_stop_a_fit(pixel):
    model = CRVAE(VAE(*networks.build("mlp", (8, 8, 1), latent_dim=3, width=0.05)))
    model.compile(optimizer="sgd")
    good = tf.fill([4, 8, 8, 1], 1.0 + 1e-6)  # As resampling may leave them.
    bad = tf.tensor_scatter_nd_update(good, [[3, 7, 7, 0]], [pixel])
    history = model.fit(tf.data.Dataset.from_tensors((good, good)), verbose=0).history
    assert np.isfinite(history["loss"]).all()
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"expected values in \[0, 1\]"):
        model.fit(tf.data.Dataset.from_tensors((good, bad)), verbose=0)


def test_one_test_image_is_too_few_to_evaluate(tmp_path):
    split = ArrayImages(np.zeros([1, 8, 8, 1], np.uint8))
    data = ImageData("one", split, split, None, Preprocessing(8, 1), "")
    model, _ = train(tmp_path, data, epochs=1)
    with pytest.raises(InputError, match="expected 2 or more test images; received 1"):
        evaluating.evaluate(model, data, "dynamic", RandomAffine(), RandomAffine())


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ({"num_images": 0}, "num_images: expected 2 or more test images; received 0"),
        ({"nll_samples": 0}, "nll_samples: expected 1 or more; received 0"),
    ],
)
def test_no_images_and_no_samples_are_nothing_to_evaluate(numbers, message):
    split = ArrayImages(np.zeros([3, 8, 8, 1], np.uint8))
    data = ImageData("three", split, split, None, Preprocessing(8, 1), "")
    with pytest.raises(InputError) as error:
        evaluating.evaluate(None, data, "dynamic", RandomAffine(), RandomAffine(), **numbers)
    assert str(error.value) == message
