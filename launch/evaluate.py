"""Evaluates a finished run again: python -m launch.evaluate --output_dir=RUN --nll_samples=5000

The options of the training hold but for those given here.
"""

from launch import command, options


def main() -> None:
    """Writes the run's `evaluation.json` anew and prints it."""
    from launch import assembly

    run, chosen = assembly.finished_run()
    model, data = assembly.open_run(chosen)
    assembly.evaluate(chosen, model, data, run)


if __name__ == "__main__":
    command.run(main, options.define_evaluation)
