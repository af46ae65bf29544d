"""The summaries of `reproduction` as Markdown and CSV. Pure functions on dictionaries."""

import collections
import csv
import io
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from crvae_tf import reproduction
from crvae_tf.reproduction import GAUSSIAN_NLL, PAPER_ETA

Row = dict[str, Any]
Key = tuple[str, str]

_METHOD_TITLES = {
    "vae": "VAE",
    "vae_aug": "VAE+Aug",
    "cr_vae": "CR-VAE",
    "iwae": "IWAE",
    "cr_iwae": "CR-IWAE",
    "beta_vae": "beta-VAE",
    "cr_beta_vae": "CR-beta-VAE",
}
_DATASET_TITLES = {"mnist": "MNIST", "omniglot": "OMNIGLOT", "celeb_a": "CelebA"}
_METRIC_TITLES = {
    "nll": "NLL",
    GAUSSIAN_NLL: "half the squared error + rate",
    "rate": "rate",
    "mutual_information_disjoint": "mutual information (disjoint)",
    "mutual_information_upper": "mutual information (upper bound)",
    "mutual_information_lower": "mutual information (lower bound)",
    "active_units": "active units",
    "consistency_kl": "KL(q(z\\|x) \\|\\| q(z~\\|x~))",
    "retrieval_at_1": "retrieval at 1",
    "probe_linear": "linear probe",
    "probe_nearest_neighbours": "5 nearest neighbours",
}
_SPLIT_TITLES = {
    "test": "test",
    "transformed_test": "transformed test",
    "clean": "clean",
    "train_transform": "training transformation",
    "test_transform": "test transformation",
}
NONE = "-"
"""What stands in a table where a method has no such figure."""

_DECIMALS = {
    "train_gap": 3,
    "test_gap": 3,
    "retrieval_at_1": 3,
    "probe_linear": 3,
    "probe_nearest_neighbours": 3,
    "active_units": 1,
}
_TABLE_METRICS = ("nll", "mutual_information_disjoint", "active_units")
_BETTER_WORDS = {
    "nll": "a lower NLL",
    "mutual_information_disjoint": "more mutual information (disjoint)",
    "mutual_information_upper": "more mutual information (upper bound)",
    "active_units": "more active units",
}
_FURTHER_COLUMNS = (
    ("rate", "test"),
    ("mutual_information_upper", "test"),
    ("mutual_information_upper", "transformed_test"),
    ("consistency_kl", "train_transform"),
    ("consistency_kl", "test_transform"),
    ("retrieval_at_1", "train_transform"),
    ("retrieval_at_1", "test_transform"),
    ("probe_linear", "clean"),
    ("probe_linear", "test_transform"),
)
_ETA_COLUMNS = (
    ("nll", "test"),
    ("nll", "transformed_test"),
    ("rate", "test"),
    *_FURTHER_COLUMNS[3:],
)
_RUN_COLUMNS = (
    ("nll", "test"),
    ("nll", "transformed_test"),
    ("rate", "test"),
    ("active_units", "test"),
    *_FURTHER_COLUMNS[3:],
)
_INFORMATION_NOTE = (
    "Mutual information: the paper's figures exceed the rate, which bounds it from above, so they can "
    "be set against `mutual_information_disjoint` (64 posteriors of other images) only, and in "
    "magnitude only."
)
_GAUSSIAN_NOTE = (
    "The paper's NLL of these images can only be half the squared error plus the rate, the Gaussian's "
    "constant left out: that figure of ours stands beside it; the NLL itself is among the further ones."
)


def method_title(label: str) -> str:
    """Returns a method's name as the paper writes it.

    >>> method_title("cr_beta_vae_0.5"), method_title("iwae_5"), method_title("vae_aug")
    ('CR-beta-VAE (beta = 0.5)', 'IWAE (K = 5)', 'VAE+Aug')
    """
    if label in _METHOD_TITLES:
        return _METHOD_TITLES[label]
    name, _, number = label.rpartition("_")
    parameter = "K" if name.endswith("iwae") else "beta"
    return f"{_METHOD_TITLES[name]} ({parameter} = {number})" if name in _METHOD_TITLES else label


