"""Finds the nearest images: python -m launch.search --index=EMBEDDINGS --image=FILE

EMBEDDINGS is a folder that launch.embed wrote. Prints and draws the images whose embeddings are nearest
to that of FILE.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from absl import flags

from launch import command, options
from launch.command import IMAGES, PLACE, RUN_FOLDER, integer


def define() -> None:
    options.define("data_dir")
    command.require("index", PLACE, "a folder that launch.embed wrote")
    command.require("image", IMAGES, "an image file")
    command.define("neighbours", 10, integer(1), "how many images to find")
    command.define("output", "nearest.png", PLACE, "contact sheet to write")
    command.define("encoder", None, RUN_FOLDER, "folder of the index's encoder, if it moved")


def table(found: Sequence[Any]) -> str:
    """Returns the images found as a table, the nearest first."""
    import pandas as pd

    rows = [("" if n.label is None else str(n.label), f"{n.distance:.4g}") for n in found]
    frame = pd.DataFrame(rows, [str(n.key) for n in found], ["class", "distance"])
    return frame.rename_axis(columns="image").to_string()


def captions(image: str, found: Sequence[Any]) -> list[str]:
    """Returns the captions of a contact sheet: the image's own, then those of the images found."""
    from crvae_tf.datasets.folders import printable

    lines = [("" if n.label is None else n.label, str(n.key)[-28:], n.distance) for n in found]
    of_found = [f"{key}\n{label}  {distance:.4g}" for label, key, distance in lines]
    return [f"{printable(image)[-28:]}\n", *of_found]


def main() -> None:
    from crvae_tf.datasets import folders
    from crvae_tf.runs import drawing
    from crvae_tf.serving.index import Index, embed_file, load_encoder, nearest, pictures

    given = flags.FLAGS
    index = Index(given.index)
    options.check_apart("output", given.output, index.about["input"])
    command.say(f"index: {given.index}, {index.num_rows} images of {index.about['input']}")
    encoder = load_encoder(index, given.encoder)
    found = nearest(index, embed_file(encoder, given.image), given.neighbours)
    print(table(found))
    shown = pictures(index, encoder, [image.key for image in found], given.data_dir)
    if gone := sum(picture is None for picture in shown):
        command.say(f"{gone} of the images are not where launch.embed read them, and are drawn white")
    shown.insert(0, folders.picture(given.image, encoder.preprocessing.brightest))
    Path(given.output).parent.mkdir(parents=True, exist_ok=True)
    drawing.contact_sheet(given.output, shown, captions(given.image, found))
    print(f"look: {given.output}")


if __name__ == "__main__":
    command.run(main, define)
