"""A3C again, slow and obvious: what the C++ is compared with."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from a3c_fast.policy import ActorCritic

MASK64 = 2**64 - 1


def returns(rewards: Any, done: Any, bootstraps: Any, values: Any, gamma: float) -> Any:
    """n-step returns as sums of discounted rewards, one element after the other; all arrays [T][K], values [T+1][K]."""
    steps, num_envs = rewards.shape
    result = np.zeros((steps, num_envs))
    for t in range(steps):
        for k in range(num_envs):
            total, discount, i = 0.0, 1.0, t
            while True:
                total += discount * rewards[i, k]
                discount *= gamma
                if done[i, k] or i == steps - 1:
                    if bootstraps[i, k]:
                        total += discount * values[i + 1, k]
                    break
                i += 1
            result[t, k] = total
    return result


def gae(rewards: Any, done: Any, bootstraps: Any, values: Any, gamma: float, lam: float) -> Any:
    """Advantages as sums of discounted temporal differences, Schulman et al. 2016, equation 16."""
    steps, num_envs = rewards.shape
    result = np.zeros((steps, num_envs))
    for t in range(steps):
        for k in range(num_envs):
            weight, i = 1.0, t
            while True:
                next_value = values[i + 1, k] if bootstraps[i, k] else 0.0
                result[t, k] += weight * (rewards[i, k] + gamma * next_value - values[i, k])
                if done[i, k] or i == steps - 1:
                    break
                weight *= gamma * lam
                i += 1
    return result


def loss(
    logits: torch.Tensor,
    values: torch.Tensor,
    actions: torch.Tensor,
    advantages: torch.Tensor,
    target: torch.Tensor,
    valid: torch.Tensor,
    value_coef: float,
    entropy_coef: float,
    acting_logits: torch.Tensor | None = None,
    clip_coef: float = 0.0,
) -> tuple[torch.Tensor, dict[str, float]]:
    """The loss of the paper, or PPO's with `acting_logits`, over the valid samples, differentiable, and its terms."""
    keep = valid.bool()
    log_policy = logits[keep].log_softmax(-1)
    chosen = log_policy.gather(1, actions[keep][:, None].long()).squeeze(1)
    if acting_logits is None:
        policy_loss = -(chosen * advantages[keep]).mean()
    else:
        acting = acting_logits[keep].log_softmax(-1).gather(1, actions[keep][:, None].long()).squeeze(1)
        ratio = (chosen - acting.detach()).exp()
        clipped = ratio.clamp(1 - clip_coef, 1 + clip_coef)
        policy_loss = -torch.minimum(ratio * advantages[keep], clipped * advantages[keep]).mean()
    value_loss = (target[keep] - values[keep]).pow(2).mean()
    entropy = -(log_policy.exp() * log_policy).sum(-1).mean()
    terms = {"policy_loss": policy_loss.item(), "value_loss": value_loss.item(), "entropy": entropy.item()}
    return policy_loss + value_coef * value_loss - entropy_coef * entropy, terms


@dataclass
class Optimizer:
    """RMSProp in the paper's form, or Adam, element by element in float64."""

    kind: str
    alpha: float = 0.99
    beta1: float = 0.9
    beta2: float = 0.999
    eps: float = 1e-5
    step: int = 0
    first: Any = 0.0
    second: Any = 0.0

    def push(self, theta: Any, gradient: Any, lr: float) -> Any:
        """The new parameters."""
        self.step += 1
        if self.kind == "rmsprop":
            self.second = self.alpha * self.second + (1 - self.alpha) * gradient**2
            return theta - lr * gradient / np.sqrt(self.second + self.eps)
        self.first = self.beta1 * self.first + (1 - self.beta1) * gradient
        self.second = self.beta2 * self.second + (1 - self.beta2) * gradient**2
        mean = self.first / (1 - self.beta1**self.step)
        square = self.second / (1 - self.beta2**self.step)
        return theta - lr * mean / (np.sqrt(square) + self.eps)


def clip_scale(gradient: Any, max_norm: float) -> float:
    """What a gradient is multiplied with to have at most that norm."""
    norm = math.sqrt(float(np.sum(np.square(gradient, dtype=np.float64))))
    return 1.0 if max_norm == 0 or norm <= max_norm else max_norm / norm


class SplitMix64:
    """The random numbers of a worker."""

    def __init__(self, state: int) -> None:
        self.state = state

    @classmethod
    def of_worker(cls, seed: int, worker: int) -> SplitMix64:
        return cls((cls(seed).next() + cls(~worker & MASK64).next()) & MASK64)

    def next(self) -> int:
        self.state = z = (self.state + 0x9E3779B97F4A7C15) & MASK64
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK64
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK64
        return z ^ (z >> 31)

    def uniform(self) -> float:
        return (self.next() >> 40) * 2.0**-24


def sample(logits: Any, uniform: float) -> int:
    """The first action whose cumulative probability is beyond `uniform`."""
    weights = np.exp(np.asarray(logits, np.float64) - np.max(logits))
    beyond = np.cumsum(weights) > uniform * weights.sum()
    return int(np.argmax(beyond)) if beyond.any() else len(weights) - 1


