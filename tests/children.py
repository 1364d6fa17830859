"""What the tests of environments in child processes share."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import PATIENCE, wait_until

from a3c_fast import envs
from a3c_fast.envs import processes

HERE = Path(__file__).parent


@pytest.fixture(autouse=True)
def modules_of_the_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", f"{HERE}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")


def children() -> set[int]:
    """Processes of environments that this process has."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
            words = (path.parent / "cmdline").read_text().split("\0")
        except OSError:
            continue
        if (
            int(fields[1]) == os.getpid()
            and fields[0] != "Z"
            and any(w.endswith("envs/child/__main__.py") for w in words)
        ):
            found.add(int(path.parent.name))
    return found


@pytest.fixture(autouse=True)
def no_child_is_left() -> Iterator[None]:
    yield
    gc.collect()
    wait_until(lambda: not children())


def client_of(make: Callable[[], Any], num_envs: int = 2, limit: float = PATIENCE) -> tuple[Any, envs.EnvSpec]:
    env_id = envs.register(make)
    spec = processes.spec_of(env_id)
    (client,) = processes.make_clients(env_id, spec, [range(1, num_envs + 1)], limit)
    return client, spec
