"""launch.embed and launch.search as they are typed, and the example that calls them."""

import json
import os
import pathlib
import subprocess
import sys

import pyarrow.parquet as pq
import pytest

from launch import command, embed, search
from tests.command_line import defined, outcome_of
from tests.conftest import ROOT
from tests.image_files import encoded

SHRUNK = "--epochs=1 --width=0.1 --nll_samples=5 --eval_images=40"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("", "--encoder must be the folder of an exported encoder, RUN/encoder; received none"),
        (
            "--encoder=nowhere --input=digits --output=x",
            "--encoder must be the folder of an exported encoder, RUN/encoder; received nowhere, ",
        ),
        (
            "--encoder=x --input=folder:. --output=tests/embeddings",
            "--output must be a folder outside the images of folder:.; received tests/embeddings",
        ),
    ],
)
def test_a_mistake_is_answered_in_one_line(arguments, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    answer = outcome_of(embed.main, embed.define, *arguments.split())
    assert (answer.code, answer.out, answer.err.count("\n")) == (1, "", 1)
    assert answer.err.startswith(f"error: {message}")
    assert not list(tmp_path.iterdir())


def test_a_contact_sheet_is_not_put_among_the_images(tmp_path):
    about = {"num_rows": 1, "rows_per_file": 1, "key": "file", "input": f"folder:{tmp_path}"}
    (tmp_path / "_embedding.json").write_text(json.dumps(about))
    given = [f"--index={tmp_path}", "--image=x.png", f"--output={tmp_path}/nearest.png"]
    answer = outcome_of(search.main, search.define, *given)
    expected = f"a folder outside the images of folder:{tmp_path}"
    assert answer.err == f"error: --output must be {expected}; received {tmp_path}/nearest.png\n"


@pytest.mark.parametrize(("given", "kept"), [("tf", "/somewhere/tf"), ("gs://b/tf", "gs://b/tf")])
def test_a_search_from_another_folder_finds_what_was_embedded(monkeypatch, given, kept):
    monkeypatch.setattr(os, "getcwd", lambda: "/somewhere")
    with defined(embed.define):
        places = "--encoder=run/encoder", "--input=digits", "--output=o", f"--data_dir={given}"
        command.parse(["embed", *places])
        received = embed.places()
    assert received == {"encoder": "/somewhere/run/encoder", "data_dir": kept, "split": None}


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_example_goes_from_a_folder_to_the_nearest_images(tmp_path, digits):
    folder = tmp_path / "digits"
    for indices, images, labels in digits.train.sample(400).batches(400).as_numpy_iterator():
        for index, image, label in zip(indices, images, labels, strict=True):
            (folder / str(label)).mkdir(parents=True, exist_ok=True)
            (folder / str(label) / f"{index}.png").write_bytes(encoded(image[..., 0], "PNG"))
    (folder / "3" / "torn.png").write_bytes(b"no image")
    image = sorted((folder / "7").iterdir())[0]
    path = f"{pathlib.Path(sys.executable).parent}:{os.environ['PATH']}"
    answer = subprocess.run(
        ["bash", "docs/examples/embed_a_folder.sh", folder, image, tmp_path / "output"],
        env=os.environ | {"TRAINING_FLAGS": SHRUNK, "PATH": path},
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert "3/torn.png" in answer.stderr
    assert "left out: 1 of the files" in answer.stdout
    table = pq.read_table(tmp_path / "output" / "embeddings")
    assert table.num_rows == 400
    assert set(table["label"].to_pylist()) == set("0123456789")
    assert f"7/{image.name}" in answer.stdout
    assert (tmp_path / "output" / "nearest.png").read_bytes().startswith(b"\x89PNG")
    assert answer.returncode == 0, answer.stderr
    assert "</html>" in (tmp_path / "output" / "report.html").read_text(encoding="utf-8")
