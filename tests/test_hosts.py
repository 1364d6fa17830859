"""Several hosts that train together: processes of this machine, as a launcher starts them.

tests/test_hosts_apart.py has them in network namespaces of their own.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import threading
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import PATIENCE, Process, read_lines, run, start

from a3c_fast import Config, ConfigError
from a3c_fast.hosts import Hosts, HostsError, Launch, network, settings
from a3c_fast.hosts.changes import Changes
from a3c_fast.hosts.outcome import Outcome
from a3c_fast.hosts.reach import Door, silent
from a3c_fast.hosts.rounds import Abandoned, LeftOut, Member, Round, Rounds, left_out, over_key
from a3c_fast.versions import versions

# What a launcher does for a process, which then is the command.
COMMAND = """
import json, os, sys
os.environ.update(json.loads(sys.argv.pop(1)))
from a3c_fast.train import main
main()
"""

# The command's trainer in a program: says what it has at the end.
PROGRAM = """
import hashlib, json, os, sys
import numpy as np
os.environ.update(json.loads(sys.argv[1]))
import a3c_fast
from a3c_fast.hosts import Hosts
settings = json.loads(sys.argv[2])
with a3c_fast.Trainer(a3c_fast.Config(**settings), hosts=Hosts.of_launcher()) as trainer:
    line = trainer.run()
    engine = trainer._engine
    agreed, counts = np.empty(engine.parameters().size, np.float32), np.empty(engine.num_counts)
    engine.read_agreement(agreed, counts)
    print(json.dumps({
        "agreed": hashlib.sha256(agreed.tobytes()).hexdigest(),
        "counts": counts.tolist(),
        "away": float(np.abs(engine.parameters() - agreed).max()),
        "line": line,
        "stats": vars(trainer.hosts.stats),
        "gamma": trainer.config.gamma,
        "workers": trainer.config.num_workers,
        "mean": trainer.state_dict().get("observation_mean", np.zeros(1)).tolist(),
    }))
