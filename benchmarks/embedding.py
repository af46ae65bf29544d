"""How fast images are embedded beside the bare encoder, and how much memory that takes.

  python -m benchmarks.embedding --encoder=RUN/encoder --data_dir=TFDS_FOLDER

Embeds the first 6,000 and all 60,000 training images of MNIST, from an array, from TFDS and from PNG
files, each with launch.embed in a process of its own; prints images/s without the start of the process,
and the peak of its resident memory. The bare encoder is given the same images in batches in memory
before each run.
"""

import pathlib
import re
import subprocess
import sys
import tempfile
import time

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from benchmarks import measurement
from benchmarks.measurement import Figure
from crvae_tf.embedding import BATCH_SIZE

SIZES = (6_000, 60_000)


def main() -> None:
    parser = measurement.parser(__doc__, repeats=3)
    parser.add_argument("--encoder", required=True)
    parser.add_argument("--data_dir")
    options = parser.parse_args()
    figures = []
    with tempfile.TemporaryDirectory() as work:
        sources = write_sources(pathlib.Path(work), options.data_dir)
        images = np.load(pathlib.Path(work) / f"{SIZES[-1]}.npy")
        for name, sized in sources.items():
            for size, arguments in zip(SIZES, sized, strict=True):
                case = f"{size} images, {name}"
                figures += measure(case, options.encoder, images, arguments, work, options.repeats)
    measurement.report(figures)


def measure(
    case: str, encoder: str, images: np.ndarray, arguments: list[str], work: str, repeats: int
) -> list[Figure]:
    """Returns the images/s of the bare encoder and of launch.embed, and the latter's peak of memory."""
    peaks = []

    def embedded() -> float:
        rate, peak = embed(encoder, arguments, work)
        peaks.append(peak)
        return rate

    contestants = {"bare encoder": lambda: bare_rate(encoder, images), "launch.embed": embedded}
    rates = measurement.by_turns(contestants, repeats)
    figures = [Figure(case, name, "images/s", values) for name, values in rates.items()]
    return [*figures, Figure(case, "launch.embed, peak", "MiB", peaks)]


def write_sources(work: pathlib.Path, data_dir: str | None) -> dict[str, list]:
    """Returns the arguments of launch.embed for each source and size."""
    stored = tfds.load("mnist", data_dir=data_dir, split="train", batch_size=-1)
    images = stored["image"].numpy()
    place = [] if data_dir is None else [f"--data_dir={data_dir}"]
    sources = {"array": [], "TFDS": [], "folder": []}
    for size in SIZES:
        array, folder = work / f"{size}.npy", work / f"{size}"
        np.save(array, images[:size])
        folder.mkdir()
        for index, image in enumerate(images[:size]):
            (folder / f"{index:05d}.png").write_bytes(tf.io.encode_png(image).numpy())
        sources["array"].append([f"--input={array}"])
        sources["TFDS"].append(["--input=mnist", f"--split=train[:{size}]", *place])
        sources["folder"].append([f"--input=folder:{folder}"])
    return sources


def bare_rate(encoder: str, images: np.ndarray) -> float:
    """Returns the images/s of the SavedModel's signature on batches in memory."""
    saved_model = tf.saved_model.load(encoder)
    encode = saved_model.signatures["serving_default"]
    floats = images.astype(np.float32) / 255.0
    batches = [tf.constant(floats[i : i + BATCH_SIZE]) for i in range(0, len(floats), BATCH_SIZE)]
    encode(images=batches[0])
    began = time.perf_counter()
    for batch in batches:
        outputs = encode(images=batch)
        outputs["mean"].numpy(), outputs["stddev"].numpy()
    return len(images) / (time.perf_counter() - began)


def embed(encoder: str, arguments: list[str], work: str) -> tuple[float, float]:
    """Returns images/s and peak of resident memory, MiB, of a run of launch.embed."""
    with tempfile.TemporaryDirectory(dir=work) as output:
        command = [f"--encoder={encoder}", f"--output={output}/embeddings", *arguments]
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
    return float(re.search(r"([\d.]+) images/s", process.stdout.read())[1]), peak


if __name__ == "__main__":
    main()
