"""Embeds images: python -m launch.embed --encoder=RUN/encoder --input=folder:PATH --output=EMBEDDINGS

Writes Parquet files with a row for each image: its file or index, its class if it has one, the mean
and the stddev of its posterior, and the content's mean if the encoder has a pose. Run the same command
again to resume.
"""

import os
import sys
import time

from absl import flags

from crvae_tf.errors import InputError
from launch import command, defaults, flag_kinds, options
from launch.flag_kinds import IMAGES, PLACE, RUN_FOLDER, integer


def define() -> None:
    """Defines the flags of this command."""
    options.define("data_dir")
    flag_kinds.require("encoder", RUN_FOLDER, "the folder of an exported encoder, RUN/encoder")
    flag_kinds.require("input", IMAGES, "folder:PATH, a TFDS image data set, digits or FILE.npy")
    flag_kinds.require("output", PLACE, "a folder to write to")
    flag_kinds.define("split", None, PLACE, "of a TFDS data set, as TFDS writes it (train)")
    flag_kinds.define("rows_per_file", None, integer(1), "rows of a file (10000, fewer with many jobs)")
    flag_kinds.define("shard_index", 0, integer(0), "which job this is, from 0 on")
    flag_kinds.define("shard_count", 1, integer(1), "how many jobs share the work")


def check() -> None:
    """Raises InputError if the job does not exist or would write among the images."""
    given = flags.FLAGS
    if given.shard_index >= given.shard_count:
        expected = f"below the shard_count of {given.shard_count}"
        raise InputError("shard_index", expected, given.shard_index)
    defaults.check_apart("output", given.output, given.input)


def places(encoder: str, data_dir: str | None, split: str | None) -> dict[str, str | None]:
    """Returns where encoder and images are, so that a search finds them from any folder."""
    if data_dir and "://" not in data_dir:
        data_dir = os.path.abspath(data_dir)
    return {"encoder": os.path.abspath(encoder), "data_dir": data_dir, "split": split}


def main() -> None:
    """Writes the rows of this job."""
    import crvae_tf
    from crvae_tf import datasets
    from crvae_tf.serving import embedding
    from launch import tables

    check()
    given = flags.FLAGS
    encoder = crvae_tf.load_encoder(given.encoder)
    images = datasets.open_images(given.input, encoder.preprocessing, given.data_dir, given.split)
    shape = "x".join(map(str, encoder.image_shape))
    print(f"images: {images.num_images} of {given.input}, brought to {shape}", file=sys.stderr)
    print(f"encoder: {given.encoder}, {encoder.latent_dim} dimensions", file=sys.stderr)
    bar = tables.ProgressBar("embedding", "images")
    began = time.perf_counter()
    report = embedding.embed(
        encoder,
        images,
        given.output,
        rows_per_file=given.rows_per_file,
        shard_index=given.shard_index,
        shard_count=given.shard_count,
        places=places(given.encoder, given.data_dir, given.split),
        progress=bar,
    )
    bar.close()
    print(tables.embedding(report, time.perf_counter() - began))


if __name__ == "__main__":
    command.run(main, define)
