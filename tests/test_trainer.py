"""`Trainer` inside a larger program."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import platform
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import FAKE, PATIENCE, python, read_lines, wait_until

import a3c_fast._core  # noqa: F401  (loads the libraries of the extension)
import a3c_fast_core as core
from a3c_fast import Config, ConfigError, Trainer, WorkerError
from a3c_fast import checkpoint as checkpoints
from a3c_fast.envs import scripted
from a3c_fast.record import Record

FOREVER = 10**12


def number_of_threads() -> int:
    """Of this process, those of the core and of libraries too."""
    return len([*Path("/proc/self/task").iterdir()])


def fake_client(seed: int = 0, **faults: Any) -> core.EnvClient:
    return scripted.make_client(FAKE, [seed] * 8, **faults)


def test_stats_before_and_after() -> None:
    with Trainer(Config(env_id=FAKE, total_steps=5000)) as trainer:
        before = trainer.stats()
        assert before["step"] == before["updates"] == before["episodes"] == 0
        assert before["mean_return_100"] is before["policy_loss"] is before["entropy"] is None
        after = trainer.run()
        assert set(after) == set(before)
        assert 5000 <= after["step"] < 5000 + 8 * 32
        assert after["wall_seconds"] > 0
        assert after["mean_return_100"] > 0


def test_a_cpu_without_kernels_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    def told(**network: Any) -> list[str]:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            Trainer(Config(env_id=FAKE, **network)).close()
        return [str(warning.message) for warning in caught if warning.category is RuntimeWarning]

    monkeypatch.setattr("a3c_fast._core.lacks_kernels", lambda model: False)
    assert told() == []
    monkeypatch.setattr("a3c_fast._core.lacks_kernels", lambda model: True)
    (sentence,) = told()
    assert f"no kernels for this CPU ({platform.machine()})" in sentence
    assert told(network="a3c_fast.networks:Gru") == []  # which has them nowhere


def test_without_envpool_there_are_other_environments(tmp_path: Path) -> None:
    program = """
import sys
from importlib import metadata
class Missing:
    def find_spec(self, name, *_):
        if name == "envpool":
            raise ModuleNotFoundError("No module named 'envpool'", name=name)
sys.meta_path.insert(0, Missing())
version = metadata.version
def without(name):
    if name == "envpool":
        raise metadata.PackageNotFoundError(name)
    return version(name)
metadata.version = without
from a3c_fast import Config, Trainer
for env_id in ("a3c_fast/Fake-v0", "gymnasium:CartPole-v1"):
    config = Config(env_id=env_id, num_workers=1, total_steps=100, run_dir=f"{sys.argv[1]}/{env_id[:5]}")
    with Trainer(config) as trainer:
        print(trainer.run()["step"] >= 100)
try:
    Config(env_id="CartPole-v1")
except ImportError as error:
    print(error)
