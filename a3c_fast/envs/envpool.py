"""Makes EnvPool pools with checked arguments and hands their capsules to the core.

EnvPool checks almost nothing itself: stack_num=0 crashes the process, a wrong seed list is silently shortened.
Everything that reaches it from here has been checked by `Config`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from a3c_fast.envs import drawn
from a3c_fast.envs.families import options_of
from a3c_fast.envs.spec import EnvSpec
from a3c_fast.errors import ConfigError
from a3c_fast.imports import import_envpool
from a3c_fast.machine import require_threads

if TYPE_CHECKING:
    from a3c_fast._core import EnvClient
    from a3c_fast.config import Config


def make_pool(
    config: Config, seeds: Sequence[int], *, training: bool, num_threads: int = 1, render_mode: str = ""
) -> Any:
    """A synchronous EnvPool pool of `len(seeds)` environments, which can draw themselves with a `render_mode`.

    With `training` False the pool's rewards are not clipped.
    """
    require_threads(threads_of_pool(len(seeds), num_threads), "num_threads", num_threads)
    options = dict(options_of(config.family))
    if render_mode:
        options["render_mode"] = render_mode
    if config.family == "atari":
        options |= {
            "frame_skip": config.frame_skip,
            "stack_num": config.stack_num,
            "noop_max": config.noop_max,
            "repeat_action_probability": config.sticky_probability,
            "episodic_life": False,  # it would play up to `noop_max` no-ops after each lost life
            "reward_clip": config.reward_clip and training,
        }
    if config.family == "vizdoom":  # else the environments make it all at once, and all but the first may fail
        try:
            Path("_vizdoom").mkdir(exist_ok=True)
        except OSError as error:
            reason = f"ViZDoom needs a directory _vizdoom in the working directory: {error.strerror}"
            raise ConfigError("env_id", config.env_id, reason) from error
    return import_envpool().make(
        config.env_id,
        "gymnasium",
        num_envs=len(seeds),
        batch_size=len(seeds),
        num_threads=num_threads,
        seed=list(seeds),
        **options,
    )


def threads_of_pool(num_envs: int, num_threads: int) -> int:
    """Threads that EnvPool starts for a pool: to step, to make buffers, and at first some more to make environments."""
    processors = os.cpu_count() or 1
    return num_threads + max(1, processors // 64) + min(processors, num_envs)


def make_client(
    config: Config,
    spec: EnvSpec,
    seeds: Sequence[int],
    *,
    training: bool = True,
    num_threads: int = 1,
    render_mode: str = "",
) -> EnvClient:
    """A pool as the core steps it, freshly reset.

    With `training` False it reports true scores: rewards are not clipped, and a lost life ends nothing.
    Raises `RuntimeError` in one sentence when EnvPool's private interface is not the one that a3c_fast knows.
    """
    pool = make_pool(config, seeds, training=training, num_threads=num_threads, render_mode=render_mode)
    try:
        client = _wrap(pool, spec, len(seeds), config.episodic_life and training)
        pool.async_reset()
        client.probe()
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise RuntimeError(
            f"EnvPool {import_envpool().__version__} does not offer the interface that a3c_fast steps it through "
            f"({error}): install an EnvPool from 1.0 on and below 1.3"
        ) from error
    pool.async_reset()
    if render_mode:
        drawn.remember(client, pool)
    return client


def _wrap(pool: Any, spec: EnvSpec, num_envs: int, episodic_life: bool) -> EnvClient:
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
        spec=spec.core(num_envs),
        parts=list(spec.observation.parts),
        first_choice=spec.action.first,
        episodic_life=episodic_life,
    )


def _named(keys: Sequence[str], specs: Sequence[Any]) -> list[tuple[str, str, list[int]]]:
    """(key, dtype, shape) of each buffer; the first spec is the handle and has no key."""
    if len(specs) != len(keys) + 1:
        raise RuntimeError(f"{len(keys)} keys and {len(specs) - 1} buffers")
    return [(key, str(dtype), [int(n) for n in shape]) for key, (dtype, shape) in zip(keys, specs[1:], strict=True)]
