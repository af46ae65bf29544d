"""Pictures, read back and looked at by their pixels."""

import matplotlib.colors
import numpy as np
import pytest
import scipy.ndimage
import tensorflow as tf

from crvae_tf import drawing

RED, BLUE, ORANGE = "tab:red", "tab:blue", "tab:orange"


def read(path):
    """The picture as uint8 `[height, width, 3]`."""
    return tf.io.decode_png(path.read_bytes(), channels=3).numpy()


def has_colour(picture, colour):
    """Where a picture has just this colour."""
    rgb = np.round(255.0 * np.array(matplotlib.colors.to_rgb(colour)))
    return (np.abs(picture - rgb) <= 2.0).all(axis=-1)


def number_of_spots(picture, colour):
    """Connected regions of a colour, without the few pixels that antialiasing leaves of a line."""
    regions, number = scipy.ndimage.label(has_colour(picture, colour))
    return int((np.bincount(regions.ravel(), minlength=number + 1)[1:] >= 8).sum())


def centres_of_spots(picture, colour):
    """Of each such region (row, column)."""
    regions, number = scipy.ndimage.label(has_colour(picture, colour))
    sizes = np.bincount(regions.ravel(), minlength=number + 1)[1:]
    places = np.flatnonzero(sizes >= 8) + 1
    return np.array(scipy.ndimage.center_of_mass(regions > 0, regions, places))


def test_tiles_stand_in_the_order_of_the_rows():
    images = np.arange(24.0).reshape(6, 2, 2, 1)
    expected = np.array(
        [
            [0, 1, 4, 5, 8, 9],
            [2, 3, 6, 7, 10, 11],
            [12, 13, 16, 17, 20, 21],
            [14, 15, 18, 19, 22, 23],
        ]
    )
    np.testing.assert_array_equal(drawing.tiled([images[:3], images[3:]])[..., 0], expected)


@pytest.mark.parametrize("number", [3, 5])
def test_the_latent_plane_shows_each_image_in_red_and_each_view_in_blue(tmp_path, number):
    turn = np.linspace(0.0, 2.0 * np.pi, number, endpoint=False)
    means = np.stack([np.cos(turn), np.sin(turn), 0.0 * turn], axis=1)
    drawing.latent_planes(tmp_path / "plane.png", {"": (means, 0.5 * means)})
    picture = read(tmp_path / "plane.png")
    # One more of each colour stands in the legend.
    assert number_of_spots(picture, RED) == number + 1
    assert number_of_spots(picture, BLUE) == number + 1


def test_the_latent_plane_lies_along_the_first_two_principal_components(tmp_path):
    """Of three axes the last two carry the distances; the first has only a little noise."""
    means = np.array([[0.01, -50.0, 0.0], [0.0, 50.0, 0.0], [0.01, 0.0, 20.0], [0.0, 0.0, -20.0]])
    views = means + np.array([0.0, 0.0, 0.01])
    drawing.latent_planes(tmp_path / "plane.png", {"": (means, views)})
    spots = centres_of_spots(read(tmp_path / "plane.png"), BLUE)
    in_legend = np.argmin(spots[:, 0])
    rows, columns = np.delete(spots, in_legend, axis=0).T
    left, right = np.argmin(columns), np.argmax(columns)
    low, high = np.argmin(rows), np.argmax(rows)
    assert {left, right, low, high} == {0, 1, 2, 3}
    assert rows[left] == pytest.approx(rows[right], abs=5.0)
    assert columns[low] == pytest.approx(columns[high], abs=5.0)


def test_one_latent_dimension_is_drawn_on_a_line(tmp_path):
    means = np.array([[0.0], [1.0], [2.0], [3.0]])
    drawing.latent_planes(tmp_path / "plane.png", {"": (means, means + 0.5)})
    spots = centres_of_spots(read(tmp_path / "plane.png"), RED)
    rows, counts = np.unique(np.round(spots[:, 0] / 4.0), return_counts=True)
    assert counts.max() == 4
    assert len(rows) == 2  # The other is the legend's.


