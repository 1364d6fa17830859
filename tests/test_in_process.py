"""Environments of a user in threads of the program: `InProcess(make)`, and `in-process:` before a name."""

from __future__ import annotations

import gc
import os
import re
import threading
import time
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import user_envs
from children import children, client_of, modules_of_the_tests  # noqa: F401
from helpers import PATIENCE, wait_until

from a3c_fast import Config, InProcess, Trainer, envs
from a3c_fast.envs import env_host, env_thread
from a3c_fast.errors import ConfigError, WorkerError
from a3c_fast.evaluate import main as evaluate
from a3c_fast.train import main as train


def threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("environments of")]


def test_what_cannot_be_sent_trains_in_this_process(tmp_path: Path) -> None:
    lock, made = threading.Lock(), []

    def make() -> Any:
        with lock:
            made.append(user_envs.Corridor())
        return made[-1]

    config = Config(num_workers=2, envs_per_worker=3, total_steps=2000, seed=3, run_dir=tmp_path / "run")
    with pytest.raises(ConfigError, match=r"it cannot be sent .* InProcess\(it\) needs not be sent"):
        Trainer(config, env=make)
    with Trainer(config, env=InProcess(make)) as trainer:
        assert trainer.config.env_id == "in-process:test_in_process:" + make.__qualname__
        assert not children()
        assert len(threads()) == 2
        trainer.run()
        assert trainer.stats()["step"] >= 2000
    assert len(made) == 1 + 2 + 2 * 3  # one was asked what there is, two were looked at
    assert not threads()
    with Trainer(config.replace(resume=True, total_steps=3000), env=InProcess(make)) as trainer:
        assert trainer.stats()["step"] >= 2000
        trainer.run()


@pytest.mark.parametrize("make", [user_envs.Corridor, user_envs.Point, user_envs.Levers, user_envs.Doors])
def test_the_same_is_learned_as_in_child_processes(make: Any) -> None:
    learned = []
    for env in (make, InProcess(make)):
        with Trainer(Config(num_workers=1, envs_per_worker=4, total_steps=1000, seed=5), env=env) as trainer:
            trainer.run()
            learned.append(trainer.state_dict())
    assert learned[0].keys() == learned[1].keys()
    for name, value in learned[0].items():
        assert (value == learned[1][name]).all(), name


def test_a_name_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    flags = ["--num-workers", "2", "--run-dir", str(run)]
    for arguments in (["--env-id", "in-process:gymnasium:CartPole-v1", "--total-steps", "2000"], ["--resume"]):
        with pytest.raises(SystemExit) as ended:
            train([*arguments, *flags])
        assert ended.value.code == 0
    evaluate([str(run), "--episodes", "2", "--json"])
    said = capsys.readouterr().out
    assert "each with 8 environments in a thread of their own" in said
    assert '"mean_return"' in said
    assert not threads()
    assert not children()


@pytest.mark.parametrize(
    ("env_id", "sentence"),
    [
        ("in-process:no_such_module:Thing-v0", "no_such_module cannot be imported: No module named 'no_such_module'"),
        ("in-process:gymnasium:NoSuchThing-v0", "gymnasium has nothing of that name"),
        ("in-process:__main__:make", "it must be module:name; "),
        ("in-process:gymnasium", "it must be module:name; "),
        ("in-process:", "it must be module:name; "),
    ],
)
def test_names_that_are_none(env_id: str, sentence: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(sentence)):
        Config(env_id=env_id)


def test_what_cannot_be_called_is_refused() -> None:
    with pytest.raises(ConfigError, match="env is 3, but it must be a callable that makes one environment"):
        Trainer(Config(env_id="CartPole-v1"), env=InProcess(3))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("how", "sentence"),
    [
        ("raises", "the environment raised ValueError: the wheel fell off\n"),
        ("exits", "the environment raised SystemExit: 7"),
        ("shows another shape", "the observation has the shape (5,), and its space says (4,)"),
    ],
)
def test_what_breaks_is_told(how: str, sentence: str) -> None:
    config = Config(num_workers=2, envs_per_worker=2, total_steps=10_000)
    with (
        Trainer(config, env=InProcess(partial(user_envs.Breaks, how))) as trainer,
        pytest.raises(WorkerError, match=re.escape(sentence)),
    ):
        trainer.run()
    wait_until(lambda: not threads())


