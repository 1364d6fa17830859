"""What environments show and take, through our client and through EnvPool's own Python API, with the same seeds."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from reference import to_environment

from a3c_fast import ActorCritic, Config, Trainer, envs
from a3c_fast.envs import ObservationSpec
from a3c_fast.imports import import_envpool

SEEDS = [3, 4, 5]

# One of each kind: what it shows and takes, and of each part how it is encoded.
SPECS = {
    "HalfCheetah-v4": ("float64[17]", "Box(6) from -1 to 1", ["numbers"]),
    "CheetahRun-v1": ("position float64[8], velocity float64[9]", "Box(6) from -1 to 1", ["numbers", "numbers"]),
    "MiniGrid-Empty-8x8-v0": (
        "direction Discrete(4), image uint8[7x7x3], mission uint8[96]",
        "Discrete(7)",
        ["one_hot", "channels_last", "numbers / 255"],
    ),
    "Taxi-v3": ("Discrete(500)", "Discrete(6)", ["one_hot"]),
    "Blackjack-v1": ("int32[3]", "Discrete(2)", ["numbers / 31"]),
    "Snake-v1": (
        "grid float32[12x12x5], step_count int32[], action_mask bool[4]",
        "Discrete(4)",
        ["numbers", "numbers / 3999", "numbers"],
    ),
    "Play2048-v1": ("bool[4x4x31]", "Discrete(4)", ["numbers"]),
    "CarRacing-v3": ("uint8[96x96x3]", "Box(3) from -1 to 1", ["channels_last"]),
    "highway-fast-v0": ("float32[5x5]", "Discrete(5)", ["numbers"]),
    "FlatPack-v0": (None, "MultiDiscrete", None),
    "LqrLqr21-v1": ("position float64[2], velocity float64[2]", "Box(1), without bounds", ["numbers", "numbers"]),
    "Pendulum-v1": ("float32[3]", "Box(1) from -2 to 2", ["numbers"]),
}


def spec_of(env_id: str) -> envs.EnvSpec:
    return envs.spec_of(Config(env_id=env_id))


@pytest.mark.parametrize("env_id", SPECS)
def test_what_is_shown_and_taken(env_id: str) -> None:
    spec, (observation, action, kinds) = spec_of(env_id), SPECS[env_id]
    assert str(spec.action).startswith(action)
    if observation is None or kinds is None:
        return
    assert str(spec.observation) == observation
    scales = [1 / float(kind.partition(" / ")[2] or 1) for kind in kinds]
    assert [part.kind for part in spec.observation.parts] == [kind.split()[0] for kind in kinds]
    assert [part.scale for part in spec.observation.parts] == pytest.approx(scales)


def leaves(observations: Any, name: str = "") -> dict[str, Any]:
    """EnvPool's arrays by name, whether it is one or a dictionary of them."""
    if not isinstance(observations, dict):
        return {name: observations}
    found: dict[str, Any] = {}
    for key, value in observations.items():
        found |= leaves(value, f"{name}.{key}" if name else key)
    return found


def encoded(spec: ObservationSpec, observations: Any, env: int) -> tuple[bytes, bytes]:
    """What is in the row of one environment, number by number: the image, and all that are numbers."""
    image, numbers = b"", []
    for part in spec.parts:
        value = leaves(observations)[part.name][env]
        if part.kind == "channels_last":
            image = b"".join(bytes(value[..., channel].ravel().tolist()) for channel in range(value.shape[-1]))
        elif part.kind == "array":
            image = value.tobytes()
        elif part.kind == "one_hot":
            numbers += [float(part.first + i == int(value)) for i in range(part.values)]
        else:
            numbers += [np.float32(x) * np.float32(part.scale) for x in value.ravel()]
    return image, np.array(numbers, np.float32).tobytes()


