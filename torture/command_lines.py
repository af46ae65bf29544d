"""Random command lines, most of them wrong."""

import random
from collections.abc import Sequence
from pathlib import Path

_NUMBERS = (
    "0", "1", "2", "3", "5", "0.5", "-1", "-0", "1e-3", "1e3", "1e-400", "1e400", "nan", "inf", "-inf",
    "2147483647", "2147483648", "99999999999999999999", "1_0", "0x10", "0b1", " 3 ", "1,2", "0.1,0.2",
    "٣", "½", "+1", "1.", ".5", "1e", "--1",
)  # fmt: skip
_TEXTS = (
    "", " ", "auto", "none", "true", "false", "True", "T", "digits", "mnist", "mnits", "folder:",
    "folder:.", "folder:/nowhere", "folder:/dev", "cr_vae", "vae", "iwae", "beta_vae", "mlp", "wae",
    "bernoulli", "gaussian", "dynamic", "fixed", "burda", "symmetric", "validation", "mirrored",
    "parquet", "npz", "paper", "cpu", "a\nb", "\udcff", "猫", "'", '"', "$(x)", "%s", "{}", "\\", "/",
    "..", "/dev/null", "/proc/self/mem", "-", "x" * 5000,
)  # fmt: skip
_NO_FLAGS = (
    "", "-", "--", "---", "--=", "--=1", "-=", "word", "two words", "--no", "--noepochs", "--epo=3",
    "-epochs", "--epochs", "--epochs=", "--EPOCHS=3", "--ep-ochs=3", "--undefok=epocs", "--undefok",
    "--epocs=3", "--\n=1", "-?", "--\udcff=1", "--猫=1", "--flagfile", "--flagfile=",
    "--flagfile=/", "--flagfile=/dev/null", "--flagfile=/nowhere", "--flagfile=\n", "#",
    "--seed=1 --seed=2",
)  # fmt: skip


def line(
    draw: random.Random, names: Sequence[str], folder: Path, wanted: Sequence[str] = ()
) -> list[str]:
    """Returns the arguments of one command.

    Args:
      draw: decides all.
      names: of the command's flags.
      folder: takes the flagfiles that the arguments name.
      wanted: arguments without which the command is refused; half of the lines begin with them.
    """
    arguments = [_argument(draw, names) for _ in range(draw.choice((1, 1, 2, 2, 3, 5, 8)))]
    if draw.random() < 0.2:
        arguments.insert(draw.randrange(len(arguments) + 1), _flagfile(draw, names, folder))
    return [*(wanted if draw.random() < 0.5 else ()), *arguments]


def _argument(draw: random.Random, names: Sequence[str]) -> str:
    kind = draw.random()
    if kind < 0.1:
        return draw.choice(_NO_FLAGS)
    if kind < 0.15:
        return f"--{draw.choice(('', 'no'))}{draw.choice(names)}"
    return f"{draw.choice(('--', '--', '-'))}{draw.choice(names)}={_value(draw)}"


def _value(draw: random.Random) -> str:
    kind = draw.random()
    if kind < 0.5:
        return draw.choice(_NUMBERS)
    if kind < 0.9:
        return draw.choice(_TEXTS)
    return "".join(
        chr(draw.choice((draw.randrange(1, 127), draw.randrange(0xA0, 0xD800)))) for _ in range(9)
    )


def _flagfile(draw: random.Random, names: Sequence[str], folder: Path) -> str:
    """Writes a flagfile of random lines, of which one may name the file itself, or of random bytes."""
    path = folder / f"{draw.randrange(10**9)}.flags"
    lines = [_argument(draw, names) for _ in range(draw.randrange(6))]
    lines += draw.choice(((), ("# a comment", "", "   "), (f"--flagfile={path}",), ("// another",)))
    text = draw.choice(("\n", "\r\n")).join(lines).encode("utf-8", "surrogateescape")
    path.write_bytes(draw.randbytes(200) if draw.random() < 0.1 else text)
    return f"--flagfile={path}"
