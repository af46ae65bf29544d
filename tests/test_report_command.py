"""The flags of `launch.report` and its answers to mistakes."""

import os
import re
import subprocess
import sys

import pytest

from tests.conftest import ROOT


def python(*arguments):
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=240,
    )


def test_a_folder_that_is_no_run_is_answered_in_one_line(tmp_path):
    output = tmp_path / "report.html"
    finished = python("-m", "launch.report", "--runs=no/such/run", f"--output={output}")
    assert finished.returncode == 1
    assert re.fullmatch(
        r"error: runs: expected the folders of runs; received no/such/run, which .*\n",
        finished.stderr,
    )
    assert not output.exists()


FLAGS = """
import sys
from launch import options, report
report.define()
sys.stdout.reconfigure(errors="backslashreplace")
try:
    options.parse(sys.argv)
    report.check()
except options.UsageError as error:
    print(error)
print("tensorflow" in sys.modules)
"""


@pytest.mark.parametrize(
    ("flags", "answer"),
    [
        ([], "--runs must be folders of runs, separated by commas; received none"),
        (
            ["--runs=one,\udcff"],
            "--runs must be folders of names in UTF-8, separated by commas; received one,\\udcff",
        ),
        (
            ["--runs=a", "--output=tests"],
            "--output must be the name of a file; received tests, a folder",
        ),
    ],
)
def test_flags_are_checked_before_tensorflow_is_loaded(flags, answer):
    assert python("-c", FLAGS, *flags).stdout.split("\n")[:2] == [answer, "False"]


def test_the_help_lists_the_flags_of_the_report_alone():
    finished = python("-m", "launch.report", "--help")
    assert finished.returncode == 0
    assert set(re.findall(r"^  --(\w+)", finished.stdout, re.M)) == {"runs", "output", "data_dir"}
