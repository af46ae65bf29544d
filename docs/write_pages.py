"""Writes the pages of flags and of results: python docs/write_pages.py, from the root.

The flags are those of the commands' own definitions: each command is started as far as its flags, whose
groups are those of its help. The results are of the summaries that launch.reproduce wrote, copied to
docs/results and docs/invariance.
"""

import runpy
import sys
from pathlib import Path
from unittest import mock

from absl import app, flags

from crvae_tf.studies import pages

PAGE = Path(__file__).with_name("flags.md")
COMMANDS = ("evaluate", "export", "embed", "search", "reproduce", "report")
RESULTS = ("docs/results", "docs/invariance")
MARK = "<!-- What follows is written by docs/write_pages.py. -->\n"


def main() -> None:
    PAGE.write_text(page(), encoding="utf-8")
    for folder in RESULTS:
        Path(f"{folder}.md").write_text(pages.document(folder, f"{folder}.md"), encoding="utf-8")


def page() -> str:
    """Returns the text of the page, its part above the mark as it is."""
    above = PAGE.read_text(encoding="utf-8").partition(MARK)[0]
    training = flags_of("train")
    parts = [above + MARK, "## launch.train\n", *_groups(training)]
    for command in COMMANDS:
        own = flags_of(command)
        shared = [name for name in own if own[name] == training.get(name)]
        parts += [f"## launch.{command}\n", *_shared(shared, len(training))]
        rest = [name for name in own if name not in shared]
        parts += [_table(own, rest)] if rest else []
    return "\n".join(parts)


def _groups(training: dict[str, tuple[str, str, str]]) -> list[str]:
    groups = {}
    for name, (_, _, purpose) in training.items():
        groups.setdefault(purpose, []).append(name)
    return [f"### {title.capitalize()}\n\n{_table(training, names)}" for title, names in groups.items()]


def _shared(names: list[str], number: int) -> list[str]:
    if not names:
        return []
    if len(names) > number // 2:
        return ["It takes the flags of `launch.train`, except those that it sets or does not use.\n"]
    return [f"It takes these flags of `launch.train`: {', '.join(f'`--{name}`' for name in names)}.\n"]


def flags_of(command: str) -> dict[str, tuple[str, str, str]]:
    """Returns the meaning, default and purpose of each flag of a command, in the order of its help."""
    before = set(flags.FLAGS)
    with mock.patch.object(app, "run"), mock.patch.object(sys, "argv", [f"launch.{command}"]):
        runpy.run_module(f"launch.{command}", run_name="__main__")
    groups = flags.FLAGS.flags_by_module_dict().items()
    own = {flag: purpose for purpose, found in groups for flag in found if flag.name not in before}
    for flag in own:
        delattr(flags.FLAGS, flag.name)
    return {flag.name: (_meaning(flag), _default(flag), purpose) for flag, purpose in own.items()}


def _meaning(flag: flags.Flag) -> str:
    expected = flag.parser.syntactic_help
    choices = expected.removeprefix("one of ").split(", ") if expected.startswith("one of ") else ()
    listed = f"{', '.join(f'`{choice}`' for choice in choices)}: " if choices else ""
    return listed + flag.help.replace("|", "\\|")


def _default(flag: flags.Flag) -> str:
    if flag.default is None:
        return ""
    return f"`{str(flag.default).lower() if flag.boolean else flag.default}`"


def _table(known: dict[str, tuple[str, str, str]], names: list[str]) -> str:
    rows = ["| flag | default | meaning |", "|---|---|---|"]
    for name in names:
        told, given, _ = known[name]
        rows.append(f"| `--{name}` | {given} | {told} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    main()
