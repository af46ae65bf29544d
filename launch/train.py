"""Trains, evaluates and exports a model: python -m launch.train --flagfile=mnist.flags

A later --flag overrides the flagfile. A run that was broken off goes on where it stood when the same
command is given again.
"""

from launch import command, options


def main() -> None:
    """Brings the run that the flags describe to its end."""
    from crvae_tf.runs import Run
    from launch import assembly, tables

    chosen = options.resolve()
    data = assembly.load_data(chosen)
    model = assembly.make_model(chosen, data)
    run = Run(chosen.output_dir)
    # What is finished need not be reproduced: it is shown whatever version asks for it.
    finished_by = ("versions",) if run.is_complete() else ()
    run.begin(
        assembly.config(chosen, data),
        may_differ=(*options.PLACES, *options.CHECKPOINTING, *finished_by),
        may_change=options.allowed_changes(),
    )
    if run.is_complete():
        print(tables.evaluation(run.read_evaluation()))
        assembly.say(f"{run.directory} was complete: nothing was done; remove it to train anew")
        return
    assembly.train(chosen, model, data, run)
    assembly.draw_figures(chosen, model, data, run)
    assembly.export(chosen, model, data, run)
    assembly.evaluate(chosen, model, data, run)
    assembly.say(f"encoder: {run.encoder}\npictures: {run.figures}")


if __name__ == "__main__":
    command.run(main)
