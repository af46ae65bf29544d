"""Compares finished runs: python -m launch.compare --runs=RUN,RUN --output_dir=FOLDER

Draws Figure 1 of the paper for the runs side by side, `figure_1.png`, and how the embedding of each
changes with the size of each transformation alone, `invariance.png`. What the latter shows stays in
each run's `invariance.json`.
"""

from pathlib import Path

from launch import command, study_options


def main() -> None:
    """Draws the pictures, and measures what they show where that was not done before."""
    from crvae_tf import figures
    from launch import assembly, run_sets

    chosen = study_options.compare()
    planes, curves, ranges = {}, {}, []
    for title, run in run_sets.titled(chosen.runs).items():
        of_run = run_sets.options_of(run, chosen.data_dir)
        model, data = assembly.open_run(of_run)
        if chosen.figure_1:
            planes[title] = assembly.latent_means(of_run, model, data)
        if chosen.invariance:
            run.lock()
            curves[title] = assembly.invariance_curves(of_run, model, data, run)
            transformed = assembly.test_transformation(of_run)
            ranges.append({(name, getattr(transformed, name)) for name in curves[title]})
    folder = Path(chosen.output_dir)
    if planes:
        figures.latent_planes(folder / "figure_1.png", planes)
    if curves:
        common = dict(set.intersection(*ranges))
        figures.invariance_curves(folder / "invariance.png", curves, common)
    assembly.say(f"pictures: {folder}")


if __name__ == "__main__":
    study_options.define_compare()
    command.run(main)
