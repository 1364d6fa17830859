"""Environments: which there are, their seeds, and what is asked of EnvPool."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from helpers import FAKE, FAKE_CONTINUOUS, FAKE_IMAGE, FAKE_MULTI
from hypothesis import given
from hypothesis import strategies as st

from a3c_fast import Config, Trainer, envs
from a3c_fast import checkpoint as checkpoints
from a3c_fast.envs import envpool
from a3c_fast.errors import CheckpointError, ConfigError
from a3c_fast.evaluate import load_policy

CARTPOLE = Config(env_id="CartPole-v1")
PONG = Config(env_id="Pong-v5")


# Which environments there are ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("env_id", "family", "problem"),
    [
        ("Pong-v5", "atari", "atari"),
        ("CartPole-v1", "classic_control", "discrete"),
        ("Pendulum-v1", "classic_control", "continuous"),
        ("HalfCheetah-v4", "mujoco.gym", "continuous"),
        ("CheetahRun-v1", "mujoco.dmc", "continuous"),
        ("Taxi-v3", "toy_text", "discrete"),
        ("CarRacing-v3", "box2d", "image"),
        ("MiniGrid-Empty-8x8-v0", "minigrid", "image"),
        (FAKE, "fake", "fake"),
        (FAKE_IMAGE, "fake", "fake"),
    ],
)
def test_family(env_id: str, family: str, problem: str) -> None:
    assert envs.family_of(env_id) == family
    assert envs.problem_of(env_id) == problem


@pytest.mark.parametrize(
    ("config", "observation", "action"),
    [
        (CARTPOLE, "float32[4]", "Discrete(2)"),
        (PONG, "uint8[4x84x84]", "Discrete(6)"),
        (Config(env_id="Breakout-v5", stack_num=2), "uint8[2x84x84]", "Discrete(4)"),
        (Config(env_id="Pendulum-v1"), "float32[3]", "Box(1) from -2 to 2"),
        (Config(env_id=FAKE), "float32[4]", "Discrete(3)"),
        (Config(env_id=FAKE_MULTI), "float32[4]", "MultiDiscrete([3, 2])"),
    ],
    ids=lambda value: value.env_id if isinstance(value, Config) else "",
)
def test_spec(config: Config, observation: str, action: str) -> None:
    spec = envs.spec_of(config)
    assert (str(spec.observation), str(spec.action)) == (observation, action)


def test_every_classic_control_task_trains() -> None:
    for env_id in ("CartPole-v0", "Acrobot-v1", "MountainCar-v0", "Pendulum-v1", "MountainCarContinuous-v0"):
        with Trainer(Config(env_id=env_id, num_workers=1)) as trainer:
            assert trainer.run(500)["step"] >= 500


# Seeds ---------------------------------------------------------------------------------------------------------------


@given(seed=st.integers(0, 2**31 - 1), stream=st.integers(0, 2**62), count=st.integers(1, 300))
def test_seeds_are_distinct_and_reproducible(seed: int, stream: int, count: int) -> None:
    seeds = envs.env_seeds(seed, stream, count)
    assert len(set(seeds)) == len(seeds) == count
    assert all(type(value) is int and 0 <= value < 2**31 - 1 for value in seeds)
    assert seeds == envs.env_seeds(seed, stream, count)
    assert not set(seeds) & set(envs.env_seeds(seed, stream + 1, count)) or count > 50
    assert seeds != envs.env_seeds((seed + 1) % 2**31, stream, count)


def given_seeds(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """The seeds of each worker's environments, collected while trainers are made."""
    collected: list[list[int]] = []
    original = envs.make_client

    def make_client(config: Config, seeds: Any) -> Any:
        collected.append(list(seeds))
        return original(config, seeds)

    monkeypatch.setattr(envs, "make_client", make_client)
    return collected


