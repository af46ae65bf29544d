"""Probes on embeddings whose classes are known."""

import numpy as np
import pytest

from crvae_tf.evaluation.embeddings import NEIGHBOURS, Probes
from tests import reference


def clusters(number, seed=0):
    """Points about four corners of a square, far apart for their spread, and their corner."""
    rng = np.random.default_rng(seed)
    labels = np.arange(number) % 4
    corners = np.array([[0.0, 0.0], [0.0, 9.0], [9.0, 0.0], [9.0, 9.0]])
    return corners[labels] + rng.normal(scale=0.5, size=(number, 2)), labels


def test_an_accuracy_is_the_share_of_right_answers():
    embeddings, labels = clusters(40, seed=1)
    labels[:10] = (labels[:10] + 1) % 4
    received = Probes(*clusters(80)).accuracies(embeddings, labels)
    assert received == pytest.approx({"linear": 0.75, "nearest_neighbours": 0.75})


def test_a_line_cannot_read_what_neighbours_can():
    """Opposite corners of a square share a class: at best a line gets three corners of four."""
    (train, corner), (test, test_corner) = clusters(200), clusters(100, seed=1)
    labels, test_labels = np.isin(corner, (0, 3)).astype(int), np.isin(test_corner, (0, 3)).astype(int)
    received = Probes(train, labels).accuracies(test, test_labels)
    assert received["nearest_neighbours"] == 1.0
    assert received["linear"] <= 0.75


def test_the_neighbours_vote_equals_a_slow_loop():
    rng = np.random.default_rng(2)
    train, test = rng.normal(size=(120, 3)), rng.normal(size=(60, 3))
    labels, test_labels = rng.integers(3, size=120), rng.integers(3, size=60)
    found = reference.nearest_neighbours(train, labels, test, NEIGHBOURS)
    received = Probes(train, labels).accuracies(test, test_labels)
    assert received["nearest_neighbours"] == pytest.approx(np.mean(found == test_labels))


def test_the_linear_probe_does_not_depend_on_the_scale_of_a_latent():
    train, labels = clusters(80)
    test, test_labels = clusters(40, seed=1)
    scale = np.array([1e-3, 1e3])
    assert Probes(train * scale, labels).accuracies(test * scale, test_labels)["linear"] == 1.0


def test_fewer_images_than_neighbours_all_vote():
    probes = Probes(np.array([[0.0], [0.1], [9.0]]), np.array([0, 0, 1]))
    received = probes.accuracies(np.array([[9.0]]), np.array([0]))
    assert received["nearest_neighbours"] == 1.0
    assert probes.num_images == 3
