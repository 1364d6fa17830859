"""`python -m bench.networks`: what a network of one's own costs beside ours, in alternating rounds.

The same training steps with the built-in network on our kernels, with the same one through LibTorch, with the same one
as a user would write it (`Paper`, `Mlp`), and with others of a3c_fast.networks. Beside each the microseconds that a
sample costs: `act`, for as many environments as a worker has, and `update`, the forward and the backward pass of an
update, on one thread.
"""

from __future__ import annotations

import contextlib
import functools
import json as json_module
import os
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from a3c_fast.cli import parse
from a3c_fast.config import Config
from bench.command import check_positive, errors_in_one_sentence
from bench.machine import machine
from bench.rounds import alternate
from bench.throughput import ceiling_steps, training_steps

_ISA = "A3C_FAST_ISA"


class Paper(nn.Module):
    """The network of Mnih et al. 2016 as a user writes it."""

    def __init__(self, observation_space: Any, action_space: Any) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(observation_space.shape[0], 16, 8, 4)
        self.conv2 = nn.Conv2d(16, 32, 4, 2)
        self.fc = nn.Linear(2592, 256)
        self.policy, self.value = nn.Linear(256, int(action_space.n)), nn.Linear(256, 1)

    def forward(self, observations: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Images [N, 4, 84, 84] -> logits, values."""
        x = F.relu(self.conv2(F.relu(self.conv1(observations / 255.0))))
        x = F.relu(self.fc(x.flatten(1)))
        return self.policy(x), self.value(x).squeeze(-1)


class Mlp(nn.Module):
    """Two layers of 64 units."""

    def __init__(self, observation_space: Any, action_space: Any) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(observation_space.shape[0], 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh())
        self.policy, self.value = nn.Linear(64, int(action_space.n)), nn.Linear(64, 1)

    def forward(self, observations: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Numbers [N, F] -> logits, values."""
        x = self.body(observations)
        return self.policy(x), self.value(x).squeeze(-1)


@dataclass(frozen=True)
class Arguments:
    """Measures networks of one's own beside the built-in one."""

    env_id: str = "Pong-v5"
    """EnvPool's name of the environment."""
    networks: tuple[str, ...] = ()
    """Others, as module:name; by default the built-in one as a user writes it, and two of a3c_fast.networks."""
    rounds: int = 5
    """Rounds of each."""
    seconds: float = 5.0
    """Length of a round, about."""
    json: bool = False
    """Print one JSON object."""


def networks_of(args: Arguments, config: Config) -> tuple[str, ...]:
    """Those that are measured beside the built-in one."""
    if args.networks:
        return args.networks
    if config.model == "mlp":
        return ("bench.networks:Mlp", "a3c_fast.networks:Gru")
    return ("bench.networks:Paper", "a3c_fast.networks:Impala", "a3c_fast.networks:FrameTransformer")


@contextlib.contextmanager
def kernels(isa: str | None) -> Iterator[None]:
    """Networks that are made meanwhile run on these."""
    before = os.environ.pop(_ISA, None)
    if isa is not None:
        os.environ[_ISA] = isa
    try:
        yield
    finally:
        os.environ.pop(_ISA, None)
        if before is not None:
            os.environ[_ISA] = before


def microseconds(call: Callable[[], Any], samples: int, seconds: float = 0.3) -> float:
    """Of the calling thread, a sample; the least of several rounds."""
    best = float("inf")
    for _ in range(5):
        begin, calls = time.thread_time(), 0
        while time.thread_time() - begin < seconds / 5:
            call()
            calls += 1
        best = min(best, (time.thread_time() - begin) / calls / samples)
    return 1e6 * best


def costs(config: Config, isa: str | None) -> dict[str, float]:
    """Microseconds a sample of `config`'s network on one thread."""
    from a3c_fast import _core, envs
    from a3c_fast.core_config import model_config
    from a3c_fast.user_network import UserNetwork

    config = config.replace(
        observation_offset=0.0,
        observation_scale=1.0,
    )
    spec = envs.spec_of(config)
    acting, updated = config.envs_per_worker, config.envs_per_update * config.t_max
    own = None
    if config.network is not None:
        own = UserNetwork(config, spec)
        if own.state_size:
            updated = config.envs_per_update
        own.export({acting, updated})
    numbers = np.random.default_rng(1)
    result = {}
    for what, count in (("act", acting), ("update", updated)):
        rows = numbers.integers(0, 256, (count, spec.observation.row_bytes), dtype=np.uint8)
        if spec.observation.num_features:
            spec.observation.numbers_of(rows)[:] = numbers.normal(size=(count, spec.observation.num_features))
        starts = np.ones(count, np.uint8)
        with kernels(isa):
            network = _core.Network(model_config(config, spec, own.core if own else None), count)
        network.set_parameters(0.01 * numbers.normal(size=_size(config, spec, own)).astype(np.float32))
        outputs, values = network.act(rows, starts)
        d_outputs, d_values = np.ones_like(outputs), np.ones_like(values)

        act = functools.partial(network.act, rows, starts)
        learn = functools.partial(network.gradients, rows, d_outputs, d_values)
        result[what] = microseconds(act, count) if what == "act" else microseconds(learn, count)
        if what == "update" and own is None and isa is None:  # our kernels kept what acting has computed
            result[what] += microseconds(act, count)
    return result


def _size(config: Config, spec: Any, own: Any) -> int:
    from a3c_fast import _core
    from a3c_fast.core_config import model_config

    if own is not None:
        return int(own.size)
    return int(_core.Replica(model_config(config, spec)).parameters().size)


def measure(args: Arguments) -> dict[str, Any]:
    """Steps a second of each, round by round, the medians, and the costs."""
    from a3c_fast.trainer import Trainer

    facts = machine()
    config = Config(args.env_id, update_epochs=1, total_steps=2**40, precision="fp32")
    of_one = {"kernels": (config, None), "libtorch": (config, "libtorch")}
    for name in networks_of(args, config):
        of_one[name] = (config.replace(network=name), None)
    with contextlib.ExitStack() as stack:
        trainers = {}
        for name, (settings, isa) in of_one.items():
            with kernels(isa):
                trainers[name] = stack.enter_context(Trainer(settings))
        kinds = {"ceiling": ceiling_steps(config, trainers["kernels"].config.num_workers)}
        figures = alternate(
            kinds | {name: training_steps(trainer) for name, trainer in trainers.items()}, args.rounds, args.seconds
        )
    torch.set_num_threads(1)
    return {
        "steps_per_second": {name: statistics.median(rates) for name, rates in figures.items()},
        "of_libtorch": {
            name: statistics.median(a / b for a, b in zip(rates, figures["libtorch"], strict=True))
            for name, rates in figures.items()
        },
        "microseconds": {name: costs(settings, isa) for name, (settings, isa) in of_one.items()},
        "rounds": figures,
        "config": config.to_json(),
        "machine": facts,
    }


@errors_in_one_sentence()
def main() -> None:
    """The command."""
    args = parse(Arguments, None, prog="python -m bench.networks")
    check_positive(args, "rounds", "seconds")
    result = measure(args)
    if args.json:
        print(json_module.dumps(result))
        return
    for name, rate in result["steps_per_second"].items():
        cost = result["microseconds"].get(name)
        us = "" if cost is None else f", {cost['act']:.1f} us a sample to act, {cost['update']:.1f} to learn"
        print(f"{name}: {rate:,.0f} steps/s, {result['of_libtorch'][name]:.3f} of libtorch{us}")


if __name__ == "__main__":
    main()
