"""A run is never lost, never half-written and never silently wrong."""

import gc
import os
import shutil
import signal

import pytest
import tensorflow as tf

from crvae_tf import VAE
from crvae_tf.errors import InputError, Interrupted, NotFiniteError
from crvae_tf.runs.run import Run
from crvae_tf.training.callbacks import Checkpoints
from crvae_tf.training.fit import Settings
from tests.small_training import EPOCHS, IMAGES, assert_same_to_the_bit, new_model, train


def crash():
    raise KeyboardInterrupt


def terminate():
    os.kill(os.getpid(), signal.SIGTERM)
    return 0.0


@pytest.fixture(scope="module")
def crashed_once(noise, tmp_path_factory):
    """The folder of a run with checkpoints of six and of seven steps."""
    folder = tmp_path_factory.mktemp("crashed_once")
    with pytest.raises(KeyboardInterrupt):  # It is asked for its estimate after eight steps.
        train(folder, noise, checkpoint_minutes=0.0, later_seconds=crash)
    assert kept(folder) == {"ckpt-6.index", "ckpt-7.index"}
    return folder


@pytest.fixture
def crashed(crashed_once, tmp_path):
    """A copy of that folder, for one test alone."""
    return shutil.copytree(crashed_once, tmp_path / "run")


def kept(folder):
    """The checkpoints of a run."""
    return {path.name for path in folder.glob("checkpoints/*.index")}


def test_several_steps_at_a_time_end_as_steps_one_by_one(crashed, noise, unbroken):
    """From the checkpoint of step 6 on, two at a time: more would not divide an epoch of ten steps."""
    for path in crashed.glob("checkpoints/ckpt-7*"):
        path.unlink()
    assert_same_to_the_bit(train(crashed, noise, steps_per_execution=100), unbroken)


def test_a_run_that_was_told_to_stop_finishes_its_step_and_ends_as_one_that_was_not(
    tmp_path, noise, unbroken
):
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted) as stopped:
        train(tmp_path, noise, later_seconds=terminate)
    assert signal.getsignal(signal.SIGTERM) == before
    assert stopped.value.signal == signal.SIGTERM
    assert kept(tmp_path) == {"ckpt-8.index"}
    assert_same_to_the_bit(train(tmp_path, noise), unbroken)


def test_a_run_that_is_told_to_stop_after_its_last_step_stops(tmp_path, noise, unbroken, monkeypatch):
    end = Checkpoints.on_epoch_end
    monkeypatch.setattr(
        Checkpoints, "on_epoch_end", lambda *given: end(*given) or given[1] < EPOCHS - 1 or terminate()
    )
    with pytest.raises(Interrupted) as stopped:
        train(tmp_path, noise)
    assert stopped.value.signal == signal.SIGTERM
    assert not (tmp_path / "model.weights.h5").exists()
    monkeypatch.undo()
    before = Run(tmp_path).read_metrics()
    resumed = train(tmp_path, noise)
    assert resumed[1] == before  # Its timings show that no epoch was trained anew.
    assert_same_to_the_bit(resumed, unbroken)


@pytest.mark.parametrize(
    ("part", "share"),
    [("data*", 0.0), pytest.param("data*", 0.99, marks=pytest.mark.slow), ("index", 0.5)],
)
def test_a_checkpoint_that_was_cut_short_is_skipped_with_a_warning(
    crashed, noise, unbroken, caplog, part, share
):
    newest = next(crashed.glob(f"checkpoints/ckpt-7.{part}"))
    os.truncate(newest, int(newest.stat().st_size * share))
    resumed = train(crashed, noise)
    assert "ckpt-7 cannot be read: going on from the checkpoint before it" in caplog.text
    assert_same_to_the_bit(resumed, unbroken)


def test_checkpoints_none_of_which_can_be_read_are_told(crashed, noise):
    for path in crashed.glob("checkpoints/*.index"):
        path.write_bytes(b"damaged")
    with pytest.raises(InputError, match="ckpt-7: expected a readable checkpoint; "):
        train(crashed, noise)


