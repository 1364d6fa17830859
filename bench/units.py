"""`python -m bench.units`: how much of a convolutional network is alive while it learns.

Trains, stops at some steps, and shows the network images of random play. A channel or unit that is 0 on all of them is
dead: no gradient comes through its ReLU, so on such images it can learn nothing more. Every other flag is one of
`a3c-fast train`.
"""

from __future__ import annotations

import json as json_module
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from a3c_fast.config import Config
from a3c_fast.errors import ConfigError
from bench.command import errors_in_one_sentence, parse_with_training
from bench.machine import machine

if TYPE_CHECKING:
    import torch

    from a3c_fast.policy import ActorCritic

_STREAM = 2**35  # of seeds


@dataclass(frozen=True)
class Arguments:
    """Measures the dead units of a network while it learns; also takes the flags of `a3c-fast train`."""

    at: tuple[int, ...] = (0, 500, 2_000, 10_000, 50_000, 100_000, 200_000)
    """Agent steps at which training stops for a look."""
    json: bool = False
    """Print one JSON object."""


def images(config: Config, num_envs: int = 16, steps: int = 300) -> torch.Tensor:
    """Observations of random play, uint8 [num_envs * steps / 20, ...]."""
    import numpy as np
    import torch

    from a3c_fast import envs

    spec = envs.spec_of(config).observation
    play = envs.random_play(config, num_envs=num_envs, steps=steps, stream=_STREAM)
    seen = [spec.array_of(rows) for step, rows in enumerate(play) if step % 20 == 10]
    return torch.from_numpy(np.concatenate(seen))


def look(policy: ActorCritic, observations: torch.Tensor) -> dict[str, Any]:
    """The dead share of each ReLU layer, and how much the values and logits differ from image to image."""
    import torch

    dead: dict[str, float] = {}
    layers = {**{f"conv{i}": c for i, c in enumerate(policy.convolutions, 1)}, "fc1": policy.layers[0]}
    hooks = []
    for name, layer in layers.items():

        def keep(module: Any, inputs: Any, output: torch.Tensor, name: str = name) -> None:
            most = output.amax(dim=(0, 2, 3) if output.dim() == 4 else 0)
            dead[name] = float((most <= 0).float().mean())

        hooks.append(layer.register_forward_hook(keep))
    with torch.inference_mode():
        logits, values = policy(observations)
    for hook in hooks:
        hook.remove()
    return {"dead": dead, "value_std": float(values.std()), "logit_std": float(logits.std(0).mean())}


def measure(config: Config, args: Arguments) -> dict[str, Any]:
    """A look at each of the steps."""
    from a3c_fast.policy import ActorCritic
    from a3c_fast.trainer import Trainer

    facts = machine()
    points = []
    with Trainer(config) as trainer:
        observations = images(trainer.config)
        for step in args.at:
            if step > trainer.stats()["step"]:
                trainer.run(step)
            stats = trainer.stats()
            shown = {name: stats[name] for name in ("step", "mean_return_100", "value_loss", "entropy", "grad_norm")}
            policy = trainer.policy()
            assert isinstance(policy, ActorCritic)
            points.append({**shown, **look(policy, observations)})
        resolved = trainer.config.to_json()
    return {"points": points, "config": resolved, "machine": facts}


@errors_in_one_sentence()
def main() -> None:
    """The command."""
    args, config = parse_with_training(Arguments, "python -m bench.units")
    if config.model == "mlp" or config.network is not None:
        raise ConfigError("model", config.model, "it has no convolutions of ours whose units could be dead")
    result = measure(config, args)
    if args.json:
        print(json_module.dumps(result))
        return
    for point in result["points"]:
        shares = ", ".join(f"{name} {share:.0%}" for name, share in point["dead"].items())
        print(f"step {point['step']:>9,}: dead {shares}; std of the values {point['value_std']:.3f}")


if __name__ == "__main__":
    main()
