"""How the learning rate falls: functions of the epoch alone, so that a run resumes exactly."""

import math

_BURDA_STAGES = 8
BURDA_EPOCHS = (3**_BURDA_STAGES - 1) // 2
"""Epochs of the schedule of Burda et al. 2015."""


def burda_rate(epoch: int, learning_rate: float) -> float:
    """Returns the learning rate of an epoch, from 0 on, under the schedule of Burda et al. 2015.

    Stage i = 0 ... 7 lasts 3^i epochs and has the rate `learning_rate` * 10^(-i / 7); theirs begins at
    1e-3.

    >>> [round(burda_rate(epoch, 1e-3), 6) for epoch in (0, 1, 3, 4, 3279)]
    [0.001, 0.00072, 0.00072, 0.000518, 0.0001]
    """
    last = _BURDA_STAGES - 1
    stage = next((i for i in range(last) if epoch < (3 ** (i + 1) - 1) // 2), last)
    return learning_rate * 10.0 ** (-stage / last)


def cosine_rate(epoch: int, learning_rate: float, epochs: int) -> float:
    """Returns the learning rate of an epoch that falls by half a cosine (Loshchilov and Hutter 2017).

    Args:
      epoch: from 0 on.
      learning_rate: of the first epoch.
      epochs: of the whole training; the rate would be 0 after the last.

    >>> [round(cosine_rate(epoch, 1e-3, 4), 6) for epoch in (0, 1, 2, 3, 4)]
    [0.001, 0.000854, 0.0005, 0.000146, 0.0]
    """
    return 0.5 * learning_rate * (1.0 + math.cos(math.pi * min(epoch / epochs, 1.0)))
