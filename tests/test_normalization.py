"""The moments that observations and rewards are normalized by, against NumPy over all that was seen."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reference
import torch
from helpers import FAKE_CONTINUOUS

from a3c_fast import ActorCritic, Config, Trainer, envs
from a3c_fast import _core as core
from a3c_fast import checkpoint as checkpoints
from a3c_fast.core_config import model_config
from a3c_fast.envs import scripted
from a3c_fast.evaluate import evaluate, load_policy
from a3c_fast.policy import to_flat

PENDULUM = Config(
    env_id="Pendulum-v1",
    num_workers=1,
    activation="relu",
    normalize_observations=True,
    normalize_rewards=True,
    total_steps=4000,
    envs_per_worker=4,
    envs_per_update=4,
    t_max=50,
    update_epochs=1,
)


def fake(**settings: Any) -> Config:
    """Four environments whose observations do not depend on what is done in them."""
    return Config(
        env_id=FAKE_CONTINUOUS,
        num_workers=1,
        **{
            "envs_per_worker": 4,
            "envs_per_update": 4,
            "t_max": 5,
            "normalize_observations": True,
            "normalize_rewards": True,
            "total_steps": 10_000,
            **settings,
        },
    )


def seen_by(seed: int, steps: int) -> Any:
    """What four scripted environments show within so many steps, but for what follows an end."""
    environments = [reference.FakeEnv(seed, i, scripted.SPECS[FAKE_CONTINUOUS]) for i in range(4)]
    seen = [env.observation() for env in environments]
    for _ in range(steps):
        seen += [env.observation() for env in environments if not env.step([0.0, 0.0])["done"]]
    return np.array(seen, np.float64)


def moments_of(values: Any) -> dict[str, Any]:
    """As an engine has them, by two passes over the numbers."""
    mean = values.mean(0)
    return {
        "observation_count": float(len(values)),
        "observation_mean": mean,
        "observation_squares": ((values - mean) ** 2).sum(0),
    }


def assert_same_moments(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert found["observation_count"] == expected["observation_count"]
    for name in ("observation_mean", "observation_squares"):
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-9, err_msg=name)


def test_the_moments_are_those_of_all_that_was_seen() -> None:
    with Trainer(fake(), clients=[scripted.make_client(FAKE_CONTINUOUS, [5, 0, 0, 0])]) as trainer:
        engine: Any = trainer._engine
        for until in (1, 21, 400):
            trainer.run(until)
            rollouts = trainer.stats()["updates"]
            assert_same_moments(engine.normalization(), moments_of(seen_by(5, 5 * rollouts)))
        assert trainer.stats()["episodes"] > 5  # what they end with is not counted


def test_what_was_seen_before_counts_with_what_is_seen_then() -> None:
    before = np.random.default_rng(1).normal(100, 0.1, (50, 4))  # far from what follows
    with Trainer(fake(), clients=[scripted.make_client(FAKE_CONTINUOUS, [5, 0, 0, 0])]) as trainer:
        engine: Any = trainer._engine
        engine.load_normalization(engine.normalization() | moments_of(before))
        trainer.run(1)
        assert_same_moments(engine.normalization(), moments_of(np.concatenate([before, seen_by(5, 5)])))


def test_workers_add_up_what_they_see() -> None:
    seeds = (5, 9, 13)
    clients = [scripted.make_client(FAKE_CONTINUOUS, [seed, 0, 0, 0]) for seed in seeds]
    with Trainer(fake(t_max=20), clients=clients) as trainer:
        engine: Any = trainer._engine
        trainer.run(1)  # whoever begins first
        found = engine.normalization()
        begun = [seed for i, seed in enumerate(seeds) if engine.worker_state(i)["env"]]
    assert begun
    assert_same_moments(found, moments_of(np.concatenate([seen_by(seed, 20) for seed in begun])))


def test_a_run_that_is_broken_off_has_counted_what_it_saw() -> None:
    # It is asked to stop while the environments hang, and sees that when they have stepped.
    client = scripted.make_client(FAKE_CONTINUOUS, [5, 0, 0, 0], hang_at=10, hang_seconds=1.0)
    with Trainer(fake(t_max=1000), clients=[client]) as trainer:
        trainer.start()
        trainer.stop()
        engine: Any = trainer._engine
        assert trainer.stats()["step"] == 0
        found = engine.normalization()
        count = int(found["observation_count"])
        if 0 < count < 4000:
            assert_same_moments(found, moments_of(seen_by(5, count)[:count]))
        trainer.run(1)
        after = engine.normalization()
        count = int(after["observation_count"])
    assert_same_moments(after, moments_of(seen_by(5, count)[:count]))


def test_what_is_not_normalized_has_no_moments() -> None:
    neither = {"normalize_observations": False, "normalize_rewards": False}
    for names, changes in (
        (set(), neither),
        ({"observation"}, neither | {"normalize_observations": True}),
        ({"return"}, neither | {"normalize_rewards": True}),
    ):
        with Trainer(fake(**changes)) as trainer:
            trainer.run(100)
            engine: Any = trainer._engine
            found = engine.normalization()
            assert {name for name in ("observation", "return") if found[f"{name}_count"]} == names
            has_buffers = "observation_mean" in trainer.state_dict()
            assert has_buffers == ("observation" in names)


def test_rewards_are_divided_by_the_deviation_of_the_discounted_return(monkeypatch: pytest.MonkeyPatch) -> None:
    config = fake(gamma=0.9, normalize_observations=False)
    with Trainer(config, clients=[scripted.make_client(FAKE_CONTINUOUS, [5, 0, 0, 0])]) as trainer:
        engine: Any = trainer._engine
        trainer.run(1000)
        found = engine.normalization()
        assert engine.worker_state(0)["discounted_return"] != [0.0] * 4
    # A reward is at most 1 and seldom below -9: its discounted sum over an episode that is long.
    assert 900 < found["return_count"] <= 1020
    assert 0.1 < found["return_squares"][0] / found["return_count"] < 400


# Where they are kept --------------------------------------------------------------------------------------------------


def test_the_policy_sees_what_the_workers_saw() -> None:
    with Trainer(PENDULUM) as trainer:
        trainer.run(1000)
        policy, state, engine = trainer.policy(), trainer.state_dict(), trainer._engine
        moments: dict[str, Any] = engine.normalization()  # type: ignore[union-attr]
    variance = moments["observation_squares"] / moments["observation_count"]
    np.testing.assert_allclose(policy.observation_mean, moments["observation_mean"], rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(policy.observation_variance, variance, rtol=1e-6)
    assert torch.equal(state["observation_mean"], policy.observation_mean)
    assert variance[2] > 1  # of the velocity

    observations = np.random.default_rng(2).normal(scale=4, size=(9, 3)).astype(np.float32)
    observations[0] = (1e6, -1e6, 0)
    scaled = reference.scaled(observations, moments["observation_mean"], variance)
    assert (scaled[0, :2] == (10, -10)).all()
    plain = ActorCritic("mlp", policy.observation, policy.action, separate_value=True, activation=PENDULUM.activation)
    plain.load_state_dict({name: state[name] for name in plain.state_dict()})
    expected, values = plain(scaled.astype(np.float32))
    found, found_values = policy(observations)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(found_values, values, atol=1e-5, rtol=1e-5)

    model = model_config(PENDULUM, envs.spec_of(PENDULUM))
    network, layout = core.Network(model, 9), core.Replica(model)
    named = {name: value.numpy() for name, value in plain.state_dict().items()}
    network.set_parameters(to_flat(named, layout.parameter_specs, layout.parameters().size))
    network.set_normalization(moments["observation_mean"], variance)
    outputs, _ = network.act(observations.view(np.uint8), np.ones(9, np.uint8))
    np.testing.assert_allclose(outputs, expected.detach(), atol=1e-6, rtol=1e-5)


class Mine(ActorCritic):
    """A policy of somebody's own, which is played through PyTorch."""


