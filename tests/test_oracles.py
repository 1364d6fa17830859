"""The pure functions of the core against tests/reference.py, over rollouts that hypothesis makes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import reference
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import a3c_fast._core  # noqa: F401  (loads the libraries of the extension)
import a3c_fast_core as core

EVENTS = {"none": (0, 1), "life": (1, 0), "terminated": (1, 0), "truncated": (1, 1)}


@st.composite
def rollouts(draw: Any) -> dict[str, Any]:
    """A rollout with life losses, terminations, truncations, and the reset step after each."""
    steps, num_envs = draw(st.integers(1, 12)), draw(st.integers(1, 4))
    numbers = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    rewards = numbers.normal(size=(steps, num_envs)).astype(np.float32)
    values = numbers.normal(scale=3, size=(steps + 1, num_envs)).astype(np.float32)
    done, bootstraps = np.zeros((steps, num_envs), np.uint8), np.ones((steps, num_envs), np.uint8)
    for k in range(num_envs):
        previous = draw(st.booleans())
        for t in range(steps):
            if previous:
                rewards[t, k], previous = 0, False
                continue
            event = draw(st.sampled_from(["none", "none", "none", "life", "terminated", "truncated"]))
            done[t, k], bootstraps[t, k] = EVENTS[event]
            previous = event != "none"
    return {"rewards": rewards, "done": done, "bootstraps": bootstraps, "values": values}


@given(rollouts(), st.sampled_from([0.0, 0.5, 0.99, 1.0]))
def test_n_step_returns(rollout: dict[str, Any], gamma: float) -> None:
    found, advantages = core.compute_returns(**rollout, gamma=gamma)
    expected = reference.returns(**rollout, gamma=gamma)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(advantages, expected - rollout["values"][:-1], rtol=1e-5, atol=1e-5)


@given(rollouts(), st.sampled_from([0.5, 0.99]), st.sampled_from([0.0, 0.5, 0.95, 1.0]))
def test_gae(rollout: dict[str, Any], gamma: float, lam: float) -> None:
    returns, advantages = core.compute_returns(**rollout, gamma=gamma, gae_lambda=lam)
    expected = reference.gae(**rollout, gamma=gamma, lam=lam)
    np.testing.assert_allclose(advantages, expected, rtol=1e-5, atol=2e-5)
    np.testing.assert_allclose(returns, expected + rollout["values"][:-1], rtol=1e-5, atol=2e-5)


@given(rollouts())
def test_nothing_passes_a_done_step(rollout: dict[str, Any]) -> None:
    before = core.compute_returns(**rollout, gamma=0.99, gae_lambda=0.95)
    poisoned = {name: value.copy() for name, value in rollout.items()}
    done = rollout["done"].astype(bool)
    for k in range(done.shape[1]):
        if done[:, k].any():
            last = int(np.flatnonzero(done[:, k])[0])
            poisoned["rewards"][last + 1 :, k] = 1e6
            poisoned["values"][last + 2 :, k] = 1e6
    after = core.compute_returns(**poisoned, gamma=0.99, gae_lambda=0.95)
    for k in range(done.shape[1]):
        end = int(np.flatnonzero(done[:, k])[0]) + 1 if done[:, k].any() else done.shape[0]
        for a, b in zip(before, after, strict=True):
            np.testing.assert_array_equal(a[:end, k], b[:end, k])


def loss_batch(seed: int, samples: int, num_actions: int) -> dict[str, Any]:
    """What the loss takes, at random; the first sample is valid."""
    numbers = np.random.default_rng(seed)
    batch = {
        "logits": numbers.normal(scale=3, size=(samples, num_actions)).astype(np.float32),
        "values": numbers.normal(size=samples).astype(np.float32),
        "actions": numbers.integers(0, num_actions, samples).astype(np.int32),
        "advantages": numbers.normal(size=samples).astype(np.float32),
        "returns": numbers.normal(size=samples).astype(np.float32),
        "valid": (numbers.random(samples) < 0.8).astype(np.uint8),
    }
    batch["valid"][0] = 1
    return batch


def assert_same_loss(batch: dict[str, Any], **coefficients: float) -> None:
    found = core.actor_critic_loss(**batch, **coefficients)
    tensors = {name: torch.from_numpy(value) for name, value in batch.items()}
    tensors["logits"].requires_grad_()
    tensors["values"].requires_grad_()
    tensors["target"] = tensors.pop("returns")
    total, terms = reference.loss(**tensors, **coefficients)
    total.backward()
    for name, value in terms.items():
        assert found[name] == pytest.approx(value, rel=1e-4, abs=1e-5), name
    np.testing.assert_allclose(found["d_logits"], tensors["logits"].grad.numpy(), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(found["d_values"], tensors["values"].grad.numpy(), rtol=1e-4, atol=1e-6)


@given(st.integers(1, 40), st.integers(2, 18), st.integers(0, 2**32 - 1), st.floats(0, 2), st.floats(0, 1))
def test_loss(samples: int, num_actions: int, seed: int, value_coef: float, entropy_coef: float) -> None:
    assert_same_loss(loss_batch(seed, samples, num_actions), value_coef=value_coef, entropy_coef=entropy_coef)


# The same examples every time: a ratio within a rounding of the clip may have a gradient in one and none in the other.
@settings(derandomize=True)
@given(st.integers(1, 40), st.integers(2, 18), st.integers(0, 2**32 - 1), st.floats(0.05, 0.5))
def test_clipped_loss(samples: int, num_actions: int, seed: int, clip_coef: float) -> None:
    batch = loss_batch(seed, samples, num_actions)
    moved = np.random.default_rng(seed + 1).normal(scale=0.4, size=batch["logits"].shape)
    batch["acting_logits"] = (batch["logits"] + moved).astype(np.float32)
    assert_same_loss(batch, value_coef=0.5, entropy_coef=0.01, clip_coef=clip_coef)


def test_the_clipped_loss_of_the_acting_policy_has_the_gradient_of_the_loss() -> None:
    batch = loss_batch(3, 20, 6)
    plain = core.actor_critic_loss(**batch, value_coef=0.5, entropy_coef=0.01)
    clipped = core.actor_critic_loss(
        **batch, value_coef=0.5, entropy_coef=0.01, acting_logits=batch["logits"], clip_coef=0.2
    )
    np.testing.assert_allclose(clipped["d_logits"], plain["d_logits"], atol=1e-7)


@given(st.integers(1, 50), st.integers(0, 2**32 - 1), st.floats(1e-3, 1e3), st.floats(-100, 100))
def test_normalized_advantages(samples: int, seed: int, scale: float, shift: float) -> None:
    numbers = np.random.default_rng(seed)
    advantages = numbers.normal(scale=scale, size=samples).astype(np.float32) + np.float32(shift)
    valid = (numbers.random(samples) < 0.7).astype(np.uint8)
    found = core.normalize_advantages(advantages, valid)
    keep = valid.astype(bool)
    np.testing.assert_array_equal(found[~keep], advantages[~keep])
    if keep.any():
        some = advantages[keep].astype(np.float64)
        np.testing.assert_allclose(found[keep], (some - some.mean()) / (some.std() + 1e-8), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["rmsprop", "adam"])
@pytest.mark.parametrize("num_workers", [1, 3])
def test_optimizer(kind: str, num_workers: int) -> None:
    numbers = np.random.default_rng(1)
    theta = numbers.normal(size=777).astype(np.float32)
    gradients = [numbers.normal(scale=10.0 ** (i % 5 - 3), size=777).astype(np.float32) for i in range(30)]
    config = core.OptimizerConfig(kind=kind, rmsprop_alpha=0.99, adam_beta1=0.9, adam_beta2=0.999, eps=1e-5)
    found = core.push_all(
        parameters=theta,
        gradients=gradients,
        optimizer=config,
        learning_rate=1e-2,
        clip_scale=0.5,
        num_workers=num_workers,
    )
    optimizer, expected = reference.Optimizer(kind), theta.astype(np.float64)
    for gradient in gradients:
        expected = optimizer.push(expected, 0.5 * gradient.astype(np.float64), 1e-2)
    np.testing.assert_allclose(found, expected, atol=2e-6)
    assert np.abs(found - theta).min() > 1e-6


@pytest.mark.parametrize("max_norm", [0.0, 0.1, 1e6])
def test_clip(max_norm: float) -> None:
    gradient = np.random.default_rng(2).normal(size=1001).astype(np.float32)
    scale, norm = core.clip_by_global_norm(gradient, max_norm)
    assert norm == pytest.approx(np.linalg.norm(gradient.astype(np.float64)), rel=1e-5)
    assert scale == pytest.approx(reference.clip_scale(gradient, max_norm), rel=1e-5)


def test_random_numbers() -> None:
    for seed, worker in ((0, 0), (1, 0), (1, 7), (2**31 - 1, 63)):
        python = reference.SplitMix64.of_worker(seed, worker)
        assert core.worker_uniforms(seed, worker, 100) == [python.uniform() for _ in range(100)]


def test_samples_follow_the_policy() -> None:
    logits = np.array([0.5, -1.0, 2.0, 0.0], np.float32)
    uniforms = (np.arange(20_000) + 0.5) / 20_000
    found = np.bincount([core.sample_categorical(logits, u) for u in uniforms], minlength=4) / 20_000
    expected = np.exp(logits) / np.exp(logits).sum()
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert all(core.sample_categorical(logits, u) == reference.sample(logits, u) for u in (0.0, 0.3, 1 - 2**-24))


@pytest.mark.parametrize(("shape", "dtype"), [((3,), "float32"), ((2, 5), "uint8")])
def test_the_scripted_environment(shape: tuple[int, ...], dtype: str) -> None:
    client = core.EnvClient.fake(
        num_envs=3, observation_shape=list(shape), observation_type=dtype, num_actions=4, seed=9
    )
    envs = [reference.FakeEnv(9, i, int(np.prod(shape)), dtype, 4) for i in range(3)]
    numbers = np.random.default_rng(3)
    client.recv()
    ends = 0
    for _ in range(600):
        actions = numbers.integers(0, 4, 3).astype(np.int32)
        client.send(actions)
        found = client.recv()
        expected = [env.step(int(action)) for env, action in zip(envs, actions, strict=True)]
        for name in ("reward", "raw_reward", "done", "bootstraps", "episode_ended"):
            assert found[name].tolist() == [row[name] for row in expected], name
        np.testing.assert_array_equal(
            found["observations"], np.stack([env.observation().reshape(shape) for env in envs])
        )
        ends += sum(row["episode_ended"] for row in expected)
    assert ends > 20
