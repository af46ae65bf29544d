"""Processes of their own, and two workers on 127.0.0.1."""

import json
import os
import socket
import subprocess
import sys

from tests.conftest import ROOT

HANGS = 280
"""Seconds after which a process counts as hung."""


def environments() -> list[dict[str, str]]:
    """Returns what tells each of two workers who both of them are, the chief first."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    for each in sockets:
        each.close()
    tasks = ({"type": "worker", "index": index} for index in range(2))
    return [{"TF_CONFIG": json.dumps({"cluster": {"worker": addresses}, "task": t})} for t in tasks]


def start(*arguments: str, **environment: str) -> subprocess.Popen:
    """Starts a module with arguments."""
    return subprocess.Popen(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ends(processes: list[subprocess.Popen]) -> list[tuple[int, str, str]]:
    """Returns the exit status, standard output and standard error of each process."""
    try:
        written = [process.communicate(timeout=HANGS) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(p.returncode, *texts) for p, texts in zip(processes, written, strict=True)]