"""
    done = python(program, str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    sentence = "EnvPool is not installed, and all environments but gymnasium's need it: pip install envpool"
    assert done.stdout.splitlines() == ["True", "True", sentence]


def test_the_last_line_of_metrics_has_the_rate_of_the_run(tmp_path: Path) -> None:
    with Trainer(Config(env_id=FAKE, total_steps=5000, run_dir=tmp_path)) as trainer:
        trainer.run(2000)
        trainer.run()
        assert trainer.stats()["steps_per_second"] == 0  # as it is now
    first, last = read_lines(tmp_path)
    assert first["steps_per_second"] == pytest.approx(first["step"] / first["wall_seconds"])
    seconds = last["wall_seconds"] - first["wall_seconds"]
    assert last["steps_per_second"] == pytest.approx((last["step"] - first["step"]) / seconds)


def test_start_wait_stop() -> None:
    with Trainer(Config(env_id=FAKE, total_steps=FOREVER)) as trainer:
        trainer.start()
        assert trainer.running
        assert trainer.wait(0.2) is False
        with pytest.raises(RuntimeError, match="stop them first"):
            trainer.start()
        with pytest.raises(RuntimeError, match="stop them first"):
            trainer.load_state_dict(trainer.state_dict())
        trainer.stop()
        trainer.stop()
        assert not trainer.running
        step = trainer.stats()["step"]
        trainer.run(until=step + 1000)
        assert trainer.stats()["step"] >= step + 1000
    with pytest.raises(RuntimeError, match="closed"):
        trainer.stats()
    trainer.close()


def test_parameters_come_and_go(tmp_path: Path) -> None:
    with Trainer(Config(env_id=FAKE, total_steps=3000)) as trainer:
        trainer.run()
        state = trainer.state_dict()
        observations = torch.randn(5, 4)
        logits, values = trainer.policy()(observations)
        path = trainer.save(tmp_path / "here.safetensors")
        with pytest.raises(ValueError, match="it must name a file"):
            trainer.save()
    saved = checkpoints.load(path)
    assert all(np.array_equal(saved.parameters[name], value.numpy()) for name, value in state.items())
    with Trainer(Config(env_id=FAKE, seed=9)) as other:
        assert not torch.equal(other.state_dict()["fc1.weight"], state["fc1.weight"])
        steps = other.run(until=500)["step"]
        other.load_state_dict(state)
        assert (other.stats()["step"], other.stats()["updates"]) == (steps, 0)
        again = other.policy()(observations)
        assert torch.allclose(again[0], logits, atol=1e-6)
        assert torch.allclose(again[1], values, atol=1e-6)
        with pytest.raises(ValueError, match="fc1"):
            other.load_state_dict({"fc1.weight": state["fc1.weight"]})
        state["fc1.weight"][3, 1] = torch.nan
        with pytest.raises(ValueError, match=r"fc1\.weight has numbers that are not finite"):
            other.load_state_dict(state)


def test_a_worker_that_fails(tmp_path: Path) -> None:
    config = Config(env_id=FAKE, total_steps=FOREVER, run_dir=tmp_path)
    clients = [fake_client(), fake_client(seed=1, fail_at=300)]
    with Trainer(config, clients=clients) as trainer:
        with pytest.raises(WorkerError, match="worker 1 failed: scripted failure at step 300") as caught:
            trainer.run()
        assert caught.value.worker == 1
        with pytest.raises(RuntimeError, match="cannot start again"):
            trainer.start()
    assert checkpoints.load_newest(tmp_path / "checkpoints").step > 0


def full(*_: Any) -> None:
    raise OSError(28, "No space left on device")


def test_a_failed_save_does_not_hide_the_worker_that_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = Config(env_id=FAKE, total_steps=FOREVER, run_dir=tmp_path)
    monkeypatch.setattr(checkpoints, "save", full)
    with (
        pytest.raises(WorkerError, match="worker 0 failed: scripted failure") as caught,
        Trainer(config, clients=[fake_client(fail_at=300)]) as trainer,
    ):
        trainer.run()
    assert len(caught.value.__notes__) == 2  # run() and close() have tried
    assert all("No space left on device" in note for note in caught.value.__notes__)
    with pytest.raises(RuntimeError, match="closed"):
        trainer.stats()


def test_what_stop_could_not_save_is_saved_by_close(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Trainer(Config(env_id=FAKE, total_steps=FOREVER, run_dir=tmp_path)) as trainer:
        with monkeypatch.context() as patch:
            patch.setattr(checkpoints, "save", full)
            trainer.start()
            with pytest.raises(OSError, match="No space left"):
                trainer.stop()
            with pytest.raises(OSError, match="No space left"):
                trainer.stop()
        step = trainer.stats()["step"]
    assert checkpoints.load_newest(tmp_path / "checkpoints").step == step


def test_a_healthy_run_goes_on_where_a_file_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = Config(env_id=FAKE, total_steps=FOREVER, run_dir=tmp_path, checkpoint_every_seconds=0.05)
    with Trainer(config) as trainer:
        trainer.start()
        tries: list[None] = []

        def fail(*_: Any) -> None:
            tries.append(None)
            full()

        def goes_on(condition: Callable[[], bool]) -> bool:
            assert trainer.wait(0.1) is False
            return condition()

        with monkeypatch.context() as patch, warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            patch.setattr(checkpoints, "save", fail)
            wait_until(lambda: goes_on(lambda: len(tries) >= 3))
        assert len(told) == 1
        assert "a checkpoint could not be written" in str(told[0].message)
        assert "No space left on device" in str(told[0].message)
        wait_until(lambda: goes_on(lambda: bool(checkpoints.paths(tmp_path / "checkpoints"))))


def test_a_worker_that_hangs() -> None:
    torch_threads = torch.get_num_threads()
    threads = number_of_threads()
    config = Config(env_id=FAKE, total_steps=FOREVER, watchdog_seconds=3)
    with (
        Trainer(config, clients=[fake_client(hang_at=50, hang_seconds=12)]) as trainer,
        pytest.raises(WorkerError, match="no progress for 3 seconds while waiting for the environment"),
    ):
        trainer.run()
    assert torch.get_num_threads() == torch_threads
    wait_until(lambda: number_of_threads() <= threads)  # the worker that was left behind ends on memory of its own


def test_a_worker_that_never_returns_ends_neither_the_program_nor_keeps_it() -> None:
    program = f"""
