"""What was run, by which command, on what and for how long; and RESULTS.md made of it."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from crvae_tf import files, invariance_study, result_tables
from crvae_tf.errors import InputError
from crvae_tf.runs import Run

_UNKNOWN = "unknown"

_TITLES = {
    "table": lambda summary: f"Table {summary['table']} of Sinha et al. 2020, {_data(summary)}",
    "eta": lambda summary: f"The choice of eta, {_data(summary)}",
    "runs": lambda summary: summary["title"],
    "invariance": lambda summary: f"Embeddings that stay put, {_data(summary)}, {summary['network']}",
}
_TEXTS = {
    "table": result_tables.table_markdown,
    "eta": result_tables.eta_markdown,
    "runs": result_tables.runs_markdown,
    "invariance": invariance_study.markdown,
}
_HEAD = """# Results

Written by `python -m launch.results --results={folder} --output={output}` from the JSON files in
`{folder}`: change those, not this page. What each figure is, see the README.
"""


def provenance(runs: Sequence[Run], commands: Sequence[str]) -> dict[str, Any]:
    """Returns what is to be known of figures beside themselves.

    Args:
      runs: finished ones, that the figures are of.
      commands: that make the figures anew.

    Returns:
      `commands`; `runs` and `seeds`, their numbers; `nll_samples` (K), `num_images` (evaluated) and
      `epochs`, each a list of what occurs; `hours` of training and evaluation together; `hardware` and
      `commits`, lists.
    """
    configs = [run.read_config() for run in runs]
    evaluations = [run.read_evaluation() for run in runs]
    made = [run.read_provenance() for run in runs]
    tests = [evaluation["splits"]["test"] for evaluation in evaluations]
    return {
        "commands": list(commands),
        "runs": len(runs),
        "seeds": len({config["seed"] for config in configs}),
        "epochs": _occurring(config["epochs"] for config in configs),
        "nll_samples": _occurring(test["nll_samples"] for test in tests),
        "num_images": _occurring(test["num_images"] for test in tests),
        "hours": round(sum(_seconds(run) for run in runs) / 3600.0, 3),
        "hardware": _occurring(one.get("hardware") or _UNKNOWN for one in made),
        "commits": _occurring(one.get("commit") or _UNKNOWN for one in made),
    }


def _occurring(values: Iterable) -> list:
    return sorted(set(values))


def _seconds(run: Run) -> float:
    made = run.read_provenance()
    return made.get("training_seconds", 0.0) + made.get("evaluation_seconds", 0.0)


def document(folder: str | Path, output: str | Path) -> str:
    """Returns RESULTS.md: a section for each JSON file of `folder`, in the order of their names.

    Beside `NAME.json` may lie `NAME.md`, what is to be said of it, and pictures,
    `NAME.png` and `NAME_*.png`.

    Args:
      folder: of the summaries that `launch.reproduce` and `launch.results` write.
      output: where the page will lie; its links are relative to that.

    Raises:
      InputError: there is no such file, or one is no such summary.
    """
    folder, output = Path(folder), Path(output)
    summaries = read(folder)
    if not summaries:
        raise InputError(f"--results={folder}: expected summaries of runs, *.json; received none")
    pictures = _pictures(folder, [path.stem for path in summaries])
    sections = [
        _section(path, summary, pictures[path.stem], output) for path, summary in summaries.items()
    ]
    head = _HEAD.format(folder=folder.as_posix(), output=output.as_posix())
    return "\n".join([head, _overview(summaries.values()), *sections])


def read(folder: str | Path) -> dict[Path, dict[str, Any]]:
    """Returns the summaries in a folder by their files, in the order of these.

    Raises:
      InputError: one is no such summary.
    """
    return {path: _read(path) for path in sorted(Path(folder).glob("*.json"))}


def _read(path: Path) -> dict[str, Any]:
    summary = files.read_json(path)
    if not isinstance(summary, dict) or summary.get("study") not in _TITLES:
        raise InputError(
            f"{path}: expected one of {', '.join(_TITLES)} as study; received another file"
        )
    return summary


def _data(summary: dict[str, Any]) -> str:
    return ", ".join(map(result_tables.dataset_title, summary["datasets"]))


def _title(summary: dict[str, Any]) -> str:
    return _TITLES[summary["study"]](summary)


def _overview(summaries: Iterable[dict[str, Any]]) -> str:
    """Returns how the paper's claims fared, table by table."""
    lines = [
        f"* {_title(summary)}: {result_tables.count(summary['verdicts'])}."
        for summary in summaries
        if summary["study"] == "table"
    ]
    if not lines:
        return ""
    return "\n".join(["The paper's claims, mutual information by two estimators:\n", *lines, ""])


def _pictures(folder: Path, stems: Sequence[str]) -> dict[str, list[Path]]:
    """Returns the pictures of each summary: those that begin with its name and with no longer one's."""
    pictures = {stem: [] for stem in stems}
    for path in sorted(folder.glob("*.png")):
        own = [stem for stem in stems if path.stem == stem or path.stem.startswith(f"{stem}_")]
        if own:
            pictures[max(own, key=len)].append(path)
    return pictures


def _section(path: Path, summary: dict[str, Any], pictures: Sequence[Path], output: Path) -> str:
    note = path.with_suffix(".md")
    parts = [
        f"## {_title(summary)}",
        _provenance_list(summary["provenance"]),
        _TEXTS[summary["study"]](summary),
    ]
    for picture in pictures:
        link = os.path.relpath(picture, output.parent)
        parts.append(f"![{picture.stem}]({Path(link).as_posix()})\n")
    if note.exists():
        parts.append(note.read_text(encoding="utf-8"))
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def _provenance_list(made: dict[str, Any]) -> str:
    """Returns command, seeds, K, hardware, hours and commit as a list."""
    lines = [
        *(f"`{command}`" for command in made["commands"]),
        f"{made['runs']} runs, {made['seeds']} seeds, {_joined(made['epochs'])} epochs",
        f"NLL with K = {_joined(made['nll_samples'])} on {_joined(made['num_images'])} images",
        f"{made['hours']:.2f} hours of training and evaluation on {_joined(made['hardware'])}",
        f"commit {_joined(made['commits'])}",
    ]
    return "\n".join(f"* {line}" for line in lines)


def _joined(values: Iterable) -> str:
    return " and ".join(map(str, values))
