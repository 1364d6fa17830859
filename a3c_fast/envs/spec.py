"""What environments show and what they take, and how it becomes what networks take: cpp/env/spec.h in Python."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from a3c_fast import _core

Kind = Literal["array", "channels_last", "numbers", "one_hot"]


@dataclass(frozen=True)
class Part:
    """An array of an observation as the environment gives it, and what becomes of it."""

    name: str
    """Its keys, joined by dots; empty where it is all that there is."""
    dtype: str
    """As NumPy names it."""
    shape: tuple[int, ...]
    """Without the dimension of the environments."""
    kind: Kind
    """`array`: the image of the observation; `channels_last`: so it is, from [height, width, channels]; `numbers`: each
    element is one; `one_hot`: each is as many as it has values, one of them 1."""
    position: int = 0
    """Of its first number among those of the observation."""
    scale: float = 1.0
    """What its numbers are multiplied by."""
    first: int = 0
    """The smallest value, of `one_hot` ..."""
    values: int = 1
    """... and how many there are."""

    @property
    def is_array(self) -> bool:
        """Whether it is the image."""
        return self.kind in ("array", "channels_last")

    @property
    def num_features(self) -> int:
        """How many numbers it becomes."""
        return 0 if self.is_array else math.prod(self.shape) * self.values

    @property
    def key(self) -> str:
        """EnvPool's name of the array."""
        return f"obs:{self.name}" if self.name else "obs"

    def __str__(self) -> str:
        """As NumPy writes it: position float64[8]."""
        extents = "x".join(map(str, self.shape))
        described = (
            f"Discrete({self.values})" if self.kind == "one_hot" and not self.shape else f"{self.dtype}[{extents}]"
        )
        return f"{self.name} {described}" if self.name else described


