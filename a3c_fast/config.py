"""All settings of a run: their names, their meaning and their checks; defaults.py has what they are by default."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import InitVar, dataclass
from pathlib import Path
from typing import Any, Literal, Self

from tyro.conf import Suppress

from a3c_fast import config_files, stored_settings, trackers, values
from a3c_fast.defaults import NO_EMULATOR, PRESETS, PresetName, defaults_of
from a3c_fast.effects import why_without_effect
from a3c_fast.envs.families import Family, Problem, envs_at_once, family_of, problem_of, spec_of
from a3c_fast.envs.spec import EnvSpec
from a3c_fast.errors import ConfigError
from a3c_fast.paths import shown
from a3c_fast.schedules import check_schedules, plain_schedules, without_schedule
from a3c_fast.schedules import checked as checked_schedules
from a3c_fast.suggestions import did_you_mean

ModelName = Literal["paper", "nature", "small", "mlp"]
ActivationName = Literal["tanh", "relu", "elu"]
OptimizerName = Literal["rmsprop", "adam"]
PrecisionName = Literal["auto", "fp32", "bf16"]

# A field whose default depends on the kind of environment: see defaults.py.
_BY_FAMILY: Any = None

# What the shape of a checkpoint and the meaning of its contents depend on.
STRUCTURAL_FIELDS = (
    "env_id",
    "model",
    "network",
    "hidden_sizes",
    "activation",
    "separate_value",
    "lstm_size",
    "normalize_observations",
    "normalize_rewards",
    "observation_offset",
    "observation_scale",
    "stack_num",
    "optimizer",
)


# What the defaults of other settings depend on.
DEFAULTS_DEPEND_ON = ("env_id", "preset", "update_epochs", "envs_per_worker", "network")


@dataclass(frozen=True)
class _Origin:
    """Where the settings of a `Config` that were not said came from: `dataclasses.replace` hands it on."""

    said: frozenset[str]  # of those that have a default in `defaults`
    defaults: Mapping[str, Any]
    basis: Mapping[str, Any]  # of the defaults
    stored: Mapping[str, Any] = dataclasses.field(default_factory=dict)  # what may have no effect: of an earlier run


@dataclass(frozen=True)
class Config:
    """Settings of one training run.

    Defaults that depend on the environment are filled in when the object is made, so that every field of an existing
    `Config` has its value. Numbers may be of any library, or strings as YAML has them; they
    are kept as Python's own. Raises `ConfigError` when a field cannot be. `replace` makes another one from it.
    """

    env_id: str = "Pong-v5"
    """EnvPool's name of the environment, of which `a3c-fast list-envs` shows all, or `module:name`: what the
    module registers with gymnasium, or a callable of it that makes an environment."""
    preset: PresetName = "default"
    """Where other defaults come from: `default`, `paper`, the settings of Mnih et al. 2016, or `paper-lstm`, those of
    its recurrent agent."""
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
    clip_coef: float = _BY_FAMILY
    """How far the importance ratio may go from 1, where `update_epochs` is above 1."""
    normalize_advantages: bool = _BY_FAMILY
    """Scale the advantages of each rollout to mean 0 and standard deviation 1."""
    model: ModelName = _BY_FAMILY
    """Network: `paper` (16 8x8/4, 32 4x4/2, 256), `nature` (32, 64, 64, 512), `small` (16 3x3, 32 3x3, 128, for images
    from 5x5 on) or `mlp`. Numbers beside an image join what the convolutions made of it."""
    network: str | None = None
    """A network of your own in the place of `model`: `module:name`, a class or a callable that makes a torch.nn.Module
    of the observation space and the action space."""
    hidden_sizes: tuple[int, ...] = _BY_FAMILY
    """Layers of the `mlp`."""
    activation: ActivationName = _BY_FAMILY
    """Of the layers of the `mlp`."""
    separate_value: bool = _BY_FAMILY
    """The value has layers of its own in the `mlp`, of the same sizes, and shares nothing with the policy."""
    initial_log_std: float = _BY_FAMILY
    """Logarithm of the standard deviation that continuous actions begin with, in units of half their range."""
    lstm_size: int = _BY_FAMILY
    """Units of an LSTM between the network and its two heads; 0: none. The recurrent agent of the paper has 256."""
    normalize_observations: bool = _BY_FAMILY
    """Bring the numbers that are observed to mean 0 and deviation 1, by what has been seen so far; not images."""
    normalize_rewards: bool = _BY_FAMILY
    """Divide rewards by the standard deviation of the discounted return, as it has been so far."""
    observation_offset: float | Literal["auto"] = _BY_FAMILY
    """Subtracted from pixels between 0 and 1; `auto` takes the shade of the background, seen in random play."""
    observation_scale: float | Literal["auto"] = _BY_FAMILY
    """What they are then multiplied by; `auto` brings their root mean square in random play to 1."""
    optimizer: OptimizerName = _BY_FAMILY
    """Shared RMSProp in the paper's form, or shared Adam."""
    learning_rate: float = _BY_FAMILY
    """Initial step size."""
    learning_rate_decay_power: float = _BY_FAMILY
    """The learning rate falls with this power of the share of `total_steps` that is left: 1 is linear, 0 keeps it."""
    learning_rate_warmup: int = _BY_FAMILY
    """Agent steps over which the learning rate first rises, evenly from the first update on; 0: none."""
    gamma: float = _BY_FAMILY
    """Discount factor."""
    gae_lambda: float = _BY_FAMILY
    """Decay of generalized advantage estimation; 1 is the n-step return of the paper."""
    entropy_coef: float = _BY_FAMILY
    """Weight of the entropy bonus (beta in the paper)."""
    entropy_decay_steps: int = _BY_FAMILY
    """Agent steps over which `entropy_coef` falls linearly to `entropy_final_fraction` of itself; 0: it stays."""
    entropy_final_fraction: float = _BY_FAMILY
    """What is left of `entropy_coef` after `entropy_decay_steps`."""
    value_coef: float = _BY_FAMILY
    """Weight of the squared value error."""
    max_grad_norm: float = _BY_FAMILY
    """Largest global norm of a gradient; 0 does not clip."""
    schedules: tuple[str, ...] = ()
    """`name=value@step,value@step ...`: settings that go straight from point to point of the agent steps, such as
    learning_rate=7e-4@0,0@end; learning_rate, entropy_coef, value_coef, clip_coef and max_grad_norm. In Python a
    mapping from names to `linear()`, `points()`, `constant()`."""
    rmsprop_alpha: float = _BY_FAMILY
    """Decay of RMSProp's mean square."""
    adam_beta1: float = _BY_FAMILY
    """Decay of Adam's first moment."""
    adam_beta2: float = _BY_FAMILY
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
    """Where the run keeps its files; none are kept without it (`train` then chooses one below runs/)."""
    resume: bool = False
    """Go on from the newest checkpoint of `run_dir`, or start where it holds no run. The command takes the settings of
    the run where no flag says otherwise, `Trainer` those of this object."""
    max_minutes: float = 0.0
    """End after so much training time, all stretches of a resumed run together; 0 sets no limit."""
    stop_at_return: float | None = None
    """End once the mean return of the last 100 training episodes reaches this."""
    evaluate_every: int = 0
    """Agent steps between two evaluations while the run goes on, and one at its end; 0: none. They share the cores with
    the workers. The best checkpoint by them is kept as best.safetensors."""
    evaluate_episodes: int = 10
    """Episodes of such an evaluation, from the same starts each time."""
    evaluate_greedy: bool = False
    """Take the most probable action in them instead of sampling."""
    stop_at_evaluation: float | None = None
    """End once the mean return of an evaluation reaches this."""
    evaluate_patience: int = 0
    """End after so many evaluations in a row that were no better than the best before them; 0 sets no limit."""
    log_every_seconds: float = 5.0
    """Time between two lines of metrics.jsonl."""
    checkpoint_every_seconds: float = 300.0
    """Time between two checkpoints while the run goes on; one is always written at its end."""
    keep_checkpoints: int = 3
    """Checkpoints that are kept; older ones are deleted."""
    track: tuple[str, ...] = ()
    """Trackers that follow the run besides TensorBoard: `wandb`, `mlflow`, `trackio`, or `module:Class` of your own."""
    watchdog_seconds: float = 120.0
    """A worker that makes no progress for so long fails the run."""
    exchange_every_seconds: float = 0.0
    """On several hosts, time between two exchanges of what they have learned, which take place while workers go on;
    0: as often as they cost a fiftieth of a core."""
    host_timeout_seconds: float = 10.0
    """A host that does not answer for so long is gone, and the others go on without it."""
    _origin: InitVar[Suppress[_Origin | None]] = None

    def __post_init__(self, _origin: _Origin | None) -> None:
        given = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        for name, value in given.items():
            if value is not None:
                object.__setattr__(self, name, plain_value(name, value))
        family = family_of(self.env_id)
        if not isinstance(self.preset, str) or self.preset not in PRESETS:
            raise ConfigError("preset", self.preset, _one_of(self.preset, tuple(PRESETS)))
        problem = problem_of(self.env_id)
        epochs = self.update_epochs if isinstance(self.update_epochs, int) else None
        defaults = defaults_of(problem, family, self.preset, epochs)
        defaults |= _defaults_of_network(self, problem, PRESETS[self.preset])
        if at_once := envs_at_once(self.env_id):
            defaults["envs_per_worker"] = at_once
            defaults["envs_per_update"] = math.gcd(defaults["envs_per_update"], at_once)
        if isinstance(self.envs_per_worker, int) and self.envs_per_worker > 0:
            defaults["envs_per_update"] = math.gcd(defaults["envs_per_update"], self.envs_per_worker)
        said = {name for name in defaults if getattr(self, name) is not None}
        if _origin is not None:  # it was made from another one
            said = {name for name in said if name in _origin.said or getattr(self, name) != _origin.defaults.get(name)}
            self._refuse_to_guess(_origin, defaults, said)
        for name, value in defaults.items():
            if getattr(self, name) is None:
                object.__setattr__(self, name, value)
        basis = {name: getattr(self, name) for name in DEFAULTS_DEPEND_ON}
        stored = {} if _origin is None else _origin.stored
        object.__setattr__(self, "_origin", _Origin(frozenset(said), defaults, basis, stored))
        _check(self, given)
        for name in sorted({*said, "schedules"}):
            is_stored = name in stored and stored[name] == getattr(self, name)
            if not is_stored and (reason := why_without_effect(name, self)):
                raise ConfigError(name, values.said(given[name], getattr(self, name)), reason)

    def replace(self, **changes: Any) -> Self:
        """These settings with some changed, as if the others that were said had been said with them.

        Settings that were not said have the defaults of the new environment, preset and number of epochs.
        `dataclasses.replace` cannot tell them apart and raises `ConfigError` where that matters. In a `Config` that
        comes from JSON those that differ from the defaults count as said.
        """
        kept = self.said() | changes
        origin = _Origin(frozenset(kept), {}, {}, {**vars(self)["_origin"].stored})
        return type(self)(**kept, _origin=origin)

    __replace__ = replace  # what copy.replace calls

    def said(self) -> dict[str, Any]:
        """The settings that were said, and those that have one default everywhere."""
        origin: _Origin = vars(self)["_origin"]
        names = [field.name for field in dataclasses.fields(self)]
        return {name: getattr(self, name) for name in names if name in origin.said or name not in origin.defaults}

    @classmethod
    def merged(
        cls,
        said: Mapping[str, Any],
        *,
        file: Mapping[str, Any] | None = None,
        source: str = "",
        stored: Config | None = None,
    ) -> Self:
        """Settings that were `said`, over those of a `file` called `source`, over those of a run that goes on.

        What comes from the run stays exactly as it is, also where it has no effect. A file that says everything may say
        the default of what has none; anything else of no effect is refused. Raises `ConfigError`, with the source.
        """
        before = (
            {} if stored is None else {field.name: getattr(stored, field.name) for field in dataclasses.fields(cls)}
        )
        in_file = {name: value for name, value in (file or {}).items() if name not in said}
        kept = {**before, **in_file, **said}
        stays = {name: plain_value(name, kept[name]) for name in kept if name not in said}
        with config_files.named_in(source, in_file):
            config = cls(**kept, _origin=_Origin(frozenset(kept), {}, {}, stays))
            origin: _Origin = vars(config)["_origin"]
            idle = {name: reason for name in in_file if (reason := why_without_effect(name, config))}
            for name, reason in idle.items():
                if getattr(config, name) not in (origin.defaults.get(name), before.get(name)):
                    raise ConfigError(name, in_file[name], reason)
        said_by_now = frozenset(name for name in origin.said if name not in idle or name in before)
        stays = {name: value for name, value in stays.items() if name in before}
        object.__setattr__(config, "_origin", dataclasses.replace(origin, said=said_by_now, stored=stays))
        return config

    @classmethod
    def of_stored(cls, fields: Mapping[str, Any]) -> Self:
        """The settings `fields` of a run, also those without effect; others are at their defaults."""
        stored = {name: plain_value(name, value) for name, value in fields.items()}
        return cls(**fields, _origin=_Origin(frozenset(fields), {}, {}, stored))

    def _refuse_to_guess(self, origin: _Origin, defaults: Mapping[str, Any], said: set[str]) -> None:
        """Raises `ConfigError` for a setting that has the default of before where there is another one now."""
        kept = [name for name in defaults if getattr(self, name) not in (None, defaults[name]) and name not in said]
        changed = [name for name in DEFAULTS_DEPEND_ON if kept and getattr(self, name) != origin.basis[name]]
        if changed:
            calls = ", ".join(f"{name}={getattr(self, name)!r}" for name in changed)
            raise ConfigError(
                changed[0],
                getattr(self, changed[0]),
                f"dataclasses.replace cannot tell whether {kept[0]}={getattr(self, kept[0])!r} was said or is the "
                f"default of before: use config.replace({calls})",
            )

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], **changes: Any) -> Self:
        """The settings of a file in TOML (.toml) or YAML (.yaml, .yml), or of a run's directory, with some changed.

            Config.from_file("run.toml", seed=2)

        Others have their defaults, as if those of the file had been given by name. Raises `ConfigError` with the file
        for one that cannot be read, for a name that no setting has and for a value that cannot be.
        """
        return cls.merged(changes, file=config_files.read(Path(path).expanduser()), source=shown(path))

    def to_file(self, path: str | os.PathLike[str]) -> None:
        """Writes all settings as a new file in TOML or YAML, by the end of its name, that `from_file` reads.

        Raises `ConfigError` where there is such a file already, `OSError` where it cannot be written.
        """
        config_files.write(self, Path(path))

    @property
    def family(self) -> Family:
        """EnvPool's family of the environment, such as atari or mujoco.gym; fake for a scripted one."""
        return family_of(self.env_id)

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON values, and the number of their format."""
        fields = dataclasses.asdict(self)
        fields["run_dir"] = None if self.run_dir is None else str(self.run_dir)
        fields["hidden_sizes"] = list(self.hidden_sizes)
        fields["schedules"] = list(self.schedules)
        fields["track"] = list(self.track)
        return {"format": stored_settings.FORMAT, **fields}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Config:
        """The inverse of `to_json`, also for what every earlier version stored.

        Raises `ConfigError` for a field that this version does not have and for one that `fields` should have.
        """
        stored = stored_settings.settings(fields, [field.name for field in dataclasses.fields(cls)])
        for name in checked_schedules(plain_schedules(stored["schedules"])):
            stored |= without_schedule(name)  # the defaults may have been others
        config = cls.of_stored(stored)
        # What was said is not stored: whatever differs from the defaults must have been.
        origin: _Origin = vars(config)["_origin"]
        said = {name for name, default in origin.defaults.items() if getattr(config, name) != default}
        object.__setattr__(config, "_origin", dataclasses.replace(origin, said=frozenset(said)))
        return config


def plain_value(name: str, value: Any) -> Any:
    """A setting as a `Config` keeps it, not yet checked."""
    if name == "schedules":
        return plain_schedules(value)
    return _PLAIN.get(Config.__annotations__[name], values.text)(value)


# What the convolutions reduce to one pixel.
_SMALLEST_IMAGE = {"paper": 20, "nature": 36, "small": 5}


def _defaults_of_network(config: Config, problem: Problem, of_preset: Mapping[str, Any]) -> dict[str, Any]:
    """What the sizes of the observations, or an LSTM, have for defaults."""
    defaults: dict[str, Any] = {}
    if config.network is not None:
        defaults["lstm_size"] = 0  # a preset may have one
    lstm_size = of_preset.get("lstm_size", 0) if config.lstm_size is None else config.lstm_size
    has_lstm = isinstance(lstm_size, int) and lstm_size != 0  # it is not yet checked
    if has_lstm or config.model not in (None, "mlp") or config.network is not None:
        defaults["separate_value"] = False
    if problem == "image":
        shape = spec_of(config.env_id).observation.array_shape
        defaults["model"] = "paper" if min(shape[1:]) >= _SMALLEST_IMAGE["paper"] else "small"
    unsaid = None in (config.observation_offset, config.observation_scale)  # a stored one need not be imported
    if isinstance(config.network, str) and unsaid and not _wants_measured(config.network):
        defaults |= {"observation_offset": 0.0, "observation_scale": 1.0}
    return defaults


def _wants_measured(network: str) -> bool:
    from a3c_fast.network_factory import wants_measured  # which imports torch

    return wants_measured(network)


def check_model(config: Config, spec: EnvSpec) -> None:
    """Raises `ConfigError` when the model does not take these observations."""
    if config.model == "mlp" or config.network is not None:
        return
    shape, smallest = spec.observation.array_shape, _SMALLEST_IMAGE[config.model]
    if len(shape) != 3 or min(shape[1:]) < smallest:
        raise ConfigError(
            "model",
            config.model,
            f"it needs images of at least {smallest}x{smallest} and {config.env_id} has observations "
            f"{spec.observation}: use {'small' if len(shape) == 3 and min(shape[1:]) >= 5 else 'mlp'}",
        )


def _check_network(config: Config) -> None:
    """Raises `ConfigError` for a network of the user's own that is none, or beside a precision that it has not."""
    if not isinstance(config.network, str):
        raise ConfigError(
            "network", config.network, "it must be module:name; Trainer(config, network=...) takes objects"
        )
    if config.precision == "bf16":
        raise ConfigError("precision", "bf16", f"{config.network} computes in float32: it must be auto or fp32")


