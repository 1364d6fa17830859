"""The process of one worker's environments of a user: it makes them, steps them, and hands each step over.

It is run as a plain file by the interpreter that trains, and imports neither torch nor a3c_fast. What it is told and
says while it begins are lines of JSON over a socket; then a step goes back and forth in shared memory, see
cpp/env/process/process_client.h, with an eventfd for each direction.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib
import json
import mmap
import os
import pickle
import signal
import struct
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from typing import Any

TERMINATED, TRUNCATED, RESET_STEP, STARTS, CUT = 1, 2, 4, 8, 16  # ProcessFlag

_F_SETSIG = 10
_SPACES = ("Box", "Discrete", "MultiDiscrete", "MultiBinary")


class RefusedError(Exception):
    """What cannot be trained on, in one sentence."""


# What there is to see and to do --------------------------------------------------------------------------------------


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


# Rows ----------------------------------------------------------------------------------------------------------------


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


class Rows:
    """Writes observations into rows of bytes: the image, and then numbers, as ObservationSpec has them.

    `plan`: the parts, the image's shape and dtype, and where in a row of so many bytes the numbers begin.
    """

    def __init__(self, plan: dict[str, Any], memory: Any, offset: int, num_envs: int) -> None:
        import numpy as np

        self._np = np
        self._parts = [Part(part) for part in plan["parts"]]
        rows = np.frombuffer(memory, np.uint8, num_envs * plan["row_bytes"], offset)
        rows = rows.reshape(num_envs, plan["row_bytes"])
        size = int(np.prod(plan["array_shape"])) if plan["array_shape"] else 0
        width = size * np.dtype(plan["array_type"]).itemsize
        images = rows[:, :width].view(plan["array_type"]).reshape(num_envs, *plan["array_shape"]) if size else None
        numbers = rows[:, plan["features_offset"] :].view(np.float32)
        self._writers = [
            [self._writer(part, images[i] if images is not None else None, numbers[i]) for part in self._parts]
            for i in range(num_envs)
        ]

    def write(self, env: int, observation: Any) -> None:
        """Raises `ValueError` for what is not what its space says."""
        for part, writer in zip(self._parts, self._writers[env], strict=True):
            value = observation
            for key in part.path:
                value = value[key]
            writer(value)

    def _writer(self, part: Part, image: Any, numbers: Any) -> Callable[[Any], None]:
        np, shape = self._np, part.shape
        what = f"part {part.name!r} of the observation" if part.name else "observation"

        def checked(value: Any) -> Any:
            array = np.asarray(value)
            if array.shape != shape:
                raise ValueError(f"the {what} has the shape {array.shape}, and its space says {shape}")
            return array

        if part.kind == "array":

            def write(value: Any) -> None:
                image[...] = checked(value)

        elif part.kind == "channels_last":
            turned = image.transpose(1, 2, 0)

            def write(value: Any) -> None:
                turned[...] = checked(value)

        elif part.kind == "one_hot":
            size = int(np.prod(shape))
            block = numbers[part.position : part.position + size * part.values].reshape(size, part.values)
            each = np.arange(size)

            def write(value: Any) -> None:
                which = checked(value).ravel().astype(np.int64) - part.first
                if ((which < 0) | (which >= part.values)).any():
                    last = part.first + part.values - 1
                    raise ValueError(f"the {what} is {value}, and its space says {part.first} to {last}")
                block[...] = 0
                block[each, which] = 1

        else:
            target = numbers[part.position : part.position + int(np.prod(shape))].reshape(shape)
            scale = np.float32(part.scale)

            def write(value: Any) -> None:
                target[...] = checked(value)
                if scale != 1:
                    np.multiply(target, scale, out=target)

        return write


class Actions:
    """Reads the actions of environments as their space has them, from rows of float64 components."""

    def __init__(self, space: Any, memory: Any, offset: int, num_envs: int) -> None:
        import numpy as np

        self._np = np
        self._space = space
        self._readers: list[Callable[[Any], Any]] = []
        size = 0
        for _, leaf in leaves(space):
            width = int(np.prod(leaf.shape))
            self._readers.append(self._reader(leaf, slice(size, size + width)))
            size += width
        self._rows = np.frombuffer(memory, np.float64, num_envs * size, offset).reshape(num_envs, size)
        self._is_choice = is_kind(space, "Discrete")
        self._is_nested = is_kind(space, "Dict", "Tuple")
        self._first = int(space.start) if self._is_choice else 0

    def read(self) -> Sequence[Any]:
        """An action for each environment."""
        if self._is_choice:
            return [int(choice) + self._first for choice in self._rows[:, 0].tolist()]
        if self._is_nested:
            return [_rebuilt(self._space, (read(row) for read in self._readers)) for row in self._rows]
        return [self._readers[0](row) for row in self._rows]

    def _reader(self, leaf: Any, components: slice) -> Callable[[Any], Any]:
        """From the components of a whole action to the leaf's part of it."""
        np, kind = self._np, described(leaf, ())["kind"]
        if kind == "Discrete":
            return lambda row: int(row[components.start]) + int(leaf.start)
        shape, dtype = leaf.shape, leaf.dtype
        if kind == "MultiDiscrete":
            start = getattr(leaf, "start", 0)
            return lambda row: (row[components].reshape(shape) + start).astype(dtype)
        if kind == "Box":  # the cast may round beyond a bound
            return lambda row: np.clip(row[components].reshape(shape).astype(dtype), leaf.low, leaf.high)
        return lambda row: row[components].reshape(shape).astype(dtype)


