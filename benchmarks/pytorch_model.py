"""CR-VAE in PyTorch, to be measured against: the same networks, transformation, loss and optimizer.

Images are `[batch, C, H, W]` here, in channels-last memory, which is PyTorch's quicker layout on a CPU.
"""

import itertools
import math

import numpy as np
import torch
from torch import nn
from torch.nn import functional

_CHANNELS = (128, 256, 512, 1024)
_MLP_UNITS = 200
_ETA = 0.1


class SameConvolution(nn.Conv2d):
    """A 4x4 convolution of stride 2, padded as TensorFlow's SAME."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__(inputs, outputs, 4, 2)

    def forward(self, x):
        # Of the three pixels that an odd side needs, two are after it.
        after = 1 + x.shape[-1] % 2
        return super().forward(functional.pad(x, (1, after, 1, after)))


class SameTransposedConvolution(nn.ConvTranspose2d):
    """A transposed 4x4 convolution, cropped as TensorFlow's SAME."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__(inputs, outputs, 4, stride, padding=1)

    def forward(self, x):
        side = x.shape[-1] * self.stride[0]
        return super().forward(x)[..., :side, :side]


class WaeEncoder(nn.Module):
    """`networks.wae_encoder` for images of 28 pixels."""

    def __init__(self, width: float, latent_dim: int):
        super().__init__()
        channels = [1, *(max(1, round(c * width)) for c in _CHANNELS)]
        self.layers = nn.Sequential(
            *(_normalised(SameConvolution(*pair), pair[1]) for pair in itertools.pairwise(channels))
        )
        self.mean = nn.Linear(4 * channels[-1], latent_dim)
        self.log_variance = nn.Linear(4 * channels[-1], latent_dim)

    def forward(self, images):
        # As in TensorFlow, channels vary fastest.
        x = self.layers(images).permute(0, 2, 3, 1).flatten(1)
        return self.mean(x), self.log_variance(x)


class WaeDecoder(nn.Module):
    """`networks.wae_decoder` for images of 28 pixels."""

    def __init__(self, width: float, latent_dim: int):
        super().__init__()
        first, *rest = (max(1, round(c * width)) for c in reversed(_CHANNELS[1:]))
        self.first = nn.Linear(latent_dim, 49 * first)
        self.layers = nn.Sequential(
            *(
                _normalised(SameTransposedConvolution(*pair, 2), pair[1])
                for pair in itertools.pairwise([first, *rest])
            ),
            SameTransposedConvolution(rest[-1], 1, 1),
        )

    def forward(self, latents):
        x = functional.relu(self.first(latents))
        return self.layers(x.unflatten(1, (7, 7, -1)).permute(0, 3, 1, 2))


class MlpEncoder(nn.Module):
    """`networks.mlp_encoder` for images of 28 pixels."""

    def __init__(self, width: float, latent_dim: int):
        super().__init__()
        units = max(1, round(_MLP_UNITS * width))
        self.layers = _tanh_layers(784, units)
        self.mean = nn.Linear(units, latent_dim)
        self.log_variance = nn.Linear(units, latent_dim)

    def forward(self, images):
        x = self.layers(images.flatten(1))
        return self.mean(x), self.log_variance(x)


class MlpDecoder(nn.Module):
    """`networks.mlp_decoder` for images of 28 pixels."""

    def __init__(self, width: float, latent_dim: int):
        super().__init__()
        units = max(1, round(_MLP_UNITS * width))
        self.layers = nn.Sequential(*_tanh_layers(latent_dim, units), nn.Linear(units, 784))

    def forward(self, latents):
        return self.layers(latents).unflatten(1, (1, 28, 28))


NETWORKS = {"wae": (WaeEncoder, WaeDecoder), "mlp": (MlpEncoder, MlpDecoder)}


class CRVAE(nn.Module):
    """Equation 2 with a Bernoulli likelihood, lambda = 1 and eta = 0.1, as a loss, in nats."""

    def __init__(self, network: str, width: float = 1.0, latent_dim: int = 50):
        super().__init__()
        encoder, decoder = NETWORKS[network]
        self.encoder = encoder(width, latent_dim)
        self.decoder = decoder(width, latent_dim)

    def forward(self, images, views, noise, view_noise):
        """Returns the mean loss for pairs `[batch, 1, 28, 28]` and noise `[batch, latent_dim]`."""
        bound, mean, log_variance = self.elbo(images, noise)
        view_bound, view_mean, view_log_variance = self.elbo(views, view_noise)
        consistency = gaussian_kl(mean, log_variance, view_mean, view_log_variance)
        return -(bound + view_bound - _ETA * consistency).mean()

    def elbo(self, images, noise):
        """Returns the ELBO `[batch]`, and the posterior's mean and log-variance."""
        mean, log_variance = (part.float() for part in self.encoder(images))
        logits = self.decoder(mean + torch.exp(0.5 * log_variance) * noise).float()
        distortion = functional.binary_cross_entropy_with_logits(logits, images, reduction="none")
        zero = torch.zeros_like(mean)
        bound = -distortion.sum(dim=(1, 2, 3)) - gaussian_kl(mean, log_variance, zero, zero)
        return bound, mean, log_variance


