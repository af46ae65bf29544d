"""How the learning rate falls: functions of the epoch alone, so that a run resumes exactly."""

import math


def burda_epochs(stages: int = 8) -> int:
    """Returns the epochs of the schedule of Burda et al. 2015: 1 + 3 + 9 + ..., `stages` of them.

    >>> burda_epochs(), burda_epochs(2)
    (3280, 4)
    """
    return (3**stages - 1) // 2


def burda_rate(epoch: int, learning_rate: float, stages: int = 8) -> float:
    """Returns the learning rate of an epoch under the schedule of Burda et al. 2015.

    Stage i = 0, 1, ... lasts 3^i epochs and has the rate `learning_rate` * 10^(-i / (stages - 1)), so
    that the last has a tenth of the first. Theirs has 8 stages and begins at 1e-3.

    Args:
      epoch: from 0 on; those after the last stage have its rate.
      learning_rate: of the first stage.
      stages: 1 or more.

    >>> [round(burda_rate(epoch, 1e-3), 6) for epoch in (0, 1, 3, 4, 3279)]
    [0.001, 0.00072, 0.00072, 0.000518, 0.0001]
    """
    stage = next((i for i in range(stages) if epoch < burda_epochs(i + 1)), stages - 1)
    return learning_rate * 10.0 ** (-stage / max(stages - 1, 1))


def cosine_rate(epoch: int, learning_rate: float, epochs: int) -> float:
    """Returns the learning rate of an epoch that falls by half a cosine (Loshchilov and Hutter 2017).

    It stays near `learning_rate` at first and would be 0 after the last epoch.

    Args:
      epoch: from 0 on; those from `epochs` on have a rate of 0.
      learning_rate: of the first epoch.
      epochs: of the whole training, 1 or more.

    >>> [round(cosine_rate(epoch, 1e-3, 4), 6) for epoch in (0, 1, 2, 3, 4)]
    [0.001, 0.000854, 0.0005, 0.000146, 0.0]
    """
    return 0.5 * learning_rate * (1.0 + math.cos(math.pi * min(epoch / epochs, 1.0)))