def test_no_two_environments_share_a_seed_and_a_resumed_run_gets_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    collected = given_seeds(monkeypatch)
    config = Config(env_id="CartPole-v1", num_workers=3, envs_per_worker=4, envs_per_update=4, run_dir=tmp_path)
    with Trainer(config) as trainer:
        trainer.run(500)
    first = [seed for worker in collected for seed in worker]
    assert [len(worker) for worker in collected] == [4, 4, 4]
    assert len(set(first)) == 12

    collected.clear()
    with Trainer(dataclasses.replace(config, resume=True)):
        pass
    second = [seed for worker in collected for seed in worker]
    assert len(set(second)) == 12
    assert not set(first) & set(second)

    collected.clear()
    with Trainer(dataclasses.replace(config, run_dir=None)):
        pass
    assert [seed for worker in collected for seed in worker] == first
    collected.clear()
    with Trainer(dataclasses.replace(config, run_dir=None, seed=2)):
        pass
    assert not set(first) & {seed for worker in collected for seed in worker}


def test_environments_start_differently_and_as_their_seeds_say() -> None:
    def start(seeds: list[int]) -> np.ndarray:
        return envs.spec_of(CARTPOLE).observation.numbers_of(envs.make_client(CARTPOLE, seeds).recv()["observations"])

    first = start([3, 4, 5])
    assert first.shape == (3, 4)
    assert len({row.tobytes() for row in first}) == 3
    np.testing.assert_array_equal(start([5, 4, 3]), first[::-1])


def test_observations_are_measured_once(tmp_path: Path) -> None:
    config = Config(num_workers=1, envs_per_worker=1, t_max=2, observation_scale="auto", run_dir=tmp_path)
    with Trainer(config) as trainer:
        offset, scale = trainer.config.observation_offset, trainer.config.observation_scale
        trainer.run(10)
        assert (trainer.policy().observation_offset, trainer.policy().observation_scale) == (offset, scale)
    assert offset == round(87 / 255, 4)  # Pong's brown
    spec = envs.spec_of(config).observation
    images = [spec.array_of(rows) for rows in envs.random_play(config, num_envs=2, steps=100, stream=2**34)]
    newest = np.array(images[9::10])[:, :, -1] / 255

    def mean_square(offset: float, scale: float) -> float:
        return float(np.square((newest - offset) * scale).mean())

    assert mean_square(float(offset), float(scale)) == pytest.approx(1, rel=1e-2)
    written = json.loads((tmp_path / "config.json").read_text())
    assert (written["observation_offset"], written["observation_scale"]) == (offset, scale)

    with Trainer(dataclasses.replace(config, seed=7, resume=True)) as trainer:  # another seed measures nothing anew
        assert (trainer.config.observation_offset, trainer.config.observation_scale) == (offset, scale)
    with pytest.raises(ConfigError, match=r"observation_offset is 0\.1, but the run in .* was made with"):
        Trainer(dataclasses.replace(config, observation_offset=0.1, resume=True))
    saved = checkpoints.load_newest(tmp_path / "checkpoints")
    policy, _ = load_policy(saved)
    assert (policy.observation_offset, policy.observation_scale) == (offset, scale)
    for name, before in (("observation_offset", 0), ("observation_scale", 1)):  # those that were made without either
        older = dataclasses.replace(saved, config={key: saved.config[key] for key in saved.config if key != name})
        assert getattr(older.measured(config), name) == before
        assert getattr(load_policy(older)[0], name) == before
        odd = dataclasses.replace(saved, config={**saved.config, name: "auto"})
        with pytest.raises(CheckpointError, match=f"{name} is 'auto', but it must be a number"):
            odd.measured(config)
    with Trainer(dataclasses.replace(config, run_dir=None, observation_offset=0.25, observation_scale=2.0)) as trainer:
        assert (trainer.policy().observation_offset, trainer.policy().observation_scale) == (0.25, 2)
    measured = envs.measure_observations(dataclasses.replace(config, observation_offset=0.0))
    assert measured.observation_offset == 0
    assert mean_square(0, float(measured.observation_scale)) == pytest.approx(1, rel=1e-2)