def dataset_title(name: str) -> str:
    """Returns a data set's name as the paper writes it."""
    return _DATASET_TITLES.get(name, name)


def number_of(metric: str, mean: float | None, std: float | None) -> str:
    """Returns a mean with its standard deviation over seeds, where it has one.

    >>> number_of("nll", 83.71, 0.32), number_of("retrieval_at_1", 0.25, None)
    ('83.71 ± 0.32', '0.250')
    """
    if mean is None:
        return ""
    decimals = _DECIMALS.get(metric, 2)
    shown = f"{mean:.{decimals}f}"
    return shown if std is None else f"{shown} ± {std:.{decimals}f}"


def table_markdown(summary: dict[str, Any]) -> str:
    """Returns a table of the paper made anew beside the paper's own, and a verdict on each claim.

    Args:
      summary: of `reproduction.summarize_table`.
    """
    parts = []
    for dataset in summary["datasets"]:
        rows = [row for row in summary["rows"] if row["dataset"] == dataset]
        verdicts = [v for v in summary["verdicts"] if v["dataset"] == dataset]
        parts += [
            f"### Table {summary['table']}: {dataset_title(dataset)}",
            _main_table(summary["table"], rows),
            _notes(rows),
            f"Claims of the paper, mutual information by two estimators: {count(verdicts)}.",
            _verdict_table(rows, verdicts),
            "Further figures, which the paper does not have:",
            _further_table(summary["table"], rows),
        ]
    return "\n\n".join(
        [*parts, f"± is the sample standard deviation over seeds. {reproduction.NOISE_RULE}\n"]
    )


def _main_table(table: int, rows: list[Row]) -> str:
    columns = [
        (metric, split) for metric in _shown_metrics(rows) for split in ("test", "transformed_test")
    ]
    cells = {(row["method"], row["metric"], row["split"]): row for row in rows}
    lines = []
    for pair in reproduction.TABLES[table].pairs:
        labels = [method.label for method in pair]
        best = {column: _best([cells.get((label, *column)) for label in labels]) for column in columns}
        for label in labels:
            own = {column: cells.get((label, *column), {}) for column in columns}
            lines += _method_lines(label, own, best)
    return markdown_table(["method", "", "seeds", *_headings(columns)], lines)


def _shown_metrics(rows: list[Row]) -> Sequence[str]:
    gaussian = any(row["metric"] == GAUSSIAN_NLL for row in rows)
    return (GAUSSIAN_NLL, *_TABLE_METRICS[1:]) if gaussian else _TABLE_METRICS


def _method_lines(label: str, cells: dict[Key, Row], best: dict[Key, float | None]) -> list[list[str]]:
    """Returns a method's line and, where it has one, the paper's below."""
    seeds = max((len(cell.get("values", [])) for cell in cells.values()), default=0)
    ours, theirs = [], []
    for column, cell in cells.items():
        shown = number_of(column[0], cell.get("mean"), cell.get("std"))
        is_best = cell and cell["mean"] == best[column]
        ours.append(f"**{shown}**" if is_best else shown or reproduction.NOT_RUN)
        theirs.append(_paper_number(cell))
    lines = [[method_title(label), "here", str(seeds), *ours]]
    return [*lines, ["", "paper", "", *theirs]] if any(theirs) else lines


def _paper_number(cell: Row) -> str:
    if cell.get("paper_mean") is None:
        return ""
    return f"{cell['paper_mean']:g} ± {cell['paper_std']:g}"


def _best(cells: list[Row | None]) -> float | None:
    """Returns the better mean of a pair, or None where one of the two is missing."""
    if not all(cells):
        return None
    lower = cells[0]["metric"] in ("nll", GAUSSIAN_NLL)
    return (min if lower else max)(cell["mean"] for cell in cells)


