"""Summaries of studies as JSON files, and docs/results.md made of them."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from crvae_tf.errors import InputError
from crvae_tf.runs import files
from crvae_tf.runs.run import Run
from crvae_tf.studies import comparisons, paper
from crvae_tf.studies.comparisons import dataset_title

Summary = dict[str, Any]

_HEAD = """\
Written by `python docs/write_pages.py` from the JSON files in `{folder}`: change those, not this page.
docs/run_folder.md says what each figure is.
"""


def write(path: str | Path, summary: Summary, runs: Sequence[Run], commands: Sequence[str]) -> str:
    """Writes a summary as `PATH.json`, `PATH.csv` and `PATH.md`, and returns the last one's text.

    It is of `paper` or `comparisons`, and its figures are of the finished `runs`; see `provenance`.
    """
    rows = summary["rows"]
    as_json = rows.astype(object).where(rows.notna(), None).to_dict("records")
    made = provenance(runs, commands)
    files.write_json(f"{path}.json", summary | {"rows": as_json, "provenance": made})
    table = rows.assign(values=rows["values"].map(len)).rename(columns={"values": "seeds"})
    files.write_text(f"{path}.csv", table.to_csv(index=False))
    text = _markdown(summary)
    files.write_text(f"{path}.md", text)
    return text


def provenance(runs: Sequence[Run], commands: Sequence[str]) -> dict[str, Any]:
    """Returns how the figures of finished runs were made, and the `commands` that make them anew.

    Lists hold what occurs among the runs; `hours` are of training and evaluation together.
    """
    configs = [run.read_config() for run in runs]
    tests = [run.read_json(run.evaluation)["splits"]["test"] for run in runs]
    made = [run.read_json(run.provenance) for run in runs]
    seconds = ("training_seconds", "evaluation_seconds")
    return {
        "commands": list(commands),
        "runs": len(runs),
        "seeds": len({config["seed"] for config in configs}),
        "epochs": sorted({config["epochs"] for config in configs}),
        "nll_samples": sorted({test["nll_samples"] for test in tests}),
        "num_images": sorted({test["num_images"] for test in tests}),
        "hours": round(sum(one.get(name, 0.0) for one in made for name in seconds) / 3600.0, 3),
        "hardware": sorted({one.get("hardware") or "unknown" for one in made}),
        "commits": sorted({one.get("commit") or "unknown" for one in made}),
    }


def document(folder: str | Path, output: str | Path) -> str:
    """Returns a page of results: a section for each JSON file of `folder`, in the order of their names.

    Beside `NAME.json` may lie a note, `NAME.md`, and pictures, `NAME.png` and `NAME_*.png`. The page
    links to these relative to `output`, where it will lie. `summary.md`, if it is there, is the head.

    Raises InputError if there is no such file, or one holds no summary.
    """
    folder, output = Path(folder), Path(output)
    summaries = {path: _read(path) for path in sorted(folder.glob("*.json"))}
    if not summaries:
        raise InputError("results", "a folder with summaries of runs, *.json", folder)
    opening = folder / "summary.md"
    head = [opening.read_text(encoding="utf-8") if opening.exists() else "# Results\n"]
    head.append(_HEAD.format(folder=folder.as_posix()))
    tables = [summary for summary in summaries.values() if summary["study"] == "table"]
    if tables:
        counts = [f"* {_title(table)}: {paper.count(table['verdicts'])}." for table in tables]
        head += ["The paper's claims, mutual information by two estimators:\n", *counts, ""]
    return "\n".join(head + [_section(path, summary, output) for path, summary in summaries.items()])


def _read(path: Path) -> Summary:
    summary = files.read_json(path)
    if not (isinstance(summary, dict) and {"study", "rows", "provenance"} <= summary.keys()):
        raise InputError(str(path), "a summary of runs", "something else")
    rows = pd.DataFrame(summary["rows"]) if summary["rows"] else comparisons.spread({})
    return summary | {"rows": rows}


def _title(summary: Summary) -> str:
    data = ", ".join(map(dataset_title, summary["datasets"]))
    return summary.get("title") or f"Table {summary['table']} of Sinha et al. 2020, {data}"


def _markdown(summary: Summary) -> str:
    return (paper if summary["study"] == "table" else comparisons).markdown(summary)


def _section(path: Path, summary: Summary, output: Path) -> str:
    pictures = [
        f"![{picture.stem}]({os.path.relpath(picture, output.parent)})"
        for picture in sorted(path.parent.glob("*.png"))
        if f"{picture.stem}_".startswith(f"{path.stem}_")
    ]
    note = path.with_suffix(".md")
    notes = [note.read_text(encoding="utf-8")] if note.exists() else []
    parts = [f"## {_title(summary)}", _provenance_list(summary["provenance"]), _markdown(summary)]
    return "\n\n".join(part.rstrip("\n") for part in [*parts, *pictures, *notes]) + "\n"


def _provenance_list(made: dict[str, Any]) -> str:
    """Returns commands, seeds, K, hardware, hours and commits as a list."""
    joined = {name: " and ".join(map(str, f)) for name, f in made.items() if isinstance(f, list)}
    lines = [
        *(f"`{command}`" for command in made["commands"]),
        f"{made['runs']} runs, {made['seeds']} seeds, {joined['epochs']} epochs",
        f"NLL with K = {joined['nll_samples']} on {joined['num_images']} images",
        f"{made['hours']:.2f} hours of training and evaluation on {joined['hardware']}",
        f"commit {joined['commits']}",
    ]
    return "\n".join(f"* {line}" for line in lines)