def test_a_blank_screen_has_no_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    blank = np.full((2, 4 * 84 * 84), 87, np.uint8)
    monkeypatch.setattr(envs, "random_play", lambda *_, **__: [blank] * 100)
    config = Config(observation_scale="auto")
    with pytest.raises(ConfigError, match="observation_scale is 'auto', but random play of Pong-v5 shows nothing but"):
        envs.measure_observations(config)
    assert envs.measure_observations(Config(observation_scale=1.0)).observation_offset == round(87 / 255, 4)


# Where episodes begin and end ----------------------------------------------------------------------------------------


def random_play(config: Config, num_envs: int, steps: int) -> Any:
    """What `EnvClient.recv` says of the reset and of `steps` steps of random actions."""
    numbers = np.random.default_rng(5)
    client, action = envs.make_client(config, envs.env_seeds(1, 0, num_envs)), envs.spec_of(config).action
    yield client.recv()
    for _ in range(steps):
        if action.is_continuous:
            client.send(numbers.normal(size=(num_envs, action.size)))
        else:
            client.send(numbers.integers(0, action.choices, (num_envs, action.size)))
        yield client.recv()


@pytest.mark.parametrize(("env_id", "lives"), [("Breakout-v5", 5), ("RoadRunner-v5", 3)])
def test_a_lost_life_ends_the_return_and_the_game_goes_on_as_if_nobody_looked(env_id: str, lives: int) -> None:
    config, num_envs = Config(env_id=env_id), 4
    lost, games = np.zeros(num_envs, int), 0
    untouched = random_play(config.replace(episodic_life=False), num_envs, 2000)
    for step, plain in zip(random_play(config, num_envs, 2000), untouched, strict=True):
        for name in ("observations", "reward", "raw_reward", "episode_ended", "valid", "starts"):
            np.testing.assert_array_equal(step[name], plain[name], err_msg=name)
        np.testing.assert_array_equal(plain["done"], plain["episode_ended"])
        np.testing.assert_array_equal(step["bootstraps"], 1 - step["done"])
        life = (step["done"] != step["episode_ended"]).astype(bool)
        assert not (life & ~step["valid"].astype(bool)).any()
        lost += life
        for env in np.flatnonzero(step["episode_ended"]):
            games += 1
            assert lost[env] == lives - 1  # the last one ends the game
            lost[env] = 0
    assert games >= 10


@pytest.mark.parametrize(
    "env_id",
    [
        *(
            "Pong-v5",
            "Breakout-v5",
            "CartPole-v1",
            "Pendulum-v1",
            "Hopper-v4",
            "FrozenLake-v1",
            "MiniGrid-Empty-5x5-v0",
        ),
        *(FAKE, FAKE_CONTINUOUS, FAKE_MULTI, "a3c_fast/Recall-v0"),
    ],
)
def test_an_episode_starts_after_each_end_and_nowhere_else(env_id: str) -> None:
    ended, reset, episodes = np.ones(4, bool), np.ones(4, bool), 0
    resets_for_a_life = env_id.startswith("a3c_fast/Fake")
    for step in random_play(Config(env_id=env_id), 4, 1100):
        np.testing.assert_array_equal(step["starts"].astype(bool), ended)
        np.testing.assert_array_equal(step["valid"].astype(bool), ~(reset if resets_for_a_life else ended))
        ended, reset = step["episode_ended"].astype(bool), step["done"].astype(bool)
        episodes += ended.sum()
        assert (reset | ~ended).all()
    assert episodes >= 3


# What is asked of EnvPool --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("training", [True, False])
def test_options_of_an_atari_pool(training: bool) -> None:
    config = Config(env_id="Pong-v5", frame_skip=2, stack_num=3, noop_max=7, sticky_probability=0.25)
    found = envs.envpool.make_pool(config, [5, 9], training=training).config
    assert (found["frame_skip"], found["stack_num"], found["noop_max"]) == (2, 3, 7)
    assert found["repeat_action_probability"] == 0.25
    assert (bool(found["episodic_life"]), bool(found["reward_clip"])) == (False, training)
    assert (found["num_envs"], found["batch_size"]) == (2, 2)


