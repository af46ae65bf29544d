"""How many floating-point operations a step needs, and how many a second the machine can do."""

import math
import time

import keras
import tensorflow as tf

_SIDE = 2048


def step_operations(encoder: keras.Model, decoder: keras.Model, pairs: int) -> float:
    """Returns the operations of a step on `pairs` images and views, those of matrix products alone.

    A layer's gradient needs two products of the size of the layer's own, and the first layer's one: no
    gradient of the images is wanted.

    >>> from crvae_tf import networks
    >>> round(step_operations(*networks.build("wae", (28, 28, 1)), pairs=64) / 1e9)
    708
    """
    forward = [operations for network in (encoder, decoder) for operations in _of_layers(network)]
    return 2.0 * pairs * (3.0 * sum(forward) - forward[0])


def _of_layers(network: keras.Model) -> list[float]:
    """Returns the operations of each layer of weights, for one image."""
    found = []
    for layer in network.layers:
        if isinstance(layer, keras.layers.Conv2DTranspose):  # Every input meets the whole kernel.
            found.append(2.0 * math.prod(layer.kernel.shape) * math.prod(layer.input.shape[1:3]))
        elif isinstance(layer, keras.layers.Conv2D):
            found.append(2.0 * math.prod(layer.kernel.shape) * math.prod(layer.output.shape[1:3]))
        elif isinstance(layer, keras.layers.Dense):
            found.append(2.0 * math.prod(layer.kernel.shape))
    return found


def matrix_product_rate(dtype: str, duration: float = 1.0) -> float:
    """Returns the operations a second of products of square matrices, by TensorFlow on this machine."""
    matrices = [tf.cast(tf.random.stateless_normal([_SIDE, _SIDE], [0, i]), dtype) for i in range(2)]
    product = tf.function(tf.linalg.matmul)
    product(*matrices)
    done, began = 0, time.perf_counter()
    while time.perf_counter() - began < duration:
        product(*matrices).numpy()
        done += 1
    return done * 2.0 * _SIDE**3 / (time.perf_counter() - began)
