"""Each of many random command lines ends cleanly, or with one line that begins with `error: `."""

from collections import Counter

import numpy as np
import pytest
from absl import flags
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from launch import assembly, embed, export, options, report, reproduce, search, train
from tests.command_line import defined, outcome_of

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

LINES = 220
TRAINED = 8
TEXTS = (
    "1e-400", "1e400", "1_0", "0x10", "1,2", "0.1,0.2", "٣", "½", "1e", "--1", "", " ", "auto", "none",
    "true", "digits", "mnits", "folder:", "folder:.", "folder:/dev", "cr_vae", "mlp", "gaussian",
    "fixed", "burda", "validation", "mirrored", "npz", "cpu", "a\nb", "\udcff", "%s", "{}", "\\", "/",
    "..", "/dev/null", "/proc/self/mem", "x" * 5000,
)  # fmt: skip
NO_FLAGS = (
    "", "-", "--", "---", "--=", "--=1", "-=", "word", "two words", "--no", "--noepochs", "--epo=3",
    "-epochs", "--epochs", "--epochs=", "--EPOCHS=3", "--ep-ochs=3", "--undefok=epocs", "--undefok",
    "--epocs=3", "--\n=1", "-?", "--\udcff=1", "--猫=1", "--flagfile", "--flagfile=",
    "--flagfile=/", "--flagfile=/dev/null", "--flagfile=/nowhere", "--flagfile=\n", "#",
)  # fmt: skip
SHRUNK = (
    "--image_size=8", "--channels=1", "--network=mlp", "--width=0.02", "--latent_dim=2",
    "--schedule=constant", "--epochs=1", "--batch_size=16", "--nll_samples=2", "--eval_images=2",
    "--importance_samples=2", "--strategy=none", "--validation_images=2",
)  # fmt: skip
STARTERS = {"pdb", "pdb_post_mortem", "run_with_pdb", "run_with_profiling", "profile_file"}
"""absl's own flags that start other programs."""


COMMANDS = {
    "train": (options.define_training, options.resolve, ()),
    "evaluate": (options.define_evaluation, assembly.finished_run, ()),
    "export": (export.define, assembly.finished_run, ()),
    "embed": (embed.define, embed.check, ("--encoder=run", "--input=digits", "--output=embeddings")),
    "search": (search.define, lambda: None, ("--index=embeddings", "--image=image.png")),
    "reproduce": (reproduce.define, reproduce.study, ("--table=4", "--dataset=digits")),
    "report": (report.define, options.named, ("--runs=one,two",)),
}
"""What defines a command's flags, what reads them, and arguments without which it is refused."""


def command_lines(name):
    """The strategy of a command's arguments; half of them begin with those that are wanted."""
    define, _, wanted = COMMANDS[name]
    with defined(define):
        names = st.sampled_from(sorted(set(flags.FLAGS) - STARTERS))
    values = st.sampled_from(TEXTS) | (st.integers() | st.floats()).map(str) | st.text(max_size=9)
    argument = (
        st.builds("{}{}={}".format, st.sampled_from(("--", "-")), names, values)
        | st.builds("--{}{}".format, st.sampled_from(("", "no")), names)
        | st.sampled_from(NO_FLAGS)
    )
    rest = st.lists(argument, max_size=8)
    return st.builds(lambda first, rest: [*first, *rest], st.sampled_from(((), wanted)), rest)


def outcomes(name, folder):
    """Gives random command lines; returns those that were taken, and how often each status came."""
    define, read, _ = COMMANDS[name]
    taken, ends = [], Counter()

    @settings(max_examples=LINES, derandomize=True, deadline=None, suppress_health_check=HealthCheck)
    @given(command_lines(name), st.booleans(), st.sampled_from(("\n", "\r\n")))
    def give(arguments, in_a_file, end):
        if in_a_file:
            text = end.join(["# a comment", "", *arguments])
            (folder / "f.flags").write_bytes(text.encode("utf-8", "surrogateescape"))
            arguments = [f"--flagfile={folder / 'f.flags'}"]
        outcome = outcome_of(read, define, *arguments)
        assert outcome.is_clean, outcome
        ends[outcome.code] += 1
        if not (outcome.code or outcome.out or in_a_file):
            taken.append(arguments)

    give()
    return taken, ends


@pytest.mark.parametrize("name", COMMANDS)
def test_a_random_line_is_taken_or_refused_in_one_line(name, tmp_path):
    _, ends = outcomes(name, tmp_path)
    assert min(ends[0], ends[1]) > 0


def test_what_is_taken_trains(tmp_path):
    """A few of the lines, shrunk to one epoch of small images."""
    images = tmp_path / "images.npy"
    np.save(images, np.random.default_rng(0).integers(0, 256, [60, 8, 8], np.uint8))
    taken, _ = outcomes("train", tmp_path)
    for number, line in enumerate(taken[-TRAINED:]):
        place = f"--output_dir={tmp_path / str(number)}"
        arguments = [*line, *SHRUNK, f"--dataset={images}", place]
        outcome = outcome_of(train.main, options.define_training, *arguments)
        assert outcome.is_clean, (line, outcome)
    assert taken
