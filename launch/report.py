"""Compares runs on one page of HTML: python -m launch.report --runs=RUN[,RUN...] --output=report.html

The page needs no network: its pictures are in it. Runs may be unfinished.
"""

from launch import command, options, study_options


def main() -> None:
    """Writes the page that --output names."""
    from crvae_tf import files, report
    from launch import assembly, exhibits, tables

    chosen = study_options.report()
    records = report.read(chosen.runs)
    bar = tables.ProgressBar("drawing", "runs")
    shown = []
    for record in records:
        bar(len(shown), len(records))
        shown.append(exhibits.exhibit(record, chosen.data_dir))
    bar.close()
    for record, exhibit in zip(records, shown, strict=True):
        if lacking := report.remarks(record, exhibit):
            assembly.say(f"{record.name}: {lacking}")
    files.write_text(chosen.output, report.render(records, shown, leave_out=options.PLACES))
    assembly.say(f"report: {chosen.output}")


if __name__ == "__main__":
    study_options.define_report()
    command.run(main)
