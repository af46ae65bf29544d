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

    def __init__(self, inputs: int, outputs: int, stride: int = 2):
        super().__init__(inputs, outputs, 4, stride, padding=1)

    def forward(self, x):
        side = x.shape[-1] * self.stride[0]
        return super().forward(x)[..., :side, :side]


class Permute(nn.Module):
    """Changes the order of axes: in TensorFlow's flat vectors channels vary fastest."""

    def __init__(self, *axes: int):
        super().__init__()
        self._axes = axes

    def forward(self, x):
        return x.permute(self._axes)


class Encoder(nn.Module):
    """Layers that end in `units`, then the mean and the log-variance."""

    def __init__(self, layers: nn.Module, units: int, latent_dim: int):
        super().__init__()
        self.layers = layers
        self.mean = nn.Linear(units, latent_dim)
        self.log_variance = nn.Linear(units, latent_dim)

    def forward(self, images):
        x = self.layers(images)
        return self.mean(x), self.log_variance(x)


def wae(width: float, latent_dim: int) -> tuple[nn.Module, nn.Module]:
    """Returns `networks.wae_encoder` and `networks.wae_decoder` for images of 28 pixels."""
    up = [max(1, round(c * width)) for c in _CHANNELS]
    down = up[:0:-1]
    convolutions = [_normalised(SameConvolution, *pair) for pair in itertools.pairwise([1, *up])]
    layers = nn.Sequential(*convolutions, Permute(0, 2, 3, 1), nn.Flatten())
    decoder = nn.Sequential(
        nn.Linear(latent_dim, 49 * down[0]),
        nn.ReLU(),
        nn.Unflatten(1, (7, 7, down[0])),
        Permute(0, 3, 1, 2),
        *(_normalised(SameTransposedConvolution, *pair) for pair in itertools.pairwise(down)),
        SameTransposedConvolution(down[-1], 1, stride=1),
    )
    return Encoder(layers, 4 * up[-1], latent_dim), decoder


def mlp(width: float, latent_dim: int) -> tuple[nn.Module, nn.Module]:
    """Returns `networks.mlp_encoder` and `networks.mlp_decoder` for images of 28 pixels."""
    units = max(1, round(_MLP_UNITS * width))
    layers = nn.Sequential(nn.Flatten(), *_tanh_layers(784, units))
    decoder = [*_tanh_layers(latent_dim, units), nn.Linear(units, 784), nn.Unflatten(1, (1, 28, 28))]
    return Encoder(layers, units, latent_dim), nn.Sequential(*decoder)


class CRVAE(nn.Module):
    """Equation 2 with a Bernoulli likelihood, lambda = 1 and eta = 0.1, as a loss, in nats."""

    def __init__(self, network: str, width: float = 1.0, latent_dim: int = 50):
        super().__init__()
        self.encoder, self.decoder = {"wae": wae, "mlp": mlp}[network](width, latent_dim)

    def forward(self, images, views, noise):
        """Returns the mean loss for pairs `[batch, 1, 28, 28]` and noise `[2 * batch, latent_dim]`."""
        bound, mean, log_variance = self.elbo(torch.cat([images, views]), noise)
        (bound, view_bound), (mean, view_mean) = bound.chunk(2), mean.chunk(2)
        consistency = gaussian_kl(mean, log_variance[: len(mean)], view_mean, log_variance[len(mean) :])
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
    """Batches of binarised pairs of uint8 images `[N, 28, 28, 1]`, as `datasets` makes them."""

    def __init__(self, images: np.ndarray, batch_size: int):
        self._images = torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))
        self._batch_size = batch_size

    def draw(self):
        """Returns (images, views), each float32 `[batch, 1, 28, 28]`, 0 or 1."""
        chosen = torch.randint(len(self._images), (self._batch_size,))
        images = self._images[chosen].float() / 255.0
        limits = torch.tensor([[2.0], [2.0], [15.0], [0.1]])
        right, down, angle, growth = (2.0 * torch.rand(4, len(images)) - 1.0) * limits
        views = transformed(images, right, down, angle, 1.0 + growth)
        return tuple((torch.rand_like(gray) < gray).float() for gray in (images, views))


class Training:
    """Steps of Adam on fresh pairs, in bfloat16 (autocast) and by `torch.compile` where asked for."""

    def __init__(self, model: CRVAE, pairs: Pairs, bfloat16: bool, compiled: bool):
        model = model.to(memory_format=torch.channels_last)
        self._pairs = pairs
        self._bfloat16 = bfloat16
        self._latent_dim = model.encoder.mean.out_features
        self._optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, fused=True)
        self._loss = torch.compile(model) if compiled else model

    def step(self) -> float:
        """Takes a step and returns its loss, nats."""
        images, views = self._pairs.draw()
        noise = torch.randn(2 * len(images), self._latent_dim)
        self._optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=self._bfloat16):
            loss = self._loss(images, views, noise)
        loss.backward()
        self._optimizer.step()
        return loss.item()


def _normalised(convolution: type[nn.Module], inputs: int, outputs: int) -> nn.Module:
    norm = nn.BatchNorm2d(outputs, eps=1e-5, momentum=0.1)
    return nn.Sequential(convolution(inputs, outputs), norm, nn.ReLU())


def _tanh_layers(inputs: int, units: int) -> list[nn.Module]:
    return [nn.Linear(inputs, units), nn.Tanh(), nn.Linear(units, units), nn.Tanh()]
