"""Makes a table of the paper anew: python -m launch.reproduce --table=4 --preset=cpu --seeds=3

Each method and seed is a run of its own, trained as by launch.train with the flags of the preset and
those given here. The same command given again leaves finished runs as they are and goes on with the
others.
"""

import sys

from launch import command, study_options


def main() -> None:
    """Trains what is not finished and writes the tables; exits with 1 if a training failed."""
    from launch import assembly, grid, studies

    chosen = study_options.reproduce()
    jobs = studies.jobs(chosen)
    studies.check(jobs)
    failures = grid.run(jobs, chosen.parallel, studies.title(chosen))
    failures += studies.measure_baselines(chosen)
    folder = studies.output_directory(chosen)
    print(studies.write(chosen, jobs), flush=True)
    assembly.say(f"tables: {folder}; the pictures are being drawn")
    failures += studies.draw(chosen, jobs)
    assembly.say("\n".join([f"pictures: {folder}", *failures]))
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    study_options.define_reproduce()
    command.run(main)
