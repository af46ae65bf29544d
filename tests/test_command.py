"""Commands whose standard streams are closed, or whose reader has gone, do what they were asked for."""

import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT


def given(line, *arguments):
    """Gives the shell a line in which "$@" is python -m launch.results with `arguments`."""
    words = [sys.executable, "-m", "launch.results", *arguments]
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", line, "bash", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("closed", [">&-", "<&- >&- 2>&-"])
def test_a_command_without_a_stream_does_what_it_was_asked_for(tmp_path, closed):
    page = tmp_path / "PAGE.md"
    done = given(f'"$@" {closed}', f"--output={page}")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert page.read_text().startswith("# Results")


def test_a_command_without_standard_error_fails_by_its_exit_status(tmp_path):
    done = given('"$@" 2>&-', f"--results={tmp_path}", f"--output={tmp_path / 'PAGE.md'}")
    assert (done.returncode, os.listdir(tmp_path)) == (1, [])


WRITER = """
from launch import command, options

def main():
    for _ in range(3):
        print("a line", flush=True)
    open(options.given()["output_dir"], "w").write("done")

command.run(main)
"""


def test_a_command_whose_reader_has_gone_goes_on(tmp_path):
    place = tmp_path / "done.txt"
    (tmp_path / "writer.py").write_text(WRITER)
    line = f"{sys.executable} {tmp_path / 'writer.py'} --output_dir={place} | true"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert place.read_text() == "done"
