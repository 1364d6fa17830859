"""The network as a torch.nn.Module, and its way into and out of the flat vector that the workers share.

The same definition as cpp/model/actor_critic.h, layer by layer and name by name; tests/test_model.py compares them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

if TYPE_CHECKING:
    from a3c_fast.config import Config

Floats = npt.NDArray[np.float32]
# name, shape, whether it lies in memory as [out, height, width, in], offset in the flat vector
ParameterSpec = tuple[str, tuple[int, ...], bool, int]

_CONVOLUTIONS = {"paper": ((16, 8, 4), (32, 4, 2)), "nature": ((32, 8, 4), (64, 4, 2), (64, 3, 1)), "mlp": ()}
_HIDDEN = {"paper": (256,), "nature": (512,)}


class ActorCritic(nn.Module):
    """A torso, an LSTM where `lstm_size` is not 0, a policy head and a value head: pi(a|s) = softmax(logits) and V(s).

    Bytes come in as (x / 255 - `observation_offset`) * `observation_scale`. Feature maps are flattened in (height,
    width, channel) order, as they lie in channels-last memory.
    """

    def __init__(
        self,
        model: str,
        observation_shape: Sequence[int],
        num_actions: int,
        hidden_sizes: Sequence[int] = (64, 64),
        lstm_size: int = 0,
        observation_offset: float = 0.0,
        observation_scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.observation_offset = observation_offset
        self.observation_scale = observation_scale
        self.convolutions: list[nn.Conv2d] = []
        self.layers: list[nn.Linear] = []
        self.activation = torch.tanh if model == "mlp" else torch.relu
        size = math.prod(observation_shape)
        if _CONVOLUTIONS[model]:
            channels, height, width = observation_shape
            for i, (out, kernel, stride) in enumerate(_CONVOLUTIONS[model], start=1):
                convolution = nn.Conv2d(channels, out, kernel, stride)
                self.add_module(f"conv{i}", convolution)
                self.convolutions.append(convolution)
                channels, height, width = out, (height - kernel) // stride + 1, (width - kernel) // stride + 1
            size = channels * height * width
        for i, units in enumerate(_HIDDEN.get(model, tuple(hidden_sizes)), start=1):
            layer = nn.Linear(size, units)
            self.add_module(f"fc{i}", layer)
            self.layers.append(layer)
            size = units
        self.lstm_size = lstm_size
        if lstm_size:
            self.lstm = nn.LSTMCell(size, lstm_size)
            size = lstm_size
        self.policy_head = nn.Linear(size, num_actions)
        self.value_head = nn.Linear(size, 1)

    def initial_state(self, num_envs: int) -> torch.Tensor:
        """What `step` is given where an episode begins: zeros [num_envs, 2 * lstm_size], empty without an LSTM."""
        return torch.zeros(num_envs, 2 * self.lstm_size)

    def forward(self, observations: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Observations [N, ...], uint8 or float32 as the environment gives them -> logits [N, A], values [N].

        With an LSTM these are taken for the first of their episodes.
        """
        logits, values, _ = self.step(observations, self.initial_state(len(observations)))
        return logits, values

    def step(self, observations: torch.Tensor, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """One step of N environments: observations [N, ...] -> logits [N, A], values [N] and the next state.

        `state` [N, 2 * lstm_size], the LSTM's h and c, is `initial_state` where an episode begins and else what the
        step before returned. A network without an LSTM has an empty one.
        """
        x = self.features(observations)
        if self.lstm_size:
            h, c = self.lstm(x, tuple(state.chunk(2, 1)))
            x, state = h, torch.cat((h, c), 1)
        return self.policy_head(x), self.value_head(x).squeeze(-1), state

    def features(self, observations: torch.Tensor) -> torch.Tensor:
        """Observations [N, ...] -> what the LSTM or the heads are given, [N, F]."""
        x = observations.float()
        if observations.dtype == torch.uint8:
            x = (x / 255 - self.observation_offset) * self.observation_scale
        for convolution in self.convolutions:
            x = torch.relu(convolution(x))
        if self.convolutions:
            x = x.permute(0, 2, 3, 1)
        x = x.flatten(1)
        for layer in self.layers:
            x = self.activation(layer(x))
        return x


def make_policy(config: Config, observation_shape: Sequence[int], num_actions: int) -> ActorCritic:
    """The network that these settings name; its observations have been measured."""
    return ActorCritic(
        config.model,
        observation_shape,
        num_actions,
        config.hidden_sizes,
        config.lstm_size,
        float(config.observation_offset),
        float(config.observation_scale),
    )


def to_named(flat: Floats, specs: Sequence[ParameterSpec]) -> dict[str, Floats]:
    """The parameters of a flat vector by name, each a copy in its logical shape."""
    named = {}
    for name, shape, channels_last, offset in specs:
        values = flat[offset : offset + math.prod(shape)]
        if channels_last:
            out, channels, height, width = shape
            values = values.reshape(out, height, width, channels).transpose(0, 3, 1, 2)
        named[name] = np.array(values.reshape(shape), dtype=np.float32, order="C")
    return named


def to_flat(named: Mapping[str, Floats], specs: Sequence[ParameterSpec], size: int) -> Floats:
    """The inverse of `to_named`. Raises `ValueError` when names or shapes are another network's."""
    if set(named) != {spec[0] for spec in specs}:
        raise ValueError(f"it has {', '.join(sorted(named))}, not {', '.join(sorted(spec[0] for spec in specs))}")
    flat = np.zeros(size, np.float32)
    for name, shape, channels_last, offset in specs:
        values = np.asarray(named[name], np.float32)
        if values.shape != shape:
            raise ValueError(f"its {name} has the shape {list(values.shape)}, not {list(shape)}")
        if channels_last:
            values = values.transpose(0, 2, 3, 1)
        flat[offset : offset + values.size] = values.reshape(-1)
    return flat
