"""What would crash or hang EnvPool or the core raises an error instead: each case in a process that could die of it."""

from __future__ import annotations

import json

import pytest
from helpers import TRAIN, run

# Prints the outcome of each named call; a crash loses all, so the last line printed tells where it was.
_REPORT = """
import json
import numpy as np
from a3c_fast import Config, Trainer, _core, envs

def fake(num_envs=8, choices=(3,), box=0, bound=1.0, **observation):
    action = dict(low=[-bound] * box, high=[bound] * box) if box else dict(choices=choices)
    observation = _core.ObservationSpec(**{"num_features": 4, **observation})
    spec = _core.EnvSpec(num_envs=num_envs, observation=observation, action=_core.ActionSpec(**action))
    return _core.EnvClient.fake(spec=spec)

FAKE = Config(env_id="a3c_fast/Fake-v0")
RECALL = Config(env_id="a3c_fast/Recall-v0")
CONTINUOUS = Config(env_id="a3c_fast/FakeContinuous-v0")

def report(name, call):
    try:
        call()
    except Exception as error:
        print(json.dumps([name, type(error).__name__, str(error)]), flush=True)
    else:
        print(json.dumps([name, None, ""]), flush=True)

"""


def outcomes(script: str) -> dict[str, tuple[str | None, str]]:
    result = run("-c", _REPORT + script)
    assert result.status == 0, result
    return {name: (kind, message) for name, kind, message in map(json.loads, result.stdout.splitlines())}


@pytest.mark.parametrize("env_id", ["CartPole-v1", "Pong-v5"])
def test_actions_that_would_kill_envpool(env_id: str) -> None:
    found = outcomes(f"""
client = envs.make_client(Config(env_id={env_id!r}), [1, 2])
client.recv()
for action in (-1, 18, 10**6, -2**31, 2**31 - 1, 0.5, float("nan"), float("inf")):
    report(f"action {{np.float32(action):f}}", lambda: client.send(np.array([0, action])))
for count in (0, 1, 3, 1000):
    report(f"{{count}} actions", lambda: client.send(np.zeros(count, np.int32)))
for odd in (None, "ab", {{}}):
    report(repr(odd), lambda: client.send(odd))
client.send(np.array([1, 0]))
report("a good one", client.recv)
""")
    assert found.pop("a good one") == (None, "")
    assert len(found) == 15
    for name, (kind, message) in found.items():
        if name.startswith("action"):
            assert kind == "IndexError", (name, kind)
            last = 1 if env_id == "CartPole-v1" else 5
            assert message == f"environment 1: {name} is no whole number from 0 to {last}"
        elif name.endswith("actions"):
            assert (kind, message) == ("ValueError", "actions must have one row an environment")
        else:
            assert kind in ("TypeError", "ValueError"), (name, kind)


@pytest.mark.parametrize("env_id", ["Pendulum-v1", "HalfCheetah-v4"])
def test_continuous_actions_that_would_hang_envpool(env_id: str) -> None:
    found = outcomes(f"""
config = Config(env_id={env_id!r})
size = envs.spec_of(config).action.size
client = envs.make_client(config, [1, 2])
client.recv()
for action in ("nan", "inf", "-inf"):
    actions = np.zeros((2, size))
    actions[1, -1] = float(action)
    report(action, lambda: client.send(actions))
report("too few", lambda: client.send(np.zeros((2, size - 1))))
client.send(np.full((2, size), 1e30))  # clipped to the bounds
report("a good one", client.recv)
""")
    assert found.pop("a good one") == (None, "")
    assert found.pop("too few") == ("ValueError", "actions must have one row an environment")
    of_component = "" if env_id == "Pendulum-v1" else " of component 5"
    for name, (kind, message) in found.items():
        assert kind == "IndexError", name
        assert message.removeprefix("environment 1: action ").lstrip("-") in (
            f"{value}{of_component} is not finite" for value in ("nan", "inf")
        )


