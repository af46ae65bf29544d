"""Lowers a training step to an XLA program that needs no TensorFlow, with its inputs.

  python -m benchmarks.lower_step --network=wae --batch_size=64 --output=FOLDER

The step is the model's own train_step, posterior noise and Adam included. FOLDER gets program.mlir
(StableHLO), inputs.npz (the batch, then each variable, in the program's order) and step.json, with the loss
that TensorFlow finds, the pairs and the operations of the step. `benchmarks.run_step` runs it.
"""

import argparse
import json
import pathlib

import keras
import numpy as np
import tensorflow as tf

from benchmarks import operations, train_step
from benchmarks.train_step import Case
from crvae_tf import datasets


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--network", default="wae", choices=("wae", "mlp"))
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--batch_size", type=int, default=64)
    parser.add_argument("--precision", default="float32", choices=("float32", "bfloat16"))
    parser.add_argument("--output", required=True, help="folder to write to")
    options = parser.parse_args()
    case = Case(options.network, options.width, options.batch_size, options.precision)
    print(f"loss by TensorFlow: {lower(case, pathlib.Path(options.output)):.4f}")


def lower(case: Case, folder: pathlib.Path) -> float:
    """Writes the program of the case's step with its inputs, and returns TensorFlow's loss, nats."""
    model = train_step.model_of(case)
    model.compile(optimizer=keras.optimizers.Adam(1e-4), jit_compile=True)
    model.optimizer.build(model.trainable_variables)
    images, views = batch(case)

    @tf.function(jit_compile=True)
    def step(images, views):
        return model.train_step((images, views))["loss"]

    program = step.experimental_get_compiler_ir(images, views)(stage="stablehlo")
    captured = step.get_concrete_function(images, views).captured_inputs
    inputs = [images, views, *map(value_of, captured)]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "program.mlir").write_text(program)
    np.savez(folder / "inputs.npz", *(np.asarray(value) for value in inputs))
    loss = float(step(images, views))
    operations_of_step = operations.step_operations(*train_step.build(case), case.batch_size)
    about = {
        "case": case.label,
        "loss": loss,
        "pairs": case.batch_size,
        "operations": operations_of_step,
    }
    (folder / "step.json").write_text(json.dumps(about, indent=2) + "\n")
    return loss


def batch(case: Case) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns a batch of pairs as the training makes them."""
    split = train_step.split_of(case.batch_size)
    batches = datasets.training_batches(
        split, case.batch_size, "dynamic", train_step.TRANSFORMATION, 0, range(1)
    )
    return next(iter(batches))


def value_of(captured: tf.Tensor) -> np.ndarray:
    """Returns the value of what a function captured: a constant, or a variable's handle."""
    if captured.dtype != tf.resource:
        return captured.numpy()
    handle = captured.handle_data if hasattr(captured, "handle_data") else captured._handle_data
    dtype = handle.shape_and_type[0].dtype
    return tf.raw_ops.ReadVariableOp(resource=captured, dtype=dtype).numpy()


if __name__ == "__main__":
    main()