def test_an_evaluation_pool_has_true_scores_whatever_the_training_had() -> None:
    config = Config(env_id="Pong-v5", reward_clip=False)
    for training in (True, False):
        assert not envs.envpool.make_pool(config, [5], training=training).config["reward_clip"]
    client = envs.make_client(Config(env_id="Breakout-v5"), [5, 6], training=False)
    for _ in range(300):
        step = client.recv()
        np.testing.assert_array_equal(step["done"], step["episode_ended"])
        client.send(np.ones((2, 1)))


class Odd:
    """A pool whose private interface is another one than the real one's."""

    def __init__(self, pool: Any, **changes: Any) -> None:
        self._pool = pool
        self._changes = changes

    def __getattr__(self, name: str) -> Any:
        if name not in self._changes:
            return getattr(self._pool, name)
        if self._changes[name] is AttributeError:
            raise AttributeError(f"no {name}")
        return self._changes[name]


def _renamed_handlers(pool: Any) -> dict[str, Any]:
    return {"_xla": lambda: [(f"new_{name}", *rest) for name, *rest in pool._xla()]}


def _other_handle(pool: Any) -> dict[str, Any]:
    def changed() -> dict[str, Any]:
        handlers = dict(pool._xla())
        handle, *rest = handlers["send"]
        return handlers | {"send": (bytes(reversed(handle)), *rest)}

    return {"_xla": changed}


ODDITIES = {
    "no _xla": lambda pool: {"_xla": AttributeError},
    "an _xla that fails": lambda pool: {"_xla": lambda: (_ for _ in ()).throw(RuntimeError("no XLA"))},
    "an empty _xla": lambda pool: {"_xla": dict},
    "renamed handlers": _renamed_handlers,
    "another handle": _other_handle,
    "no keys": lambda pool: {"_state_keys": AttributeError},
    "a key fewer": lambda pool: {"_state_keys": list(pool._state_keys)[:-1]},
    "no reward": lambda pool: {"_state_keys": [k.replace("reward", "prize") for k in pool._state_keys]},
    "no observation": lambda pool: {"_state_keys": [k.replace("obs", "view") for k in pool._state_keys]},
    "keys exchanged": lambda pool: {"_state_keys": list(pool._state_keys)[::-1]},
    "no action": lambda pool: {"_action_keys": [k.replace("action", "deed") for k in pool._action_keys]},
    "no reset": lambda pool: {"async_reset": AttributeError},
}


@pytest.mark.parametrize("oddity", ODDITIES)
def test_another_private_interface_is_refused_in_one_sentence(oddity: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import envpool

    pool = envs.envpool.make_pool(CARTPOLE, [1, 2], training=True)
    monkeypatch.setattr(envs.envpool, "make_pool", lambda *_, **__: Odd(pool, **ODDITIES[oddity](pool)))
    with pytest.raises(RuntimeError) as caught:
        envs.make_client(CARTPOLE, [1, 2])
    message = str(caught.value)
    assert message.startswith(f"EnvPool {envpool.__version__} does not offer the interface")
    assert message.endswith("install an EnvPool from 1.0 on and below 1.3")
    assert "\n" not in message


def test_doom_finds_its_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its environments are made by several threads, each of which would make the directory where it is missing."""
    made: list[bool] = []
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        envpool, "import_envpool", lambda: SimpleNamespace(make=lambda *_, **__: made.append(Path("_vizdoom").is_dir()))
    )
    for _ in range(2):
        envpool.make_pool(Config(env_id="Basic-v1"), [1, 2], training=True)
    assert made == [True, True]
    envpool.make_pool(CARTPOLE, [1, 2], training=True)
    assert [path.name for path in tmp_path.iterdir()] == ["_vizdoom"]
