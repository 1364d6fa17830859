"""What an engine has learned, by name: as a state_dict, as a policy and as a checkpoint, and from them again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from a3c_fast import _core
from a3c_fast.checkpoint import Checkpoint
from a3c_fast.config import Config
from a3c_fast.envs import EnvSpec
from a3c_fast.errors import CheckpointError
from a3c_fast.observing import Policy, observation_buffers
from a3c_fast.policy import float_arrays, make_policy, to_flat, to_named
from a3c_fast.torch_state import NewThreadTorch
from a3c_fast.user_network import UserNetwork, policy_of
from a3c_fast.versions import versions


@dataclass(frozen=True)
class Learned:
    """The parameters, optimizer statistics and moments of an engine, and what they are of."""

    engine: _core.Engine
    config: Config
    spec: EnvSpec
    network: UserNetwork | None
    """Of the user's own."""

    def state_dict(self) -> dict[str, torch.Tensor]:
        """As `Trainer.state_dict`."""
        return self._state(to_named(self.engine.parameters(), self.engine.parameter_specs) | self._buffers())

    def _state(self, named: Mapping[str, Any]) -> dict[str, torch.Tensor]:
        with NewThreadTorch():
            state = {name: torch.from_numpy(value) for name, value in named.items()}
            if self.network is not None:
                state |= {name: state[first].clone() for name, first in self.network.tied().items()}
                state |= self.network.constants()
            return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """As `Trainer.load_state_dict`."""
        named = float_arrays(state if self.network is None else self.network.without_constants(state))
        for name, value in named.items():
            if not np.isfinite(value).all():
                raise ValueError(f"{name} has numbers that are not finite in float32")
        buffers = {name: named.pop(name) for name in self._buffers() if name in named}
        flat = self._flat(named)
        if buffers:
            self.engine.load_normalization(self._with_buffers(self.engine.normalization(), buffers))
        self.engine.load_parameters(flat)

    def policy(self) -> Policy:
        """As `Trainer.policy`."""
        return self._policy(self.state_dict())

    def policy_of(self, saved: Checkpoint) -> Policy:
        """The same of a checkpoint that `checkpoint` has made."""
        buffers = observation_buffers(saved.normalization) if self._normalizes_observations() else {}
        return self._policy(self._state(saved.parameters | buffers))

    def _policy(self, state: Mapping[str, Any]) -> Policy:
        if self.network is not None:
            normalizes = self.config.normalize_observations
            return policy_of(self.network.module, self.spec, state, normalize_observations=normalizes)
        module = make_policy(self.config, self.spec)
        with NewThreadTorch():
            module.load_state_dict(state)
        return module.eval()

    def checkpoint(self, changes: list[tuple[int, str, float | str]]) -> Checkpoint:
        """All that continues the run, as it is now; `changes` of its settings.

        Raises `CheckpointError` where parameters are not finite.
        """
        snapshot, specs = self.engine.snapshot(), self.engine.parameter_specs
        if not np.isfinite(snapshot["parameters"]).all():
            raise CheckpointError("the parameters are not finite, so no checkpoint is written: the last one stands")
        parameters = to_named(snapshot["parameters"], specs)
        return Checkpoint(
            config=self.config.to_json(),
            step=snapshot["steps"],
            updates=snapshot["updates"],
            episodes=snapshot["episodes"],
            wall_seconds=snapshot["wall_seconds"],
            parameters=parameters,
            statistics={name: to_named(flat, specs) for name, flat in snapshot["statistics"].items()},
            constants={} if self.network is None else self.network.stored_constants(),
            probe={} if self.network is None else self.network.probe(parameters),
            normalization=self._normalization(snapshot["normalization"]),
            workers=snapshot["workers"],
            versions=versions(),
            spaces=self.spec,
            changes=changes,
            skipped_updates=snapshot["skipped_updates"],
            recent_episodes=snapshot["recent_episodes"],
        )

    def load(self, saved: Checkpoint) -> None:
        """Goes on from a checkpoint. Raises `CheckpointError` for another network's."""
        engine = self.engine
        same_workers = len(saved.workers) == engine.num_workers
        same_envs = saved.config.get("envs_per_worker") == self.config.envs_per_worker
        try:
            engine.load(
                parameters=self._flat(saved.parameters),
                statistics={name: self._flat(values) for name, values in saved.statistics.items()},
                steps=saved.step,
                updates=saved.updates,
                episodes=saved.episodes,
                skipped_updates=saved.skipped_updates,
                wall_seconds=saved.wall_seconds,
                recent_episodes=saved.recent_episodes,
            )
            if saved.normalization:
                engine.load_normalization(self._moments_of(saved))
            for i, state in enumerate(saved.workers if same_workers and same_envs else []):
                engine.load_worker_state(i, state)
        except ValueError as error:
            raise CheckpointError(f"the checkpoint is of another network: {error}") from error

    def _normalizes_observations(self) -> bool:
        return self.config.normalize_observations and self.spec.observation.num_features > 0

    def _normalization(self, moments: Mapping[str, Any]) -> dict[str, Any]:
        """Those that mean something for this run, as arrays of float64."""
        kinds = []
        if self._normalizes_observations():
            kinds.append("observation")
        if self.config.normalize_rewards:
            kinds.append("return")
        return {
            name: np.atleast_1d(np.asarray(value, np.float64))
            for name, value in moments.items()
            if name.split("_")[0] in kinds
        }

    def _buffers(self) -> dict[str, Any]:
        """What a `Policy` normalizes observations by, by its names."""
        if not self._normalizes_observations():
            return {}
        return observation_buffers(self._normalization(self.engine.normalization()))

    def _with_buffers(self, moments: dict[str, Any], buffers: Mapping[str, Any]) -> dict[str, Any]:
        """`moments` with the mean and variance of `buffers`, as if they had been seen a million times."""
        count, size = 1e6, self.spec.observation.num_features
        found = {name: np.asarray(buffers[name], np.float64) for name in buffers}
        for name, value in found.items():
            if value.shape != (size,) or (name == "observation_variance" and (value < 0).any()):
                raise ValueError(f"its {name} must be {size} numbers" + (" from 0" if "variance" in name else ""))
        now = observation_buffers(self._normalization(moments))
        return moments | {
            "observation_count": count,
            "observation_mean": found.get("observation_mean", now["observation_mean"]),
            "observation_squares": count
            * np.asarray(found.get("observation_variance", now["observation_variance"]), np.float64),
        }

    def _flat(self, named: Mapping[str, Any]) -> Any:
        return to_flat(named, self.engine.parameter_specs, self.engine.parameters().size)

    def _moments_of(self, saved: Checkpoint) -> dict[str, Any]:
        """The moments of a checkpoint, with those that it does not have as they are at the beginning."""
        moments = dict(self.engine.normalization())
        for name, value in saved.normalization.items():
            moments[name] = float(value[0]) if name.endswith("_count") else value
        return moments
