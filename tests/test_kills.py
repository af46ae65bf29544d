"""Commands that are killed at random moments end as commands that nobody kills."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import tensorflow as tf

from crvae_tf.runs import files
from crvae_tf.training.callbacks import found_checkpoints
from tests.conftest import ROOT
from tests.small_training import untimed

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

KILLS = 3
TINY = (
    "--dataset=digits", "--network=mlp", "--width=0.1", "--latent_dim=4", "--nll_samples=200",
    "--checkpoint_minutes=0",
)  # fmt: skip
COMMANDS = {
    "train": ("launch.train", *TINY, "--epochs=20", "--output_dir={end}"),
    "evaluate": ("launch.evaluate", "--nll_samples=400", "--output_dir={end}"),
    "reproduce": (
        "launch.reproduce", *TINY, "--table=4", "--preset=cpu", "--seeds=1", "--epochs=4",
        "--noinvariance", "--output_dir={end}",
    ),
    "embed": (
        "launch.embed", "--encoder={run}/encoder", "--input={images}", "--rows_per_file=100",
        "--output={end}",
    ),
}  # fmt: skip


def give(name: str, end: Path, seconds: float | None = None, kill=os.kill, **places: Path) -> bool:
    """Gives a command that fills `end`, kills it after some seconds, says if it ended before."""
    if name == "evaluate" and not end.exists():
        shutil.copytree(places["run"], end)
    command = [sys.executable, "-m", *(part.format(end=end, **places) for part in COMMANDS[name])]
    with open(end.with_suffix(".log"), "ab") as log:  # A session of its own is a group to kill.
        process = subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, start_new_session=True)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        kill(process.pid, signal.SIGKILL)
    code = process.wait()
    assert code in (0, -signal.SIGKILL), end.with_suffix(".log").read_text()
    return code == 0


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """A run that nothing killed, and images."""
    folder = tmp_path_factory.mktemp("places")
    images = np.random.default_rng(0).integers(0, 256, [40_000, 28, 28], np.uint8)
    np.save(folder / "images.npy", images)
    give("train", folder / "run")
    return {"run": folder / "run", "images": folder / "images.npy"}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_that_was_killed_ends_as_one_that_never_was(name, places, tmp_path):
    """With its children or alone; whenever it ends before it is killed, it begins anew."""
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    began, moment, kills = time.monotonic(), random.Random(0), 0
    give(name, whole, **places)
    seconds = time.monotonic() - began
    while kills < KILLS:
        after, kill = moment.uniform(0.0, seconds), moment.choice((os.kill, os.killpg))
        if give(name, broken, after, kill, **places):
            assert_same_end(whole, broken)
            shutil.rmtree(broken)
        else:
            kills += 1
    give(name, broken, **places)
    assert_same_end(whole, broken)


def assert_same_end(whole: Path, broken: Path) -> None:
    """Compares to the bit all that has no times in it, and looks for leftovers."""
    left = [path for path in broken.rglob("*") if path.name.startswith(".") or "temp" in path.name]
    assert left == []
    compared = {path: READERS.get(path.name, READERS.get(path.suffix)) for path in whole.rglob("*")}
    for path, read in compared.items():
        if read:
            np.testing.assert_equal(read(broken / path.relative_to(whole)), read(path))
    assert any(compared.values())


def variables(folder: Path) -> dict[str, np.ndarray]:
    """All variables of the last checkpoint, the optimizer's too."""
    reader = tf.train.load_checkpoint(str(found_checkpoints(folder)[-1]))
    names = reader.get_variable_to_shape_map()
    return {name: reader.get_tensor(name) for name in names if name.endswith("VARIABLE_VALUE")}


READERS = {
    "evaluation.json": Path.read_bytes,
    "table_4.csv": Path.read_bytes,
    "metrics.jsonl": lambda path: untimed(files.read_json(path, lines=True)),
    "model.weights.h5": Path.read_bytes,
    "checkpoints": variables,
    ".parquet": lambda path: pq.read_table(path).to_pydict(),
}
