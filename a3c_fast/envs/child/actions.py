"""What environments are told to do, as their action space has it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from .spaces import described, is_kind, leaves


class Actions:
    """Reads the actions of environments from rows of components: int64 where they are choices, else float64."""

    def __init__(self, space: Any, memory: Any, offset: int, num_envs: int) -> None:
        import numpy as np

        self._space = space
        parts = [leaf for _, leaf in leaves(space)]
        sizes = [int(np.prod(leaf.shape)) for leaf in parts]
        dtype = np.float64 if is_kind(parts[0], "Box") else np.int64
        rows = np.frombuffer(memory, dtype, num_envs * sum(sizes), offset).reshape(num_envs, sum(sizes))
        ends = np.cumsum(sizes)
        self._readers = [
            _reader(leaf, rows[:, end - size : end]) for leaf, size, end in zip(parts, sizes, ends, strict=True)
        ]
        self._is_nested = is_kind(space, "Dict", "Tuple")

    def read(self) -> list[Any]:
        """An action for each environment, which may keep it."""
        if not self._is_nested:
            return self._readers[0]()
        columns = [read() for read in self._readers]
        return [_rebuilt(self._space, iter(values)) for values in zip(*columns, strict=True)]


def _reader(leaf: Any, components: Any) -> Callable[[], list[Any]]:
    """From the components of a leaf, [num_envs][size], to what each environment is given of it."""
    import numpy as np

    kind = described(leaf, ())["kind"]
    if kind == "Discrete":
        # What sample() of the space returns, made once: gymnasium checks an int of Python at ten times the cost.
        made = [np.dtype(leaf.dtype).type(leaf.start + choice) for choice in range(leaf.n)]
        numbers = components[:, 0].tolist
        return lambda: [made[choice] for choice in numbers()]
    shape, dtype = (len(components), *leaf.shape), leaf.dtype
    if kind == "MultiDiscrete":
        start = getattr(leaf, "start", 0)
        return lambda: list((components.reshape(shape) + start).astype(dtype))
    if kind == "Box":
        low, high = leaf.low, leaf.high

        def read() -> list[Any]:
            values = components.reshape(shape).astype(dtype)
            return list(np.clip(values, low, high, out=values))  # the cast may have rounded beyond a bound

        return read
    return lambda: list(components.reshape(shape).astype(dtype))


def _rebuilt(space: Any, values: Iterator[Any]) -> Any:
    if is_kind(space, "Dict"):
        return {key: _rebuilt(part, values) for key, part in space.spaces.items()}
    if is_kind(space, "Tuple"):
        return tuple(_rebuilt(part, values) for part in space.spaces)
    return next(values)
