"""Exports a finished run's encoder and decoder again: python -m launch.export --output_dir=RUN"""

from launch import command


def main() -> None:
    """Writes the run's `encoder/` and `decoder/` anew."""
    from launch import assembly

    run, chosen = assembly.finished_run()
    model, data = assembly.open_run(chosen)
    assembly.export(chosen, model, data, run)
    assembly.say(f"encoder: {run.encoder}\ndecoder: {run.decoder}")


if __name__ == "__main__":
    command.run(main)
