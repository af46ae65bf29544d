"""Exports a finished run's encoder and decoder again: python -m launch.export --output_dir=RUN

--format=tflite or onnx writes the run's exported encoder in that format, beside it.
"""

from launch import command, encoder_options


def main() -> None:
    """Writes the run's `encoder/` and `decoder/` anew, or `encoder.tflite`, or `encoder.onnx`."""
    from launch import assembly

    run, chosen = assembly.finished_run()
    file_format = encoder_options.export_format()
    if file_format != encoder_options.SAVED_MODEL:
        assembly.say(f"encoder: {assembly.convert(chosen, run, file_format)}")
        return
    model, data = assembly.open_run(chosen)
    assembly.export(chosen, model, data, run)
    assembly.say(f"encoder: {run.encoder}\ndecoder: {run.decoder}")


if __name__ == "__main__":
    command.run(main, encoder_options.define_export)
