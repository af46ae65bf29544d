"""How the time of a step grows with the batch and with the width.

python -m benchmarks.scaling
"""

from benchmarks import measurement, train_step
from benchmarks.measurement import Figure
from benchmarks.train_step import Case

GROWTH = {
    "mlp, batch": [Case("mlp", batch_size=size) for size in (32, 64, 128, 256, 512)],
    "wae, batch": [Case("wae", 0.25, size) for size in (16, 32, 64, 128)],
    "wae, width": [Case("wae", width, 16) for width in (0.125, 0.25, 0.5, 1.0)],
}


def main() -> None:
    parser = measurement.parser(__doc__, repeats=3)
    parser.add_argument("--seconds", type=float, default=1.0, help="about how long a turn takes")
    options = parser.parse_args()
    for name, cases in GROWTH.items():
        if name.startswith(options.only):
            contestants = {case.label: milliseconds(case, options.seconds) for case in cases}
            found = measurement.by_turns(contestants, options.repeats)
            measurement.report(Figure(name, label, "ms", values) for label, values in found.items())


def milliseconds(case: Case, duration: float):
    """Returns what measures the time of a bare step."""
    step = train_step.bare_step(case)
    times = measurement.times_for(step, duration)
    return lambda: 1e3 * measurement.seconds(step, times)


if __name__ == "__main__":
    main()
