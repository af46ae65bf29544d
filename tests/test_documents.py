"""What the documents say of the code."""

import ast
import pathlib
import re

import pytest

from tests.documents import ROOT


def promised_tests():
    """(file, beginning or name of a test) of every test that RELIABILITY.md names."""
    text = (ROOT / "RELIABILITY.md").read_text(encoding="utf-8")
    for file, tests in re.findall(r"`(test_\w+\.py)`: ((?:`test_\w+(?:\.\.\.)?`(?:, )?)+)", text):
        yield from ((file, test) for test in re.findall(r"`(\w+)", tests))


def test_the_tests_that_promises_are_held_by_exist():
    named = set(promised_tests())
    assert len(named) > 60
    missing = [
        (file, test)
        for file, test in named
        if f"\ndef {test}" not in (ROOT / "tests" / file).read_text(encoding="utf-8")
    ]
    assert missing == []


@pytest.mark.parametrize("package", ["crvae_tf", "launch"])
def test_the_layout_names_every_module_after_all_that_it_imports(package):
    named = layout(package)
    modules = {path.stem for path in (ROOT / package).iterdir() if not path.name.startswith("_")}
    assert sorted(named) == sorted(modules - {"paper_tables"})
    for path in (ROOT / package).rglob("*.py"):
        own = path.relative_to(ROOT / package).parts[0].removesuffix(".py")
        if own != "__init__":
            later = set(named[named.index(own) + 1 :])
            assert not later.intersection(imported(path, package)), path


def layout(package: str) -> list[str]:
    """Returns the modules of a package in the order in which BUILD.md names them."""
    lines = (ROOT / "BUILD.md").read_text().split("```\n")
    block = next(part for part in lines if part.startswith("crvae_tf/ "))
    names, holds = [], False
    for line in block.splitlines():
        holds = line.startswith(f"{package}/") if line[:12].strip() else holds
        names += line[12:59].replace("/", "").split() if holds else []
    return names


def imported(path: pathlib.Path, package: str) -> set[str]:
    """Returns the modules of a package that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == package:
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{package}."):
            found.add(node.module.split(".")[1])
    return found
