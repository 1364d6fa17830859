"""Makes EnvPool pools with checked arguments and hands their capsules to the core.

EnvPool checks almost nothing itself: stack_num=0 crashes the process, a wrong seed list is silently shortened.
Everything that reaches it from here has been checked by `Config`.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import math
import warnings
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from a3c_fast.errors import ConfigError

if TYPE_CHECKING:
    import numpy.typing as npt

    from a3c_fast._core import EnvClient
    from a3c_fast.config import Config

# EnvPool declares float32 boxes with float64 bounds: gymnasium warns of it, and no user can do anything about it.
warnings.filterwarnings("ignore", message=".*precision lowered by casting")

Family = Literal["atari", "classic_control", "fake"]

# Scripted environments of our own (cpp/env/fake_env.h and recall_env.h): for tests, and to measure the loop without an
# emulator.
FAKE_ENVS: dict[str, tuple[tuple[int, ...], str, int]] = {
    "a3c_fast/Fake-v0": ((4,), "float32", 3),
    "a3c_fast/FakeImage-v0": ((4, 84, 84), "uint8", 6),
    "a3c_fast/Recall-v0": ((5,), "float32", 4),
}

_FAMILIES: dict[str, Family] = {"envpool.atari": "atari", "envpool.classic_control": "classic_control"}


def family_of(env_id: str) -> Family:
    """The kind of environment `env_id` names. Raises `ConfigError` for one that does not exist or is not built."""
    if not isinstance(env_id, str):
        raise ConfigError("env_id", env_id, "it must be the name of an EnvPool environment")
    return _family_of(env_id)


@functools.lru_cache(maxsize=256)
def _family_of(env_id: str) -> Family:
    if env_id in FAKE_ENVS:
        return "fake"
    from envpool.registration import registry

    entry = registry.specs.get(env_id)
    if entry is None:
        close = difflib.get_close_matches(env_id, registry.specs, n=3)
        hint = f"did you mean {' or '.join(close)}?" if close else "envpool.list_all_envs() names those that there are"
        raise ConfigError("env_id", env_id, f"EnvPool has no such environment; {hint}")
    family = _FAMILIES.get(entry[0])
    if family is None:
        raise ConfigError(
            "env_id", env_id, f"{entry[0].removeprefix('envpool.')} is not built: Atari and classic control are"
        )
    return family


def env_seeds(seed: int, stream: int, count: int) -> list[int]:
    """`count` different seeds in [0, 2**31 - 1), one an environment; `stream` tells runs of the same seed apart."""
    generator = np.random.default_rng([seed, stream])
    return [int(value) for value in generator.choice(2**31 - 1, size=count, replace=False)]


def make_pool(config: Config, seeds: Sequence[int], *, training: bool, num_threads: int = 1) -> Any:
    """A synchronous EnvPool pool of `len(seeds)` environments.

    With `training` False the pool reports true scores: lives do not end episodes and rewards are not clipped.
    """
    import envpool

    options: dict[str, Any] = {}
    if config.family == "atari":
        options = {
            "frame_skip": config.frame_skip,
            "stack_num": config.stack_num,
            "noop_max": config.noop_max,
            "repeat_action_probability": config.sticky_probability,
            "episodic_life": config.episodic_life and training,
            "reward_clip": config.reward_clip and training,
        }
    return envpool.make(
        config.env_id,
        "gymnasium",
        num_envs=len(seeds),
        batch_size=len(seeds),
        num_threads=num_threads,
        seed=list(seeds),
        **options,
    )


def observation_layout(config: Config) -> tuple[tuple[int, ...], str, int]:
    """Shape and dtype of one observation, and the number of actions.

    Raises `ConfigError` for an environment whose spaces are not built: continuous, or several at once.
    """
    if config.env_id in FAKE_ENVS:
        return FAKE_ENVS[config.env_id]
    import envpool
    import gymnasium

    options = {"stack_num": config.stack_num} if config.family == "atari" else {}
    spec = envpool.make_spec(config.env_id, **options)
    action_space: Any = spec.action_space
    observation_space: Any = spec.observation_space
    if not isinstance(action_space, gymnasium.spaces.Discrete) or action_space.start != 0:
        raise ConfigError("env_id", config.env_id, f"its actions {action_space} are not built: Discrete(n) is")
    if not isinstance(observation_space, gymnasium.spaces.Box):
        raise ConfigError("env_id", config.env_id, f"its observations {observation_space} are not built: Box is")
    dtype = str(observation_space.dtype)
    if dtype not in ("uint8", "float32"):
        raise ConfigError("env_id", config.env_id, f"its {dtype} observations are not built: uint8 and float32 are")
    return tuple(int(extent) for extent in observation_space.shape), dtype, int(action_space.n)


def random_play(config: Config, *, num_envs: int, steps: int, stream: int) -> Iterator[npt.NDArray[Any]]:
    """What training would see if it acted at random: the observations [num_envs, ...] of each step.

    They are good until the next step. `stream` is that of `env_seeds`.
    """
    pool = make_pool(config, env_seeds(config.seed, stream, num_envs), training=True)
    generator = np.random.default_rng(config.seed)
    pool.reset()
    for _ in range(steps):
        yield pool.step(generator.integers(pool.action_space.n, size=num_envs, dtype=np.int32))[0]


def measure_observations(config: Config) -> Config:
    """`config` with numbers where its observations' offset and scale are "auto", from random play.

    The offset is the median pixel / 255 in 2 environments over 100 steps: the shade of the game's background. Most of
    an image is background, the same at every step. Were it not 0, it would move every unit of the first layers the same
    way at each update, and soon most of them would never be active again. The scale brings the root mean square of
    what is left to 1: for that a network's initial weights are made.

    Raises `ConfigError` where next to nothing is left.
    """
    if "auto" not in (config.observation_offset, config.observation_scale):
        return config
    counts = np.zeros(256, np.int64)
    for step, images in enumerate(random_play(config, num_envs=2, steps=100, stream=2**34)):
        if step % 10 == 9:
            counts += np.bincount(images[:, -1].ravel(), minlength=256)
    offset, scale = config.observation_offset, config.observation_scale
    if offset == "auto":
        offset = round(int(np.searchsorted(counts.cumsum(), counts.sum() / 2)) / 255, 4)
    if scale == "auto":
        root_mean_square = math.sqrt(np.average((np.arange(256) / 255 - float(offset)) ** 2, weights=counts))
        if root_mean_square < 1e-3:
            allowed = f"random play of {config.env_id} shows nothing but its background: give a number"
            raise ConfigError("observation_scale", scale, allowed)
        scale = round(1 / root_mean_square, 2)
    return dataclasses.replace(config, observation_offset=offset, observation_scale=scale)


def make_client(config: Config, seeds: Sequence[int]) -> EnvClient:
    """One worker's environments as the core steps them, freshly reset.

    Raises `RuntimeError` in one sentence when EnvPool's private interface is not the one that a3c_fast knows.
    """
    from a3c_fast._core import EnvClient

    if config.env_id == "a3c_fast/Recall-v0":
        return EnvClient.recall(num_envs=len(seeds), seed=seeds[0])
    if config.env_id in FAKE_ENVS:
        shape, dtype, num_actions = FAKE_ENVS[config.env_id]
        return EnvClient.fake(
            num_envs=len(seeds),
            observation_shape=list(shape),
            observation_type=dtype,
            num_actions=num_actions,
            seed=seeds[0],
        )
    import envpool

    pool = make_pool(config, seeds, training=True)
    try:
        client = _wrap(pool, len(seeds))
        pool.async_reset()
        client.probe()
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise RuntimeError(
            f"EnvPool {envpool.__version__} does not offer the interface that a3c_fast steps it through ({error}): "
            "install an EnvPool from 1.0 on and below 1.3"
        ) from error
    pool.async_reset()
    return client


def _wrap(pool: Any, num_envs: int) -> EnvClient:
    """The client over a pool's XLA capsules. `_xla()` is private to EnvPool: whatever is odd about it is refused."""
    from a3c_fast._core import EnvClient

    handlers = dict(pool._xla())
    recv_handle, (_, recv_results), (recv, _) = handlers["recv"]
    send_handle, (send_arguments, _), (send, _) = handlers["send"]
    if recv_handle != send_handle or len(recv_handle) != 8:
        raise RuntimeError("recv and send do not share one 8-byte handle")
    return EnvClient.envpool(
        owner=pool,
        recv=recv,
        send=send,
        handle=int.from_bytes(recv_handle, "little"),
        state=_named(pool._state_keys, recv_results),
        action=_named(pool._action_keys, send_arguments),
        num_envs=num_envs,
        num_actions=int(pool.action_space.n),
    )


def _named(keys: Sequence[str], specs: Sequence[Any]) -> list[tuple[str, str, list[int]]]:
    """(key, dtype, shape) of each buffer; the first spec is the handle and has no key."""
    if len(specs) != len(keys) + 1:
        raise RuntimeError(f"{len(keys)} keys and {len(specs) - 1} buffers")
    return [(key, str(dtype), [int(n) for n in shape]) for key, (dtype, shape) in zip(keys, specs[1:], strict=True)]