def _rebuilt(space: Any, values: Iterator[Any]) -> Any:
    if is_kind(space, "Dict"):
        return {key: _rebuilt(part, values) for key, part in space.spaces.items()}
    if is_kind(space, "Tuple"):
        return tuple(_rebuilt(part, values) for part in space.spaces)
    return next(values)


# Making environments -------------------------------------------------------------------------------------------------


def maker(name: str, blob: bytes) -> Callable[[], Any]:
    """What makes one environment: a pickled callable, or what `name` says.

    `module:name` is a callable of a module or an environment that the module registers with gymnasium; without a module
    it is one of gymnasium's registry.
    """
    if blob:
        made: Callable[[], Any] = pickle.loads(blob)
        return made
    import gymnasium

    module, _, attribute = name.partition(":")
    try:
        home: Any = importlib.import_module(module)
    except ImportError as error:
        raise RefusedError(f"{module} cannot be imported: {error}") from error
    for part in attribute.split("."):
        home = getattr(home, part, None)
    if callable(home):
        return home  # type: ignore[no-any-return]
    try:
        gymnasium.spec(attribute)
    except gymnasium.error.Error as error:
        said = str(error).rstrip(".")
        raise RefusedError(f"{module} has nothing of that name, and gymnasium's registry says: {said}") from error
    return lambda: gymnasium.make(attribute)


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
        self._steps = [env.step for env in self.envs]
        self._over = [False] * num_envs

    def reset(self, seeds: list[int]) -> list[tuple[Any, dict[str, Any]]]:
        """The first observation and information of each."""
        return [env.reset(seed=seed) for env, seed in zip(self.envs, seeds, strict=True)]

    def step(self, actions: Sequence[Any]) -> Iterator[tuple[Any, Any, int, dict[str, Any], Any]]:
        """Of each its observation, reward, flags, information, and the observation that an episode was cut at."""
        over = self._over
        for i, action in enumerate(actions):
            if over[i]:
                over[i] = False
                observation, info = self.envs[i].reset()
                yield observation, 0.0, RESET_STEP | STARTS, info, None
            else:
                observation, reward, terminated, truncated, info = self._steps[i](action)
                over[i] = bool(terminated or truncated)
                flags = (TERMINATED if terminated else 0) | (TRUNCATED if truncated else 0)
                yield observation, reward, flags, info, None

    def close(self) -> None:
        for env in self.envs:
            env.close()


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

    def step(self, actions: Sequence[Any]) -> Iterator[tuple[Any, Any, int, dict[str, Any], Any]]:
        """As `Separate.step`."""
        from gymnasium.vector.utils import concatenate, create_empty_array

        together = concatenate(self.action_space, actions, create_empty_array(self.action_space, self.num_envs))  # type: ignore[arg-type]
        observations, rewards, terminated, truncated, info = self.env.step(together)
        finals = info.get("final_obs")
        for i, observation in enumerate(self._each(observations)):
            ended = bool(terminated[i] or truncated[i])
            flags = (TERMINATED if terminated[i] else 0) | (TRUNCATED if truncated[i] else 0)
            final = None
            if self.steps_at_once and ended:
                flags |= STARTS
                if not terminated[i]:
                    if finals is None:
                        raise RefusedError("its VectorEnv is in same-step mode and gives no final_obs")
                    final, flags = finals[i], flags | CUT
            elif not self.steps_at_once:
                if self._over[i]:
                    flags |= RESET_STEP | STARTS
                self._over[i] = ended
            yield observation, rewards[i], flags, self._info(info, i), final

    def close(self) -> None:
        self.env.close()

    def _each(self, observations: Any) -> Iterator[Any]:
        from gymnasium.vector.utils import iterate

        return iterate(self.env.observation_space, observations)

    def _info(self, info: dict[str, Any], i: int) -> dict[str, Any]:
        return {"action_mask": info["action_mask"][i]} if "action_mask" in info else {}


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


class Masks:
    """Writes which choices are allowed: `info["action_mask"]`, nested as the actions are, as a byte for each choice."""

    def __init__(self, space: Any, memory: Any, offset: int, num_envs: int, width: int) -> None:
        import numpy as np

        self._np = np
        self._sizes = [int(n) for _, leaf in leaves(space) for n in described(leaf, ())["values"]]
        self._rows = np.frombuffer(memory, np.uint8, num_envs * width, offset).reshape(num_envs, width)

    def write(self, env: int, info: dict[str, Any]) -> None:
        """Raises `ValueError` where there is none, or one of other choices, or one that allows nothing."""
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


# The process ---------------------------------------------------------------------------------------------------------


