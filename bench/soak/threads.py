"""`python -m bench.soak threads`: several threads call everything at random, and one closes the trainer."""

from __future__ import annotations

import faulthandler
import os
import random
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from a3c_fast.errors import CheckpointError, WorkerError
from bench.soak.job import metrics_of
from bench.soak.processes import GENEROUS, call, returned
from bench.soak.report import Report

if TYPE_CHECKING:
    from a3c_fast import Trainer

POSITIVE = ("minutes", "threads", "workers", "most_seconds")


@dataclass(frozen=True)
class Arguments:
    """Calls all methods of a trainer from several threads at random, then closes it; nothing may crash, hang or go."""

    minutes: float = 10.0
    """How long."""
    threads: int = 6
    """Threads that call."""
    workers: int = 2
    """Workers of the trainer."""
    most_seconds: float = 120.0
    """A call that takes longer hangs."""
    seed: int = 1
    """Of the calls."""
    json: bool = False
    """Print one JSON object."""


def soak(args: Arguments, directory: Path, report: Report) -> None:
    """The program."""
    arguments = (str(directory / "run"), args.minutes, args.threads, args.workers, args.most_seconds, args.seed)
    result = call(call_at_random, *arguments).result(60 * args.minutes + 3 * args.most_seconds + GENEROUS)
    found = returned(result)
    if not report.check(found is not None, f"the process: {result}"):
        return
    report.check(not result.stderr, f"standard error: {result}")
    report.done.update(found["done"])
    for sentence in found["broken"]:
        report.fail(sentence)


# Which calls may be refused while the trainer is open: where the documentation says so, "while workers run".
_MAY_REFUSE = ("start", "load_state_dict", "pause", "resume", "events")


@dataclass
class _Calls:
    """What all threads share; each has its own place in `under_way`."""

    trainer: Trainer
    under_way: list[tuple[str, float]]  # name and beginning of the call in each thread
    closing: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)  # of all below
    done: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)
    step: int = -1  # the most that any thread has seen

    def note(self, name: str, sentence: str | None = None) -> None:
        with self.lock:
            self.done[name] += 1
            if sentence is not None:
                self.broken.append(sentence)

    def make(self, thread: int, name: str, make: Callable[[], Any]) -> bool:
        """Makes one call; False when the trainer refuses it since it is closed."""
        closing = self.closing.is_set()
        self.under_way[thread] = (name, time.monotonic())
        try:
            make()
        except RuntimeError as error:
            closing = closing or self.closing.is_set()
            refused = not isinstance(error, (CheckpointError, WorkerError)) and (closing or name in _MAY_REFUSE)
            self.note(f"{name}, refused", None if refused else f"{name}(): {traceback.format_exc()}")
            return not closing
        except Exception:
            self.note(name, f"{name}(): {traceback.format_exc()}")
        else:
            self.note(name)
        finally:
            self.under_way[thread] = ("", time.monotonic())
        return True

    def stats(self) -> None:
        """`stats()`, whose step must not be less than any that was seen before it was called."""
        with self.lock:
            before = self.step
        step = self.trainer.stats()["step"]
        with self.lock:
            self.step = max(self.step, step)
            if step < before:
                self.broken.append(f"stats() said step {before:,} and then {step:,}")


def call_at_random(
    run_dir: str, minutes: float, threads: int, workers: int, most_seconds: float, seed: int
) -> dict[str, Any]:
    """Returns how often each call was made ("done") and what must not be ("broken"); a hang ends the process."""
    from a3c_fast import Config, Trainer
    from a3c_fast import checkpoint as checkpoints

    config = Config(
        env_id="CartPole-v1",
        num_workers=workers,
        total_steps=10**12,
        run_dir=Path(run_dir),
        log_every_seconds=0.1,
        checkpoint_every_seconds=0.3,
    )
    calls = _Calls(Trainer(config), [("", time.monotonic())] * threads)
    until = time.monotonic() + 60 * minutes
    callers = [
        threading.Thread(target=_call_until_closed, args=(calls, i, random.Random(seed + i), until), daemon=True)
        for i in range(threads)
    ]
    for caller in callers:
        caller.start()
    while any(caller.is_alive() for caller in callers):
        time.sleep(0.1)
        for name, begin in calls.under_way:
            if name and time.monotonic() - begin > most_seconds:
                print(f"{name}() hangs; calls under way: {calls.under_way}", file=sys.stderr, flush=True)
                faulthandler.dump_traceback()
                os._exit(1)

    saved = checkpoints.load_newest(Path(run_dir) / "checkpoints").step
    if saved < calls.step:
        calls.broken.append(f"step {calls.step:,} was seen, and the newest checkpoint is of {saved:,}")
    lines = [line["step"] for line in metrics_of(Path(run_dir))]
    if lines != sorted(set(lines)) or lines[-1] != saved:
        calls.broken.append(f"the steps of metrics.jsonl do not rise to {saved:,}: {lines[-5:]}")
    return {"done": calls.done, "broken": calls.broken}


def _call_until_closed(calls: _Calls, thread: int, numbers: random.Random, until: float) -> None:
    trainer = calls.trainer
    state = trainer.state_dict()
    own_file = Path(trainer.config.run_dir or "").with_name(f"thread_{thread}.safetensors")
    choices: dict[str, Callable[[], Any]] = {
        "start": trainer.start,
        "stop": trainer.stop,
        "request_stop": trainer.request_stop,
        "wait": lambda: trainer.wait(numbers.uniform(0, 0.2)),
        "pause": trainer.pause,
        "resume": trainer.resume,
        "set": lambda: trainer.set(learning_rate=numbers.uniform(1e-5, 1e-3)),
        "events": lambda: trainer.events().pull(0.01),
        "stats": calls.stats,
        "state_dict": trainer.state_dict,
        "policy": trainer.policy,
        "load_state_dict": lambda: trainer.load_state_dict(state),
        "save": trainer.save,
        "save to a file": lambda: trainer.save(own_file),
    }
    while thread != 0 or time.monotonic() < until or calls.step <= 0:  # something was learned, however slowly
        name = numbers.choice([*choices])
        if not calls.make(thread, name, choices[name]):
            return
    calls.closing.set()
    calls.make(thread, "close", trainer.close)
