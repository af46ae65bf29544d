"""Each of many random command lines ends cleanly, or with one line that begins with `error: `."""

import random
from collections import Counter

import numpy as np
import pytest
from absl import flags

from launch import (
    assembly,
    compare,
    encoder_options,
    options,
    report,
    reproduce,
    results,
    train,
)
from tests.command_line import defined, run
from tests.image_files import encoded

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

LINES = 220
TRAINED = 8
NUMBERS = (
    "0", "1", "2", "3", "5", "0.5", "-1", "-0", "1e-3", "1e3", "1e-400", "1e400", "nan", "inf", "-inf",
    "2147483647", "2147483648", "99999999999999999999", "1_0", "0x10", "0b1", " 3 ", "1,2", "0.1,0.2",
    "٣", "½", "+1", "1.", ".5", "1e", "--1",
)  # fmt: skip
TEXTS = (
    "", " ", "auto", "none", "true", "false", "True", "T", "digits", "mnist", "mnits", "folder:",
    "folder:.", "folder:/nowhere", "folder:/dev", "cr_vae", "vae", "iwae", "beta_vae", "mlp", "wae",
    "bernoulli", "gaussian", "dynamic", "fixed", "burda", "symmetric", "validation", "mirrored",
    "parquet", "npz", "paper", "cpu", "a\nb", "\udcff", "猫", "'", '"', "$(x)", "%s", "{}", "\\", "/",
    "..", "/dev/null", "/proc/self/mem", "-", "x" * 5000,
)  # fmt: skip
NO_FLAGS = (
    "", "-", "--", "---", "--=", "--=1", "-=", "word", "two words", "--no", "--noepochs", "--epo=3",
    "-epochs", "--epochs", "--epochs=", "--EPOCHS=3", "--ep-ochs=3", "--undefok=epocs", "--undefok",
    "--epocs=3", "--\n=1", "-?", "--\udcff=1", "--猫=1", "--flagfile", "--flagfile=",
    "--flagfile=/", "--flagfile=/dev/null", "--flagfile=/nowhere", "--flagfile=\n", "#",
    "--seed=1 --seed=2",
)  # fmt: skip
SHRUNK = (
    "--image_size=8", "--channels=1", "--network=mlp", "--width=0.02", "--latent_dim=2",
    "--schedule=constant", "--epochs=1", "--batch_size=16", "--nll_samples=2", "--eval_images=2",
    "--importance_samples=2", "--strategy=none", "--validation_images=2",
)  # fmt: skip
STARTERS = {"pdb", "pdb_post_mortem", "run_with_pdb", "run_with_profiling", "profile_file"}
"""absl's own flags that start other programs."""


def export():
    encoder_options.export_format()
    assembly.finished_run()


COMMANDS = {
    "train": (options.define_training, options.resolve, ()),
    "evaluate": (options.define_evaluation, assembly.finished_run, ()),
    "export": (encoder_options.define_export, export, ()),
    "embed": (
        encoder_options.define_embed,
        encoder_options.embed,
        ("--encoder=encoder", "--input=digits", "--output=embeddings"),
    ),
    "search": (
        encoder_options.define_search,
        encoder_options.search,
        ("--index=embeddings", "--image=image.png"),
    ),
    "reproduce": (
        reproduce.define,
        reproduce.study,
        ("--table=4", "--dataset=digits"),
    ),
    "compare": (
        compare.define,
        compare.check,
        ("--runs=one,two", "--output_dir=pictures"),
    ),
    "results": (results.define, options.given, ()),
    "report": (report.define, report.check, ("--runs=one,two",)),
}
"""What defines a command's flags, what reads them, and arguments without which it is refused."""


class Lines:
    """Random command lines of one command; their flagfiles are written to a folder."""

    def __init__(self, name, names, folder):
        self._names = names
        self._folder = folder
        self._wanted = COMMANDS[name][2]
        self._draw = random.Random(f"{name} 0")

    def line(self):
        """Returns the arguments of one command; half of them begin with those that are wanted."""
        draw = self._draw
        arguments = [self._argument() for _ in range(draw.choice((1, 1, 2, 2, 3, 5, 8)))]
        if draw.random() < 0.2:
            arguments.insert(draw.randrange(len(arguments) + 1), self._flagfile())
        return [*(self._wanted if draw.random() < 0.5 else ()), *arguments]

    def _argument(self):
        draw, kind = self._draw, self._draw.random()
        if kind < 0.1:
            return draw.choice(NO_FLAGS)
        if kind < 0.15:
            return f"--{draw.choice(('', 'no'))}{draw.choice(self._names)}"
        return f"{draw.choice(('--', '--', '-'))}{draw.choice(self._names)}={self._value()}"

    def _value(self):
        draw, kind = self._draw, self._draw.random()
        if kind < 0.9:
            return draw.choice(NUMBERS if kind < 0.5 else TEXTS)
        return "".join(
            chr(draw.choice((draw.randrange(1, 127), draw.randrange(0xA0, 0xD800)))) for _ in range(9)
        )

    def _flagfile(self):
        """Writes a flagfile of random lines, of which one may name the file, or of random bytes."""
        draw = self._draw
        path = self._folder / f"{draw.randrange(10**9)}.flags"
        lines = [self._argument() for _ in range(draw.randrange(6))]
        lines += draw.choice(((), ("# a comment", "", "   "), (f"--flagfile={path}",)))
        text = draw.choice(("\n", "\r\n")).join(lines).encode("utf-8", "surrogateescape")
        path.write_bytes(draw.randbytes(200) if draw.random() < 0.1 else text)
        return f"--flagfile={path}"


def outcomes(name, folder):
    """Yields random arguments of a command and how it ended once it had read them."""
    define, read, _ = COMMANDS[name]
    with defined(define):
        lines = Lines(name, sorted(set(flags.FLAGS) - STARTERS), folder)
    for _ in range(LINES):
        arguments = lines.line()
        yield arguments, run(read, arguments, define)


@pytest.mark.parametrize("name", COMMANDS)
def test_a_random_line_is_taken_or_refused_in_one_line(name, tmp_path):
    ends = Counter()
    for arguments, outcome in outcomes(name, tmp_path):
        assert outcome.is_clean, (arguments, outcome)
        ends[outcome.code] += 1
    assert min(ends[0], ends[1]) > 0


def test_what_is_taken_trains(tmp_path):
    """A few of the lines, shrunk to one epoch of small images."""
    images = tmp_path / "images"
    images.mkdir()
    for number, pixels in enumerate(np.random.default_rng(0).integers(0, 256, [60, 8, 8], np.uint8)):
        (images / f"{number}.png").write_bytes(encoded(pixels, "PNG"))
    taken = [line for line, end in outcomes("train", tmp_path) if end.code == 0 and not end.out]
    for number, line in enumerate(taken[:TRAINED]):
        place = f"--output_dir={tmp_path / str(number)}"
        given = [*line, *SHRUNK, f"--dataset=folder:{images}", place]
        outcome = run(train.main, given, options.define_training)
        assert outcome.is_clean, (line, outcome)
    assert taken
