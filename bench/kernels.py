"""`python -m bench.kernels`: microseconds a sample of the network of `mlp`, in our kernels and in LibTorch, in turns.

One thread, float32. What is timed is what a worker does with its network: choosing actions (`forward`), and a gradient
with the forward pass before it (`update`), as LibTorch needs it and as ours does when a rollout is learned from again.
"""

from __future__ import annotations

import json as json_module
import os
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from a3c_fast.cli import parse
from a3c_fast.config import Config
from bench.command import check_positive, errors_in_one_sentence
from bench.machine import machine
from bench.rounds import Steps, alternate

_ISA = "A3C_FAST_ISA"


@dataclass(frozen=True)
class Arguments:
    """Measures the networks of fully connected layers, in our kernels and in LibTorch."""

    env_id: str = "HalfCheetah-v4"
    """Whose observations and actions the network has, and its defaults."""
    hidden_sizes: tuple[int, ...] = (64, 64)
    """Units of the layers."""
    batches: tuple[int, ...] = (8, 64, 512)
    """Samples of a pass."""
    rounds: int = 5
    """Rounds of each."""
    seconds: float = 0.5
    """Length of a round, about."""
    json: bool = False
    """Print one JSON object."""


def passes(args: Arguments, batch: int, kernels: str | None) -> dict[str, Steps]:
    """The two passes over one batch; `kernels` as A3C_FAST_ISA has them, None for the fastest."""
    from a3c_fast import _core, envs
    from a3c_fast.core_config import model_config

    config = Config(env_id=args.env_id, model="mlp", hidden_sizes=args.hidden_sizes)
    spec = envs.spec_of(config)
    model = model_config(config, spec)
    before = os.environ.pop(_ISA, None)
    try:
        if kernels is not None:
            os.environ[_ISA] = kernels
        network = _core.Network(model, batch)
    finally:
        os.environ.pop(_ISA, None)
        if before is not None:
            os.environ[_ISA] = before
    replica = _core.Replica(model)
    replica.initialize(1)
    network.set_parameters(replica.parameters())
    numbers = np.random.default_rng(1)
    rows = np.zeros((batch, spec.observation.row_bytes), np.uint8)
    observed = numbers.normal(size=(batch, spec.observation.row_bytes // 4)).astype(np.float32)
    rows[:, : observed.shape[1] * 4] = observed.view(np.uint8)
    starts = np.ones(batch, np.uint8)
    outputs, values = network.act(rows, starts)
    d_outputs, d_values = (numbers.normal(size=array.shape).astype(np.float32) for array in (outputs, values))

    def forward() -> None:
        network.act(rows, starts)

    def update() -> None:
        network.act(rows, starts)
        network.gradients(rows, d_outputs, d_values)

    def steps(one: Callable[[], None]) -> Steps:
        def make(samples: int) -> int:
            count = -(-samples // batch)
            for _ in range(count):
                one()
            return count * batch

        return make

    return {"forward": steps(forward), "update": steps(update)}


def measure(args: Arguments) -> list[dict[str, Any]]:
    """One entry a batch and pass: microseconds a sample of both, and the median of the ratios of the rounds."""
    results = []
    for batch in args.batches:
        ours, theirs = (passes(args, batch, kernels) for kernels in (None, "libtorch"))
        for name in ours:
            rates = alternate({"kernels": ours[name], "libtorch": theirs[name]}, args.rounds, args.seconds)
            micros = {kind: 1e6 / statistics.median(values) for kind, values in rates.items()}
            ratios = [a / b for a, b in zip(rates["kernels"], rates["libtorch"], strict=True)]
            results.append(
                {"batch": batch, "pass": name, **micros, "ratio": statistics.median(ratios), "rounds": rates}
            )
    return results


@errors_in_one_sentence()
def main() -> None:
    """The command."""
    import torch

    args = parse(Arguments, None, prog="python -m bench.kernels")
    check_positive(args, "rounds", "seconds")
    facts = machine()
    torch.set_num_threads(1)
    results = measure(args)
    if args.json:
        shape = {"env_id": args.env_id, "hidden_sizes": args.hidden_sizes}
        print(json_module.dumps({**shape, "microseconds_per_sample": results, "machine": facts}))
        return
    print("batch  pass      kernels  libtorch  microseconds a sample")
    for one in results:
        micros = f"{one['kernels']:>8.2f} {one['libtorch']:>9.2f}"
        print(f"{one['batch']:>5}  {one['pass']:<8} {micros}  {one['ratio']:.1f} times")


if __name__ == "__main__":
    main()
