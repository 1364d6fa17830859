"""Environments that draw themselves: which do, how fast they go by, and a picture of one."""

from __future__ import annotations

import functools
import subprocess
import sys
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from a3c_fast.envs import processes
from a3c_fast.envs.env_host import host_of
from a3c_fast.envs.families import options_of, spec_of

if TYPE_CHECKING:
    from a3c_fast._core import EnvClient
    from a3c_fast.config import Config

# EnvPool's families that draw with no more than a processor. Others are tried in a process of their own: MuJoCo's end
# the process where there is no EGL.
_SURE = ("atari", "box2d", "classic_control", "minigrid", "vizdoom")
_PACES = {"minigrid": 8.0, "box2d": 50.0, "classic_control": 50.0}
_TRIAL_SECONDS = 120.0
_TRIAL = """
import json, sys
from a3c_fast.imports import import_envpool
env_id, options = sys.argv[1], json.loads(sys.argv[2])
pool = import_envpool().make(env_id, "gymnasium", num_envs=1, render_mode="rgb_array", **options)
pool.reset()
print("drawn", pool.render().shape)
"""

_pools: weakref.WeakKeyDictionary[EnvClient, Any] = weakref.WeakKeyDictionary()


def is_drawn(config: Config) -> bool:
    """Whether environments of `config` can be drawn; EnvPool's that may not are tried."""
    if config.family == "fake":
        return False
    if config.family == "gymnasium":
        return processes.frames_per_second(config.env_id) > 0
    return config.family in _SURE or _is_drawn_in_a_process(config.env_id, config.family)


def shows_pictures(config: Config) -> bool:
    """Whether observations are images that people know; MiniGrid's are codes of what lies in each field."""
    observation = spec_of(config.env_id, config.stack_num if config.family == "atari" else None).observation
    return bool(observation.array_shape) and observation.array_type == "uint8" and config.family != "minigrid"


def frames_per_second(config: Config) -> float:
    """Agent steps a second at which it is watched; 0 where there is nothing to see."""
    if config.family == "gymnasium" and (pace := processes.frames_per_second(config.env_id)):
        return pace
    if not (shows_pictures(config) or is_drawn(config)):
        return 0.0
    return 60 / config.frame_skip if config.family == "atari" else _PACES.get(config.family, 30.0)


def remember(client: EnvClient, pool: Any) -> None:
    """That `pool`, which was made with a render_mode, is what the client steps."""
    _pools[client] = pool


def frame_of(client: EnvClient, limit_seconds: float) -> npt.NDArray[np.uint8]:
    """What the first of a client's environments looks like, [height, width, 3]: made with render_mode `rgb_array`.

    Between recv() and send(). Raises `RuntimeError` in one sentence where it cannot be drawn.
    """
    pool = _pools.get(client)
    if pool is not None:
        frame: npt.NDArray[np.uint8] = np.array(pool.render()[0])
        return frame
    host = host_of(client)
    assert host is not None
    return host.frame(limit_seconds)


@functools.lru_cache(maxsize=256)
def _is_drawn_in_a_process(env_id: str, family: str) -> bool:
    import json

    command = [sys.executable, "-c", _TRIAL, env_id, json.dumps(dict(options_of(family)))]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_TRIAL_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and "drawn" in done.stdout