"""

SMALL = ("--num-workers", "1", "--env-id", "CartPole-v1")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Job:
    """The processes of one run; all are killed at the end."""

    def __init__(self, world_size: int) -> None:
        self.world_size = world_size
        self.port = free_port()
        self.processes: list[Process] = []

    def environment(self, rank: int) -> str:
        return json.dumps(
            {
                "RANK": str(rank),
                "WORLD_SIZE": str(self.world_size),
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(self.port),
            }
        )

    def _start(self, *arguments: str, cwd: Path) -> Process:
        self.processes.append(start("-c", *arguments, cwd=cwd))
        return self.processes[-1]

    def train(self, rank: int, *flags: str, cwd: Path) -> Process:
        return self._start(COMMAND, self.environment(rank), *flags, cwd=cwd)

    def program(self, rank: int, cwd: Path, **config: Any) -> Process:
        return self._start(PROGRAM, self.environment(rank), json.dumps(config), cwd=cwd)

    def end(self) -> None:
        for process in self.processes:
            if not process.ended():
                process.send(signal.SIGKILL)


@pytest.fixture
def job() -> Any:
    made: list[Job] = []

    def make(world_size: int) -> Job:
        made.append(Job(world_size))
        return made[-1]

    yield make
    for each in made:
        each.end()


# Which host this is --------------------------------------------------------------------------------------------------

TORCHRUN = {"RANK": "1", "WORLD_SIZE": "3", "LOCAL_WORLD_SIZE": "1", "MASTER_ADDR": "a", "MASTER_PORT": "29500"}


def test_what_torchrun_says() -> None:
    said = {**TORCHRUN, "TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RUN_ID": "7"}
    assert Launch.of_environment(said) == Launch(1, 3, 1, "a", 29500, True, "7")
    assert Launch.of_environment(TORCHRUN) == Launch(1, 3, 1, "a", 29500, False, "none")


@pytest.mark.parametrize("said", [{}, {"RANK": "0"}, {"WORLD_SIZE": "2"}, {**TORCHRUN, "RANK": "0", "WORLD_SIZE": "1"}])
def test_a_process_that_is_alone(said: dict[str, str]) -> None:
    assert Launch.of_environment(said) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("RANK", value) for value in ("", "x", "-1", "3", "1.0", "\N{DEVANAGARI DIGIT ONE}")),
        *(("WORLD_SIZE", value) for value in ("", "0", "70000", "many")),
        *(("MASTER_PORT", value) for value in ("", "0", "65536", "http")),
        ("MASTER_ADDR", ""),
        ("LOCAL_WORLD_SIZE", "4"),
    ],
)
def test_what_no_launcher_says(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=name):
        Launch.of_environment({**TORCHRUN, name: value})


@pytest.mark.parametrize(
    ("own", "parent", "workers"),
    [
        (range(8), range(8), 4),  # two processes share them
        (range(4), range(8), 4),  # numactl has given this one a half
        (range(1), range(1), 1),
        (range(4), range(2, 8), 2),  # no part of the parent's
    ],
)
def test_processes_of_one_machine_share_its_cores(
    own: range, parent: range, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(parent if pid == os.getppid() else own))
    monkeypatch.setattr("a3c_fast.machine._cgroups", lambda *_: iter(()))
    assert Hosts(Launch.of_environment({**TORCHRUN, "LOCAL_WORLD_SIZE": "2"})).num_workers == workers  # type: ignore[arg-type]
    assert Hosts(Launch.of_environment(TORCHRUN)).num_workers == len(own)  # type: ignore[arg-type]


def test_the_address_is_that_of_the_way_to_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GLOO_SOCKET_IFNAME", raising=False)
    assert network.own_address("127.0.0.1") == "127.0.0.1"
    assert network.is_loopback("127.0.1.1")
    assert not network.is_loopback("10.0.0.1")
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    assert network.own_address("192.0.2.1") == "127.0.0.1"
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "none_such")
    with pytest.raises(ConfigError, match="GLOO_SOCKET_IFNAME is 'none_such'"):
        network.own_address("127.0.0.1")


# Who trains together -------------------------------------------------------------------------------------------------


class Meeting:
    """Hosts as threads, each with a connection of its own."""

    def __init__(self, world_size: int) -> None:
        self.world_size, self.port = world_size, free_port()
        self.first = self.rounds(0, opens=True)

    def rounds(self, rank: int, *, opens: bool = False) -> Rounds:
        launch = Launch(rank, self.world_size, 1, "127.0.0.1", self.port, False, "none")
        return Rounds(launch, 2 if rank else 30, opens=opens)

    def come(
        self, *ranks: int, patience: float = PATIENCE, given_up: Callable[[], bool] = lambda: False
    ) -> dict[int, Round]:
        found: dict[int, Round] = {}

        def one(rank: int) -> None:
            found[rank] = self.rounds(rank).come(Member(rank, "127.0.0.1", rank), (patience, patience), given_up)

        threads = [threading.Thread(target=one, args=(rank,)) for rank in ranks]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return found


def test_all_hosts_come_to_one_round() -> None:
    found = Meeting(5).come(0, 1, 2, 3, 4)
    assert {each.number for each in found.values()} == {1}
    members = found[0].members
    assert sorted(member.rank for member in members) == [0, 1, 2, 3, 4]
    for rank, each in found.items():
        assert each.members == members
        assert members[each.place] == Member(rank, "127.0.0.1", rank)


def test_one_that_does_not_come_is_not_waited_for() -> None:
    meeting = Meeting(3)
    found = meeting.come(0, 2, patience=0.5)
    together = {frozenset(member.rank for member in each.members) for each in found.values()}
    assert together in ({frozenset({0, 2})}, {frozenset({0}), frozenset({2})}, {frozenset({0}), frozenset({0, 2})})
    later = meeting.come(0, 1, 2)  # the one that came late calls the next
    assert {each.number for each in later.values()} == {max(each.number for each in found.values()) + 1}
    assert {member.rank for member in later[1].members} == {0, 1, 2}


def test_one_that_was_killed_between_its_two_words_is_missed() -> None:
    meeting = Meeting(2)
    rounds = meeting.rounds(1)
    rounds.call(0)
    rounds.store.add("round/1/members", 1)  # and nothing more
    with pytest.raises(RuntimeError):  # after the time of a call
        rounds.come(Member(1, "127.0.0.1", 0), (PATIENCE, PATIENCE), lambda: False)


def member(rank: int, *silent: int) -> Member:
    return Member(rank, "127.0.0.1", 0, silent=silent)


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ([member(0), member(1), member(2)], {}),
        ([member(0), member(1, 2), member(2, 1)], {2: 1}),
        ([member(0), member(1), member(2, 1)], {2: 1}),  # one of both has noticed
        ([member(0), member(1, 3), member(2)], {}),  # who is not there
        ([member(0, 1), member(1, 0), member(2)], {1: 0}),
        ([member(0), member(1, 2, 3), member(2, 1), member(3, 1)], {1: 2}),  # the one that lacks most
        ([member(0, 1, 2), member(1, 0), member(2, 0)], {2: 0, 1: 0}),  # rank 0 stays
        ([member(0), member(1, 2), member(2, 1), member(3, 4), member(4, 3)], {4: 3, 2: 1}),
    ],
)
def test_those_stay_who_reach_each_other(members: list[Member], expected: dict[int, int]) -> None:
    assert left_out(members) == left_out(members[::-1]) == expected


def test_who_does_not_reach_another_is_left_out() -> None:
    meeting = Meeting(3)
    found: dict[int, Round | str] = {}

    def one(own: Member) -> None:
        try:
            found[own.rank] = meeting.rounds(own.rank).come(own, (PATIENCE, PATIENCE), lambda: False)
        except LeftOut as error:
            found[own.rank] = str(error)

    threads = [threading.Thread(target=one, args=(own,)) for own in (member(0), member(1, 2), member(2))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[2] == "host 2 of 3 and host 1 do not reach each other, and the others go on without it"
    for rank in (0, 1):
        each = found[rank]
        assert isinstance(each, Round)
        assert sorted(other.rank for other in each.members) == [0, 1]
        assert each.members[each.place].rank == rank


def test_who_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    door = Door("127.0.0.1")
    here = ("127.0.0.1", door.port)
    assert silent({}) == set()
    assert silent(dict.fromkeys(range(100), here)) == set()
    door.clear()
    door.close()
    assert silent({1: here}) == set()  # the process is gone, and the machine says so

    def nobody(place: tuple[str, int], timeout: float) -> None:
        if place[0] == "192.0.2.1":
            raise TimeoutError
        raise ConnectionRefusedError

    monkeypatch.setattr(socket, "create_connection", nobody)
    assert silent({1: here, 2: ("192.0.2.1", 9)}) == {2}


def test_a_round_is_given_up() -> None:
    meeting = Meeting(2)
    with pytest.raises(Abandoned):
        meeting.first.come(Member(0, "127.0.0.1", 0), (PATIENCE, PATIENCE), lambda: True)


# What must be the same -----------------------------------------------------------------------------------------------


def test_the_number_of_a_run() -> None:
    store = Meeting(1).first.store
    assert settings.current_run(store) == 0
    assert settings.begin_run(store) == 0
    assert settings.begin_run(store) == 0  # of a rank 0 that was killed, while the others go on
    store.set(over_key(0), "aborts")
    assert settings.begin_run(store) == 1
    settings.publish(store, Config(env_id="CartPole-v1"), 7)
    settings.agreed(store, Config(env_id="CartPole-v1"), lambda: pytest.fail("run 0 is over, and this is run 1"))
    settings.set_run(store, 2)
    assert settings.current_run(store) == 2
    store.set(over_key(2), "ended")
    with pytest.raises(settings.NothingLeft, match="rank 0 has ended the run"):
        settings.agreed(store, Config(env_id="CartPole-v1"), lambda: None)


@pytest.mark.parametrize("has_store", [False, True])
def test_a_wait_says_what_it_is_for(has_store: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("a3c_fast.hosts.waiting.SAY_AFTER_SECONDS", 0.0)
    monkeypatch.setattr("a3c_fast.hosts._START_PATIENCE", 1.0)
    launch = Launch(1, 2, 1, "127.0.0.1", free_port(), has_store, "none")
    store = Rounds(launch, PATIENCE, opens=True) if has_store else None
    what = "rank 0 to begin" if has_store else f"the store of the hosts at 127.0.0.1:{launch.port}"
    with (
        pytest.warns(RuntimeWarning, match=f"^host 1 of 2: waits for {what}, for ten minutes at most$"),
        pytest.raises(HostsError, match="rank 0, which has not begun" if has_store else "cannot be reached"),
    ):
        Hosts(launch).agree(Config(env_id="CartPole-v1", host_timeout_seconds=PATIENCE if has_store else 2))
    del store


def agreed(first: Config, other: Config) -> Config:
    store = Meeting(2).first.store
    settings.publish(store, first, 7)
    found, first_step = settings.agreed(store, other, lambda: None)
    assert first_step == 7
    return found


def test_a_host_takes_the_settings_of_the_first_and_keeps_its_own() -> None:
    first = Config(env_id="CartPole-v1", gamma=0.9, num_workers=8, seed=3, schedules=("learning_rate=1e-3@0,0@end",))
    found = agreed(first, Config(env_id="CartPole-v1", num_workers=2))
    assert (found.gamma, found.num_workers, found.seed) == (0.9, 2, 3)
    assert found.schedules == first.schedules
    assert agreed(first, Config(env_id="CartPole-v1")).num_workers == 0  # one for each core of its own


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"gamma": 0.5}, "gamma"),
        ({"env_id": "Acrobot-v1"}, "env_id"),
        ({"seed": 9}, "seed"),
        ({"lstm_size": 8}, "lstm_size"),
        ({"host_timeout_seconds": 3}, "host_timeout_seconds"),
    ],
)
def test_a_host_with_other_settings_is_refused(changes: dict[str, Any], name: str) -> None:
    with pytest.raises(ConfigError, match=f"^{name} is .* but rank 0 has .*, and all hosts train with the same"):
        agreed(Config(env_id="CartPole-v1"), Config(**{"env_id": "CartPole-v1", **changes}))


def test_a_host_with_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    store = Meeting(2).first.store
    settings.publish(store, Config(), 0)
    monkeypatch.setattr(settings, "versions", lambda: {**versions(), "envpool": "1.0.0"})
    there = versions()["envpool"]
    with pytest.raises(ConfigError, match=f"envpool is '1.0.0', but rank 0 has {there}, and all hosts need the same"):
        settings.agreed(store, Config(), lambda: None)


@pytest.mark.parametrize(("constant", "name"), [(1.0, None), (2.0, "mask")])
def test_constants_of_a_network_are_the_same(constant: float, name: str | None) -> None:
    store = Meeting(2).first.store
    engine: Any = types.SimpleNamespace(parameter_specs=[("weight", (2, 3), True, 0)])
    settings.require_same_network(store, engine, {"mask": torch.ones(3)}, 0, lambda: None)
    with pytest.raises(ConfigError, match=name) if name else contextlib.nullcontext():
        settings.require_same_network(store, engine, {"mask": constant * torch.ones(3)}, 1, lambda: None)
    other: Any = types.SimpleNamespace(parameter_specs=[("weight", (2, 4), True, 0)])
    with pytest.raises(ConfigError, match="the network of rank 0 has other parameters"):
        settings.require_same_network(store, other, {}, 1, lambda: None)


# Runs ----------------------------------------------------------------------------------------------------------------


def test_hosts_end_with_the_same_network_and_the_steps_of_all(job: Any, tmp_path: Path) -> None:
    together = job(2)
    config = {"env_id": "Pendulum-v1", "total_steps": 20_000, "seed": 5, "exchange_every_seconds": 0.05}
    hosts = [
        together.program(0, tmp_path, **config, num_workers=2, run_dir="run", gamma=0.97),
        together.program(1, tmp_path, **config, num_workers=1),
    ]
    found = [json.loads(host.result().stdout) for host in hosts]
    assert found[0]["agreed"] == found[1]["agreed"]
    assert found[0]["counts"] == found[1]["counts"]
    assert max(host["away"] for host in found) < 1e-5
    assert found[0]["line"]["step"] == found[1]["line"]["step"] >= 20_000
    assert found[0]["mean"] == pytest.approx(found[1]["mean"], abs=1e-6)  # observations are normalized by all of them
    assert found[1]["gamma"] == 0.97
    assert [host["workers"] for host in found] == [2, 1]
    assert found[0]["line"]["hosts"] == 2
    assert all(host["stats"]["hosts"] == 2 and host["stats"]["exchanges"] > 1 for host in found)
    assert (tmp_path / "run" / "checkpoints").is_dir()
    assert len(list(tmp_path.iterdir())) == 1  # the other host keeps nothing


def test_the_steps_of_a_run_are_those_of_all_hosts(job: Any, tmp_path: Path) -> None:
    together = job(3)
    flags = (*SMALL, "--total-steps", "100000")
    first = together.train(0, *flags, "--run-dir", "run", cwd=tmp_path)
    others = [together.train(rank, *flags, cwd=tmp_path) for rank in (1, 2)]
    for host in (first, *others):
        assert host.result().status == 0
    assert read_lines(tmp_path / "run")[-1]["step"] >= 100_000
    assert "rank 0 has it" in others[0].stdout()
    assert "on host 0 of 3 starts in run" in first.stdout()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


ENDLESS = (*SMALL, "--total-steps", "1_000_000_000", "--log-every-seconds", "0.1", "--checkpoint-every-seconds", "0.5")


def begun(run: Path, beyond: int = 0) -> Callable[[], bool]:
    return lambda: bool(lines := read_lines(run)) and lines[-1]["step"] > beyond


def errors_of(process: Process) -> str:
    return process._files[1].read_text()


def test_a_host_that_is_killed_is_missed_and_welcome_again(job: Any, tmp_path: Path) -> None:
    together, run = job(2), tmp_path / "run"
    first = together.train(0, *ENDLESS, "--run-dir", "run", cwd=tmp_path)
    other = together.train(1, *ENDLESS, cwd=tmp_path)
    first.until(begun(run))
    other.send(signal.SIGKILL)
    first.until(lambda: "host 1 is gone (" in errors_of(first))
    assert "third_party" not in errors_of(first)
    first.until(begun(run, read_lines(run)[-1]["step"]))  # it goes on alone
    again = together.train(1, *ENDLESS, cwd=tmp_path)
    first.until(lambda: "host 1 is here; 2 of 2 hosts train together" in errors_of(first))
    step = read_lines(run)[-1]["step"]
    first.send(signal.SIGINT)
    assert first.result().status == 130
    assert again.result().status == 1
    assert "rank 0 has ended the run" in again.result().stderr
    assert read_lines(run)[-1]["step"] >= step


def test_the_first_host_comes_back_to_what_the_others_have_learned(job: Any, tmp_path: Path) -> None:
    together, run = job(3), tmp_path / "run"
    # The store is this test's, as it is torchrun's: it stays when rank 0 dies.
    store = Rounds(Launch(0, 3, 1, "127.0.0.1", together.port, False, "none"), 30, opens=True)
    kept = {"TORCHELASTIC_USE_AGENT_STORE": "True"}
    environment = together.environment
    together.environment = lambda rank: json.dumps({**json.loads(environment(rank)), **kept})
    first = together.train(0, *ENDLESS, "--run-dir", "run", cwd=tmp_path)
    others = [together.train(rank, *ENDLESS, cwd=tmp_path) for rank in (1, 2)]
    first.until(lambda: len(list((run / "checkpoints").glob("*.safetensors"))) > 1)
    first.send(signal.SIGKILL)
    others[0].until(lambda: re.search(r"\b0(, 2)? (is|are) gone", errors_of(others[0])))
    saved = max(path.stem for path in (run / "checkpoints").glob("*.safetensors"))
    again = together.train(0, *ENDLESS, "--run-dir", "run", "--resume", cwd=tmp_path)
    again.until(lambda: "goes on from step" in again.stdout())
    others[0].until(lambda: re.search(r"\b0(, 2)? (is|are) here", errors_of(others[0])))
    saved_step = int(saved.removeprefix("step_"))
    again.until(begun(run, saved_step))
    steps = [line["step"] for line in read_lines(run)]
    assert steps == sorted(set(steps))
    # What the others had by then is what it goes on from.
    members = [store._member(f"round/{store.newest()}/member/{i}") for i in range(3)]
    theirs = max(member.steps for member in members if member.rank != 0)
    assert saved_step < theirs <= next(step for step in steps if step > saved_step)
    again.send(signal.SIGTERM)
    assert again.result().status == 143
    assert [other.result().status for other in others] == [1, 1]
    del store


def test_a_host_that_leaves_ends_alone(job: Any, tmp_path: Path) -> None:
    together, run = job(2), tmp_path / "run"
    first = together.train(0, *ENDLESS, "--run-dir", "run", cwd=tmp_path)
    other = together.train(1, *ENDLESS, cwd=tmp_path)
    first.until(begun(run))
    other.send(signal.SIGTERM)
    result = other.result()
    assert result.status == 143
    assert "the other hosts have what was learned" in result.stdout
    first.until(lambda: "host 1 is gone (it said so)" in errors_of(first))
    first.until(begun(run, read_lines(run)[-1]["step"]))


def test_a_host_that_is_left_alone_does_not_say_that_others_have_it(job: Any, tmp_path: Path) -> None:
    together = job(2)
    store = Rounds(Launch(0, 2, 1, "127.0.0.1", together.port, False, "none"), 30, opens=True)  # as torchrun's
    environment = together.environment
    together.environment = lambda rank: json.dumps(
        {**json.loads(environment(rank)), "TORCHELASTIC_USE_AGENT_STORE": "True"}
    )
    first = together.train(0, *ENDLESS, "--run-dir", "run", cwd=tmp_path)
    other = together.train(1, *ENDLESS, cwd=tmp_path)
    first.until(begun(tmp_path / "run"))
    first.send(signal.SIGKILL)
    other.until(lambda: "1 of 2 hosts train together" in errors_of(other))
    other.send(signal.SIGTERM)
    result = other.result()
    assert result.status == 143
    assert "no other host was left to take what was learned" in result.stdout
    del store


CHANGES = """
import json, os, sys, time
os.environ.update(json.loads(sys.argv[1]))
import a3c_fast
settings = json.loads(sys.argv[2])
hosts = a3c_fast.Hosts.of_launcher()
with a3c_fast.Trainer(a3c_fast.Config(**settings), hosts=hosts) as trainer:
    trainer.start()
    if hosts.is_first:
        trainer.set(learning_rate=0.125, entropy_coef=a3c_fast.linear(0.5, 0.25, 10))
        print("set", flush=True)
        trainer.wait()
    else:
        try:
            trainer.set(learning_rate=1)
        except RuntimeError as error:
            print(error, flush=True)
        while len(trainer.changes) < 2:
            time.sleep(0.01)
        print(trainer.config.learning_rate, trainer.stats()["entropy_coef"], trainer.config.schedules, flush=True)
