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
    command.define("rows_per_file", None, integer(1), "rows of a file (10000)")


def check() -> None:
    """Raises InputError if there is no encoder, or it would write among the images."""
    given = flags.FLAGS
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
    with command.ProgressBar("embedding", "images") as bar:
        told = {"rows_per_file": given.rows_per_file, "places": places(), "progress": bar}
        report = index.embed(encoder, images, given.output, **told)
    seconds = time.perf_counter() - began
    rate = report.new_rows / seconds
    print(f"{report.new_rows} images embedded in {seconds:.1f} s, {rate:.0f} images/s")
    if report.broken:
        print(f"left out: {len(report.broken)} of the files, which cannot be decoded")
    print(f"search: python -m launch.search --index={given.output} --image=FILE")


if __name__ == "__main__":
    command.run(main, define)
