"""Observations on their way into rows of bytes in shared memory: the image, and then the numbers of ObservationSpec.

What writes is made once for each part of each environment, with its place: a step only calls it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Write = Callable[[Any], None]


class Part:
    """An array of an observation on its way into the row of its environment: a3c_fast.envs.Part, and its keys."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self.path = tuple(plan["path"])
        self.name = plan["name"]
        self.kind = plan["kind"]
        self.dtype = plan["dtype"]
        self.shape = tuple(plan["shape"])
        self.position, self.scale = plan["position"], plan["scale"]
        self.first, self.values = plan["first"], plan["values"]


def writers(plan: dict[str, Any], memory: Any, offset: int, num_envs: int) -> list[Write]:
    """What writes an observation of each environment; it raises `ValueError` for what is not what its space says.

    `plan`: the parts, the image's shape and dtype, and where in a row of so many bytes the numbers begin.
    """
    parts = [Part(part) for part in plan["parts"]]
    rows = [offset + i * plan["row_bytes"] for i in range(num_envs)]
    return [_together([(part.path, _writer(part, plan, memory, row)) for part in parts]) for row in rows]


def lone_array(plan: dict[str, Any]) -> Any:
    """An empty array like an observation, where that is all there is in a row and lies there as it is; else None."""
    import numpy as np

    part = Part(plan["parts"][0])
    if len(plan["parts"]) > 1 or part.path or part.scale != 1 or part.kind not in ("array", "numbers"):
        return None
    return np.empty(part.shape, plan["array_type"] if part.kind == "array" else np.float32)


def _together(parts: list[tuple[tuple[Any, ...], Write]]) -> Write:
    if len(parts) == 1 and not parts[0][0]:
        return parts[0][1]

    def write(observation: Any) -> None:
        for path, write_part in parts:
            value = observation
            for key in path:
                value = value[key]
            write_part(value)

    return write


def _writer(part: Part, plan: dict[str, Any], memory: Any, row: int) -> Write:
    import numpy as np

    shape = part.shape
    size = int(np.prod(shape))
    what = f"part {part.name!r} of the observation" if part.name else "observation"

    def checked(value: Any) -> Any:
        array = np.asarray(value)
        if array.shape != shape:
            raise ValueError(f"the {what} has the shape {array.shape}, and its space says {shape}")
        return array

    if part.kind in ("array", "channels_last"):
        image = np.frombuffer(memory, plan["array_type"], size, row).reshape(plan["array_shape"])
        if part.kind == "channels_last":
            turned = image.transpose(1, 2, 0)

            def write_turned(value: Any) -> None:
                turned[...] = checked(value)

            return write_turned
        return _as_it_is(memory, row, image, checked)

    begin = row + plan["features_offset"] + 4 * part.position
    numbers = np.frombuffer(memory, np.float32, size * (part.values if part.kind == "one_hot" else 1), begin)
    if part.kind == "one_hot":
        block, each = numbers.reshape(size, part.values), np.arange(size)
        first, values = part.first, part.values

        def write_one_hot(value: Any) -> None:
            which = checked(value).ravel().astype(np.int64) - first
            if ((which < 0) | (which >= values)).any():
                raise ValueError(f"the {what} is {value}, and its space says {first} to {first + values - 1}")
            block[...] = 0
            block[each, which] = 1

        return write_one_hot

    target, scale = numbers.reshape(shape), np.float32(part.scale)
    if part.scale == 1:
        return _as_it_is(memory, begin, target, checked)

    def write_scaled(value: Any) -> None:
        target[...] = checked(value)
        np.multiply(target, scale, out=target)

    return write_scaled


def _as_it_is(memory: Any, begin: int, target: Any, checked: Callable[[Any], Any]) -> Write:
    """Writes into `target`, which lies in `memory` from `begin` on.

    An array of the same type and shape is copied as bytes, which takes a third of the time.
    """
    dtype, place, dimensions = target.dtype, slice(begin, begin + target.nbytes), target.ndim
    shape = target.shape if dimensions > 1 else None  # of one dimension is what has as many bytes

    def write(value: Any) -> None:
        try:
            if value.dtype is dtype and value.ndim == dimensions and (shape is None or value.shape == shape):
                memory[place] = value
                return
        except (AttributeError, IndexError, TypeError, ValueError):
            pass  # it is no array, of another size, or does not lie in one piece
        target[...] = checked(value)

    return write
