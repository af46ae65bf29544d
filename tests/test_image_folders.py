"""Folders of image files as data sets: which files, which split, what is broken."""

import logging
import os
import shutil

import numpy as np
import pytest
import tensorflow as tf

from crvae_tf import InputError, datasets
from crvae_tf.datasets import Preprocessing, folders
from tests.image_files import blocks, encoded

PREPROCESSING = Preprocessing(8, 3)


def fill(folder, number, prefix=""):
    """Writes `number` small images of different colours."""
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(number):
        (folder / f"{prefix}{index:03d}.png").write_bytes(encoded(blocks(index, 3, side=2), "PNG"))


def pixels_of(split):
    return np.concatenate([images for _, images, _ in split.batches(7).as_numpy_iterator()])


@pytest.fixture
def classes(tmp_path):
    """Sixty images of two classes."""
    for name in ("cat", "dog"):
        fill(tmp_path / name, 30, prefix=name)
    return tmp_path


def test_a_folder_kept_in_memory_gives_what_one_read_from_disk_gives(classes):
    kept = folders.splits(str(classes), PREPROCESSING, 5)
    read = folders.splits(str(classes), PREPROCESSING, 5, memory_limit=0)
    for in_memory, on_disk in zip(kept[:3], read[:3], strict=True):
        np.testing.assert_array_equal(pixels_of(in_memory), pixels_of(on_disk))
        assert in_memory.has_labels
        assert on_disk.has_labels
    assert kept[3] == read[3]


def test_over_the_memory_limit_images_are_read_when_they_are_needed(classes):
    read, *_ = folders.splits(str(classes), PREPROCESSING, 0, memory_limit=0)
    shutil.rmtree(classes)
    with pytest.raises(tf.errors.NotFoundError):
        pixels_of(read)


def test_more_files_change_the_split_of_none(classes):
    def test_names(names):
        return {name for name in names if folders._hash_fraction(name) < 0.1}

    before = folders.image_names(str(classes))
    fill(classes / "dog", 90, prefix="more")
    after = folders.image_names(str(classes))
    assert test_names(before) == test_names(after) & set(before)
    assert datasets.load(f"folder:{classes}").test.num_images == len(test_names(after))


def test_broken_files_are_left_out_by_name_and_counted(classes, caplog):
    fill(classes / "cat", 150, prefix="more")
    (classes / "cat" / "torn.png").write_bytes(encoded(blocks(0, 3), "PNG")[:40])
    (classes / "dog" / "empty.jpg").write_bytes(b"")
    with caplog.at_level(logging.WARNING):
        train, _, test, _ = folders.splits(str(classes), PREPROCESSING, 0)
    assert train.num_images + test.num_images == 210
    assert "cat/torn.png: Invalid PNG" in caplog.text
    assert "dog/empty.jpg: Input is empty." in caplog.text
    assert "2 of 212 files are left out" in caplog.text


def test_more_than_one_broken_file_in_a_hundred_stops_the_run(classes):
    (classes / "cat" / "torn.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"at most 1% broken files; received 1 of 61.*cat/torn.png"):
        folders.splits(str(classes), PREPROCESSING, 0)


def test_a_file_changed_in_place_changes_the_fingerprint(classes):
    file = classes / "cat" / "cat000.png"
    before = folders.splits(str(classes), PREPROCESSING, 0)[3]
    assert folders.splits(str(classes), PREPROCESSING, 0)[3] == before
    file.write_bytes(encoded(blocks(99, 3, side=2), "PNG"))
    assert folders.splits(str(classes), PREPROCESSING, 0)[3] != before


def test_labels_are_the_folders_in_the_order_of_their_names(classes):
    train, *_ = folders.splits(str(classes), PREPROCESSING, 0)
    labels = np.concatenate([labels for *_, labels in train.batches(9).as_numpy_iterator()])
    names = [n for n in folders.image_names(str(classes)) if folders._hash_fraction(n) >= 0.1]
    assert labels.tolist() == [int(name.startswith("dog")) for name in names]


def test_images_beside_the_folders_leave_none_with_a_class(classes):
    fill(classes, 1)
    assert folders.class_names(folders.image_names(str(classes))) is None


def test_strange_names_are_read_and_shown_on_one_line(tmp_path):
    fill(tmp_path, 30)
    data = encoded(np.full((8, 8, 3), 9, np.uint8), "PNG")
    strange = [
        b"two\nlines.png",
        rb"two\x0alines.png",
        b"caf\xe9.png",
        "schön 猫.PNG".encode(),
        b"-- $(x) 'q'.png",
    ]
    for name in strange:
        with open(os.path.join(os.fsencode(tmp_path), name), "wb") as file:
            file.write(data)
    names = folders.image_names(str(tmp_path))
    assert set(strange) <= {os.fsencode(name) for name in names}
    train, _, test, _ = folders.splits(str(tmp_path), PREPROCESSING, 0, memory_limit=0)
    nines = [(pixels_of(split) == 9).all(axis=(1, 2, 3)).sum() for split in (train, test)]
    assert sum(nines) == len(strange)
    shown = [folders.printable(os.fsdecode(name)) for name in strange[:4]]
    assert shown == [r"two\x0alines.png", r"two\x5cx0alines.png", r"caf\xe9.png", "schön 猫.PNG"]
    for name in names:
        picture = folders.listed_picture(str(tmp_path), folders.printable(name))
        np.testing.assert_array_equal(picture, folders.picture(os.fsencode(tmp_path / name)))


def test_links_are_followed_once_and_loops_end(classes):
    outside = classes.parent / f"{classes.name}_outside"
    fill(outside, 3)
    (classes / "linked").symlink_to(outside)
    (classes / "dog" / "loop").symlink_to(classes)
    (classes / "cat" / "again").symlink_to(outside)
    (outside / "back").symlink_to(classes / "dog")
    (classes / "itself").symlink_to("itself")
    names = folders.image_names(str(classes))
    assert len(names) == 60 + 3
    assert len({os.path.realpath(classes / name) for name in names}) == len(names)


def test_hidden_files_and_what_is_no_file_are_left_out(classes):
    fill(classes / ".thumbnails", 2)
    (classes / "cat" / "._cat000.png").write_bytes(b"of another system")
    (classes / "cat" / "folder.png").mkdir()
    (classes / "cat" / "notes.txt").write_text("no image")
    os.mkfifo(classes / "cat" / "pipe.png")
    assert len(folders.image_names(str(classes))) == 60


def test_a_link_to_nothing_is_a_broken_file(classes):
    fill(classes / "cat", 150, prefix="more")
    (classes / "cat" / "gone.png").symlink_to("nothing")
    train, _, test, _ = folders.splits(str(classes), PREPROCESSING, 0)
    assert train.num_images + test.num_images == 210
