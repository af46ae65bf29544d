"""BUILD.md's layout: every module is named there, after all that it imports."""

import ast

import pytest

from tests.conftest import ROOT


@pytest.mark.parametrize("package", ["crvae_tf", "launch"])
def test_the_layout_names_every_module_after_all_that_it_imports(package):
    named = layout(package)
    modules = {path.stem for path in (ROOT / package).iterdir() if not path.name.startswith("_")}
    assert sorted(named) == sorted(modules)
    for path in (ROOT / package).rglob("*.py"):
        own = path.relative_to(ROOT / package).parts[0].removesuffix(".py")
        if not own.startswith("_"):
            later = set(named[named.index(own) + 1 :])
            assert not later.intersection(imported(path, package)), path


def layout(package):
    """Returns the modules of a package in the order in which BUILD.md names them."""
    blocks = (ROOT / "BUILD.md").read_text().split("```\n")
    names, holds = [], False
    for line in next(block for block in blocks if block.startswith("crvae_tf/ ")).splitlines():
        holds = line.startswith(f"{package}/") if line[:12].strip() else holds
        names += line[12:59].replace("/", "").split() if holds else []
    return names


def imported(path, package):
    """Returns the modules of a package that a file imports."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module == package:
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{package}."):
            found.add(node.module.split(".")[1])
    return found