def test_a_grid_shows_the_images_row_after_row(tmp_path):
    grays = np.array([0.2, 0.35, 0.5, 0.65, 0.8, 0.9])
    images = np.broadcast_to(grays[:, None, None, None], (6, 8, 8, 1))
    drawing.image_grid(tmp_path / "grid.png", images, columns=3)
    picture = read(tmp_path / "grid.png")
    rows, columns = np.nonzero((picture < 250).all(axis=-1))
    top, left = rows.min(), columns.min()
    height, width = (rows.max() + 1 - top) / 2, (columns.max() + 1 - left) / 3
    for place, gray in enumerate(grays):
        row, column = top + (place // 3 + 0.5) * height, left + (place % 3 + 0.5) * width
        assert picture[int(row), int(column)] == pytest.approx(255.0 * gray, abs=1.5)


def test_colours_are_shown_as_they_are_and_values_beyond_one_as_one(tmp_path):
    images = np.zeros((2, 8, 8, 3), np.float32)
    images[0, ..., 0], images[1, ..., 2] = 1.0, 7.0
    drawing.image_grid(tmp_path / "grid.png", images, columns=2)
    picture = read(tmp_path / "grid.png")
    red, blue = has_colour(picture, (1.0, 0.0, 0.0)), has_colour(picture, (0.0, 0.0, 1.0))
    assert red.sum() == pytest.approx(blue.sum(), rel=0.1)
    assert red.sum() > 1000
    assert np.nonzero(red)[1].max() <= np.nonzero(blue)[1].min()


def test_rows_of_images_stand_below_each_other_in_their_order(tmp_path):
    black, gray = np.zeros((4, 8, 8, 1)), np.full((4, 8, 8, 1), 0.5)
    drawing.image_rows(tmp_path / "rows.png", {"first": black, "second": gray})
    picture = read(tmp_path / "rows.png")
    middle = picture.shape[1] // 2
    black_rows = np.flatnonzero((picture[:, middle] == 0).all(axis=-1))
    gray_rows = np.flatnonzero((np.abs(picture[:, middle].astype(int) - 128) <= 1).all(axis=-1))
    assert len(black_rows) > 20
    assert len(gray_rows) > 20
    assert black_rows.max() < gray_rows.min()


def test_a_contact_sheet_shows_each_picture_and_leaves_a_blank_for_one_that_is_gone(tmp_path):
    black = np.zeros((9, 9, 1), np.uint8)
    red, blue = np.zeros((2, 30, 20, 3), np.uint8)
    red[..., 0] = blue[..., 2] = 255
    captions = ["black", "red", "gone", "blue"]
    drawing.contact_sheet(tmp_path / "sheet.png", [black, red, None, blue], captions, columns=2)
    picture = read(tmp_path / "sheet.png")
    colours = {"red": (1.0, 0.0, 0.0), "blue": (0.0, 0.0, 1.0)}
    centre = {
        name: np.argwhere(has_colour(picture, colour)).mean(axis=0) for name, colour in colours.items()
    }
    height, width = picture.shape[:2]
    assert (centre["red"] < (height / 2, width)).all()
    assert centre["red"][1] > width / 2
    assert (centre["blue"] > (height / 2, width / 2)).all()
    gone = picture[height // 2 + 40 :, : width // 2 - 10]
    assert (gone == 255).all()
    assert (picture[: height // 2, : width // 2] == 0).all(axis=-1).sum() > 1000


@pytest.mark.parametrize("validated", [False, True])
def test_each_term_has_a_panel_and_its_validation_a_second_line(tmp_path, validated):
    lines = []
    for epoch in (1, 2, 3):
        line = {"epoch": epoch, "loss": 3.0 / epoch, "rate": float(epoch)}
        if validated:
            line |= {"val_loss": 4.0 / epoch, "val_rate": 2.0 * epoch}
        lines.append(line | {"seconds": 1.0, "images_per_second": 10.0})
    drawing.training_curves(tmp_path / "curves.png", lines)
    picture = read(tmp_path / "curves.png")
    left, right = np.array_split(picture, 2, axis=1)
    for panel in (left, right):
        assert has_colour(panel, BLUE).sum() > 100
        assert (has_colour(panel, ORANGE).sum() > 100) == validated
    assert picture.shape[1] == 2 * 3 * 150  # Timings have no panel.


def test_a_picture_that_cannot_be_drawn_leaves_the_old_one(tmp_path):
    path = tmp_path / "grid.png"
    drawing.image_grid(path, np.zeros((2, 4, 4, 1)), 2)
    before = path.read_bytes()
    with pytest.raises(ValueError):  # noqa: PT011
        drawing.image_grid(path, np.zeros((5, 4, 4, 1)), 2)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["grid.png"]


def test_a_run_whose_log_was_lost_has_no_training_curves(tmp_path):
    drawing.training_curves(tmp_path / "curves.png", [])
    assert not (tmp_path / "curves.png").exists()
