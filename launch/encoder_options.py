"""The flags of commands that use an encoder, each defined by a function that its command calls."""

import dataclasses
import os
from collections.abc import Callable

from absl import flags

from crvae_tf.errors import InputError
from launch import flag_kinds
from launch.defaults import check_apart
from launch.options import define, define_evaluation

SAVED_MODEL = "saved_model"
_EXPORT_FORMATS = (SAVED_MODEL, "tflite", "onnx")


@dataclasses.dataclass(frozen=True)
class EmbedOptions:
    """The options of `launch.embed`."""

    encoder: str
    input: str
    output: str
    data_dir: str | None
    split: str | None
    rows_per_file: int | None
    shard_index: int
    shard_count: int

    @property
    def places(self) -> dict[str, str | None]:
        """Where encoder and images lie, as a later search needs it."""
        encoder, data_dir = os.path.abspath(self.encoder), self.data_dir
        if data_dir and "://" not in data_dir:
            data_dir = os.path.abspath(data_dir)
        return {"encoder": encoder, "data_dir": data_dir, "split": self.split}


@dataclasses.dataclass(frozen=True)
class SearchOptions:
    """The options of `launch.search`."""

    index: str
    image: str
    neighbours: int
    output: str
    encoder: str | None
    data_dir: str | None


def define_embed() -> None:
    """Defines the flags of `launch.embed`."""
    define("data_dir")
    expected = "the folder of an exported encoder, RUN/encoder"
    _required("encoder", expected, "embeds the images", flag_kinds.run_folder)
    expected = "folder:PATH, a TFDS image data set, digits or FILE.npy"
    _required("input", expected, "the images", flag_kinds.images)
    _required("output", "a folder to write to", "where the embeddings lie")
    flag_kinds.text("split", None, "of a TFDS data set, as TFDS writes it (train)")
    flag_kinds.integer("rows_per_file", None, 1, "rows of a file (10000, fewer with many jobs)")
    flag_kinds.integer("shard_index", 0, 0, "which job this is, from 0 on")
    flag_kinds.integer("shard_count", 1, 1, "how many jobs share the work")


def embed() -> EmbedOptions:
    """Returns what the flags that `define_embed` defined stand for.

    Raises:
      InputError: there is no such job.
    """
    options = EmbedOptions(**_values(EmbedOptions))
    if options.shard_index >= options.shard_count:
        below = f"below the shard_count of {options.shard_count}"
        raise InputError("shard_index", below, options.shard_index)
    check_apart("output", options.output, options.input)
    return options


def define_search() -> None:
    """Defines the flags of `launch.search`."""
    define("data_dir")
    _required("index", "a folder that launch.embed wrote", "the embeddings to search")
    _required("image", "an image file", "whose nearest images to find", flag_kinds.images)
    flag_kinds.integer("neighbours", 10, 1, "how many to find")
    flag_kinds.text("output", "nearest.png", "contact sheet to write")
    meaning = "folder of the encoder that the index was made with, if it moved"
    flag_kinds.run_folder("encoder", None, meaning)


def search() -> SearchOptions:
    """Returns what the flags that `define_search` defined stand for."""
    return SearchOptions(**_values(SearchOptions))


def define_export() -> None:
    """Defines the flags of `launch.export`."""
    define_evaluation()
    flag_kinds.choice("format", SAVED_MODEL, _EXPORT_FORMATS, "of what is exported")


def export_format() -> str:
    """Returns the value of `--format`."""
    return flags.FLAGS.format


def _values(options: type) -> dict[str, object]:
    return {field.name: flags.FLAGS[field.name].value for field in dataclasses.fields(options)}


def _required(
    name: str, expected: str, meaning: str, kind: Callable[..., None] = flag_kinds.text
) -> None:
    kind(name, None, meaning)
    flags.register_validator(name, bool, f"must be {expected}")
