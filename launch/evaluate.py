"""Evaluates a finished run again: python -m launch.evaluate --output_dir=RUN --nll_samples=5000

The run's own options hold, but for --nll_samples, --eval_images, --eval_split, --test_translation,
--test_rotation, --test_scaling and --data_dir.
"""

from launch import command


def main() -> None:
    """Writes the run's `evaluation.json` anew and prints it."""
    from launch import assembly

    run, chosen = assembly.finished_run()
    model, data = assembly.open_run(chosen)
    assembly.evaluate(chosen, model, data, run)


if __name__ == "__main__":
    command.run(main)
