"""`python -m bench.netns.all_reduce`: a group of torch.distributed, a process of it on each of the hosts.

It imports torch once and forks: on few cores the import in each would take longer than all else.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from bench.netns import namespace
from bench.netns.hosts import INTERFACE, Hosts

PARAMETERS = 675_000  # 2.7 MB of float32: about the `paper` network of Pong
_PORT = 29500  # every network has its own ports
_ROOT = Path(__file__).parents[2]


def all_reduce(hosts: Hosts, rounds: int) -> list[list[float]]:
    """Milliseconds of each round on each host: the sum of a vector of `PARAMETERS` float32 over the hosts, by Gloo.

    Raises `RuntimeError` where a process failed or a sum is wrong.
    """
    command = [sys.executable, "-m", "bench.netns.all_reduce", f"--address={hosts.addresses[0]}", f"--rounds={rounds}"]
    done = subprocess.run(
        [*command, "--namespaces", *map(str, hosts.namespaces)],
        pass_fds=hosts.namespaces,
        # One thread each: the processes share this machine's cores.
        env={**os.environ, "GLOO_SOCKET_IFNAME": INTERFACE, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(_ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"all_reduce failed: {done.stderr}")
    rounds_of_hosts: list[list[float]] = json.loads(done.stdout)
    return rounds_of_hosts


def _run(its: int, address: str, rank: int, world: int, rounds: int) -> list[float]:
    import torch
    import torch.distributed as dist

    milliseconds = []
    with namespace.inside(its):
        dist.init_process_group("gloo", init_method=f"tcp://{address}:{_PORT}", rank=rank, world_size=world)
        for number in range(rounds + 1):  # the first is a warm-up
            vector = torch.full((PARAMETERS,), float(rank + 1))
            vector[-1] = number
            dist.barrier()
            begin = time.perf_counter()
            dist.all_reduce(vector)
            milliseconds.append(1e3 * (time.perf_counter() - begin))
            if not bool((vector[:-1] == world * (world + 1) / 2).all()) or vector[-1] != world * number:
                raise RuntimeError(f"round {number}: the sum is wrong")
        dist.barrier()  # nobody goes while another still receives
        dist.destroy_process_group()
    return milliseconds[1:]


def main() -> None:
    """The command."""
    import torch.distributed  # noqa: F401  (before the processes)

    parser = argparse.ArgumentParser()
    parser.add_argument("--address", required=True)
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--namespaces", type=int, nargs="+", required=True)
    args = parser.parse_args()
    world = len(args.namespaces)
    # As many processes as calls, each of which waits for the others: none gets two.
    with ProcessPoolExecutor(world, multiprocessing.get_context("fork")) as pool:
        calls = [
            pool.submit(_run, its, args.address, rank, world, args.rounds) for rank, its in enumerate(args.namespaces)
        ]
        print(json.dumps([call.result() for call in calls]))


if __name__ == "__main__":
    main()
