"""Summaries of studies as JSON files, and docs/results.md made of them."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from crvae_tf.errors import InputError
from crvae_tf.runs import files
from crvae_tf.runs.run import Run
from crvae_tf.studies import comparisons, evaluation_frame, paper
from crvae_tf.studies.evaluation_frame import dataset_title

Summary = dict[str, Any]

_UNKNOWN = "unknown"
_HEAD = """# Results

Written by `python -m launch.results --results={folder} --output={output}` from the JSON files in
`{folder}`: change those, not this page. docs/run_folder.md says what each figure is.
"""


def _title(summary: Summary) -> str:
    data = ", ".join(map(dataset_title, summary["datasets"]))
    return {
        "table": lambda: f"Table {summary['table']} of Sinha et al. 2020, {data}",
        "eta": lambda: f"The choice of eta, {data}",
        "runs": lambda: summary["title"],
        "invariance": lambda: f"Embeddings that stay put, {data}, {summary['network']}",
    }[summary["study"]]()


def _markdown(summary: Summary) -> str:
    return (paper if summary["study"] == "table" else comparisons).markdown(summary)


def write(path: str | Path, summary: Summary, runs: Sequence[Run], commands: Sequence[str]) -> str:
    """Writes a summary as `PATH.json`, `PATH.csv` and `PATH.md`, and returns the last one's text.

    Args:
      path: of the files, without a suffix.
      summary: of `paper` or `comparisons`.
      runs: finished ones that its figures are of.
      commands: that make the figures anew.
    """
    rows = summary["rows"]
    as_json = rows.astype(object).where(rows.notna(), None).to_dict("records")
    made = provenance(runs, commands)
    files.write_json(f"{path}.json", summary | {"rows": as_json, "provenance": made})
    columns = [*evaluation_frame.CELL, "seeds", "mean", "std", "paper_mean", "paper_std"]
    table = rows.assign(seeds=rows["values"].map(len)).filter(columns)
    files.write_text(f"{path}.csv", table.to_csv(index=False))
    text = _markdown(summary)
    files.write_text(f"{path}.md", text)
    return text


def provenance(runs: Sequence[Run], commands: Sequence[str]) -> dict[str, Any]:
    """Returns how figures were made.

    Args:
      runs: finished ones that the figures are of.
      commands: that make the figures anew.

    Returns:
      `commands`; `runs` and `seeds`, their numbers; `nll_samples` (K), `num_images` (evaluated),
      `epochs`, `hardware` and `commits`, each a list of what occurs; and `hours` of training and
      evaluation together.
    """
    configs = [run.read_config() for run in runs]
    tests = [run.read_evaluation()["splits"]["test"] for run in runs]
    made = [run.read_provenance() for run in runs]
    seconds = ("training_seconds", "evaluation_seconds")
    return {
        "commands": list(commands),
        "runs": len(runs),
        "seeds": len({config["seed"] for config in configs}),
        "epochs": sorted({config["epochs"] for config in configs}),
        "nll_samples": sorted({test["nll_samples"] for test in tests}),
        "num_images": sorted({test["num_images"] for test in tests}),
        "hours": round(sum(one.get(name, 0.0) for one in made for name in seconds) / 3600.0, 3),
        "hardware": sorted({one.get("hardware") or _UNKNOWN for one in made}),
        "commits": sorted({one.get("commit") or _UNKNOWN for one in made}),
    }


def document(folder: str | Path, output: str | Path) -> str:
    """Returns docs/results.md: a section for each JSON file of `folder`, in the order of their names.

    Beside `NAME.json` may lie a note, `NAME.md`, and pictures, `NAME.png` and `NAME_*.png`.

    Args:
      folder: of the summaries that `write` wrote.
      output: where the page will lie; its links are relative to that.

    Raises:
      InputError: there is no such file, or one holds no summary.
    """
    folder, output = Path(folder), Path(output)
    paths = sorted(folder.glob("*.json"))
    if not paths:
        raise InputError("results", "a folder with summaries of runs, *.json", folder)
    overview, sections = [], []
    for path in paths:
        summary = files.read_json(path)
        try:
            summary["rows"] = pd.DataFrame(summary["rows"], columns=_columns(summary["rows"]))
            sections.append(_section(path, summary, _pictures(path, paths), output))
            if summary["study"] == "table":
                overview.append(f"* {_title(summary)}: {paper.count(summary['verdicts'])}.")
        except (AttributeError, KeyError, TypeError) as error:
            raise InputError(str(path), "a summary of runs", f"one without {error}") from error
    if overview:
        overview = ["The paper's claims, mutual information by two estimators:\n", *overview, ""]
    head = _HEAD.format(folder=folder.as_posix(), output=output.as_posix())
    return "\n".join([head, "\n".join(overview), *sections])


def _columns(rows: list[dict[str, Any]]) -> list[str]:
    return list(rows[0]) if rows else [*evaluation_frame.CELL, "values", "mean", "std"]


def _pictures(path: Path, paths: Sequence[Path]) -> list[Path]:
    """Returns the pictures of a summary: files that begin with its name, and not with a longer one."""

    def owner(picture: Path) -> Path:
        own = [p for p in paths if f"{picture.stem}_".startswith(f"{p.stem}_")]
        return max(own, key=lambda p: len(p.stem), default=None)

    return [picture for picture in sorted(path.parent.glob("*.png")) if owner(picture) == path]


def _section(path: Path, summary: Summary, pictures: Sequence[Path], output: Path) -> str:
    shown = [
        f"![{picture.stem}]({Path(os.path.relpath(picture, output.parent)).as_posix()})\n"
        for picture in pictures
    ]
    note = path.with_suffix(".md")
    notes = [note.read_text(encoding="utf-8")] if note.exists() else []
    made = _provenance_list(summary["provenance"])
    parts = [f"## {_title(summary)}", made, _markdown(summary), *shown, *notes]
    return "\n\n".join(part.rstrip("\n") for part in parts) + "\n"


def _provenance_list(made: dict[str, Any]) -> str:
    """Returns commands, seeds, K, hardware, hours and commits as a list."""
    lines = [
        *(f"`{command}`" for command in made["commands"]),
        f"{made['runs']} runs, {made['seeds']} seeds, {_joined(made['epochs'])} epochs",
        f"NLL with K = {_joined(made['nll_samples'])} on {_joined(made['num_images'])} images",
        f"{made['hours']:.2f} hours of training and evaluation on {_joined(made['hardware'])}",
        f"commit {_joined(made['commits'])}",
    ]
    return "\n".join(f"* {line}" for line in lines)


def _joined(values: Sequence[Any]) -> str:
    return " and ".join(map(str, values))
