from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__version__: str

_Floats = npt.NDArray[np.float32]
_ParameterSpec = tuple[str, tuple[int, ...], bool, int]

class ObservationSpec:
    def __init__(
        self, *, array_shape: Sequence[int] = (), array_type: str = "uint8", num_features: int = 0
    ) -> None: ...
    array_shape: list[int]
    array_type: str
    num_features: int

class ActionSpec:
    def __init__(
        self,
        *,
        choices: Sequence[int] = (),
        low: Sequence[float] = (),
        high: Sequence[float] = (),
        masked: bool = False,
    ) -> None: ...
    choices: list[int]
    low: list[float]
    high: list[float]
    masked: bool

class EnvSpec:
    def __init__(self, *, num_envs: int, observation: ObservationSpec, action: ActionSpec) -> None: ...
    num_envs: int
    observation: ObservationSpec
    action: ActionSpec

class OptimizerConfig:
    def __init__(
        self, *, kind: str, rmsprop_alpha: float, adam_beta1: float, adam_beta2: float, eps: float
    ) -> None: ...

class ModelConfig:
    def __init__(
        self,
        *,
        kind: str,
        observation: ObservationSpec,
        num_outputs: int,
        num_log_std: int = 0,
        initial_log_std: float = 0.0,
        hidden_sizes: Sequence[int],
        activation: str = "tanh",
        separate_value: bool = False,
        lstm_size: int = 0,
        observation_offset: float = 0.0,
        observation_scale: float = 1.0,
        precision: str = "auto",
        exported: ExportedNetwork | None = None,
    ) -> None: ...

class ExportedNetwork:
    def __init__(
        self,
        *,
        parameters: Sequence[_ParameterSpec],
        initial: _Floats,
        state_size: int,
        channels_last: bool,
    ) -> None: ...
    def add_constant(
        self, *, shape: Sequence[int], strides: Sequence[int], scalar_type: int, content: bytes
    ) -> int: ...
    def add_graph(
        self,
        *,
        num_observations: int,
        num_slots: int,
        inputs: Sequence[int],
        outputs: Sequence[int],
        constants: Sequence[tuple[int, int]],
        calls: Sequence[tuple[str, str, Sequence[tuple[Sequence[int], bool, Any]], Sequence[int], bool]],
    ) -> None: ...

class TrainConfig:
    def __init__(
        self,
        *,
        total_steps: int,
        t_max: int,
        envs_per_update: int,
        update_epochs: int,
        clip_coef: float,
        normalize_advantages: bool,
        normalize_observations: bool,
        normalize_rewards: bool,
        gamma: float,
        gae_lambda: float,
        entropy_coef: float,
        entropy_final_fraction: float,
        entropy_decay_steps: int,
        value_coef: float,
        max_grad_norm: float,
        learning_rate: float,
        learning_rate_decay_power: float,
        learning_rate_warmup: int,
        optimizer: OptimizerConfig,
        seed: int,
        first_worker: int = 0,
        watchdog_seconds: float,
    ) -> None: ...

class EnvClient:
    @staticmethod
    def envpool(
        *,
        owner: object,
        recv: object,
        send: object,
        handle: int,
        state: Sequence[tuple[str, str, Sequence[int]]],
        action: Sequence[tuple[str, str, Sequence[int]]],
        spec: EnvSpec,
        parts: Sequence[Any],
        first_choice: int,
        episodic_life: bool,
    ) -> EnvClient: ...
    @staticmethod
    def process(
        *,
        owner: object,
        spec: EnvSpec,
        layout: dict[str, int],
        memory: int,
        go: int,
        done: int,
        pidfd: int,
        limit_seconds: float,
    ) -> EnvClient: ...
    @staticmethod
    def recall(*, num_envs: int, seed: int) -> EnvClient: ...
    @staticmethod
    def fake(
        *,
        spec: EnvSpec,
        seed: int = 0,
        max_episode_steps: int = 40,
        fail_at: int = -1,
        hang_at: int = -1,
        hang_seconds: float = 0.0,
    ) -> EnvClient: ...
    def probe(self) -> None: ...
    def recv(self) -> dict[str, npt.NDArray[Any]]: ...
    def send(self, actions: npt.ArrayLike) -> None: ...

class StateError(RuntimeError): ...

