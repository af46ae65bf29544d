"""The command `crvae`: `crvae train --seed=1` is `python -m launch.train --seed=1`.

It runs the commands beside this package, even if another `launch` is on the path.
"""

import importlib.util
import runpy
import sys
from pathlib import Path

_FOLDER = Path(__file__).resolve().parent.parent / "launch"
_COMMANDS = ("train", "evaluate", "export", "embed", "search", "reproduce", "report")


def main() -> None:
    """Runs the command named by the first argument with the other arguments."""
    name = sys.argv.pop(1) if len(sys.argv) > 1 else "none"
    if name not in _COMMANDS:
        asks = name in ("-h", "-?", "--help", "--helpfull")
        print(f"crvae COMMAND [flags]; COMMAND is one of {', '.join(_COMMANDS)}")
        sys.exit(None if asks else f"error: COMMAND must be one of these; received {name}")
    spec = importlib.util.spec_from_file_location("launch", _FOLDER / "__init__.py")
    package = sys.modules["launch"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(package)
    runpy.run_module(f"launch.{name}", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
