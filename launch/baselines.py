"""Measures baselines of embeddings: python -m launch.baselines --dataset=mnist --network=mlp

Raw pixels, PCA, and an encoder of the same network trained on the same pairs with SimCLR's loss. Writes
OUTPUT_DIR/baselines.json, unless it is there. launch.reproduce --preset=invariance does the same.
"""

from crvae_tf.errors import InputError
from launch import command, options
from launch.options import Options


def measure(chosen: Options):
    """Trains the contrastive encoder and measures all three, unless that is done; returns the run."""
    from crvae_tf.evaluation import baselines
    from crvae_tf.runs.run import Run
    from launch import assembly

    data, run = assembly.load_data(chosen), Run(chosen.output_dir)
    run.begin(assembly.config(chosen, data), (*options.PLACES, *options.CHECKPOINTING, "versions"))
    if not run.baselines.exists():
        encoder, _ = assembly.make_networks(chosen, data)
        view, test_view = assembly.transformation(chosen), assembly.test_transformation(chosen)
        baselines.train_contrastive(encoder, data, assembly.training_settings(chosen, encoder))
        found = baselines.measure(encoder, data, view, test_view, chosen.eval_images)
        run.write_json(run.baselines, found)
    return run


def main() -> None:
    from launch import tables

    for name in options.named().keys() & {"pose", "pose_steps", "views_per_image"}:
        raise InputError(name, "left out, no baseline has it", options.given()[name])
    chosen = options.resolve()
    command.say(f"baselines: {chosen.dataset}, SimCLR by {chosen.network}, {chosen.epochs} epochs")
    run = measure(chosen)
    print(tables.side_by_side(run.read_json(run.baselines)))
    command.say(f"look: {run.baselines}")


if __name__ == "__main__":
    command.run(main, options.define_training)
