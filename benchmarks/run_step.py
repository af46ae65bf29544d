"""Runs a step that `benchmarks.lower_step` wrote under JAX's runtime, and checks its losses.

  python benchmarks/run_step.py FOLDER

It needs JAX and NumPy alone, on whatever accelerator JAX finds: no TensorFlow, and nothing else of this
package. Prints the losses of the first steps beside TensorFlow's (running means, as train_step returns
them), the time of a step, images and operations a second; exits with 1 where a loss differs by more
than a thousandth.
"""

import argparse
import json
import pathlib
import statistics
import sys
import time

import jax
import numpy as np
from jax.extend import backend

TURNS, STEPS = 5, 10
TOLERANCE = 1e-3


class Step:
    """A lowered step on JAX's default device, which updates its variables as it is called."""

    def __init__(self, folder: pathlib.Path):
        self._updates = json.loads((folder / "step.json").read_text())["updates"]
        self._inputs = [jax.device_put(array) for array in np.load(folder / "inputs.npz").values()]
        device = jax.devices()[0]
        # XLA's own, since jax.jit knows no program but those that JAX traced.
        self._program = device.client.compile_and_load(
            (folder / "program.mlir").read_text(), [device], backend.get_compile_options(1, 1)
        )

    def __call__(self) -> jax.Array:
        """Takes a step and returns its loss, nats."""
        outputs = self._program.execute(self._inputs)
        for output, place in self._updates:
            self._inputs[place] = outputs[output]
        return outputs[0]

    def seconds(self, steps: int) -> float:
        """Returns how long one of `steps` steps in a row takes."""
        began = time.perf_counter()
        for _ in range(steps):
            loss = self()
        loss.block_until_ready()
        return (time.perf_counter() - began) / steps


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=pathlib.Path)
    folder = parser.parse_args().folder
    jax.config.update("jax_enable_x64", True)  # The number of steps is an int64.
    about = json.loads((folder / "step.json").read_text())
    step = Step(folder)
    losses = [float(step()) for _ in about["losses"]]
    seconds = statistics.median(step.seconds(STEPS) for _ in range(TURNS))
    print(f"{about['case']} on {jax.devices()[0].device_kind}, JAX {jax.__version__}")
    print("losses:", *(f"{loss:.4f}" for loss in losses))
    print("by TensorFlow:", *(f"{loss:.4f}" for loss in about["losses"]))
    print(f"step: {1e3 * seconds:.3f} ms; {about['pairs'] / seconds:,.0f} images/s")
    print(f"{about['operations'] / seconds / 1e12:.3f} TFLOP/s")
    if not np.allclose(losses, about["losses"], rtol=TOLERANCE, atol=0.0):
        sys.exit(f"losses: expected {about['losses']}; received {losses}")


if __name__ == "__main__":
    main()