from a3c_fast import Config, Trainer, WorkerError
from a3c_fast.envs import scripted
client = scripted.make_client("{FAKE}", [0] * 8, hang_at=50, hang_seconds={10 * PATIENCE})
with Trainer(Config(env_id="{FAKE}", total_steps=10**12, watchdog_seconds=0.3), clients=[client]) as trainer:
    try:
        trainer.run()
    except WorkerError as error:
        print(error, flush=True)
"""
    done = python(program)
    assert done.returncode == 0, done.stderr
    assert "no progress for 0.3 seconds while " in done.stdout


def test_two_at_once_and_torch_keeps_its_threads() -> None:
    before = torch.get_num_threads()

    def of_a_new_thread() -> int:
        found: list[int] = []
        thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        return found[0]

    with Trainer(Config(env_id=FAKE, total_steps=FOREVER)) as one:
        with Trainer(Config(env_id="CartPole-v1", total_steps=FOREVER)) as other:
            one.start()
            other.start()
            wait_until(lambda: one.stats()["step"] > 0 and other.stats()["step"] > 0)
            assert torch.get_num_threads() == of_a_new_thread() == before
        assert one.running
        one.stop()
        assert torch.get_num_threads() == of_a_new_thread() == before


def test_stats_from_many_threads() -> None:
    failures: list[BaseException] = []
    with Trainer(Config(env_id=FAKE, total_steps=FOREVER)) as trainer:
        trainer.start()

        def look() -> None:
            try:
                steps = [trainer.stats()["step"] for _ in range(200)]
                assert steps == sorted(steps)
            except BaseException as error:  # told in the test's own thread
                failures.append(error)

        threads = [threading.Thread(target=look) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []


def test_ends_that_are_asked_for() -> None:
    with Trainer(Config(env_id=FAKE, total_steps=FOREVER, max_minutes=0.01)) as trainer:
        assert trainer.run()["wall_seconds"] >= 0.6
    with Trainer(Config(env_id=FAKE, total_steps=FOREVER, stop_at_return=1.0)) as trainer:
        assert trainer.run()["episodes"] >= 100


def test_a_resumed_run_goes_on_with_the_last_hundred_episodes(tmp_path: Path) -> None:
    config = Config(env_id=FAKE, total_steps=FOREVER, run_dir=tmp_path, num_workers=1, stop_at_return=1.0)
    with Trainer(config) as trainer:
        before = trainer.run()
    with Trainer(dataclasses.replace(config, resume=True, stop_at_return=None)) as trainer:
        after = trainer.stats()
        for name in ("episodes", "mean_return_100", "mean_length_100", "mean_return_20", "skipped_updates"):
            assert after[name] == before[name], name
        assert trainer.run(until=before["step"] + 100)["episodes"] > before["episodes"]
    with Trainer(dataclasses.replace(config, resume=True)) as trainer:  # it has reached that return already
        step = trainer.stats()["step"]
        trainer.start()
        assert trainer.wait(PATIENCE)
        assert trainer.stats()["step"] > step


def test_stopping_from_another_thread(tmp_path: Path) -> None:
    for i in range(10):
        with Trainer(Config(env_id=FAKE, total_steps=FOREVER, run_dir=tmp_path / str(i))) as trainer:

            def stop(trainer: Trainer = trainer) -> None:
                wait_until(lambda: trainer.stats()["step"] > 0)  # a stop that comes before a run is not one of it
                trainer.stop()

            threads = [threading.Thread(target=stop) for _ in range(3)]
            for thread in threads:
                thread.start()
            assert trainer.run()["step"] > 0
            for thread in threads:
                thread.join()
        assert len(checkpoints.paths(tmp_path / str(i) / "checkpoints")) == 1


def test_a_thousand_starts_and_stops() -> None:
    with Trainer(Config(env_id=FAKE, total_steps=FOREVER)) as trainer:
        for _ in range(1000):
            trainer.start()
            trainer.stop()


def test_after_a_fork_it_is_the_parents(tmp_path: Path) -> None:
    program = """
