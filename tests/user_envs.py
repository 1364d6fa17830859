"""Environments as users write them, for the tests of those in child processes."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import sys
import time
from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv


class Named(spaces.Dict):
    """A space of a class of its own."""


class Corridor(gymnasium.Env[Any, Any]):
    """Step right to the end of five fields; the observation is a Dict of one image, numbers and choices."""

    def __init__(self, length: int = 5, limit: int = 20) -> None:
        self.length, self.limit = length, limit
        self.observation_space = Named(
            {
                "image": spaces.Box(0, 255, (8, 6, 2), np.uint8),
                "inside": spaces.Tuple((spaces.Discrete(length), spaces.MultiBinary(3))),
                "numbers": spaces.Box(-np.inf, np.inf, (2, 2), np.float64),
                "words": spaces.Text(20),
            }
        )
        self.action_space = spaces.Discrete(2, start=3)
        self.episode = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.position, self.steps = 0, 0
        self.episode += 1
        return self._show(), {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert action in (3, 4)
        self.position = max(0, self.position + (1 if action == 4 else -1))
        self.steps += 1
        at_end = self.position == self.length - 1
        return self._show(), 1.0 if at_end else -0.1, at_end, not at_end and self.steps == self.limit, {}

    def _show(self) -> dict[str, Any]:
        image = np.zeros((8, 6, 2), np.uint8)
        image[self.position, 3, 1] = 255
        numbers = np.array([[self.position, self.steps], [self.episode, 0.5]])
        bits = np.array([self.position >> i & 1 for i in range(3)], np.int8)
        return {
            "image": image,
            "inside": (self.position, bits),
            "numbers": numbers,
            "words": "at " + str(self.position),
        }


class Point(gymnasium.Env[Any, Any]):
    """Go where a point is: nested continuous actions; paid by the distance."""

    observation_space = spaces.Box(-1, 1, (2,), np.float32)
    action_space = spaces.Dict(
        {"x": spaces.Box(-2, 4, (1,), np.float32), "y": spaces.Tuple((spaces.Box(-1, 1, (1, 1), np.float64),))}
    )

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.steps = 0
        self.goal = self.np_random.uniform(-1, 1, 2).astype(np.float32)
        return self.goal, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert action in self.action_space
        self.steps += 1
        x, y = (float(action["x"][0]) - 1) / 3, float(action["y"][0][0, 0])
        paid = 1 - (x - float(self.goal[0])) ** 2 - (y - float(self.goal[1])) ** 2
        self.goal = self.np_random.uniform(-1, 1, 2).astype(np.float32)
        return self.goal, paid, False, self.steps == 10, {}


class Levers(gymnasium.Env[Any, Any]):
    """Pull the levers that are shown: a MultiDiscrete to see and a nested choice of several things to do."""

    observation_space = spaces.MultiDiscrete([3, 3], start=[1, 1])
    action_space = spaces.Tuple((spaces.MultiDiscrete([3, 3], start=[2, 2]), spaces.MultiBinary(2)))

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.steps = 0
        self.shown = self.np_random.integers(0, 3, 2)
        return self.shown + 1, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert action in self.action_space
        self.steps += 1
        paid = (action[0] - 2 == self.shown).mean() + (action[1] == (self.shown > 1)).mean()
        self.shown = self.np_random.integers(0, 3, 2)
        return self.shown + 1, float(paid) / 2, False, self.steps == 10, {}


class Doors(gymnasium.Env[Any, Any]):
    """Two choices of which some are allowed at each step; the last allowed ones are paid."""

    observation_space = spaces.MultiBinary(7)
    action_space = spaces.Tuple((spaces.Discrete(4), spaces.Discrete(3)))

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.steps = 0
        return self._show()

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert all(mask[choice] for mask, choice in zip(self.masks, action, strict=True)), "what is not allowed"
        paid = [choice == np.flatnonzero(mask)[-1] for mask, choice in zip(self.masks, action, strict=True)]
        self.steps += 1
        return self._result(paid)

    def _result(self, paid: list[Any]) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        observation, info = self._show()
        return observation, float(np.mean(paid)), False, self.steps == 10, info

    def _show(self) -> tuple[Any, dict[str, Any]]:
        self.masks = []
        for size in (4, 3):
            mask = np.zeros(size, np.int8)
            mask[self.np_random.choice(size, size - 2, replace=False)] = 1
            self.masks.append(mask)
        return np.concatenate(self.masks), {"action_mask": tuple(self.masks)}


class NoWayOut(Doors):
    """Allows nothing at its second step."""

    def _result(self, paid: list[Any]) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        observation, *rest, info = super()._result(paid)
        return observation, *rest, {"action_mask": tuple(0 * mask for mask in info["action_mask"])}


class NothingIsLeft(Doors):
    """Allows nothing once an episode has ended, and says so by zeros or not at all."""

    def _result(self, paid: list[Any]) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        observation, reward, terminated, truncated, info = super()._result(paid)
        if truncated:
            info = (
                {"action_mask": tuple(0 * mask for mask in info["action_mask"])}
                if self.np_random.random() < 0.5
                else {}
            )
        return observation, reward, terminated, truncated, info


class Counter(gymnasium.Env[Any, Any]):
    """Shows and pays how many steps it has made; every other episode is truncated and not terminated."""

    observation_space = spaces.Box(-1, 100, (1,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self, length: int, *, truncates: bool = False) -> None:
        self.length, self.truncates, self.episode = length, truncates, 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        self.steps = 0
        self.episode += 1
        return np.zeros(1, np.float32), {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        ended, truncates = self.steps == self.length, self.truncates or self.episode % 2 == 0
        return np.array([self.steps], np.float32), self.steps, ended and not truncates, ended and truncates, {}


def _several(makes: list[Any], mode: AutoresetMode) -> Any:
    return SyncVectorEnv(makes, autoreset_mode=mode)


def several_counters() -> Any:
    return _several([lambda i=i: Counter(i + 3) for i in range(3)], AutoresetMode.NEXT_STEP)


def several_counters_that_reset_at_once() -> Any:
    return _several([lambda i=i: Counter(i + 3) for i in range(3)], AutoresetMode.SAME_STEP)


def cut_at_the_end_of_a_rollout() -> Any:
    return _several(3 * [lambda: Counter(6, truncates=True)], AutoresetMode.NEXT_STEP)


def cut_at_the_end_of_a_rollout_and_reset_at_once() -> Any:
    return _several(3 * [lambda: Counter(6, truncates=True)], AutoresetMode.SAME_STEP)


def several_that_do_not_reset() -> Any:
    return _several(3 * [lambda: Counter(6)], AutoresetMode.DISABLED)


def several_corridors_that_reset_at_once() -> Any:
    return _several(8 * [Corridor], AutoresetMode.SAME_STEP)


class Breaks(gymnasium.Env[Any, Any]):
    """Does something at its third step."""

    observation_space = spaces.Box(-1, 1, (4,), np.float32)
    action_space = spaces.Discrete(2)

    def __init__(self, how: str = "nothing", at: int = 3) -> None:
        self.how, self.at, self.steps = how, at, 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        return np.zeros(4, np.float32), {}

    def step(self, action: int) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        self.steps += 1
        if self.steps == self.at:
            match self.how:
                case "raises":
                    raise ValueError("the wheel fell off")
                case "exits":
                    sys.exit(7)
                case "exits at once":
                    os._exit(9)
                case "is killed":
                    os.kill(os.getpid(), signal.SIGKILL)
                case "crashes":
                    ctypes.string_at(0)
                case "hangs":
                    time.sleep(1000)
                case "hangs in C":
                    re.match(r"(a*)*b", "a" * 60)
                case "prints":
                    print("a word on standard output", flush=True)
                case "shows another shape":
                    return np.zeros(5, np.float32), 0.0, False, False, {}
                case "shows nothing":
                    return None  # type: ignore[return-value]
                case "pays a word":
                    return np.zeros(4, np.float32), "much", False, False, {}
        return np.zeros(4, np.float32), 1.0, False, False, {}


class Shows(gymnasium.Env[Any, Any]):
    """Shows the same numbers at each step, and how many there were, in one of several ways."""

    observation_space = spaces.Box(-1, 1, (4,), np.float32)
    action_space = spaces.Discrete(2)
    made = 0

    def __init__(self, what: str) -> None:
        self.what, self.steps = what, 0
        self.number = Shows.made
        Shows.made += 1

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        return np.zeros(4, np.float32), {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        shown: Any = np.array([self.steps, 2, 3, 4], np.float32)
        match self.what:
            case "lists":
                shown = shown.tolist()
            case "arrays that do not lie in one piece":
                shown = np.repeat(shown, 2)[::2]
            case "other types":
                shown = shown.astype(np.int16 if self.number % 2 else np.float64)
            case "(1, 4)":
                shown = shown[None]
            case "5 and 3":
                shown = np.zeros(3 if self.number % 2 else 5, np.float32)
        return shown, 0.0, False, False, {}


class Drawn(Counter):
    """A `Counter` that draws itself: the first pixel is the step."""

    metadata: ClassVar[dict[str, Any]] = {"render_modes": ["rgb_array"], "render_fps": 12}

    def __init__(self, render_mode: str | None = None, picture: Any = None) -> None:
        super().__init__(5)
        self.render_mode, self.picture = render_mode, picture

    def render(self) -> Any:
        if isinstance(self.picture, BaseException):
            raise self.picture
        drawn = np.zeros((30, 50, 3), np.uint8) if self.picture is None else self.picture
        drawn[0, 0, 0] = self.steps
        return drawn


def several_that_are_drawn(render_mode: str | None = None) -> Any:
    return _several(3 * [lambda: Drawn(render_mode)], AutoresetMode.NEXT_STEP)


class Closes(Counter):
    """Leaves a file when it is closed, and then does something."""

    def __init__(self, directory: Path, how: str = "nothing") -> None:
        super().__init__(5)
        self.directory, self.how = directory, how

    def close(self) -> None:
        (self.directory / f"{os.getpid()} {id(self)}").touch()
        if self.how == "raises":
            raise OSError("it is stuck")
        if self.how == "hangs":
            time.sleep(1000)


def breaks_when_made() -> Any:
    raise OSError("no such level")


def dies_when_made() -> Any:
    os._exit(5)


def no_environment() -> int:
    return 3


def with_sequences() -> Any:
    env = Breaks()
    env.observation_space = spaces.Sequence(spaces.Discrete(2))
    return env


def with_both_kinds_of_actions() -> Any:
    env = Breaks()
    env.action_space = spaces.Tuple((spaces.Discrete(2), spaces.Box(-1, 1, (1,))))
    return env


def with_words() -> Any:
    env = Breaks()
    env.observation_space = spaces.Text(5)
    return env
