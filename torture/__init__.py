"""The long forms of the reliability tests: programs that print a table, run by `make torture`."""

from collections.abc import Sequence


def print_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Prints a table in Markdown."""
    for row in (header, ["---"] * len(header), *rows):
        print(f"| {' | '.join(str(cell) for cell in row)} |")
