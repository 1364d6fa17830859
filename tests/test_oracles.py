"""The pure functions of the core against tests/reference.py, over rollouts that hypothesis makes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import reference
import torch
from helpers import FAKE, FAKE_CONTINUOUS, FAKE_IMAGE, FAKE_MULTI
from hypothesis import given, settings
from hypothesis import strategies as st

import a3c_fast._core  # noqa: F401  (loads the libraries of the extension)
import a3c_fast_core as core
from a3c_fast.envs import ActionSpec, scripted

EVENTS = {"none": (0, 1), "life": (1, 0), "terminated": (1, 0), "truncated": (1, 1)}


@st.composite
def rollouts(draw: Any) -> dict[str, Any]:
    """A rollout with lost lives, terminations and truncations, and the reset step after an episode."""
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
            previous = event in ("terminated", "truncated")
    return {"rewards": rewards, "done": done, "bootstraps": bootstraps, "values": values}


@given(rollouts(), st.sampled_from([0.0, 0.5, 0.99, 1.0]))
def test_n_step_returns(rollout: dict[str, Any], gamma: float) -> None:
    found, advantages = core.learning.compute_returns(**rollout, gamma=gamma)
    expected = reference.returns(**rollout, gamma=gamma)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(advantages, expected - rollout["values"][:-1], rtol=1e-5, atol=1e-5)


@given(rollouts(), st.sampled_from([0.5, 0.99]), st.sampled_from([0.0, 0.5, 0.95, 1.0]))
def test_gae(rollout: dict[str, Any], gamma: float, lam: float) -> None:
    returns, advantages = core.learning.compute_returns(**rollout, gamma=gamma, gae_lambda=lam)
    expected = reference.gae(**rollout, gamma=gamma, lam=lam)
    np.testing.assert_allclose(advantages, expected, rtol=1e-5, atol=2e-5)
    np.testing.assert_allclose(returns, expected + rollout["values"][:-1], rtol=1e-5, atol=2e-5)


@given(rollouts())
def test_nothing_passes_a_done_step(rollout: dict[str, Any]) -> None:
    before = core.learning.compute_returns(**rollout, gamma=0.99, gae_lambda=0.95)
    poisoned = {name: value.copy() for name, value in rollout.items()}
    done = rollout["done"].astype(bool)
    for k in range(done.shape[1]):
        if done[:, k].any():
            last = int(np.flatnonzero(done[:, k])[0])
            poisoned["rewards"][last + 1 :, k] = 1e6
            poisoned["values"][last + 2 :, k] = 1e6
    after = core.learning.compute_returns(**poisoned, gamma=0.99, gae_lambda=0.95)
    for k in range(done.shape[1]):
        end = int(np.flatnonzero(done[:, k])[0]) + 1 if done[:, k].any() else done.shape[0]
        for a, b in zip(before, after, strict=True):
            np.testing.assert_array_equal(a[:end, k], b[:end, k])


def loss_batch(seed: int, samples: int, action: ActionSpec) -> dict[str, Any]:
    """What the loss takes, at random; the first sample is valid."""
    numbers = np.random.default_rng(seed)
    policy = numbers.normal(scale=3, size=(samples, action.num_outputs))
    if action.is_continuous:
        policy[:, action.size :] = numbers.normal(scale=0.5, size=(samples, action.size))
        z = numbers.normal(size=(samples, action.size))
        actions = policy[:, : action.size] + np.exp(policy[:, action.size :]) * z
    else:
        actions = numbers.integers(0, action.choices, (samples, action.size))
    batch = {
        "policy": policy.astype(np.float32),
        "values": numbers.normal(size=samples).astype(np.float32),
        "actions": actions.astype(np.float32),
        "advantages": numbers.normal(size=samples).astype(np.float32),
        "returns": numbers.normal(size=samples).astype(np.float32),
        "valid": (numbers.random(samples) < 0.8).astype(np.uint8),
    }
    batch["valid"][0] = 1
    return batch


def assert_same_loss(action: ActionSpec, batch: dict[str, Any], **coefficients: float) -> None:
    found = core.learning.actor_critic_loss(action=action.core(), **batch, **coefficients)
    tensors = {name: torch.from_numpy(value).double() for name, value in batch.items()}
    tensors["policy"].requires_grad_()
    tensors["values"].requires_grad_()
    tensors["target"] = tensors.pop("returns")
    total, terms = reference.loss(action, **tensors, **coefficients)
    total.backward()
    for name, value in terms.items():
        assert found[name] == pytest.approx(value, rel=1e-4, abs=1e-5), name
    np.testing.assert_allclose(found["d_policy"], tensors["policy"].grad.numpy(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found["d_values"], tensors["values"].grad.numpy(), rtol=1e-4, atol=1e-6)


def discrete(choices: int) -> ActionSpec:
    return ActionSpec((choices,))


def box(size: int) -> ActionSpec:
    return ActionSpec(low=(-1.0,) * size, high=(1.0,) * size)


# One choice, several at once, and continuous ones.
ACTIONS = st.one_of(
    st.integers(2, 18).map(discrete),
    st.lists(st.integers(1, 6), min_size=2, max_size=4).map(lambda choices: ActionSpec(tuple(choices))),
    st.integers(1, 6).map(box),
)


@given(st.integers(1, 140), ACTIONS, st.integers(0, 2**32 - 1), st.floats(0, 2), st.floats(0, 1))
def test_loss(samples: int, action: ActionSpec, seed: int, value_coef: float, entropy_coef: float) -> None:
    assert_same_loss(action, loss_batch(seed, samples, action), value_coef=value_coef, entropy_coef=entropy_coef)


# The same examples every time: a ratio within a rounding of the clip may have a gradient in one and none in the other.
@settings(derandomize=True)
@given(st.integers(1, 140), ACTIONS, st.integers(0, 2**32 - 1), st.floats(0.05, 0.5))
def test_clipped_loss(samples: int, action: ActionSpec, seed: int, clip_coef: float) -> None:
    batch = loss_batch(seed, samples, action)
    moved = np.random.default_rng(seed + 1).normal(scale=0.2, size=batch["policy"].shape)
    batch["acting_policy"] = (batch["policy"] + moved).astype(np.float32)
    assert_same_loss(action, batch, value_coef=0.5, entropy_coef=0.01, clip_coef=clip_coef)


@pytest.mark.parametrize("action", [discrete(6), ActionSpec((3, 2, 4)), box(3)], ids=str)
def test_the_clipped_loss_of_the_acting_policy_has_the_gradient_of_the_loss(action: ActionSpec) -> None:
    batch = {"action": action.core(), **loss_batch(3, 20, action)}
    plain = core.learning.actor_critic_loss(**batch, value_coef=0.5, entropy_coef=0.01)
    clipped = core.learning.actor_critic_loss(
        **batch, value_coef=0.5, entropy_coef=0.01, acting_policy=batch["policy"], clip_coef=0.2
    )
    np.testing.assert_allclose(clipped["d_policy"], plain["d_policy"], atol=1e-7)


@pytest.mark.parametrize("action", [discrete(6), ActionSpec((3, 2, 4)), box(3)], ids=str)
def test_the_kl_is_an_estimate_of_the_divergence(action: ActionSpec) -> None:
    # Over many actions of the acting policy the mean of r - 1 - log r is KL(acting || now), which torch knows.
    size, numbers = 40_000, np.random.default_rng(5)
    acting, moved = loss_batch(7, 1, action)["policy"], numbers.normal(scale=0.3, size=action.num_outputs)
    now = (acting + moved).astype(np.float32)
    policies = [reference.Policy(action, torch.from_numpy(np.repeat(p, size, 0)).double()) for p in (acting, now)]
    torch.manual_seed(1)
    actions = torch.stack([component.sample() for component in policies[0].components], 1).float().numpy()
    batch = loss_batch(8, size, action) | {"policy": np.repeat(now, size, 0), "actions": actions}
    batch["acting_policy"] = np.repeat(acting, size, 0)
    batch["valid"][:] = 1
    found = core.learning.actor_critic_loss(
        action=action.core(), **batch, value_coef=0.5, entropy_coef=0.0, clip_coef=0.2
    )["approx_kl"]
    pairs = zip(*(policy.components for policy in policies), strict=True)
    expected = sum(torch.distributions.kl_divergence(p, q).mean().item() for p, q in pairs)
    assert found == pytest.approx(expected, rel=0.05)


def rollout_of_values(seed: int, samples: int, offset: float) -> tuple[Any, Any, Any]:
    numbers = np.random.default_rng(seed)
    returns = (numbers.normal(size=samples) + offset).astype(np.float32)
    values = (0.5 * returns + numbers.normal(scale=0.5, size=samples)).astype(np.float32)
    return values, returns, (numbers.random(samples) < 0.8).astype(np.uint8)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=5), st.integers(0, 2**32 - 1), st.sampled_from([0, 10, 1000]))
def test_explained_variance_is_that_of_all_rollouts_together(sizes: list[int], seed: int, offset: float) -> None:
    rollouts = [rollout_of_values(seed + i, size, offset) for i, size in enumerate(sizes)]
    found = core.learning.explained_variance(rollouts)
    values, returns = (np.concatenate([r[i][r[2] > 0].astype(np.float64) for r in rollouts]) for i in (0, 1))
    if len(returns) < 2:
        assert np.isnan(found)
        return
    assert found == pytest.approx(1 - np.var(returns - values) / np.var(returns), rel=1e-6, abs=1e-6)


def test_explained_variance_of_good_and_useless_values_and_of_returns_that_are_all_the_same() -> None:
    values, returns, valid = rollout_of_values(3, 200, 0.0)
    assert core.learning.explained_variance([(returns, returns, valid)]) == 1.0
    assert core.learning.explained_variance([(returns + 1000, returns, valid)]) == pytest.approx(1.0, abs=1e-6)
    assert core.learning.explained_variance([(0 * values + 3, returns, valid)]) == pytest.approx(0.0, abs=1e-9)
    assert core.learning.explained_variance([(-returns, returns, valid)]) == pytest.approx(-3.0)
    third = np.full_like(returns, 1 / 3)
    assert np.isnan(core.learning.explained_variance([(values, third, valid)]))
    assert np.isnan(core.learning.explained_variance([(values, third, 0 * valid)]))
    assert np.isnan(core.learning.explained_variance([]))


@given(st.integers(1, 140), ACTIONS, st.integers(0, 2**32 - 1))
def test_distributions(samples: int, action: ActionSpec, seed: int) -> None:
    batch = loss_batch(seed, samples, action)
    distribution = core.Distribution(action.core())
    assert (distribution.num_outputs, distribution.action_size) == (action.num_outputs, action.size)
    log_probs, entropies = distribution.evaluate(batch["policy"], batch["actions"])
    expected = reference.Policy(action, torch.from_numpy(batch["policy"]).double())
    np.testing.assert_allclose(log_probs, expected.log_prob(torch.from_numpy(batch["actions"])), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(entropies, expected.entropy(), rtol=1e-4, atol=1e-5)
    modes = torch.stack([component.mode for component in expected.components], dim=1)
    np.testing.assert_array_equal(distribution.mode(batch["policy"]), modes.float().numpy())


@given(st.integers(1, 50), st.integers(0, 2**32 - 1), st.floats(1e-3, 1e3), st.floats(-100, 100))
def test_normalized_advantages(samples: int, seed: int, scale: float, shift: float) -> None:
    numbers = np.random.default_rng(seed)
    advantages = numbers.normal(scale=scale, size=samples).astype(np.float32) + np.float32(shift)
    valid = (numbers.random(samples) < 0.7).astype(np.uint8)
    found = core.learning.normalize_advantages(advantages, valid)
    keep = valid.astype(bool)
    np.testing.assert_array_equal(found[~keep], advantages[~keep])
    expected = reference.normalized(torch.from_numpy(advantages), torch.from_numpy(valid)).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)
    if keep.any() and np.ptp(advantages[keep]) > 0:
        assert found[keep].mean() == pytest.approx(0, abs=1e-2)
        assert found[keep].std() == pytest.approx(1, abs=1e-2)


@pytest.mark.parametrize(
    ("advantages", "valid"),
    [([0.7], [1]), ([0.7, -3.0, 5.0], [0, 1, 0]), ([0.7, 0.7, 9.0, 0.7], [1, 1, 0, 1]), ([1e30, -1.0], [0, 0])],
    ids=["one sample", "one valid sample", "equal ones", "none that is valid"],
)
def test_advantages_without_a_deviation_stay_as_they_are(advantages: list[float], valid: list[int]) -> None:
    given_advantages = np.array(advantages, np.float32)
    found = core.learning.normalize_advantages(given_advantages, np.array(valid, np.uint8))
    np.testing.assert_array_equal(found, given_advantages)


@pytest.mark.parametrize("kind", ["rmsprop", "adam"])
@pytest.mark.parametrize("num_workers", [1, 3])
def test_optimizer(kind: str, num_workers: int) -> None:
    numbers = np.random.default_rng(1)
    theta = numbers.normal(size=777).astype(np.float32)
    gradients = [numbers.normal(scale=10.0 ** (i % 5 - 3), size=777).astype(np.float32) for i in range(30)]
    config = core.OptimizerConfig(kind=kind, rmsprop_alpha=0.99, adam_beta1=0.9, adam_beta2=0.999, eps=1e-5)
    found = core.learning.push_all(
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
    scale, norm = core.learning.clip_by_global_norm(gradient, max_norm)
    assert norm == pytest.approx(np.linalg.norm(gradient.astype(np.float64)), rel=1e-5)
    assert scale == pytest.approx(reference.clip_scale(gradient, max_norm), rel=1e-5)


def test_random_numbers() -> None:
    for seed, worker in ((0, 0), (1, 0), (1, 7), (2**31 - 1, 63)):
        python = reference.SplitMix64.of_worker(seed, worker)
        assert core.learning.worker_uniforms(seed, worker, 100) == [python.uniform() for _ in range(100)]


# The same examples every time: a uniform number within a rounding of two choices' border may choose either.
@settings(derandomize=True)
@given(st.integers(1, 20), ACTIONS, st.integers(0, 2**31 - 1), st.integers(0, 100))
def test_samples_are_made_of_the_uniform_numbers_of_the_worker(
    samples: int, action: ActionSpec, seed: int, worker: int
) -> None:
    policy = loss_batch(seed, samples, action)["policy"]
    found = core.Distribution(action.core()).sample(policy, core.Random(seed, worker))
    random = reference.SplitMix64.of_worker(seed, worker)
    expected = [reference.sample(action, policy[i], random) for i in range(samples)]
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)


def test_choices_follow_the_policy() -> None:
    logits = np.array([[0.5, -1.0, 2.0, 0.0, 1.0, -1.0]], np.float32)
    drawn = core.Distribution(ActionSpec((4, 2)).core()).sample(logits.repeat(100_000, 0), core.Random(3, 0))
    for component, of_component in enumerate((logits[0, :4], logits[0, 4:])):
        found = np.bincount(drawn[:, component].astype(int), minlength=len(of_component)) / len(drawn)
        expected = np.exp(of_component) / np.exp(of_component).sum()
        np.testing.assert_allclose(found, expected, atol=6e-3)  # four deviations
    together = np.mean((drawn[:, 0] == 2) & (drawn[:, 1] == 0))
    assert together == pytest.approx(np.mean(drawn[:, 0] == 2) * np.mean(drawn[:, 1] == 0), abs=6e-3)


def test_numbers_are_normal_and_independent() -> None:
    policy = np.array([[0.5, -2.0, np.log(0.3), np.log(4.0)]], np.float32)
    drawn = core.Distribution(box(2).core()).sample(policy.repeat(100_000, 0), core.Random(3, 0))
    z = (drawn - [0.5, -2.0]) / [0.3, 4.0]
    np.testing.assert_allclose(z.mean(0), 0, atol=0.015)
    np.testing.assert_allclose(np.cov(z.T), np.eye(2), atol=0.025)
    np.testing.assert_allclose((z**4).mean(0), 3, atol=0.15)
    ranks = np.sort(z, axis=0)
    expected = torch.distributions.Normal(0.0, 1.0).icdf((torch.arange(100_000) + 0.5) / 100_000)
    assert np.abs(ranks - expected[:, None].numpy())[1000:-1000].max() < 0.06


@pytest.mark.parametrize("env_id", [FAKE, FAKE_IMAGE, FAKE_CONTINUOUS, FAKE_MULTI])
def test_the_scripted_environment(env_id: str) -> None:
    spec = scripted.SPECS[env_id]
    client = scripted.make_client(env_id, [9, 0, 0])
    envs = [reference.FakeEnv(9, i, spec) for i in range(3)]
    numbers = np.random.default_rng(3)
    client.recv()
    ends = 0
    for _ in range(600 if spec.observation.size < 100 else 80):
        actions = (
            numbers.normal(scale=1.5, size=(3, spec.action.size)).astype(np.float32)
            if spec.action.is_continuous
            else numbers.integers(0, spec.action.choices, (3, spec.action.size))
        )
        client.send(actions)
        found = client.recv()
        expected = [env.step([float(value) for value in action]) for env, action in zip(envs, actions, strict=True)]
        for name in ("done", "bootstraps", "episode_ended", "valid", "starts"):
            assert found[name].tolist() == [row[name] for row in expected], name
        for name in ("reward", "raw_reward"):
            np.testing.assert_allclose(found[name], [row[name] for row in expected], rtol=1e-5, atol=1e-5)
        shown = spec.observation.array_of(found["observations"]) if spec.observation.array_shape else None
        shown = spec.observation.numbers_of(found["observations"]) if shown is None else shown
        np.testing.assert_array_equal(shown, np.stack([env.observation() for env in envs]))
        ends += sum(row["episode_ended"] for row in expected)
    assert ends > 20 or env_id == FAKE_IMAGE