"""


def test_what_the_first_host_changes_all_change(job: Any, tmp_path: Path) -> None:
    together = job(2)
    config = json.dumps({"env_id": "CartPole-v1", "num_workers": 1, "total_steps": 10**9})
    first = together._start(CHANGES, together.environment(0), config, cwd=tmp_path)
    other = together._start(CHANGES, together.environment(1), config, cwd=tmp_path)
    said = other.result().stdout.splitlines()
    assert said[0] == "set() is for rank 0, whose changes all hosts follow"
    assert said[1] == "0.125 0.25 ('entropy_coef=0.5@0,0.25@10',)"
    again = together._start(CHANGES, together.environment(1), config, cwd=tmp_path)  # hears of what was changed before
    assert again.result().stdout.splitlines()[1] == said[1]
    assert not first.ended()


def test_changes_of_a_new_store_are_those_of_all() -> None:
    applied: list[Any] = []
    first, other = Changes(), Changes()
    other.apply = applied.append
    store = Meeting(1).first.store
    first.begin(store, Config(env_id="CartPole-v1"), goes_on=False)
    first.add({"learning_rate": 0.5})
    assert first.publish(store)
    assert not first.publish(store)
    other.take(store)
    other.take(store)
    assert applied == [{"learning_rate": 0.5}]
    again, store = Changes(), Meeting(1).first.store  # rank 0 begins again, and the store with it
    again.begin(store, Config(env_id="CartPole-v1", learning_rate=0.25), goes_on=True)
    assert again.publish(store)
    other.take(store)
    assert {"learning_rate": 0.25} in applied
    again.add({"learning_rate": 0.125})
    assert again.publish(store)
    applied.clear()
    other.take(store)
    assert applied == [{"learning_rate": 0.125}]


SEVERAL = """
import hashlib, json, os, sys, time
os.environ.update(json.loads(sys.argv[1]))
import numpy as np
import a3c_fast
settings, anew = json.loads(sys.argv[2]), json.loads(sys.argv[3])
hosts = a3c_fast.Hosts.of_launcher()
found = []
for hidden in (32, 16):
    if anew:
        hosts = a3c_fast.Hosts.of_launcher()
    with a3c_fast.Trainer(a3c_fast.Config(**settings, hidden_sizes=(hidden,)), hosts=hosts) as trainer:
        if hosts.is_first and hidden == 32:
            trainer.start()
            trainer.set(learning_rate=0.125)
            trainer.wait()
        else:
            trainer.run()
        line = trainer.stats()
        found.append([hosts.stats.hosts, line["step"], trainer.config.learning_rate, len(trainer.changes)])
    if hosts.is_first:
        time.sleep(1)  # the other one is to wait, and not to take this trainer for its next