def test_a_scripted_environment_refuses_the_same() -> None:
    found = outcomes("""
client = fake()
client.recv()
for action in (-1, 3, 10**6, 0.5, float("nan")):
    report(str(action), lambda: client.send(np.full(8, action)))
report("7 actions", lambda: client.send(np.zeros(7)))
several = fake(choices=(3, 2))
several.recv()
for action in ((0, 2), (3, 0), (-1, 1)):
    report(str(action), lambda: several.send(np.full((8, 2), action)))
report("8 for two components", lambda: several.send(np.zeros(8)))
continuous = fake(box=2)
continuous.recv()
for action in ((0, float("nan")), (float("inf"), 0)):
    report(f"continuous {action}", lambda: continuous.send(np.full((8, 2), action)))
""")
    assert [kind for kind, _ in found.values()] == [
        *(["IndexError"] * 5 + ["ValueError"] + ["IndexError"] * 3 + ["ValueError"] + ["IndexError"] * 2)
    ]
    assert found["(0, 2)"][1] == "action 2.000000 of component 1 is no whole number from 0 to 1"
    assert found["continuous (0, nan)"][1] == "action nan of component 1 is not finite"


def test_environments_that_have_begun_are_no_engines() -> None:
    found = outcomes("""
from a3c_fast._core import step_randomly
config = Config(env_id="CartPole-v1")
pool = envs.make_client(config, list(range(8)))
step_randomly([pool], 100, 1)
step_randomly([pool], 100, 1)  # from where they are
scripted, sent_to = fake(), fake()
scripted.recv()
sent_to.recv()
sent_to.send(np.zeros(8))
for name, client in {"pool": pool, "scripted": scripted, "sent to": sent_to}.items():
    report(name, lambda: Trainer(config, clients=[client]))
""")
    assert set(found) == {"pool", "scripted", "sent to"}
    assert all(kind == "ValueError" and "have begun" in message for kind, message in found.values())


def test_recv_and_send_take_turns() -> None:
    found = outcomes("""
from a3c_fast._core import step_randomly
pool = envs.make_client(Config(env_id="CartPole-v1"), [1, 2])
report("send", lambda: pool.send(np.zeros(2)))
report("recv", pool.recv)
report("recv again", pool.recv)  # EnvPool's would wait for ever
report("first send", lambda: pool.send(np.zeros(2)))
report("send again", lambda: pool.send(np.zeros(2)))
report("twice the same", lambda: step_randomly([pool, pool], 100, 1))
report("last", pool.recv)
""")
    assert [kind for kind, _ in found.values()] == [
        "ValueError",
        None,
        "ValueError",
        None,
        "ValueError",
        "ValueError",
        None,
    ]
    assert "send() comes after recv()" in found["send"][1]
    assert "recv() comes after send()" in found["recv again"][1]
    assert found["twice the same"][1] == "the same environments are given twice"


@pytest.mark.parametrize(
    "flags",
    [
        ("--stack-num", "0"),  # crashes EnvPool
        ("--noop-max", "0"),  # crashes EnvPool
        ("--frame-skip", "0"),
        ("--frame-skip", "-4"),
        ("--stack-num", "1000000"),
        ("--sticky-probability", "2"),
        ("--sticky-probability", "nan"),
        ("--num-workers", "-3"),
        ("--envs-per-worker", "0"),
        ("--envs-per-worker", "-16"),
        ("--seed", "-1"),
        ("--seed", str(2**31)),
        ("--t-max", "-5"),
    ],
    ids="=".join,
)
def test_options_that_would_crash_envpool_or_the_core(flags: tuple[str, str]) -> None:
    result = run(TRAIN, "--env-id", "Pong-v5", *flags)
    assert result.status == 2
    field, value = flags[0].removeprefix("--").replace("-", "_"), flags[1]
    assert result.error.startswith(f"{field} is {value}"), result.error
    assert "it must be" in result.error


def test_a_rollout_larger_than_any_memory_is_refused_in_one_sentence() -> None:
    flags = ("--env-id", "a3c_fast/FakeImage-v0", "--envs-per-worker", "4096", "--envs-per-update", "1")
    result = run(TRAIN, *flags, "--t-max", "100000", "--num-workers", "1")
    assert result.status in (1, 2)
    assert result.error


