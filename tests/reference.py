"""A3C again, slow and obvious: what the C++ is compared with."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch.distributions import Categorical, Distribution, Normal

from a3c_fast import observing as policies
from a3c_fast.envs import ActionSpec, EnvSpec

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


def normalized(advantages: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """The valid ones [N] brought to mean 0 and standard deviation 1; as they are where they do not deviate."""
    keep = valid.bool()
    some = advantages[keep].double()
    if len(some) == 0 or bool((some == some[0]).all()):
        return advantages
    result = advantages.clone()
    result[keep] = ((some - some.mean()) / (some.std(correction=0) + 1e-8)).to(advantages.dtype)
    return result


class Policy:
    """What the outputs [N, num_outputs] of a policy mean: one of PyTorch's distributions for each component of an
    action, independent of the others."""

    def __init__(self, action: ActionSpec, outputs: torch.Tensor) -> None:
        self.components: list[Distribution]
        if action.is_continuous:
            means, log_stds = outputs[:, : action.size], outputs[:, action.size :]
            self.components = [Normal(means[:, i], log_stds[:, i].exp()) for i in range(action.size)]
        else:
            self.components = [Categorical(logits=logits) for logits in outputs.split(list(action.choices), dim=1)]

    def log_prob(self, actions: torch.Tensor) -> torch.Tensor:
        """Of actions [N, size]."""
        return torch.stack([c.log_prob(actions[:, i]) for i, c in enumerate(self.components)]).sum(0)  # type: ignore[no-untyped-call]

    def entropy(self) -> torch.Tensor:
        return torch.stack([component.entropy() for component in self.components]).sum(0)  # type: ignore[no-untyped-call]


def loss(
    action: ActionSpec,
    policy: torch.Tensor,
    values: torch.Tensor,
    actions: torch.Tensor,
    advantages: torch.Tensor,
    target: torch.Tensor,
    valid: torch.Tensor,
    value_coef: float,
    entropy_coef: float,
    acting_policy: torch.Tensor | None = None,
    clip_coef: float = 0.0,
) -> tuple[torch.Tensor, dict[str, float]]:
    """The loss of the paper, or PPO's with `acting_policy`, over the valid samples, differentiable, and its terms."""
    keep = valid.bool()
    now = Policy(action, policy[keep])
    log_prob = now.log_prob(actions[keep])
    kl = clip_fraction = 0.0
    if acting_policy is None:
        policy_loss = -(log_prob * advantages[keep]).mean()
    else:
        ratio = (log_prob - Policy(action, acting_policy[keep]).log_prob(actions[keep]).detach()).exp()
        clipped = ratio.clamp(1 - clip_coef, 1 + clip_coef)
        policy_loss = -torch.minimum(ratio * advantages[keep], clipped * advantages[keep]).mean()
        kl = (ratio - 1 - ratio.log()).mean().item()
        clip_fraction = ((ratio - 1).abs() > clip_coef).double().mean().item()
    value_loss = (target[keep] - values[keep]).pow(2).mean()
    entropy = now.entropy().mean()
    terms = {"policy_loss": policy_loss.item(), "value_loss": value_loss.item(), "entropy": entropy.item()}
    terms |= {"approx_kl": kl, "clip_fraction": clip_fraction}
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


def choice(logits: Any, uniform: float) -> int:
    """The first action whose cumulative probability is beyond `uniform`."""
    weights = np.exp(np.asarray(logits, np.float64) - np.max(logits))
    beyond = np.cumsum(weights) > uniform * weights.sum()
    return int(np.argmax(beyond)) if beyond.any() else len(weights) - 1


def normal(random: SplitMix64) -> float:
    """A number of N(0, 1), of two uniform ones (Box and Muller 1958)."""
    radius = math.sqrt(-2 * math.log(1 - random.uniform()))
    return radius * math.cos(2 * math.pi * random.uniform())


def sample(action: ActionSpec, outputs: Any, random: SplitMix64) -> list[float]:
    """An action, component by component, from the outputs [num_outputs] of a policy."""
    if action.is_continuous:
        means, log_stds = outputs[: action.size], outputs[action.size :]
        return [float(means[i]) + math.exp(log_stds[i]) * normal(random) for i in range(action.size)]
    logits = np.split(outputs, np.cumsum(action.choices)[:-1])
    return [float(choice(of_component, random.uniform())) for of_component in logits]


def to_environment(action: ActionSpec, component: int, value: float) -> float:
    """What an environment is given where the policy says `value`."""
    if not action.is_continuous:
        return value + action.first
    low, high = action.low[component], action.high[component]
    if math.isinf(low) or math.isinf(high):
        return min(max(value, low), high)
    return min(max((low + high) / 2 + (high - low) / 2 * value, low), high)


