"""`a3c-fast evaluate RUN_DIR`: what the trained agent really scores.

Plays in a pool of its own: whole episodes, raw rewards, no-op starts, and the number of episodes of each environment
fixed beforehand, so that short ones do not count more often than long ones.
"""

from __future__ import annotations

import contextlib
import json as json_module
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tyro.conf import Positional

from a3c_fast.calls import calls, counted
from a3c_fast.output import Output, let_go_of_what_is_unwritten, occupy_standard_files
from a3c_fast.values import words

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from a3c_fast._core import ActionSpec, EnvClient, Network, Random
    from a3c_fast.checkpoint import Checkpoint
    from a3c_fast.config import Config
    from a3c_fast.envs import EnvSpec
    from a3c_fast.errors import ConfigError
    from a3c_fast.moment import Moment
    from a3c_fast.observing import Policy
    from a3c_fast.video import Video

_PROGRAM = "a3c-fast evaluate"
_MOST_ENVS = 32
_ENDLESS = 10**6  # a limit of episodes from here on is none
_LONGEST_EPISODE = 10_000  # where there is none
_STREAM = 2**32  # of seeds: no training run, whose streams are step counts, gets the same


class InterruptedEvaluation(RuntimeError):  # noqa: N818  # no error of anybody's
    """`evaluate` was not to keep going."""