def test_a_step_that_hangs_is_told_and_touches_nothing_of_others_when_it_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    goes_on = threading.Event()

    class Hangs(user_envs.Breaks):
        def step(self, action: int) -> Any:
            goes_on.wait()
            return super().step(action)

    client, _ = client_of(InProcess(Hangs), limit=0.2)  # type: ignore[arg-type]
    client.recv()
    client.send(np.zeros(2))
    with pytest.raises(RuntimeError, match=r"the environments have not stepped within 0\.2 seconds"):
        client.recv()
    begin = time.monotonic()
    monkeypatch.setattr(env_host, "CLOSE_SECONDS", 1000.0)
    del client
    gc.collect()
    assert time.monotonic() - begin < 900  # it is not waited for
    assert len(threads()) == 1
    # Files that are opened now have the numbers that the client's had.
    files = [os.eventfd(0, os.EFD_NONBLOCK) for _ in range(10)]
    goes_on.set()
    wait_until(lambda: not threads())
    for file in files:
        with pytest.raises(BlockingIOError):  # nobody wrote to it
            os.eventfd_read(file)
        os.close(file)


@pytest.mark.parametrize("breaks", [False, True])
def test_environments_are_closed(breaks: bool, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr(env_host, "CLOSE_SECONDS", PATIENCE)
    closed = []

    class Closes(user_envs.Point):
        def close(self) -> None:
            closed.append(self)
            if breaks:
                raise OSError("it is stuck")

    with Trainer(Config(num_workers=2, envs_per_worker=3, total_steps=100), env=InProcess(Closes)) as trainer:
        assert len(closed) == 1
        trainer.run()
    assert len(closed) == 1 + 2 * 3
    assert ("the environment raised OSError: it is stuck" in capsys.readouterr().err) == breaks
    assert not threads()


def test_nothing_is_left_open() -> None:
    def opened() -> list[str]:
        return sorted(os.listdir("/proc/self/fd"))  # noqa: PTH208

    make = InProcess(user_envs.Point)
    client, _ = client_of(make)  # type: ignore[arg-type]
    del client
    gc.collect()
    before = opened()
    client, _ = client_of(make)  # type: ignore[arg-type]
    client.recv()
    assert len(opened()) == len(before) + env_thread.EnvThread.DESCRIPTORS
    del client
    gc.collect()
    assert opened() == before


class Drawn(user_envs.Point):
    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 5}

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode

    def render(self) -> Any:
        return np.full((4, 6, 3), 7, np.uint8)


def test_what_render_draws() -> None:
    config = Config().replace(env_id=envs.register(InProcess(Drawn)))
    client = envs.make_client(config, [1], render_mode=envs.DRAWN)
    client.recv()
    np.testing.assert_array_equal(envs.frame_of(config, client), np.full((4, 6, 3), 7))


class Calls(user_envs.Point):
    """Calls its own trainer within its steps."""

    trainer: Trainer | None = None
    name = ""
    said: list[str]

    def step(self, action: Any) -> Any:
        if self.trainer is not None and self.trainer.running:
            try:
                calls = {"set": lambda: self.trainer.set(entropy_coef=0.01), "save": self.trainer.save}  # type: ignore[union-attr]
                calls.get(self.name, getattr(self.trainer, self.name))()
            except RuntimeError as error:
                self.said.append(str(error))
                self.trainer.request_stop()
        return super().step(action)


@pytest.mark.parametrize("name", ["wait", "stop", "close", "pause", "run"])
def test_an_environment_cannot_wait_for_the_step_that_it_is_in(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(Calls, "said", said, raising=False)
    monkeypatch.setattr(Calls, "name", name)
    config = Config(num_workers=2, envs_per_worker=2, total_steps=10**8, watchdog_seconds=PATIENCE)
    with Trainer(config, env=InProcess(Calls)) as trainer:
        monkeypatch.setattr(Calls, "trainer", trainer)
        trainer.run()
        assert any("waits for the workers" in text or "cannot start" in text for text in said)


@pytest.mark.parametrize("name", ["set", "save", "stats", "policy"])
def test_an_environment_may_call_what_does_not_wait(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Calls, "said", [], raising=False)
    monkeypatch.setattr(Calls, "name", name)
    config = Config(num_workers=2, envs_per_worker=2, total_steps=10**8, watchdog_seconds=PATIENCE, run_dir=tmp_path)
    for _ in range(3):  # closed while the environments are in their calls
        with Trainer(config.replace(resume=True), env=InProcess(Calls)) as trainer:
            monkeypatch.setattr(Calls, "trainer", trainer)
            trainer.start()
            wait_until(lambda trainer=trainer: trainer.stats()["step"] > 0)
