"""How fast a folder is embedded beside the rate at which tf.data alone reads and decodes its files.

  python -m benchmarks.embedding --encoder=RUN/encoder --data_dir=TFDS_FOLDER

Writes training images of MNIST as PNG files and takes turns between tf.data, which reads and decodes
them with tf.io.decode_image, and launch.embed in a process of its own. Prints images/s, of launch.embed
without the start of the process, and the peak of its resident memory for two numbers of images.
"""

import pathlib
import re
import subprocess
import sys
import tempfile
import time

import tensorflow as tf
import tensorflow_datasets as tfds

from benchmarks import measurement
from benchmarks.measurement import Figure
from crvae_tf.serving.index import BATCH_SIZE

SIZES = (6_000, 60_000)


def main() -> None:
    parser = measurement.parser(__doc__, repeats=3)
    parser.add_argument("--encoder", required=True)
    parser.add_argument("--data_dir")
    options = parser.parse_args()
    figures = []
    with tempfile.TemporaryDirectory() as work:
        for size in SIZES:
            folder = pathlib.Path(work, str(size))
            write_folder(folder, size, options.data_dir)
            figures += measure(f"{size} images", options.encoder, folder, options.repeats)
    measurement.report(figures)


def write_folder(folder: pathlib.Path, size: int, data_dir: str | None) -> None:
    """Writes the first `size` training images of MNIST."""
    folder.mkdir()
    stored = tfds.load("mnist", data_dir=data_dir, split=f"train[:{size}]", batch_size=-1)
    for index, image in enumerate(stored["image"]):
        (folder / f"{index:05d}.png").write_bytes(tf.io.encode_png(image).numpy())


def measure(case: str, encoder: str, folder: pathlib.Path, repeats: int) -> list[Figure]:
    """Returns the images/s of tf.data and of launch.embed, and the latter's peak of memory."""
    peaks = []

    def embedded() -> float:
        rate, peak = embed(encoder, folder)
        peaks.append(peak)
        return rate

    contestants = {"tf.data alone": lambda: reading_rate(folder), "launch.embed": embedded}
    rates = measurement.by_turns(contestants, repeats)
    figures = [Figure(case, name, "images/s", values) for name, values in rates.items()]
    return [*figures, Figure(case, "launch.embed, peak", "MiB", peaks)]


def reading_rate(folder: pathlib.Path) -> float:
    """Returns the images/s at which tf.data reads and decodes the files in batches."""
    paths = sorted(str(path) for path in folder.iterdir())
    images = tf.data.Dataset.from_tensor_slices(paths).map(
        lambda path: tf.io.decode_image(tf.io.read_file(path), expand_animations=False),
        num_parallel_calls=tf.data.AUTOTUNE,
    )
    began = time.perf_counter()
    for _ in images.batch(BATCH_SIZE).prefetch(tf.data.AUTOTUNE):
        pass
    return len(paths) / (time.perf_counter() - began)


def embed(encoder: str, folder: pathlib.Path) -> tuple[float, float]:
    """Returns images/s and peak of resident memory, MiB, of a run of launch.embed."""
    with tempfile.TemporaryDirectory() as output:
        command = [f"--encoder={encoder}", f"--input=folder:{folder}", f"--output={output}/embeddings"]
        process = subprocess.Popen(
            [sys.executable, "-m", "launch.embed", *command],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        peak = 0.0
        while process.poll() is None:
            peak = max(peak, measurement.resident_peak(process.pid))
            time.sleep(0.05)
        if process.returncode:
            sys.exit(f"launch.embed failed: {' '.join(command)}")
    return float(re.search(r"([\d.,]+) images/s", process.stdout.read())[1].replace(",", "")), peak


if __name__ == "__main__":
    main()