import dataclasses, os, sys
from pathlib import Path
from a3c_fast import Config, Trainer
config = Config(env_id="a3c_fast/Fake-v0", total_steps=10**12, run_dir=Path(sys.argv[1]))
with Trainer(config) as trainer:
    trainer.start()
    while trainer.stats()["step"] == 0:
        pass
    child = os.fork()
    if child == 0:
        try:
            trainer.stats()
        except RuntimeError as error:
            print(error, flush=True)
            trainer.close()
            sys.exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    assert not (config.run_dir / "curve.png").exists()  # drawn at the end, which is the parent's
    before = trainer.stats()["step"]
    while trainer.stats()["step"] <= before:
        pass
    reads, writes = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(writes)
        os.read(reads, 1)  # until the parent closes its end, or is no more
        os._exit(7)
assert (config.run_dir / "curve.png").exists()
Trainer(dataclasses.replace(config, resume=True)).close()  # while the child has the lock's file open
assert os.waitpid(child, os.WNOHANG) == (0, 0)  # it was there all the time
os.close(writes)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
print("parent done")
"""
    done = python(program, str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "belongs to the process that made it" in done.stdout
    assert "parent done" in done.stdout


# The life of a trainer ------------------------------------------------------------------------------------------------

_FORKS = """
import multiprocessing, os, sys
from a3c_fast import Config, ConfigError, Trainer, WorkerError
from a3c_fast.envs import scripted

def trainer_that_is(state):
    clients = [scripted.make_client("a3c_fast/Fake-v0", [i] * 8,
                                    fail_at=50 if state == "failed" and i == 1 else -1) for i in range(5)]
    trainer = Trainer(Config(env_id="a3c_fast/Fake-v0", total_steps=10**12), clients=clients)
    if state == "failed":
        try:
            trainer.run()
        except WorkerError:
            pass
    if state == "ended":
        trainer.run(2000)
    if state == "running":
        trainer.start()
    if state == "closed":
        trainer.run(2000)
        trainer.close()
    return trainer

for state in ("ready", "running", "ended", "failed", "closed"):
    trainer = trainer_that_is(state)
    for leave in (os._exit, sys.exit) * (1 if state == "running" else 2):
        child = os.fork()
        if child == 0:
            refused = 0
            for call in (trainer.stats, trainer.start, trainer.stop, trainer.save, trainer.wait, trainer.policy):
                try:
                    call()
                except RuntimeError:
                    refused += 1
            with Trainer(Config(env_id="a3c_fast/Fake-v0", total_steps=1000)) as own:
                own.run()
            trainer.close()
            leave(refused)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        assert status == 6, (state, leave, status)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert pool.map(abs, [-1]) == [1], state
    trainer.close()
