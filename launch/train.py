"""Trains, evaluates and exports a model: python -m launch.train --flagfile=mnist.flags

A later --flag overrides the flagfile. A run that was broken off goes on where it stood when the same
command is given again.
"""

import logging

from launch import command, options


def main() -> None:
    """Brings the run that the flags describe to its end."""
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
        if not strategies.highest(strategy, run.is_complete()):
            assembly.train(chosen, model, data, run)
        if strategies.is_chief(strategy):
            _finish(chosen, model, data, run)


def _finish(chosen, model, data, run) -> None:
    """Draws, exports and evaluates, or shows what was made before."""
    from launch import assembly, tables

    if run.is_complete():
        print(tables.evaluation(run.read_evaluation()))
        assembly.say(f"{run.directory} was complete: nothing was done; remove it to train anew")
        return
    assembly.draw_figures(chosen, model, data, run)
    assembly.export(chosen, model, data, run)
    assembly.evaluate(chosen, model, data, run)
    assembly.say(f"encoder: {run.encoder}\npictures: {run.figures}")


if __name__ == "__main__":
    command.run(main, options.define_training)
