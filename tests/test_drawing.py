"""What pictures show: by their axes, and one file by its pixels."""

import keras
import numpy as np

from crvae_tf.runs import drawing
from crvae_tf.studies import comparisons
from tests import small_training
from tests.made_up import evaluation


def test_samples_are_the_likelihoods_mean_at_draws_of_the_prior():
    model = small_training.new_model()
    drawn = drawing.samples(model, 2000, seed=0)
    assert drawn.shape == (2000, 8, 8, 1)
    z = np.random.default_rng(0).normal(size=(2000, 3)).astype(np.float32)
    expected = keras.ops.sigmoid(model.base.decoder(z)).numpy()
    # The deviation of a pixel's mean over 2,000 draws is at most 0.5 / sqrt(2000) = 0.011.
    np.testing.assert_allclose(drawn.mean(axis=0), expected.mean(axis=0), atol=0.05)


def test_the_latent_plane_lies_along_the_first_two_principal_components(drawn):
    """Of three axes the last two carry the distances; the first has only a little noise."""
    means = np.array([[0.01, -50.0, 0.0], [0.0, 50.0, 0.0], [0.01, 0.0, 20.0], [0.0, 0.0, -20.0]])
    views = means + np.array([0.0, 0.0, 3.0])
    drawing.latent_planes("plane.png", {"r$_$x": (means, views)})
    drawn[0].draw_without_rendering()  # A name is no formula.
    axes = drawn[0].axes[0]
    images, moved = (np.asarray(points.get_offsets()) for points in axes.collections)
    centred = means - (means + views).mean(axis=0) / 2.0
    np.testing.assert_allclose(np.abs(images), np.abs(centred[:, 1:]), atol=0.02)
    np.testing.assert_allclose(np.abs(moved - images), [[0.0, 3.0]] * 4, atol=0.02)
    arrows = [(arrow.xyann, arrow.xy) for arrow in axes.texts]
    np.testing.assert_array_equal(arrows, np.stack([images, moved], axis=1))


def test_rows_hold_their_images_in_order(drawn):
    images = np.random.default_rng(0).uniform(0.1, 0.9, size=(32, 2, 2, 1))
    drawing.image_rows("rows.png", {"gray": images, "bright": images * 20.0})
    gray, bright = (axes.images[0].get_array() for axes in drawn[0].axes)
    sixteen_in_a_row = images.reshape(2, 16, 2, 2).transpose(0, 2, 1, 3).reshape(4, 32, 1)
    np.testing.assert_allclose(gray, np.repeat(sixteen_in_a_row, 3, axis=-1))
    assert (bright == 1.0).all()  # Values beyond 1 are shown as 1.
    assert [axes.get_title(loc="left") for axes in drawn[0].axes] == ["gray", "bright"]
    drawing.image_rows("few.png", {"": images[:5]})
    assert drawn[1].axes[0].images[0].get_array().shape == (2, 10, 3)


def test_a_contact_sheet_shows_each_picture_and_leaves_a_blank_for_one_that_is_gone(drawn):
    black, wide = np.zeros((9, 9, 1), np.uint8), np.full((300, 600, 3), 255, np.uint8)
    drawing.contact_sheet("sheet.png", [black, None, wide], ["black", "gone", "wide $x"])
    drawn[0].draw_without_rendering()
    shown = [axes.images[0].get_array().shape if axes.images else None for axes in drawn[0].axes]
    assert shown == [(9, 9, 3), None, (300, 600, 3), None, None, None]
    assert [axes.get_title() for axes in drawn[0].axes] == ["black", "gone", "wide $x", "", "", ""]


def test_each_term_has_a_panel_and_its_validation_a_second_line(drawn):
    lines = [{"epoch": epoch, "loss": 3.0 / epoch, "rate": 1.0, "seconds": 1.0} for epoch in (1, 2, 3)]
    drawing.training_curves("curves.png", lines)
    drawing.training_curves("curves.png", [line | {"val_loss": 4.0, "val_rate": 2.0} for line in lines])
    drawing.training_curves("curves.png", [])  # Of a run whose log was lost.
    assert len(drawn) == 2
    for figure, labels in zip(drawn, (["training"], ["training", "validation"]), strict=True):
        assert [axes.get_title() for axes in figure.axes] == ["loss", "rate"]
        for axes in figure.axes:
            assert [line.get_label() for line in axes.lines] == labels


def test_the_frontier_has_a_point_for_each_setting_with_a_likelihood(drawn):
    cells = {("mnist", "cr_vae"): [evaluation(97.0), evaluation(98.0)]}
    cells["mnist", "pca"] = [{"consistency": evaluation(1.0)["consistency"]}]
    comparisons.frontier("frontier.png", comparisons.summarize("invariance", cells)["rows"])
    (points,) = drawn[0].axes[0].collections
    assert points.get_offsets().tolist() == [[97.5, 0.25]]
    assert points.get_label() == "CR-VAE"


def test_invariance_curves_are_marked_at_the_ranges_of_the_transformed_test_set(drawn):
    names = ("kl", "retrieval_at_1", "linear", "nearest_neighbours")
    points = [{"size": size} | dict.fromkeys(names, 0.5) for size in (0.0, 99.0)]
    measured = {"r$_$x": dict.fromkeys(("translation", "rotation", "scaling"), points)}
    comparisons.invariance_curves("curves.png", measured, {"rotation": 120.0, "scaling": 0.6})
    marks = [
        [line.get_xdata()[0] for line in axes.lines if line.get_linestyle() == ":"]
        for axes in drawn[0].axes
    ]
    assert marks == [[], [120.0], [0.6]] * len(names)
    drawn[0].draw_without_rendering()  # A name is no formula.