print(json.dumps(found))
"""


@pytest.mark.parametrize("anew", [False, True])
def test_a_program_makes_several_trainers(anew: bool, job: Any, tmp_path: Path) -> None:
    together = job(2)
    kept = Rounds(Launch(0, 2, 1, "127.0.0.1", together.port, False, "none"), 30, opens=True)  # as torchrun's store
    environment = [
        json.dumps({**json.loads(together.environment(rank)), "TORCHELASTIC_USE_AGENT_STORE": "True"})
        for rank in (0, 1)
    ]
    # Long enough for the change to be told in one of many exchanges: a host that has its steps takes none any more.
    config = json.dumps({"env_id": "CartPole-v1", "num_workers": 1, "total_steps": 300_000})
    hosts = [together._start(SEVERAL, each, config, json.dumps(anew), cwd=tmp_path) for each in environment]
    found = [json.loads(host.result().stdout) for host in hosts]
    assert found[0] == found[1]
    (first_hosts, first_step, first_rate, _), (hosts_of_second, step, rate, changes) = found[0]
    assert first_hosts == hosts_of_second == 2
    assert min(first_step, step) >= 300_000
    assert first_rate == 0.125 != rate
    assert changes == 0
    del kept


TWICE = """
import json, os, sys
os.environ.update(json.loads(sys.argv[1]))
import a3c_fast
hosts = a3c_fast.Hosts.of_launcher()
with a3c_fast.Trainer(a3c_fast.Config(**json.loads(sys.argv[2])), hosts=hosts) as trainer:
    steps = [trainer.run(until=until)["step"] for until in (20_000, 40_000)]
    print(json.dumps([steps, hosts.stats.hosts]))
