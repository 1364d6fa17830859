"""The extension `a3c_fast_core`, loaded after the checks that make its failure a sentence and not a crash."""

from __future__ import annotations

from a3c_fast.versions import check

check()

from a3c_fast_core import (  # noqa: E402  (only after the check)
    ActionSpec,
    Distribution,
    Engine,
    EnvClient,
    EnvSpec,
    ExportedNetwork,
    ModelConfig,
    Network,
    NewThreadTorch,
    ObservationSpec,
    OptimizerConfig,
    Random,
    Replica,
    StateError,
    TrainConfig,
    lacks_kernels,
    network_isa,
    step_randomly,
    threads_available,
    update_alone,
)

__all__ = [
    "ActionSpec",
    "Distribution",
    "Engine",
    "EnvClient",
    "EnvSpec",
    "ExportedNetwork",
    "ModelConfig",
    "Network",
    "NewThreadTorch",
    "ObservationSpec",
    "OptimizerConfig",
    "Random",
    "Replica",
    "StateError",
    "TrainConfig",
    "lacks_kernels",
    "network_isa",
    "step_randomly",
    "threads_available",
    "update_alone",
]
