"""What a run is made of, before a thread of it starts: environments, a network of the user's own, the engine."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from a3c_fast import _core, envs
from a3c_fast.checkpoint import Checkpoint
from a3c_fast.config import Config
from a3c_fast.core_config import model_config, train_config
from a3c_fast.envs import EnvSpec
from a3c_fast.machine import require_threads
from a3c_fast.memory import check_memory
from a3c_fast.schedules import checked
from a3c_fast.threads import in_a_thread
from a3c_fast.user_network import UserNetwork, check_probe


def check_threads(config: Config) -> None:
    """Raises `ConfigError` when the system does not give the threads of all workers and their pools."""
    own = config.family in ("fake", "gymnasium")
    per_worker = 1 if own else 1 + envs.threads_of_pool(config.envs_per_worker, 1)
    others = 9  # the watchdog, the supervisor, a progress bar's, and some of LibTorch's and the program's
    if config.evaluate_every:  # its own, and those of two pools
        others += 1 + 2 * envs.threads_of_pool(config.evaluate_episodes, 1)
    require_threads(config.num_workers * per_worker + others, "num_workers", config.num_workers)


def make_clients(config: Config, stream: int) -> list[_core.EnvClient]:
    """The environments of all workers; `stream` tells runs, and hosts of a run, of the same seed apart."""
    per_worker = config.envs_per_worker
    seeds = envs.env_seeds(config.seed, stream, config.num_workers * per_worker)
    # Scripted environments are continued from their saved state, which belongs to their first seed.
    if config.family == "fake":
        seeds = envs.env_seeds(config.seed, 0, len(seeds))
    return envs.make_clients(config, [seeds[i * per_worker : (i + 1) * per_worker] for i in range(config.num_workers)])


def make_engine(
    config: Config,
    spec: EnvSpec,
    network: UserNetwork | None,
    clients: list[_core.EnvClient],
    first_worker: int = 0,
) -> _core.Engine:
    """The network of an engine may take a minute to begin with: this thread meanwhile handles signals."""
    model = model_config(config, spec, network.core if network else None)
    engine = in_a_thread(lambda: _core.Engine(train_config(config, first_worker), model, clients), "engine")
    for name, schedule in checked(config.schedules).items():
        engine.set_schedule(name, schedule.through(config.total_steps))
    return engine


def make_network(config: Config, spec: EnvSpec, resumed: Checkpoint | None) -> UserNetwork:
    """The user's own, exported, and held to itself on observations of the environments.

    In a thread of its own, where torch is as a new thread finds it, while this one handles signals.
    """

    def make() -> UserNetwork:
        network = UserNetwork(config, spec)
        if resumed:
            network.load_constants(resumed.constants)
            check_probe(network.module, spec, resumed, network.name)
        # A recurrent network goes through an update step by step.
        update = config.envs_per_update * (1 if network.state_size else config.t_max)
        batches = {config.envs_per_worker, update}
        network.export(batches, _some_observations(config, spec, max(batches)))
        check_memory(config, spec, network.sizes())
        network.compare()
        return network

    return in_a_thread(make, "network")


def _some_observations(config: Config, spec: EnvSpec, count: int) -> npt.NDArray[np.uint8]:
    """Of random play, from the reset on; the same again where an update has more of them."""
    num_envs = envs.envs_at_once(config.env_id) or min(4, count)
    steps = min(-(-count // num_envs), 64)
    played = list(envs.random_play(config, num_envs=num_envs, steps=steps, stream=2**35))
    return np.resize(np.concatenate(played), (count, spec.observation.row_bytes))
