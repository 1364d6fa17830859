"""One host of `bench.hosts`, in a process of its own: trains by the settings it is given and tells how far it is.

    python -m bench.host '{"config": {...}, "seconds": 30}'

A line of JSON every half second, and one at the end. Ends after `seconds` of training, or when the mean return of the
host's last 20 training episodes has reached `target`; rank 0 ends the others. A launcher's variables say which host
this is; without them it is alone.
"""

from __future__ import annotations

import contextlib
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

from a3c_fast.config import Config


def traffic(interface: str) -> dict[str, int]:
    """Bytes that an interface has received and sent, by netdevice statistics; nothing where it is not there."""
    for line in Path("/proc/thread-self/net/dev").read_text().splitlines():
        name, _, numbers = line.partition(":")
        if name.strip() == interface:
            fields = numbers.split()
            return {"received": int(fields[0]), "sent": int(fields[8])}
    return {}


def main() -> None:
    """Trains."""
    from a3c_fast.hosts import Hosts
    from a3c_fast.trainer import Trainer

    order = json.loads(sys.argv[1])
    config, target = Config(**order["config"]), order.get("target")
    hosts = Hosts.of_launcher()
    is_first = hosts is None or hosts.is_first

    def tell(**values: Any) -> None:
        with contextlib.suppress(BrokenPipeError):
            print(json.dumps(values), flush=True)

    with Trainer(config, hosts=hosts) as trainer:
        trainer.start()
        before = traffic("net0")
        ended = False
        while not ended:
            ended = trainer.wait(0.5)
            line = trainer.stats()
            mean = line["mean_return_20"]
            tell(
                now=time.monotonic(),
                step=line["step"],
                seconds=line["wall_seconds"],
                mean_return_20=mean,
                mean_return_100=line["mean_return_100"],
                exchange=None if hosts is None else vars(hosts.stats),
            )
            enough = order.get("seconds") and line["wall_seconds"] >= order["seconds"]
            reached = target is not None and line["episodes"] >= 20 and mean is not None and mean >= target
            if is_first and (enough or reached):
                break
        after = traffic("net0")
        trainer.stop()
        line = trainer.stats()
        tell(
            end=True,
            step=line["step"],
            seconds=line["wall_seconds"],
            updates=line["updates"],
            mean_return_20=line["mean_return_20"],
            mean_return_100=line["mean_return_100"],
            exchange=None if hosts is None else vars(hosts.stats),
            traffic={name: after[name] - before[name] for name in after},
            cpu_seconds=sum(resource.getrusage(resource.RUSAGE_SELF)[:2]),
        )


if __name__ == "__main__":
    main()
