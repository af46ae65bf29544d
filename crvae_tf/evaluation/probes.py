"""What a classifier can read from embeddings, and how much of it survives a transformation."""

import warnings

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

NEIGHBOURS = 5


class Probes:
    """A linear and a nearest-neighbour classifier, fitted on embeddings of clean training images.

    Args:
      embeddings: `[images, latent_dim]`.
      labels: integers `[images]`, of two classes or more.
    """

    def __init__(self, embeddings: np.ndarray, labels: np.ndarray):
        self.num_images = len(embeddings)
        linear = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        neighbours = KNeighborsClassifier(min(NEIGHBOURS, len(embeddings)))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            self._classifiers = {
                "linear": linear.fit(embeddings, labels),
                "nearest_neighbours": neighbours.fit(embeddings, labels),
            }

    def accuracies(self, embeddings: np.ndarray, labels: np.ndarray) -> dict[str, float]:
        """Returns the share of `embeddings` that each classifier puts into its class, in [0, 1]."""
        return {
            name: float(classifier.score(embeddings, labels))
            for name, classifier in self._classifiers.items()
        }
