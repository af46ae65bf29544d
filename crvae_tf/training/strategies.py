"""On which devices, and by which workers, a model is trained; what workers have to agree on.

A worker is a process of several that train one model together. The first, the chief, alone writes the
run's directory; each of the others has a temporary one of its own, so that all of them do the same.
"""

import contextlib
import functools
import itertools
import os
import signal
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import tensorflow as tf

from crvae_tf.errors import InputError, LostWorkerError, check_choice, reason
from crvae_tf.runs.run import Run
from crvae_tf.training.interruption import handlers_given_back

Strategy = tf.distribute.Strategy

STRATEGIES = ("none", "mirrored", "multi_worker")


def make(name: str) -> Strategy:
    """Returns the strategy of `tf.distribute` that is called `name`, one of `STRATEGIES`.

    `none` is TensorFlow's default strategy, one device. `multi_worker` waits for the other workers
    here, and must be made before TensorFlow has computed anything.

    Raises:
      InputError: there is no such strategy, or the environment does not say who the workers are.
    """
    check_choice("strategy", name, STRATEGIES)
    if name == "mirrored":
        return tf.distribute.MirroredStrategy()
    if name == "multi_worker":
        return _multi_worker()
    return tf.distribute.get_strategy()


def _multi_worker() -> Strategy:
    try:
        with _signals_given_back():
            return tf.distribute.MultiWorkerMirroredStrategy(_cluster())
    except (ValueError, KeyError, RuntimeError, tf.errors.OpError) as error:
        expected = "one whose workers TF_CONFIG or SLURM's variables name"
        raise InputError("strategy", expected, f"multi_worker: {reason(error)}") from error


@contextlib.contextmanager
def _signals_given_back() -> Iterator[None]:
    """Has SIGINT act at once while TensorFlow waits, and takes SIGTERM back, which its server keeps."""
    with handlers_given_back() as before:
        if signal.SIGINT in before:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        yield


def _cluster() -> tf.distribute.cluster_resolver.ClusterResolver:
    """Returns who the workers are: by TF_CONFIG, or by SLURM, or this process alone."""
    if "TF_CONFIG" in os.environ or "SLURM_STEP_NUM_TASKS" not in os.environ:
        return tf.distribute.cluster_resolver.TFConfigClusterResolver()
    return _slurm_cluster(int(os.environ["SLURM_STEP_NUM_TASKS"]))


def _slurm_cluster(tasks: int) -> tf.distribute.cluster_resolver.ClusterResolver:
    # TensorFlow's resolver refuses nodes with fewer GPUs than tasks, and those without any: it is asked
    # for names and ranks alone, and each task uses the GPUs that SLURM shows it.
    slurm = tf.distribute.cluster_resolver.SlurmClusterResolver(
        gpus_per_node=tasks, gpus_per_task=1, auto_set_gpu=False
    )
    workers = slurm.cluster_spec()
    gpus = len(tf.config.list_physical_devices("GPU"))
    return tf.distribute.cluster_resolver.SimpleClusterResolver(
        workers, task_type=slurm.task_type, task_id=slurm.task_id, num_accelerators={"GPU": gpus}
    )


def local(name: str) -> Strategy:
    """Returns the strategy for one process alone that stands in for `make(name)`, to evaluate say."""
    return make("mirrored" if name in ("mirrored", "multi_worker") else "none")


def of(model: Any) -> Strategy:
    """Returns the strategy that a model was made under."""
    return getattr(model, "distribute_strategy", None) or tf.distribute.get_strategy()


def num_workers(strategy: Strategy) -> int:
    """Returns how many processes train together."""
    return strategy.num_replicas_in_sync // num_local_replicas(strategy)


def num_local_replicas(strategy: Strategy) -> int:
    """Returns how many replicas this process has."""
    if strategy.num_replicas_in_sync == 1:
        return 1
    return len(strategy.extended.worker_devices)


def is_chief(strategy: Strategy) -> bool:
    """Returns whether this process is the chief, as it is where there is no other."""
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
    """Yields the run in `directory` to the chief, and to another worker a run of its own.

    That one lies in a temporary folder, which is removed at the end, and goes on from the chief's
    checkpoints. The workers end together.

    Raises:
      LostWorkerError: another worker ended before.
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
            raise LostWorkerError from error


class OnEachReplica:
    """Calls a function on batches, a batch on each replica of this process at a time.

    Args:
      strategy: whose replicas.
      function: takes the tensors of a batch, returns a structure of tensors.
    """

    def __init__(self, strategy: Strategy, function: Callable[..., Any]):
        self._strategy = strategy
        self._function = function
        self._step = tf.function(self._on_replicas)

    def __call__(self, batches: Iterable[tuple[tf.Tensor, ...]]) -> Iterator[Any]:
        """Yields what the function returns for each batch, in order."""
        replicas = num_local_replicas(self._strategy)
        batches = iter(batches)
        while taken := list(itertools.islice(batches, replicas)):
            # A replica without a batch repeats one, and what it finds is left out.
            given = taken + taken[:1] * (replicas - len(taken))
            # Traced once, for batches of any length.
            step = self._step.get_concrete_function(tf.nest.map_structure(_of_any_length, given))
            yield from step(given)[: len(taken)]

    def _on_replicas(self, batches: list[tuple[tf.Tensor, ...]]) -> list[Any]:
        """Returns what the function returns for each batch, of which each replica takes one."""
        distributed = [
            self._strategy.experimental_distribute_values_from_function(
                lambda context, each=each: each[context.replica_id_in_sync_group]
            )
            for each in zip(*batches, strict=True)
        ]
        found = self._strategy.run(self._function, args=distributed)
        return [
            tf.nest.map_structure(
                lambda value, i=i: self._strategy.experimental_local_results(value)[i], found
            )
            for i in range(len(batches))
        ]


def _of_any_length(tensor: tf.Tensor) -> tf.TensorSpec:
    return tf.TensorSpec([None, *tensor.shape[1:]], tensor.dtype)
