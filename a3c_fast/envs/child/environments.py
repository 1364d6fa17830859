"""The environments of a worker: how they are found, made, reset and stepped."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import pickle
from collections.abc import Callable, Iterator
from typing import Any

from .shown import CUT, RESET_STEP, STARTS, TERMINATED, TRUNCATED, Shown
from .spaces import RefusedError


def maker(name: str, blob: bytes, render_mode: str = "") -> Callable[[], Any]:
    """What makes one environment: a pickled callable, or what `name` says.

    `module:name` is a callable of a module or an environment that the module registers with gymnasium; without a module
    it is one of gymnasium's registry. A `render_mode` is handed to what takes one.
    """
    if blob:
        return drawing(pickle.loads(blob), render_mode)
    import gymnasium

    module, _, attribute = name.partition(":")
    try:
        home: Any = importlib.import_module(module)
    except ImportError as error:
        raise RefusedError(f"{module} cannot be imported: {error}") from error
    for part in attribute.split("."):
        home = getattr(home, part, None)
    if callable(home):
        return drawing(home, render_mode)
    try:
        spec = gymnasium.spec(attribute)
    except gymnasium.error.Error as error:
        said = str(error).rstrip(".")
        raise RefusedError(f"{module} has nothing of that name, and gymnasium's registry says: {said}") from error
    if render_mode and render_mode in _render_modes(spec):
        return lambda: gymnasium.make(attribute, render_mode=render_mode)
    return lambda: gymnasium.make(attribute)


def _render_modes(spec: Any) -> list[str]:
    from gymnasium.envs.registration import load_env_creator

    creator = spec.entry_point if callable(spec.entry_point) else load_env_creator(spec.entry_point)
    return list((getattr(creator, "metadata", None) or {}).get("render_modes", []))


def drawing(make: Callable[..., Any], render_mode: str) -> Callable[[], Any]:
    """`make`, which is handed a `render_mode` where it takes one."""
    if not render_mode:
        return make
    try:
        takes_one = "render_mode" in inspect.signature(make).parameters
    except ValueError:  # it is written in C, and says nothing
        takes_one = False
    return (lambda: make(render_mode=render_mode)) if takes_one else make


class Separate:
    """Environments that each are an object; the step after an end only resets."""

    steps_at_once = False

    def __init__(self, make: Callable[[], Any], first: Any, num_envs: int) -> None:
        self.envs = [first, *(_one(make) for _ in range(num_envs - 1))]
        self.observation_space, self.action_space = first.observation_space, first.action_space
        self.spec = getattr(first, "spec", None)
        self.num_envs = num_envs
        for env in self.envs:
            if (env.observation_space, env.action_space) != (self.observation_space, self.action_space):
                raise RefusedError("the environments that it makes differ in their spaces")

    def reset(self, seeds: list[int]) -> list[tuple[Any, dict[str, Any]]]:
        """The first observation and information of each."""
        return [env.reset(seed=seed) for env, seed in zip(self.envs, seeds, strict=True)]

    def stepper(self, shown: Shown) -> Callable[[], None]:
        """What reads the actions of all, steps them and shows what came of it.

        The usual result of a step is written by the extension a3c_fast_steps, and all else here.
        """
        num_envs, read = self.num_envs, shown.actions.read
        over = bytearray(num_envs)
        like = shown.lone_array
        if like is None or shown.mask is not None:

            def step() -> None:
                for i, action in enumerate(read()):
                    self._show(shown, over, i, None if over[i] else self.envs[i].step(action))

            return step
        from a3c_fast_steps import Stepper

        steps = tuple(env.step for env in self.envs)
        step_from = Stepper(
            steps, over, shown.rewards, shown.flags, shown.all_rows, memoryview(like).format, like.shape
        ).step

        def step_fast() -> None:
            actions, i = read(), 0
            while (left := step_from(actions, i)) is not None:
                self._show(shown, over, *left)
                i = left[0] + 1

        return step_fast

    def _show(self, shown: Shown, over: bytearray, i: int, result: Any) -> None:
        """The result of a step, or where its episode is over the reset that follows."""
        if over[i]:
            over[i] = False
            shown.begin(i, *self.envs[i].reset())
            return
        observation, reward, terminated, truncated, info = result
        over[i] = bool(terminated or truncated)
        shown.flags[i] = (TERMINATED if terminated else 0) | (TRUNCATED if truncated else 0)
        shown.rewards[i] = float(reward)
        shown.rows[i](observation)
        if shown.mask is not None:
            shown.mask(i, info, bool(over[i]))

    @property
    def frames_per_second(self) -> float:
        """Of a video of the first; 0 where it draws none."""
        return _frames_per_second(self.envs[0])

    def frame(self) -> Any:
        """What the first looks like, uint8 [height, width, 3]."""
        return _picture(self.envs[0].render())

    def close(self) -> None:
        """Closes all, also where one of them fails to."""
        with contextlib.ExitStack() as stack:
            for env in self.envs:
                stack.callback(getattr(env, "close", lambda: None))


class Vector:
    """A gymnasium VectorEnv, which resets its environments itself: in the step after an end, or within that step."""

    def __init__(self, env: Any, num_envs: int) -> None:
        from gymnasium.vector import AutoresetMode

        if num_envs != env.num_envs:
            raise RefusedError(f"it makes {env.num_envs} environments at once: envs_per_worker must be {env.num_envs}")
        mode = (getattr(env, "metadata", None) or {}).get("autoreset_mode")
        if mode not in (AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP):
            said = f"is {mode.name}" if isinstance(mode, AutoresetMode) else "is not declared"
            raise RefusedError(
                f"the autoreset_mode in the metadata of its VectorEnv {said}: NEXT_STEP and SAME_STEP are supported"
            )
        self.env, self.num_envs = env, num_envs
        self.observation_space, self.action_space = env.single_observation_space, env.single_action_space
        self.spec = getattr(env, "spec", None)
        self.steps_at_once = mode == AutoresetMode.SAME_STEP
        self._over = [False] * num_envs

    def reset(self, seeds: list[int]) -> list[tuple[Any, dict[str, Any]]]:
        """As `Separate.reset`."""
        observations, info = self.env.reset(seed=seeds)
        return [(observation, self._info(info, i)) for i, observation in enumerate(self._each(observations))]

    def stepper(self, shown: Shown) -> Callable[[], None]:
        """As `Separate.stepper`."""
        return lambda: self._step(shown)

    def _step(self, shown: Shown) -> None:
        from gymnasium.vector.utils import concatenate, create_empty_array

        empty: Any = create_empty_array(self.action_space, self.num_envs)
        together = concatenate(self.action_space, shown.actions.read(), empty)
        observations, rewards, terminated, truncated, info = self.env.step(together)
        finals = info.get("final_obs")
        for i, observation in enumerate(self._each(observations)):
            ended = bool(terminated[i] or truncated[i])
            flags = (TERMINATED if terminated[i] else 0) | (TRUNCATED if truncated[i] else 0)
            if self.steps_at_once and ended:
                flags |= STARTS
                if not terminated[i]:
                    if finals is None or shown.finals is None:
                        raise RefusedError("its VectorEnv is in same-step mode and gives no final_obs")
                    shown.finals[i](finals[i])
                    flags |= CUT
            elif not self.steps_at_once:
                if self._over[i]:
                    flags |= RESET_STEP | STARTS
                self._over[i] = ended
            shown.rows[i](observation)
            shown.rewards[i], shown.flags[i] = float(rewards[i]), flags
            if shown.mask is not None:
                shown.mask(i, self._info(info, i), ended and not self.steps_at_once)

    @property
    def frames_per_second(self) -> float:
        """As `Separate.frames_per_second`."""
        return _frames_per_second(self.env)

    def frame(self) -> Any:
        """As `Separate.frame`."""
        return _picture(self.env.render()[0])

    def close(self) -> None:
        self.env.close()

    def _each(self, observations: Any) -> Iterator[Any]:
        from gymnasium.vector.utils import iterate

        return iterate(self.env.observation_space, observations)

    def _info(self, info: dict[str, Any], i: int) -> dict[str, Any]:
        return {"action_mask": info["action_mask"][i]} if "action_mask" in info else {}


def _frames_per_second(env: Any) -> float:
    if getattr(env, "render_mode", None) != "rgb_array":
        return 0.0
    return float((getattr(env, "metadata", None) or {}).get("render_fps") or 30)


def _picture(drawn: Any) -> Any:
    import numpy as np

    picture = np.asarray(drawn)
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        raise RefusedError(
            f"its render() returned {picture.dtype}{list(picture.shape)}, and uint8[height, width, 3] is a picture"
        )
    return picture


def _one(make: Callable[[], Any]) -> Any:
    env = make()
    missing = [name for name in ("reset", "step", "observation_space", "action_space") if not hasattr(env, name)]
    if missing:
        raise RefusedError(f"what it made, a {type(env).__name__}, is no environment: it has no {missing[0]}")
    return env


def made(make: Callable[[], Any], num_envs: int) -> Separate | Vector:
    """The environments of a worker; 0: as many as are made at a time. Raises `RefusedError` for what is none."""
    env = _one(make)
    if hasattr(env, "num_envs") and hasattr(env, "single_action_space"):
        return Vector(env, num_envs or env.num_envs)
    return Separate(make, env, num_envs or 1)
