"""Exports a finished run's encoder and decoder again: python -m launch.export --output_dir=RUN

--format=tflite or onnx writes the run's exported encoder in that format, beside it.
"""

import dataclasses
import tempfile
from pathlib import Path

from absl import flags

from launch import command, options


def define() -> None:
    options.define_evaluation()
    formats = command.choice("saved_model", "tflite", "onnx")
    command.define("format", "saved_model", formats, "of what is exported")


def convert(chosen: options.Options, encoder: Path, path: Path) -> None:
    """Writes the run's encoder as TFLite or ONNX, without operations that these lack."""
    import crvae_tf
    from crvae_tf.serving import export as serving
    from launch import assembly

    with tempfile.TemporaryDirectory() as folder:
        if chosen.precision != "float32" or chosen.pose != "none":
            model, data = assembly.open_run(dataclasses.replace(chosen, precision="float32"))
            encoder, usual = Path(folder, "encoder"), (data.preprocessing, chosen.binarization)
            crvae_tf.export_encoder(model, encoder, *usual, portable=True)
        serving.convert(encoder, path)


def main() -> None:
    from launch import assembly

    run, chosen = assembly.finished_run()
    if path := run.converted.get(flags.FLAGS.format):
        convert(chosen, run.encoder, path)
        command.say(f"encoder: {path}")
    else:
        assembly.export(chosen, *assembly.open_run(chosen), run)
        command.say(f"encoder: {run.encoder}\ndecoder: {run.decoder}")


if __name__ == "__main__":
    command.run(main, define)
