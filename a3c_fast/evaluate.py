"""`python -m a3c_fast.evaluate RUN_DIR`: what the trained agent really scores.

Plays in a pool of its own: whole episodes, raw rewards, no-op starts, and the number of episodes of each environment
fixed beforehand, so that short ones do not count more often than long ones.
"""

from __future__ import annotations

import json as json_module
import os
import signal
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tyro.conf import Positional

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from a3c_fast._core import Network
    from a3c_fast.checkpoint import Checkpoint
    from a3c_fast.config import Config
    from a3c_fast.policy import ActorCritic

_MOST_ENVS = 32
_STREAM = 2**32  # of seeds: no training run, whose streams are step counts, gets the same


def evaluate(
    policy: ActorCritic,
    config: Config,
    *,
    episodes: int = 30,
    greedy: bool = False,
    seed: int = 1,
    num_threads: int = 1,
    sticky: float | None = None,
    frames: list[Any] | None = None,
) -> dict[str, Any]:
    """Plays `episodes` episodes of `config.env_id` and returns their scores and the protocol.

    Actions are sampled from pi(a|s), or its mode with `greedy`. `num_threads` step the environments, at least one for
    each half of them. `sticky` replaces the probability of sticky actions that the agent was trained with. `frames`,
    when given, receives the newest image of the first environment at each step of its first episode, uint8
    [height, width]. The score also comes human-normalized, as a fraction, where the literature has a human one.
    """
    import dataclasses

    import envpool
    import numpy as np

    from a3c_fast import envs
    from a3c_fast.errors import ConfigError
    from a3c_fast.human_scores import human_normalized

    if episodes < 1:
        raise ConfigError("episodes", episodes, "it must be at least 1")
    if not 0 <= seed < 2**31:
        raise ConfigError("seed", seed, f"it must be a whole number from 0 to {2**31 - 1}")
    if config.family == "fake":
        raise ConfigError("env_id", config.env_id, "a scripted environment of the tests has no scores")
    if sticky is not None:
        config = dataclasses.replace(config, sticky_probability=sticky)
    num_envs = min(episodes, _MOST_ENVS)
    seeds = envs.env_seeds(seed, _STREAM, num_envs)
    quota = [len(range(i, episodes, num_envs)) for i in range(num_envs)]
    # Two pools in turn: the emulators of one run while the network looks at the images of the other.
    halves = []
    for part in (slice(0, num_envs // 2), slice(num_envs // 2, num_envs)):
        if seeds[part]:
            pool = envs.make_pool(config, seeds[part], training=False, num_threads=max(1, num_threads // 2))
            halves.append(_Half(pool, quota[part], *_network(policy, config, len(seeds[part]))))
    random = None if greedy else np.random.default_rng(seed)
    while any(half.left for half in halves):
        for half in halves:
            if not half.left:
                continue
            half.receive()
            if frames is not None and half is halves[0] and not half.returns[0]:
                frames.append(np.array(half.observations[0][-1]))
            if half.left:
                half.pool.send(_choose_actions(half, random))
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
            "max_episode_steps": int(halves[0].pool.config["max_episode_steps"]),
            "seed": seed,
            "kernels": halves[0].kernels,
            "envpool": envpool.__version__,
        },
    }


class _Half:
    """Environments that step together, and the episodes that they have finished."""

    def __init__(self, pool: Any, quota: list[int], network: Network | _Module, kernels: str) -> None:
        num_envs = len(quota)
        self.pool = pool
        self.network = network
        self.kernels = kernels
        self.quota = quota  # of episodes; [num_envs] like all that follows
        self.returns: list[list[float]] = [[] for _ in quota]
        self.lengths: list[list[int]] = [[] for _ in quota]
        self.running_return = [0.0] * num_envs
        self.running_length = [0] * num_envs
        # The step after the last of an episode only resets: it brings the first observation of the next episode.
        self.resets = [True] * num_envs  # the step under way
        self.starts = [False] * num_envs  # the observation
        self.observations: Any = None
        pool.async_reset()

    @property
    def left(self) -> int:
        """Episodes to play."""
        return sum(quota - len(returns) for quota, returns in zip(self.quota, self.returns, strict=True))

    def receive(self) -> None:
        """Waits for what follows from the actions sent last, at first for the reset."""
        self.observations, rewards, terminated, truncated, _ = self.pool.recv()
        for i, quota in enumerate(self.quota):
            self.running_return[i] += float(rewards[i])
            self.running_length[i] += not self.resets[i]
            self.starts[i] = self.resets[i]
            self.resets[i] = bool(terminated[i] or truncated[i])
            if self.resets[i]:
                if len(self.returns[i]) < quota:
                    self.returns[i].append(self.running_return[i])
                    self.lengths[i].append(self.running_length[i])
                self.running_return[i], self.running_length[i] = 0.0, 0


class _Module:
    """A policy that is a module of somebody's own."""

    def __init__(self, policy: ActorCritic, num_envs: int) -> None:
        self.policy = policy
        self.state = policy.initial_state(num_envs)

    def act(self, observations: npt.NDArray[Any], starts: npt.NDArray[np.uint8]) -> tuple[Any, None]:
        import torch

        with torch.inference_mode():
            self.state[torch.from_numpy(starts.astype(bool))] = 0
            logits, _, self.state = self.policy.step(torch.from_numpy(observations), self.state)
        return logits.float().numpy(), None


def _network(policy: ActorCritic, config: Config, num_envs: int) -> tuple[Network | _Module, str]:
    """What acts, and on which kernels: those of the workers for an ActorCritic itself, which are faster than it."""
    import dataclasses

    from a3c_fast import _core, envs
    from a3c_fast.core_config import kernels_of, model_config
    from a3c_fast.errors import ConfigError
    from a3c_fast.policy import ActorCritic, to_flat

    if type(policy) is not ActorCritic:
        return _Module(policy, num_envs), "torch"
    environment = envs.observation_layout(config)
    measured = dataclasses.replace(
        config,
        observation_offset=float(policy.observation_offset),
        observation_scale=float(policy.observation_scale),
    )
    try:
        kernels = kernels_of(measured, environment)
    except (ConfigError, RuntimeError):  # trained in bfloat16, and played where there is none or A3C_FAST_ISA says so
        measured = dataclasses.replace(measured, precision="auto")
        kernels = kernels_of(measured, environment)
    model = model_config(measured, environment)
    layout = _core.Replica(model)
    named = {name: value.numpy() for name, value in policy.state_dict().items()}
    network = _core.Network(model, num_envs)
    network.set_parameters(to_flat(named, layout.parameter_specs, layout.parameters().size))
    return network, kernels


def _choose_actions(half: _Half, random: np.random.Generator | None) -> npt.NDArray[np.int32]:
    """Samples from pi(a|s), or takes its mode where there is no generator."""
    import numpy as np

    logits, _ = half.network.act(half.observations, np.array(half.starts, np.uint8))
    if not np.isfinite(logits).all():
        raise RuntimeError("the policy's logits are not finite: its parameters have blown up")
    if random is not None:
        logits = logits + random.gumbel(size=logits.shape)  # whose largest is a sample of softmax(logits)
    return np.asarray(logits.argmax(-1), np.int32)


def load_policy(checkpoint: Checkpoint) -> tuple[ActorCritic, Config]:
    """The network of a checkpoint and the settings it was trained with.

    Raises `CheckpointError` when the parameters are not those of the network that the settings name.
    """
    import dataclasses

    import torch

    from a3c_fast import envs
    from a3c_fast.config import Config, check_model
    from a3c_fast.errors import CheckpointError
    from a3c_fast.policy import make_policy

    config = checkpoint.measured(dataclasses.replace(Config.from_json(checkpoint.config), resume=False))
    shape, _, num_actions = envs.observation_layout(config)
    check_model(config, shape)
    policy = make_policy(config, shape, num_actions)
    expected = {name: tuple(value.shape) for name, value in policy.state_dict().items()}
    found = {name: value.shape for name, value in checkpoint.parameters.items()}
    if expected != found:
        raise CheckpointError(f"the checkpoint is of another network than the {config.model} of {config.env_id}")
    policy.load_state_dict({name: torch.from_numpy(value) for name, value in checkpoint.parameters.items()})
    return policy.eval(), config


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
    seed: int = 1
    """Of the environments and of the sampled actions."""
    checkpoint: Path | None = None
    """This checkpoint (*.safetensors) instead of the newest of the run."""
    video: Path | None = None
    """Also write what the agent saw in the first episode here (.mp4 or .gif; needs the extra `video`)."""


def main(arguments: Sequence[str] | None = None) -> None:
    """The command. Exit status: 0 done; 2 a flag, run or checkpoint that cannot be; 130 after SIGINT; 1 else."""
    from a3c_fast.cli import EXIT_BAD_CONFIG, EXIT_FAILED, fail, parse
    from a3c_fast.errors import CheckpointError, ConfigError

    warnings.showwarning = lambda message, *_, **__: print(f"warning: {message}", file=sys.stderr)
    # There is nothing to save, and an exception in the middle of an import can get lost there.
    before = signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    try:
        args = parse(Arguments, arguments, prog="python -m a3c_fast.evaluate")
        result = _run(args)
    except (ConfigError, CheckpointError) as error:
        fail(EXIT_BAD_CONFIG, error)
    except (ImportError, RuntimeError, OSError) as error:
        fail(EXIT_FAILED, error)
    finally:
        signal.signal(signal.SIGINT, before)
    if args.json:
        print(json_module.dumps(result))
        return
    protocol, human = result["protocol"], result["human_normalized"]
    print(
        f"{result['env_id']} at step {result['step']:,}: mean return {result['mean_return']:.2f}"
        + ("" if human is None else f" ({human:.0%} of human)")
        + f", std {result['std_return']:.2f}, from {result['min_return']:g} to {result['max_return']:g} over "
        f"{result['episodes']} {protocol['policy']} episodes"
        + (f", sticky actions {protocol['sticky_probability']:g}" if human is not None else "")
    )


def _run(args: Arguments) -> dict[str, Any]:
    from a3c_fast import checkpoint as checkpoints
    from a3c_fast.errors import CheckpointError, ConfigError

    if not args.run_dir.is_dir():
        raise CheckpointError(f"{args.run_dir} is no directory of a run")
    if args.checkpoint is not None:
        checkpoint = checkpoints.load(args.checkpoint)
    else:
        checkpoint = checkpoints.load_newest(args.run_dir / "checkpoints")
    policy, config = load_policy(checkpoint)
    frames: list[Any] | None = None
    if args.video is not None:
        if config.family != "atari":
            raise ConfigError("video", str(args.video), f"{config.env_id} has no images to show")
        _check_video(args.video)
        frames = []
    result = evaluate(
        policy,
        config,
        episodes=args.episodes,
        greedy=args.greedy,
        seed=args.seed,
        num_threads=len(os.sched_getaffinity(0)),
        sticky=args.sticky,
        frames=frames,
    )
    if args.video is not None and frames is not None:
        _write_video(args.video, frames, fps=60 / config.frame_skip)
    return {"step": checkpoint.step, **result}


def _check_video(path: Path) -> None:
    """Raises what would otherwise be known when all episodes have been played."""
    from importlib.util import find_spec

    from a3c_fast.errors import ConfigError

    if find_spec("imageio") is None:
        raise ImportError("a video needs imageio: install a3c-fast with the extra `video`")
    if path.suffix.lower() not in (".mp4", ".gif"):
        raise ConfigError("video", str(path), "it must end in .mp4 or .gif")
    if not path.parent.is_dir():
        raise ConfigError("video", str(path), f"{path.parent} is no directory")


def _write_video(path: Path, frames: list[Any], fps: float) -> None:
    import imageio.v3 as imageio
    import numpy as np

    # Four times as large, and 336 is divisible by 16 as codecs like it.
    imageio.imwrite(path, np.stack(frames).repeat(4, axis=1).repeat(4, axis=2), fps=fps)


if __name__ == "__main__":
    main()
