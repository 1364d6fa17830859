"""a3c_fast: asynchronous advantage actor-critic on CPUs, with the whole training loop in C++.

from a3c_fast import Config, Trainer

with Trainer(Config(env_id="CartPole-v1")) as trainer:
    trainer.run()
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from a3c_fast.config import Config
    from a3c_fast.envs.listing import list_envs
    from a3c_fast.envs.processes import InProcess
    from a3c_fast.errors import CheckpointError, ConfigError, WorkerError
    from a3c_fast.events import Ended, Episode, Evaluated, Events, Metrics, Saved
    from a3c_fast.exports.exporting import export
    from a3c_fast.hosts import Hosts
    from a3c_fast.loading import load_policy
    from a3c_fast.policy import ActorCritic
    from a3c_fast.schedules import Schedule, constant, linear, points
    from a3c_fast.trackers import RunInfo, Tracker
    from a3c_fast.trainer import Trainer

__all__ = [
    "ActorCritic",
    "CheckpointError",
    "Config",
    "ConfigError",
    "Ended",
    "Episode",
    "Evaluated",
    "Events",
    "Hosts",
    "InProcess",
    "Metrics",
    "RunInfo",
    "Saved",
    "Schedule",
    "Tracker",
    "Trainer",
    "WorkerError",
    "constant",
    "export",
    "linear",
    "list_envs",
    "load_policy",
    "points",
]

_HOMES = {
    "ActorCritic": "policy",
    "CheckpointError": "errors",
    "Config": "config",
    "ConfigError": "errors",
    "Ended": "events",
    "Episode": "events",
    "Evaluated": "events",
    "Events": "events",
    "Hosts": "hosts",
    "InProcess": "envs.processes",
    "Metrics": "events",
    "RunInfo": "trackers",
    "Saved": "events",
    "Schedule": "schedules",
    "Tracker": "trackers",
    "Trainer": "trainer",
    "WorkerError": "errors",
    "constant": "schedules",
    "export": "exports.exporting",
    "linear": "schedules",
    "list_envs": "envs.listing",
    "load_policy": "loading",
    "points": "schedules",
}


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    # On first use: the commands answer signals and bad flags before torch has loaded.
    if name not in _HOMES:
        raise AttributeError(f"module 'a3c_fast' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"a3c_fast.{_HOMES[name]}"), name)