def in_both(env_id: str, steps: int, spread: float = 1.5) -> Iterator[tuple[Any, Any, tuple[Any, ...] | None]]:
    """What the client shows, what EnvPool's own pool shows, and what this pays, from the reset on, step by step."""
    action = spec_of(env_id).action
    client = envs.make_client(Config(env_id=env_id), SEEDS)
    pool = import_envpool().make(env_id, "gymnasium", num_envs=3, batch_size=3, num_threads=1, seed=SEEDS)
    pool.reset()  # the client has been probed, and was then reset again
    yield client.recv(), pool.reset()[0], None
    numbers = np.random.default_rng(1)
    given = pool.action_space.dtype
    for _ in range(steps):
        if action.is_continuous:
            chosen = numbers.normal(scale=spread, size=(3, action.size)).astype(np.float32)
        else:
            chosen = numbers.integers(0, action.choices, (3, action.size)).astype(np.float32)
        client.send(chosen)
        theirs = [[to_environment(action, i, float(x)) for i, x in enumerate(row)] for row in chosen]
        taken = np.array(theirs, given)
        shown, *paid, _ = pool.step(taken if pool.action_space.shape else taken[:, 0])
        yield client.recv(), shown, tuple(paid)


@pytest.mark.parametrize("env_id", SPECS)
def test_the_clients_rows_are_envpools_arrays(env_id: str) -> None:
    spec = spec_of(env_id).observation
    different = set()
    for batch, shown, _ in in_both(env_id, 25):
        rows = batch["observations"]
        assert rows.shape == (3, spec.row_bytes)
        for env in range(3):
            row, (image, numbers) = rows[env].tobytes(), encoded(spec, shown, env)
            assert row[: len(image)] == image
            assert row[len(row) - len(numbers) :] == numbers  # what is between them nobody reads
            padding = -len(image) % 4 if numbers else 0
            assert len(row) == len(image) + padding + len(numbers)
            different.add((image, numbers))
    assert len(different) > 10


@pytest.mark.parametrize("env_id", ["HalfCheetah-v4", "Pendulum-v1", "LqrLqr21-v1", "FlatPack-v0", "Taxi-v3"])
def test_what_envpool_is_given_is_the_action(env_id: str) -> None:
    paid = set()
    for batch, _, theirs in in_both(env_id, 40):
        if theirs is None:
            continue
        reward, terminated, truncated = theirs
        np.testing.assert_array_equal(batch["raw_reward"], reward)
        np.testing.assert_array_equal(batch["done"], terminated | truncated)
        paid.update(reward.tolist())
    assert len(paid) > (10 if spec_of(env_id).action.is_continuous else 1)


def test_continuous_actions_are_in_units_of_half_the_range_and_clipped() -> None:
    action = spec_of("Pendulum-v1").action
    assert [to_environment(action, 0, u) for u in (-9.0, -1.0, -0.25, 0.0, 1.0, 9.0)] == [-2, -2, -0.5, 0, 2, 2]
    lopsided = envs.ActionSpec(low=(0.0, -math.inf, -1.0), high=(1.0, math.inf, math.inf))
    assert [to_environment(lopsided, 0, u) for u in (-2.0, 0.0, 0.5)] == [0, 0.5, 0.75]
    assert [to_environment(lopsided, 1, u) for u in (-2.0, 1e6)] == [-2, 1e6]
    assert [to_environment(lopsided, 2, u) for u in (-2.0, 1e6)] == [-1, 1e6]  # one bound is no range


@pytest.mark.parametrize("env_id", ["Pendulum-v1", "Hopper-v4"])
def test_an_episode_that_time_ends_has_a_value_beyond_its_end(env_id: str) -> None:
    ends: dict[str, int] = {"time": 0, "environment": 0}
    for batch, _, paid in in_both(env_id, 410):
        if paid is None:
            continue
        _, terminated, truncated = paid
        for env in np.flatnonzero(batch["done"]):
            assert batch["episode_ended"][env]
            assert batch["bootstraps"][env] == (truncated[env] and not terminated[env])
            ends["environment" if terminated[env] else "time"] += 1
        assert batch["bootstraps"][~batch["done"].astype(bool)].all()
    assert ends["time" if env_id == "Pendulum-v1" else "environment"] >= 6


