"""Hosts that train together in network namespaces of their own, through a relay that delays, limits and cuts."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from helpers import PATIENCE, read_lines, wait_until

import a3c_fast
from bench.netns.hosts import Hosts, why_not

pytestmark = pytest.mark.skipif(why_not() is not None, reason=f"no namespaces: {why_not()}")

FLAGS = ("--env-id", "CartPole-v1", "--num-workers", "1", "--host-timeout-seconds", "2")


class Host:
    """A process of a run on its own host, which a launcher told nothing of interfaces."""

    def __init__(self, net: Hosts, rank: int, directory: Path, *flags: str) -> None:
        said = {name: value for name, value in os.environ.items() if name != "GLOO_SOCKET_IFNAME"}
        said |= {
            "RANK": str(rank),
            "WORLD_SIZE": str(len(net.addresses)),
            "MASTER_ADDR": net.addresses[0],
            "MASTER_PORT": "29500",
            "PYTHONPATH": str(Path(a3c_fast.__file__).parents[1]),
        }
        self._errors = directory / f"errors_{rank}"
        command = [sys.executable, "-m", "a3c_fast.train", *FLAGS, *flags]
        with self._errors.open("w") as errors, (directory / f"output_{rank}").open("w") as output:
            self.process = net.start(rank, command, cwd=directory, env=said, stdout=output, stderr=errors)

    def errors(self) -> str:
        return self._errors.read_text()

    def until(self, condition: Any) -> None:
        def came() -> bool:
            ended = self.process.poll() is not None
            found = bool(condition())
            assert found or not ended, self.errors()
            return found

        wait_until(came)

    def says(self, text: str) -> None:
        self.until(lambda: re.search(text, self.errors()))

    def status(self) -> int:
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"no end within {PATIENCE} s: {self.errors()}") from None


def test_hosts_train_one_network_through_a_network_that_is_slow(tmp_path: Path) -> None:
    with Hosts(2, delay_ms=10, mbit=100) as net:
        flags = ("--total-steps", "150_000")
        hosts = [Host(net, 0, tmp_path, *flags, "--run-dir", "run"), Host(net, 1, tmp_path, *flags)]
        assert [host.status() for host in hosts] == [0, 0]
    last = read_lines(tmp_path / "run")[-1]
    assert last["step"] >= 150_000
    outputs = [(tmp_path / f"output_{rank}").read_text() for rank in (0, 1)]
    assert all(f"done: {last['step']:,} steps" in output for output in outputs)


def test_a_host_that_is_cut_off_is_dropped_and_comes_back(tmp_path: Path) -> None:
    with Hosts(3) as net:
        flags = ("--total-steps", "1_000_000_000", "--log-every-seconds", "0.2")
        first = Host(net, 0, tmp_path, *flags, "--run-dir", "run")
        others = [Host(net, rank, tmp_path, *flags) for rank in (1, 2)]
        first.until(lambda: read_lines(tmp_path / "run"))
        net.cut(1)
        first.says(r"\b1(, 2)? (is|are) gone \(")
        before = read_lines(tmp_path / "run")[-1]["step"]
        first.until(lambda: read_lines(tmp_path / "run")[-1]["step"] > before)
        net.mend(1)
        first.says("gone.*(\n.*)*; 3 of 3 hosts train together")
        others[0].until(lambda: "3 of 3 hosts train together" in others[0].errors())
        first.process.send_signal(signal.SIGINT)
        assert first.status() == 130
        assert [other.status() for other in others] == [1, 1]


def test_a_host_that_does_not_reach_another_is_left_out(tmp_path: Path) -> None:
    with Hosts(3, direct=True) as net:
        assert net.start(1, ["ip", "route", "add", "blackhole", net.addresses[2]]).wait() == 0
        flags = ("--total-steps", "1_000_000_000", "--log-every-seconds", "0.2")
        hosts = [Host(net, rank, tmp_path, *flags, *(("--run-dir", "run") if rank == 0 else ())) for rank in range(3)]
        assert hosts[2].status() == 1
        error = hosts[2].errors().splitlines()[-1]
        assert error == "error: host 2 of 3 and host 1 do not reach each other, and the others go on without it"
        hosts[0].says("2 of 3 hosts train together")
        hosts[0].until(lambda: read_lines(tmp_path / "run") and read_lines(tmp_path / "run")[-1]["hosts"] == 2)
        hosts[0].process.send_signal(signal.SIGINT)
        assert [host.status() for host in hosts[:2]] == [130, 1]
