"""The memory of one step that is shared with the core: cpp/env/process/process_client.h."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .actions import Actions
from .masks import Masks
from .rows import Write, lone_array, writers

TERMINATED, TRUNCATED, RESET_STEP, STARTS, CUT = 1, 2, 4, 8, 16  # ProcessFlag


class Shown:
    """Where a step of the environments is written, and where the actions for it are read; one of each environment."""

    def __init__(self, plan: dict[str, Any], view: Any, action_space: Any, num_envs: int) -> None:
        layout = plan["layout"]

        def memory(name: str, size: int) -> memoryview:
            return memoryview(view)[layout[name] : layout[name] + size * num_envs]

        self.rows: list[Write] = writers(plan, view, layout["observations"], num_envs)
        self.lone_array = lone_array(plan)
        self.all_rows = memory("observations", plan["row_bytes"])
        self.rewards = memory("rewards", 8).cast("d")
        self.flags = memory("flags", 1)
        self.finals = writers(plan, view, layout["finals"], num_envs) if layout["finals"] else None
        self.mask: Callable[[int, dict[str, Any], bool], None] | None = None
        if plan["mask_width"]:
            self.mask = Masks(action_space, view, layout["masks"], num_envs, plan["mask_width"]).write
        self.actions = Actions(action_space, view, layout["actions"], num_envs)

    def begin(self, env: int, observation: Any, info: dict[str, Any]) -> None:
        """The first step of an episode, on which the environment was reset."""
        self.rows[env](observation)
        self.rewards[env], self.flags[env] = 0.0, RESET_STEP | STARTS
        if self.mask is not None:
            self.mask(env, info, False)