@pytest.mark.parametrize("env_id", SPECS)
def test_a_policy_takes_envpools_arrays(env_id: str) -> None:
    config = Config(env_id=env_id)
    spec = spec_of(env_id)
    torch.manual_seed(1)
    policy = ActorCritic(config.model, spec.observation, spec.action, (16,), normalize_observations=True)
    for parameter in policy.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    for batch, shown, _ in in_both(env_id, 3):
        outputs, values, _ = policy.step_rows(batch["observations"], policy.initial_state(3))
        given = shown if isinstance(shown, dict) else np.asarray(shown)
        found, found_values = policy(given)
        torch.testing.assert_close(found, outputs, atol=1e-6, rtol=1e-6)
        torch.testing.assert_close(found_values, values, atol=1e-6, rtol=1e-6)
        tensors = {name: torch.from_numpy(value) for name, value in leaves(shown).items()}
        torch.testing.assert_close(policy(tensors)[0] if isinstance(shown, dict) else policy(tensors[""])[0], found)
        one = {name: value[1] for name, value in leaves(shown).items()}
        single, value = policy(one if isinstance(shown, dict) else one[""])
        torch.testing.assert_close(single, outputs[1], atol=1e-6, rtol=1e-6)
        torch.testing.assert_close(value, values[1], atol=1e-6, rtol=1e-6)


def grid() -> tuple[ActorCritic, dict[str, Any]]:
    """A network for a MiniGrid, and an observation that it takes."""
    spec = spec_of("MiniGrid-Empty-8x8-v0")
    arrays = {"direction": np.int32(1), "image": np.zeros((7, 7, 3), np.uint8), "mission": np.zeros(96, np.uint8)}
    return ActorCritic("small", spec.observation, spec.action), arrays


@pytest.mark.parametrize(
    ("change", "error", "sentence"),
    [
        ({"direction": 4}, ValueError, "observations' direction must be whole numbers from 0 to 3"),
        ({"direction": -1}, ValueError, "observations' direction must be whole numbers from 0 to 3"),
        ({"direction": np.zeros(2)}, ValueError, "the parts of observations are of different numbers of them"),
        ({"direction": np.zeros((2, 3))}, ValueError, "direction have the shape .2, 3., and it must be "),
        ({"image": np.zeros((7, 7, 3))}, TypeError, "observations' image are float64, and this network was trained on"),
        (
            {"image": np.zeros((3, 7, 7), np.uint8)},
            ValueError,
            "image have the shape .3, 7, 7., and it must be .7, 7, 3",
        ),
        ({"mission": "north"}, TypeError, "observations' mission are <U5, and must be real numbers"),
        ({"mission": None}, ValueError, "have the parts direction, image, and they must be direction, image, mission"),
    ],
    ids=str,
)
def test_observations_of_another_kind_are_refused_by_name(
    change: dict[str, Any], error: type[Exception], sentence: str
) -> None:
    policy, arrays = grid()
    policy(arrays)
    with pytest.raises(error, match=sentence) as caught:
        policy({name: value for name, value in (arrays | change).items() if value is not None})
    assert "\n" not in str(caught.value)


def test_one_array_where_there_are_several_parts_is_refused_and_the_other_way_round() -> None:
    policy, arrays = grid()
    with pytest.raises(ValueError, match="they must be direction, image, mission"):
        policy(arrays["image"])
    cartpole = spec_of("CartPole-v1")
    plain = ActorCritic("mlp", cartpole.observation, cartpole.action)
    with pytest.raises(ValueError, match="observations have the parts direction, image, mission, and they must be one"):
        plain(arrays)


def test_parts_may_be_nested_and_in_any_order() -> None:
    policy, arrays = grid()
    for parameter in policy.parameters():
        torch.nn.init.normal_(parameter, std=0.05)
    expected = policy(arrays)[0]
    torch.testing.assert_close(policy(dict(reversed(arrays.items())))[0], expected)


def test_a_choice_is_no_fraction() -> None:
    with Trainer(Config(env_id="Taxi-v3", num_workers=1, total_steps=1000)) as trainer:
        policy = trainer.policy()
    assert policy(3.0)[0].tolist() == policy(3)[0].tolist()
    with pytest.raises(ValueError, match="observations must be whole numbers"):
        policy(1.9)
