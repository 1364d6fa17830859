"""A3C as one writes it in Python: a process a worker, a model in shared memory, gymnasium and ale-py.

The peer of `bench.peers` for the paper's algorithm, after the structure that the well-known PyTorch implementations
share: every worker copies the shared model, plays t_max steps in one environment, runs autograd over the loss, and
writes its gradient into a shared RMSProp without a lock. The network is the paper's, the observations are 84x84x4.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import torch
import torch.multiprocessing as mp

from a3c_fast.envs import ActionSpec, ObservationSpec, Part
from a3c_fast.policy import ActorCritic


def make_atari(game: str, seed: int) -> Any:
    """A gymnasium Atari environment with the usual preprocessing; a lost life ends the episode and, unlike EnvPool's
    `episodic_life`, the game: what is measured with it is speed."""
    import ale_py
    import gymnasium
    from gymnasium.wrappers import AtariPreprocessing, FrameStackObservation

    gymnasium.register_envs(ale_py)
    env = gymnasium.make(f"ALE/{game}-v5", frameskip=1, repeat_action_probability=0.0)
    env = AtariPreprocessing(env, noop_max=30, frame_skip=4, screen_size=84, terminal_on_life_loss=True)
    env = FrameStackObservation(env, 4)
    env.reset(seed=seed)
    return env


class SharedRMSProp:
    """RMSProp in the paper's form on parameters in shared memory."""

    def __init__(self, model: ActorCritic, lr: float = 7e-4, alpha: float = 0.99, eps: float = 1e-5) -> None:
        self.lr, self.alpha, self.eps = lr, alpha, eps
        self.mean_square = [torch.zeros_like(p) for p in model.parameters()]
        for statistic in self.mean_square:
            statistic.share_memory_()  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def push(self, shared: ActorCritic, local: ActorCritic) -> None:
        """Applies the local model's gradients to the shared one, without a lock."""
        for p, q, g in zip(shared.parameters(), local.parameters(), self.mean_square, strict=True):
            assert q.grad is not None
            g.mul_(self.alpha).addcmul_(q.grad, q.grad, value=1 - self.alpha)
            p.addcdiv_(q.grad, g.add(self.eps).sqrt_(), value=-self.lr)


def _network(env: Any) -> ActorCritic:
    """The network of the paper for a game."""
    image = ObservationSpec((Part("", "uint8", (4, 84, 84), "array"),))
    return ActorCritic("paper", image, ActionSpec((int(env.action_space.n),)))


def _work(game: str, index: int, shared: ActorCritic, optimizer: SharedRMSProp, counter: Any, limit: Any) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(index)
    env = make_atari(game, seed=index)
    local = _network(env)
    observation, _ = env.reset()
    t_max, gamma, entropy_coef = 20, 0.99, 0.01
    while True:
        while counter.value >= limit.value:
            time.sleep(0.001)
        local.load_state_dict(shared.state_dict())
        log_probs, values, entropies, rewards = [], [], [], []
        done = False
        for _ in range(t_max):
            logits, value = local(torch.from_numpy(np.asarray(observation))[None])
            log_policy = logits.log_softmax(-1)
            action = torch.multinomial(log_policy.exp().detach(), 1)
            log_probs.append(log_policy.gather(1, action).squeeze())
            entropies.append(-(log_policy * log_policy.exp()).sum())
            values.append(value.squeeze())
            observation, reward, terminated, truncated, _ = env.step(int(action))
            rewards.append(float(np.sign(reward)))
            done = terminated or truncated
            if done:
                observation, _ = env.reset()
                break
        with counter.get_lock():
            counter.value += len(rewards)
        with torch.no_grad():
            target = 0.0 if done else float(local(torch.from_numpy(np.asarray(observation))[None])[1])
        loss = torch.zeros(())
        for log_prob, value, entropy, reward in zip(
            reversed(log_probs), reversed(values), reversed(entropies), reversed(rewards), strict=True
        ):
            target = reward + gamma * target
            advantage = target - value
            loss = loss - log_prob * advantage.detach() + 0.5 * advantage.pow(2) - entropy_coef * entropy
        local.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(local.parameters(), 40.0)
        optimizer.push(shared, local)


class TextbookA3C:
    """Worker processes that step while the counter is below the limit, and sleep otherwise."""

    def __init__(self, game: str, num_workers: int) -> None:
        context = mp.get_context("spawn")
        env = make_atari(game, seed=0)
        shared = _network(env)
        shared.share_memory()
        optimizer = SharedRMSProp(shared)
        self._counter, self._limit = context.Value("q", 0), context.Value("q", 0)
        self._processes = [
            context.Process(target=_work, args=(game, i, shared, optimizer, self._counter, self._limit), daemon=True)
            for i in range(num_workers)
        ]
        for process in self._processes:
            process.start()

    def make_steps(self, steps: int) -> int:
        """Trains for about `steps` agent steps and returns how many they were."""
        before: int = self._counter.value
        self._limit.value = before + steps
        while self._counter.value < self._limit.value:
            if not all(process.is_alive() for process in self._processes):
                raise RuntimeError("a process of the textbook A3C has ended")
            time.sleep(0.002)
        return int(self._counter.value) - before

    def close(self) -> None:
        """Ends the processes."""
        for process in self._processes:
            process.terminate()
            process.join()
