"""Writes docs/flags.md from the commands' own definitions: python docs/write_flags.py

Each command is started as far as its flags. The groups of a training's flags are set here; a flag of no group comes last.
"""

import runpy
import sys
from pathlib import Path
from unittest import mock

from absl import app, flags

PAGE = Path(__file__).with_name("flags.md")
GROUPS = {
    "Data": "dataset data_dir image_size channels invert binarization test_fraction validation_images",
    "Model": "method model lambda eta kl_direction beta importance_samples pose pose_steps likelihood "
    "pixel_stddev network width latent_dim",
    "Training": "epochs batch_size learning_rate schedule views_per_image clip_norm seed",
    "Transformations": "translation rotation scaling fill test_translation test_rotation test_scaling",
    "Evaluation": "nll_samples eval_images eval_split",
    "Where and how it runs": "output_dir checkpoint_minutes strategy precision jit steps_per_execution",
}
COMMANDS = ("evaluate", "export", "embed", "search", "reproduce", "compare", "baselines", "report", "results")
HEAD = """# Flags

`python -m launch.COMMAND --help` lists the flags of a command. Any command also takes `--flagfile=FILE`, a file with one flag a line. The last value
of a flag wins, so a flag after `--flagfile` overrides the file. If the column of the default is empty, the meaning gives the default in parentheses, or the flag is optional or
required, as its meaning says.

`crvae COMMAND` is the same as `python -m launch.COMMAND`. Use it where another package, or a file in the working folder, is called `launch`.

A wrong value is answered with one line, and nothing is written: `error: --eta must be >= 0; received -1`.

Defaults "by data set": ink on paper (`digits`, `mnist`, `omniglot`) is binarised and Bernoulli, other gray images are continuous Bernoulli, colour images
are Gaussian. Images above 32 pixels become 64 by 64.

`--method` is a shorthand:

| method | model | lambda | eta |
|---|---|---|---|
| `vae`, `iwae`, `beta_vae` | the same | 0 | 0 |
| `vae_aug` | `vae` | 1 | 0 |
| `cr_vae`, `cr_iwae`, `cr_beta_vae` | `vae`, `iwae`, `beta_vae` | 1 | `auto`, which is 0.1 beta |

*This page is written by `docs/write_flags.py`.*
"""


def main() -> None:
    PAGE.write_text(page(), encoding="utf-8")


def page() -> str:
    """Returns the text of the page."""
    training = flags_of("train")
    grouped = {name for names in GROUPS.values() for name in names.split()}
    groups = {title: [name for name in names.split() if name in training] for title, names in GROUPS.items()}
    groups["Others"] = [name for name in training if name not in grouped]
    parts = [HEAD, "## launch.train\n"]
    parts += [f"### {title}\n\n{table(training, names)}" for title, names in groups.items() if names]
    for command in COMMANDS:
        own = flags_of(command)
        shared = [name for name in own if own[name] == training.get(name)]
        takes_all = len(shared) > len(training) // 2
        rest = [name for name in own if name not in shared]
        parts.append(f"## launch.{command}\n")
        if shared:
            listed = ", ".join(f"`--{name}`" for name in shared)
            told = "all flags of `launch.train`" if takes_all else f"these flags of `launch.train`: {listed}"
            parts.append(f"It takes {told}.\n")
        parts += [table(own, rest)] if rest else []
    return "\n".join(parts)


def flags_of(command: str) -> dict[str, tuple[str, str]]:
    """Returns the meaning and the default of each flag of a command, in the order of their names."""
    before = set(flags.FLAGS)
    with mock.patch.object(app, "run"), mock.patch.object(sys, "argv", [f"launch.{command}"]):
        runpy.run_module(f"launch.{command}", run_name="__main__")
    own = {name: flags.FLAGS[name] for name in sorted(set(flags.FLAGS) - before)}
    for name in own:
        delattr(flags.FLAGS, name)
    return {name: (meaning(flag), default(flag)) for name, flag in own.items()}


def meaning(flag: flags.Flag) -> str:
    choices = getattr(flag.parser, "enum_values", None) or ()
    listed = f"{', '.join(f'`{choice}`' for choice in choices)}: " if choices else ""
    return listed + flag.help.replace("|", "\\|")


def default(flag: flags.Flag) -> str:
    if flag.default is None:
        return ""
    return f"`{str(flag.default).lower() if flag.boolean else flag.default}`"


def table(known: dict[str, tuple[str, str]], names: list[str]) -> str:
    rows = ["| flag | default | meaning |", "|---|---|---|"]
    for name in names:
        told, given = known[name]
        rows.append(f"| `--{name}` | {given} | {told} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    main()
