"""The network as a torch.nn.Module, and its way into and out of the flat vector that the workers share.

The same definition as cpp/model/actor_critic.h, layer by layer and name by name; tests/test_model.py compares them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from a3c_fast.envs.spec import ActionSpec, EnvSpec, ObservationSpec
from a3c_fast.observing import FLOATS, Floats, Policy, tensor_of
from a3c_fast.torch_state import NewThreadTorch

if TYPE_CHECKING:
    from a3c_fast.config import Config
    from a3c_fast.stored_settings import NetworkSettings

# name, shape, whether it lies in memory as [out, height, width, in], offset in the flat vector
ParameterSpec = tuple[str, tuple[int, ...], bool, int]

_CONVOLUTIONS = {
    "paper": ((16, 8, 4), (32, 4, 2)),
    "nature": ((32, 8, 4), (64, 4, 2), (64, 3, 1)),
    "small": ((16, 3, 1), (32, 3, 1)),
    "mlp": (),
}
_HIDDEN = {"paper": (256,), "nature": (512,), "small": (128,)}
_ACTIVATIONS = {"tanh": torch.tanh, "relu": torch.relu, "elu": nn.functional.elu}


class _Zeros(nn.Module):
    """Begins at 0: torch's own way to fill a module draws from the program's random numbers."""

    def reset_parameters(self) -> None:
        for parameter in self.parameters():
            nn.init.zeros_(parameter)


class Conv2d(_Zeros, nn.Conv2d):
    """Of zeros."""


class Linear(_Zeros, nn.Linear):
    """Of zeros."""


class LSTMCell(_Zeros, nn.LSTMCell):
    """Of zeros."""


class ActorCritic(Policy):
    """A torso, an LSTM where `lstm_size` is not 0, a policy head and a value head: the policy's outputs and V(s).

    An image comes in as (x / 255 - `observation_offset`) * `observation_scale`. Feature maps are flattened in (height,
    width, channel) order, as they lie in channels-last memory; numbers beside the image follow them.

    It is made on the CPU in float32, whatever torch's defaults are, and its parameters are 0 until they are loaded: no
    random number is drawn.
    """

    def __init__(
        self,
        model: str,
        observation: ObservationSpec,
        action: ActionSpec,
        hidden_sizes: Sequence[int] = (64, 64),
        *,
        activation: str = "tanh",
        separate_value: bool = False,
        lstm_size: int = 0,
        observation_offset: float = 0.0,
        observation_scale: float = 1.0,
        normalize_observations: bool = False,
    ) -> None:
        super().__init__(observation, action, normalize_observations=normalize_observations)
        self.observation_offset = observation_offset
        self.observation_scale = observation_scale
        self.lstm_size, self.state_size = lstm_size, 2 * lstm_size
        self.model, self.hidden_sizes = model, tuple(hidden_sizes)
        self.activation_name, self.separate_value = activation, separate_value
        self.convolutions: list[Conv2d] = []
        self.layers: list[Linear] = []
        self.value_layers: list[Linear] = []
        self.activation = _ACTIVATIONS[activation if model == "mlp" else "relu"]
        widths = _HIDDEN.get(model, tuple(hidden_sizes))
        with NewThreadTorch():
            size = self._make_convolutions(model)
            self.layers = self._make_layers("fc", widths, size)
            if separate_value:
                self.value_layers = self._make_layers("value_fc", widths, size)
            size = widths[-1]
            if lstm_size:
                self.lstm = LSTMCell(size, lstm_size, **FLOATS)
                size = lstm_size
            num_log_std = action.size if action.is_continuous else 0
            self.policy_head = Linear(size, action.num_outputs - num_log_std, **FLOATS)
            self.value_head = Linear(size, 1, **FLOATS)
            if num_log_std:
                self.log_std = nn.Parameter(torch.zeros(num_log_std, **FLOATS))

    def _make_convolutions(self, model: str) -> int:
        """Returns the number of what comes out of them, with the numbers beside the image."""
        if not _CONVOLUTIONS[model]:
            return self.observation.size
        channels, height, width = self.observation.array_shape
        for i, (out, kernel, stride) in enumerate(_CONVOLUTIONS[model], start=1):
            convolution = Conv2d(channels, out, kernel, stride, **FLOATS)
            self.add_module(f"conv{i}", convolution)
            self.convolutions.append(convolution)
            channels, height, width = out, (height - kernel) // stride + 1, (width - kernel) // stride + 1
        return channels * height * width + self.observation.num_features

    def _make_layers(self, prefix: str, widths: Sequence[int], size: int) -> list[Linear]:
        layers = []
        for i, units in enumerate(widths, start=1):
            layers.append(Linear(size, units, **FLOATS))
            self.add_module(f"{prefix}{i}", layers[-1])
            size = units
        return layers

    def _like(self) -> torch.Tensor:
        return self.value_head.weight

    def _step(
        self, array: torch.Tensor | None, numbers: torch.Tensor | None, state: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        x, for_value = self.features(array, numbers)
        if self.lstm_size:
            h, c = self.lstm(x, tuple(state.chunk(2, 1)))
            x = for_value = h
            state = torch.cat((h, c), 1)
        outputs, values = self.policy_head(x), self.value_head(for_value).squeeze(-1)
        if self.action.is_continuous:
            outputs = torch.cat((outputs, self.log_std.expand(outputs.shape[0], -1)), 1)
        return outputs, values, state

    def features(self, array: torch.Tensor | None, numbers: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        """An image [N, C, H, W], uint8 or floating-point, and numbers [N, F]; None where there are none of them.

        -> what the LSTM or the heads are given, [N, F'], for the policy and for the value.
        """
        dtype = self.value_head.weight.dtype
        inputs = []
        if array is not None:
            x = array.to(dtype)
            if array.dtype == torch.uint8:
                x = (x / 255 - self.observation_offset) * self.observation_scale
            for convolution in self.convolutions:
                x = torch.relu(convolution(x))
            if self.convolutions:
                x = x.permute(0, 2, 3, 1)
            inputs.append(x.flatten(1))
        if numbers is not None:
            inputs.append(self._normalized(numbers.to(dtype)))
        x = torch.cat(inputs, 1)
        policy = self._through(self.layers, x)
        return policy, self._through(self.value_layers, x) if self.value_layers else policy

    def _through(self, layers: list[Linear], x: torch.Tensor) -> torch.Tensor:
        for layer in layers:
            x = self.activation(layer(x))
        return x


def make_policy(config: Config | NetworkSettings, spec: EnvSpec) -> ActorCritic:
    """The network that these settings name, for environments of this kind; its observations have been measured."""
    return ActorCritic(
        config.model,
        spec.observation,
        spec.action,
        config.hidden_sizes,
        activation=config.activation,
        separate_value=config.separate_value,
        lstm_size=config.lstm_size,
        observation_offset=float(config.observation_offset),
        observation_scale=float(config.observation_scale),
        normalize_observations=config.normalize_observations,
    )


def float_arrays(state: Mapping[str, Any]) -> dict[str, Floats]:
    """Tensors or arrays by name -> float32 arrays by name; what float32 does not hold becomes infinite.

    Raises `TypeError` with the name for what are no real numbers.
    """
    if not isinstance(state, Mapping):
        raise TypeError(f"parameters come by name, and a {type(state).__name__} has no names")
    arrays = {}
    with NewThreadTorch():
        for name, value in state.items():
            if not isinstance(name, str):
                raise TypeError(f"{name!r} is no name of a parameter")
            tensor = tensor_of(value, name).detach()
            if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:
                raise TypeError(f"{name} is no tensor of numbers in memory")
            arrays[name] = tensor.to("cpu", torch.float32).contiguous().numpy()
    return arrays


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