class Moments:
    """Mean and variance of all that was seen, from all of it."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.seen: list[Any] = []

    def mean(self) -> Any:
        return np.mean(self.seen, axis=0) if self.seen else np.zeros(self.size)

    def variance(self) -> Any:
        return np.var(self.seen, axis=0) if len(self.seen) > 1 else np.ones(self.size)


def scaled(x: Any, mean: Any, variance: Any) -> Any:
    """Brought to mean 0 and deviation 1, within 10 of 0."""
    return np.clip((x - mean) / np.sqrt(variance + 1e-8), -10, 10)


def _mix(x: int) -> int:
    x ^= x >> 16
    x = x * 0x85EBCA6B & 0xFFFFFFFF
    x ^= x >> 13
    x = x * 0xC2B2AE35 & 0xFFFFFFFF
    return x ^ (x >> 16)


GOLDEN = 0x9E3779B9


@dataclass
class FakeEnv:
    """cpp/env/scripted/fake_env.h for one environment of a batch."""

    seed: int
    index: int
    spec: EnvSpec
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

    def fraction(self, i: int) -> int:
        """24 bits of element i."""
        return _mix((self.key + i * GOLDEN) & 0xFFFFFFFF) >> 8

    def observation(self) -> Any:
        """The one part of the observation that there is."""
        (part,) = self.spec.observation.parts
        fractions = [self.fraction(i) for i in range(math.prod(part.shape))]
        if part.dtype == "uint8":
            return np.array([f >> 16 for f in fractions], np.uint8).reshape(part.shape)
        return np.array([f * 2.0**-23 - 1 for f in fractions], np.float32).reshape(part.shape)

    def payment(self, action: list[float]) -> float:
        """The share of components that are the paid ones, or 1 less the mean squared distance to them."""
        spec = self.spec.action
        paid = 0.0
        for i, value in enumerate(action):
            if spec.is_continuous:
                paid += 1 - (to_environment(spec, i, value) - (self.fraction(i) * 2.0**-23 - 1)) ** 2
            else:
                paid += value == (self.fraction(i) * spec.choices[i]) >> 24
        return paid / len(action)

    def step(self, action: list[float]) -> dict[str, Any]:
        """reward, raw_reward, done, bootstraps, episode_ended, valid, starts."""
        if self.pending:
            starts = int(self.pending == 2)
            if starts:
                self.step_count = 0
            self.reset()
            nothing = {"reward": 0.0, "raw_reward": 0.0, "done": 0, "bootstraps": 1, "episode_ended": 0}
            return {**nothing, "valid": 0, "starts": starts}
        reward = self.payment(action)
        raw = reward * (1 + (self.key & 3))
        self.step_count += 1
        chosen = 1
        if not self.spec.action.is_continuous:
            chosen += sum((i + 1) * int(value) for i, value in enumerate(action))
        self.key = _mix((self.key + chosen) & 0xFFFFFFFF)
        event = _mix(self.key ^ GOLDEN) % 64
        terminated, life, truncated = event == 0, event == 1, self.step_count >= self.max_episode_steps
        done = terminated or life or truncated
        ended = terminated or truncated
        self.pending = (2 if ended else 1) if done else 0
        return {
            "reward": reward,
            "raw_reward": raw,
            "done": int(done),
            "bootstraps": int(not done or (truncated and not terminated)),
            "episode_ended": int(ended),
            "valid": 1,
            "starts": 0,
        }


@dataclass
class Settings:
    """What a run of `A3C` needs."""

    t_max: int = 5
    envs_per_update: int = 4
    update_epochs: int = 1
    clip_coef: float = 0.1
    normalize_advantages: bool = False
    normalize_observations: bool = False
    normalize_rewards: bool = False
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
    """One worker of A3C in PyTorch and Python, over scripted environments. `model` is given what it is to see."""

    def __init__(self, model: policies.Policy, envs: list[FakeEnv], settings: Settings) -> None:
        self.model, self.envs, self.settings = model, envs, settings
        self.action = envs[0].spec.action
        self.random = SplitMix64.of_worker(settings.seed, 0)
        self.theta = torch.nn.utils.parameters_to_vector(model.parameters()).detach().double().numpy()
        self.steps = self.updates = 0
        self.returns: list[float] = []
        self.running = np.zeros(len(envs))
        self.starts = torch.ones(len(envs), dtype=torch.bool)
        self.state = model.initial_state(len(envs))
        self.observation_moments, self.return_moments = Moments(envs[0].spec.observation.num_features), Moments(1)
        self._take_moments()
        self.discounted = np.zeros(len(envs))
        self.observations = self._observe([0] * len(envs))

    def _observe(self, done: list[int]) -> Any:
        """What all environments show. What follows an end is nothing that the agent acts on, and not counted."""
        observations = np.stack([env.observation() for env in self.envs])
        if self.settings.normalize_observations:
            self.observation_moments.seen += [
                x.astype(np.float64) for x, d in zip(observations, done, strict=True) if not d
            ]
        return observations

    def _take_moments(self) -> None:
        """Those of now, with which the next rollout goes on to its end."""
        self.mean, self.variance = self.observation_moments.mean(), self.observation_moments.variance()
        self.return_variance = self.return_moments.variance()

    def _shown(self) -> torch.Tensor:
        """The observations as the network sees them."""
        if not self.settings.normalize_observations:
            return torch.from_numpy(self.observations)
        return torch.from_numpy(scaled(self.observations, self.mean, self.variance).astype(np.float32))

    def _reward(self, env: int, result: dict[str, Any]) -> float:
        """What is learned from."""
        reward = float(result["reward"])
        if not self.settings.normalize_rewards or not result["valid"]:
            return reward
        self.discounted[env] = self.settings.gamma * self.discounted[env] + reward
        self.return_moments.seen.append([self.discounted[env]])
        if result["done"]:
            self.discounted[env] = 0
        return float(np.clip(reward / np.sqrt(self.return_variance[0] + 1e-8), -10, 10))

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
                outputs, value, state = self.model.step(self._shown(), state)
            starts.append(self.starts)
            chosen = [sample(self.action, outputs[i].numpy(), self.random) for i in range(k)]
            results = [env.step(action) for env, action in zip(self.envs, chosen, strict=True)]
            seen.append(self._shown())
            acting.append(outputs)
            values.append(value.double().numpy())
            actions.append(chosen)
            steps.append(results)
            valid.append([bool(result["valid"]) for result in results])
            self.starts = torch.tensor([bool(result["starts"]) for result in results])
            for i, result in enumerate(results):
                result["learned_from"] = self._reward(i, result)
                self.running[i] += result["raw_reward"]
                if result["episode_ended"]:
                    self.returns.append(float(self.running[i]))
                    self.running[i] = 0
            self.observations = self._observe([result["done"] for result in results])
        with torch.no_grad():
            self.state = state.masked_fill(self.starts[:, None], 0)
            values.append(self.model.step(self._shown(), self.state)[1].double().numpy())

        self._take_moments()

        def column(name: str) -> Any:
            return np.array([[result[name] for result in row] for row in steps], np.float64)

        table = (column("learned_from"), column("done"), column("bootstraps"), np.array(values), s.gamma)
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
            "actions": torch.tensor(actions).flatten(0, 1),
            "advantages": torch.from_numpy(advantages).float().flatten(),
            "target": torch.from_numpy(target).float().flatten(),
            "mask": torch.from_numpy(mask).flatten(),
        }
        if s.normalize_advantages:
            flat["advantages"] = normalized(flat["advantages"], flat["mask"])
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
            outputs, value = self._unroll(
                part["observations"], part["starts"], first_state[[i % k for i in samples[: s.envs_per_update]]]
            )
            total, _ = loss(
                self.action,
                outputs,
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
            gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in self.model.parameters()]
            gradient = torch.cat([g.flatten() for g in gradients]).double().numpy()
            gradient *= clip_scale(gradient, s.max_grad_norm)
            warm = 1.0
            if s.learning_rate_warmup:
                warm = min(1.0, (self.updates + 1) * size / s.update_epochs / s.learning_rate_warmup)
            self.theta = s.optimizer.push(self.theta, gradient, lr * warm)
            self.updates += 1
        self.steps += int(mask.sum())

    def _order(self, epoch: int, before: list[int], num_envs: int) -> list[int]:
        """The samples t * num_envs + i of an epoch; `before` is the order of the epoch before it."""
        s = self.settings
        if epoch > 0 and not self.model.state_size:
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
        """Outputs and values of sequences [T * B], one step after the other, differentiable."""
        outputs, values = [], []
        for now, begins in zip(observations.split(len(state)), starts.split(len(state)), strict=True):
            output, value, state = self.model.step(now, state.masked_fill(begins[:, None], 0))
            outputs.append(output)
            values.append(value)
        return torch.cat(outputs), torch.cat(values)

    def parameters(self) -> dict[str, Any]:
        """By name, as `Trainer.state_dict` has them."""
        torch.nn.utils.vector_to_parameters(torch.from_numpy(self.theta).float(), self.model.parameters())
        return {name: value.numpy().copy() for name, value in self.model.state_dict().items()}
