"""Several workers on 127.0.0.1: the environment of each."""

import json
import socket


def environments(number: int) -> list[dict[str, str]]:
    """Returns what tells each of `number` workers who all of them are, the chief first."""
    cluster = {"worker": [f"127.0.0.1:{port}" for port in _free_ports(number)]}
    tasks = ({"type": "worker", "index": index} for index in range(number))
    return [{"TF_CONFIG": json.dumps({"cluster": cluster, "task": task})} for task in tasks]


def _free_ports(number: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports
