"""Trains, evaluates and exports a model: python -m launch.train --flagfile=mnist.flags

Flags after --flagfile override it. If a run was interrupted, run the same command again to resume it.
"""

import logging

from launch import command, options


def main() -> None:
    from crvae_tf.training import strategies
    from launch import assembly

    chosen = options.resolve()
    strategy = strategies.make(chosen.strategy)
    chief = strategies.is_chief(strategy)
    if not chief:
        logging.getLogger("crvae_tf").setLevel(logging.WARNING)  # The chief says the rest.
    with strategies.run_of(strategy, chosen.output_dir) as run:
        data = assembly.load_data(chosen)
        with strategy.scope():
            model = assembly.make_model(chosen, data)
        config = assembly.config(chosen, data)
        run.begin(config, may_differ=(*chosen.free, "versions"), may_change=options.EVALUATION)
        if chief:
            assembly.introduce(chosen, model, data)
        if not strategies.highest(strategy, run.is_complete()):
            assembly.train(chosen, model, data, run)
        if chief:
            _finish(chosen, model, data, run)


def _finish(chosen, model, data, run) -> None:
    """Draws, exports and evaluates, or shows the results of a finished run."""
    from crvae_tf.evaluation import metrics
    from launch import assembly

    if run.is_complete():
        print(metrics.as_text(run.read_json(run.evaluation)))
        command.say(f"{run.directory} was complete. Remove it to train again.")
    else:
        for step in (assembly.draw_figures, assembly.export, assembly.evaluate):
            step(chosen, model, data, run)
    places = f"--encoder={run.encoder} --input=folder:PATH --output=EMBEDDINGS"
    command.say(f"embed: python -m launch.embed {places}")
    command.say(f"report: python -m launch.report --runs={run.directory}")
    command.say(f"look: {run.figures}/reconstructions.png")


if __name__ == "__main__":
    command.run(main, options.define_training)
