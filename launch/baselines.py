"""Measures what embeddings are set against: python -m launch.baselines --flagfile=mnist_mlp.flags

Raw pixels, PCA, and an encoder of the same network trained on the same pairs with SimCLR's loss. Writes
OUTPUT_DIR/baselines.json, which launch.reproduce --preset=invariance has it do; where that is there, it
is left as it is.
"""

from launch import command, options


def main() -> None:
    """Trains the contrastive encoder and measures all three."""
    from crvae_tf import baselines, files
    from crvae_tf.runs import Run
    from launch import assembly

    chosen = options.resolve()
    for name in ("pose", "views_per_image"):
        if name in options.named():
            raise options.UsageError(
                f"--{name} must be left out, no baseline has it; received {options.given()[name]}"
            )
    data = assembly.load_data(chosen)
    run = Run(chosen.output_dir)
    # What was measured need not be measured anew, whatever version asks for it.
    measured_by = ("versions",) if run.baselines.exists() else ()
    run.begin(
        assembly.config(chosen, data),
        may_differ=(*options.PLACES, *options.CHECKPOINTING, *measured_by),
        absent=options.later_options(),
    )
    if run.baselines.exists():
        return
    encoder = assembly.make_networks(chosen, data)[0]
    view = assembly.transformation(chosen)
    baselines.train_contrastive(
        encoder,
        data,
        chosen.binarization,
        view,
        chosen.epochs,
        chosen.batch_size,
        assembly.learning_rate(chosen),
        chosen.seed,
        chosen.clip_norm,
    )
    found = baselines.measure(
        encoder,
        data,
        view,
        assembly.test_transformation(chosen),
        chosen.eval_images,
    )
    run.check_there()
    files.write_json(run.baselines, found)


if __name__ == "__main__":
    command.run(main)
