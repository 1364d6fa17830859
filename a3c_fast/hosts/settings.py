"""What must be the same on every host, and what the others take from rank 0, before anything is made of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import msgspec
from torch.distributed import Store  # type: ignore[attr-defined]

from a3c_fast import _core
from a3c_fast.config import Config
from a3c_fast.errors import ConfigError

PROTOCOL = 1  # of hosts among themselves: rises when an earlier version would not understand this one

# Settings that a host may have of its own: how many environments it steps, and what rank 0 alone does.
_OWN = {
    *("num_workers", "envs_per_worker", "precision", "watchdog_seconds", "run_dir", "resume", "max_minutes"),
    *("stop_at_return", "evaluate_every", "evaluate_episodes", "evaluate_greedy", "stop_at_evaluation"),
    *("exchange_every_seconds", "host_timeout_seconds"),
    *("evaluate_patience", "log_every_seconds", "checkpoint_every_seconds", "keep_checkpoints", "track"),
}
# What rank 0 has measured, in the place of `auto`.
_MEASURED = ("observation_offset", "observation_scale")


class NothingLeft(Exception):  # noqa: N818 no error
    """Rank 0 has nothing to do, and says why."""


def publish(store: Store, config: Config, version: str) -> None:
    """By rank 0, which has measured what is to be measured."""
    values = {"protocol": PROTOCOL, "a3c_fast": version, "config": config.to_json()}
    store.set("settings", msgspec.json.encode(values).decode())


def publish_nothing_left(store: Store, reason: str) -> None:
    """By rank 0, in the place of its settings."""
    store.set("settings", msgspec.json.encode({"nothing_left": reason}).decode())


def agreed(store: Store, config: Config, version: str, wait: Callable[[], None]) -> Config:
    """These settings with what rank 0 has measured; `wait` is called again and again until it has published its own.

    Raises `ConfigError` where they are not those of rank 0.
    """
    while not store.check(["settings"]):
        wait()
    theirs = msgspec.json.decode(store.get("settings"))
    if "nothing_left" in theirs:
        raise NothingLeft(theirs["nothing_left"])
    if theirs["protocol"] != PROTOCOL or theirs["a3c_fast"] != version:
        raise ConfigError("a3c_fast", version, f"rank 0 has version {theirs['a3c_fast']}, and all hosts need the same")
    first, own = Config.from_json(theirs["config"]), config.said()
    defaults = {field.name: field.default for field in dataclasses.fields(Config)}
    for name in own.keys() - _OWN:
        is_said = own[name] != defaults[name] and not (name in _MEASURED and own[name] == "auto")
        if is_said and own[name] != getattr(first, name):
            rank_0 = getattr(first, name)
            raise ConfigError(name, own[name], f"rank 0 has {rank_0!r}, and all hosts train with the same")
    return first.replace(**{name: own[name] for name in _OWN & own.keys()})


def require_same_network(store: Store, engine: _core.Engine, rank: int) -> None:
    """Raises `ConfigError` where the network has other parameters than that of rank 0, such as one of the user's."""
    own = [[name, list(shape)] for name, shape, *_ in engine.parameter_specs]
    if rank == 0:
        store.set("network", msgspec.json.encode(own).decode())
    elif (theirs := msgspec.json.decode(store.get("network"))) != own:
        odd = next((mine for mine in own if mine not in theirs), own[-1])
        raise ConfigError("network", odd, f"the network of rank 0 has other parameters: {theirs}")
