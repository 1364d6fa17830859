"""What a run tells TensorBoard and its trackers, as it happens."""

from __future__ import annotations

import contextlib
import dataclasses
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec

from a3c_fast import files, tags, trackers
from a3c_fast.board import Board
from a3c_fast.courier import Courier
from a3c_fast.events import Ended, Evaluated, Event, Metrics, Reason
from a3c_fast.trackers import RunInfo, Tracker

if TYPE_CHECKING:
    from a3c_fast._core import Engine
    from a3c_fast.config import Config

TRACKING_FILE = "tracking.json"
# Of single episodes not all are told: a run of quick environments ends tens of thousands of them a second.
_EPISODES_A_SECOND = 2.0
_MOST_EPISODES = 10  # that are told at once, where there were fewer before
_FINISH_SECONDS = 60.0  # for all trackers together, when a trainer is closed

# What neither says what is learned nor how.
_NO_HYPER_PARAMETERS = {
    *("format", "run_dir", "resume", "track", "max_minutes", "stop_at_return", "log_every_seconds"),
    *(
        "checkpoint_every_seconds",
        "keep_checkpoints",
        "watchdog_seconds",
        "exchange_every_seconds",
        "host_timeout_seconds",
        "stop_at_evaluation",
    ),
    *("evaluate_every", "evaluate_episodes", "evaluate_greedy", "evaluate_patience"),
}


def make_trackers(config: Config, given: Sequence[Tracker]) -> dict[str, Tracker]:
    """Those that the settings name and those that the program gives, by name. Raises `ConfigError`."""
    return trackers.make(config.track) | trackers.checked(given)


class _Tracked(msgspec.Struct):
    """What tracking.json holds."""

    id: Annotated[str, msgspec.Meta(pattern="^[0-9a-z]{1,64}$")]


class Tracking:
    """TensorBoard, where a run has a directory, and the trackers of one trainer.

    All methods but `wait` are called by one thread at a time, with `Record.writing` held, and wait for no tracker.
    """

    def __init__(
        self,
        engine: Engine,
        config: Config,
        kernels: str,
        begin: tuple[int, bool],
        following: Mapping[str, Tracker],
        tell: Callable[[str], None],
    ) -> None:
        """`begin` is the first step and whether the run goes on in its directory. Raises `OSError` with the path."""
        self._engine = engine
        first_step, goes_on = begin
        run_id = _id_of_run(config.run_dir, goes_on=goes_on) if following else ""
        self._run = run = _run_info(config, kernels, first_step, run_id)
        self._couriers = [Courier(name, tracker, tell) for name, tracker in following.items()]
        self._has_begun = False
        self._next_episode = engine.episodes_added()
        self._may_tell = 1.0  # episodes, at time _looked
        self._looked = time.monotonic()
        self._last_step = first_step if goes_on else -1  # of the newest line of metrics that was told
        self._stages: dict[str, float] = {}
        self._reason: Reason = "stopped"
        self._board: Board | None = None
        if run.run_dir is not None:
            board = Board()
            board.start(run)
            self._board = board

    def begin(self) -> None:
        """The trackers start, the first time that the run does. Raises `RuntimeError` where there is no thread."""
        if not self._has_begun:
            self._has_begun = True
            for courier in self._couriers:
                courier.start(self._run)

    def look(self) -> None:
        """Tells the episodes that have ended since, or the newest of them. Raises `OSError` as `hear`."""
        now = time.monotonic()
        self._may_tell = min(_MOST_EPISODES, self._may_tell + (now - self._looked) * _EPISODES_A_SECOND)
        self._looked = now
        added = self._engine.episodes_added()
        count = min(added - self._next_episode, int(self._may_tell))
        self._next_episode = added
        if count == 0:
            return
        self._may_tell -= count
        _, episodes = self._engine.episodes_since(added - count, count)
        for episode_return, length, _, step in episodes:
            self._send(tags.of_episode(episode_return, length), step)

    def hear(self, event: Event) -> None:
        """An event of the run. Raises `OSError` with the path where TensorBoard's file cannot be written."""
        self.look()
        if isinstance(event, Metrics) and event.line["step"] > self._last_step:
            self._last_step = event.line["step"]
            self._send({**tags.of_metrics(event.line), **tags.of_stages(self._stages_since())}, event.line["step"])
        elif isinstance(event, Ended):
            self._reason = event.reason
        elif isinstance(event, Evaluated):
            self._send(tags.of_evaluation(event.score), event.step)

    def end(self) -> None:
        """The trackers finish. Raises `OSError` with the path where TensorBoard's file cannot be written."""
        if self._has_begun:
            for courier in self._couriers:
                courier.end(self._reason)
        board, self._board = self._board, None
        if board is not None:
            board.finish(self._reason)

    def wait(self) -> None:
        """After `end`: until the trackers have finished, or for as long as they may take. Nothing need be held."""
        deadline = time.monotonic() + _FINISH_SECONDS
        for courier in self._couriers:
            courier.wait(max(0.0, deadline - time.monotonic()))

    def _send(self, values: Mapping[str, float], step: int) -> None:
        if self._has_begun:
            for courier in self._couriers:
                courier.send(dict(values), step)  # each its own, whatever it does with them
        if self._board is not None:
            self._board.log(values, step)

    def _stages_since(self) -> dict[str, float]:
        """The seconds of each stage since the last time."""
        before, self._stages = self._stages, self._engine.stage_seconds()
        return {name: seconds - before.get(name, 0.0) for name, seconds in self._stages.items()}


def _run_info(config: Config, kernels: str, first_step: int, run_id: str) -> RunInfo:
    settings = {name: value for name, value in config.to_json().items() if name not in _NO_HYPER_PARAMETERS}
    for name, value in settings.items():
        if isinstance(value, list):
            settings[name] = ", ".join(map(str, value))
    name = f"{config.env_id}-seed-{config.seed}" if config.run_dir is None else config.run_dir.name
    # How many workers there are is always said by now, and rarely chosen.
    defaults = {field.name: field.default for field in dataclasses.fields(config)}
    chosen = {name for name, value in config.said().items() if name in settings and value != defaults[name]}
    said = frozenset((chosen | {"env_id", "seed"}) - {"num_workers"})
    return RunInfo(run_id, name, {**settings, "kernels": kernels}, said, first_step, config.run_dir)


def _id_of_run(run_dir: Path | None, *, goes_on: bool) -> str:
    """That of the run in its directory where it goes on and has one, and else a new one, which is stored there."""
    if run_dir is None:
        return secrets.token_hex(8)
    path = run_dir / TRACKING_FILE
    if goes_on:
        with contextlib.suppress(FileNotFoundError, msgspec.MsgspecError):
            return msgspec.json.decode(files.read(path, 2**16), type=_Tracked).id
    new = _Tracked(secrets.token_hex(8))
    files.write(path, msgspec.json.encode(new) + b"\n")
    return new.id
