"""Environments: what there are, what they show and take, and one worker's of them as the core steps them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from a3c_fast.envs import drawn, envpool, processes, scripted
from a3c_fast.envs.env_host import host_of
from a3c_fast.envs.env_thread import EnvThread
from a3c_fast.envs.envpool import threads_of_pool
from a3c_fast.envs.families import Family, Problem, envs_at_once, family_of, max_episode_steps, problem_of
from a3c_fast.envs.families import spec_of as spec_of_id
from a3c_fast.envs.processes import DRAWN, InProcess, register
from a3c_fast.envs.spec import ActionSpec, EnvSpec, ObservationSpec, Part
from a3c_fast.errors import ConfigError

if TYPE_CHECKING:
    from a3c_fast._core import EnvClient
    from a3c_fast.config import Config

__all__ = [
    "DRAWN",
    "ActionSpec",
    "EnvSpec",
    "Family",
    "InProcess",
    "ObservationSpec",
    "Part",
    "Problem",
    "env_seeds",
    "envs_at_once",
    "family_of",
    "frame_of",
    "make_client",
    "make_clients",
    "max_episode_steps",
    "measure_observations",
    "problem_of",
    "random_play",
    "register",
    "spec_of",
    "thread_of",
    "threads_of_pool",
]


def spec_of(config: Config) -> EnvSpec:
    """What the environments of a run show and take."""
    return spec_of_id(config.env_id, config.stack_num if config.family == "atari" else None)


def env_seeds(seed: int, stream: int, count: int) -> list[int]:
    """`count` different seeds in [0, 2**31 - 1), one an environment; `stream` tells runs of the same seed apart."""
    generator = np.random.default_rng([seed, stream])
    return [int(value) for value in generator.choice(2**31 - 1, size=count, replace=False)]


def make_client(
    config: Config, seeds: Sequence[int], *, training: bool = True, num_threads: int = 1, render_mode: str = ""
) -> EnvClient:
    """`len(seeds)` environments as the core steps them, freshly reset; `num_threads` of EnvPool's step them.

    With `training` False they report true scores: lives do not end episodes and rewards are not clipped. With a
    `render_mode` they can be drawn, see `frame_of`.
    Raises `RuntimeError` in one sentence when EnvPool's private interface is not the one that a3c_fast knows.
    """
    if config.family == "fake":
        return scripted.make_client(config.env_id, seeds)
    if config.family == "gymnasium":
        return processes.make_clients(config.env_id, spec_of(config), [seeds], limit_of(config), render_mode)[0]
    return envpool.make_client(
        config, spec_of(config), seeds, training=training, num_threads=num_threads, render_mode=render_mode
    )


def make_clients(config: Config, seeds: Sequence[Sequence[int]]) -> list[EnvClient]:
    """The environments of several workers, for training. Raises as `make_client`."""
    if config.family == "gymnasium":  # their processes begin at the same time
        return processes.make_clients(config.env_id, spec_of(config), seeds, limit_of(config))
    return [make_client(config, of_worker) for of_worker in seeds]


def frame_of(config: Config, client: EnvClient) -> npt.NDArray[np.uint8]:
    """What the first of a client's environments of `render_mode` DRAWN looks like, [height, width, 3].

    Between recv() and send(). Raises `RuntimeError` in one sentence where it cannot be drawn.
    """
    return drawn.frame_of(client, limit_of(config))


def thread_of(client: EnvClient) -> int | None:
    """The ident of the thread of this process that steps a user's environments; None where none does."""
    host = host_of(client)
    return host.ident if isinstance(host, EnvThread) else None


def limit_of(config: Config) -> float:
    """Seconds that a step of a user's environments may take: it is to be told before the watchdog tells."""
    return 0.95 * config.watchdog_seconds


def random_play(config: Config, *, num_envs: int, steps: int, stream: int) -> Iterator[npt.NDArray[np.uint8]]:
    """What training would see if it acted at random: the observations of each step, rows of `ObservationSpec`.

    `stream` is that of `env_seeds`.
    """
    client = make_client(config, env_seeds(config.seed, stream, num_envs))
    action = spec_of(config).action
    generator = np.random.default_rng(config.seed)
    masks = client.recv()["action_masks"]
    for _ in range(steps):
        if masks is None:
            client.send(_random_actions(action, generator, num_envs))
        else:
            client.send(_allowed_actions(action, generator, masks))
        batch = client.recv()
        masks = batch["action_masks"]
        yield batch["observations"]


def _allowed_actions(
    action: ActionSpec, generator: np.random.Generator, masks: npt.NDArray[np.uint8]
) -> npt.NDArray[Any]:
    ends = np.cumsum(action.choices)
    chosen = [[generator.choice(np.flatnonzero(part)) for part in np.split(mask, ends[:-1])] for mask in masks]
    return np.array(chosen)


def _random_actions(action: ActionSpec, generator: np.random.Generator, num_envs: int) -> npt.NDArray[Any]:
    if action.is_continuous:
        return generator.uniform(-1, 1, (num_envs, action.size))
    if action.size == 1:
        return generator.integers(action.choices[0], size=num_envs, dtype=np.int32)
    return generator.integers(action.choices, size=(num_envs, action.size))


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
    spec = spec_of(config).observation
    counts = np.zeros(256, np.int64)
    num_envs = envs_at_once(config.env_id) or 2
    for step, rows in enumerate(random_play(config, num_envs=num_envs, steps=100, stream=2**34)):
        if step % 10 == 9:
            images = spec.array_of(rows)
            newest = images[:, -1] if config.family == "atari" else images
            counts += np.bincount(newest.ravel(), minlength=256)
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
