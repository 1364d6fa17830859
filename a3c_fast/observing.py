"""`Policy`: a network that takes observations as environments give them, and acts step by step."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from a3c_fast.acting import actions_of, has_tensors
from a3c_fast.envs.spec import ActionSpec, ObservationSpec, Part, flattened
from a3c_fast.torch_state import NewThreadTorch

Floats = npt.NDArray[np.float32]

# What normalized numbers are cut at, and the least variance that is divided by: cpp/learn/normalizer.h.
NORMALIZED_LIMIT = 10.0
VARIANCE_EPS = 1e-8

# Whatever the program's defaults are.
FLOATS: dict[str, Any] = {"device": "cpu", "dtype": torch.float32}


class Policy(nn.Module):
    """pi(a|s) and V(s) of observations as environments give them: what `Trainer.policy()` returns.

    The policy's outputs are what the distribution of actions is made of: the logits of one softmax, or of several one
    after the other, or the means and the logarithms of the standard deviations of a Gaussian, over actions in units of
    half the range between their bounds.
    """

    observation_mean: torch.Tensor
    observation_variance: torch.Tensor

    def __init__(self, observation: ObservationSpec, action: ActionSpec, *, normalize_observations: bool) -> None:
        super().__init__()
        self.observation = observation
        self.action = action
        self.state_size = 0
        """Numbers that are remembered of an environment from step to step."""
        self.normalize_observations = normalize_observations and observation.num_features > 0
        if self.normalize_observations:
            with NewThreadTorch():
                self.register_buffer("observation_mean", torch.zeros(observation.num_features, **FLOATS))
                self.register_buffer("observation_variance", torch.ones(observation.num_features, **FLOATS))

    def initial_state(self, num_envs: int) -> torch.Tensor:
        """What `step` is given where an episode begins: zeros [num_envs, state_size]."""
        like = self._like()
        return torch.zeros(num_envs, self.state_size, dtype=like.dtype, device=like.device)

    def forward(self, observations: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Observations [N, ...] as the environment gives them -> the policy's outputs [N, A], values [N].

        Tensors and NumPy arrays are taken, or mappings of them by the names of the environment's parts. One observation
        without the first dimension -> outputs [A] and its value []. A recurrent network takes them for the first of
        their episodes. Raises `TypeError` for another type of numbers, `ValueError` for another shape or other parts.
        """
        outputs, values, _ = self.step(observations, None)
        return outputs, values

    def step(
        self, observations: Any, state: torch.Tensor | npt.NDArray[Any] | None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """One step of N environments: observations [N, ...] -> outputs [N, A], values [N] and the next state.

        `state` [N, state_size], an LSTM's h and c, is `initial_state`, or None, where an episode begins and else what
        the step before returned. A network that remembers nothing has an empty one. One observation without the first
        dimension -> outputs [A], its value [] and a state of one environment, [1, state_size]. Raises as `forward`.
        """
        array, numbers, single = self._batch(observations)
        count = len(array if array is not None else numbers)  # type: ignore[arg-type]
        state = self.initial_state(count) if state is None else self._state(state, count)
        outputs, values, state = self._step(array, numbers, state)
        return (outputs[0], values[0], state) if single else (outputs, values, state)

    def act(self, observations: Any, state: Any = None, greedy: bool = False, *, action_masks: Any = None) -> Any:
        """Actions for observations [N, ...], as the environment takes them, and the next state: (actions, state).

        One choice: int64 [N]; several: int64 [N, components]; continuous ones: float32 [N, components], within the
        bounds. One observation without the first dimension -> one action, without it, too. They are sampled with
        torch's random numbers, or with `greedy` the most probable ones. `state` as in `step`, of one environment
        [1, state_size]; a network that remembers nothing ignores it.
        `action_masks` [N, choices] is 1 where a choice is allowed, for environments that say so; of several choices
        the masks follow each other, and each allows something.
        The actions are a tensor where an observation is one, else of NumPy; so is the state. No gradients are kept.
        Raises as `forward`, and `ValueError` where what the network makes of the observations is not finite.
        """
        with torch.no_grad():
            outputs, _, state = self.step(observations, state if self.state_size else None)
            single = outputs.ndim == 1
            outputs = (outputs[None] if single else outputs).float()
            if not outputs.isfinite().all():
                raise ValueError("the policy's outputs are not finite: the observations, or its parameters, are not")
            masks = None if action_masks is None else self._masks(action_masks, outputs)
            actions = actions_of(self.action, outputs, masks, greedy=greedy)
            actions = actions[0] if single else actions
        if has_tensors(observations):
            return actions, state
        state = state.float() if state.dtype == torch.bfloat16 else state  # NumPy has no such type
        return actions.numpy(force=True), state.numpy(force=True)

    def _masks(self, action_masks: Any, outputs: torch.Tensor) -> torch.Tensor:
        """What is allowed, bool like the outputs. Raises `ValueError` for what cannot be."""
        if self.action.is_continuous:
            raise ValueError("action_masks are given, and the actions are continuous: nothing of them can be forbidden")
        values = tensor_of(action_masks, "action_masks", or_bool=True).to(outputs.device)
        values = values[None] if values.ndim == 1 else values
        if values.shape != outputs.shape:
            wanted = list(outputs.shape)
            raise ValueError(f"action_masks have the shape {list(values.shape)}, and it must be {wanted}")
        if not ((values == 0) | (values == 1)).all():
            raise ValueError("action_masks must be 0 or 1")
        masks = values != 0
        if not all(mask.any(1).all() for mask in torch.split(masks, list(self.action.choices), 1)):
            raise ValueError("action_masks allow nothing at all of a choice")
        return masks

    def step_rows(
        self, rows: npt.NDArray[np.uint8], state: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """`step` of observations as the core has them, [N, row_bytes] of `ObservationSpec`."""
        spec, device = self.observation, self._like().device
        array = torch.from_numpy(spec.array_of(rows)).to(device) if spec.array_shape else None
        numbers = torch.from_numpy(spec.numbers_of(rows)).to(device) if spec.num_features else None
        return self._step(array, numbers, state)

    def _like(self) -> torch.Tensor:
        """A parameter, beside which observations are brought."""
        raise NotImplementedError

    def _step(
        self, array: torch.Tensor | None, numbers: torch.Tensor | None, state: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """`step` of an image [N, C, H, W], uint8 or floating-point, and numbers [N, F]; None where there are none."""
        raise NotImplementedError

    def _batch(self, observations: Any) -> tuple[torch.Tensor | None, torch.Tensor | None, bool]:
        """The image and the numbers of observations, beside the parameters, and whether it was one without N."""
        parts, like = self.observation.parts, self._like()
        names = {part.name for part in parts}
        # Texts of a user's environments are no parts.
        leaves = {name: x for name, x in flattened(observations) if name in names or not isinstance(x, str)}
        if leaves.keys() != names:
            wanted = ", ".join(part.name or "one array" for part in parts)
            raise ValueError(f"observations have the parts {', '.join(leaves) or 'of none'}, and they must be {wanted}")
        tensors, singles = {}, set()
        for part in parts:
            tensors[part], single = _part(leaves[part.name], part, like)
            singles.add(single)
        if len(singles) > 1 or len({len(tensor) for tensor in tensors.values()}) > 1:
            raise ValueError("the parts of observations are of different numbers of them")
        arrays = [tensor for part, tensor in tensors.items() if part.is_array]
        numbers = [tensor for part, tensor in tensors.items() if not part.is_array]
        return arrays[0] if arrays else None, torch.cat(numbers, 1) if numbers else None, singles.pop()

    def _state(self, state: Any, num_envs: int) -> torch.Tensor:
        values = tensor_of(state, "state")
        shape = (num_envs, self.state_size)
        if tuple(values.shape) != shape:
            raise ValueError(f"state has the shape {list(values.shape)}, and it must be {list(shape)}")
        return values.to(self._like())

    def _normalized(self, numbers: torch.Tensor) -> torch.Tensor:
        if not self.normalize_observations:
            return numbers
        scaled = (numbers - self.observation_mean) * torch.rsqrt(self.observation_variance + VARIANCE_EPS)
        return scaled.clamp(-NORMALIZED_LIMIT, NORMALIZED_LIMIT)


def _part(value: Any, part: Part, like: torch.Tensor) -> tuple[torch.Tensor, bool]:
    """A part of observations as the network takes it, [N, ...], and whether it was one without the dimension N."""
    name = f"observations' {part.name}" if part.name else "observations"
    x = tensor_of(value, name, or_bool=part.dtype == "bool")
    if part.is_array:
        if part.dtype == "uint8" and x.dtype != torch.uint8:
            raise TypeError(f"{name} are {dtype_name(x.dtype)}, and this network was trained on uint8")
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
    if part.kind == "one_hot":
        if x.is_floating_point() and (x != x.round()).any():
            raise ValueError(f"{name} must be whole numbers")
        which = x.to(torch.int64) - part.first
        if ((which < 0) | (which >= part.values)).any():
            last = part.first + part.values - 1
            raise ValueError(f"{name} must be whole numbers from {part.first} to {last}")
    return encoded(x, part, like.dtype), single


def encoded(x: torch.Tensor, part: Part, dtype: torch.dtype) -> torch.Tensor:
    """A part of observations [N, ...] as the network takes it: the image, its channels first, or numbers [N, F].

    Nothing is looked at, so that torch.export can follow it for every N: a whole number that is none of its part's
    values becomes zeros.
    """
    if part.is_array:
        return x.permute(0, 3, 1, 2) if part.kind == "channels_last" else x
    count = x.shape[0]  # len() would fix N
    if part.kind == "one_hot":
        which = x.to(torch.int64).reshape(count, math.prod(part.shape), 1) - part.first
        x = which == torch.arange(part.values, device=x.device)
    x = x.reshape(count, part.num_features).to(dtype)
    return x if part.scale == 1 else x * part.scale


def observation_buffers(moments: Mapping[str, Any]) -> dict[str, Floats]:
    """What a `Policy` normalizes observations by, from the moments of a run or a checkpoint, by its names."""
    count, squares = float(moments["observation_count"][0]), moments["observation_squares"]
    variance = squares / count if count > 1 else np.ones_like(squares)
    return {
        "observation_mean": np.asarray(moments["observation_mean"], np.float32),
        "observation_variance": np.asarray(variance, np.float32),
    }


def dtype_name(dtype: torch.dtype) -> str:
    """float32 for torch.float32."""
    return str(dtype).removeprefix("torch.")


def tensor_of(values: Any, name: str, *, or_bool: bool = False) -> torch.Tensor:
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
        raise TypeError(f"{name} are {dtype_name(values.dtype)}, and must be real numbers")
    return values