def gaussian_kl(mean, log_variance, other_mean, other_log_variance):
    """Returns the KL of diagonal Gaussians, `[batch]`, nats."""
    difference = log_variance - other_log_variance
    shift = (mean - other_mean).square() / other_log_variance.exp()
    return 0.5 * (difference.exp() + shift - 1.0 - difference).sum(dim=1)


def take_weights(model: CRVAE, encoder, decoder) -> None:
    """Copies the trainable weights of a Keras encoder and decoder, in their order."""
    weights = [*encoder.trainable_variables, *decoder.trainable_variables]
    with torch.no_grad():
        for parameter, weight in zip(model.parameters(), weights, strict=True):
            array = weight.numpy()
            axes = {4: (3, 2, 0, 1), 2: (1, 0), 1: (0,)}[array.ndim]
            parameter.copy_(torch.from_numpy(np.ascontiguousarray(array.transpose(axes))))


def transformed(images, right, down, angle, scale):
    """Returns images `[batch, C, H, W]`, square, resampled once as `RandomAffine` does.

    Moves are in pixels and angles in degrees, each `[batch]`.
    """
    radians = angle * (math.pi / 180.0)
    cosine, sine = radians.cos() / scale, radians.sin() / scale
    unit = 2.0 / (images.shape[-1] - 1)  # Of PyTorch's coordinates, from -1 to 1 between the corners.
    x, y = right * unit, down * unit
    rows = [cosine, -sine, sine * y - cosine * x, sine, cosine, -sine * x - cosine * y]
    maps = torch.stack(rows, dim=1).unflatten(1, (2, 3))
    grid = functional.affine_grid(maps, list(images.shape), align_corners=True)
    return functional.grid_sample(images, grid, align_corners=True)


class Pairs:
    """Batches of binarised images and views, made as `datasets.training_batches` makes them.

    Args:
      images: uint8 `[N, 28, 28, 1]`.
      batch_size: pairs in a batch.
    """

    def __init__(self, images: np.ndarray, batch_size: int):
        self._images = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
        self._batch_size = batch_size

    def draw(self):
        """Returns (images, views), each float32 `[batch, 1, 28, 28]`, 0 or 1."""
        images = self.gray(torch.randint(len(self._images), (self._batch_size,)))
        return tuple((torch.rand_like(gray) < gray).float() for gray in (images, self.views(images)))

    def gray(self, chosen):
        """Returns the images of the indices `chosen`, float32 in [0, 1]."""
        return self._images[chosen].float() / 255.0

    def views(self, images):
        """Returns a view of each of `images`, float32 `[batch, 1, 28, 28]`."""
        limits = torch.tensor([[2.0], [2.0], [15.0], [0.1]])
        right, down, angle, growth = (2.0 * torch.rand(4, len(images)) - 1.0) * limits
        return transformed(images, right, down, angle, 1.0 + growth)


class Training:
    """Steps of Adam on fresh pairs.

    Args:
      model: to be trained.
      pairs: the data.
      bfloat16: whether networks compute in bfloat16 (autocast).
      compiled: whether by `torch.compile`.
    """

    def __init__(self, model: CRVAE, pairs: Pairs, bfloat16: bool, compiled: bool):
        self._model = model.to(memory_format=torch.channels_last)
        self._pairs = pairs
        self._bfloat16 = bfloat16
        self._latent_dim = model.encoder.mean.out_features
        self._optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, fused=True)
        self._loss = torch.compile(self._model) if compiled else self._model

    def step(self) -> float:
        """Takes a step and returns its loss, nats."""
        images, views = self._pairs.draw()
        noise = torch.randn(2, len(images), self._latent_dim)
        self._optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=self._bfloat16):
            loss = self._loss(images, views, noise[0], noise[1])
        loss.backward()
        self._optimizer.step()
        return loss.item()


def _normalised(convolution: nn.Module, channels: int) -> nn.Module:
    norm = nn.BatchNorm2d(channels, eps=1e-5, momentum=0.1)
    return nn.Sequential(convolution, norm, nn.ReLU())


def _tanh_layers(inputs: int, units: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, units), nn.Tanh(), nn.Linear(units, units), nn.Tanh())
