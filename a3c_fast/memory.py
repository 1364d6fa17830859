"""What memory a run takes, and the check that this process may have it: else the system kills it and all it holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from a3c_fast.errors import ConfigError
from a3c_fast.machine import memory_bytes

if TYPE_CHECKING:
    from a3c_fast.config import Config
    from a3c_fast.envs import EnvSpec

_FLOAT = 4
# Measured as resident memory: Python with torch, EnvPool, TensorBoard and matplotlib, and one environment of a pool.
_PROCESS = 340 * 2**20
_ENVIRONMENT = {
    "atari": 3 * 2**19,
    "classic_control": 2**15,
    "toy_text": 2**15,
    "fake": 2**12,
    "mujoco.gym": 2**21,
    "mujoco.dmc": 18 * 2**20,
    "mujoco.metaworld": 19 * 2**20,
    "mujoco.robotics": 24 * 2**20,
    "mujoco.myosuite": 75 * 2**20,
    "mujoco.playground": 100 * 2**20,
    "gfootball": 58 * 2**20,
    "vizdoom": 18 * 2**20,
}
_OTHER_ENVIRONMENT = 2**20
_CHILD = 64 * 2**20  # the process of a worker's environments that are a user's
# Some that are larger than others of their family, by the beginning of their names.
_LARGER = {"Apollo": 825 * 2**20, "Dog": 158 * 2**20, "FrankaKitchen": 107 * 2**20}
# Channels, kernel and stride of the convolutions, and the units of the layer that follows.
_CONVOLUTIONS = {
    "paper": ((16, 8, 4), (32, 4, 2)),
    "nature": ((32, 8, 4), (64, 4, 2), (64, 3, 1)),
    "small": ((16, 3, 1), (32, 3, 1)),
}
_UNITS = {"paper": 256, "nature": 512, "small": 128}
# What may be too large, with a value at which it certainly is not.
_SMALLEST: Mapping[str, Any] = {
    "num_workers": 1,
    "envs_per_worker": 1,
    "t_max": 1,
    "hidden_sizes": (1,),
    "lstm_size": 0,
}


@dataclass(frozen=True)
class Sizes:
    """Of a network of the user's own."""

    parameters: int
    """Floats that are trained."""
    largest: int
    """... of which the largest has so many."""
    elements: int
    """Of the tensors that a forward pass makes of one observation."""


def needed_bytes(config: Config, spec: EnvSpec, own: Sizes | None = None) -> int:
    """About the most memory that a run holds, with what the process takes anyway.

    `spec` is its `envs.spec_of`, and `num_workers` is not 0. Within a third of the resident memory.
    """
    return _needed(config, spec, {}, own)


def check_memory(config: Config, spec: EnvSpec, own: Sizes | None = None) -> None:
    """Raises `ConfigError` when the run cannot fit, naming the setting that makes the largest part of it."""
    needed, available = needed_bytes(config, spec, own), memory_bytes()
    if needed <= 0.9 * available:
        return
    smaller = {name: _needed(config, spec, {name: value}, own) for name, value in _SMALLEST.items()}
    name = min(smaller, key=lambda field: smaller[field])
    raise ConfigError(
        name,
        getattr(config, name),
        f"the run would take about {needed / 2**30:,.1f} GiB, and this process may have {available / 2**30:,.1f} GiB, "
        "of which a tenth is left to others: it must be lower",
    )


def _needed(config: Config, spec: EnvSpec, changes: Mapping[str, Any], own: Sizes | None) -> int:
    def setting(name: str) -> Any:
        return changes.get(name, getattr(config, name))

    model, units, workers = config.model, setting("lstm_size"), setting("num_workers")
    observation, steps, num_envs = spec.observation.size, setting("t_max"), setting("envs_per_worker")
    num_outputs = spec.action.num_outputs
    matrices, activations = _layers(model, spec, setting("hidden_sizes"), units)
    if own is not None:  # autograd keeps about half of what is made; it is counted three times below
        matrices, activations = [own.parameters - own.largest, own.largest], own.elements // 6
    if config.separate_value:
        matrices, activations = 2 * matrices, 2 * activations
    parameters, largest = sum(matrices), max(matrices)

    # theta and the optimizer's statistics, shared.
    statistics = 2 if config.optimizer == "adam" else 1
    shared = (1 + statistics) * parameters
    # A worker: theta', its gradients, and the weights again in the order of the kernels, or the gradient of one layer.
    kernels = own is None and model in ("paper", "nature") and spec.observation.array_shape == (4, 84, 84)
    replica = 2 * parameters + (parameters if kernels else largest)
    samples = (steps + 1) * num_envs
    updated = steps * min(config.envs_per_update, num_envs)
    if kernels:  # acting keeps every step's activations until the gradients are taken
        kept = samples * (activations + 3 * _UNITS[model])
    else:  # autograd keeps those of one update, takes their gradients, and is given observations as floats
        kept = updated * 3 * activations + 3 * max(num_envs, updated) * observation
    if units:
        kept += samples * 8 * units + updated * 10 * units
    rollout = samples * (2 * num_outputs + 12) + updated * (3 * num_outputs + 8)
    observations = (samples + 3 * num_envs) * spec.observation.row_bytes
    environments = num_envs * _environment(config)
    worker = _FLOAT * (replica + kept + rollout) + observations + environments
    worker += _CHILD if config.family == "gymnasium" else 0

    # At a time: the random orthogonal matrices of the beginning, or a checkpoint: copies of all that is shared.
    once = max(2 * parameters + 6 * largest, 3 * shared)
    return int(_PROCESS + _FLOAT * (shared + once) + workers * worker)


def _environment(config: Config) -> int:
    for beginning, size in _LARGER.items():
        if config.env_id.startswith(beginning):
            return size
    return _ENVIRONMENT.get(config.family, _OTHER_ENVIRONMENT)


def _layers(model: str, spec: EnvSpec, hidden_sizes: tuple[int, ...], lstm_size: int) -> tuple[list[int], int]:
    """The parameters of each layer, and all layers' outputs for one observation together."""
    matrices: list[int] = []
    activations = 0
    size = spec.observation.size
    if model in _CONVOLUTIONS and len(spec.observation.array_shape) == 3:
        channels, height, width = spec.observation.array_shape
        for out, kernel, stride in _CONVOLUTIONS[model]:
            matrices.append(out * (channels * kernel * kernel + 1))
            channels, height, width = out, (height - kernel) // stride + 1, (width - kernel) // stride + 1
            activations += channels * height * width
        size = channels * height * width + spec.observation.num_features
    for units in (_UNITS[model],) if model in _UNITS else hidden_sizes:
        matrices.append(units * (size + 1))
        activations += units
        size = units
    if lstm_size:
        matrices += [4 * lstm_size * (size + 1), 4 * lstm_size * (lstm_size + 1)]
        size = lstm_size
    matrices.append((spec.action.num_outputs + 1) * (size + 1))
    return matrices, activations
