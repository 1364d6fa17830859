"""Spaces of gymnasium as JSON, leaf by leaf."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_SPACES = ("Box", "Discrete", "MultiDiscrete", "MultiBinary")


class RefusedError(Exception):
    """What cannot be trained on, in one sentence."""


def is_kind(space: Any, *names: str) -> bool:
    """Whether a space is of one of gymnasium's classes, or of one derived from it."""
    return any(cls.__name__ in names for cls in type(space).__mro__)


def leaves(space: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], Any]]:
    """The spaces within nested Dict and Tuple spaces, in their order, with their keys."""
    if is_kind(space, "Dict"):
        for key, part in space.spaces.items():
            yield from leaves(part, (*path, key))
    elif is_kind(space, "Tuple"):
        for key, part in enumerate(space.spaces):
            yield from leaves(part, (*path, key))
    else:
        yield path, space


def described(space: Any, path: tuple[Any, ...]) -> dict[str, Any]:
    """A leaf as JSON: its kind, dtype, shape, bounds and, of choices, how many there are."""
    import numpy as np

    kind = next((cls.__name__ for cls in type(space).__mro__ if cls.__name__ in (*_SPACES, "Text")), "")
    name = ".".join(map(str, path))
    if not kind:
        of = f", of its part {name!r}," if name else ""
        raise RefusedError(f"the space {type(space).__name__}{of} is not supported")
    leaf: dict[str, Any] = {"kind": kind, "name": name}
    if kind == "Text":
        return leaf
    leaf |= {"dtype": np.dtype(space.dtype).name, "shape": [int(extent) for extent in space.shape]}
    if kind == "Box":
        low, high = np.asarray(space.low, np.float64), np.asarray(space.high, np.float64)
        leaf |= {"low": low.ravel().tolist(), "high": high.ravel().tolist()}
    elif kind == "Discrete":
        leaf |= {"values": [int(space.n)], "first": [int(space.start)]}
    elif kind == "MultiDiscrete":
        first = np.broadcast_to(getattr(space, "start", 0), space.nvec.shape)
        leaf |= {"values": np.ravel(space.nvec).tolist(), "first": np.ravel(first).tolist()}
    else:
        size = int(np.prod(space.shape))
        leaf |= {"values": [2] * size, "first": [0] * size}
    return leaf
