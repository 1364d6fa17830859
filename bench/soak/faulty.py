"""An environment in which something goes wrong. It is made in child processes, and imports no more than it needs."""

from __future__ import annotations

import ctypes
import os
import re
import sys
import time
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

# What an environment does, and what the run that has it must then say.
FAULTS = {
    "raises": "the environment raised ValueError: the wheel fell off\n",
    "exits": "the environment raised SystemExit: 7",
    "exits at once": "the process of the environments exited with status 9",
    "crashes": "the process of the environments was killed by signal 11, Segmentation fault",
    "shows another shape": "the observation has the shape (5,), and its space says (4,)",
    "hangs": "the environments have not stepped within ",
    "hangs in C": "the environments have not stepped within ",
}


class Faulty(gymnasium.Env[Any, Any]):
    """The first of a run's environments that comes to step `at` does what `how` says; the others go on."""

    observation_space = spaces.Box(-1, 1, (4,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self, how: str, at: int, token: Path) -> None:
        self.how, self.at, self.token, self.steps = how, at, token, 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        return np.zeros(4, np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        size = 4
        if self.steps == self.at and self._is_first():
            match self.how:
                case "raises":
                    raise ValueError("the wheel fell off")
                case "exits":
                    sys.exit(7)
                case "exits at once":
                    os._exit(9)
                case "crashes":
                    ctypes.string_at(0)
                case "shows another shape":
                    size = 5
                case "hangs":
                    time.sleep(10_000)
                case "hangs in C":
                    re.match(r"(a*)*b", "a" * 60)
        return np.zeros(size, np.float32), 1.0, self.steps % 30 == 0, False, {}

    def _is_first(self) -> bool:
        try:
            self.token.mkdir()
        except FileExistsError:
            return False
        return True
