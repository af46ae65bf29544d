"""The curves of consistency and probes against the size of a transformation."""

import dataclasses

import numpy as np
import pytest

from crvae_tf import VAE, RandomAffine, networks
from crvae_tf.datasets import ArrayImages, evaluation_batches
from crvae_tf.evaluation import embeddings, metrics
from crvae_tf.evaluation.embeddings import Embedder

IMAGES = 30


@pytest.fixture(scope="module")
def model():
    encoder, decoder = networks.build("mlp", (28, 28, 1), latent_dim=3, width=0.05, seed=1)
    return VAE(encoder, decoder)


@pytest.fixture(scope="module")
def small(digits):
    return dataclasses.replace(
        digits, train=digits.train.subset(np.arange(200)), test=digits.test.subset(np.arange(IMAGES))
    )


@pytest.fixture(scope="module")
def curves(model, small):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embeddings, "SIZES", 3)
        return embeddings.measure_invariance(model, small, "none", RandomAffine(4.0, 30.0, 0.25))


def test_sizes_go_from_nothing_to_twice_the_test_range(curves):
    assert embeddings.sizes_of("scaling", 0.8)[-1] == 0.99
    assert {name: [point["size"] for point in points] for name, points in curves.items()} == {
        "translation": [0.0, 4.0, 8.0],
        "rotation": [0.0, 30.0, 60.0],
        "scaling": [0.0, 0.25, 0.5],
    }
    for point in curves["scaling"]:
        assert list(point) == ["size", "kl", "retrieval_at_1", "linear", "nearest_neighbours"]
        assert all(type(value) is float for value in point.values())


def test_a_view_of_size_nothing_is_the_image(curves):
    for points in curves.values():
        assert points[0]["kl"] == pytest.approx(0.0, abs=1e-6)
        assert points[0]["retrieval_at_1"] == 1.0
    assert len({points[0]["linear"] for points in curves.values()}) == 1


@pytest.mark.parametrize(
    ("name", "alone"),
    [
        ("translation", RandomAffine(4.0, 0.0, 0.0)),
        ("rotation", RandomAffine(0.0, 30.0, 0.0)),
        ("scaling", RandomAffine(0.0, 0.0, 0.25)),
    ],
)
def test_each_transformation_is_applied_alone(curves, model, small, name, alone):
    embed = Embedder(model)
    clean, views = (embed(evaluation_batches(small.test, IMAGES, "none", t)) for t in (None, alone))
    point = curves[name][1]
    assert point["kl"] == pytest.approx(metrics.divergence(*clean, *views)["kl"], rel=1e-5)
    assert point["retrieval_at_1"] == metrics.agreement(clean[0], views[0])["retrieval_at_1"]


def test_where_classes_cannot_be_learned_there_is_no_probe(model, small, monkeypatch):
    monkeypatch.setattr(embeddings, "SIZES", 1)
    images = small.test.fetch(np.arange(IMAGES))[0].numpy()
    unlabelled = dataclasses.replace(small, train=ArrayImages(images), test=ArrayImages(images))
    found = embeddings.measure_invariance(model, unlabelled, "none", RandomAffine())
    assert found["rotation"][0]["linear"] is None