class Parent:
    """The other end of the socket."""

    def __init__(self, descriptor: int) -> None:
        import socket

        self._socket = socket.socket(fileno=descriptor)
        self._stream = self._socket.makefile("rb")

    def hear(self) -> tuple[dict[str, Any], bytes] | None:
        """A line and the bytes that follow it; None where the parent has said goodbye."""
        line = self._stream.readline()
        if not line:
            return None
        message = json.loads(line)
        return message, self._stream.read(message.get("bytes", 0))

    def say(self, message: dict[str, Any]) -> None:
        self._socket.sendall(json.dumps(message).encode() + b"\n")


def die_with(lifeline: int) -> None:
    """The kernel kills this process when the parent's end of a pipe closes, even in a loop of C that holds the GIL.

    Not by PR_SET_PDEATHSIG, which follows the thread that made this process and not the parent.
    """
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, _F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC | os.O_NONBLOCK)
    with contextlib.suppress(BlockingIOError):
        if os.read(lifeline, 1) == b"":  # it was closed before
            os._exit(1)


def trace(error: BaseException) -> str:
    """An exception as a sentence, and below it where it came from, without the frames of this file."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename != __file__]
    said = "".join(traceback.format_exception_only(error)).strip()
    return f"the environment raised {said}\n" + "".join(traceback.format_list(frames)).rstrip()


def sentence(error: BaseException) -> str:
    """An exception in one sentence, with the place that it came from."""
    if isinstance(error, RefusedError):
        return str(error)
    said, *frames = trace(error).split("\n  File ")
    place = frames[-1].splitlines()[0] if frames else ""
    return " ".join(said.split()) + (f" ({place})" if place else "")


def main() -> None:
    """`python -P child.py SOCKET MEMORY GO DONE LIFELINE`, file descriptors all."""
    descriptors = [int(argument) for argument in sys.argv[1:]]
    socket, memory, go, done, lifeline = descriptors
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it is the parent's, which ends this process in its own time
    os.dup2(2, 1)  # what environments print must not be taken for the program's own output
    die_with(lifeline)
    parent = Parent(socket)
    view: mmap.mmap | None = None
    message, message_bytes = 0, 0
    try:
        order = parent.hear()
        if order is None:
            return
        job, blob = order
        sys.path[:] = job["path"]
        envs = made(maker(job["name"], blob), job["num_envs"])
        begun = envs.reset([*job["seeds"], *range(envs.num_envs)][: envs.num_envs])
        parent.say(
            {
                "observation": [described(space, path) for path, space in leaves(envs.observation_space)],
                "paths": [list(path) for path, _ in leaves(envs.observation_space)],
                "action": [described(space, path) for path, space in leaves(envs.action_space)],
                "max_episode_steps": int(getattr(envs.spec, "max_episode_steps", None) or 0),
                "num_envs": envs.num_envs if isinstance(envs, Vector) else 0,
                "steps_at_once": envs.steps_at_once,
                "masked": "action_mask" in begun[0][1],
            }
        )
        order = parent.hear()
        if order is None:
            envs.close()
            return
        plan, _ = order
        layout = plan["layout"]
        view = mmap.mmap(memory, layout["size"])
        message, message_bytes = layout["message"], layout["message_bytes"]
        step_all(envs, begun, plan, view, go, done)
    except BaseException as error:
        if view is None:
            with contextlib.suppress(OSError):
                parent.say({"error": sentence(error)})
        else:
            text = str(error) if isinstance(error, RefusedError) else trace(error)
            said = text.encode(errors="replace")[: message_bytes - 4]
            view[message + 4 : message + 4 + len(said)] = said
            struct.pack_into("=I", view, message, len(said))
            os.eventfd_write(done, 1)
        sys.stderr.flush()
        os._exit(1)


def step_all(
    envs: Separate | Vector,
    begun: list[tuple[Any, dict[str, Any]]],
    plan: dict[str, Any],
    view: Any,
    go: int,
    done: int,
) -> None:
    """Shows the first observations, and then steps for ever."""
    import numpy as np

    layout, num_envs = plan["layout"], envs.num_envs
    rows = Rows(plan, view, layout["observations"], num_envs)
    finals = Rows(plan, view, layout["finals"], num_envs) if layout["finals"] else None
    actions = Actions(envs.action_space, view, layout["actions"], num_envs)
    masks = (
        Masks(envs.action_space, view, layout["masks"], num_envs, plan["mask_width"]) if plan["mask_width"] else None
    )
    rewards = np.frombuffer(view, np.float32, num_envs, layout["rewards"])
    flags = np.frombuffer(view, np.uint8, num_envs, layout["flags"])
    for i, (observation, info) in enumerate(begun):
        rows.write(i, observation)
        rewards[i], flags[i] = 0, RESET_STEP | STARTS
        if masks is not None:
            masks.write(i, info)
    while True:
        os.eventfd_write(done, 1)
        os.eventfd_read(go)
        for i, (observation, reward, flag, info, final) in enumerate(envs.step(actions.read())):
            rows.write(i, observation)
            rewards[i], flags[i] = reward, flag
            if masks is not None:
                masks.write(i, info)
            if final is not None and finals is not None:
                finals.write(i, final)


if __name__ == "__main__":
    main()
