"""Exports a finished run's encoder and decoder again: python -m launch.export --output_dir=RUN

--format=tflite or onnx writes the run's exported encoder in that format, beside it.
"""

import dataclasses
import tempfile
from pathlib import Path

from absl import flags

from launch import command, options


def define() -> None:
    """Defines the flags of this command."""
    options.define_evaluation()
    formats = command.choice("saved_model", "tflite", "onnx")
    command.define("format", "saved_model", formats, "of what is exported")


def convert(chosen: options.Options, run, file_format: str) -> Path:
    """Writes the run's encoder as TFLite or ONNX beside it, in float32, and returns where.

    Neither format has the operations of the other precisions.
    """
    import crvae_tf
    from crvae_tf.serving import export as serving
    from launch import assembly

    path = run.converted[file_format]
    if chosen.precision == "float32":
        serving.convert(run.encoder, path)
        return path
    model, data = assembly.open_run(dataclasses.replace(chosen, precision="float32"))
    with tempfile.TemporaryDirectory() as folder:
        encoder = Path(folder, "encoder")
        crvae_tf.export_encoder(model, encoder, data.preprocessing, chosen.binarization)
        serving.convert(encoder, path)
    return path


def main() -> None:
    """Writes the run's `encoder/` and `decoder/` anew, or `encoder.tflite`, or `encoder.onnx`."""
    from launch import assembly

    run, chosen = assembly.finished_run()
    file_format = flags.FLAGS.format
    if file_format != "saved_model":
        assembly.say(f"encoder: {convert(chosen, run, file_format)}")
        return
    model, data = assembly.open_run(chosen)
    assembly.export(chosen, model, data, run)
    assembly.say(f"encoder: {run.encoder}\ndecoder: {run.decoder}")


if __name__ == "__main__":
    command.run(main, define)
