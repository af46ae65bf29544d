"""What the documents say of the code."""

import re

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
