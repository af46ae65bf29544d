"""Finds the nearest images: python -m launch.search --index=EMBEDDINGS --image=FILE

EMBEDDINGS is a folder that launch.embed wrote. Prints the images whose embeddings are nearest to that
of FILE, and draws them.
"""

from launch import command, encoder_options


def main() -> None:
    """Prints the nearest images and writes the contact sheet."""
    from crvae_tf.datasets import folders
    from crvae_tf.runs import drawing
    from crvae_tf.serving import search
    from crvae_tf.serving.index import Index
    from launch import tables
    from launch.defaults import check_apart

    chosen = encoder_options.search()
    index = Index(chosen.index)
    check_apart("output", chosen.output, index.about["input"])
    encoder = search.load_encoder(index, chosen.encoder)
    query = search.embed_file(encoder, chosen.image)
    found = search.nearest(index, query, chosen.neighbours)
    print(tables.neighbours(found))
    pictures = search.pictures(index, encoder, [image.key for image in found], chosen.data_dir)
    pictures.insert(0, folders.picture(chosen.image))
    drawing.contact_sheet(chosen.output, pictures, tables.captions(chosen.image, found))
    print(f"contact sheet: {chosen.output}")


if __name__ == "__main__":
    encoder_options.define_search()
    command.run(main)
