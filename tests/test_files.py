"""A file or a folder is there whole or not at all."""

import math

import pytest

from crvae_tf.errors import InputError, NotFiniteError
from crvae_tf.runs import files


def contents(folder):
    """The files below a folder, hidden ones too."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_text() for path in found}


def test_a_file_is_written_with_the_folders_above_it_unless_they_are_not_wanted(tmp_path):
    files.write_text(tmp_path / "a" / "b" / "note.txt", "ä caf\udce9\n")  # No UTF-8 has that byte.
    assert contents(tmp_path) == {"a/b/note.txt": "ä caf\\udce9\n"}
    gone = tmp_path / "gone" / "part"
    with pytest.raises(FileNotFoundError), files.whole_file(gone, parents=False) as unfinished:
        unfinished.write_text("text")
    assert not gone.parent.exists()


def test_a_folder_is_there_with_all_its_files_and_nothing_of_the_old_one(tmp_path):
    place = tmp_path / "out" / "encoder"
    for name in ("old.txt", "new.txt"):
        with files.whole_folder(place) as folder:
            (folder / "sub").mkdir()
            (folder / "sub" / name).write_text(name)
            assert not (place / "sub" / name).exists()
    assert contents(tmp_path) == {"out/encoder/sub/new.txt": "new.txt"}


def test_a_folder_whose_place_was_moved_is_not_made_anew(tmp_path):
    run = tmp_path / "run"

    def write():
        with files.whole_folder(run / "encoder") as folder:
            run.rename(tmp_path / "moved")
            folder.mkdir(parents=True)  # As TensorFlow does.

    with pytest.raises(FileNotFoundError, match="moved"):
        write()
    assert not run.exists()


@pytest.mark.parametrize("held", [False, True])
@pytest.mark.parametrize("whole", [files.whole_file, files.whole_folder])
def test_what_cannot_be_written_leaves_only_what_was_there(tmp_path, held, whole):
    def write(text):
        with whole(tmp_path / "place") as unfinished:
            note = unfinished / "note.txt" if unfinished.is_dir() else unfinished
            note.write_text(text)
            if text == "half":
                raise KeyboardInterrupt

    if held:
        write("old")
    before = contents(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        write("half")
    assert contents(tmp_path) == before


def test_json_is_read_back_and_a_number_that_it_does_not_have_leaves_the_old_file(tmp_path):
    value = {"a": [1, 2.5, None, True], "text": "x"}
    files.write_json(tmp_path / "value.json", value)
    for number in (math.nan, math.inf, -math.inf):
        with pytest.raises(NotFiniteError, match=r"value.json: expected finite figures; "):
            files.write_json(tmp_path / "value.json", {"nll": number})
    assert files.read_json(tmp_path / "value.json") == value
    assert list(contents(tmp_path)) == ["value.json"]


@pytest.mark.parametrize("lines", [False, True])
@pytest.mark.parametrize("content", [None, b"{", b"\xff"])
def test_a_missing_or_damaged_file_is_told_in_one_line(tmp_path, content, lines):
    if content is not None:
        (tmp_path / "value.json").write_bytes(content)
    with pytest.raises(InputError, match=r"value.json: expected .*JSON; received ") as error:
        files.read_json(tmp_path / "value.json", lines)
    assert "\n" not in str(error.value)
