"""`UserPolicy`: a network of the user's own among the policies, and what it is given and must give."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from a3c_fast.envs.spec import ActionSpec, EnvSpec, ObservationSpec
from a3c_fast.lowering import RefusedError
from a3c_fast.observing import Policy

if TYPE_CHECKING:
    import gymnasium


def observation_space(spec: ObservationSpec) -> gymnasium.Space[Any]:
    """Of what a network's forward() is given of one observation: a Box, or a Dict of them by the parts' names.

    An image is as it comes, uint8 or float32, with its channels first. All else is float32: numbers in their shape, of
    whole numbers as many as there are values, one of them 1, in one dimension more.
    """
    from gymnasium import spaces

    boxes: dict[str, spaces.Space[Any]] = {}
    for part in spec.parts:
        if part.is_array:
            high = 255 if spec.array_type == "uint8" else math.inf
            low = 0 if spec.array_type == "uint8" else -math.inf
            boxes[part.name] = spaces.Box(low, high, spec.array_shape, np.dtype(spec.array_type))
        else:
            boxes[part.name] = spaces.Box(-math.inf, math.inf, _shape_of(part), np.float32)
    return boxes[""] if list(boxes) == [""] else spaces.Dict(boxes)


def action_space(spec: ActionSpec) -> gymnasium.Space[Any]:
    """As the environment has it: Discrete, MultiDiscrete or Box."""
    from gymnasium import spaces

    if spec.is_continuous:
        return spaces.Box(np.array(spec.low, np.float32), np.array(spec.high, np.float32), dtype=np.float32)
    if len(spec.choices) == 1:
        return spaces.Discrete(spec.choices[0], start=spec.first_choices[0])
    return spaces.MultiDiscrete(list(spec.choices), start=list(spec.first_choices))


def _shape_of(part: Any) -> tuple[int, ...]:
    if part.kind == "one_hot":
        return (*part.shape, part.values)
    return part.shape or (1,)


class UserPolicy(Policy):
    """A module of somebody else's, which takes (observations) or (observations, state): see docs/networks.md.

    `network` is the module itself, with the parameters that have been learned. Its mode, train() or eval(), is the one
    in which it was given: what its forward() does in the other one was not learned.
    """

    def __init__(
        self, network: nn.Module, observation: ObservationSpec, action: ActionSpec, *, normalize_observations: bool
    ) -> None:
        super().__init__(observation, action, normalize_observations=normalize_observations)
        self.network = network
        self.state_size = int(getattr(network, "state_size", 0))

    def train(self, mode: bool = True) -> UserPolicy:
        """The network stays in its own mode."""
        self.training = mode
        return self

    def _like(self) -> torch.Tensor:
        return next(self.network.parameters())

    def _step(
        self, array: torch.Tensor | None, numbers: torch.Tensor | None, state: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        normalized = None if numbers is None else self._normalized(numbers)
        outputs, values, *after = called(self.network, EnvSpec(self.observation, self.action), array, normalized, state)
        return outputs, values, after[0] if after else state


class Rows(nn.Module):
    """A network as the core calls it, with tensors alone: an image, numbers and a state, as far as there are any."""

    def __init__(self, network: nn.Module, spec: EnvSpec) -> None:
        super().__init__()
        self.network = network
        self.spec = spec

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        given = list(inputs)
        array = given.pop(0) if self.spec.observation.array_shape else None
        numbers = given.pop(0) if self.spec.observation.num_features else None
        return called(self.network, self.spec, array, numbers, given.pop(0) if given else None)


def called(
    network: nn.Module,
    spec: EnvSpec,
    array: torch.Tensor | None,
    numbers: torch.Tensor | None,
    state: torch.Tensor | None,
) -> tuple[torch.Tensor, ...]:
    """What `network` makes of N observations: outputs [N, num_outputs], values [N], and the next state if it has one.

    Raises `RefusedError` for what it may not return.
    """
    count = (array if array is not None else numbers).shape[0]  # type: ignore[union-attr]  # len() would fix it
    observations = _observations(spec.observation, array, numbers)
    size = int(getattr(network, "state_size", 0))
    found = network(observations, state) if size else network(observations)
    names = ("outputs", "values", "state")[: 3 if size else 2]
    if not isinstance(found, tuple) or len(found) != len(names):
        raise RefusedError(f"its forward() must return ({', '.join(names)}), and returns {_described(found)}")
    outputs = _joined(found[0], count, spec.action)
    values = found[1]
    if isinstance(values, torch.Tensor) and values.shape == (count, 1):
        values = values.squeeze(1)
    result = (outputs, values, *found[2:])
    shapes = ((count, spec.action.num_outputs), (count,), (count, size))
    for name, value, shape in zip(names, result, shapes, strict=False):
        if not isinstance(value, torch.Tensor):
            raise RefusedError(f"its {name} are {_described(value)}, and must be a tensor")
        if value.shape != shape or value.dtype != torch.float32:
            raise RefusedError(
                f"its {name} of {count} observations are {_described(value)}, and must be "
                f"float32 {list(shape)}{_meaning(name, spec.action)}"
            )
    return result


def _observations(spec: ObservationSpec, array: torch.Tensor | None, numbers: torch.Tensor | None) -> Any:
    """As `observation_space` says, with a first dimension of N."""
    parts: dict[str, torch.Tensor] = {}
    for part in spec.parts:
        if part.is_array:
            assert array is not None
            parts[part.name] = array
        else:
            assert numbers is not None
            chosen = numbers[:, part.position : part.position + part.num_features]
            parts[part.name] = chosen.reshape(chosen.shape[0], *_shape_of(part))
    return parts[""] if list(parts) == [""] else parts


def _joined(outputs: Any, count: int, action: ActionSpec) -> Any:
    """One tensor of one, or of a tuple: of the logits of each choice, or of a Gaussian's means and log sigmas."""
    if not isinstance(outputs, (tuple, list)):
        return outputs
    if not all(isinstance(output, torch.Tensor) for output in outputs):
        raise RefusedError(f"its outputs are {_described(outputs)}, and must be tensors")
    # Deviations that no observation changes: one row for all.
    rows = [output.expand(count, -1) if action.is_continuous and output.dim() == 1 else output for output in outputs]
    if any(row.dim() != 2 or row.shape[0] != count for row in rows):
        raise RefusedError(f"its outputs of {count} observations are {_described(outputs)}, and each must be [N, ...]")
    return torch.cat(rows, 1)


def _meaning(name: str, action: ActionSpec) -> str:
    if name != "outputs":
        return ""
    if action.is_continuous:
        return f": the means of {action.size} actions and the logarithms of their deviations, as one tensor or a tuple"
    if len(action.choices) > 1:
        return f": the logits of {len(action.choices)} choices, as one tensor or a tuple"
    return ": logits"


def _described(value: Any) -> str:
    if isinstance(value, torch.Tensor):
        return f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"
    if isinstance(value, (tuple, list)):
        return f"a {type(value).__name__} of {', '.join(_described(element) for element in value) or 'nothing'}"
    return f"a {type(value).__name__}"
