"""Where a model has a pose, the content's mean is the embedding, everywhere."""

from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from crvae_tf import (
    CRVAE,
    VAE,
    RandomAffine,
    embedding,
    evaluate,
    export_decoder,
    export_encoder,
    invariance,
    load_encoder,
    metrics,
    networks,
    projector,
    search,
)
from crvae_tf.datasets import ArrayImages, ImageData, evaluation_batches, open_images
from crvae_tf.embedding import Embedding
from crvae_tf.probes import Probes
from crvae_tf.report import exhibits

LATENT_DIM, POSE_DIM = 5, 2
CONTENT = slice(0, LATENT_DIM - POSE_DIM)
NUMBER = 40
TRANSFORMATION, TEST_TRANSFORMATION = RandomAffine(), RandomAffine(4.0, 30.0, 0.25)


@pytest.fixture(scope="module")
def base():
    return VAE(*networks.build("mlp", (28, 28, 1), LATENT_DIM, width=0.1, seed=3))


@pytest.fixture(scope="module")
def model(base):
    return CRVAE(base, pose_dim=POSE_DIM)


@pytest.fixture(scope="module")
def data(digits):
    """300 digits to train probes on, and 40 to test on."""
    train, test = (
        ArrayImages(*(array.numpy() for array in split.fetch(np.arange(number))))
        for split, number in ((digits.train, 300), (digits.test, NUMBER))
    )
    return ImageData("digits", train, test, None, digits.preprocessing, "")


