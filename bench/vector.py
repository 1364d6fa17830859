"""`python -m bench.vector`: steps a second of an environment of gymnasium, with random actions, in several ways.

- a3c_fast: a process for each worker, `--num-envs` environments in it, waited for by threads of C++
- in process: the same with threads of this program in the place of processes, which step under the GIL
- alone: as many processes that step as many environments each for themselves, and tell nobody
- training: workers that learn from as many environments by the defaults; its share is that of a3c_fast
- gymnasium's SyncVectorEnv and AsyncVectorEnv (shared memory) and, where they are installed, Stable-Baselines3's
  SubprocVecEnv and PufferLib's Multiprocessing, of as many environments together

in alternating rounds. Steps that only reset are counted by all.
"""

from __future__ import annotations

import json as json_module
import multiprocessing
import os
import signal
import statistics
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import gymnasium
import numpy as np

from a3c_fast import _core, envs
from a3c_fast.cli import parse
from a3c_fast.config import Config
from a3c_fast.envs.child.environments import maker
from a3c_fast.machine import cores
from a3c_fast.trainer import Trainer
from bench.command import check_positive, errors_in_one_sentence
from bench.machine import machine
from bench.rounds import Steps, alternate
from bench.throughput import training_steps


@dataclass(frozen=True)
class Arguments:
    """Measures steps a second of ways to step a user's environments, in alternating rounds."""

    env_id: str = "gymnasium:CartPole-v1"
    """The environment, `module:name`."""
    num_workers: int = 0
    """Processes of a3c_fast and of those that step alone; 0: one for each core."""
    num_envs: int = 8
    """Environments in each; the others have all of them together."""
    rounds: int = 5
    """Rounds of each."""
    seconds: float = 5.0
    """Length of a round, about."""
    json: bool = False
    """Print one JSON object."""


class Make:
    """Makes one environment, in whatever process."""

    def __init__(self, env_id: str) -> None:
        self.env_id = env_id

    def __call__(self) -> gymnasium.Env[Any, Any]:
        env: gymnasium.Env[Any, Any] = maker(self.env_id, b"")()
        return env


def ours(args: Arguments, workers: int, where: str = "") -> Steps:
    """Through the client of the workers."""
    config = Config(env_id=where + args.env_id, num_workers=workers, envs_per_worker=args.num_envs)
    seeds = np.array_split(envs.env_seeds(1, 0, workers * args.num_envs), workers)
    clients = envs.make_clients(config, [[int(seed) for seed in of_worker] for of_worker in seeds])
    seed = iter(range(1, 1_000_000))
    return lambda steps: _core.step_randomly(clients, steps, next(seed))


def _step_alone(env_id: str, num_envs: int, orders: Any, done: Any) -> None:
    """The body of a process: makes as many steps as it is told."""
    batch = [Make(env_id)() for _ in range(num_envs)]
    space = batch[0].action_space
    space.seed(1)
    over = [True] * num_envs
    while (steps := orders.get()) is not None:
        # The actions are drawn before, as those of others are drawn by somebody else.
        actions = [space.sample() for _ in range(1000)]
        made = 0
        while made < steps:
            for i, env in enumerate(batch):
                if over[i]:
                    env.reset()
                    over[i] = False
                else:
                    _, _, terminated, truncated, _ = env.step(actions[made % 1000])
                    over[i] = bool(terminated or truncated)
                made += 1
        done.put(made)


