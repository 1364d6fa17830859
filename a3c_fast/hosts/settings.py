"""What must be the same on every host, and what the others take from rank 0, before anything is made of it."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping

import msgspec
import torch

from a3c_fast import _core
from a3c_fast.config import Config
from a3c_fast.errors import ConfigError
from a3c_fast.hosts.rounds import over_key
from a3c_fast.hosts.store import HostsStore
from a3c_fast.versions import versions

PROTOCOL = 2  # of hosts among themselves: rises when an earlier version would not understand this one

# Settings that a host may have of its own: how many environments it steps, and what rank 0 alone does.
_OWN = {
    *("num_workers", "envs_per_worker", "precision", "watchdog_seconds", "run_dir", "resume", "max_minutes"),
    *("stop_at_return", "evaluate_every", "evaluate_episodes", "evaluate_greedy", "stop_at_evaluation"),
    *("evaluate_patience", "log_every_seconds", "checkpoint_every_seconds", "keep_checkpoints", "track"),
}
_RUN = "run"
# What rank 0 has measured, in the place of `auto`.
_MEASURED = ("observation_offset", "observation_scale")


class NothingLeft(Exception):  # noqa: N818 no error
    """Rank 0 has nothing to do, and says why."""


def begin_run(store: HostsStore) -> int:
    """By rank 0: the number of its next run, which is that of one that goes on without it."""
    number = current_run(store)
    if store.check(over_key(number)):
        number += 1
    set_run(store, number)
    return number


def set_run(store: HostsStore, number: int) -> None:
    """By rank 0: the run of this number begins."""
    store.set(_RUN, str(number))


def current_run(store: HostsStore) -> int:
    """The number of the run of rank 0, from 0 on."""
    return int(store.get(_RUN)) if store.check(_RUN) else 0


def publish(store: HostsStore, config: Config, first_step: int) -> None:
    """By rank 0, which has measured what is to be measured and goes on at a step."""
    values = {"protocol": PROTOCOL, "versions": _versions(), "config": config.to_json(), "first_step": first_step}
    store.set("settings", msgspec.json.encode(values).decode())


def publish_nothing_left(store: HostsStore, reason: str) -> None:
    """By rank 0, in the place of its settings."""
    store.set("settings", msgspec.json.encode({"nothing_left": reason}).decode())


def agreed(store: HostsStore, config: Config, wait: Callable[[], None]) -> tuple[Config, int]:
    """The settings of rank 0, with what is this host's own, and the step it goes on at.

    `wait` is called again and again until rank 0 has published them. Raises `ConfigError` where this host's contradict
    them, `NothingLeft` where rank 0 has nothing to do or has done it.
    """
    while not store.check("settings"):
        wait()
    while store.check(over := over_key(current_run(store))):
        if store.get(over) != b"aborts":
            raise NothingLeft("rank 0 has ended the run")
        wait()  # until it begins again
    theirs = msgspec.json.decode(store.get("settings"))
    if "nothing_left" in theirs:
        raise NothingLeft(theirs["nothing_left"])
    versions_here = _versions()
    if theirs["protocol"] != PROTOCOL or theirs["versions"] != versions_here:
        odd = {name: value for name, value in theirs["versions"].items() if versions_here.get(name) != value}
        name = next(iter(odd), "a3c_fast")
        raise ConfigError(name, versions_here.get(name), f"rank 0 has {odd.get(name)}, and all hosts need the same")
    first, own = Config.from_json(theirs["config"]), config.said()
    defaults = {field.name: field.default for field in dataclasses.fields(Config)}
    for name in own.keys() - _OWN:
        is_said = own[name] != defaults[name] and not (name in _MEASURED and own[name] == "auto")
        if is_said and own[name] != getattr(first, name):
            rank_0 = getattr(first, name)
            raise ConfigError(name, own[name], f"rank 0 has {rank_0!r}, and all hosts train with the same")
    kept = {name: own[name] for name in _OWN & own.keys()}
    # Those of rank 0 are one for each of its cores.
    return first.replace(**{"num_workers": 0, **kept}), theirs["first_step"]


def require_same_network(
    store: HostsStore, engine: _core.Engine, constants: Mapping[str, torch.Tensor], rank: int, wait: Callable[[], None]
) -> None:
    """Raises `ConfigError` where the network has other parameters, or other constants, than that of rank 0.

    `wait` as for `agreed`.
    """
    parameters = [[name, list(shape)] for name, shape, *_ in engine.parameter_specs]
    hashes = {name: hashlib.sha256(value.numpy().tobytes()).hexdigest() for name, value in constants.items()}
    own = {"parameters": parameters, "constants": hashes}
    if rank == 0:
        store.set("network", msgspec.json.encode(own).decode())
        return
    while not store.check("network"):
        wait()
    theirs = msgspec.json.decode(store.get("network"))
    if theirs["parameters"] != parameters:
        odd = next((mine for mine in parameters if mine not in theirs["parameters"]), parameters[-1])
        raise ConfigError("network", odd, f"the network of rank 0 has other parameters: {theirs['parameters']}")
    for name in hashes:
        if theirs["constants"].get(name) != hashes[name]:
            raise ConfigError("network", name, "rank 0 has other numbers in this buffer or frozen parameter")


def _versions() -> dict[str, str]:
    """Of what computes and plays."""
    found = versions()
    return {
        name: found[name].partition("+")[0] for name in ("a3c_fast", "torch", "envpool", "gymnasium") if name in found
    }
