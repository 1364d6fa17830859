"""A network of one's own: any torch.nn.Module that torch.export can make a graph of trains in the C++ workers."""

import torch
from torch import nn

from a3c_fast import Config, Trainer


class Residual(nn.Module):
    """It is given the spaces, and returns logits [N, actions] and values [N] for observations [N, ...]."""

    def __init__(self, observation_space, action_space):
        super().__init__()
        self.first = nn.Linear(observation_space.shape[0], 64)
        self.blocks = nn.ModuleList(nn.Sequential(nn.LayerNorm(64), nn.Linear(64, 64), nn.GELU()) for _ in range(2))
        self.policy = nn.Linear(64, action_space.n)
        self.value = nn.Linear(64, 1)

    def forward(self, observations):
        x = torch.tanh(self.first(observations))
        for block in self.blocks:
            x = x + block(x)
        return self.policy(x), self.value(x).squeeze(-1)


with Trainer(Config("CartPole-v1", total_steps=100_000, run_dir="runs/residual"), network=Residual) as trainer:
    line = trainer.run()
    print(f"mean return of the last 100 episodes: {line['mean_return_100']}")
    module = trainer.policy().network  # a Residual with what it has learned
    print(f"{sum(parameter.numel() for parameter in module.parameters()):,} parameters")
