"""`python -m bench.soak forks`: forks in every state of a trainer."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.soak.processes import GENEROUS, call, returned, shortened
from bench.soak.report import Report

if TYPE_CHECKING:
    from a3c_fast import Trainer

POSITIVE = ("forks", "workers")

STATES = ("never started", "running", "ended", "failed", "closed")


@dataclass(frozen=True)
class Arguments:
    """Forks in each state of a trainer; each child must train and end well, and the parent must go on."""

    forks: int = 100
    """Forks in each state, for each number of workers."""
    workers: tuple[int, ...] = (1, 4, 9)
    """Workers of the parent's trainer."""
    states: tuple[str, ...] = STATES
    """States of the parent's trainer."""
    json: bool = False
    """Print one JSON object."""


def soak(args: Arguments, directory: Path, report: Report) -> None:
    """The program."""
    for state in args.states:
        for workers in args.workers:
            run_dir = directory / f"{state.replace(' ', '_')}_{workers}"
            result = call(fork_in_state, state, workers, args.forks, str(run_dir)).result(GENEROUS * (1 + args.forks))
            found = returned(result)
            where = f"{state}, {workers} workers"
            if not report.check(found is not None, f"{where}: the parent did not go on: {result}"):
                continue
            report.done[f"forks, {state}"] += args.forks
            for how, count in found.items():
                sentence = f"{where}: {count} children ended with {how}: {shortened(result.stderr)!r}"
                report.check(how in ("status 0", "a pool's results"), sentence)


def fork_in_state(state: str, workers: int, forks: int, run_dir: str) -> dict[str, int]:
    """Brings a trainer into a state, forks, and has it go on; returns how many children ended how."""
    from a3c_fast import Config, Trainer

    trainer = _in_state(state, workers, Path(run_dir))
    how: Counter[str] = Counter()
    for i in range(forks):
        how[_fork(lambda: _child(trainer), as_a_program=i % 2 == 1)] += 1
    how[_pool()] += 1

    if state in ("never started", "running", "ended"):  # it goes on where it was
        if state != "running":
            trainer.start()
        before = trainer.stats()["step"]
        _until(lambda: trainer.stats()["step"] > before)
        trainer.stop()
        assert trainer.save().exists()
    trainer.close()
    with Trainer(Config(env_id="CartPole-v1", num_workers=workers, total_steps=2000)) as another:
        another.run()
    return how


def _in_state(state: str, workers: int, run_dir: Path) -> Trainer:
    from a3c_fast import Config, Trainer, WorkerError
    from a3c_fast.envs import scripted

    if state == "failed":
        clients = [
            scripted.make_client("a3c_fast/Fake-v0", range(8 * i, 8 * i + 8), fail_at=200) for i in range(workers)
        ]
        trainer = Trainer(Config(env_id="a3c_fast/Fake-v0", run_dir=run_dir), clients=clients)
        with contextlib.suppress(WorkerError):
            trainer.run()
        return trainer
    trainer = Trainer(Config(env_id="CartPole-v1", num_workers=workers, total_steps=10**12, run_dir=run_dir))
    if state == "running":
        trainer.start()
        _until(lambda: trainer.stats()["step"] > 0)
    if state in ("ended", "closed"):
        trainer.run(until=2000)
    if state == "closed":
        trainer.close()
    return trainer


def _child(inherited: Trainer) -> None:
    """What a child does: its copy of the trainer refuses, and one of its own trains."""
    from a3c_fast import Config, Trainer

    try:
        inherited.stats()
    except RuntimeError:
        inherited.close()
    else:
        raise AssertionError("the child's copy of the trainer does not refuse")
    with Trainer(Config(env_id="CartPole-v1", num_workers=2, total_steps=500)) as own:
        assert own.run()["step"] >= 500


def _fork(child: Callable[[], None], *, as_a_program: bool) -> str:
    """Forks and waits; how the child ended. It leaves as a program does, or at once as those of a pool do."""
    pid = os.fork()
    if pid == 0:
        try:
            child()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        if as_a_program:
            raise SystemExit
        os._exit(0)
    status = _status(pid)
    if status is None:
        os.kill(pid, signal.SIGABRT)
        os.waitpid(pid, 0)
        return "a hang"
    return f"status {status}"


def _status(pid: int) -> int | None:
    deadline = time.monotonic() + GENEROUS / 2
    while time.monotonic() < deadline:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    return None


def _pool() -> str:
    pool = multiprocessing.get_context("fork").Pool(2)
    try:
        assert pool.map_async(abs, range(-4, 4)).get(GENEROUS / 2) == [4, 3, 2, 1, 0, 1, 2, 3]
    except multiprocessing.TimeoutError:  # one whose children die makes new ones for ever
        return "a pool that never returns"
    finally:
        pool.terminate()
    return "a pool's results"


def _until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + GENEROUS / 2
    while not condition():
        assert time.monotonic() < deadline, "the trainer does not train"
        time.sleep(0.01)
