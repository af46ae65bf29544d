"""pythae's VAE and trainer with the network `mlp`, to be measured against."""

import logging
import tempfile
import time

import numpy as np
import torch
from pythae.data.datasets import BaseDataset
from pythae.models import VAE, VAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.trainers import BaseTrainer, BaseTrainerConfig

from benchmarks import pytorch_model


class Encoder(BaseEncoder):
    """`networks.mlp_encoder`, with the outputs named as pythae does."""

    def __init__(self, latent_dim: int):
        super().__init__()
        self.latent_dim = latent_dim
        self.network = pytorch_model.MlpEncoder(1.0, latent_dim)

    def forward(self, x):
        mean, log_variance = self.network(x)
        return ModelOutput(embedding=mean, log_covariance=log_variance)


class Decoder(BaseDecoder):
    """`networks.mlp_decoder`; pythae's loss is of probabilities."""

    def __init__(self, latent_dim: int):
        super().__init__()
        self.network = pytorch_model.MlpDecoder(1.0, latent_dim)

    def forward(self, z):
        return ModelOutput(reconstruction=self.network(z).sigmoid())


def epoch_rate(images: np.ndarray, batch_size: int, latent_dim: int = 50) -> float:
    """Returns the images/s of the second epoch of pythae's trainer, on binarised images.

    Args:
      images: uint8 `[N, 28, 28, 1]`.
      batch_size: images in a step.
      latent_dim: dimensions of z.
    """
    logging.getLogger("pythae").setLevel(logging.WARNING)
    pixels = torch.from_numpy((images.transpose(0, 3, 1, 2) > 127).astype(np.float32))
    about = VAEConfig(input_dim=(1, 28, 28), latent_dim=latent_dim, reconstruction_loss="bce")
    model = VAE(about, encoder=Encoder(latent_dim), decoder=Decoder(latent_dim))
    with tempfile.TemporaryDirectory() as folder:
        trainer = BaseTrainer(
            model,
            BaseDataset(pixels, torch.zeros(len(pixels))),
            training_config=BaseTrainerConfig(
                output_dir=folder,
                num_epochs=2,
                per_device_train_batch_size=batch_size,
                learning_rate=1e-4,
                no_cuda=True,
            ),
        )
        trainer.prepare_training()
        trainer.train_step(1)
        began = time.perf_counter()
        trainer.train_step(2)
    return len(images) / (time.perf_counter() - began)
