"""A run's directory: what lies where, and whether it may be written to."""

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from crvae_tf import files
from crvae_tf.errors import InputError


class Run:
    """The directory of one training run.

    Args:
      directory: of the run; it need not exist.
    """

    def __init__(self, directory: str | Path):
        self.directory = Path(directory)
        self.config = self.directory / "config.json"
        self.metrics = self.directory / "metrics.jsonl"
        self.tensorboard = self.directory / "tensorboard"
        self.checkpoints = self.directory / "checkpoints"
        self.weights = self.directory / "model.weights.h5"
        self.evaluation = self.directory / "evaluation.json"
        self.invariance = self.directory / "invariance.json"
        self.figures = self.directory / "figures"
        self.encoder = self.directory / "encoder"
        self.decoder = self.directory / "decoder"

    def begin(self, config: dict[str, Any], may_differ: Collection[str] = ()) -> None:
        """Writes `config`, or finds that the directory holds a run of the same one.

        Args:
          config: every option, and what else decides the outcome.
          may_differ: the names of those that do not.

        Raises:
          InputError: the directory holds another run, or something that is no run.
        """
        if self.config.exists():
            self._check_same(config, may_differ)
        elif self.directory.exists() and any(self.directory.iterdir()):
            raise InputError(
                f"--output_dir={self.directory}: expected a new or empty folder, or a run to resume; "
                "received a folder of other files"
            )
        else:
            files.write_json(self.config, config)

    def is_complete(self) -> bool:
        """Returns whether all that a run leaves behind is there."""
        parts = (self.weights, self.evaluation, self.encoder, self.decoder, self.figures)
        return all(part.exists() for part in parts)

    def read_config(self) -> dict[str, Any]:
        """Returns the run's configuration.

        Raises:
          InputError: there is no run.
        """
        try:
            return json.loads(self.config.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(
                f"--output_dir={self.directory}: expected the folder of a run; received no readable "
                f"{self.config.name} in it"
            ) from error

    def read_evaluation(self) -> dict[str, Any] | None:
        """Returns what `evaluation.json` holds, or None where there is none yet."""
        if not self.evaluation.exists():
            return None
        return json.loads(self.evaluation.read_text(encoding="utf-8"))

    def read_metrics(self) -> list[dict[str, Any]]:
        """Returns the finished epochs' lines of `metrics.jsonl`."""
        if not self.metrics.exists():
            return []
        return [json.loads(line) for line in self.metrics.read_text(encoding="utf-8").splitlines()]

    def _check_same(self, config: dict[str, Any], may_differ: Collection[str]) -> None:
        held, wanted = self.read_config(), json.loads(json.dumps(config))
        for name in wanted:
            if name not in may_differ and held.get(name) != wanted[name]:
                raise InputError(
                    f"--output_dir={self.directory}: expected a new folder, or the run in it with "
                    f"{name}={held.get(name)}; received {name}={wanted[name]}"
                )