def _notes(rows: list[Row]) -> str:
    gaussian = any(row["metric"] == GAUSSIAN_NLL for row in rows)
    missing = (
        [] if any(row["paper_mean"] is not None for row in rows) else ["The paper has no such figures."]
    )
    return " ".join([*missing, _INFORMATION_NOTE, *([_GAUSSIAN_NOTE] if gaussian else [])])


def count(verdicts: list[Row]) -> str:
    """Returns how many verdicts there are of each kind.

    >>> count([{"verdict": "held"}, {"verdict": "within the noise"}, {"verdict": "held"}])
    '2 held, 1 within the noise'
    """
    counts = collections.Counter(verdict["verdict"] for verdict in verdicts)
    kinds = (reproduction.HELD, reproduction.FAILED, reproduction.NOISE, reproduction.NOT_RUN)
    return ", ".join(f"{counts[kind]} {kind}" for kind in kinds if counts[kind])


def _verdict_table(rows: list[Row], verdicts: list[Row]) -> str:
    cells = {(row["method"], row["metric"], row["split"]): row for row in rows}
    heads = ["claim", "verdict", "figures", "difference, with its noise", "difference in the paper"]
    return markdown_table(heads, [_verdict_line(verdict, cells) for verdict in verdicts])


def _verdict_line(verdict: Row, cells: dict[tuple[str, str, str], Row]) -> list[str]:
    metric, split = verdict["metric"], verdict["split"]
    names = (verdict["regularised"], verdict["base"])
    found = [cells.get((name, metric, split)) for name in names]
    figures = [number_of(metric, cell["mean"], cell["std"]) if cell else "none" for cell in found]
    return [
        f"{method_title(names[0])} has {_BETTER_WORDS[metric]} than {method_title(names[1])}, "
        f"{_SPLIT_TITLES[split]}",
        f"**{verdict['verdict']}**",
        " against ".join(figures),
        difference(metric, verdict),
        "" if verdict["paper_difference"] is None else f"{verdict['paper_difference']:+g}",
    ]


def difference(metric: str, verdict: Row) -> str:
    """Returns a verdict's difference with its noise.

    >>> difference("nll", {"difference": -2.5, "noise": 0.41})
    '-2.50 ± 0.41'
    >>> difference("nll", {"difference": -2.5, "noise": None})
    '-2.50, of single seeds'
    """
    if verdict["difference"] is None:
        return ""
    decimals = _DECIMALS.get(metric, 2)
    shown = f"{verdict['difference']:+.{decimals}f}"
    if verdict["noise"] is None:
        return f"{shown}, of single seeds"
    return f"{shown} ± {verdict['noise']:.{decimals}f}"


def _further_table(table: int, rows: list[Row]) -> str:
    measured = {(row["metric"], row["split"]) for row in rows}
    gaussian = any(metric == GAUSSIAN_NLL for metric, _ in measured)
    extra = (("nll", "test"), ("nll", "transformed_test")) if gaussian else ()
    columns = [column for column in (*extra, *_FURTHER_COLUMNS) if column in measured]
    labels = [method.label for method in reproduction.TABLES[table].methods]
    return by_key(rows, "method", labels, columns, method_title)


def by_key(
    rows: list[Row],
    name: str,
    keys: Iterable,
    columns: Sequence[Key],
    title: Callable[[Any], str] = str,
    absent: str = reproduction.NOT_RUN,
) -> str:
    """Returns a table in Markdown with a line for each of `keys`.

    Args:
      rows: of a summary.
      name: of the entry of a row that is its key.
      keys: in the order of the lines.
      columns: (metric, split) of each.
      title: what a line is called.
      absent: what stands where there is no figure.
    """
    cells = {(row[name], row["metric"], row["split"]): row for row in rows}
    lines = []
    for key in keys:
        found = [cells.get((key, *column), {}) for column in columns]
        shown = [
            number_of(metric, cell.get("mean"), cell.get("std")) or absent
            for (metric, _), cell in zip(columns, found, strict=True)
        ]
        lines.append([title(key), *shown])
    return markdown_table([name, *_headings(columns)], lines)