def test_evaluation_changes_nothing_and_plays_what_was_learned() -> None:
    with Trainer(PENDULUM) as trainer:
        trainer.run(2000)
        engine: Any = trainer._engine
        policy, before = trainer.policy(), engine.normalization()
        state = {name: value.clone() for name, value in policy.state_dict().items()}
        first, again = (evaluate(policy, PENDULUM, episodes=4, greedy=True) for _ in range(2))
        after = engine.normalization()
    assert first == again
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert all(torch.equal(state[name], value) for name, value in policy.state_dict().items())
    mine = Mine(
        "mlp",
        policy.observation,
        policy.action,
        separate_value=True,
        normalize_observations=True,
        activation=PENDULUM.activation,
    )
    mine.load_state_dict(state)
    through_torch = evaluate(mine, PENDULUM, episodes=4, greedy=True)
    assert through_torch["protocol"]["kernels"] == "torch"
    assert through_torch["mean_return"] == pytest.approx(first["mean_return"], rel=1e-3)
    for buffer in ("observation_mean", "observation_variance"):
        state[buffer] += 3
    mine.load_state_dict(state)
    assert evaluate(mine, PENDULUM, episodes=4, greedy=True)["mean_return"] != pytest.approx(
        first["mean_return"], rel=1e-3
    )