# By the annotation of a field, what makes a plain value of what was given; names are strings.
_PLAIN: Mapping[str, Callable[[Any], Any]] = {
    "int": values.whole,
    "float": values.real,
    "float | None": values.real,
    "float | Literal['auto']": lambda value: values.text(values.real(value)),
    "bool": values.truth,
    "tuple[int, ...]": values.sizes,
    "tuple[str, ...]": values.names,
    "Path | None": values.path,
}


def _one_of(value: Any, allowed: tuple[str, ...]) -> str:
    return f"it must be one of {', '.join(allowed)}{did_you_mean(value, allowed)}"


def _check(config: Config, given: Mapping[str, Any]) -> None:
    """Raises `ConfigError` for the first field that cannot be, with the value as it was given."""

    def value_of(name: str) -> Any:
        return getattr(config, name) if given[name] is None else given[name]

    def integer(name: str, low: int, high: int = 2**31 - 1) -> None:
        values.whole_number(name, value_of(name), low, high)

    def number(name: str, low: float, high: float = math.inf, *, above: bool = False) -> None:
        values.real_number(name, value_of(name), low, high, above=above)

    def choice(name: str, allowed: tuple[str, ...]) -> None:
        value = getattr(config, name)
        if not isinstance(value, str) or value not in allowed:
            raise ConfigError(name, value, _one_of(value, allowed))

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
    choice("model", ("paper", "nature", "small", "mlp"))
    if config.network is not None:
        _check_network(config)
    choice("activation", ("tanh", "relu", "elu"))
    flag("separate_value")
    if config.separate_value and (config.model != "mlp" or config.lstm_size):
        raise ConfigError("separate_value", True, "only an mlp without an LSTM has layers of its own for the value")
    number("initial_log_std", -20, 5)
    flag("normalize_observations")
    flag("normalize_rewards")
    if not isinstance(config.hidden_sizes, tuple) or not 1 <= len(config.hidden_sizes) <= 16:
        raise ConfigError("hidden_sizes", config.hidden_sizes, "it must name 1 to 16 layers")
    for size in config.hidden_sizes:
        if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= 65536:
            raise ConfigError("hidden_sizes", config.hidden_sizes, "every layer must have 1 to 65536 units")
    integer("lstm_size", 0, 4096)
    if not isinstance(config.observation_offset, str) or config.observation_offset != "auto":
        number("observation_offset", 0, 1)
    if not isinstance(config.observation_scale, str) or config.observation_scale != "auto":
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
    origin: _Origin = vars(config)["_origin"]
    check_schedules(config, origin.defaults)
    for name in ("rmsprop_alpha", "adam_beta1", "adam_beta2"):
        number(name, 0, 0.999999)
    number("optimizer_eps", 1e-30, 1)  # far from the smallest float
    choice("precision", ("auto", "fp32", "bf16"))

    integer("frame_skip", 1, 100)
    integer("stack_num", 1, 32)
    integer("noop_max", 1 if config.family == "atari" else 0, 10_000)
    number("sticky_probability", 0, 1)
    flag("episodic_life")
    flag("reward_clip")
    if config.family != "atari":
        for name, only in NO_EMULATOR.items():
            if getattr(config, name) != only:
                raise ConfigError(
                    name, getattr(config, name), f"{config.env_id} is no Atari game and allows only {only!r}"
                )
        if config.sticky_probability:
            raise ConfigError("sticky_probability", config.sticky_probability, f"{config.env_id} allows only 0")
        if not spec_of(config.env_id).observation.array_shape:
            for name, only in (("observation_offset", 0), ("observation_scale", 1)):
                if getattr(config, name) != only:
                    raise ConfigError(name, getattr(config, name), f"{config.env_id} has no images: only {only}")

    integer("seed", 0, 2**31 - 1)
    if config.run_dir is not None and not isinstance(config.run_dir, Path):
        raise ConfigError("run_dir", config.run_dir, "it must be the path of a directory")
    flag("resume")
    if config.resume and config.run_dir is None:
        raise ConfigError("resume", True, "run_dir must name the run to go on with")
    number("max_minutes", 0)
    if config.stop_at_return is not None:
        number("stop_at_return", -math.inf)
    integer("evaluate_every", 0, 2**62)
    integer("evaluate_episodes", 1, 100_000)
    flag("evaluate_greedy")
    if config.stop_at_evaluation is not None:
        number("stop_at_evaluation", -math.inf)
    integer("evaluate_patience", 0, 1_000_000)
    for name, unsaid in (("stop_at_evaluation", None), ("evaluate_patience", 0)):
        if not config.evaluate_every and getattr(config, name) != unsaid:
            raise ConfigError(name, getattr(config, name), "evaluate_every must say how often the agent is evaluated")
    if config.evaluate_every and config.family == "fake":
        raise ConfigError("evaluate_every", config.evaluate_every, f"{config.env_id} has no scores")
    number("log_every_seconds", 0, 1e6, above=True)
    number("checkpoint_every_seconds", 0, 1e9, above=True)
    integer("keep_checkpoints", 2, 1_000_000)
    trackers.check_names(config.track)
    number("watchdog_seconds", 0, 1e6, above=True)
    number("exchange_every_seconds", 0, 1e6)
    number("host_timeout_seconds", 0, 1e6, above=True)