def eta_markdown(summary: dict[str, Any]) -> str:
    """Returns the study of eta as a table, with a verdict on the paper's choice.

    Args:
      summary: of `reproduction.summarize_eta`.
    """
    rows = summary["rows"]
    measured = {(row["metric"], row["split"]) for row in rows}
    columns = [column for column in _ETA_COLUMNS if column in measured]
    etas = list(dict.fromkeys(row["eta"] for row in rows))
    seeds = max((len(row["values"]) for row in rows), default=0)
    table = by_key(rows, "eta", etas, columns, lambda eta: f"{eta:g}")
    dataset = dataset_title(summary["datasets"][0])
    return "\n\n".join(
        [
            f"### eta: CR-VAE on {dataset}, images held out of the training set",
            f"{seeds} seeds. `test` stands for the held-out images, which no model was trained on.",
            table,
            _eta_verdict(summary),
            f"± is the sample standard deviation over seeds. {reproduction.NOISE_RULE}\n",
        ]
    )


def _eta_verdict(summary: dict[str, Any]) -> str:
    verdict = summary["verdict"]
    choice = f"The paper's choice, eta = {PAPER_ETA:g},"
    if summary["best_eta"] is None:
        return "No eta was run."
    best = f"The lowest NLL is at eta = {summary['best_eta']:g}."
    if verdict["verdict"] == reproduction.NOT_RUN:
        return f"{best} {choice} or another to set it against was not run."
    return (
        f"{best} {choice} has a lower NLL than the best of the others, eta = {verdict['other_eta']:g}: "
        f"**{verdict['verdict']}** (nats: {difference('nll', verdict)})."
    )


def runs_markdown(summary: dict[str, Any]) -> str:
    """Returns finished runs side by side, with figures published elsewhere where there are some.

    Args:
      summary: of `reproduction.summarize_runs`.
    """
    parts = []
    for dataset in summary["datasets"]:
        rows = [row for row in summary["rows"] if row["dataset"] == dataset]
        labels = list(dict.fromkeys(row["method"] for row in rows))
        measured = {(row["metric"], row["split"]) for row in rows}
        columns = [column for column in _RUN_COLUMNS if column in measured]
        parts += [
            f"### {dataset_title(dataset)}",
            by_key(rows, "method", labels, columns, method_title),
        ]
    if summary["published"]:
        parts += [f"NLL beside {summary['published_by']}, nats:", _published_table(summary)]
    return "\n\n".join(
        [*parts, "± is the sample standard deviation over seeds, where there are several.\n"]
    )


def _published_table(summary: dict[str, Any]) -> str:
    """Returns each NLL with the published one, and both with what they gain on the first."""
    means = {
        row["method"]: row["mean"]
        for row in summary["rows"]
        if (row["metric"], row["split"]) == ("nll", "test")
    }
    published = {label: value for label, value in summary["published"].items() if label in means}
    first = next(iter(published))
    lines = [
        [
            method_title(label),
            f"{means[label]:.2f}",
            f"{value:.2f}",
            f"{means[label] - value:+.2f}",
            f"{means[label] - means[first]:+.2f}",
            f"{value - published[first]:+.2f}",
        ]
        for label, value in published.items()
    ]
    to_first = f"less {method_title(first)}"
    heads = ["method", "NLL", "published", "difference", f"NLL {to_first}", f"published {to_first}"]
    return markdown_table(heads, lines)


def csv_text(summary: dict[str, Any]) -> str:
    """Returns the rows of a summary as CSV, one line for each figure."""
    first = "eta" if summary["study"] == "eta" else "method"
    heads = ["dataset", first, "metric", "split", "seeds", "mean", "std", "paper_mean", "paper_std"]
    written = io.StringIO()
    writer = csv.DictWriter(written, heads, extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows(row | {"seeds": len(row["values"])} for row in summary["rows"])
    return written.getvalue()


def _headings(columns: Sequence[Key]) -> list[str]:
    return [f"{_METRIC_TITLES[metric]}, {_SPLIT_TITLES[split]}" for metric, split in columns]


def markdown_table(heads: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Returns a table in Markdown."""
    rows = [heads, ["---"] * len(heads), *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
