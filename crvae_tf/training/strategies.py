"""The devices and the workers that train a model, what workers must agree on, and signals to stop.

Workers are processes that train one model together. The first, the chief, alone writes the run.
"""

import contextlib
import functools
import signal
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import tensorflow as tf

from crvae_tf.errors import InputError, LostWorkerError, check_choice, reason
from crvae_tf.runs.run import Run

Strategy = tf.distribute.Strategy


def make(name: str) -> Strategy:
    """Returns a strategy of `tf.distribute`: `none`, one device; `mirrored`; or `multi_worker`.

    The last waits here for the other workers that TF_CONFIG names, and must be made before TensorFlow
    has computed anything. Raises InputError if TF_CONFIG does not say who they are.
    """
    check_choice("strategy", name, ("none", "mirrored", "multi_worker"))
    if name == "mirrored":
        return tf.distribute.MirroredStrategy()
    if name == "none":
        return tf.distribute.get_strategy()
    try:
        # Ctrl-C ends the wait at once, and SIGTERM is taken back from TensorFlow's server.
        with _handled({signal.SIGINT: signal.SIG_DFL}):
            return tf.distribute.MultiWorkerMirroredStrategy()
    except (ValueError, KeyError, RuntimeError, tf.errors.OpError) as error:
        received = f"multi_worker: {reason(error)}"
        raise InputError("strategy", "one whose workers TF_CONFIG names", received) from error


def num_workers(strategy: Strategy) -> int:
    """Returns how many processes train together."""
    if strategy.num_replicas_in_sync == 1:
        return 1
    return strategy.num_replicas_in_sync // len(strategy.extended.worker_devices)


def is_chief(strategy: Strategy) -> bool:
    """Returns whether this process is the chief; a single process always is."""
    return strategy.extended.should_checkpoint


def highest(strategy: Strategy, value: int) -> int:
    """Returns the highest of the workers' values; each must call this as often as the others."""
    if num_workers(strategy) == 1:
        return value
    return int(tf.reduce_max(_gathered(strategy)(tf.constant([value], tf.int64))))


@functools.lru_cache(maxsize=1)
def _gathered(strategy: Strategy) -> Callable[[tf.Tensor], tf.Tensor]:
    return tf.function(lambda values: strategy.gather(values, axis=0))


@contextlib.contextmanager
def run_of(strategy: Strategy, directory: str | Path) -> Iterator[Run]:
    """Yields the run in `directory` to the chief, and to another worker a temporary one of its own.

    That one goes on from the chief's checkpoints. The workers end together; raises LostWorkerError if
    another one ended before.
    """
    with contextlib.ExitStack() as stack:
        run = Run(directory)
        if not is_chief(strategy):
            own = stack.enter_context(tempfile.TemporaryDirectory(prefix="crvae_tf_worker_"))
            run = Run(own, resumed=directory)
        try:
            yield run
            highest(strategy, 0)
        except tf.errors.UnavailableError as error:
            if num_workers(strategy) == 1:
                raise
            why = "another worker ended before this one, and its own output says why"
            told = f"{why}; run the same command on all of them again to resume"
            raise LostWorkerError(told) from error


@contextlib.contextmanager
def noted(signals: list[int]) -> Iterator[None]:
    """Adds the first SIGTERM or SIGINT that arrives to `signals`; a second acts as it always does."""

    def note(number, frame):
        signals.append(number)
        for each, handler in before.items():
            signal.signal(each, handler)

    with _handled({signal.SIGTERM: note, signal.SIGINT: note}) as before:
        yield


@contextlib.contextmanager
def _handled(handlers: dict[int, Any]) -> Iterator[dict[int, Any]]:
    """Sets handlers of signals, and afterwards those of SIGTERM and SIGINT that were there before.

    A signal that the process ignores stays ignored: a shell has what it starts in the background ignore
    SIGINT. Only the main thread may set handlers.
    """
    in_main = threading.current_thread() is threading.main_thread()
    before = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT) if in_main}
    before = {n: handler for n, handler in before.items() if handler != signal.SIG_IGN}
    for number in before.keys() & handlers.keys():
        signal.signal(number, handlers[number])
    try:
        yield before
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
