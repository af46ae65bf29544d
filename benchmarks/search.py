"""How long a search for the ten nearest rows takes: python -m benchmarks.search

Prints the seconds, without the start of a process, and the peak of the memory so far.
"""

import functools
import pathlib
import tempfile

import numpy as np

from benchmarks import measurement
from benchmarks.measurement import Figure
from crvae_tf.runs import files
from crvae_tf.serving import index


def main() -> None:
    options, figures = measurement.parser(__doc__, repeats=3).parse_args(), []
    for size in (10**4, 10**5, 10**6, 10**7):
        with tempfile.TemporaryDirectory() as folder:
            search = functools.partial(index.nearest, written(folder, size), np.zeros(50), 10)
            seconds = [measurement.seconds(search) for _ in range(options.repeats)]
        figures.append(Figure(f"{size} rows", "search", "s", seconds))
        figures.append(Figure(f"{size} rows", "peak", "MiB", [measurement.resident_peak()]))
    measurement.report(figures)


def written(folder: str, size: int) -> index.Index:
    """Returns an index of random embeddings, 50 numbers each, written as `launch.embed` does."""
    about = {"num_rows": size, "rows_per_file": index.ROWS_PER_FILE, "key": index.INDEX}
    files.write_json(pathlib.Path(folder, "_embedding.json"), about)
    made, generator = index.Index(folder), np.random.default_rng(0)
    for number in range(made.num_files):
        rows = np.array(made.rows(number))
        columns = {name: generator.random((len(rows), 50), np.float32) for name in ("mean", "stddev")}
        index.write(made.file(number), {index.INDEX: rows} | columns)
    return made


if __name__ == "__main__":
    main()
