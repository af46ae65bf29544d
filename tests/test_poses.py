"""Registered networks against closed forms, NumPy, finite differences and `RandomAffine`."""

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import crvae_tf
from crvae_tf import networks, poses, randomness
from crvae_tf.datasets import ArrayImages, Preprocessing
from crvae_tf.poses import Pose, Registration, register
from crvae_tf.serving import export
from crvae_tf.serving.index import Index, embed, read, vectors
from crvae_tf.transforms import Affine, RandomAffine, compose, inverse, resample

tfd = tfp.distributions

SHAPE = (12, 12, 1)
KEY = randomness.key(4)
MOVES = RandomAffine(1.5, 20.0, 0.2)
POSE = Pose.of(MOVES)


def smooth_images(number: int, channels: int = 1) -> tf.Tensor:
    """Bumps that stay within the frame when they are moved by a pixel, and that move hardly blurs."""
    rows, columns = np.indices(SHAPE[:2])
    centres = np.random.default_rng(0).uniform(5.0, 6.0, [number, channels, 2, 1, 1])
    squares = (rows - centres[:, :, 0]) ** 2 + 0.8 * (columns - centres[:, :, 1]) ** 2
    bumps = np.maximum(1.0 - squares / 10.0, 0.0) ** 2
    return tf.constant(np.moveaxis(bumps, 1, -1), tf.float32)


def drawn(number: int, place: int = 0) -> Affine:
    return MOVES.sample(number, randomness.fold_in(KEY, place))


def matrices(affine: Affine) -> np.ndarray:
    """Maps of points (right, down, 1) about the centre, by the definition of `Affine`."""
    angle, scale = np.radians(affine.angle), np.asarray(affine.scale)
    cosine, sine, zero = scale * np.cos(angle), scale * np.sin(angle), 0.0 * scale
    rows = [[cosine, sine, affine.right], [-sine, cosine, affine.down], [zero, zero, zero + 1.0]]
    return np.moveaxis(np.array(rows), -1, 0)


def test_composition_is_the_product_of_the_maps_and_the_inverse_undoes_one():
    outer, inner = drawn(50), drawn(50, 1)
    expected = matrices(outer) @ matrices(inner)
    np.testing.assert_allclose(matrices(compose(outer, inner)), expected, atol=1e-5)
    product = matrices(inverse(inner)) @ matrices(inner)
    np.testing.assert_allclose(product, np.tile(np.eye(3), [50, 1, 1]), atol=1e-5)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("fill", ["constant", "reflect"])
@pytest.mark.parametrize("compiled", [False, True])
def test_resampling_is_that_of_random_affine(channels, fill, compiled):
    images = tf.random.stateless_uniform([40, 12, 9, channels], KEY)
    layer = RandomAffine(8.0, 180.0, 0.6, fill)
    far, outside = layer.sample(40, KEY), 0.0 if fill == "constant" else None
    function = tf.function(resample, jit_compile=True) if compiled else resample
    received = function(images, far, outside)
    np.testing.assert_allclose(received, layer.augment_images(images, far), atol=2e-5)


def test_what_comes_in_from_outside_is_the_fill_and_a_move_that_is_not_finite_gives_nan():
    moves = Affine(tf.constant([2.0, np.nan]), *tf.zeros([2, 2]), tf.ones(2))
    moved = resample(tf.ones([2, 4, 4, 1]), moves, outside=-9.0).numpy()
    np.testing.assert_array_equal(moved[0, :, :, 0], [[-9.0, -9.0, 1.0, 1.0]] * 4)
    assert np.all(np.isnan(moved[1]))


@pytest.mark.parametrize("outside", [-2.0, None])
def test_gradients_are_those_of_finite_differences_also_where_xla_compiles_them(outside):
    images = tf.random.stateless_uniform([2, 6, 5, 2], KEY)
    affine = drawn(2, 3)  # Some others have a kink within `delta`.
    weights = tf.random.stateless_normal([2, 6, 5, 2], KEY)
    arguments = [images, *affine]

    def value(images, *affine):
        return tf.reduce_sum(weights * resample(images, Affine(*affine), outside))

    def gradients(function):
        with tf.GradientTape() as tape:
            tape.watch(arguments)
            found = function(*arguments)
        return tape.gradient(found, arguments)

    eager, compiled = gradients(value), gradients(tf.function(value, jit_compile=True))
    _, numerical = tf.test.compute_gradient(value, arguments, delta=1e-3)
    for one, other, expected in zip(eager, compiled, numerical, strict=True):
        for found in map(np.ravel, (one, other)):
            np.testing.assert_allclose(found, expected[0], rtol=2e-2, atol=2e-2)