@dataclass(frozen=True)
class ObservationSpec:
    """The parts of an observation. To a network it is an image, or none, and a list of numbers, perhaps empty."""

    parts: tuple[Part, ...]

    @cached_property
    def array_shape(self) -> tuple[int, ...]:
        """[channels, height, width] of the image; empty where there is none."""
        for part in self.parts:
            if part.kind == "channels_last":
                return (part.shape[-1], *part.shape[:-1])
            if part.kind == "array":
                return part.shape
        return ()

    @cached_property
    def array_type(self) -> str:
        """uint8 or float32."""
        return next((part.dtype for part in self.parts if part.is_array), "uint8")

    @cached_property
    def num_features(self) -> int:
        """Numbers beside the image."""
        return sum(part.num_features for part in self.parts)

    @property
    def size(self) -> int:
        """Elements of the image and numbers together."""
        return (math.prod(self.array_shape) if self.array_shape else 0) + self.num_features

    @cached_property
    def features_offset(self) -> int:
        """Where the numbers begin in a row: at a multiple of four bytes."""
        size = math.prod(self.array_shape) if self.array_shape else 0
        offset = size * np.dtype(self.array_type).itemsize
        return (offset + 3) // 4 * 4 if self.num_features else offset

    @property
    def row_bytes(self) -> int:
        """Of an observation as the core has it: the image, and then the numbers."""
        return self.features_offset + 4 * self.num_features

    def array_of(self, rows: npt.NDArray[np.uint8]) -> npt.NDArray[Any]:
        """The images in rows [N, row_bytes], as a view."""
        size = math.prod(self.array_shape) if self.array_shape else 0
        size *= np.dtype(self.array_type).itemsize
        return rows[:, :size].view(self.array_type).reshape(len(rows), *self.array_shape)

    def numbers_of(self, rows: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """The numbers in rows [N, row_bytes], as a view."""
        return rows[:, self.features_offset :].view(np.float32)

    def core(self) -> _core.ObservationSpec:
        """As the core has it."""
        from a3c_fast import _core

        return _core.ObservationSpec(
            array_shape=list(self.array_shape), array_type=self.array_type, num_features=self.num_features
        )

    def __str__(self) -> str:
        return ", ".join(map(str, self.parts))


@dataclass(frozen=True)
class ActionSpec:
    """An action: choices, or numbers between bounds."""

    choices: tuple[int, ...] = ()
    """Of each discrete component, how many there are; empty: continuous."""
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()
    """Bounds of each continuous component; infinite where it has none."""
    first: int = 0
    """What the environment calls the discrete choice 0."""
    masked: bool = False
    """The environment says at each step which choices are allowed."""
    starts: tuple[int, ...] = ()
    """What a user's environment calls the choice 0 of each component, where that is not 0 for all; its process adds
    it."""

    @property
    def is_continuous(self) -> bool:
        """Whether its components are real numbers."""
        return not self.choices

    @property
    def size(self) -> int:
        """Its components."""
        return len(self.choices or self.low)

    @property
    def num_outputs(self) -> int:
        """Of a policy for it: logits, or the means and the logarithms of the deviations."""
        return sum(self.choices) or 2 * self.size

    @property
    def first_choices(self) -> tuple[int, ...]:
        """What the environment calls the choice 0 of each discrete component."""
        return self.starts or (self.first,) * len(self.choices)

    @property
    def is_bounded(self) -> bool:
        """Whether each component has both bounds, where it is continuous."""
        return all(map(math.isfinite, (*self.low, *self.high)))

    def core(self) -> _core.ActionSpec:
        """As the core has it."""
        from a3c_fast import _core

        return _core.ActionSpec(
            choices=list(self.choices), low=list(self.low), high=list(self.high), masked=self.masked
        )

    def __str__(self) -> str:
        if len(self.choices) == 1:
            return f"Discrete({self.choices[0]})"
        if self.choices:
            return f"MultiDiscrete({list(self.choices)})"
        if not self.is_bounded:
            return f"Box({self.size}), without bounds"
        return f"Box({self.size}) from {min(self.low):g} to {max(self.high):g}"


@dataclass(frozen=True)
class EnvSpec:
    """All that networks need to know of an environment."""

    observation: ObservationSpec
    action: ActionSpec

    def core(self, num_envs: int) -> _core.EnvSpec:
        """As the core has it, for a batch of environments."""
        from a3c_fast import _core

        return _core.EnvSpec(num_envs=num_envs, observation=self.observation.core(), action=self.action.core())


def stored(spec: EnvSpec) -> dict[str, Any]:
    """As JSON, for `restored`."""
    parts = [{**vars(part), "shape": list(part.shape)} for part in spec.observation.parts]
    action = vars(spec.action)
    # JSON has no infinities.
    bounds = {name: [bound if math.isfinite(bound) else None for bound in action[name]] for name in ("low", "high")}
    return {"observation": parts, "action": {**action, **bounds}}


def restored(values: Mapping[str, Any]) -> EnvSpec:
    """The spec that `stored` made JSON of. Raises `ValueError` for what is none."""
    try:
        parts = tuple(Part(**{**part, "shape": tuple(part["shape"])}) for part in values["observation"])
        action: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in values["action"].items()
        }
        for name, infinite in (("low", -math.inf), ("high", math.inf)):
            action[name] = tuple(infinite if bound is None else float(bound) for bound in action[name])
        return EnvSpec(ObservationSpec(parts), ActionSpec(**action))
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"its spaces cannot be read: {error}") from error


def flattened(observations: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of nested mappings and tuples, with their keys joined by dots; a lone array has the key ""."""
    if not isinstance(observations, (Mapping, tuple)):
        yield prefix, observations
        return
    items: Iterable[tuple[Any, Any]]
    items = observations.items() if isinstance(observations, Mapping) else enumerate(observations)
    for key, value in items:
        yield from flattened(value, f"{prefix}.{key}" if prefix else str(key))


def placed(parts: list[Part]) -> ObservationSpec:
    """A spec whose numbers follow each other."""
    from dataclasses import replace

    position, result = 0, []
    for part in parts:
        result.append(replace(part, position=position))
        position += part.num_features
    return ObservationSpec(tuple(result))
