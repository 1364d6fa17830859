"""All settings of a run: their names, their meaning and their checks; defaults.py has what they are by default."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from a3c_fast.defaults import FAMILY_DEFAULTS, PRESETS, PresetName, defaults_of
from a3c_fast.envs import FAKE_ENVS, Family, family_of
from a3c_fast.errors import ConfigError

ModelName = Literal["paper", "nature", "mlp"]
OptimizerName = Literal["rmsprop", "adam"]
PrecisionName = Literal["auto", "fp32", "bf16"]

# A field whose default depends on the kind of environment: see defaults.py.
_BY_FAMILY: Any = None

# Options of the emulator, which other families do not have: there they stand at the one value that means "none".
_ATARI_ONLY = ("frame_skip", "stack_num", "noop_max", "episodic_life", "reward_clip")
# What the shape of a checkpoint and the meaning of its contents depend on.
STRUCTURAL_FIELDS = (
    "env_id",
    "model",
    "hidden_sizes",
    "lstm_size",
    "observation_offset",
    "observation_scale",
    "stack_num",
    "optimizer",
)


@dataclass(frozen=True)
class Config:
    """Settings of one training run.

    Defaults that depend on the environment (Atari or classic control) are filled in when the object is made, so that
    every field of an existing `Config` has its value. Raises `ConfigError` when a field cannot be.
    """

    env_id: str = "Pong-v5"
    """EnvPool's name of the environment: an Atari game or a classic control task with discrete actions."""
    preset: PresetName = "default"
    """Where other defaults come from: `default`, or `paper`, the settings of Mnih et al. 2016."""
    total_steps: int = _BY_FAMILY
    """Agent steps of the whole run, over all workers; one Atari step is `frame_skip` frames."""
    num_workers: int = _BY_FAMILY
    """Worker threads; 0 takes one for every core that the process may use. A run goes on with as many as it had."""
    envs_per_worker: int = _BY_FAMILY
    """Environments that a worker steps together (K); 1 is the A3C of the paper."""
    envs_per_update: int = _BY_FAMILY
    """Environments whose samples make one update of the shared parameters; divides `envs_per_worker`, and is less by
    default where the default does not."""
    t_max: int = _BY_FAMILY
    """Steps of each environment in a rollout."""
    update_epochs: int = _BY_FAMILY
    """Times that a rollout is learned from: 1 is A3C; from the second on with PPO's clipped importance ratio. On
    small problems other settings have other defaults above 1."""
    clip_coef: float = 0.1
    """How far the importance ratio may go from 1, where `update_epochs` is above 1."""
    normalize_advantages: bool = _BY_FAMILY
    """Scale the advantages of each rollout to mean 0 and standard deviation 1."""
    model: ModelName = _BY_FAMILY
    """Network: `paper` (16 8x8/4, 32 4x4/2, 256), `nature` (32, 64, 64, 512) or `mlp`."""
    hidden_sizes: tuple[int, ...] = (64, 64)
    """Layers of the `mlp`."""
    lstm_size: int = 0
    """Units of an LSTM between the network and its two heads; 0: none. The recurrent agent of the paper has 256."""
    observation_offset: float | Literal["auto"] = _BY_FAMILY
    """Subtracted from pixels between 0 and 1 (Atari); `auto` takes the shade of the background, seen in random play."""
    observation_scale: float | Literal["auto"] = _BY_FAMILY
    """What they are then multiplied by (Atari); `auto` brings their root mean square in random play to 1."""
    optimizer: OptimizerName = _BY_FAMILY
    """Shared RMSProp in the paper's form, or shared Adam."""
    learning_rate: float = _BY_FAMILY
    """Initial step size."""
    learning_rate_decay_power: float = _BY_FAMILY
    """The learning rate falls with this power of the share of `total_steps` that is left: 1 is linear, 0 keeps it."""
    learning_rate_warmup: int = _BY_FAMILY
    """Agent steps over which the learning rate first rises from 0; 0: none."""
    gamma: float = _BY_FAMILY
    """Discount factor."""
    gae_lambda: float = _BY_FAMILY
    """Decay of generalized advantage estimation; 1 is the n-step return of the paper."""
    entropy_coef: float = _BY_FAMILY
    """Weight of the entropy bonus (beta in the paper)."""
    entropy_decay_steps: int = _BY_FAMILY
    """Agent steps over which `entropy_coef` falls linearly to `entropy_final_fraction` of itself; 0: it stays."""
    entropy_final_fraction: float = 0.2
    """What is left of `entropy_coef` after `entropy_decay_steps`."""
    value_coef: float = _BY_FAMILY
    """Weight of the squared value error."""
    max_grad_norm: float = _BY_FAMILY
    """Largest global norm of a gradient; 0 does not clip."""
    rmsprop_alpha: float = 0.99
    """Decay of RMSProp's mean square."""
    adam_beta1: float = 0.9
    """Decay of Adam's first moment."""
    adam_beta2: float = 0.999
    """Decay of Adam's second moment."""
    optimizer_eps: float = _BY_FAMILY
    """Keeps the step finite: inside RMSProp's root, beside Adam's."""
    precision: PrecisionName = "auto"
    """Arithmetic of the network: `fp32`, `bf16` (products of bfloat16, sums, parameters and their updates float32), or
    `auto`, which is bf16 where the CPU has AMX."""
    frame_skip: int = _BY_FAMILY
    """Emulator frames of one agent step (Atari)."""
    stack_num: int = _BY_FAMILY
    """Frames in one observation (Atari)."""
    noop_max: int = _BY_FAMILY
    """Most no-op actions at the start of an episode (Atari)."""
    sticky_probability: float = 0.0
    """Probability that the emulator repeats the previous action (Atari); ALE's own v5 protocol has 0.25."""
    episodic_life: bool = _BY_FAMILY
    """A lost life ends the return that is learned, not the episode that is reported (Atari)."""
    reward_clip: bool = _BY_FAMILY
    """Learn from the sign of the reward (Atari)."""
    seed: int = 1
    """Of parameters, actions and environments. One worker and one seed give the same run, bit for bit."""
    run_dir: Path | None = None
    """Where the run keeps its files; none are kept without it (`train` then chooses runs/ENV_ID-TIME)."""
    resume: bool = False
    """Go on from the newest checkpoint of `run_dir`. The command takes the settings of the run where no flag says
    otherwise, `Trainer` those of this object."""
    max_minutes: float = 0.0
    """End after so much training time, all stretches of a resumed run together; 0 sets no limit."""
    stop_at_return: float | None = None
    """End once the mean return of the last 100 training episodes reaches this."""
    log_every_seconds: float = 5.0
    """Time between two lines of metrics.jsonl."""
    checkpoint_every_seconds: float = 300.0
    """Time between two checkpoints while the run goes on; one is always written at its end."""
    keep_checkpoints: int = 3
    """Checkpoints that are kept; older ones are deleted."""
    watchdog_seconds: float = 120.0
    """A worker that makes no progress for so long fails the run."""

    def __post_init__(self) -> None:
        family = family_of(self.env_id)
        if self.preset not in tuple(PRESETS):
            raise ConfigError("preset", self.preset, f"it must be one of {', '.join(PRESETS)}")
        defaults = defaults_of(family, self.preset, self.update_epochs)
        if isinstance(self.envs_per_worker, int) and self.envs_per_worker > 0:
            defaults["envs_per_update"] = math.gcd(defaults["envs_per_update"], self.envs_per_worker)
        for name, value in defaults.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        if self.run_dir is not None:
            if not isinstance(self.run_dir, (str, Path)):
                raise ConfigError("run_dir", self.run_dir, "it must be the path of a directory")
            object.__setattr__(self, "run_dir", Path(self.run_dir))
        if not isinstance(self.hidden_sizes, (list, tuple)):
            raise ConfigError("hidden_sizes", self.hidden_sizes, "it must name 1 to 16 layers")
        object.__setattr__(self, "hidden_sizes", tuple(self.hidden_sizes))
        _check(self, family)

    @property
    def family(self) -> Family:
        """The kind of environment, which decides the defaults."""
        return family_of(self.env_id)

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON values."""
        values = dataclasses.asdict(self)
        values["run_dir"] = None if self.run_dir is None else str(self.run_dir)
        values["hidden_sizes"] = list(self.hidden_sizes)
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Config:
        """The inverse of `to_json`.

        Raises `ConfigError` for a field that this version does not have and for one that `values` do not have: today's
        default is not what the run was made with.
        """
        if not isinstance(values, Mapping):
            raise ConfigError("config", values, "it must be a JSON object")
        names = [field.name for field in dataclasses.fields(cls)]
        for name in values:
            if name not in names:
                raise ConfigError(name, values[name], "this version of a3c_fast has no such field")
        for name in names:
            if name not in values:
                raise ConfigError(name, None, "stored settings must have every field: another version wrote these")
        return cls(**values)


def check_model(config: Config, observation_shape: tuple[int, ...]) -> None:
    """Raises `ConfigError` when the model does not take observations of this shape."""
    if config.model == "mlp":
        return
    smallest = 36 if config.model == "nature" else 20  # what the convolutions reduce to one pixel
    if len(observation_shape) != 3 or min(observation_shape[1:]) < smallest:
        raise ConfigError(
            "model",
            config.model,
            f"it needs images of at least {smallest}x{smallest} and {config.env_id} has observations of shape "
            f"{list(observation_shape)}: use mlp",
        )


def check_memory(config: Config, layout: tuple[tuple[int, ...], str, int]) -> None:
    """Raises `ConfigError` when the rollouts cannot fit: the system would kill the process and all it holds."""
    shape, dtype, num_actions = layout
    observation = math.prod(shape) * (1 if dtype == "uint8" else 4)
    # What the network keeps of a step until its gradients are taken, in floats.
    kept = {"paper": 9_504, "nature": 21_632, "mlp": sum(config.hidden_sizes)}[config.model]
    kept += 8 * config.lstm_size
    samples = config.num_workers * config.envs_per_worker * (config.t_max + 1)
    needed = samples * (observation + 4 * (kept + num_actions + 8))
    available = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if needed > 0.8 * available:
        raise ConfigError(
            "t_max",
            config.t_max,
            f"the rollouts of {config.num_workers} workers with {config.envs_per_worker} environments "
            f"would take {needed / 2**30:.1f} of this machine's {available / 2**30:.1f} GiB",
        )


def _is_finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number that no float holds
        return False


def _check(config: Config, family: Family) -> None:
    """Raises `ConfigError` for the first field that cannot be."""

    def integer(name: str, low: int, high: int = 2**31 - 1) -> None:
        value = getattr(config, name)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise ConfigError(name, value, f"it must be a whole number from {low} to {high}")

    def number(name: str, low: float, high: float = math.inf, *, above: bool = False) -> None:
        value = getattr(config, name)
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        inside = is_number and _is_finite(value) and (low < value if above else low <= value) and value <= high
        if not inside:
            bounds = f"above {low:g}" if above else f"at least {low:g}"
            upper = "" if high == math.inf else f" and at most {high:g}"
            raise ConfigError(name, value, f"it must be a number {bounds}{upper}")

    def choice(name: str, allowed: tuple[Any, ...]) -> None:
        value = getattr(config, name)
        if value not in allowed:
            raise ConfigError(name, value, f"it must be one of {', '.join(map(str, allowed))}")

    def flag(name: str) -> None:
        if not isinstance(getattr(config, name), bool):
            raise ConfigError(name, getattr(config, name), "it must be true or false")

    integer("total_steps", 1, 2**62)
    integer("num_workers", 0, 4096)
    integer("envs_per_worker", 1, 4096)
    integer("envs_per_update", 1, 4096)
    integer("t_max", 1, 100_000)
    integer("update_epochs", 1, 1000)
    number("clip_coef", 0, 1, above=True)
    flag("normalize_advantages")
    if config.envs_per_worker % config.envs_per_update:
        raise ConfigError(
            "envs_per_update",
            config.envs_per_update,
            f"it must divide envs_per_worker, which is {config.envs_per_worker}",
        )
    choice("model", ("paper", "nature", "mlp"))
    if not 1 <= len(config.hidden_sizes) <= 16:
        raise ConfigError("hidden_sizes", config.hidden_sizes, "it must name 1 to 16 layers")
    for size in config.hidden_sizes:
        if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= 65536:
            raise ConfigError("hidden_sizes", config.hidden_sizes, "every layer must have 1 to 65536 units")
    integer("lstm_size", 0, 4096)
    if config.observation_offset != "auto":
        number("observation_offset", 0, 1)
    if config.observation_scale != "auto":
        number("observation_scale", 0, 1e3, above=True)
    choice("optimizer", ("rmsprop", "adam"))
    number("learning_rate", 0, 1e3, above=True)
    number("learning_rate_decay_power", 0, 100)
    integer("learning_rate_warmup", 0, 2**62)
    number("gamma", 0, 1)
    number("gae_lambda", 0, 1)
    number("entropy_coef", 0, 1e3)
    integer("entropy_decay_steps", 0, 2**62)
    number("entropy_final_fraction", 0, 1)
    number("value_coef", 0, 1e3)
    number("max_grad_norm", 0)
    for name in ("rmsprop_alpha", "adam_beta1", "adam_beta2"):
        number(name, 0, 0.999999)
    number("optimizer_eps", 1e-30, 1)  # far from the smallest float
    choice("precision", ("auto", "fp32", "bf16"))

    integer("frame_skip", 1, 100)
    integer("stack_num", 1, 32)
    integer("noop_max", 1 if family == "atari" else 0, 10_000)
    number("sticky_probability", 0, 1)
    flag("episodic_life")
    flag("reward_clip")
    if family != "atari":
        for name in _ATARI_ONLY:
            only = FAMILY_DEFAULTS[family][name]
            if getattr(config, name) != only:
                raise ConfigError(
                    name, getattr(config, name), f"{config.env_id} is no Atari game and allows only {only!r}"
                )
        of_bytes = config.env_id in FAKE_ENVS and FAKE_ENVS[config.env_id][1] == "uint8"
        for name, only in (("observation_offset", 0), ("observation_scale", 1)):
            value = getattr(config, name)
            if value == "auto" or (value != only and not of_bytes):
                raise ConfigError(name, value, f"{config.env_id} has no images: only {only}")
        if config.sticky_probability:
            raise ConfigError("sticky_probability", config.sticky_probability, f"{config.env_id} allows only 0")

    integer("seed", 0, 2**31 - 1)
    flag("resume")
    if config.resume and config.run_dir is None:
        raise ConfigError("resume", True, "run_dir must name the run to go on with")
    number("max_minutes", 0)
    if config.stop_at_return is not None:
        number("stop_at_return", -math.inf)
    number("log_every_seconds", 0, 1e6, above=True)
    number("checkpoint_every_seconds", 0, 1e9, above=True)
    integer("keep_checkpoints", 2, 1_000_000)
    number("watchdog_seconds", 0, 1e6, above=True)