def test_a_reflected_border_has_no_slope_where_the_images_stay():
    right = tf.Variable([0.0])
    with tf.GradientTape() as tape:
        moved = resample(smooth_images(1) + 1.0, Affine(right, 0.0 * right, 0.0 * right, 1.0), None)
        border = moved[:, :, -1]
    assert tape.gradient(border, right) == 0.0


@pytest.mark.parametrize(
    ("sizes", "dim"), [((2, 15, 0.1), 4), ((2, 0, 0), 2), ((0, 15, 0), 1), ((0, 15, 0.1), 2)]
)
def test_a_part_that_is_zero_has_no_coordinate(sizes, dim):
    transformation = RandomAffine(*sizes)
    pose = Pose.of(transformation)
    affine = transformation.sample(20, KEY)
    assert pose.dim == dim == pose.coordinates(affine).shape[1]
    for part, expected in zip(pose.transformation(pose.coordinates(affine)), affine, strict=True):
        np.testing.assert_allclose(part, expected, rtol=1e-5, atol=1e-5)


def test_the_units_are_the_sizes_of_the_transformation():
    largest = Affine(*(tf.constant([x], tf.float32) for x in (1.5, -1.5, 20.0, np.exp(0.2))))
    np.testing.assert_allclose(POSE.coordinates(largest), [[1.0, -1.0, 1.0, 1.0]], rtol=1e-5)


@pytest.mark.parametrize("family", [poses._gaussian, tfd.MultivariateNormalDiag])
def test_a_carried_posterior_has_the_composed_pose_and_the_same_rest(family):
    mean = tf.random.stateless_normal([20, 7], KEY)
    posterior = family(mean, 0.5 + tf.abs(mean))
    carried = POSE.carried(posterior, drawn(20))
    assert np.all(tfd.kl_divergence(carried, posterior) > 0.0)
    np.testing.assert_array_equal(carried.stddev(), posterior.stddev())
    np.testing.assert_array_equal(carried.mean()[:, :3], mean[:, :3])
    expected = matrices(drawn(20)) @ matrices(POSE.transformation(mean[:, 3:]))
    received = matrices(POSE.transformation(carried.mean()[:, 3:]))
    np.testing.assert_allclose(received, expected, atol=1e-5)


class KnownPose(keras.Model):
    """A pose network that finds the centre of mass exactly, and thereby the moves."""

    def call(self, images, training=False):
        rows, columns = (tf.constant(grid - 5.5, tf.float32) for grid in np.indices(SHAPE[:2]))
        mass = tf.reduce_sum(images, axis=[1, 2, 3])
        centre = [tf.reduce_sum(images[..., 0] * grid, axis=[1, 2]) / mass for grid in (columns, rows)]
        mean = tf.stack(centre, axis=1)
        return tf.cast(mean, tf.float16), 0.0 * mean  # Own networks may be of low precision.


def moved_networks(fill="constant"):
    moves = RandomAffine(1.0, 0.0, 0.0, fill)
    encoder, decoder = networks.build("mlp", SHAPE, 3, 0.1)
    registered = register(encoder, decoder, moves, 1, KnownPose())
    return (*registered, encoder, decoder, moves)


def registered_pair() -> tuple[keras.Model, keras.Model]:
    return register(*networks.build("mlp", SHAPE, 3, 0.1), MOVES, steps=1)


def test_with_an_exact_pose_network_a_view_has_the_content_of_its_image_and_the_carried_pose():
    encoder, decoder, *_, moves = moved_networks()
    images, transformation = smooth_images(20), moves.sample(20, KEY)
    views = moves.augment_images(images, transformation)
    model = crvae_tf.VAE(encoder, decoder)
    posterior, view_posterior = model.posterior(images), model.posterior(views)
    upright = encoder.pose.upright(images, posterior.mean())
    view_upright = encoder.pose.upright(views, view_posterior.mean())
    # Two resamplings blur more than one: the peak of a blob loses a tenth.
    np.testing.assert_allclose(upright, view_upright, atol=0.12)
    assert np.abs(images - views).max() > 0.3
    carried = encoder.pose.carried(posterior, transformation)
    difference = np.abs(carried.mean() - view_posterior.mean())
    assert difference[:, 3:].max() < 0.01  # The pose.
    assert difference[:, :3].max() < 0.15  # The content, which sees the blur.
    assert np.abs(posterior.mean() - view_posterior.mean()).max() > 0.5


