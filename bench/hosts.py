"""`python -m bench.hosts rate`, `score` and `kills`: what several hosts are worth that train one network together.

Hosts are network namespaces of this machine, a core each, joined by a relay that delays packets and limits their rate
(bench/netns), or by the kernel where neither is asked for. Needs root. All other flags are those of `a3c-fast train`.

`rate` has in each round every number of hosts of `--counts` train for `--seconds`, one number after the other: agent
steps a second of all hosts together, and how many times those of one host on one core, beside which other cores are
idle. `score` trains with each of `--seeds` until the mean of rank 0's last 20 training episodes reaches `--target`, by
one host, as many of them at a time as there are cores, and by `--counts` hosts. `kills` has the first number of
`--counts` train for `--most-minutes`, kills one after another of them, rank 0 too, every `--kill-every` seconds, and
begins each again at once, as torchrun does, which keeps the store.
"""

from __future__ import annotations

import itertools
import json as json_module
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from a3c_fast.config import Config
from a3c_fast.errors import ConfigError
from bench.command import check_positive, errors_in_one_sentence, parse_with_training
from bench.machine import machine
from bench.netns.hosts import INTERFACE, Hosts

_PORT = 29400
_SETTLES = 0.25  # of a run's time before its rate is looked at


@dataclass(frozen=True)
class Arguments:
    """Measures hosts that train together; also takes the flags of `a3c-fast train`."""

    counts: tuple[int, ...] = (2,)
    """Numbers of hosts, beside one."""
    rounds: int = 3
    """Of `rate`: rounds of each number."""
    seconds: float = 30.0
    """Of `rate`: training time of each."""
    seeds: int = 3
    """Of `score`: runs of each number of hosts, with the seeds `seed`, `seed` + 1 ..."""
    target: float = 18.0
    """Of `score`: mean return of rank 0's last 20 training episodes."""
    most_minutes: float = 30.0
    """Of `score`: give a run up after so long."""
    kill_every: float = 30.0
    """Of `kills`: seconds between two."""
    delay_ms: float = 0.0
    """That a packet travels one way, between any two hosts."""
    mbit: float = math.inf
    """That goes through the wire of a host in a second, each way."""
    alone: bool = True
    """Measure one host, too."""
    json: bool = False
    """Print one JSON object."""


def train(
    number: int, config: Config, args: Arguments, order: dict[str, Any], cores: Sequence[int]
) -> list[list[dict[str, Any]]]:
    """The lines of each host of a run, one host a core, from `cores` on in turn."""
    plain = args.delay_ms == 0 and args.mbit == math.inf
    rates = {} if plain else {"delay_ms": args.delay_ms, "mbit": args.mbit}
    settings = {name: value for name, value in config.said().items() if name not in ("run_dir", "resume")}
    with Hosts(number, direct=plain, **rates) as net:  # type: ignore[arg-type]
        processes = []
        for rank in range(number):
            said = _launch(net, rank)
            values = {**order, "config": {**settings, "num_workers": config.num_workers or 1}}
            command = [sys.executable, "-m", "bench.host", json_module.dumps(values)]
            core = {cores[rank % len(cores)]}
            processes.append(net.start(rank, command, cores=core, env=said, stdout=subprocess.PIPE, text=True))
        outputs = [process.communicate()[0] for process in processes]
    if any(process.returncode for process in processes):
        raise RuntimeError(f"a host of {number} ended with {[process.returncode for process in processes]}")
    return [[json_module.loads(line) for line in output.splitlines()] for output in outputs]


def rate_of(lines: Sequence[dict[str, Any]]) -> float:
    """Steps a second of all hosts, as rank 0 has heard of them, from when the run has settled."""
    seen = [line for line in lines if not line.get("end")]
    begin = next(line for line in seen if line["seconds"] >= _SETTLES * seen[-1]["seconds"])
    return float((seen[-1]["step"] - begin["step"]) / (seen[-1]["now"] - begin["now"]))


def exchanges_of(hosts: Sequence[Sequence[dict[str, Any]]]) -> list[dict[str, Any]]:
    """What each host exchanged: how often, bytes a second of its wire, time of its thread."""
    found = []
    for lines in hosts:
        end = lines[-1]
        exchange, seconds = end["exchange"] or {}, end["seconds"]
        count = exchange.get("exchanges", 0)
        found.append(
            {
                "exchanges": count,
                "seconds_each": round(exchange.get("seconds", 0) / max(count, 1), 5),
                "cpu_share_of_a_core": round(exchange.get("cpu_seconds", 0) / seconds, 5),
                "sent_bytes_a_second": round(end["traffic"].get("sent", 0) / seconds),
                "received_bytes_a_second": round(end["traffic"].get("received", 0) / seconds),
            }
        )
    return found


