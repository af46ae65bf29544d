"""launch.embed and launch.search as they are typed, and the example that calls them."""

import json
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pyarrow.parquet as pq
import pytest

import crvae_tf
from crvae_tf import networks
from crvae_tf.datasets import Preprocessing
from launch import embed, encoder_options, search
from launch.encoder_options import EmbedOptions
from tests.command_line import outcome_of
from tests.conftest import ROOT
from tests.image_files import encoded

SHRUNK = "--epochs=1 --width=0.1 --nll_samples=5 --eval_images=40"


def launch(name, *arguments, **options):
    command = [sys.executable, "-m", f"launch.{name}", *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False, **options)


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        (
            "embed",
            [],
            "error: --encoder must be the folder of an exported encoder, RUN/encoder; received none\n",
        ),
        (
            "embed",
            ["--encoder=x", "--shard_count=0"],
            "--shard_count must be an integer >= 1; received 0",
        ),
        ("embed", ["--encoder=x", "--epochs=3"], "--epochs must be a flag that --help lists"),
        (
            "embed",
            ["--encoder=\udcff"],
            "--encoder must be a folder whose name is UTF-8 and has none of [ ] * ? \\ ://; "
            "received \\udcff",
        ),
        ("search", ["--index=x"], "--image must be an image file; received none"),
    ],
)
def test_a_mistake_on_the_command_line_is_answered_in_one_line(name, arguments, message):
    answer = launch(name, *arguments)
    assert answer.returncode != 0
    assert message in answer.stderr
    assert answer.stderr.count("\n") == 1
    assert answer.stdout == ""


def test_embeddings_are_not_put_among_the_images(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = ["--encoder=x", "--input=folder:.", "--output=tests/embeddings"]
    answer = outcome_of(embed.main, encoder_options.define_embed, *given)
    assert answer[:3] == (
        1,
        "",
        "error: --output must be a folder outside the images of folder:.; received tests/embeddings\n",
    )


def test_a_contact_sheet_is_not_put_among_the_images(tmp_path):
    (tmp_path / "images").mkdir()
    about = {"num_rows": 1, "rows_per_file": 1, "format": "npz", "latent_dim": 2, "key": "file"}
    about |= {"input": f"folder:{tmp_path}/images", "encoder_fingerprint": "", "input_fingerprint": ""}
    (tmp_path / "_embedding.json").write_text(json.dumps(about))
    output = tmp_path / "images" / "nearest.png"
    given = [f"--index={tmp_path}", "--image=x.png", f"--output={output}"]
    answer = outcome_of(search.main, encoder_options.define_search, *given)
    assert answer.code == 1
    expected = f"a folder outside the images of folder:{tmp_path}/images"
    assert answer.err == f"error: --output must be {expected}; received {output}\n"


@pytest.mark.parametrize(
    ("given", "kept"), [("tf", "/somewhere/tf"), ("gs://bucket/tf", "gs://bucket/tf"), (None, None)]
)
def test_a_search_from_another_folder_finds_what_was_embedded(monkeypatch, given, kept):
    monkeypatch.setattr(os, "getcwd", lambda: "/somewhere")
    chosen = EmbedOptions("run/encoder", "mnist", "out", given, None, "npz", None, 0, 1, False)
    assert chosen.places == {"encoder": "/somewhere/run/encoder", "data_dir": kept, "split": None}


def test_help_lists_the_flags_of_the_command_and_no_others():
    answer = launch("embed", "--help")
    assert answer.returncode == 0
    for flag in ("encoder", "input", "output", "split", "data_dir", "shard_index", "projector"):
        assert re.search(rf"--(\[no\])?{flag}:", answer.stdout)
    assert "--epochs" not in answer.stdout


@pytest.mark.slow
def test_killed_five_times_the_command_ends_with_every_row_once(tmp_path):
    pair = networks.build("mlp", (28, 28, 1), 4, width=0.05)
    preprocessing = Preprocessing(28, 1)
    crvae_tf.export_encoder(crvae_tf.VAE(*pair), tmp_path / "encoder", preprocessing, "dynamic")
    images = np.random.default_rng(0).integers(0, 256, (40_000, 28, 28), np.uint8)
    np.save(tmp_path / "images.npy", images)
    arguments = [
        f"--encoder={tmp_path / 'encoder'}",
        f"--input={tmp_path / 'images.npy'}",
        f"--output={tmp_path / 'embeddings'}",
        "--rows_per_file=50",
    ]
    for _ in range(5):
        command = [sys.executable, "-m", "launch.embed", *arguments]
        process = subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        made = len(list(tmp_path.glob("embeddings/part-*")))
        while process.poll() is None and len(list(tmp_path.glob("embeddings/part-*"))) <= made:
            time.sleep(0.005)
        time.sleep(random.uniform(0.0, 0.2))
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert len(list(tmp_path.glob("embeddings/part-*"))) < 800
    answer = launch("embed", *arguments)
    assert answer.returncode == 0, answer.stderr
    table = pq.read_table(tmp_path / "embeddings")
    assert table["index"].to_pylist() == list(range(40_000))


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
        ["bash", "examples/embed_a_folder.sh", folder, image, tmp_path / "output"],
        env=os.environ | {"TRAINING_FLAGS": SHRUNK, "PATH": path},
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert "3/torn.png" in answer.stderr
    assert "1 files are left out" in answer.stdout
    table = pq.read_table(tmp_path / "output" / "embeddings")
    assert table.num_rows == 400
    assert set(table["label"].to_pylist()) == set("0123456789")
    assert f"7/{image.name}" in answer.stdout
    assert (tmp_path / "output" / "nearest.png").read_bytes().startswith(b"\x89PNG")
    assert answer.returncode == 0, answer.stderr
    assert "</html>" in (tmp_path / "output" / "report.html").read_text(encoding="utf-8")
