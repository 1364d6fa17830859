"""Trained policies from the files of a run: needs neither the extension nor EnvPool, and writes nothing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from a3c_fast import checkpoint as checkpoints
from a3c_fast import stored_settings
from a3c_fast.errors import CheckpointError, ConfigError
from a3c_fast.network_factory import register
from a3c_fast.observing import Policy, observation_buffers
from a3c_fast.paths import shown
from a3c_fast.policy import make_policy
from a3c_fast.threads import in_a_thread
from a3c_fast.torch_state import NewThreadTorch
from a3c_fast.user_network import stored_policy

if TYPE_CHECKING:
    import os

    from a3c_fast.checkpoint import Checkpoint
    from a3c_fast.config import Config
    from a3c_fast.envs.spec import EnvSpec
    from a3c_fast.stored_settings import NetworkSettings


def load_policy(path: str | os.PathLike[str], *, network: Any = None) -> Policy:
    """The policy of a run directory's newest checkpoint, or of a checkpoint (*.safetensors), in evaluation mode.

        policy = a3c_fast.load_policy("runs/pong")
        actions, state = policy.act(observations)

    A torch.nn.Module on the CPU, float32; `act` takes observations as the environment gives them. Nothing is written.
    `network`, a network of your own that cannot be imported by its name, is given as it was to `Trainer`.

    Raises `CheckpointError` where there is no whole checkpoint, `ConfigError` for another network than the run's. A
    checkpoint of an earlier version does not say what its environment shows and takes, which EnvPool is then asked.
    """
    return loaded(path, network=network)[0]


def loaded(path: str | os.PathLike[str], *, network: Any = None) -> tuple[Policy, Checkpoint]:
    """As `load_policy`, and the checkpoint that the policy is of."""
    place = Path(path).expanduser()
    if place.is_dir():
        saved = checkpoints.load_newest(place / "checkpoints")
    elif place.exists() or place.suffix == ".safetensors":
        saved = checkpoints.load(place)
    else:
        raise CheckpointError(f"{shown(place)} is no run directory and no checkpoint: there is no such file")
    settings = stored_settings.network(saved.config)
    return policy_of_checkpoint(saved, settings, saved.spaces or _asked(saved), network=network), saved


def policy_of_checkpoint(
    checkpoint: Checkpoint, settings: Config | NetworkSettings, spec: EnvSpec, *, network: Any = None
) -> Policy:
    """The policy of a checkpoint; `settings` says which network. Raises as `load_policy`."""
    name = None if network is None else register(network)
    if name not in (None, settings.network):
        raise ConfigError("network", name, f"the run was made with {settings.network}: give that one")
    if settings.network is not None:
        return in_a_thread(lambda: stored_policy(checkpoint, settings, spec), "network")
    policy = make_policy(settings, spec)
    state = dict(checkpoint.parameters)
    if policy.normalize_observations and "observation_count" in checkpoint.normalization:
        state |= observation_buffers(checkpoint.normalization)
    with NewThreadTorch():
        expected = {name: tuple(value.shape) for name, value in policy.state_dict().items()}
    if expected != {name: value.shape for name, value in state.items()}:
        raise CheckpointError(f"the checkpoint is of another network than the {settings.model} of {settings.env_id}")
    with NewThreadTorch():
        policy.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()})
    return policy.eval()


def _asked(checkpoint: Checkpoint) -> EnvSpec:
    from a3c_fast import envs

    return envs.spec_of(stored_settings.playing(checkpoint.config))