@counted
def evaluate(
    policy: Policy,
    config: Config,
    *,
    episodes: int = 30,
    greedy: bool = False,
    seed: int = 1,
    num_threads: int = 1,
    sticky: float | None = None,
    max_episode_steps: int | None = None,
    watch: Callable[[Moment], None] | None = None,
    keep_going: Callable[[], bool] | None = None,
) -> dict[str, Any]:
    """Plays `episodes` episodes of `config.env_id` and returns their scores and the protocol.

    Actions are sampled from pi(a|s), or its mode with `greedy`. `num_threads` step the environments, at least one for
    each half of them. `sticky` replaces the probability of sticky actions that the agent was trained with. Of an
    episode at most `max_episode_steps` agent steps are counted, by default as many as the environment has, and 10,000
    where it has no limit; the next one then begins where it was cut. `watch` is called at each step of the first
    environment's first episode with what there is to see of it, by this thread; `ConfigError` where there is nothing,
    neither drawn by the environment nor in its observations. The score also comes human-normalized, as a fraction,
    where the literature has a human one. `keep_going` is asked before each step; where it says False,
    `InterruptedEvaluation` is raised. Raises `ValueError` for a policy of other observations or actions.
    """
    import dataclasses
    import math

    import numpy as np

    from a3c_fast import _core, envs
    from a3c_fast.envs import drawn
    from a3c_fast.errors import ConfigError
    from a3c_fast.human_scores import human_normalized
    from a3c_fast.values import whole_number

    episodes = whole_number("episodes", episodes, 1)
    seed = whole_number("seed", seed, 0)
    num_threads = whole_number("num_threads", num_threads, 1)
    if config.family == "fake":
        raise ConfigError("env_id", config.env_id, "a scripted environment of the tests has no scores")
    own_limit = envs.max_episode_steps(config.env_id)
    limit: float = math.inf  # the environment ends its episodes itself
    if max_episode_steps is not None:
        limit = whole_number("max_episode_steps", max_episode_steps, 1)
    elif not 0 < own_limit < _ENDLESS:
        limit = _LONGEST_EPISODE
    if sticky is not None:
        config = dataclasses.replace(config, sticky_probability=sticky)
    spec = envs.spec_of(config)
    if (policy.observation, policy.action) != (spec.observation, spec.action):
        raise ValueError(
            f"the policy is for observations {policy.observation} and actions {policy.action}, and {config.env_id} has "
            f"{spec.observation} and {spec.action}"
        )
    at_once = envs.envs_at_once(config.env_id)
    draws = watch is not None and drawn.is_drawn(config)
    if watch is not None and not draws and not drawn.shows_pictures(config):
        raise no_pictures(config)
    num_envs = at_once or min(episodes, _MOST_ENVS)
    seeds = envs.env_seeds(seed, _STREAM, num_envs)
    quota = [len(range(i, episodes, num_envs)) for i in range(num_envs)]
    # Two pools in turn: the emulators of one run while the network looks at the images of the other.
    halves: list[_Half] = []
    middle = 0 if at_once else num_envs // 2
    for part in (slice(0, middle), slice(middle, num_envs)):
        if seeds[part]:
            client = envs.make_client(
                config,
                seeds[part],
                training=False,
                num_threads=max(1, num_threads // 2),
                render_mode=envs.DRAWN if draws and not halves else "",
            )
            halves.append(_Half(client, quota[part], limit, *_network(policy, config, len(seeds[part]))))
    actions = _Actions(spec.action.core(), None if greedy else _core.Random(seed, _STREAM))
    while any(half.left for half in halves):
        calls.may_end_here()
        if keep_going is not None and not keep_going():
            raise InterruptedEvaluation
        for half in halves:
            if not half.left:
                continue
            half.receive()
            watched = watch is not None and half is halves[0] and not half.returns[0]
            picture = envs.frame_of(config, half.client) if draws and watched else None
            if half.left:
                outputs, values = half.network.act(half.rows, half.starts)
                chosen = actions.choose(outputs, half.masks)
                if watch is not None and watched:
                    watch(_moment(config, spec, half, picture, outputs[0], float(values[0]), chosen[0]))
                half.client.send(chosen)
    returns = [value for half in halves for of_env in half.returns for value in of_env]
    lengths = [value for half in halves for of_env in half.lengths for value in of_env]
    return {
        "env_id": config.env_id,
        "mean_return": float(np.mean(returns)),
        "human_normalized": human_normalized(config.env_id, float(np.mean(returns))),
        "std_return": float(np.std(returns)),
        "min_return": float(np.min(returns)),
        "max_return": float(np.max(returns)),
        "mean_length": float(np.mean(lengths)),
        "episodes": episodes,
        "protocol": {
            "policy": "greedy" if greedy else "sampled",
            "noop_max": config.noop_max,
            "sticky_probability": config.sticky_probability,
            "frame_skip": config.frame_skip,
            "episodic_life": False,
            "reward_clip": False,
            "max_episode_steps": min(limit, own_limit) if 0 < own_limit < _ENDLESS else limit,
            "seed": seed,
            "kernels": halves[0].kernels,
            **_library(config),
        },
    }


def _library(config: Config) -> dict[str, str]:
    """Whose environments were played, and its version."""
    from importlib import metadata

    name = "gymnasium" if config.family == "gymnasium" else "envpool"
    return {name: metadata.version(name)}


def no_pictures(config: Config) -> ConfigError:
    """Why there is nothing to watch."""
    from a3c_fast.errors import ConfigError

    why = {
        "gymnasium": ", and its environments have no render_mode 'rgb_array'",
        "mujoco": ", and EnvPool cannot draw it on this machine: MuJoCo needs OpenGL for it",
    }.get(config.family.partition(".")[0], "")
    return ConfigError("env_id", config.env_id, f"it shows no pictures{why}")


def _moment(
    config: Config,
    spec: EnvSpec,
    half: _Half,
    picture: npt.NDArray[np.uint8] | None,
    outputs: npt.NDArray[np.float32],
    value: float,
    chosen: npt.NDArray[np.float32],
) -> Moment:
    """Of the first environment of `half`; `picture` is what it has drawn of itself."""
    from a3c_fast.envs import drawn
    from a3c_fast.moment import Moment, bars_of

    seen = _picture(spec.observation.array_of(half.rows)[0]) if drawn.shows_pictures(config) else None
    if picture is None:
        picture, seen = seen, None
    assert picture is not None
    mask = None if half.masks is None else half.masks[0]
    return Moment(
        picture=picture,
        seen=seen,
        step=half.running_length[0],
        episode_return=half.running_return[0],
        value=value,
        bars=bars_of(config, spec.action, outputs, mask, chosen),
        is_continuous=spec.action.is_continuous,
    )


def _picture(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """An observation [C, H, W] as people see it: [H, W, 3] of three colours, else the newest of the frames, [H, W]."""
    import numpy as np

    return np.array(image.transpose(1, 2, 0) if len(image) == 3 else image[-1])


class _Actions:
    """Samples from pi(a|s), or takes its mode where there are no random numbers."""

    def __init__(self, action: ActionSpec, random: Random | None) -> None:
        from a3c_fast import _core

        self.distribution = _core.Distribution(action)
        self.random = random

    def choose(self, outputs: npt.NDArray[np.float32], masks: npt.NDArray[np.uint8] | None) -> npt.NDArray[np.float32]:
        import numpy as np

        if not np.isfinite(outputs).all():
            raise RuntimeError("the policy's outputs are not finite: its parameters have blown up")
        if masks is not None:
            outputs = np.where(masks, outputs, np.float32(-1e9))
        if self.random is None:
            return self.distribution.mode(outputs)
        return self.distribution.sample(outputs, self.random)


class _Half:
    """Environments that step together, and the episodes that they have finished."""

    def __init__(
        self, client: EnvClient, quota: list[int], limit: float, network: Network | _Module, kernels: str
    ) -> None:
        num_envs = len(quota)
        self.client = client
        self.limit = limit  # steps of an episode
        self.network = network
        self.kernels = kernels
        self.quota = quota  # of episodes; [num_envs] like all that follows
        self.returns: list[list[float]] = [[] for _ in quota]
        self.lengths: list[list[int]] = [[] for _ in quota]
        self.running_return = [0.0] * num_envs
        self.running_length = [0] * num_envs
        self.rows: Any = None  # the observations
        self.starts: Any = None  # whether they are the first of an episode
        self.masks: Any = None  # which actions are allowed, where the environments say so

    @property
    def left(self) -> int:
        """Episodes to play."""
        return sum(max(0, quota - len(returns)) for quota, returns in zip(self.quota, self.returns, strict=True))

    def receive(self) -> None:
        """Waits for what follows from the actions sent last, at first for the reset."""
        batch = self.client.recv()
        self.rows, self.starts, self.masks = batch["observations"], batch["starts"], batch["action_masks"]
        for i, quota in enumerate(self.quota):
            if batch["valid"][i]:
                self.running_return[i] += float(batch["raw_reward"][i])
                self.running_length[i] += 1
            if batch["episode_ended"][i] or self.running_length[i] >= self.limit:
                if len(self.returns[i]) < quota:
                    self.returns[i].append(self.running_return[i])
                    self.lengths[i].append(self.running_length[i])
                self.running_return[i], self.running_length[i] = 0.0, 0


class _Module:
    """A policy that is a module of somebody's own."""

    def __init__(self, policy: Policy, num_envs: int) -> None:
        from a3c_fast._core import NewThreadTorch

        self.policy = policy
        with NewThreadTorch():
            self.state = policy.initial_state(num_envs)

    def act(self, rows: npt.NDArray[np.uint8], starts: npt.NDArray[np.uint8]) -> tuple[Any, Any]:
        import torch

        from a3c_fast._core import NewThreadTorch

        with NewThreadTorch(), torch.inference_mode():
            self.state[torch.from_numpy(starts.astype(bool))] = 0
            outputs, values, self.state = self.policy.step_rows(rows, self.state)
            return outputs.float().numpy(), values.float().numpy()


def _network(policy: Policy, config: Config, num_envs: int) -> tuple[Network | _Module, str]:
    """What acts, and on which kernels: those of the workers for an `ActorCritic` itself, which are faster than it."""
    import dataclasses

    from a3c_fast import _core, envs
    from a3c_fast.core_config import kernels_of, model_config
    from a3c_fast.errors import ConfigError
    from a3c_fast.policy import ActorCritic, float_arrays, to_flat

    if type(policy) is not ActorCritic:
        return _Module(policy, num_envs), "torch"
    spec = envs.spec_of(config)
    own = {  # the policy's own network, whatever the settings say
        "model": policy.model,
        "hidden_sizes": policy.hidden_sizes,
        "activation": policy.activation_name,
        "separate_value": policy.separate_value,
        "lstm_size": policy.lstm_size,
        "observation_offset": float(policy.observation_offset),
        "observation_scale": float(policy.observation_scale),
    }
    measured = type(config).of_stored({**dataclasses.asdict(config), **own})
    try:
        kernels = kernels_of(measured, spec)
    except (ConfigError, RuntimeError):  # trained in bfloat16, and played where there is none or A3C_FAST_ISA says so
        measured = dataclasses.replace(measured, precision="auto")
        kernels = kernels_of(measured, spec)
    model = model_config(measured, spec)
    layout = _core.Replica(model)
    network = _core.Network(model, num_envs)
    with _core.NewThreadTorch():
        parameters = float_arrays(policy.state_dict())
    if policy.normalize_observations:
        network.set_normalization(parameters.pop("observation_mean"), parameters.pop("observation_variance"))
    network.set_parameters(to_flat(parameters, layout.parameter_specs, layout.parameters().size))
    return network, kernels


def load_policy(checkpoint: Checkpoint, *, network: Any = None) -> tuple[Policy, Config]:
    """The network of a checkpoint and the game it was trained on; the settings of training are defaults.

    `network`, a network of the user's own that cannot be imported by its name, is given as it was to `Trainer`.

    Raises `CheckpointError` when the parameters are not those of the network that the settings name.
    """
    from a3c_fast import envs, stored_settings
    from a3c_fast.config import check_model
    from a3c_fast.loading import policy_of_checkpoint

    config = checkpoint.measured(stored_settings.playing(checkpoint.config))
    spec = envs.spec_of(config)
    check_model(config, spec)
    return policy_of_checkpoint(checkpoint, config, spec, network=network), config


@dataclass(frozen=True)
class Arguments:
    """Plays the agent of a run in an evaluation pool of its own and prints its scores."""

    run_dir: Positional[Path]
    """Directory of the run."""
    episodes: int = 30
    """Episodes to play."""
    json: bool = False
    """Print one JSON object instead of a line of text."""
    greedy: bool = False
    """Take the most probable action instead of sampling."""
    sticky: float | None = None
    """Probability that the emulator repeats the action before, instead of the run's own (Atari; 0.25 is ALE's v5)."""
    max_episode_steps: int | None = None
    """Most agent steps that are counted of an episode; by default the environment's own, or 10,000 where it has
    none."""
    seed: int = 1
    """Of the environments and of the sampled actions."""
    checkpoint: Path | None = None
    """This checkpoint (*.safetensors) instead of the newest of the run; one from elsewhere must be of the same
    environment and network."""
    video: Path | None = None
    """Also write the first episode here (.mp4 or .gif), as the environment draws itself or else as the agent sees it,
    with the value and the probabilities of its actions; needs the extra `video`."""

    @classmethod
    def said(cls, written: Mapping[str, Any]) -> Arguments:
        """From the flags as `cli.said` has them. Raises `ConfigError` for one that cannot be."""
        from a3c_fast import values
        from a3c_fast.errors import ConfigError

        given = dict(written)
        for name, least in (("episodes", 1), ("seed", 0), ("max_episode_steps", 1)):
            if given.get(name) is not None:
                given[name] = values.whole_number(name, given[name], least)
        if given.get("sticky") is not None:
            given["sticky"] = values.real_number("sticky", given["sticky"], 0, 1)
        directories = written.get("run_dir", ())
        if len(directories) != 1:
            raise ConfigError("run_dir", " ".join(directories), f"one directory is required: {_PROGRAM} RUN_DIR")
        given["run_dir"] = directories[0]
        for name in ("run_dir", "checkpoint", "video"):
            if given.get(name) is not None:
                if not isinstance(values.path(given[name]), Path):
                    raise ConfigError(name, given[name], "it must be a path")
                given[name] = Path(given[name]).expanduser()
        return cls(**given)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command. Exit status: 0 done; 2 a flag, run or checkpoint that cannot be; 130 after SIGINT; 1 else.

    With `arguments` it is part of a program, whose handling of signals and warnings stays as it is.
    """
    of_process = arguments is None
    output = Output(says_so=False)
    try:
        with _as_process(output) if of_process else contextlib.nullcontext():
            _main(sys.argv[1:] if arguments is None else words(arguments), output)
    finally:
        if of_process:
            let_go_of_what_is_unwritten()


@contextlib.contextmanager
def _as_process(output: Output) -> Iterator[None]:
    """Warnings in one line, and an end at SIGINT."""
    occupy_standard_files()
    # There is nothing to save, and an exception in the middle of an import can get lost there.
    interrupt = signal.getsignal(signal.SIGINT)
    handled = interrupt not in (signal.SIG_IGN, None) and threading.current_thread() is threading.main_thread()
    if handled:
        signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    try:
        with output.warnings_in_one_line():
            yield
    finally:
        if handled:
            signal.signal(signal.SIGINT, interrupt)


def _main(arguments: Sequence[str], output: Output) -> None:
    from a3c_fast import cli
    from a3c_fast.errors import CheckpointError, ConfigError

    try:
        written = cli.said(Arguments, arguments, prog=_PROGRAM)
        if written.pop("help", False):
            cli.show_help(Arguments, prog=_PROGRAM)
        args = Arguments.said(written)
        result = _run(args)
    except (ConfigError, CheckpointError) as error:
        cli.fail(cli.EXIT_BAD_CONFIG, error)
    except (ImportError, RuntimeError, OSError) as error:
        cli.fail(cli.EXIT_FAILED, error)
    output.say(json_module.dumps(result) if args.json else _in_words(result))
    if output.lost is not None:
        cli.fail(cli.EXIT_FAILED, f"standard output cannot be written, and the scores are lost: {output.lost.strerror}")


def _in_words(result: dict[str, Any]) -> str:
    protocol, human = result["protocol"], result["human_normalized"]
    return (
        f"{result['env_id']} at step {result['step']:,}: mean return {result['mean_return']:.2f}"
        + ("" if human is None else f" ({human:.0%} of human)")
        + f", std {result['std_return']:.2f}, from {result['min_return']:g} to {result['max_return']:g} over "
        f"{result['episodes']} {protocol['policy']} episodes"
        + (f", sticky actions {protocol['sticky_probability']:g}" if human is not None else "")
    )


def _run(args: Arguments) -> dict[str, Any]:
    from a3c_fast import checkpoint as checkpoints
    from a3c_fast.envs import drawn
    from a3c_fast.errors import CheckpointError
    from a3c_fast.machine import cores
    from a3c_fast.video import Video, check

    if not args.run_dir.is_dir():
        raise CheckpointError(f"{args.run_dir} is no directory of a run")
    if args.checkpoint is not None:
        checkpoint = checkpoints.load(args.checkpoint)
        _require_same_agent(checkpoint, args.checkpoint, args.run_dir)
    else:
        checkpoint = checkpoints.load_newest(args.run_dir / "checkpoints")
    policy, config = load_policy(checkpoint)
    watching: contextlib.AbstractContextManager[Video | None] = contextlib.nullcontext()
    if args.video is not None:
        pace = drawn.frames_per_second(config)
        if not pace:
            raise no_pictures(config)
        check(args.video)
        watching = Video(args.video, pace)
    with watching as video:
        result = evaluate(
            policy,
            config,
            episodes=args.episodes,
            greedy=args.greedy,
            seed=args.seed,
            num_threads=cores(),
            sticky=args.sticky,
            max_episode_steps=args.max_episode_steps,
            watch=None if video is None else video.add,
        )
    return {"step": checkpoint.step, **result}


def _require_same_agent(checkpoint: Checkpoint, path: Path, run_dir: Path) -> None:
    """Raises `ConfigError` for a checkpoint of another environment or network than those of the run in `run_dir`."""
    from a3c_fast import stored_settings
    from a3c_fast.config import STRUCTURAL_FIELDS
    from a3c_fast.errors import ConfigError
    from a3c_fast.paths import shown
    from a3c_fast.run_directory import stored_config

    if path.resolve().parent.is_relative_to(run_dir.resolve()):
        return  # of the run itself, whose config.json may be damaged
    run = stored_config(run_dir)
    if run is None:
        raise ConfigError(
            "run_dir", shown(run_dir), "there is no run in it: name the directory that the checkpoint is of"
        )
    theirs, ours = stored_settings.upgrade(checkpoint.config), stored_settings.upgrade(run.to_json())
    # How it was trained does not matter, and what was measured in random play is the checkpoint's own.
    of_training = ("optimizer", "normalize_rewards", "observation_offset", "observation_scale")
    for name in STRUCTURAL_FIELDS:
        if name not in of_training and theirs.get(name) != ours[name]:
            reason = f"it is of another run, with {name} {theirs.get(name)!r}, and {shown(run_dir)} has {ours[name]!r}"
            raise ConfigError("checkpoint", shown(path), reason)


if __name__ == "__main__":
    main()
