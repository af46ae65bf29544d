"""What embeddings are set against, by definitions and by NumPy; and the curves of their invariance."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from sklearn.decomposition import PCA

from crvae_tf import VAE, InputError, RandomAffine, networks
from crvae_tf.datasets import ArrayImages, evaluation_batches
from crvae_tf.errors import NotFiniteError
from crvae_tf.evaluation import embeddings, metrics
from crvae_tf.evaluation.baselines import contrastive_loss, measure, train_contrastive
from crvae_tf.evaluation.embeddings import Embedder, Probes
from crvae_tf.runs import files
from crvae_tf.training.fit import Settings
from launch import command, grid, reproduce
from tests.command_line import defined
from tests.conftest import concatenated
from tests.small_training import assert_same_weights

TRANSFORMATION, TEST_TRANSFORMATION = RandomAffine(), RandomAffine(4.0, 30.0, 0.25)


@pytest.fixture(scope="module")
def data(digits):
    train, test = digits.train.subset(np.arange(320)), digits.test.subset(np.arange(60))
    return dataclasses.replace(digits, train=train, test=test)


def new_model():
    return VAE(*networks.build("mlp", (28, 28, 1), latent_dim=6, width=0.2, seed=1))


def images_of(split, transform=None):
    return concatenated(evaluation_batches(split, 64, "none", transform).as_numpy_iterator())[1:]


@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_the_contrastive_loss_is_its_definition(temperature):
    """Two loops over Equation 1 of Chen et al. 2020."""
    generator = np.random.default_rng(0)
    outputs, views = generator.normal(size=(2, 5, 3)).astype(np.float32)
    both = np.float64([*outputs, *views])
    both /= np.linalg.norm(both, axis=1, keepdims=True)
    losses = np.zeros(10)
    for i in range(10):
        scores = {k: np.exp(both[i] @ both[k] / temperature) for k in range(10) if k != i}
        losses[i] = -np.log(scores[(i + 5) % 10] / sum(scores.values()))
    found = contrastive_loss(tf.constant(outputs), tf.constant(views), temperature)
    np.testing.assert_allclose(found, (losses[:5] + losses[5:]) / 2.0, rtol=1e-5)


def test_pixels_and_pca_are_measured_as_embeddings_are(data):
    found = measure(new_model().encoder, data, TRANSFORMATION, TEST_TRANSFORMATION)
    (train, train_labels), (clean, labels) = images_of(data.train), images_of(data.test)
    views, _ = images_of(data.test, TEST_TRANSFORMATION)
    train, clean, views = (images.reshape(len(images), -1) for images in (train, clean, views))
    pca = PCA(6, svd_solver="full").fit(train)
    for name, features in (("pixels", lambda images: images), ("pca", pca.transform)):
        expected = metrics.agreement(features(clean), features(views))
        assert found[name]["consistency"]["test_transform"] == pytest.approx(expected, rel=1e-5)
        probes = Probes(features(train), train_labels)
        assert found[name]["probe"]["clean"] == probes.accuracies(features(clean), labels)
        assert found[name]["probe"]["test_transform"] == probes.accuracies(features(views), labels)


def test_training_brings_views_to_their_images_and_is_a_function_of_the_seed(data):
    def trained():
        keras.utils.set_random_seed(7)
        network = new_model().encoder
        train_contrastive(network, data, Settings("none", TRANSFORMATION, 8, 64, 3e-3, 0))
        return network

    first, again = trained(), trained()
    assert_same_weights(first, again)

    def distance_ratio(network):
        images, views = (network(images_of(data.test, t)[0])[0] for t in (None, TRANSFORMATION))
        return metrics.agreement(images, views)["distance_ratio"]

    assert distance_ratio(first) < 0.8 * distance_ratio(new_model().encoder)


def test_a_loss_that_is_not_finite_stops_the_contrastive_training(data):
    with pytest.raises(NotFiniteError, match=r"epoch 1, step \d+: expected finite terms"):
        train_contrastive(new_model().encoder, data, Settings("none", TRANSFORMATION, 2, 64, 1e30, 0))


def baselines_of(*arguments):
    """Measures the baselines of a study as launch.reproduce does; returns the run that holds them."""
    with defined(reproduce.define):
        command.parse(["launch.reproduce", *arguments])
        study, _ = reproduce.study()
        grid.measure_baselines(study)
        return study.baselines()


def test_a_study_of_settings_measures_its_baselines_once(tmp_path, monkeypatch):
    monkeypatch.setattr("crvae_tf.evaluation.embeddings.PROBE_IMAGES", 200)
    given = "--settings=vae --dataset=digits --network=mlp --width=0.1 --latent_dim=6 --epochs=1"
    given = (*given.split(), "--eval_images=40", "--pose=affine", f"--output_dir={tmp_path}")
    run = baselines_of(*given)
    written, found, config = run.baselines.stat(), run.read_json(run.baselines), run.read_config()
    assert config["pose"] == "none"
    assert list(found) == ["pixels", "pca", "contrastive"]
    for name in found:
        assert found[name]["probe"]["num_train_images"] == 200
        assert 0.1 < found[name]["probe"]["clean"]["nearest_neighbours"] <= 1.0
    files.write_json(run.config, config | {"versions": {"keras": "3.0"}})
    assert baselines_of(*given).baselines.stat() == written
    with pytest.raises(InputError, match="received test_rotation=70"):
        baselines_of(*given, "--test_rotation=70")


def test_curves_are_of_one_transformation_each_from_none_to_twice_its_test_range(data, monkeypatch):
    model = new_model()
    monkeypatch.setattr(embeddings, "SIZES", 2)
    curves = embeddings.measure_invariance(model, data, "none", TEST_TRANSFORMATION)
    sizes = {name: [point["size"] for point in points] for name, points in curves.items()}
    assert sizes == {"translation": [0.0, 8.0], "rotation": [0.0, 60.0], "scaling": [0.0, 0.5]}
    embed = Embedder(model)
    clean = embed(evaluation_batches(data.test, 60, "none"))
    for name, points in curves.items():
        for point in points:
            assert list(point) == ["size", "kl", "retrieval_at_1", "linear", "nearest_neighbours"]
            alone = RandomAffine(**dict.fromkeys(curves, 0.0) | {name: point["size"]})
            views = embed(evaluation_batches(data.test, 60, "none", alone))
            kl = metrics.divergence(*clean, *views)["kl"]
            assert point["kl"] == pytest.approx(kl, rel=1e-5, abs=1e-6), name
            agreement = metrics.agreement(clean[0], views[0])
            assert point["retrieval_at_1"] == agreement["retrieval_at_1"], name
        assert points[0]["retrieval_at_1"] == 1.0
        assert points[0]["linear"] == curves["rotation"][0]["linear"]
    assert embeddings.sizes_of("scaling", 0.8)[-1] == 0.99


def test_where_classes_cannot_be_learned_there_is_no_probe(data, monkeypatch):
    monkeypatch.setattr(embeddings, "SIZES", 1)
    images = data.test.fetch(np.arange(60))[0].numpy()
    unlabelled = dataclasses.replace(data, train=ArrayImages(images), test=ArrayImages(images))
    found = embeddings.measure_invariance(new_model(), unlabelled, "none", RandomAffine())
    assert found["rotation"][0]["linear"] is None