print("done")
"""


def test_a_fork_in_any_state_leaves_the_child_alone() -> None:
    done = python(_FORKS)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


@pytest.mark.parametrize(
    "call", ["run()", "wait()", "stats()", "state_dict()", "policy()", "save()", "stage_seconds()"]
)
def test_the_interpreter_ends_while_a_daemon_thread_is_inside(tmp_path: Path, call: str) -> None:
    program = f"""
import sys, threading
from a3c_fast import Config, Trainer
trainer = Trainer(Config(env_id="a3c_fast/Fake-v0", total_steps=10**12, run_dir=sys.argv[1], num_workers=2))
if "{call}" != "run()":
    trainer.start()
def loop():
    while True:
        trainer.{call}
for _ in range(1 if "{call}" == "run()" else 3):
    threading.Thread(target=loop, daemon=True).start()
while trainer.stats()["step"] < 1000:
    pass
print(trainer.stats()["step"])
"""
    done = python(program, str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    assert checkpoints.load_newest(tmp_path / "checkpoints").step >= int(done.stdout)  # nothing is lost


def test_a_daemon_thread_is_not_told_that_the_end_of_the_interpreter_has_closed_what_it_is_in() -> None:
    program = """
import threading
from a3c_fast.calls import before_the_end, counted
inside, closed = threading.Event(), threading.Event()
before_the_end(closed.set)
@counted
def call():
    inside.set()
    closed.wait()
    raise RuntimeError("this Trainer is closed")
threading.Thread(target=call, daemon=True).start()
inside.wait()
"""
    done = python(program)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_interpreter_ends_while_a_daemon_thread_evaluates() -> None:
    program = """
import threading
from a3c_fast import Config, Trainer, envs
from a3c_fast.evaluate import evaluate
config = Config(env_id="CartPole-v1", num_workers=1)
policy = Trainer(config).policy()
plays, make_client = threading.Event(), envs.make_client
class Client:
    def __init__(self, *arguments, **options):
        self.client = make_client(*arguments, **options)
    def recv(self):
        return self.client.recv()
    def send(self, actions):
        self.client.send(actions)
        plays.set()