def measure_rate(args: Arguments, config: Config) -> dict[str, Any]:
    """Steps a second by number of hosts, round by round."""
    cores = sorted(os.sched_getaffinity(0))
    counts = ([1] if args.alone else []) + list(args.counts)
    rates: dict[str, list[float]] = {str(count): [] for count in counts}
    exchanges: dict[str, Any] = {}
    for _ in range(args.rounds):
        for count in counts:
            hosts = train(count, config, args, {"seconds": args.seconds}, cores)
            rates[str(count)].append(round(rate_of(hosts[0]), 1))
            exchanges[str(count)] = exchanges_of(hosts)
            print(f"{count} hosts: {rates[str(count)][-1]:,.0f} steps/s", file=sys.stderr, flush=True)
    result: dict[str, Any] = {"rates": rates, "exchanges_of_the_last_round": exchanges}
    if args.alone:
        pairs = {count: zip(values, rates["1"], strict=True) for count, values in rates.items()}
        result["times_one_host"] = {
            count: round(statistics.median(n / one for n, one in values), 3) for count, values in pairs.items()
        }
    return result


def measure_score(args: Arguments, config: Config) -> dict[str, Any]:
    """Seconds of training until the target, by number of hosts."""
    cores = sorted(os.sched_getaffinity(0))
    order = {"target": args.target, "seconds": 60 * args.most_minutes}
    runs: dict[str, list[dict[str, Any]]] = {}

    def keep(count: int, seed: int, hosts: Sequence[Sequence[dict[str, Any]]]) -> None:
        end = hosts[0][-1]
        mean = end["mean_return_20"]
        run = {
            "seed": seed,
            "reached": mean is not None and mean >= args.target,
            **{name: end[name] for name in ("seconds", "step", "updates", "mean_return_20")},
            "exchanges": exchanges_of(hosts),
            "curve": [
                {name: line[name] for name in ("step", "seconds", "mean_return_20")}
                for line in hosts[0][::20]
                if line["mean_return_20"] is not None
            ],
        }
        runs.setdefault(str(count), []).append(run)
        print(f"{count} hosts, seed {seed}: {end['seconds']:.0f} s, {end['step']:,} steps", file=sys.stderr, flush=True)

    seeds = [config.seed + i for i in range(args.seeds)]
    if args.alone:
        for first in range(0, len(seeds), len(cores)):
            together = seeds[first : first + len(cores)]
            with _Beside() as beside:
                for place, seed in enumerate(together):
                    own = config.replace(seed=seed)
                    beside.start(seed, lambda own=own, place=place: train(1, own, args, order, [cores[place]]))
                for seed, hosts in beside.results():
                    keep(1, seed, hosts)
    for count in args.counts:
        for seed in seeds:
            keep(count, seed, train(count, config.replace(seed=seed), args, order, cores))
    medians = {count: statistics.median(run["seconds"] for run in found) for count, found in runs.items()}
    result: dict[str, Any] = {"target": args.target, "median_seconds": medians, "runs": runs}
    if args.alone:
        result["of_the_time_of_one"] = {count: round(value / medians["1"], 3) for count, value in medians.items()}
    return result


_STORE = """
import datetime, sys, time
from torch.distributed import TCPStore
store = TCPStore(sys.argv[1], int(sys.argv[2]), is_master=True, wait_for_workers=False)
time.sleep(1e9)
"""


