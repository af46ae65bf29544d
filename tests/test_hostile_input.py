"""Files and arrays that are damaged, of another kind, or meant to do harm."""

import pickle
import re

import numpy as np
import pytest
import tensorflow as tf

from crvae_tf import CRVAE, VAE, InputError, RandomAffine, networks
from crvae_tf.datasets import ArrayImages, ImageData, Preprocessing, open_images
from crvae_tf.evaluation import evaluate as evaluating
from crvae_tf.serving import index


class Payload:
    """Writes a file where it is unpickled."""

    def __reduce__(self):
        return open, ("harm", "w")


def test_an_array_that_holds_a_program_is_refused_and_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("images.npy", np.array([Payload()], object), allow_pickle=True)
    (tmp_path / "bare.npy").write_bytes(pickle.dumps(Payload()))
    for name in ("images.npy", "bare.npy"):
        with pytest.raises(InputError, match=f"input: expected an array .*{name}, another file"):
            open_images(name, Preprocessing(8, 1))
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize("share", [0.0, 0.95])
def test_a_file_of_embeddings_that_was_cut_short_is_named(tmp_path, share):
    path = tmp_path / "part.parquet"
    index.write(path, {"index": np.arange(50), "mean": np.zeros([50, 3], np.float32)})
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(InputError, match=re.escape(f"{path}: expected a file of embeddings")):
        index.read(path)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64])
def test_images_of_integers_are_refused(dtype):
    pair = networks.build("mlp", (8, 8, 1), latent_dim=3, width=0.05)
    with pytest.raises(InputError, match=f"floats in .* received {np.dtype(dtype).name}"):
        VAE(*pair).bound(np.ones([2, 8, 8, 1], dtype), seed=[1, 2])


def test_images_outside_the_unit_interval_stop_a_fit():
    model = CRVAE(VAE(*networks.build("mlp", (8, 8, 1), latent_dim=3, width=0.05)))
    model.compile(optimizer="sgd")
    good = tf.fill([4, 8, 8, 1], 1.0 + 1e-6)  # As resampling may leave them.
    history = model.fit(tf.data.Dataset.from_tensors((good, good)), verbose=0).history
    assert np.isfinite(history["loss"]).all()
    for pixel in (-0.1, 1.1, 255.0, np.nan):
        bad = tf.tensor_scatter_nd_update(good, [[3, 7, 7, 0]], [pixel])
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"expected values in \[0, 1\]"):
            model.fit(tf.data.Dataset.from_tensors((good, bad)), verbose=0)


@pytest.mark.parametrize(
    ("images", "numbers", "message"),
    [
        (1, {}, "num_images: expected 2 or more test images; received 1"),
        (3, {"num_images": 0}, "num_images: expected 2 or more test images; received 0"),
        (3, {"nll_samples": 0}, "nll_samples: expected 1 or more; received 0"),
    ],
)
def test_too_few_images_and_no_samples_are_nothing_to_evaluate(images, numbers, message):
    split = ArrayImages(np.zeros([images, 8, 8, 1], np.uint8))
    data = ImageData("few", split, split, None, Preprocessing(8, 1), "")
    with pytest.raises(InputError) as error:
        evaluating.evaluate(None, data, "dynamic", RandomAffine(), RandomAffine(), **numbers)
    assert str(error.value) == message
