"""Settings as the structs of cpp/config.h."""

from __future__ import annotations

import dataclasses
import os

from a3c_fast import _core
from a3c_fast.config import Config
from a3c_fast.envs import EnvSpec
from a3c_fast.errors import ConfigError


def optimizer_config(c: Config) -> _core.OptimizerConfig:
    """How the shared parameters are updated."""
    return _core.OptimizerConfig(
        kind=c.optimizer,
        rmsprop_alpha=c.rmsprop_alpha,
        adam_beta1=c.adam_beta1,
        adam_beta2=c.adam_beta2,
        eps=c.optimizer_eps,
    )


def train_config(c: Config, first_worker: int = 0) -> _core.TrainConfig:
    """What the workers need to know; `first_worker` tells those of several hosts apart."""
    return _core.TrainConfig(
        total_steps=c.total_steps,
        t_max=c.t_max,
        envs_per_update=c.envs_per_update,
        update_epochs=c.update_epochs,
        clip_coef=c.clip_coef,
        normalize_advantages=c.normalize_advantages,
        normalize_observations=c.normalize_observations,
        normalize_rewards=c.normalize_rewards,
        gamma=c.gamma,
        gae_lambda=c.gae_lambda,
        entropy_coef=c.entropy_coef,
        entropy_final_fraction=c.entropy_final_fraction,
        entropy_decay_steps=c.entropy_decay_steps,
        value_coef=c.value_coef,
        max_grad_norm=c.max_grad_norm,
        learning_rate=c.learning_rate,
        learning_rate_decay_power=c.learning_rate_decay_power,
        learning_rate_warmup=c.learning_rate_warmup,
        optimizer=optimizer_config(c),
        seed=c.seed,
        first_worker=first_worker,
        watchdog_seconds=c.watchdog_seconds,
    )


def model_config(c: Config, spec: EnvSpec, exported: _core.ExportedNetwork | None = None) -> _core.ModelConfig:
    """The network for these observations and actions, or the user's own; the observations have been measured."""
    return _core.ModelConfig(
        kind=c.model,
        observation=spec.observation.core(),
        num_outputs=spec.action.num_outputs,
        num_log_std=spec.action.size if spec.action.is_continuous else 0,
        initial_log_std=c.initial_log_std,
        hidden_sizes=list(c.hidden_sizes),
        activation=c.activation,
        separate_value=c.separate_value,
        lstm_size=c.lstm_size,
        observation_offset=float(c.observation_offset),
        observation_scale=float(c.observation_scale),
        precision=c.precision,
        exported=exported,
    )


def kernels_of(c: Config, spec: EnvSpec) -> str:
    """The name of the kernels that this network runs on, as A3C_FAST_ISA has it.

    Raises `ConfigError` when there are none of `c.precision` or none that A3C_FAST_ISA names.
    """
    if c.network is not None:
        return "libtorch"
    try:
        return _core.network_isa(_unmeasured(c, spec))
    except ValueError as error:
        raise ConfigError("precision", c.precision, f"{error}: it must be auto or fp32") from error
    except RuntimeError as error:
        raise ConfigError("A3C_FAST_ISA", os.environ.get("A3C_FAST_ISA"), str(error)) from error


def lacks_kernels(c: Config, spec: EnvSpec) -> bool:
    """Whether LibTorch takes this network, more slowly than kernels would, because there are none for such a CPU."""
    return c.network is None and _core.lacks_kernels(_unmeasured(c, spec))


def _unmeasured(c: Config, spec: EnvSpec) -> _core.ModelConfig:
    """The network before the observations have been measured, on which its kernels do not depend."""
    return model_config(dataclasses.replace(c, observation_offset=0.0, observation_scale=1.0), spec)
