"""Changes one operation after the other in a module, and asks its tests whether they notice.

python -m torture.mutants [--modules=objectives,metrics] [--seed=0] [--at_most=60]

A mutant is the module with one change: an operator, a comparison, a number, a name or a sign in it is
another. The module's own tests run on each, in this process; a mutant on which all of them pass has
survived. An axis of -1 and the length of an array of means stay as they are: of two axes the last is 1,
and there are as many standard deviations.
"""

import argparse
import ast
import contextlib
import copy
import importlib
import inspect
import io
import random
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import NamedTuple

import pytest

from torture import print_table

_TESTS = {
    "objectives": ["tests/test_objectives.py", "tests/test_gradient_estimators.py"],
    "metrics": ["tests/test_metrics.py"],
}
_OPERATORS = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.Pow: ast.Mult,
    ast.Gt: ast.GtE,
    ast.Lt: ast.GtE,
    ast.Eq: ast.NotEq,
    ast.NotIn: ast.In,
}
_NAMES = {
    "posterior": "view_posterior",
    "view_posterior": "posterior",
    "bound": "view_bound",
    "view_bound": "bound",
    "mean": "stddev",
    "stddev": "mean",
    "own": "others",
    "others": "own",
    "reduce_logsumexp": "reduce_max",
    "logsumexp": "max",
    "sum": "mean",
    "logaddexp": "maximum",
    "argmin": "argmax",
    "square": "abs",
    "log": "exp",
}
"""One of a function's own names, or of NumPy's and TensorFlow's, for another."""


class Mutant(NamedTuple):
    """A module with one change."""

    where: str
    tree: ast.Module


def mutants(source: str) -> Iterator[Mutant]:
    """Yields every mutant of a module."""
    tree = ast.parse(source)
    lengths = _arguments_of_len(tree)
    for place, node in enumerate(ast.walk(tree)):
        for what, change in _changes(node) if node not in lengths else ():
            changed = copy.deepcopy(tree)
            twin = next(each for number, each in enumerate(ast.walk(changed)) if number == place)
            change(twin)
            yield Mutant(f"line {_line(node)}: {what}", ast.fix_missing_locations(changed))


def _arguments_of_len(tree: ast.Module) -> set[ast.AST]:
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return {call.args[0] for call in calls if getattr(call.func, "id", "") == "len"}


def _is_axis(node: ast.UnaryOp) -> bool:
    return isinstance(node.operand, ast.Constant) and type(node.operand.value) is int


def _line(node: ast.AST) -> int:
    return getattr(node, "lineno", 0)


def _changes(node: ast.AST) -> Iterator[tuple]:
    """Yields what a change of the node is called, and the function that makes it."""
    if isinstance(node, ast.BinOp | ast.AugAssign) and type(node.op) in _OPERATORS:
        yield _operator(node)
    elif isinstance(node, ast.Compare) and type(node.ops[0]) in _OPERATORS:
        yield _comparison(node)
    elif isinstance(node, ast.Constant) and type(node.value) in (int, float):
        yield f"{node.value} to {node.value + 1}", lambda twin: _set(twin, "value", node.value + 1)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and not _is_axis(node):
        yield "- left out", lambda twin: _set(twin, "op", ast.UAdd())
    elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and node.id in _NAMES:
        yield f"{node.id} to {_NAMES[node.id]}", lambda twin: _set(twin, "id", _NAMES[node.id])
    elif isinstance(node, ast.Attribute) and node.attr in _NAMES:
        yield f"{node.attr} to {_NAMES[node.attr]}", lambda twin: _set(twin, "attr", _NAMES[node.attr])


def _operator(node: ast.AST) -> tuple:
    other = _OPERATORS[type(node.op)]
    return f"{type(node.op).__name__} to {other.__name__}", lambda twin: _set(twin, "op", other())


def _comparison(node: ast.Compare) -> tuple:
    other = _OPERATORS[type(node.ops[0])]
    return f"{type(node.ops[0]).__name__} to {other.__name__}", lambda twin: _set(
        twin, "ops", [other()]
    )


def _set(node: ast.AST, field: str, value: object) -> None:
    setattr(node, field, value)


def survives(module: ModuleType, mutant: Mutant, tests: list[str]) -> bool:
    """Returns whether all tests pass on a mutant; the module is itself again afterwards."""
    kept = dict(module.__dict__)
    try:
        exec(compile(mutant.tree, module.__file__, "exec"), module.__dict__)  # Our own code, changed.
        return _passes(tests)
    except Exception:  # The module cannot even be loaded, as its doctests' reader would notice.
        return False
    finally:
        module.__dict__.clear()
        module.__dict__.update(kept)


def _passes(tests: list[str]) -> bool:
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return pytest.main(["-x", "-q", "-p", "no:cacheprovider", *tests]) == pytest.ExitCode.OK


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--modules", default=",".join(_TESTS))
    parser.add_argument("--seed", type=int, default=0, help="of the choice")
    parser.add_argument("--at_most", type=int, default=60, help="mutants of a module")
    given = parser.parse_args()
    rows, survivors = [], []
    for name in given.modules.split(","):
        module = importlib.import_module(f"crvae_tf.{name}")
        if not _passes(_TESTS[name]):
            raise SystemExit(f"the tests of {name} fail as it is")
        every = list(mutants(inspect.getsource(module)))
        chosen = random.Random(given.seed).sample(every, min(given.at_most, len(every)))
        alive = [mutant.where for mutant in chosen if survives(module, mutant, _TESTS[name])]
        rows.append([name, len(every), len(chosen), len(chosen) - len(alive), len(alive)])
        survivors += [f"{name} {where}" for where in alive]
    print(f"seed {given.seed}")
    print_table(["module", "mutants", "tried", "caught", "survived"], rows)
    print("\n".join(survivors))
    sys.exit(bool(survivors))


if __name__ == "__main__":
    main()