envs.make_client = Client
threading.Thread(target=evaluate, args=(policy, config), kwargs={"episodes": 10**6}, daemon=True).start()
plays.wait()
"""
    done = python(program)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_trainer_that_is_dropped_is_saved_and_says_so(tmp_path: Path) -> None:
    trainer = Trainer(Config(env_id=FAKE, total_steps=FOREVER, run_dir=tmp_path))
    trainer.run(1000)
    step = trainer.stats()["step"]
    with pytest.warns(ResourceWarning, match=r"<Trainer of a3c_fast/Fake-v0, ended> was dropped without close\(\)"):
        del trainer
    assert checkpoints.load_newest(tmp_path / "checkpoints").step >= step
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        trainer = Trainer(Config(env_id=FAKE))  # has learned nothing
        del trainer


def test_a_constructor_that_fails_keeps_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise MemoryError

    config = Config(env_id=FAKE, run_dir=tmp_path)
    with Trainer(config) as trainer:
        trainer.run(1000)
    again = dataclasses.replace(config, resume=True)
    kept = []  # tracebacks, which hold what the constructors had made
    for place in ("a3c_fast.trainer.make_clients", "a3c_fast.learned.Learned.load"):
        with monkeypatch.context() as patch:
            patch.setattr(place, fail)
            with pytest.raises(MemoryError) as caught:
                Trainer(again)
        kept.append(caught)
        Trainer(again).close()


@pytest.mark.parametrize("timeout", [float("nan"), "soon", True, [1], 1j])
def test_a_timeout_that_is_none_is_refused(timeout: Any) -> None:
    with Trainer(Config(env_id=FAKE, total_steps=FOREVER)) as trainer:
        trainer.start()
        with pytest.raises(ConfigError, match=r"timeout is .*it must be a number"):
            trainer.wait(timeout)
        for poll in (0, -1, np.float32(0.01), np.int64(0)):
            assert trainer.wait(poll) is False


@pytest.mark.parametrize("until", [-1, 2001, 10**30, 1.5, "all", float("nan"), [1]])
def test_steps_beyond_the_end_of_the_learning_rate_are_refused(until: Any) -> None:
    with Trainer(Config(env_id=FAKE, total_steps=2000)) as trainer:
        for call in (trainer.start, trainer.run):
            with pytest.raises(ConfigError, match="until is "):
                call(until)
        assert trainer.stats()["step"] == 0
        assert trainer.run(np.int64(100))["step"] >= 100


def test_a_run_that_is_refused_leaves_the_one_under_way_alone() -> None:
    with Trainer(Config(env_id=FAKE, total_steps=FOREVER)) as trainer:
        trainer.start()
        with pytest.raises(RuntimeError, match="stop them first"):
            trainer.run()
        with pytest.raises(ConfigError):
            trainer.run(until=-1)
        assert trainer.running


def test_a_signal_handler_that_raises_in_the_middle_of_a_start_leaves_no_worker_running(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Trainer(Config(env_id=FAKE, total_steps=FOREVER)) as trainer:
        start = Trainer.start

        def interrupted(self: Trainer, until: int | None = None) -> None:
            start(self, until)
            raise KeyboardInterrupt  # after the workers have begun, before run() knows of it

        monkeypatch.setattr(Trainer, "start", interrupted)
        with pytest.raises(KeyboardInterrupt):
            trainer.run()
        assert not trainer.running


def test_one_thread_starts_and_another_stops() -> None:
    with Trainer(Config(env_id=FAKE, total_steps=FOREVER, num_workers=2)) as trainer:
        for _ in range(200):
            stopper = threading.Thread(target=lambda: [trainer.stop() for _ in range(6)])
            stopper.start()
            trainer.start()
            stopper.join()
            trainer.stop()
            assert not trainer.running
            assert trainer.stats()["wall_seconds"] == trainer.stats()["wall_seconds"]  # the clock stands


def test_closing_ends_a_run_of_another_thread(tmp_path: Path) -> None:
    results: list[Any] = []
    trainer = Trainer(Config(env_id=FAKE, total_steps=FOREVER, run_dir=tmp_path))

    def train() -> None:
        results.append(trainer.run())

    thread = threading.Thread(target=train)
    thread.start()
    while trainer.stats()["step"] == 0:
        pass
    closers = [threading.Thread(target=trainer.close) for _ in range(3)]
    for closer in closers:
        closer.start()
    for each in (thread, *closers):
        each.join()
    (line,) = results
    assert line["step"] == checkpoints.load_newest(tmp_path / "checkpoints").step > 0
    with pytest.raises(RuntimeError, match="closed"):
        trainer.run()


def test_workers_never_wait_for_the_interpreter() -> None:
    program = """
import sys
from a3c_fast import Config, Trainer
sys.setswitchinterval(1e6)
with Trainer(Config(env_id="CartPole-v1", total_steps=10**12)) as trainer:
    trainer.start()
    before = trainer.stats()["step"]
    while trainer.stats()["step"] < before + 20_000:  # never releases the interpreter
        pass