def measure_kills(args: Arguments, config: Config) -> dict[str, Any]:
    """What becomes of a run whose hosts are killed."""
    from a3c_fast import metrics

    cores, number = sorted(os.sched_getaffinity(0)), args.counts[0]
    flags = [
        f"--{name.replace('_', '-')}={value}"
        for name, value in config.said().items()
        if name not in ("run_dir", "resume") and value != getattr(Config(env_id=config.env_id), name)
    ]
    kills: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder, Hosts(number, direct=True) as net:
        run = Path(folder) / "run"
        net.start(0, [sys.executable, "-c", _STORE, net.addresses[0], str(_PORT)])

        def start(rank: int) -> subprocess.Popen[Any]:
            said = {**_launch(net, rank), "TORCHELASTIC_USE_AGENT_STORE": "True"}
            command = [sys.executable, "-m", "a3c_fast.train", f"--env-id={config.env_id}", "--num-workers=1", *flags]
            command += ["--run-dir", str(run), "--resume", "--total-steps=1000000000", "--log-every-seconds=1"]
            command += ["--checkpoint-every-seconds=20"]
            return net.start(rank, command, cores={cores[rank % len(cores)]}, env=said, stdout=sys.stderr)

        hosts = [start(rank) for rank in range(number)]
        begin = time.monotonic()
        while not metrics.read(run):
            time.sleep(0.5)
        first = time.monotonic()
        line: dict[str, Any] = {}
        curve: list[dict[str, Any]] = []
        fell_behind, comes_back = False, ""
        while time.monotonic() - first < 60 * args.most_minutes:
            time.sleep(1)
            line = metrics.read(run)[-1]
            now = round(time.monotonic() - first, 1)
            fell_behind |= bool(kills) and line["step"] < kills[-1]["saved"]
            if comes_back == "reads" and line["step"] <= kills[-1]["saved"]:  # it has cut its metrics.jsonl there
                comes_back = "joins"
            elif comes_back == "joins" and line["step"] > kills[-1]["saved"]:
                kills[-1]["back_at"], comes_back = line["step"], ""
            if not curve or line["step"] > curve[-1]["step"]:
                curve.append({"seconds": now, **{name: line[name] for name in ("step", "mean_return_100")}})
            if now >= args.kill_every * (len(kills) + 1):
                victim = (number - 1 - len(kills)) % number
                saved = max((path.stem for path in (run / "checkpoints").glob("*.safetensors")), default="step_0")
                kills.append({"seconds": now, "rank": victim, "step": line["step"], "saved": int(saved[5:])})
                hosts[victim].kill()
                hosts[victim].wait()
                hosts[victim] = start(victim)
                comes_back = "reads" if victim == 0 else ""
        hosts[0].terminate()
        hosts[0].wait()
        last = metrics.read(run)[-1]
    gaps = [b["seconds"] - a["seconds"] for a, b in itertools.pairwise(curve)]
    return {
        "minutes": args.most_minutes,
        "began_after_seconds": round(first - begin, 1),
        "kills": kills,
        "nothing_saved_was_lost": not fell_behind and all(kill["saved"] <= last["step"] for kill in kills),
        # When rank 0 is back it has what the others had, who went on: so many steps less than it had itself.
        "most_steps_that_were_lost": max(
            (kill["step"] - kill["back_at"] for kill in kills if "back_at" in kill), default=None
        ),
        "longest_without_a_line": max(gaps),
        "step": last["step"],
        "mean_return_100": last["mean_return_100"],
        "curve": curve[:: max(1, len(curve) // 200)],
    }


def _launch(net: Hosts, rank: int) -> dict[str, str]:
    """The environment of a process that a launcher starts."""
    return {
        **os.environ,
        "RANK": str(rank),
        "WORLD_SIZE": str(len(net.addresses)),
        "MASTER_ADDR": net.addresses[0],
        "MASTER_PORT": str(_PORT),
        "GLOO_SOCKET_IFNAME": INTERFACE,
    }


class _Beside:
    """Runs at the same time, each in a thread of its own."""

    def __init__(self) -> None:
        from concurrent.futures import Future, ThreadPoolExecutor

        self._pool = ThreadPoolExecutor()
        self._found: dict[int, Future[Any]] = {}

    def __enter__(self) -> _Beside:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def start(self, seed: int, run: Any) -> None:
        self._found[seed] = self._pool.submit(run)

    def results(self) -> list[tuple[int, Any]]:
        return [(seed, future.result()) for seed, future in self._found.items()]


def main() -> None:
    """The command."""
    with errors_in_one_sentence():
        what = sys.argv.pop(1) if len(sys.argv) > 1 else ""
        measure = {"rate": measure_rate, "score": measure_score, "kills": measure_kills}
        if what not in measure:
            raise ConfigError("command", what, f"it must be one of {', '.join(measure)}")
        args, config = parse_with_training(Arguments, "python -m bench.hosts", sets=())
        check_positive(args, "kill_every", "counts", "rounds", "seconds", "seeds", "most_minutes", "mbit")
        facts = machine()
        found = measure[what](args, config)
        result = {
            "what": what,
            "env_id": config.env_id,
            "delay_ms": args.delay_ms,
            "mbit": None if args.mbit == math.inf else args.mbit,
            "exchange_every_seconds": config.exchange_every_seconds,
            **found,
            "machine": facts,
        }
        if args.json:
            print(json_module.dumps(result))
        else:
            for name in (
                "times_one_host",
                "of_the_time_of_one",
                "median_seconds",
                "rates",
                "most_steps_that_were_lost",
                "longest_without_a_line",
                "step",
                "mean_return_100",
            ):
                if name in result:
                    print(f"{name}: {result[name]}")


if __name__ == "__main__":
    main()
