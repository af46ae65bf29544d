"""Evaluates a finished run again: python -m launch.evaluate --output_dir=RUN --nll_samples=5000

The options of the training apply, unless a flag overrides them. The result takes the place of the
run's evaluation.
"""

from launch import command, options


def main() -> None:
    from launch import assembly

    run, chosen = assembly.finished_run()
    model, data = assembly.open_run(chosen)
    assembly.introduce(chosen, model, data)
    assembly.evaluate(chosen, model, data, run)
    command.say(f"report: python -m launch.report --runs={run.directory}")


if __name__ == "__main__":
    command.run(main, options.define_evaluation)
