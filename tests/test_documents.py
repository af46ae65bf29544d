"""What the documents say of the code."""

import ast
import functools
import pathlib
import re

import pytest

from tests.conftest import ROOT

TEST = r"`test_\w+(?:\.\.\.)?`(?: \(slow[^)]*\))?"
TESTS_OF_A_FILE = rf"`(test_\w+\.py)`: ({TEST}(?:, {TEST})*)"


def promises():
    """The rows of the table of RELIABILITY.md."""
    text = (ROOT / "RELIABILITY.md").read_text(encoding="utf-8")
    return "\n".join(line for line in text.splitlines() if line.startswith("|"))


def promised_tests():
    """(file, beginning or name of a test, whether it is marked slow) of every test that is named."""
    for file, tests in re.findall(TESTS_OF_A_FILE, promises()):
        yield from ((file, *test) for test in re.findall(r"`(\w+)(?:\.\.\.)?`( \(slow)?", tests))


@functools.cache
def slowness_of(file):
    """Whether `make test` leaves it out, by the name of each test of a file."""
    module = ast.parse((ROOT / "tests" / file).read_text(encoding="utf-8"))
    marks = [ast.unparse(node.value) for node in module.body if isinstance(node, ast.Assign)]
    all_are_slow = any("pytest.mark.slow" in mark for mark in marks)
    return {
        node.name: all_are_slow or "pytest.mark.slow" in map(ast.unparse, node.decorator_list)
        for node in module.body
        if isinstance(node, ast.FunctionDef)
    }


def named_by(file, beginning):
    return [is_slow for name, is_slow in slowness_of(file).items() if name.startswith(beginning)]


def test_the_tests_that_promises_are_held_by_exist():
    named = set(promised_tests())
    assert len(named) > 60
    assert [(file, test) for file, test, _ in named if not named_by(file, test)] == []


def test_no_test_that_a_promise_names_is_without_its_file():
    assert re.findall(TEST, re.sub(TESTS_OF_A_FILE, "", promises())) == []


def test_the_slow_tests_among_those_of_promises_are_said_to_be():
    said = [(file, test, bool(mark)) for file, test, mark in promised_tests()]
    files = re.findall(r"`(test_\w+\.py)`(?!:)( \(slow\))?", promises())
    said += [(file, "test_", bool(mark)) for file, mark in files]
    assert [(*named, slow) for *named, slow in said if slow != all(named_by(*named))] == []


@pytest.mark.parametrize("package", ["crvae_tf", "launch"])
def test_the_layout_names_every_module_after_all_that_it_imports(package):
    named = layout(package)
    modules = {path.stem for path in (ROOT / package).iterdir() if not path.name.startswith("_")}
    assert sorted(named) == sorted(modules)
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
