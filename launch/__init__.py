"""The commands: `crvae train` or `python -m launch.train`, and so on for the others."""
