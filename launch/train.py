"""Trains, evaluates and exports a model: python -m launch.train --flagfile=mnist.flags

Flags after --flagfile override it. If a run was interrupted, run the same command again to resume it.
"""

import logging

from launch import command, options


def main() -> None:
    """Starts or resumes the run that the flags describe, and finishes it."""
    from crvae_tf.training import strategies
    from launch import assembly

    chosen = options.resolve()
    strategy = strategies.make(chosen.strategy)
    if not strategies.is_chief(strategy):
        logging.getLogger("crvae_tf").setLevel(logging.WARNING)  # The chief says the rest.
    with strategies.run_of(strategy, chosen.output_dir) as run:
        data = assembly.load_data(chosen)
        model = assembly.make_model(chosen, data, strategy)
        run.begin(
            assembly.config(chosen, data),
            may_differ=(*chosen.free, "versions"),
            may_change=options.EVALUATION,
        )
        if strategies.is_chief(strategy):
            assembly.introduce(chosen, model, data)
        if not strategies.highest(strategy, run.is_complete()):
            assembly.train(chosen, model, data, run)
        if strategies.is_chief(strategy):
            _finish(chosen, model, data, run)


def _finish(chosen, model, data, run) -> None:
    """Draws, exports and evaluates, or shows the results of a finished run."""
    from launch import assembly, tables

    if run.is_complete():
        print(tables.evaluation(run.read_evaluation()))
        assembly.say(f"{run.directory} was complete. Remove it to train again.")
    else:
        assembly.draw_figures(chosen, model, data, run)
        assembly.export(chosen, model, data, run)
        assembly.evaluate(chosen, model, data, run)
    places = f"--encoder={run.encoder} --input=folder:PATH --output=EMBEDDINGS"
    assembly.say(f"embed: python -m launch.embed {places}")
    assembly.say(f"report: python -m launch.report --runs={run.directory}")
    assembly.say(f"look: {run.figures}/reconstructions.png")


if __name__ == "__main__":
    command.run(main, options.define_training)
