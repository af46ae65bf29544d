"""Writes RESULTS.md from the summaries in results/: python -m launch.results

With --add=NAME --runs=RUN,RUN it first writes results/NAME.json, a summary of finished runs. The one
of a table is the JSON file that launch.reproduce writes: copy it there.
"""

from pathlib import Path

from launch import command, study_options


def main() -> None:
    """Writes the page that the flags describe."""
    from crvae_tf import files, results
    from launch import run_sets

    chosen = study_options.results()
    if chosen.add:
        summary = run_sets.summary_of_runs(chosen)
        results.read(chosen.results)  # Where another is damaged, this one is not written either.
        files.write_json(Path(chosen.results, f"{chosen.add}.json"), summary)
    files.write_text(chosen.output, results.document(chosen.results, chosen.output))


if __name__ == "__main__":
    study_options.define_results()
    command.run(main)
