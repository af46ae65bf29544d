"""Lowers a training step to an XLA program that needs no TensorFlow, with its inputs.

  python -m benchmarks.lower_step --network=wae --batch_size=64 --output=FOLDER

The step is the model's own train_step, posterior noise and Adam included. FOLDER gets program.mlir
(StableHLO), inputs.npz (the batch, then each variable, in the program's order) and step.json, with the
losses of the first steps by TensorFlow, the pairs and the operations of a step.
`benchmarks/run_step.py` runs it.
"""

import argparse
import json
import pathlib
import re

import numpy as np
import tensorflow as tf

from benchmarks import train_step
from benchmarks.train_step import Case

STEPS = 3
"""Whose losses TensorFlow finds: the later ones depend on gradients and on Adam."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--network", default="wae", choices=("wae", "mlp"))
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--precision", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--output", type=pathlib.Path, required=True, help="folder to write to")
    options = vars(parser.parse_args())
    folder = options.pop("output")
    print("losses by TensorFlow:", *(f"{loss:.4f}" for loss in lower(Case(**options), folder)))


def lower(case: Case, folder: pathlib.Path) -> list[float]:
    """Writes the program of the case's step with its inputs, and returns TensorFlow's losses, nats."""
    model = train_step.compiled_model(case)
    pair = next(train_step.batches_of(case))

    @tf.function(jit_compile=True)
    def step(images, views):
        return model.train_step((images, views))["loss"]

    program = step.experimental_get_compiler_ir(*pair)(stage="stablehlo")
    captured = step.get_concrete_function(*pair).captured_inputs
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "program.mlir").write_text(program)
    # Before a step is taken, which changes the variables.
    np.savez(folder / "inputs.npz", *(np.asarray(value) for value in (*pair, *map(value_of, captured))))
    losses = [float(step(*pair)) for _ in range(STEPS)]
    about = {
        "case": case.label,
        "losses": losses,
        "pairs": case.batch_size,
        "operations": train_step.step_operations(*train_step.build(case), case.batch_size),
        "updates": updates_of(program),
    }
    (folder / "step.json").write_text(json.dumps(about) + "\n")
    return losses


def updates_of(program: str) -> list[tuple[int, int]]:
    """Returns which output is the new value of which input, (output, input), of each variable.

    >>> updates_of("parameter_number = 2 : i64}, output_index = array<i64: 1>}")
    [(1, 2)]
    """
    found = re.findall(r"parameter_number = (\d+) : i64}, output_index = array<i64: (\d+)>", program)
    return [(int(output), int(place)) for place, output in found]


def value_of(captured: tf.Tensor) -> np.ndarray:
    """Returns the value of what a function captured: a constant, or a variable's handle."""
    if captured.dtype != tf.resource:
        return captured.numpy()
    dtype = captured._handle_data.shape_and_type[0].dtype
    return tf.raw_ops.ReadVariableOp(resource=captured, dtype=dtype).numpy()


if __name__ == "__main__":
    main()
