"""Runs a step that `benchmarks.lower_step` wrote under JAX's runtime, and checks its loss.

  python benchmarks/run_step.py FOLDER

It needs JAX and NumPy alone, on whatever accelerator JAX finds: no TensorFlow, and nothing else of this
package. Prints the loss beside TensorFlow's, steps and images a second, and operations a second; exits
with 1 where the losses differ by more than --tolerance.
"""

import argparse
import json
import pathlib
import statistics
import sys
import time

import jax
import numpy as np


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--steps", type=int, default=10, help="in a row, in each of five turns")
    parser.add_argument("--tolerance", type=float, default=1e-3, help="of the loss, relative")
    options = parser.parse_args()
    about = json.loads((options.folder / "step.json").read_text())
    step = load(options.folder)
    loss = float(np.asarray(step()[0]))
    seconds = statistics.median(step_seconds(step, options.steps) for _ in range(5))
    print(f"{about['case']} on {jax.devices()[0].device_kind}, JAX {jax.__version__}")
    print(f"loss: {loss:.4f}; by TensorFlow: {about['loss']:.4f}")
    print(f"step: {1e3 * seconds:.3f} ms; {about['pairs'] / seconds:,.0f} images/s")
    print(f"{about['operations'] / seconds / 1e12:.3f} TFLOP/s")
    if not np.isclose(loss, about["loss"], rtol=options.tolerance, atol=0.0):
        sys.exit(f"loss: expected {about['loss']}; received {loss}")


def load(folder: pathlib.Path):
    """Returns the step as a function without arguments, compiled for JAX's default device."""
    arrays = np.load(folder / "inputs.npz")
    inputs = [arrays[f"arr_{index}"] for index in range(len(arrays))]
    device = jax.devices()[0]
    return device, inputs


def step_seconds(step, steps: int) -> float:
    """Returns how long one of `steps` steps in a row takes."""
    began = time.perf_counter()
    for _ in range(steps):
        outputs = step()
    jax.block_until_ready(outputs)
    return (time.perf_counter() - began) / steps


if __name__ == "__main__":
    main()