@pytest.mark.parametrize(("fill", "outside"), [("constant", poses.OUTSIDE_LOGIT), ("reflect", None)])
def test_the_networks_are_the_given_ones_around_a_resampling_with_the_fill_of_the_moves(fill, outside):
    encoder, decoder, content_encoder, content_decoder, _ = moved_networks(fill)
    images = smooth_images(6)
    mean, log_variance = encoder(images)
    expected = content_encoder(encoder.pose.upright(images, mean))
    np.testing.assert_allclose(mean[:, :3], expected[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(mean[:, 3:], KnownPose()(images)[0], atol=0.02)
    np.testing.assert_allclose(log_variance[:, :3], expected[1], rtol=1e-4, atol=1e-5)
    latents = 8.0 * mean
    logits = resample(content_decoder(latents[:, :3]), encoder.pose.of_mean(latents), outside)
    np.testing.assert_allclose(decoder(latents), logits, rtol=1e-5, atol=1e-6)


def test_further_steps_compose_what_they_find_and_resample_the_image_as_it_came():
    """A network that finds half of the pose has found 1 - 2^-n of it after n steps.

    Outside training there are three times as many steps as in it.
    """

    class HalfPose(KnownPose):
        def call(self, images, training=False):
            return tuple(0.5 * part for part in super().call(images))

    whole = KnownPose()(smooth_images(8))[0]
    pose = Pose.of(RandomAffine(1.0, 0.0, 0.0))
    for steps, training in ((1, True), (1, False), (3, True), (2, False)):
        registration = Registration(HalfPose(), pose, steps)
        mean, _, upright = registration(smooth_images(8), training=training)
        taken = steps if training else 3 * steps
        np.testing.assert_allclose(mean, (1.0 - 0.5**taken) * whole, atol=0.01)
        moved = resample(smooth_images(8), inverse(pose.transformation(mean)))
        np.testing.assert_allclose(upright, moved, atol=1e-5)


@pytest.mark.parametrize("outer", [False, True])
def test_xla_compiles_a_resampling_by_itself_only_outside_of_what_it_compiles(outer):
    """TensorFlow would compile a step that XLA compiles anew each time if it held such a function."""

    def step(images):
        latents, _ = encoder(images, training=True)
        return decoder(latents), encoder(images)

    encoder, decoder = registered_pair()
    traced = tf.function(step, jit_compile=outer).get_concrete_function(smooth_images(2))
    definition = "".join(str(traced.graph.as_graph_def()).split())
    assert ('"_XlaMustCompile"value{b:true}' in definition) != outer


def test_keras_fits_registered_networks_on_triples():
    model = crvae_tf.CRVAE(crvae_tf.VAE(*registered_pair()), eta=1.0)
    images, transformation = smooth_images(32), drawn(32)
    triples = images, MOVES.augment_images(images, transformation), transformation
    model.compile(optimizer=keras.optimizers.Adam(1e-2))
    data = tf.data.Dataset.from_tensor_slices(triples).batch(16).repeat(20)
    pose_network = next(layer for layer in model.base.encoder.layers if "registration" in layer.name)
    before = pose_network.get_weights()
    history = model.fit(data, epochs=2, validation_data=data.take(2), verbose=0).history
    assert history["loss"][1] < history["loss"][0] - 1.0
    assert history["val_consistency"][1] > 0.0
    for initial, learned in zip(before, pose_network.get_weights(), strict=True):
        assert not np.array_equal(initial, learned)


def test_consistency_is_of_the_carried_posterior_and_no_image_may_lack_its_transformation():
    model = crvae_tf.CRVAE(crvae_tf.VAE(*registered_pair()))
    images, transformation = smooth_images(6), drawn(6)
    views = MOVES.augment_images(images, transformation)
    found = model.terms((images, views, transformation), KEY, training=False)["consistency"]
    carried = model.pose.carried(model.posterior(images), transformation)
    expected = tfd.kl_divergence(carried, model.posterior(views))
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    with pytest.raises(crvae_tf.InputError, match="data: expected triples"):
        model.terms((images, views), KEY, training=False)


def test_at_the_start_images_are_upright_as_they_come():
    encoder, _ = registered_pair()
    images = smooth_images(4)
    mean, _ = encoder(images)
    np.testing.assert_array_equal(mean[:, 3:], np.zeros([4, 4]))
    np.testing.assert_allclose(encoder.pose.upright(images, mean), images, atol=1e-6)


def test_a_pose_network_finds_the_same_in_training_and_outside_it():
    network = poses.network("wae", SHAPE, POSE, width=0.05)
    network.get_layer("mean").kernel.assign(tf.ones_like(network.get_layer("mean").kernel))
    images = smooth_images(8)
    for one, other in zip(network(images, training=True), network(images), strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_cannot_be_registered_is_refused():
    encoder, decoder = networks.build("mlp", SHAPE, 3, 0.1)
    other_encoder, other_decoder = networks.build("mlp", SHAPE, 9, 0.1)
    for given, refusal in (
        ((encoder, other_decoder, MOVES), r"encoder: .* of size 9; received \[\[3\], \[3\]\]"),
        ((encoder, decoder, MOVES, 1, other_encoder), r"pose_network: .* of size 4; received \[\[9\]"),
        ((encoder, decoder, MOVES, 0), "steps: expected 1 or more; received 0"),
        ((encoder, decoder, RandomAffine(0.0, 0.0, 0.0)), "transformation: .* that moves images"),
        ((keras.Sequential(), decoder, MOVES), "encoder: expected a functional model"),
        ((encoder, keras.Model(), MOVES), "decoder: expected a functional model"),
    ):
        with pytest.raises(crvae_tf.InputError, match=refusal):
            register(*given)


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """A registered model, and the folder with its exported encoder."""
    model = crvae_tf.VAE(*registered_pair())
    kernel = model.encoder.get_layer("registration").network.get_layer("mean").kernel
    kernel.assign(0.3 * tf.random.stateless_normal(kernel.shape, KEY))
    folder = tmp_path_factory.mktemp("served") / "encoder"
    crvae_tf.export_encoder(model, folder, Preprocessing(12, 1), "none")
    return model, folder


def test_the_served_encoder_gives_content_pose_and_upright_images(served):
    model, folder = served
    images = smooth_images(5)
    mean = model.posterior(images).mean()
    found = tf.saved_model.load(str(folder)).signatures["serving_default"](images=images)
    assert set(found) == {"mean", "stddev", "content", "pose", "upright"}
    np.testing.assert_array_equal(crvae_tf.load_encoder(folder).upright(images), found["upright"])
    np.testing.assert_allclose(found["content"], mean[:, :3], rtol=1e-4, atol=1e-5)
    pose = tf.stack(model.pose.of_mean(mean), axis=1)
    np.testing.assert_allclose(found["pose"], pose, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(found["upright"], model.pose.upright(images, mean), atol=1e-4)
    assert np.abs(pose - [0.0, 0.0, 0.0, 1.0]).max() > 0.1


def test_the_exported_decoder_needs_no_xla_and_decodes_as_the_model(served, tmp_path):
    model, _ = served
    crvae_tf.export_decoder(model, tmp_path / "decoder")
    decoder = tf.saved_model.load(str(tmp_path / "decoder")).signatures["serving_default"]
    assert b"_XlaMustCompile" not in (tmp_path / "decoder" / "saved_model.pb").read_bytes()
    latents = tf.random.stateless_normal([4, 7], KEY)
    expected = model.likelihood(latents).mean()
    np.testing.assert_allclose(decoder(latents=latents)["images"], expected, atol=1e-5)


def test_embeddings_hold_content_and_pose_and_a_search_is_by_content(served, tmp_path):
    encoder = crvae_tf.load_encoder(served[1])
    pixels = np.uint8(255.0 * smooth_images(7))
    images = ArrayImages(pixels)
    embed(encoder, images, tmp_path, rows_per_file=4)
    tables = [read(Index(tmp_path).file(number)) for number in range(2)]
    expected = encoder(np.float32(pixels / np.float32(255.0)))
    for name in ("content", "pose"):
        found = np.concatenate([vectors(table[name]) for table in tables])
        np.testing.assert_allclose(found, getattr(expected, name), rtol=1e-4, atol=1e-4)
    searched = np.concatenate([contents for _, contents in Index(tmp_path).parts()])
    np.testing.assert_allclose(searched, expected.content, rtol=1e-4, atol=1e-4)


def test_registered_networks_that_keras_saved_are_the_same_networks(served, tmp_path):
    (model, _), images = served, smooth_images(3)
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.pose == model.pose
    np.testing.assert_array_equal(loaded.predict(images, verbose=0), model.predict(images, verbose=0))


def test_tflite_has_what_the_served_encoder_gives(served, tmp_path):
    (model, folder), images = served, smooth_images(3).numpy()
    with pytest.raises(crvae_tf.InputError, match="expected an encoder exported with portable=True"):
        export.convert(folder, tmp_path / "encoder.tflite")
    crvae_tf.export_encoder(model, tmp_path / "encoder", Preprocessing(12, 1), "none", portable=True)
    export.convert(tmp_path / "encoder", tmp_path / "encoder.tflite")
    run = tf.lite.Interpreter(str(tmp_path / "encoder.tflite")).get_signature_runner()
    found = run(images=images)
    expected = tf.saved_model.load(str(folder)).signatures["serving_default"](images=images)
    for name in ("content", "pose", "upright"):
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-3, atol=1e-4, err_msg=name)