def _mix(x: int) -> int:
    x ^= x >> 16
    x = x * 0x85EBCA6B & 0xFFFFFFFF
    x ^= x >> 13
    x = x * 0xC2B2AE35 & 0xFFFFFFFF
    return x ^ (x >> 16)


GOLDEN = 0x9E3779B9


@dataclass
class FakeEnv:
    """cpp/env/fake_env.h for one environment of a batch."""

    seed: int
    index: int
    size: int
    dtype: str
    num_actions: int
    max_episode_steps: int = 40
    key: int = 0
    episode: int = 0
    step_count: int = 0
    pending: int = 0

    def __post_init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        self.episode += 1
        self.key = _mix(self.seed ^ _mix((self.index * GOLDEN + self.episode) & 0xFFFFFFFF))
        self.pending = 0

    def observation(self) -> Any:
        hashes = [_mix((self.key + j * GOLDEN) & 0xFFFFFFFF) for j in range(self.size)]
        if self.dtype == "uint8":
            return np.array([h >> 24 for h in hashes], np.uint8)
        return np.array([(h >> 8) * 2.0**-23 - 1 for h in hashes], np.float32)

    def step(self, action: int) -> dict[str, Any]:
        """reward, raw_reward, done, bootstraps, episode_ended."""
        if self.pending:
            if self.pending == 2:
                self.step_count = 0
            self.reset()
            return {"reward": 0.0, "raw_reward": 0.0, "done": 0, "bootstraps": 1, "episode_ended": 0}
        paid = ((_mix(self.key) >> 8) * self.num_actions) >> 24
        raw = 1.0 + (self.key & 3) if action == paid else 0.0
        self.step_count += 1
        self.key = _mix((self.key + action + 1) & 0xFFFFFFFF)
        event = _mix(self.key ^ GOLDEN) % 64
        terminated, life, truncated = event == 0, event == 1, self.step_count >= self.max_episode_steps
        done = terminated or life or truncated
        ended = terminated or truncated
        self.pending = (2 if ended else 1) if done else 0
        return {
            "reward": min(raw, 1.0),
            "raw_reward": raw,
            "done": int(done),
            "bootstraps": int(not done or (truncated and not terminated)),
            "episode_ended": int(ended),
        }


@dataclass
class Settings:
    """What a run of `A3C` needs."""

    t_max: int = 5
    envs_per_update: int = 4
    update_epochs: int = 1
    clip_coef: float = 0.1
    normalize_advantages: bool = False
    gamma: float = 0.99
    gae_lambda: float = 1.0
    entropy_coef: float = 0.01
    entropy_decay_steps: int = 0
    entropy_final_fraction: float = 0.2
    value_coef: float = 0.5
    max_grad_norm: float = 0.5
    learning_rate: float = 1e-3
    learning_rate_decay_power: float = 1.0
    learning_rate_warmup: int = 0
    total_steps: int = 4000
    seed: int = 1
    optimizer: Optimizer = field(default_factory=lambda: Optimizer("adam"))