"""


def test_a_program_runs_twice(job: Any, tmp_path: Path) -> None:
    together = job(2)
    config = json.dumps({"env_id": "CartPole-v1", "num_workers": 1, "total_steps": 40_000})
    hosts = [together._start(TWICE, together.environment(rank), config, cwd=tmp_path) for rank in (0, 1)]
    found = [json.loads(host.result().stdout) for host in hosts]
    assert found[0] == found[1]
    assert found[0][1] == 2
    assert found[0][0][0] >= 20_000
    assert found[0][0][1] >= 40_000


def test_one_that_waits_for_others_is_stopped_at_once(job: Any, tmp_path: Path) -> None:
    first = job(2).train(0, *ENDLESS, "--run-dir", "run", cwd=tmp_path)  # and nobody else
    first.until(lambda: "host 0 of 2: waits for the other hosts to begin" in first.stderr())
    first.send(signal.SIGINT)
    result = first.result()
    assert result.status == 130
    assert "stopped by SIGINT: interrupted while it waited for other hosts" in result.stdout


def test_a_limit_of_the_first_host_ends_all(job: Any, tmp_path: Path) -> None:
    together = job(2)
    first = together.train(0, *ENDLESS, "--run-dir", "run", "--max-minutes", "0.02", cwd=tmp_path)
    other = together.train(1, *ENDLESS, "--max-minutes", "0.02", cwd=tmp_path)
    assert first.result().status == 0
    assert other.result().status == 0


def test_another_setting_is_refused_at_the_start(job: Any, tmp_path: Path) -> None:
    together = job(2)
    together.train(0, *ENDLESS, "--run-dir", "run", cwd=tmp_path)
    other = together.train(1, *ENDLESS, "--gamma", "0.5", cwd=tmp_path)
    result = other.result()
    assert result.status == 2
    assert result.error == "gamma is 0.5, but rank 0 has 0.99, and all hosts train with the same"


def test_a_run_that_has_its_steps_keeps_nobody_waiting(job: Any, tmp_path: Path) -> None:
    flags = (*SMALL, "--total-steps", "3000", "--run-dir", "run", "--resume")
    assert run("a3c_fast.train", *flags, cwd=tmp_path).status == 0
    together = job(2)
    # rank 0 keeps the store while the other comes to hear of it: here it is this test's.
    store = Rounds(Launch(0, 2, 1, "127.0.0.1", together.port, False, "none"), 30, opens=True)
    environment = together.environment
    together.environment = lambda rank: json.dumps(
        {**json.loads(environment(rank)), "TORCHELASTIC_USE_AGENT_STORE": "True"}
    )
    hosts = [together.train(rank, *flags, cwd=tmp_path) for rank in (0, 1)]
    for host in hosts:
        result = host.result()
        assert result.status == 0
        assert "nothing is left to do" in result.stdout
    del store


def test_settings_of_a_launcher_that_cannot_be(tmp_path: Path) -> None:
    environment = json.dumps({"RANK": "5", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"})
    result = run("-c", COMMAND, environment, cwd=tmp_path)
    assert result.status == 2
    assert result.error == "RANK is '5', but it must be a whole number from 0 to 1"


class NeverDone:
    """An exchange whose other hosts do not answer."""

    def __init__(self) -> None:
        self.joined, self.done, self.outcome = threading.Event(), threading.Event(), Outcome(0)
        self.joined.set()
        self.ends: list[str] = []

    def end(self, how: str) -> None:
        self.ends.append(how)

    def give_up(self) -> None:
        self.ends.append("gives up")


@pytest.mark.parametrize(
    ("rank", "reason", "how", "sentence"),
    [
        (0, "total_steps", "ended", "other hosts have not ended, and what they have learned last is not with the rest"),
        (0, "stopped", "aborts", "other hosts have not ended, and what they have learned last is not with the rest"),
        (1, "total_steps", "ended", "the other hosts have not ended, and what this one has learned last is not with"),
        (1, "stopped", "leaves", ""),
    ],
)
def test_the_end_of_others_is_not_waited_for_without_end(
    rank: int, reason: Any, how: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("a3c_fast.hosts._END_PATIENCE", PATIENCE if how == "aborts" else 0.1)
    own = Hosts(Launch(rank, 2, 1, "127.0.0.1", 1, False, "none"))
    exchange, said = NeverDone(), list[str]()
    own._exchange, own._timeout, own._tell = exchange, 0.1, said.append  # type: ignore[assignment]
    own.end(reason)
    assert exchange.ends == [how, "gives up"]
    own.end(reason)  # by another thread, which does not wait again
    assert exchange.ends == [how, "gives up"]
    with pytest.raises(HostsError, match=sentence) if rank and sentence else contextlib.nullcontext():
        own.raise_error()
    assert said == ([sentence] if rank == 0 else [])
