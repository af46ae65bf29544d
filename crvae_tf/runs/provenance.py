"""The hardware and the code that figures come from."""

import os
import re
import subprocess
from pathlib import Path

import tensorflow as tf

COMMIT_VARIABLE = "CRVAE_COMMIT"
"""Environment variable that names the commit of a copy without history."""


def hardware() -> str:
    """Returns the processor, the number of cores this process may use, and the GPUs."""
    gpus = [
        tf.config.experimental.get_device_details(device).get("device_name", device.name)
        for device in tf.config.list_physical_devices("GPU")
    ]
    cores = len(os.sched_getaffinity(0))
    return ", ".join([f"{_processor()}, {cores} cores", *gpus])


def commit() -> str | None:
    """Returns the commit of the package's code, or None if it is unknown.

    It says so if tracked files have changed since.
    """
    named = os.environ.get(COMMIT_VARIABLE)
    if named or _git("ls-files", "--error-unmatch", Path(__file__).name) is None:
        return named
    head = _git("rev-parse", "--short=12", "HEAD")
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", ":/*.py")
    return f"{head} with changes" if changed else head


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    text = information.read_text(encoding="utf-8") if information.exists() else ""
    found = re.search(r"^model name\s*: (.*)$", text, re.MULTILINE)
    return found[1] if found else "unknown processor"


def _git(*arguments: str) -> str | None:
    """Returns git's output in the package's folder, or None if git fails or is missing."""
    command = ["git", "-C", str(Path(__file__).resolve().parent), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
