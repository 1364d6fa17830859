"""Which choices are allowed, where environments say so."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .spaces import described, leaves


class Masks:
    """Writes which choices are allowed: `info["action_mask"]`, nested as the actions are, as a byte for each choice."""

    def __init__(self, space: Any, memory: Any, offset: int, num_envs: int, width: int) -> None:
        import numpy as np

        self._np = np
        self._sizes = [int(n) for _, leaf in leaves(space) for n in described(leaf, ())["values"]]
        self._rows = np.frombuffer(memory, np.uint8, num_envs * width, offset).reshape(num_envs, width)

    def write(self, env: int, info: dict[str, Any], ended: bool = False) -> None:
        """Raises `ValueError` where there is none, or one of other choices, or one that allows nothing.

        Where the episode has `ended` there need be none: the action that follows is ignored.
        """
        if ended:
            self._rows[env] = 1
            return
        if "action_mask" not in info:
            raise ValueError("its first info had an action_mask, and this one has none")
        np, at = self._np, 0
        flat = np.concatenate([np.ravel(mask) for mask in _flat(info["action_mask"])]).astype(bool)
        if len(flat) != self._rows.shape[1]:
            raise ValueError(f"its action_mask has {len(flat)} elements, and there are {self._rows.shape[1]} choices")
        for size in self._sizes:
            if not flat[at : at + size].any():
                raise ValueError(f"its action_mask allows nothing: {info['action_mask']}")
            at += size
        self._rows[env] = flat


def _flat(masks: Any) -> Iterator[Any]:
    if isinstance(masks, dict):
        masks = tuple(masks.values())
    if not isinstance(masks, (tuple, list)):
        yield masks
        return
    for mask in masks:
        yield from _flat(mask)