class Engine:
    def __init__(self, train: TrainConfig, model: ModelConfig, clients: list[EnvClient]) -> None: ...
    def start(self, until: int) -> int: ...
    def pause(self) -> bool: ...
    def resume(self) -> bool: ...
    def wait_until_paused(self, seconds: float) -> bool: ...
    def request_stop(self) -> int: ...
    def wait(self, seconds: float) -> bool: ...
    def wait_for(self, run: int, seconds: float) -> bool: ...
    def refuse_starts(self) -> None: ...
    def close(self) -> None: ...
    @property
    def phase(self) -> str: ...
    @property
    def running(self) -> bool: ...
    @property
    def under_way(self) -> bool: ...
    @property
    def failure(self) -> tuple[int, str] | None: ...
    @property
    def num_workers(self) -> int: ...
    @property
    def parameter_specs(self) -> tuple[_ParameterSpec, ...]: ...
    def set(self, name: str, value: float) -> None: ...
    def set_schedule(self, name: str, points: list[tuple[int, float]]) -> None: ...
    def stats(self) -> dict[str, Any]: ...
    def episodes_added(self) -> int: ...
    def episodes_since(self, first: int, most: int) -> tuple[int, list[tuple[float, int, int, int]]]: ...
    def recent_episodes(self) -> list[tuple[float, int]]: ...
    def hear_episodes(self, episodes: Sequence[tuple[float, int]]) -> None: ...
    def stage_seconds(self) -> dict[str, float]: ...
    def parameters(self) -> _Floats: ...
    def snapshot(self) -> dict[str, Any]: ...
    def normalization(self) -> dict[str, Any]: ...
    def load_normalization(self, normalization: dict[str, Any]) -> None: ...
    def load_parameters(self, parameters: _Floats) -> None: ...
    def load(
        self,
        *,
        parameters: _Floats,
        statistics: dict[str, _Floats],
        steps: int,
        updates: int,
        episodes: int,
        skipped_updates: int = 0,
        wall_seconds: float = 0.0,
        recent_episodes: Sequence[tuple[float, int]] = (),
    ) -> None: ...
    def agree(self) -> None: ...
    @property
    def num_counts(self) -> int: ...
    def take_difference(self, difference: npt.NDArray[np.float32], counts: npt.NDArray[np.float64]) -> None: ...
    def read_agreement(self, agreed: npt.NDArray[np.float32], counts: npt.NDArray[np.float64]) -> None: ...
    def add_total(self, total: npt.NDArray[np.float32], counts: npt.NDArray[np.float64]) -> None: ...
    def adopt(self, agreed: npt.NDArray[np.float32], counts: npt.NDArray[np.float64]) -> None: ...
    def give_back(self) -> None: ...
    def worker_state(self, worker: int) -> dict[str, Any]: ...
    def load_worker_state(self, worker: int, state: dict[str, Any]) -> None: ...

class NewThreadTorch:
    """A context manager: LibTorch as in a new thread, whatever the program has set for this one."""

    def __init__(self) -> None: ...
    def __enter__(self) -> None: ...
    def __exit__(self, *exception: object) -> None: ...

class Replica:
    def __init__(self, model: ModelConfig) -> None: ...
    @property
    def parameter_specs(self) -> tuple[_ParameterSpec, ...]: ...
    def initialize(self, seed: int) -> None: ...
    def parameters(self) -> _Floats: ...
    def set_parameters(self, flat: _Floats) -> None: ...
    def forward(self, observations: npt.NDArray[Any]) -> tuple[_Floats, _Floats]: ...
    def gradients(self, observations: npt.NDArray[Any], d_policy: _Floats, d_values: _Floats) -> _Floats: ...

class Network:
    def __init__(self, model: ModelConfig, num_envs: int) -> None: ...
    def set_parameters(self, flat: _Floats) -> None: ...
    def set_normalization(self, mean: npt.ArrayLike, variance: npt.ArrayLike) -> None: ...
    def act(self, observations: npt.NDArray[Any], starts: npt.ArrayLike) -> tuple[_Floats, _Floats]: ...
    def gradients(
        self, observations: npt.NDArray[Any], d_policy: _Floats, d_values: _Floats
    ) -> tuple[_Floats, float]: ...

class Random:
    def __init__(self, seed: int, stream: int) -> None: ...

class Distribution:
    def __init__(self, action: ActionSpec) -> None: ...
    @property
    def num_outputs(self) -> int: ...
    @property
    def action_size(self) -> int: ...
    def sample(self, policy: npt.ArrayLike, random: Random) -> _Floats: ...
    def mode(self, policy: npt.ArrayLike) -> _Floats: ...
    def evaluate(self, policy: npt.ArrayLike, actions: npt.ArrayLike) -> tuple[_Floats, _Floats]: ...

class learning:  # noqa: N801
    """A module: the pure functions of learning, for tests."""

    @staticmethod
    def compute_returns(
        rewards: npt.ArrayLike,
        done: npt.ArrayLike,
        bootstraps: npt.ArrayLike,
        values: npt.ArrayLike,
        gamma: float,
        gae_lambda: float | None = None,
    ) -> tuple[_Floats, _Floats]: ...
    @staticmethod
    def actor_critic_loss(
        *,
        action: ActionSpec,
        policy: npt.ArrayLike,
        values: npt.ArrayLike,
        actions: npt.ArrayLike,
        advantages: npt.ArrayLike,
        returns: npt.ArrayLike,
        valid: npt.ArrayLike,
        value_coef: float,
        entropy_coef: float,
        acting_policy: npt.ArrayLike | None = None,
        clip_coef: float = 0.0,
    ) -> dict[str, Any]: ...
    @staticmethod
    def normalize_advantages(advantages: npt.ArrayLike, valid: npt.ArrayLike) -> _Floats: ...
    @staticmethod
    def explained_variance(rollouts: Sequence[tuple[npt.ArrayLike, npt.ArrayLike, npt.ArrayLike]]) -> float: ...
    @staticmethod
    def clip_by_global_norm(gradient: npt.ArrayLike, max_norm: float) -> tuple[float, float]: ...
    @staticmethod
    def push_all(
        *,
        parameters: npt.ArrayLike,
        gradients: Sequence[npt.ArrayLike],
        optimizer: OptimizerConfig,
        learning_rate: float,
        clip_scale: float = 1.0,
        num_workers: int = 1,
    ) -> _Floats: ...
    @staticmethod
    def worker_uniforms(seed: int, worker: int, count: int) -> list[float]: ...

def step_randomly(clients: list[EnvClient], steps: int, seed: int) -> int: ...
def update_alone(*, parameters: int, optimizer: OptimizerConfig, threads: int, seconds: float) -> int: ...
def torch_threads() -> int: ...
def threads_available(count: int) -> int: ...
def network_isa(model: ModelConfig) -> str: ...
def lacks_kernels(model: ModelConfig) -> bool: ...
