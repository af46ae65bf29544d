"""What a second replica or worker gains, and how a step's time grows with batch and width.

  python -m benchmarks.scaling --json=results/benchmarks/scaling.json

Each training is a process of its own, held to its cores: one replica on one core, one on two, two
replicas on two, and two workers on one each, all with the same global batch. Images/s are of the last
of three epochs.
"""

import argparse
import functools
import json
import os
import subprocess
import sys

import tensorflow as tf

from benchmarks import cluster, measurement, train_step
from benchmarks.measurement import Figure
from benchmarks.train_step import Case
from crvae_tf import strategies

SPREAD = [Case("mlp", 1.0, 512, "float32"), Case("wae", 0.25, 64, "float32")]
STEPS = {"mlp": 100, "wae": 6}
GROWTH = [
    *(Case("mlp", 1.0, batch_size, "float32") for batch_size in (32, 64, 128, 256, 512)),
    *(Case("wae", 0.25, batch_size, "float32") for batch_size in (16, 32, 64, 128)),
    *(Case("wae", width, 16, "float32") for width in (0.125, 0.25, 0.5, 1.0)),
]
ARRANGEMENTS = ("one replica, one core", "one replica, two cores", "two replicas", "two workers")


def main() -> None:
    parser = measurement.parser(__doc__, repeats=3)
    parser.add_argument("--arrangement", choices=ARRANGEMENTS, help="train alone: what a process does")
    parser.add_argument("--case", type=int, default=0, help="which one that trains")
    parser.add_argument(
        "--seconds", type=float, default=1.0, help="about how long a turn of steps takes"
    )
    options = parser.parse_args()
    if options.arrangement:
        print(json.dumps(own_rate(options.arrangement, SPREAD[options.case])))
        return
    figures = [*spread(options), *growth(options)]
    measurement.report(options, figures)


def spread(options: argparse.Namespace) -> list[Figure]:
    """Returns the images/s of every arrangement of each case."""
    figures = []
    for index, case in enumerate(SPREAD):
        contestants = {name: functools.partial(rate, name, index) for name in ARRANGEMENTS}
        found = measurement.by_turns(contestants, options.repeats)
        figures += [Figure(case.label, name, "images/s", values) for name, values in found.items()]
    return figures


def growth(options: argparse.Namespace) -> list[Figure]:
    """Returns the step time of each case: by batch size, and by width."""
    steps = {case: train_step.bare_step(case) for case in GROWTH}
    times = {case: measurement.times_for(step, options.seconds) for case, step in steps.items()}
    contestants = {
        case: lambda case=case: 1e3 * measurement.seconds(steps[case], times[case]) for case in GROWTH
    }
    found = measurement.by_turns(contestants, options.repeats)
    return [
        Figure(f"{case.network}, bare step", case.label, "ms", values) for case, values in found.items()
    ]


def rate(arrangement: str, case: int) -> float:
    """Returns the images/s over all processes of an arrangement."""
    command = [sys.executable, "-m", "benchmarks.scaling", f"--case={case}"]
    command.append(f"--arrangement={arrangement}")
    environments = cluster.environments(2) if arrangement == "two workers" else [{}]
    processes = [
        subprocess.Popen(command, env=os.environ | variables, stdout=subprocess.PIPE, text=True)
        for variables in environments
    ]
    printed = [process.communicate()[0] for process in processes]
    if any(process.returncode for process in processes):
        sys.exit(f"{arrangement}: a process failed")
    return min(json.loads(text.splitlines()[-1]) for text in printed)


def own_rate(arrangement: str, case: Case) -> float:
    """Trains in this process and returns the images/s of the last epoch, over all replicas."""
    return train_step.fit_rate(case, STEPS[case.network], arranged(arrangement), epochs=3)


def arranged(arrangement: str) -> tf.distribute.Strategy:
    """Returns the strategy, this process held to its cores and its threads to as many."""
    task = json.loads(os.environ.get("TF_CONFIG", "{}")).get("task", {"index": 0})
    cores = sorted(os.sched_getaffinity(0))[:2]
    one_core = arrangement in ("one replica, one core", "two workers")
    held = {cores[task["index"] % len(cores)]} if one_core else set(cores)
    os.sched_setaffinity(0, held)
    tf.config.threading.set_intra_op_parallelism_threads(len(held))
    if arrangement == "two replicas":
        (cpu,) = tf.config.list_physical_devices("CPU")
        parts = [tf.config.LogicalDeviceConfiguration()] * 2
        tf.config.set_logical_device_configuration(cpu, parts)
        return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
    return strategies.make("multi_worker" if arrangement == "two workers" else "none")


if __name__ == "__main__":
    main()