@pytest.fixture(scope="module")
def exported(model, digits, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported")
    export_encoder(model, folder / "encoder", digits.preprocessing, "dynamic")
    export_decoder(model, folder / "decoder")
    return folder


@pytest.fixture(scope="module")
def images(data):
    return data.test.fetch(np.arange(NUMBER))[0].numpy().astype(np.float32) / np.float32(255.0)


@pytest.fixture(scope="module")
def content(base, images):
    return base.encoder(images)[0].numpy()[:, CONTENT]


def posteriors(base, split, transform=None):
    """Means and standard deviations of all of z, by the network alone, and the labels."""
    batches = list(evaluation_batches(split, 50, "none", transform).as_numpy_iterator())
    mean, log_variance = base.encoder(np.concatenate([batch[1] for batch in batches]))
    labels = np.concatenate([batch[2] for batch in batches])
    return mean.numpy(), np.exp(0.5 * log_variance.numpy()), labels


def test_both_signatures_give_the_content_beside_the_whole(exported, images, content):
    encoder = tf.saved_model.load(str(exported / "encoder"))
    outputs = encoder.signatures["serving_default"](images=images)
    assert set(outputs) == {"mean", "stddev", "content"}
    np.testing.assert_allclose(outputs["content"], content, atol=1e-5)
    np.testing.assert_array_equal(outputs["content"], outputs["mean"][:, CONTENT])
    pixels = np.round(255.0 * images[0]).astype(np.uint8)
    of_bytes = encoder.signatures["encode_bytes"](image_bytes=[tf.io.encode_png(pixels).numpy()])
    np.testing.assert_allclose(of_bytes["content"], content[:1], atol=1e-4)


def test_a_loaded_encoder_gives_the_content_and_its_size(exported, images, content):
    encoder = load_encoder(exported / "encoder")
    assert (encoder.latent_dim, encoder.content_dim) == (LATENT_DIM, LATENT_DIM - POSE_DIM)
    np.testing.assert_allclose(encoder(images).content, content, atol=1e-5)


def test_without_a_pose_the_content_is_the_mean_and_no_output_of_its_own(
    base, digits, images, tmp_path
):
    export_encoder(CRVAE(base), tmp_path / "encoder", digits.preprocessing, "dynamic")
    encoder = load_encoder(tmp_path / "encoder")
    np.testing.assert_array_equal(encoder(images).content, encoder(images).mean)
    signatures = tf.saved_model.load(str(tmp_path / "encoder")).signatures
    assert set(signatures["serving_default"].structured_outputs) == {"mean", "stddev"}
    listing = open_images("digits", encoder.preprocessing, split="test")
    embedding.embed(encoder, listing, tmp_path / "embeddings")
    (path,) = (tmp_path / "embeddings").glob("*.parquet")
    assert pq.read_table(path).column_names == ["index", "label", "mean", "stddev"]


@pytest.mark.parametrize("file_format", ["parquet", "npz"])
def test_it_is_written_searched_and_projected(exported, content, tmp_path, file_format):
    encoder = load_encoder(exported / "encoder")
    listing = open_images("digits", encoder.preprocessing, split="test")
    embedding.embed(encoder, listing, tmp_path, file_format=file_format, rows_per_file=100)
    index = Embedding.open(tmp_path)
    written = np.concatenate([part.content for part in index.parts()])
    np.testing.assert_allclose(written[:NUMBER], content, atol=1e-5)
    found = search.nearest(index, written[7], 5)
    distances = np.linalg.norm(written - written[7], axis=1)
    assert [image.key for image in found] == np.argsort(distances, kind="stable")[:5].tolist()
    vectors = np.loadtxt(projector.write(index, listing, points=360) / "vectors.tsv")
    np.testing.assert_allclose(vectors, written, rtol=1e-5)


def test_a_file_is_searched_for_by_its_content(exported, images, content, tmp_path):
    image = tmp_path / "image.png"
    image.write_bytes(tf.io.encode_png(np.round(255.0 * images[0]).astype(np.uint8)).numpy())
    encoder = load_encoder(exported / "encoder")
    index = SimpleNamespace(about={"encoder_fingerprint": encoder.fingerprint}, path=tmp_path)
    np.testing.assert_allclose(search.embed_file(index, encoder, image), content[0], atol=1e-4)


def test_a_report_draws_its_plane_and_its_neighbours_by_the_content(exported, images, content):
    run = SimpleNamespace(encoder=exported / "encoder", decoder=exported / "decoder")
    shown = exhibits.TestImages(images, images[::-1].copy())
    exhibit = exhibits.exhibit(SimpleNamespace(run=run), lambda: shown)
    queries = np.arange(len(exhibit.neighbours.queries))
    expected = exhibits.nearest(content, content[queries], 5, queries)
    np.testing.assert_array_equal(exhibit.neighbours.nearest, expected)
    view_expected = exhibits.nearest(content, content[::-1][queries], 5)
    np.testing.assert_array_equal(exhibit.view_neighbours.nearest, view_expected)
    assert exhibit.reconstructions["reconstructions"].shape == (10, 28, 28, 1)


def test_consistency_and_probes_are_of_the_content_and_likelihoods_of_everything(model, base, data):
    found = evaluate(model, data, "none", TRANSFORMATION, TEST_TRANSFORMATION, nll_samples=20)
    whole = evaluate(base, data, "none", TRANSFORMATION, TEST_TRANSFORMATION, nll_samples=20)
    assert found["splits"] == whole["splits"]
    *clean, labels = posteriors(base, data.test)
    views = posteriors(base, data.test, TRANSFORMATION)[:2]
    parts = (array[:, CONTENT] for array in (*clean, *views))
    expected = metrics.consistency(*parts)
    assert found["consistency"]["train_transform"] == pytest.approx(expected, rel=1e-4)
    assert found["consistency"]["train_transform"]["kl"] < whole["consistency"]["train_transform"]["kl"]
    train, _, train_labels = posteriors(base, data.train)
    probes = Probes(train[:, CONTENT], train_labels)
    assert found["probe"]["clean"] == probes.accuracies(clean[0][:, CONTENT], labels)
    assert found["probe"]["train_transform"] == probes.accuracies(views[0][:, CONTENT], labels)


def test_invariance_curves_are_of_the_content(model, base, data, monkeypatch):
    monkeypatch.setattr(invariance, "SIZES", 2)
    curves = invariance.measure(model, data, "none", RandomAffine(0.0, 30.0, 0.0))
    clean = posteriors(base, data.test)[:2]
    views = posteriors(base, data.test, RandomAffine(0.0, 60.0, 0.0))[:2]
    expected = metrics.consistency(*(array[:, CONTENT] for array in (*clean, *views)))
    assert curves["rotation"][1]["kl"] == pytest.approx(expected["kl"], rel=1e-4)
