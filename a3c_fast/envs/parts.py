"""What becomes of the arrays of an observation, whosever environment shows them, and which bounds are none."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from a3c_fast.envs.spec import ObservationSpec, Part
from a3c_fast.errors import ConfigError

MOST_VALUES = 1024  # that a part is made one-hot for
_MOST_NUMBERS = 2**16
_MOST_PIXELS = 2**22
_UNBOUNDED = 1e9  # bounds from here on are none: some are 1e10, some the largest number that there is
_SMALLEST_BOUND = 1e-30  # and some lower ones the smallest positive number that there is


def shape_of(array: Any) -> tuple[int, ...]:
    """Without the dimension of players, which EnvPool writes as -1."""
    return tuple(int(extent) for extent in array.shape if extent != -1)


def part(name: str, array: Any, *, may_be_image: bool) -> Part:
    """What becomes of an array with a `dtype`, a `shape` without dimensions of -1, a `minimum` and a `maximum`."""
    dtype, shape = np.dtype(array.dtype), shape_of(array)
    low, high = float(np.min(array.minimum)), float(np.max(array.maximum))
    if may_be_image and dtype == np.uint8 and len(shape) == 3:
        # Of the two that may be the channels, the shorter one is.
        return Part(name, "uint8", shape, "channels_last" if shape[-1] < shape[0] else "array")
    if dtype.kind not in "iub":
        return Part(name, dtype.name, shape, "numbers")
    values = int(high) - int(low) + 1
    if not shape and dtype.kind != "b" and 2 < values <= MOST_VALUES:
        return Part(name, dtype.name, shape, "one_hot", first=int(low), values=values)
    # Whole numbers between bounds are brought near to 1: a texture's bytes, a step count, a card.
    largest = max(abs(low), abs(high))
    return Part(name, dtype.name, shape, "numbers", scale=1 / largest if 1 < largest < 2**30 else 1.0)


def low_of(value: float) -> float:
    """A lower bound, infinite where it is none."""
    return -math.inf if value <= -_UNBOUNDED or 0 < value < _SMALLEST_BOUND else float(value)


def high_of(value: float) -> float:
    """An upper bound, infinite where it is none."""
    return math.inf if value >= _UNBOUNDED else float(value)


def check_size(env_id: str, spec: ObservationSpec) -> None:
    """Raises `ConfigError` where observations are too large to make sense."""
    pixels = math.prod(spec.array_shape) if spec.array_shape else 0
    if pixels > _MOST_PIXELS:
        image = next(part for part in spec.parts if part.is_array)
        raise ConfigError(
            "env_id",
            env_id,
            f"its images are too large: {pixels:,} bytes in {image}, and {_MOST_PIXELS:,} are supported",
        )
    if spec.num_features > _MOST_NUMBERS:
        largest = max(spec.parts, key=lambda part: part.num_features)
        raise ConfigError(
            "env_id",
            env_id,
            f"its observations are too large: {spec.num_features:,} numbers, most of them in {largest}, and "
            f"{_MOST_NUMBERS:,} are supported",
        )
