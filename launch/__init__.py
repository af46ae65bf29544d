"""The commands: `python -m launch.train`, `launch.evaluate`, `launch.export`, `launch.report`."""
