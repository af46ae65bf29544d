"""Which of TensorFlow's operations take the time of a training step, the likelihood and the pipeline.

  python -m benchmarks.profile --json=results/benchmarks/profile.json

By TensorFlow's own profiler, which notes when each operation begins and ends; one that several threads
compute counts once. The shares are of the sum over all operations, kinds that never reach 2 % left out.
"""

import collections
import functools
import glob
import re
import tempfile
from collections.abc import Callable, Iterator

import tensorflow as tf
from tensorflow.tsl.profiler.protobuf import xplane_pb2

from benchmarks import measurement, nll, train_step
from benchmarks.measurement import Figure
from benchmarks.train_step import Case
from crvae_tf import datasets

STEPS = [
    Case("mlp", 1.0, 128, "float32"),
    Case("mlp", 1.0, 128, "bfloat16"),
    Case("wae", 0.25, 64, "float32"),
    Case("wae", 0.25, 64, "bfloat16"),
    Case("wae", 1.0, 64, "float32"),
    Case("wae", 1.0, 64, "bfloat16"),
]
SAMPLES = 200
BATCHES = 20
LEAST_SHARE = 2.0
_ONEDNN = re.compile("^_Mkl(Native)?|WithBias$")


def main() -> None:
    parser = measurement.parser(__doc__, repeats=3)
    parser.add_argument("--only", default="", help="only cases whose name begins so")
    options = parser.parse_args()
    figures = []
    for label, make in cases():
        if label.startswith(options.only):
            figures += shares(label, make(), options.repeats)
    measurement.report(options, figures)


def cases() -> Iterator[tuple[str, Callable[[], Callable[[], object]]]]:
    """Yields the name of each case, and what makes the call to look into."""
    for case in STEPS:
        yield f"{case.label}: bare step", functools.partial(train_step.bare_step, case)
    yield "mlp: likelihood", likelihood
    yield "batch 64: pipeline", pipeline


def likelihood() -> Callable[[], object]:
    """Returns the likelihood of a batch of images."""
    case = nll.CASES[0]
    function = nll.likelihood_function(train_step.model_of(case), SAMPLES)
    return functools.partial(function, *nll.first_images(case))


def pipeline() -> Callable[[], object]:
    """Returns the making of some batches of pairs."""
    split = train_step.split_of(64 * BATCHES)
    batches = datasets.training_batches(
        split, 64, "dynamic", train_step.transformation(), 0, range(1_000_000)
    )
    drawn = iter(batches)
    return lambda: [next(drawn) for _ in range(BATCHES)]


def shares(label: str, call: Callable[[], object], repeats: int) -> list[Figure]:
    """Returns the share of each kind of operation in the time of `call`, %, the largest first."""
    times = measurement.times_for(call, 0.5)
    turns = [operation_times(call, times) for _ in range(repeats)]
    found = {
        kind: [100.0 * turn.get(kind, 0.0) / sum(turn.values()) for turn in turns] for kind in turns[0]
    }
    ordered = sorted(found.items(), key=lambda item: -sum(item[1]))
    return [
        Figure(label, kind, "% of the operations' time", values)
        for kind, values in ordered
        if max(values) >= LEAST_SHARE
    ]


def operation_times(call: Callable[[], object], times: int) -> dict[str, float]:
    """Returns the seconds that each kind of operation took in calls in a row."""
    with tempfile.TemporaryDirectory() as folder:
        with tf.profiler.experimental.Profile(folder):
            for _ in range(times):
                call()
        (path,) = glob.glob(f"{folder}/**/*.xplane.pb", recursive=True)
        with open(path, "rb") as file:
            space = xplane_pb2.XSpace.FromString(file.read())
    return times_by_kind(space)


def times_by_kind(space: xplane_pb2.XSpace) -> dict[str, float]:
    """Returns the seconds of each kind of operation that a profile holds."""
    times = collections.Counter()
    for plane in space.planes:
        names = {number: metadata.name for number, metadata in plane.event_metadata.items()}
        for event in (event for line in plane.lines for event in line.events):
            kind = operation_kind(names[event.metadata_id])
            if kind:
                times[kind] += event.duration_ps / 1e12
    return dict(times)


def operation_kind(name: str) -> str | None:
    """Returns the kind of operation that an event is of, oneDNN's beside TensorFlow's own.

    >>> operation_kind("encoder/dense/MatMul:_MklMatMul"), operation_kind("KernelAndDeviceFunc::Run")
    ('MatMul', None)
    """
    place, colon, kind = name.rpartition(":")
    if not colon or place.endswith(":") or not kind.lstrip("_")[:1].isalpha():
        return None
    return _ONEDNN.sub("", kind)


if __name__ == "__main__":
    main()
