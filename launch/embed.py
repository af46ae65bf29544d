"""Embeds images: python -m launch.embed --encoder=RUN/encoder --input=folder:PATH --output=EMBEDDINGS

Writes files with a row for each image: its file or index, its class if it has one, the mean and the
stddev of its posterior, and the content's mean where the encoder has a pose. The same command given
again goes on with what is missing.
"""

import time

from launch import command, encoder_options


def main() -> None:
    """Writes the rows of this job."""
    import crvae_tf
    from crvae_tf import datasets
    from crvae_tf.serving import embedding
    from launch import tables

    chosen = encoder_options.embed()
    encoder = crvae_tf.load_encoder(chosen.encoder)
    images = datasets.open_images(chosen.input, encoder.preprocessing, chosen.data_dir, chosen.split)
    bar = tables.ProgressBar("embedding", "images")
    began = time.perf_counter()
    report = embedding.embed(
        encoder,
        images,
        chosen.output,
        rows_per_file=chosen.rows_per_file,
        shard_index=chosen.shard_index,
        shard_count=chosen.shard_count,
        places=chosen.places,
        progress=bar,
    )
    bar.close()
    print(tables.embedding(report, time.perf_counter() - began))


if __name__ == "__main__":
    encoder_options.define_embed()
    command.run(main)
