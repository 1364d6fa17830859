"""`python -m bench.census`: each environment of EnvPool trains, goes on and is evaluated, in a process of its own.

A line of JSON for each, in the order of families and ids: its id and family; whether it `trained` or was `refused`,
with the sentence, or what `broke`; and how long it took. What the file has already is not tried again, so that it can
be broken off; ids that are only other names of an environment are tried like all.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from a3c_fast.cli import EXIT_FAILED, parse
from bench.command import check_positive, errors_in_one_sentence

# Where a step costs milliseconds, or an environment a second and more to make: fewer steps.
SLOW = ("gfootball", "vizdoom", "mujoco.myosuite", "mujoco.playground", "mujoco.robotics")

# A process of each environment's own, forked from one that has imported everything and has no threads: to import torch
# and EnvPool takes longer than most trials.
_SERVER = multiprocessing.get_context("forkserver")
_IMPORTED = ["a3c_fast.trainer", "a3c_fast.evaluate", "envpool.registration", "matplotlib.figure", "numpy", "torch"]
# The defaults of each environment, but for their number: to make them takes most of the time.
_FEW: dict[str, Any] = {"num_workers": 1, "envs_per_worker": 2}
_SAID, _RESULT = "said", "result.json"


def train_and_evaluate(env_id: str, steps: int, changes: dict[str, Any], directory: str) -> None:
    """The body of a process: trains, goes on, evaluates, all within `directory`; writes what came of it there."""
    from a3c_fast import Config, Trainer
    from a3c_fast.errors import ConfigError
    from a3c_fast.evaluate import evaluate

    os.chdir(directory)
    said = os.open(_SAID, os.O_WRONLY | os.O_CREAT)
    for output in (1, 2):
        os.dup2(said, output)
    try:
        config = Config(env_id=env_id, total_steps=steps // 2, run_dir=Path("run"), **changes)
        with Trainer(config) as trainer:
            first = trainer.run()
        with Trainer(replace(config, total_steps=first["step"] + steps // 2, resume=True)) as trainer:
            last = trainer.run()
            policy, config, kind = trainer.policy(), trainer.config, trainer.kind
    except ConfigError as error:
        result = {"outcome": "refused", "why": str(error)}
    else:
        if not (kind == "resumed" and steps // 2 <= first["step"] <= last["step"] - steps // 2):
            raise RuntimeError(f"{kind}, {first['step']} steps and then {last['step']}")
        score = evaluate(policy, config, episodes=1, max_episode_steps=min(steps, 1000))
        result = {"outcome": "trained", **{key: last[key] for key in ("step", "updates")}}
        result["mean_return"] = score["mean_return"]
    Path(_RESULT).write_text(json.dumps(result))


@dataclass(frozen=True)
class Arguments:
    """Trains on each environment of EnvPool for a moment."""

    output: Path = Path("census.jsonl")
    """The file of results, which is gone on with."""
    pattern: str = ""
    """As `a3c-fast list-envs` has it."""
    steps: int = 2000
    """Agent steps for each, half of them before it goes on; a tenth where a step costs milliseconds."""
    seconds: float = 600.0
    """After which an environment is said to hang."""
    jobs: int = 2
    """Environments at a time."""
    every: int = 1
    """Try every so manyth alone."""
    tried: Path | None = None
    """Also write the ids that trained to this file, as a3c_fast/envs/tried.txt has them."""


def trial(env_id: str, family: str, args: Arguments) -> dict[str, Any]:
    """What came of one environment."""
    slow = family in SLOW
    steps = args.steps // 10 if slow else args.steps
    begin = time.monotonic()
    with tempfile.TemporaryDirectory() as directory:
        process = _SERVER.Process(target=train_and_evaluate, args=(env_id, steps, _FEW, directory))
        process.start()
        process.join(args.seconds)
        if process.is_alive():
            process.kill()
            process.join()
            return {"outcome": "broke", "why": f"it hangs: no end after {args.seconds:g} seconds"}
        seconds = round(time.monotonic() - begin, 1)
        if process.exitcode != 0:
            said = Path(directory, _SAID).read_text(errors="replace").strip() or "not a word"
            why = f"exit status {process.exitcode}: {said.splitlines()[-1]}"
            return {"outcome": "broke", "why": why, "seconds": seconds}
        return {**json.loads(Path(directory, _RESULT).read_text()), "seconds": seconds}


@errors_in_one_sentence()
def main() -> None:
    """The command. Exit status 1 where anything broke."""
    from a3c_fast import list_envs
    from a3c_fast.imports import import_envpool

    args = parse(Arguments, None, prog="python -m bench.census")
    check_positive(args, "steps", "seconds", "jobs", "every")
    _SERVER.set_forkserver_preload(_IMPORTED)
    lines = args.output.read_text().splitlines() if args.output.exists() else []
    results = {entry["id"]: entry for entry in map(json.loads, lines)}
    left = [entry for entry in list_envs(args.pattern)[:: args.every] if entry["id"] not in results]
    with ThreadPoolExecutor(args.jobs) as pool:
        found = pool.map(lambda entry: trial(entry["id"], entry["family"], args), left)
        for entry, outcome in zip(left, found, strict=True):
            result = results[entry["id"]] = {"id": entry["id"], "family": entry["family"], **outcome}
            with args.output.open("a") as file:
                file.write(json.dumps(result) + "\n")
            print(*(str(result.get(key, "")) for key in ("id", "outcome", "seconds", "why")), flush=True)
    counts = Counter(result["outcome"] for result in results.values())
    print(", ".join(f"{count} {outcome}" for outcome, count in counts.items()))
    if args.tried is not None:
        trained = sorted(env_id for env_id, result in results.items() if result["outcome"] == "trained")
        args.tried.write_text("\n".join([f"EnvPool {import_envpool().__version__}", *trained, ""]))
    if counts["broke"]:
        raise SystemExit(EXIT_FAILED)


if __name__ == "__main__":
    main()
