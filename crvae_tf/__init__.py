"""Consistency-regularised variational auto-encoders (Sinha, Odena and Dieng 2020) in Keras."""

from crvae_tf.errors import InputError
from crvae_tf.evaluation import evaluate
from crvae_tf.export import export_decoder, export_encoder, load_encoder
from crvae_tf.models import CRVAE, IWAE, VAE, BetaVAE, Bound
from crvae_tf.objectives import consistency, elbo, importance_weighted_bound
from crvae_tf.transforms import RandomAffine

__version__ = "0.1.0"

__all__ = [
    "CRVAE",
    "IWAE",
    "VAE",
    "BetaVAE",
    "Bound",
    "InputError",
    "RandomAffine",
    "consistency",
    "elbo",
    "evaluate",
    "export_decoder",
    "export_encoder",
    "importance_weighted_bound",
    "load_encoder",
]
