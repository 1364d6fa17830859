"""A network of the user's own: what it is called, how it is made, and which modules no worker could train.

It is named `module:name`, a class or a callable of a module that makes one. What is given to `Trainer` is named so too,
and known here for as long as the program lives. Every refusal is a `ConfigError` in one sentence.
"""

from __future__ import annotations

import importlib
import inspect
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from a3c_fast.envs.spec import EnvSpec
from a3c_fast.errors import ConfigError
from a3c_fast.lowering import RefusedError, line_of
from a3c_fast.network_checks import check_module, copied
from a3c_fast.user_policy import action_space, observation_space

if TYPE_CHECKING:
    from a3c_fast.config import Config
    from a3c_fast.stored_settings import NetworkSettings

Factory = Callable[..., nn.Module] | nn.Module

_MEASURED = ("observation_offset", "observation_scale")

_seeding = threading.Lock()  # held while torch's random numbers, which all threads share, are those of a seed
_registered: dict[str, Factory] = {}  # by name; single assignments, which need no lock


# What it is called ---------------------------------------------------------------------------------------------------


def register(network: Any) -> str:
    """Takes a module, its class, or a callable that makes one; the name by which it is found again.

    The newest of a name is the one that it means: a notebook defines a class again and again. Raises `ConfigError`.
    """
    if isinstance(network, str):
        raise ConfigError(
            "network", network, "a name goes into Config(network=...): here it must be the network itself"
        )
    if not callable(network):
        raise ConfigError("network", network, "it must be a torch.nn.Module, its class, or a callable that makes one")
    maker = network.func if hasattr(network, "func") else network  # functools.partial
    named = maker if hasattr(maker, "__qualname__") else type(maker)
    name = f"{named.__module__}:{named.__qualname__}"
    if "<" not in name and not _is_what_is_named(network, named.__module__, named.__qualname__):
        name += "()"  # what is found under the name itself is another thing
    _registered[name] = network
    return name


def _is_what_is_named(network: Any, module: str, name: str) -> bool:
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return found is network


def find(name: str) -> Factory:
    """The class or callable of this name. Raises `ConfigError` where there is none."""
    if name in _registered:
        return _registered[name]
    module, colon, attribute = name.partition(":")
    named = all(part.isidentifier() for part in module.split("."))
    if not colon or not named or not attribute:
        reason = "it must be module:name, the name of a class or a callable in a module that can be imported"
        raise ConfigError("network", name, reason)
    if module == "__main__" or "<" in attribute or attribute.endswith("()"):
        raise ConfigError(
            "network",
            name,
            "it cannot be imported: in a program give it again, Trainer(config, network=...); for a command it must be "
            "a class or a callable in a module",
        )
    try:
        found: Any = _imported(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (Exception, SystemExit) as error:
        raise ConfigError("network", name, f"it cannot be imported: {line_of(error)}") from error
    if not callable(found):
        raise ConfigError("network", name, f"it must be a class or a callable, and it is a {type(found).__name__}")
    return found  # type: ignore[no-any-return]


def _imported(module: str) -> Any:
    """As `python -m` finds it, also where the program has not the working directory among its paths."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        here = str(Path.cwd())
        if error.name != module.partition(".")[0] or here in sys.path or "" in sys.path:
            raise
        sys.path.insert(0, here)
        try:
            return importlib.import_module(module)
        finally:
            sys.path.remove(here)


def wants_measured(name: str) -> bool:
    """Whether a network takes the offset and scale of observations."""
    return not isinstance(find(name), nn.Module) and bool(set(_MEASURED) & set(_parameters(find(name))))


def _parameters(factory: Factory) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(factory).parameters
    except (TypeError, ValueError):
        return {}


# How it is made ------------------------------------------------------------------------------------------------------


def make(name: str, config: Config | NetworkSettings, spec: EnvSpec) -> nn.Module:
    """A module of its own, with initial parameters by `config.seed`. Raises `ConfigError`."""
    factory = find(name)
    try:
        module = copied(factory) if isinstance(factory, nn.Module) else _called(factory, config, spec)
        check_module(module)
    except RefusedError as reason:
        raise ConfigError("network", name, str(reason)) from reason
    return module


def _called(factory: Callable[..., nn.Module], config: Config | NetworkSettings, spec: EnvSpec) -> nn.Module:
    parameters = _parameters(factory)
    by_name = {name: float(getattr(config, name)) for name in _MEASURED if name in parameters}
    required = [
        parameter
        for name, parameter in parameters.items()
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        and parameter.default is parameter.empty
        and name not in by_name
    ]
    positional = [parameter for parameter in required if parameter.kind is not parameter.KEYWORD_ONLY]
    takes_any = any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters.values())
    if len(positional) not in (0, 2) or len(required) > len(positional):
        takes = ", ".join(parameter.name for parameter in required)
        raise RefusedError(f"it must take the observation space and the action space, or nothing, and it takes {takes}")
    spaces = (observation_space(spec.observation), action_space(spec.action)) if positional or takes_any else ()
    with _seeding, torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        try:
            return factory(*spaces, **by_name)
        except (Exception, SystemExit) as error:
            raise RefusedError(f"to make it failed: {line_of(error)}") from error