def test_a_run_that_crashed_in_an_epoch_ends_as_one_that_did_not_and_keeps_what_is_the_users(
    crashed, noise, unbroken
):
    """Its own first weights do not matter, and what killed processes left is removed."""
    folder = crashed / "checkpoints"
    (folder / "ckpt-9_temp").mkdir()
    (folder / "ckpt-9_temp" / "part-00000-of-00001.data-00000-of-00001").write_bytes(b"half")
    (folder / "ckpt-9.data-00000-of-00001").write_bytes(b"of no index")
    (folder / "mine").mkdir()
    (folder / "notes.txt").touch()
    assert_same_to_the_bit(train(crashed, noise, new_model(weights_seed=5)), unbroken)
    last = {f"ckpt-{step}.{part}" for step in (20, 30) for part in ("index", "data-00000-of-00001")}
    assert {path.name for path in folder.iterdir()} == {"mine", "notes.txt"} | last


def test_a_run_is_refused_while_a_process_is_at_work_on_it_and_a_lock_dies_with_its_holder(tmp_path):
    child = os.fork()
    if not child:
        Run(tmp_path).begin({"seed": 1})
        os._exit(0)
    os.waitpid(child, 0)
    first, second = Run(tmp_path), Run(tmp_path)
    first.begin({"seed": 1})
    with pytest.raises(InputError, match=r"^output_dir: .*, which one is using$"):
        second.begin({"seed": 1})


def test_what_a_killed_process_was_writing_is_removed_and_nothing_else(tmp_path):
    Run(tmp_path).begin({"seed": 1})
    (tmp_path / ".env").write_text("own")
    for name in (".unfinished.77.encoder", "figures", "figures/.unfinished.77.samples.png"):
        (tmp_path / name).mkdir()
    (tmp_path / ".unfinished.77.config.json").write_text("half")
    Run(tmp_path).begin({"seed": 1})
    assert sorted(path.name for path in tmp_path.rglob("*")) == [".env", "config.json", "figures"]


def test_a_term_that_is_not_finite_stops_the_run_and_is_named_with_step_and_checkpoint(crashed, noise):
    """It goes on after seven steps; the eighth, at such a rate, leaves weights that the ninth shows."""
    with pytest.raises(
        NotFiniteError, match=r"epoch 1, step 9: .* = (nan|inf|-inf).* checkpoint is .*/ckpt-7;"
    ) as stopped:
        train(crashed, noise, learning_rate=1e12)
    assert "\n" not in str(stopped.value)


def test_a_gradient_that_is_not_finite_stops_the_run_although_the_loss_is(tmp_path, noise):
    class Broken(VAE):
        def bound(self, images, seed, training=False):
            bound = super().bound(images, seed, training)
            zero = bound.value - tf.stop_gradient(bound.value)
            object.__setattr__(bound, "value", bound.value + tf.sqrt(zero))
            return bound

    model = new_model(base=Broken).base
    with pytest.raises(NotFiniteError, match=r"epoch 1, step 1: .* received a gradient that is not"):
        train(tmp_path, noise, model=model, transformation=None)


TOO_LARGE = 1e39
"""A learning rate that is infinite in float32: the loss of the first step is finite, the update not."""


def test_no_checkpoint_of_weights_that_are_not_finite_is_kept(tmp_path, noise):
    with pytest.raises(NotFiniteError, match=r"epoch 1, step 1: .* weight \w+/kernel, .* none yet"):
        train(tmp_path, noise, learning_rate=TOO_LARGE, checkpoint_minutes=0.0)
    assert not list(tmp_path.glob("checkpoints/*.index"))
    assert not (tmp_path / "model.weights.h5").exists()


def test_weights_that_are_not_finite_after_a_later_epoch_leave_the_run_as_it_was_before_it(
    tmp_path, noise, monkeypatch
):
    monkeypatch.setattr(Settings, "rate", lambda _, epoch: 1e-3 if epoch == 0 else TOO_LARGE)
    with pytest.raises(NotFiniteError, match=r"epoch 2, step 1: .* checkpoint is .*/ckpt-1;"):
        train(tmp_path, noise, epochs=2, batch_size=IMAGES)
    assert [path.name for path in tmp_path.glob("checkpoints/*.index")] == ["ckpt-1.index"]
    assert [line["epoch"] for line in Run(tmp_path).read_metrics()] == [1]


def test_a_training_that_is_over_leaves_no_graph_behind(tmp_path, noise):
    def graphs(name):
        train(tmp_path / name, noise, epochs=1)
        gc.collect()
        return sum(type(each).__name__ == "FuncGraph" for each in gc.get_objects())

    assert graphs("first") == graphs("second")