class A3C:
    """One worker of A3C in PyTorch and Python, over scripted environments."""

    def __init__(self, model: ActorCritic, envs: list[FakeEnv], shape: tuple[int, ...], settings: Settings) -> None:
        self.model, self.envs, self.shape, self.settings = model, envs, shape, settings
        self.random = SplitMix64.of_worker(settings.seed, 0)
        self.theta = torch.nn.utils.parameters_to_vector(model.parameters()).detach().double().numpy()
        self.steps = self.updates = 0
        self.returns: list[float] = []
        self.running = np.zeros(len(envs))
        self.previous_done = self.previous_ended = np.zeros(len(envs), bool)
        self.starts = torch.ones(len(envs), dtype=torch.bool)
        self.state = model.initial_state(len(envs))
        self.observations = self._observe()

    def _observe(self) -> torch.Tensor:
        return torch.from_numpy(np.stack([env.observation().reshape(self.shape) for env in self.envs]))

    def run(self, until: int) -> None:
        while self.steps < until:
            self.rollout()

    def rollout(self) -> None:
        s, k = self.settings, len(self.envs)
        torch.nn.utils.vector_to_parameters(torch.from_numpy(self.theta).float(), self.model.parameters())
        seen, actions, steps, valid, values, acting, starts = [], [], [], [], [], [], []
        first_state = state = self.state
        for _ in range(s.t_max):
            with torch.no_grad():
                state = state.masked_fill(self.starts[:, None], 0)
                logits, value, state = self.model.step(self.observations, state)
            starts.append(self.starts)
            chosen = [sample(logits[i].numpy(), self.random.uniform()) for i in range(k)]
            results = [env.step(action) for env, action in zip(self.envs, chosen, strict=True)]
            seen.append(self.observations)
            acting.append(logits)
            values.append(value.double().numpy())
            actions.append(chosen)
            steps.append(results)
            valid.append(~self.previous_done)
            self.previous_done = np.array([result["done"] for result in results], bool)
            self.starts = torch.from_numpy(self.previous_ended)  # a reset step leads to the first of an episode
            self.previous_ended = np.array([result["episode_ended"] for result in results], bool)
            for i, result in enumerate(results):
                self.running[i] += result["raw_reward"]
                if result["episode_ended"]:
                    self.returns.append(float(self.running[i]))
                    self.running[i] = 0
            self.observations = self._observe()
        with torch.no_grad():
            self.state = state.masked_fill(self.starts[:, None], 0)
            values.append(self.model.step(self.observations, self.state)[1].double().numpy())

        def column(name: str) -> Any:
            return np.array([[result[name] for result in row] for row in steps], np.float64)

        table = (column("reward"), column("done"), column("bootstraps"), np.array(values), s.gamma)
        if s.gae_lambda == 1:
            target = returns(*table)
            advantages = target - np.array(values)[:-1]
        else:
            advantages = gae(*table, s.gae_lambda)
            target = advantages + np.array(values)[:-1]
        acted = self.theta.copy()  # theta'
        lr = s.learning_rate * max(0.0, 1 - self.steps / s.total_steps) ** s.learning_rate_decay_power
        entropy_coef = s.entropy_coef
        if s.entropy_decay_steps:
            passed = min(1.0, self.steps / s.entropy_decay_steps)
            entropy_coef *= 1 - passed * (1 - s.entropy_final_fraction)
        mask = np.array(valid)
        flat = {
            "observations": torch.stack(seen).flatten(0, 1),
            "starts": torch.stack(starts).flatten(),
            "acting": torch.stack(acting).flatten(0, 1),
            "actions": torch.tensor(actions).flatten(),
            "advantages": torch.from_numpy(advantages).float().flatten(),
            "target": torch.from_numpy(target).float().flatten(),
            "mask": torch.from_numpy(mask).flatten(),
        }
        if s.normalize_advantages and mask.any():
            some = flat["advantages"][flat["mask"]]
            flat["advantages"] = (flat["advantages"] - some.mean()) / (some.std(correction=0) + 1e-8)
        size = s.t_max * s.envs_per_update
        order: list[int] = []
        for epoch, first in [(e, f) for e in range(s.update_epochs) for f in range(0, s.t_max * k, size)]:
            if first == 0:
                order = self._order(epoch, order, k)
            samples = order[first : first + size]
            part = {name: array[samples] for name, array in flat.items()}
            if not part["mask"].any():
                continue
            again = epoch > 0
            at = self.theta if again else acted
            torch.nn.utils.vector_to_parameters(torch.from_numpy(at).float(), self.model.parameters())
            logits, value = self._unroll(
                part["observations"], part["starts"], first_state[[i % k for i in samples[: s.envs_per_update]]]
            )
            total, _ = loss(
                logits,
                value,
                part["actions"],
                part["advantages"],
                part["target"],
                part["mask"],
                s.value_coef,
                entropy_coef,
                part["acting"] if again else None,
                s.clip_coef,
            )
            self.model.zero_grad()
            total.backward()
            gradient = torch.cat([p.grad.flatten() for p in self.model.parameters()]).double().numpy()
            gradient *= clip_scale(gradient, s.max_grad_norm)
            warm = 1.0
            if s.learning_rate_warmup:
                warm = min(1.0, self.updates * size / s.update_epochs / s.learning_rate_warmup)
            self.theta = s.optimizer.push(self.theta, gradient, lr * warm)
            self.updates += 1
        self.steps += int(mask.sum())

    def _order(self, epoch: int, before: list[int], num_envs: int) -> list[int]:
        """The samples t * num_envs + i of an epoch; `before` is the order of the epoch before it."""
        s = self.settings
        if epoch > 0 and not self.model.lstm_size:
            return self._shuffled(before)
        envs = self._shuffled(list(range(num_envs))) if epoch > 0 else list(range(num_envs))
        groups = [envs[first : first + s.envs_per_update] for first in range(0, num_envs, s.envs_per_update)]
        return [t * num_envs + i for group in groups for t in range(s.t_max) for i in group]

    def _shuffled(self, items: list[int]) -> list[int]:
        items = list(items)
        for left in range(len(items), 1, -1):
            other = self.random.next() % left
            items[left - 1], items[other] = items[other], items[left - 1]
        return items

    def _unroll(self, observations: Any, starts: Any, state: Any) -> tuple[Any, Any]:
        """Logits and values of sequences [T * B], one step after the other, differentiable."""
        logits, values = [], []
        for now, begins in zip(observations.split(len(state)), starts.split(len(state)), strict=True):
            output, value, state = self.model.step(now, state.masked_fill(begins[:, None], 0))
            logits.append(output)
            values.append(value)
        return torch.cat(logits), torch.cat(values)

    def parameters(self) -> dict[str, Any]:
        """By name, as `Trainer.state_dict` has them."""
        torch.nn.utils.vector_to_parameters(torch.from_numpy(self.theta).float(), self.model.parameters())
        return {name: value.numpy().copy() for name, value in self.model.state_dict().items()}