def test_a_checkpoint_has_them(tmp_path: Path) -> None:
    config = dataclasses.replace(PENDULUM, run_dir=tmp_path)
    with Trainer(config) as trainer:
        trainer.run(1000)
        engine: Any = trainer._engine
        expected, policy = engine.normalization(), trainer.policy()
    saved = checkpoints.load_newest(tmp_path / "checkpoints")
    assert set(saved.normalization) == set(expected)
    for name, value in expected.items():
        np.testing.assert_array_equal(saved.normalization[name], np.atleast_1d(value))
    loaded, _ = load_policy(saved)
    assert all(torch.equal(loaded.state_dict()[name], value) for name, value in policy.state_dict().items())
    with Trainer(dataclasses.replace(config, resume=True)) as trainer:
        engine = trainer._engine
        found = engine.normalization()
        assert all(np.array_equal(found[name], expected[name]) for name in expected)
        trainer.run(1400)
        # What follows is of new episodes, and of the same kind: the moments are nearly what they were.
        later = engine.normalization()
    assert later["observation_count"] > expected["observation_count"]
    for name in ("observation_squares", "return_squares"):
        kind = name.split("_")[0]
        before, now = (moments[name] / moments[f"{kind}_count"] for moments in (expected, later))
        assert (now < 2 * before).all(), name
        assert (now > before / 2).all(), name


def test_moments_of_somebody_elses_count_as_a_million_observations() -> None:
    with Trainer(fake(), clients=[scripted.make_client(FAKE_CONTINUOUS, [5, 0, 0, 0])]) as trainer:
        engine: Any = trainer._engine
        state = trainer.state_dict()
        state["observation_mean"] = torch.tensor([1.0, 2.0, 3.0, 4.0])
        state["observation_variance"] = torch.tensor([0.5, 1.0, 2.0, 4.0])
        trainer.load_state_dict(state)
        found = engine.normalization()
        assert found["observation_count"] == 1e6
        np.testing.assert_array_equal(found["observation_mean"], [1, 2, 3, 4])
        np.testing.assert_allclose(found["observation_squares"], [5e5, 1e6, 2e6, 4e6])
        assert all(torch.equal(value, state[name]) for name, value in trainer.state_dict().items())
        del state["observation_mean"]
        trainer.load_state_dict(state)  # what is not said stays
        assert trainer.state_dict()["observation_mean"].tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("observation_mean", torch.zeros(3), "its observation_mean must be 4 numbers"),
        (
            "observation_variance",
            torch.tensor([1.0, 1.0, 1.0, -1e-3]),
            "its observation_variance must be 4 numbers from 0",
        ),
        (
            "observation_mean",
            torch.tensor([1.0, float("nan"), 1.0, 1.0]),
            "observation_mean has numbers that are not fin",
        ),
    ],
)
def test_moments_that_cannot_be_are_refused(name: str, value: torch.Tensor, sentence: str) -> None:
    with Trainer(fake()) as trainer:
        before = trainer.state_dict()
        changed = {key: tensor + 1 for key, tensor in before.items()} | {name: value}
        with pytest.raises(ValueError, match=sentence):
            trainer.load_state_dict(changed)
        assert all(torch.equal(before[key], tensor) for key, tensor in trainer.state_dict().items())


def test_a_network_that_does_not_normalize_takes_no_moments() -> None:
    with Trainer(fake(normalize_observations=False)) as trainer:
        state = trainer.state_dict() | {"observation_mean": torch.zeros(4)}
        with pytest.raises(ValueError, match="observation_mean"):
            trainer.load_state_dict(state)
