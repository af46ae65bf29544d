"""Embeds images: python -m launch.embed --encoder=RUN/encoder --input=folder:PATH --output=EMBEDDINGS

Writes Parquet files with a row for each image: its file or index, its class if it has one, the mean
and the stddev of its posterior, and the content and pose if the networks are registered. Run the same
command again to resume.
"""

import os
import time

from absl import flags

from crvae_tf.errors import InputError
from launch import command, options
from launch.command import IMAGES, PLACE, RUN_FOLDER, integer

_ENCODER = "the folder of an exported encoder, RUN/encoder"


def define() -> None:
    options.define("data_dir")
    command.require("encoder", RUN_FOLDER, _ENCODER)
    command.require("input", IMAGES, "folder:PATH, a TFDS image data set, digits or FILE.npy")
    command.require("output", PLACE, "a folder to write to")
    command.define("split", None, PLACE, "of a TFDS data set, as TFDS writes it (train)")
    command.define("rows_per_file", None, integer(1), "rows of a file (10000, fewer with many jobs)")
    command.define("shard_index", 0, integer(0), "which job this is, from 0 on")
    command.define("shard_count", 1, integer(1), "how many jobs share the work")


def check() -> None:
    """Raises InputError if there is no encoder or job, or it would write among the images."""
    given = flags.FLAGS
    if given.shard_index >= given.shard_count:
        expected = f"below the shard_count of {given.shard_count}"
        raise InputError("shard_index", expected, given.shard_index)
    options.check_apart("output", given.output, given.input)
    if not os.path.exists(os.path.join(given.encoder, "saved_model.pb")):
        raise InputError("encoder", _ENCODER, f"{given.encoder}, where there is none")


def places() -> dict[str, str | None]:
    """Returns where encoder and images are, so that a search finds them from any folder."""
    given = flags.FLAGS
    encoder = os.path.abspath(given.encoder)
    return {"encoder": encoder, "data_dir": given.data_dir, "split": given.split}


def main() -> None:
    import crvae_tf
    from crvae_tf import datasets
    from crvae_tf.serving import index

    check()
    given = flags.FLAGS
    encoder = crvae_tf.load_encoder(given.encoder)
    images = datasets.open_images(given.input, encoder.preprocessing, given.data_dir, given.split)
    shape = "x".join(map(str, encoder.image_shape))
    command.say(f"images: {images.num_images} of {given.input}, brought to {shape}")
    command.say(f"encoder: {given.encoder}, {encoder.latent_dim} dimensions")
    began = time.perf_counter()
    job = {name: given[name].value for name in ("rows_per_file", "shard_index", "shard_count")}
    with command.ProgressBar("embedding", "images") as bar:
        report = index.embed(encoder, images, given.output, **job, places=places(), progress=bar)
    seconds, missing = time.perf_counter() - began, len(report.index.missing())
    rate = report.new_rows / seconds
    print(f"{report.new_rows} images embedded in {seconds:.1f} s, {rate:.0f} images/s")
    if report.broken:
        print(f"left out: {len(report.broken)} of the files, which cannot be decoded")
    if missing:
        print(f"{missing} of {report.index.num_files} files are left to other jobs")
    print(f"search: python -m launch.search --index={given.output} --image=FILE")


if __name__ == "__main__":
    command.run(main, define)
