"""A network of the user's own: what it is called, how it is made, and which modules no worker could train.

It is named `module:name`, a class or a callable of a module that makes one. What is given to `Trainer` is named so too,
and known here for as long as the program lives. Every refusal is a `ConfigError` in one sentence.
"""

from __future__ import annotations

import copy
import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from a3c_fast.envs.spec import EnvSpec
from a3c_fast.errors import ConfigError
from a3c_fast.lowering import RefusedError, line_of
from a3c_fast.user_policy import action_space, observation_space

if TYPE_CHECKING:
    from a3c_fast.config import Config

Factory = Callable[..., nn.Module] | nn.Module

_MEASURED = ("observation_offset", "observation_scale")

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
    if not colon or not module or not attribute:
        raise ConfigError("network", name, "it must be module:name, a class or a callable that makes a torch.nn.Module")
    if module == "__main__" or "<" in attribute or attribute.endswith("()"):
        raise ConfigError(
            "network", name, "it cannot be imported: give it again, as Trainer(config, network=...) or load_policy(...)"
        )
    try:
        found: Any = _imported(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except Exception as error:
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


def make(name: str, config: Config, spec: EnvSpec) -> nn.Module:
    """A module of its own, with initial parameters by `config.seed`. Raises `ConfigError`."""
    factory = find(name)
    try:
        module = copy.deepcopy(factory) if isinstance(factory, nn.Module) else _called(factory, config, spec)
        _check_module(module)
    except RefusedError as reason:
        raise ConfigError("network", name, str(reason)) from reason
    return module


def _called(factory: Callable[..., nn.Module], config: Config, spec: EnvSpec) -> nn.Module:
    parameters = _parameters(factory)
    by_name = {name: float(getattr(config, name)) for name in _MEASURED if name in parameters}
    positional = [
        parameter
        for name, parameter in parameters.items()
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
        and parameter.default is parameter.empty
        and name not in by_name
    ]
    takes_any = any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters.values())
    if len(positional) not in (0, 2):
        takes = ", ".join(parameter.name for parameter in positional)
        raise RefusedError(f"it must take the observation space and the action space, or nothing, and it takes {takes}")
    spaces = (observation_space(spec.observation), action_space(spec.action)) if positional or takes_any else ()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        try:
            return factory(*spaces, **by_name)
        except Exception as error:
            raise RefusedError(f"to make it failed: {line_of(error)}") from error


def _check_module(module: Any) -> None:
    """Raises `RefusedError` for what no worker could train, whatever its forward() does."""
    if isinstance(module, torch.jit.ScriptModule) or not isinstance(module, nn.Module):
        raise RefusedError(f"it makes a {type(module).__name__}, and must make a plain torch.nn.Module")
    if hasattr(module, "_orig_mod"):
        raise RefusedError("it went through torch.compile: give the module itself")
    size = getattr(module, "state_size", 0)
    if isinstance(size, bool) or not isinstance(size, int) or not 0 <= size <= 2**20:
        raise RefusedError(f"its state_size is {size!r}, and must be a number from 0 to {2**20}")
    for name, parameter in module.named_parameters():
        if isinstance(parameter, nn.parameter.UninitializedParameter):
            raise RefusedError(f"its parameter {name} has no shape yet: call it once with observations")
        if parameter.dtype != torch.float32 or parameter.device.type != "cpu":
            found = f"{str(parameter.dtype).removeprefix('torch.')} on {parameter.device}"
            raise RefusedError(f"its parameter {name} is {found}, and must be float32 on the CPU")
        if not parameter.isfinite().all():
            raise RefusedError(f"its parameter {name} has numbers that are not finite")
        if parameter._backward_hooks or getattr(parameter, "_post_accumulate_grad_hooks", None):
            raise RefusedError(f"its parameter {name} has a hook on its gradient, which no worker would call")
    if not any(parameter.requires_grad for parameter in module.parameters()):
        raise RefusedError("it has no parameters to train")
    for name, part in module.named_modules():
        if part._backward_hooks or part._backward_pre_hooks:
            where = name or type(part).__name__
            raise RefusedError(f"its {where} has a hook on its gradients, which no worker would call")
        if part.training and isinstance(part, nn.modules.batchnorm._BatchNorm):
            raise RefusedError(
                f"its {name} is a {type(part).__name__}, whose statistics workers cannot share: use GroupNorm or "
                "LayerNorm, or call eval() on it"
            )
        if part.training and isinstance(part, nn.modules.dropout._DropoutNd) and part.p > 0:
            raise RefusedError(
                f"its {name} is a {type(part).__name__}: it would act by one network and learn by another; leave it "
                "out, or call eval() on it"
            )
