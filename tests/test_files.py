"""A file or a folder is there whole or not at all."""

import json
import math
import os

import pytest

from crvae_tf.errors import InputError, NotFiniteError
from crvae_tf.runs import files


def contents(folder):
    """All that lies below a folder, hidden files too."""
    return {
        str(path.relative_to(folder)): path.read_text() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


def test_a_file_is_written_with_the_folders_above_it(tmp_path):
    files.write_text(tmp_path / "a" / "b" / "note.txt", "ä\n")
    assert contents(tmp_path) == {"a": None, "a/b": None, "a/b/note.txt": "ä\n"}
    assert (tmp_path / "a" / "b" / "note.txt").read_bytes() == "ä\n".encode()


def test_a_byte_of_a_name_that_is_no_utf_8_is_written_as_its_number(tmp_path):
    files.write_text(tmp_path / "note.txt", "caf\udce9 é")
    assert (tmp_path / "note.txt").read_bytes() == "caf\\udce9 é".encode()


@pytest.mark.parametrize("held", [{}, {"note.txt": "old"}])
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_file_whose_writing_fails_leaves_only_what_was_there(tmp_path, held, error):
    for name, text in held.items():
        (tmp_path / name).write_text(text)

    def write():
        with files.whole_file(tmp_path / "note.txt") as unfinished:
            unfinished.write_text("half of the te")
            raise error

    with pytest.raises(error):
        write()
    assert contents(tmp_path) == held


def test_json_is_read_back_as_it_was(tmp_path):
    value = {"a": [1, 2.5, None, True], "text": "x"}
    files.write_json(tmp_path / "value.json", value)
    assert files.read_json(tmp_path / "value.json") == value
    assert (tmp_path / "value.json").read_text().endswith("}\n")


def test_a_file_that_was_never_written_is_an_error_and_keeps_the_old_one(tmp_path):
    (tmp_path / "note.txt").write_text("old")
    with pytest.raises(FileNotFoundError), files.whole_file(tmp_path / "note.txt"):
        pass
    assert contents(tmp_path) == {"note.txt": "old"}


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_json_with_a_number_that_json_does_not_have_is_refused_and_the_old_file_kept(tmp_path, number):
    files.write_json(tmp_path / "value.json", {"nll": 1.0})
    with pytest.raises(NotFiniteError, match=r"value.json: expected finite figures; received NaN or"):
        files.write_json(tmp_path / "value.json", {"nll": number})
    assert json.loads((tmp_path / "value.json").read_text()) == {"nll": 1.0}
    assert os.listdir(tmp_path) == ["value.json"]


def test_a_folder_is_there_with_all_its_files(tmp_path):
    with files.whole_folder(tmp_path / "out" / "encoder") as folder:
        (folder / "a.txt").write_text("a")
        (folder / "sub").mkdir()
        (folder / "sub" / "b.txt").write_text("b")
        assert not (tmp_path / "out" / "encoder").exists()
    assert contents(tmp_path / "out") == {
        "encoder": None,
        "encoder/a.txt": "a",
        "encoder/sub": None,
        "encoder/sub/b.txt": "b",
    }


def test_a_folder_replaces_the_old_one_with_nothing_of_it_left(tmp_path):
    for name in ("old.txt", "new.txt"):
        with files.whole_folder(tmp_path / "encoder") as folder:
            (folder / name).write_text(name)
    assert contents(tmp_path) == {"encoder": None, "encoder/new.txt": "new.txt"}


@pytest.mark.parametrize("held", [False, True])
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_folder_whose_writing_fails_leaves_only_what_was_there(tmp_path, held, error):
    if held:
        (tmp_path / "encoder").mkdir()
        (tmp_path / "encoder" / "old.txt").write_text("old")
    before = contents(tmp_path)

    def write():
        with files.whole_folder(tmp_path / "encoder") as folder:
            (folder / "new.txt").write_text("new")
            raise error

    with pytest.raises(error):
        write()
    assert contents(tmp_path) == before


def test_no_folder_is_made_anew_where_that_is_not_wanted(tmp_path):
    gone = tmp_path / "gone" / "part"
    with pytest.raises(FileNotFoundError), files.whole_file(gone, parents=False) as unfinished:
        unfinished.write_text("text")
    assert contents(tmp_path) == {}


@pytest.mark.parametrize("lines", [False, True])
@pytest.mark.parametrize("content", [None, b"{", b"\xff"])
def test_a_missing_or_damaged_file_is_told_in_one_line(tmp_path, content, lines):
    if content is not None:
        (tmp_path / "value.json").write_bytes(content)
    with pytest.raises(InputError, match=r"value.json: expected .*JSON; received ") as error:
        files.read_json(tmp_path / "value.json", lines)
    assert "\n" not in str(error.value)