def alone(args: Arguments, workers: int, stack: ExitStack) -> Steps:
    """In processes that have nothing to do with each other."""
    context = multiprocessing.get_context("spawn")
    done = context.Queue()
    orders = [context.Queue() for _ in range(workers)]
    for order in orders:
        process = context.Process(target=_step_alone, args=(args.env_id, args.num_envs, order, done), daemon=True)
        process.start()
        stack.callback(order.put, None)

    def make(steps: int) -> int:
        for order in orders:
            order.put(steps // workers)
        return sum(done.get() for _ in orders)

    return make


def vector(env: Any, num_envs: int) -> Steps:
    """A vector environment's, with actions that were drawn before."""
    env.reset()
    actions = [np.array([env.single_action_space.sample() for _ in range(num_envs)]) for _ in range(100)]

    def make(steps: int) -> int:
        for made in range(steps // num_envs):
            env.step(actions[made % 100])
        return steps // num_envs * num_envs

    return make


def stable_baselines(args: Arguments, num_envs: int, stack: ExitStack) -> Steps:
    """Of Stable-Baselines3's SubprocVecEnv."""
    from stable_baselines3.common.vec_env import SubprocVecEnv

    env = SubprocVecEnv([Make(args.env_id)] * num_envs, start_method="spawn")
    stack.callback(env.close)
    env.single_action_space = env.action_space
    return vector(env, num_envs)


def puffer(args: Arguments, num_envs: int, workers: int, stack: ExitStack) -> Steps:
    """Of PufferLib, with as many processes as there are workers."""
    from pufferlib.emulation import GymnasiumPufferEnv
    from pufferlib.vector import Multiprocessing, make

    creator = {"env_creator": Make(args.env_id)}
    sizes = {"num_envs": num_envs, "num_workers": workers, "batch_size": num_envs}
    env = make(GymnasiumPufferEnv, env_kwargs=creator, backend=Multiprocessing, **sizes)
    env.single_action_space = Make(args.env_id)().action_space

    def signal_all(number: signal.Signals) -> None:
        for process in env.processes:
            os.kill(process.pid, number)

    def end() -> None:
        signal_all(signal.SIGKILL)

    stack.callback(end)
    step = vector(env, num_envs)

    def steps(count: int) -> int:
        signal_all(signal.SIGCONT)
        try:
            return step(count)
        finally:  # they would spin for half a second, in the time of the others
            signal_all(signal.SIGSTOP)

    return steps


def training(args: Arguments, workers: int, stack: ExitStack) -> Steps:
    """Of a trainer with as many workers and environments, by the defaults."""
    config = Config(env_id=args.env_id, num_workers=workers, envs_per_worker=args.num_envs, total_steps=2**40)
    return training_steps(stack.enter_context(Trainer(config)))


def measure(args: Arguments) -> dict[str, Any]:
    """Steps a second of everybody, round by round, and our ratios to each."""
    facts = machine()
    workers = args.num_workers or cores()
    num_envs = workers * args.num_envs
    with ExitStack() as stack:
        kinds = {"a3c_fast": ours(args, workers), "in process": ours(args, workers, "in-process:")}
        kinds |= {"alone": alone(args, workers, stack)}
        makes = [Make(args.env_id)] * num_envs
        sync = gymnasium.vector.SyncVectorEnv(makes)
        kinds["gymnasium sync"] = vector(sync, num_envs)
        asynchronous = gymnasium.vector.AsyncVectorEnv(makes, shared_memory=True)
        stack.callback(asynchronous.close)
        kinds["gymnasium async"] = vector(asynchronous, num_envs)
        if find_spec("stable_baselines3") is not None:
            kinds["SB3 subproc"] = stable_baselines(args, num_envs, stack)
        if find_spec("pufferlib") is not None:
            kinds["PufferLib"] = puffer(args, num_envs, workers, stack)
        kinds["training"] = training(args, workers, stack)
        figures = alternate(kinds, args.rounds, args.seconds)
    mine = figures["a3c_fast"]
    return {
        "env_id": args.env_id,
        "num_workers": workers,
        "num_envs": args.num_envs,
        "steps_per_second": {name: statistics.median(values) for name, values in figures.items()},
        "ratio": {
            name: statistics.median(a / b for a, b in zip(mine, values, strict=True))
            for name, values in figures.items()
            if name not in ("a3c_fast", "training")
        },
        "training_share": statistics.median(a / b for a, b in zip(figures["training"], mine, strict=True)),
        "rounds": figures,
        "machine": {**facts, "versions": {**facts["versions"], **_versions()}},
    }


def _versions() -> dict[str, str]:
    """Of those beside us, and of what the environments are made of."""
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in ("stable-baselines3", "pufferlib", "mujoco", "Box2D", "ale-py"):
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


@errors_in_one_sentence()
def main() -> None:
    """The command."""
    args = parse(Arguments, None, prog="python -m bench.vector")
    check_positive(args, "num_envs", "rounds", "seconds")
    result = measure(args)
    if args.json:
        print(json_module.dumps(result))
        return
    for name, figure in result["steps_per_second"].items():
        ratio = f", {result['ratio'][name]:.2f} times fewer" if name in result["ratio"] else ""
        print(f"{name:>16}: {figure:>9,.0f} steps/s{ratio}")
    print(f"training's share: {result['training_share']:.2f}")


if __name__ == "__main__":
    main()
