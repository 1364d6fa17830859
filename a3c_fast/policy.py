"""The network as a torch.nn.Module, and its way into and out of the flat vector that the workers share.

The same definition as cpp/model/actor_critic.h, layer by layer and name by name; tests/test_model.py compares them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from a3c_fast._core import NewThreadTorch
from a3c_fast.envs.spec import ActionSpec, EnvSpec, ObservationSpec, Part, flattened

if TYPE_CHECKING:
    from a3c_fast.config import Config

Floats = npt.NDArray[np.float32]
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
# What normalized numbers are cut at, and the least variance that is divided by: cpp/learn/normalizer.h.
NORMALIZED_LIMIT = 10.0
VARIANCE_EPS = 1e-8


# Whatever the program's defaults are.
_FLOATS: dict[str, Any] = {"device": "cpu", "dtype": torch.float32}


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


class ActorCritic(nn.Module):
    """A torso, an LSTM where `lstm_size` is not 0, a policy head and a value head: the policy's outputs and V(s).

    The outputs are what the distribution of actions is made of: the logits of one softmax, or of several one after the
    other, or the means and the logarithms of the standard deviations of a Gaussian, over actions in units of half the
    range between their bounds. `act` chooses actions from them as the environment takes them.

    An image comes in as (x / 255 - `observation_offset`) * `observation_scale`. Feature maps are flattened in (height,
    width, channel) order, as they lie in channels-last memory; numbers beside the image follow them.

    It is made on the CPU in float32, whatever torch's defaults are, and its parameters are 0 until they are loaded: no
    random number is drawn.
    """

    observation_mean: torch.Tensor
    observation_variance: torch.Tensor

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
        super().__init__()
        self.observation = observation
        self.action = action
        self.observation_offset = observation_offset
        self.observation_scale = observation_scale
        self.normalize_observations = normalize_observations and observation.num_features > 0
        self.lstm_size = lstm_size
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
                self.lstm = LSTMCell(size, lstm_size, **_FLOATS)
                size = lstm_size
            num_log_std = action.size if action.is_continuous else 0
            self.policy_head = Linear(size, action.num_outputs - num_log_std, **_FLOATS)
            self.value_head = Linear(size, 1, **_FLOATS)
            if num_log_std:
                self.log_std = nn.Parameter(torch.zeros(num_log_std, **_FLOATS))
            if self.normalize_observations:
                self.register_buffer("observation_mean", torch.zeros(observation.num_features, **_FLOATS))
                self.register_buffer("observation_variance", torch.ones(observation.num_features, **_FLOATS))

    def _make_convolutions(self, model: str) -> int:
        """Returns the number of what comes out of them, with the numbers beside the image."""
        if not _CONVOLUTIONS[model]:
            return self.observation.size
        channels, height, width = self.observation.array_shape
        for i, (out, kernel, stride) in enumerate(_CONVOLUTIONS[model], start=1):
            convolution = Conv2d(channels, out, kernel, stride, **_FLOATS)
            self.add_module(f"conv{i}", convolution)
            self.convolutions.append(convolution)
            channels, height, width = out, (height - kernel) // stride + 1, (width - kernel) // stride + 1
        return channels * height * width + self.observation.num_features

    def _make_layers(self, prefix: str, widths: Sequence[int], size: int) -> list[Linear]:
        layers = []
        for i, units in enumerate(widths, start=1):
            layers.append(Linear(size, units, **_FLOATS))
            self.add_module(f"{prefix}{i}", layers[-1])
            size = units
        return layers

    def initial_state(self, num_envs: int) -> torch.Tensor:
        """What `step` is given where an episode begins: zeros [num_envs, 2 * lstm_size], empty without an LSTM."""
        like = self.value_head.weight
        return torch.zeros(num_envs, 2 * self.lstm_size, dtype=like.dtype, device=like.device)

    def forward(self, observations: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Observations [N, ...] as the environment gives them -> the policy's outputs [N, A], values [N].

        Tensors and NumPy arrays are taken, or mappings of them by the names of the environment's parts. One observation
        without the first dimension -> outputs [A] and its value []. With an LSTM these are taken for the first of their
        episodes. Raises `TypeError` for another type of numbers, `ValueError` for another shape or other parts.
        """
        outputs, values, _ = self.step(observations, None)
        return outputs, values

    def step(
        self, observations: Any, state: torch.Tensor | npt.NDArray[Any] | None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """One step of N environments: observations [N, ...] -> outputs [N, A], values [N] and the next state.

        `state` [N, 2 * lstm_size], the LSTM's h and c, is `initial_state`, or None, where an episode begins and else
        what the step before returned. A network without an LSTM has an empty one. One observation without the first
        dimension -> outputs [A], its value [] and a state of one environment, [1, 2 * lstm_size]. Raises as `forward`.
        """
        array, numbers, single = self._batch(observations)
        count = len(array if array is not None else numbers)  # type: ignore[arg-type]
        state = self.initial_state(count) if state is None else self._state(state, count)
        outputs, values, state = self._step(array, numbers, state)
        return (outputs[0], values[0], state) if single else (outputs, values, state)

    def step_rows(
        self, rows: npt.NDArray[np.uint8], state: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """`step` of observations as the core has them, [N, row_bytes] of `ObservationSpec`."""
        spec, device = self.observation, self.value_head.weight.device
        array = torch.from_numpy(spec.array_of(rows)).to(device) if spec.array_shape else None
        numbers = torch.from_numpy(spec.numbers_of(rows)).to(device) if spec.num_features else None
        return self._step(array, numbers, state)

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
            outputs = torch.cat((outputs, self.log_std.expand(len(outputs), -1)), 1)
        return outputs, values, state

    def _batch(self, observations: Any) -> tuple[torch.Tensor | None, torch.Tensor | None, bool]:
        """The image and the numbers of observations, beside the parameters, and whether it was one without N."""
        parts = self.observation.parts
        names = {part.name for part in parts}
        # Texts of a user's environments are no parts.
        leaves = {name: x for name, x in flattened(observations) if name in names or not isinstance(x, str)}
        if leaves.keys() != names:
            wanted = ", ".join(part.name or "one array" for part in parts)
            raise ValueError(f"observations have the parts {', '.join(leaves) or 'of none'}, and they must be {wanted}")
        tensors, singles = {}, set()
        for part in parts:
            tensors[part], single = _part(leaves[part.name], part, self.value_head.weight)
            singles.add(single)
        if len(singles) > 1 or len({len(tensor) for tensor in tensors.values()}) > 1:
            raise ValueError("the parts of observations are of different numbers of them")
        arrays = [tensor for part, tensor in tensors.items() if part.is_array]
        numbers = [tensor for part, tensor in tensors.items() if not part.is_array]
        return arrays[0] if arrays else None, torch.cat(numbers, 1) if numbers else None, singles.pop()

    def _state(self, state: Any, num_envs: int) -> torch.Tensor:
        values = _tensor(state, "state")
        shape = (num_envs, 2 * self.lstm_size)
        if tuple(values.shape) != shape:
            raise ValueError(f"state has the shape {list(values.shape)}, and it must be {list(shape)}")
        return values.to(self.value_head.weight)

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

    def _normalized(self, numbers: torch.Tensor) -> torch.Tensor:
        if not self.normalize_observations:
            return numbers
        scaled = (numbers - self.observation_mean) * torch.rsqrt(self.observation_variance + VARIANCE_EPS)
        return scaled.clamp(-NORMALIZED_LIMIT, NORMALIZED_LIMIT)

    def _through(self, layers: list[Linear], x: torch.Tensor) -> torch.Tensor:
        for layer in layers:
            x = self.activation(layer(x))
        return x


def _part(value: Any, part: Part, like: torch.Tensor) -> tuple[torch.Tensor, bool]:
    """A part of observations as the network takes it, [N, ...], and whether it was one without the dimension N."""
    name = f"observations' {part.name}" if part.name else "observations"
    x = _tensor(value, name, or_bool=part.dtype == "bool")
    if part.is_array:
        if part.dtype == "uint8" and x.dtype != torch.uint8:
            raise TypeError(f"{name} are {_name(x.dtype)}, and this network was trained on uint8")
        if part.dtype != "uint8" and not x.is_floating_point():
            x = x.float()
    elif not x.is_floating_point():
        x = x.to(torch.int64) if part.kind == "one_hot" else x.to(like.dtype)
    shape = part.shape
    if tuple(x.shape) != shape and tuple(x.shape[1:]) != shape:
        raise ValueError(
            f"{name} have the shape {list(x.shape)}, and it must be {list(shape)}, or "
            f"[{', '.join(map(str, ('N', *shape)))}] for N of them"
        )
    single = tuple(x.shape) == shape
    x = (x[None] if single else x).to(like.device)
    if part.kind == "channels_last":
        return x.permute(0, 3, 1, 2), single
    if part.kind == "array":
        return x, single
    if part.kind == "one_hot":
        if x.is_floating_point() and (x != x.round()).any():
            raise ValueError(f"{name} must be whole numbers")
        which = x.to(torch.int64).reshape(len(x), math.prod(shape)) - part.first
        if ((which < 0) | (which >= part.values)).any():
            last = part.first + part.values - 1
            raise ValueError(f"{name} must be whole numbers from {part.first} to {last}")
        x = nn.functional.one_hot(which, part.values).flatten(1)
    x = x.reshape(len(x), part.num_features).to(like.dtype)
    return (x if part.scale == 1 else x * part.scale), single


def make_policy(config: Config, spec: EnvSpec) -> ActorCritic:
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


def observation_buffers(moments: Mapping[str, Any]) -> dict[str, Floats]:
    """What an `ActorCritic` normalizes observations by, from the moments of a run or a checkpoint, by its names."""
    count, squares = float(moments["observation_count"][0]), moments["observation_squares"]
    variance = squares / count if count > 1 else np.ones_like(squares)
    return {
        "observation_mean": np.asarray(moments["observation_mean"], np.float32),
        "observation_variance": np.asarray(variance, np.float32),
    }


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _tensor(values: Any, name: str, *, or_bool: bool = False) -> torch.Tensor:
    """A tensor of real numbers, as it is or as NumPy makes one of anything else. Raises `TypeError` with the name."""
    if not isinstance(values, torch.Tensor):
        array = np.asarray(values)
        if array.dtype.kind not in ("fiub" if or_bool else "fiu"):
            raise TypeError(f"{name} are {array.dtype}, and must be real numbers")
        if array.dtype.kind == "f" and array.dtype.itemsize > 8:  # torch has no longer ones
            array = array.astype(np.float64)
        # In this machine's order of bytes, and a copy: torch warns of arrays that cannot be written.
        return torch.from_numpy(np.array(array, array.dtype.newbyteorder("="), order="C"))
    if values.is_complex() or (values.dtype == torch.bool and not or_bool):
        raise TypeError(f"{name} are {_name(values.dtype)}, and must be real numbers")
    return values


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
            tensor = _tensor(value, name).detach()
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