print("done")
"""
    done = python(program)  # the loop would have no end if a worker needed the interpreter
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


def test_a_directory_that_another_took_over_is_left_alone(tmp_path: Path) -> None:
    config = Config(env_id=FAKE, total_steps=FOREVER, run_dir=tmp_path / "run", checkpoint_every_seconds=0.05)
    trainer = Trainer(config)
    trainer.start()
    trainer.wait(0.2)

    def taken_over() -> Trainer:
        (tmp_path / "run").rename(tmp_path / "moved")
        other = Trainer(config)
        trainer.wait(0.5)
        return other

    with pytest.warns(RuntimeWarning, match="it was moved, or its lock was deleted"):
        other = taken_over()
    with other:
        other.run(2000)
        before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
        with pytest.raises(OSError, match="it was moved, or its lock was deleted"):
            trainer.close()
        assert {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()} == before


def test_a_lock_that_was_deleted_is_no_lock(tmp_path: Path) -> None:
    with Trainer(Config(env_id=FAKE, total_steps=FOREVER, run_dir=tmp_path)) as trainer:
        trainer.run(1000)
        lock = (tmp_path / ".lock").read_bytes()
        (tmp_path / ".lock").unlink()
        with pytest.raises(OSError, match="its lock was deleted"):
            trainer.save()
        (tmp_path / ".lock").write_bytes(lock)  # another's by now
        with pytest.raises(OSError, match="its lock was deleted"):
            trainer.save()
        trainer.save(tmp_path / "elsewhere.safetensors")


def test_a_close_that_is_interrupted_can_be_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    trainer = Trainer(Config(env_id=FAKE, total_steps=FOREVER, run_dir=tmp_path))
    for of, place in ((Trainer, "_wait_for_the_end"), (Record, "save_what_is_not_saved")):
        if of is Trainer:
            trainer.start()
            wait_until(lambda: trainer.stats()["step"] > 0)
        with monkeypatch.context() as patch:
            patch.setattr(of, place, interrupt)
            with pytest.raises(KeyboardInterrupt):
                trainer.close()
    trainer.close()
    assert checkpoints.load_newest(tmp_path / "checkpoints").step > 0


def test_a_program_that_makes_errors_of_warnings_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config = Config(env_id=FAKE, total_steps=FOREVER, run_dir=tmp_path, checkpoint_every_seconds=0.05)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with Trainer(config) as trainer, monkeypatch.context() as patch:
            trainer.start()
            patch.setattr(checkpoints, "save", full)
            assert trainer.wait(0.5) is False
            patch.undo()
    assert "a checkpoint could not be written" in capsys.readouterr().err
    code = f"""
from a3c_fast import Config, Trainer
trainer = Trainer(Config(env_id="a3c_fast/Fake-v0", total_steps=10**12, run_dir={str(tmp_path / "dropped")!r}))
trainer.run(1000)
del trainer
Trainer(Config(env_id="a3c_fast/Fake-v0", run_dir={str(tmp_path / "dropped")!r}, resume=True)).close()
"""
    done = python(code)
    assert done.returncode == 0, done.stderr
    assert checkpoints.load_newest(tmp_path / "dropped" / "checkpoints").step > 0


def test_a_child_of_multiprocessing_saves_at_its_end(tmp_path: Path) -> None:
    code = """
import multiprocessing, sys
from a3c_fast import Config, Trainer

def train(run_dir):
    global trainer
    trainer = Trainer(Config(env_id="a3c_fast/Fake-v0", total_steps=10**12, run_dir=run_dir))
    trainer.start()
    while trainer.stats()["step"] == 0:
        pass

child = multiprocessing.get_context("fork").Process(target=train, args=(sys.argv[1],))
child.start()
child.join()
sys.exit(child.exitcode)
"""
    done = python(code, str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    assert checkpoints.load_newest(tmp_path / "checkpoints").step > 0


def test_a_trainer_cannot_be_copied(tmp_path: Path) -> None:
    with Trainer(Config(env_id=FAKE, total_steps=2000)) as trainer:
        for make in (copy.copy, copy.deepcopy, pickle.dumps):
            with pytest.raises(TypeError, match="a Trainer cannot be copied or pickled"):
                make(trainer)
        trainer.run()
        assert trainer.wait(float("inf"))


def test_a_checkpoint_beside_the_runs_own_files_replaces_none(tmp_path: Path) -> None:
    with Trainer(Config(env_id=FAKE, num_workers=1, total_steps=500, run_dir=tmp_path)) as trainer:
        trainer.run()
        before = (tmp_path / "config.json").read_bytes()
        trainer.save(tmp_path / "config.safetensors")
    assert (tmp_path / "config.json").read_bytes() == before
    assert checkpoints.load(tmp_path / "config.safetensors").step >= 500


@pytest.mark.parametrize("cores", [1, 3])
def test_without_a_number_there_is_a_worker_for_each_core_that_may_be_used(
    cores: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("a3c_fast.trainer.cores", lambda: cores)  # a cgroup's quota, see test_machine.py
    with Trainer(Config(env_id=FAKE, num_workers=0)) as trainer:
        assert trainer.config.num_workers == cores