def test_environments_have_one_owner() -> None:
    found = outcomes("""
client = fake()
trainer = Trainer(FAKE, clients=[client])
report("recv", client.recv)
report("send", lambda: client.send(np.zeros(8)))
report("probe", client.probe)
report("another trainer", lambda: Trainer(FAKE, clients=[client]))
report("the first goes on", lambda: trainer.run(1000))
""")
    assert found.pop("the first goes on") == (None, "")
    assert set(found.values()) == {("RuntimeError", "these environments already belong to an engine")}
    assert len(found) == 4


def test_one_client_twice_in_a_list() -> None:
    found = outcomes("""
client = fake()
report("twice", lambda: Trainer(FAKE, clients=[client, client]))
""")
    assert found["twice"][0] in ("RuntimeError", "ValueError")


def test_clients_that_do_not_fit() -> None:
    found = outcomes("""
report("none", lambda: Trainer(FAKE, clients=[]))
report("no client", lambda: Trainer(FAKE, clients=[3]))
report("another shape", lambda: Trainer(FAKE, clients=[fake(num_features=5)]))
report("another type", lambda: Trainer(FAKE, clients=[fake(num_features=0, array_shape=[4])]))
report("another number of actions", lambda: Trainer(FAKE, clients=[fake(choices=(4,))]))
report("one that does not fit", lambda: Trainer(FAKE, clients=[fake(), fake(choices=(4,))]))
report("one of other choices", lambda: Trainer(FAKE, clients=[fake(), fake(choices=(2, 1))]))
report("another kind of actions", lambda: Trainer(RECALL, clients=[fake(num_features=5, box=2)]))
report("one of other bounds", lambda: Trainer(CONTINUOUS, clients=[fake(box=2), fake(box=2, bound=2.0)]))
report("not divisible", lambda: Trainer(FAKE, clients=[fake(num_envs=7)]))
report("unknown type", lambda: fake(array_type="int8"))
report("a negative number", lambda: fake(num_envs=-1))
""")
    assert found.pop("no client")[0] in ("TypeError", "RuntimeError")  # no EnvClient
    for name, (kind, message) in found.items():
        assert kind == "ValueError", (name, kind, message)
        assert "\n" not in message


def test_a_client_without_environments_is_refused_and_does_not_hang() -> None:
    found = outcomes("""
report("empty", lambda: Trainer(FAKE, clients=[fake(num_envs=0)]).run(100))
""")
    assert found["empty"][0] == "ValueError"


def test_worker_states_that_are_not_its_own() -> None:
    found = outcomes("""
trainer = Trainer(FAKE, clients=[fake()])
trainer.run(1000)
engine = trainer._engine
state = engine.worker_state(0)
for worker in (-1, 1, 10**6):
    report(f"worker {worker}", lambda: engine.worker_state(worker))
    report(f"load worker {worker}", lambda: engine.load_worker_state(worker, state))
for name in ("starts", "episode_return", "episode_length"):
    report(name, lambda: engine.load_worker_state(0, {**state, name: []}))
report("recurrent", lambda: engine.load_worker_state(0, {**state, "recurrent_state": [0.5]}))
report("env", lambda: engine.load_worker_state(0, {**state, "env": b"x"}))
report("missing", lambda: engine.load_worker_state(0, {}))
report("its own", lambda: (engine.load_worker_state(0, state), trainer.run(2000)))
""")
    assert found.pop("its own") == (None, "")
    for name, (kind, _) in found.items():
        assert kind is not None, f"{name} was accepted"


def test_parameters_of_another_size_are_refused() -> None:
    found = outcomes("""
trainer = Trainer(FAKE, clients=[fake()])
engine = trainer._engine
zeros = np.zeros(engine.parameters().size, np.float32)
counts = dict(steps=0, updates=0, episodes=0)
stats = dict.fromkeys(engine.snapshot()["statistics"], zeros)
report("short", lambda: engine.load(parameters=zeros[:-1], statistics={}, **counts))
report("empty", lambda: engine.load(parameters=zeros[:0], statistics={}, **counts))
report("another optimizer", lambda: engine.load(parameters=zeros, statistics={"mean_square": zeros}, **counts))
report("short statistics", lambda: engine.load(parameters=zeros, statistics=dict.fromkeys(stats, zeros[1:]), **counts))
report("right", lambda: engine.load(parameters=zeros, statistics=stats, **counts))
""")
    assert found.pop("right") == (None, "")
    assert {kind for kind, _ in found.values()} == {"ValueError"}
