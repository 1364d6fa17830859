"""How environments in child processes are closed, and what is left of the processes."""

from __future__ import annotations

import gc
import os
import resource
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import user_envs
from children import children, client_of, modules_of_the_tests, no_child_is_left  # noqa: F401
from helpers import PATIENCE, wait_until

from a3c_fast import Config, Trainer, envs
from a3c_fast.envs import env_host, env_process, processes
from a3c_fast.errors import ConfigError


@pytest.mark.parametrize("how", ["nothing", "raises"])
def test_environments_are_closed_at_the_end_of_a_run(how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(env_host, "CLOSE_SECONDS", PATIENCE)
    config = Config(num_workers=2, envs_per_worker=3, total_steps=100)
    with Trainer(config, env=partial(user_envs.Closes, tmp_path, how)) as trainer:
        shown = list(tmp_path.iterdir())
        trainer.run()
        assert len(shown) == len(list(tmp_path.iterdir())) == 1  # that of the process that was asked what there is
    assert len(list(tmp_path.iterdir())) == 1 + 2 * 3


def test_one_that_hangs_while_it_is_closed_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(env_host, "CLOSE_SECONDS", 0.2)
    client, _ = client_of(partial(user_envs.Closes, tmp_path, "hangs"))
    client.recv()
    begin = time.monotonic()
    del client
    gc.collect()
    wait_until(lambda: not children())
    assert time.monotonic() - begin < 900  # and not the thousand seconds of its sleep


def test_one_that_hangs_in_a_step_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(env_host.End, "ask_to_close", lambda self: asked.append(self))
    client, _ = client_of(partial(user_envs.Breaks, "hangs", at=1), limit=0.1)
    asked.clear()
    client.recv()
    client.send(np.zeros(2))
    with pytest.raises(RuntimeError, match="have not stepped within"):
        client.recv()
    del client
    gc.collect()
    wait_until(lambda: not children())
    assert not asked


def test_processes_leave_nothing_open() -> None:
    def opened() -> list[str]:
        return sorted(os.listdir("/proc/self/fd"))  # noqa: PTH208

    processes.spec_of(envs.register(user_envs.Point))
    before = opened()
    client, _ = client_of(user_envs.Point)
    assert len(opened()) == len(before) + env_process.EnvProcess.DESCRIPTORS
    del client
    gc.collect()
    assert opened() == before


def test_more_processes_than_files_may_be_opened_are_refused() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        with pytest.raises(
            ConfigError, match=r"num_workers is 100, but their processes need 600 open files .* the limit is 256"
        ):
            Trainer(Config(num_workers=100, total_steps=1000), env=user_envs.Point)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert not children()
