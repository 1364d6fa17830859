"""What a run directory says about the run that is to go on: its settings and how far it came."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from a3c_fast import checkpoint as checkpoints
from a3c_fast.config import STRUCTURAL_FIELDS, Config, plain_value
from a3c_fast.errors import ConfigError
from a3c_fast.evaluation_log import reached
from a3c_fast.evaluation_log import read as read_evaluations
from a3c_fast.paths import shown
from a3c_fast.run_directory import CHECKPOINTS, stored_config

if TYPE_CHECKING:
    from a3c_fast.checkpoint import Checkpoint


@dataclass(frozen=True)
class StoredRun:
    """A run directory as it is read before anything is written to it; both are None where there is no run yet."""

    path: Path
    config: Config | None
    """As `stored_config` finds them."""
    checkpoint: Checkpoint | None

    @classmethod
    def read(cls, path: Path) -> Self:
        """Raises `CheckpointError` where there is a run and no file of it is whole."""
        checkpoint = None
        if checkpoints.paths(path / CHECKPOINTS):
            # The trainer, which reads it again, warns of those that are damaged.
            checkpoint = checkpoints.load_newest(path / CHECKPOINTS, warns=False)
        return cls(path, stored_config(path), checkpoint)

    def refuse_contradictions(self, given: Mapping[str, Any]) -> None:
        """Raises `ConfigError` for a setting among `given` that makes another network, game or set of defaults."""
        if self.config is None:
            return
        for name in ("preset", *STRUCTURAL_FIELDS):
            theirs = getattr(self.config, name)
            if name not in given or plain_value(name, given[name]) in (theirs, "auto"):
                continue
            reason = f"the run in {shown(self.path)} was made with {theirs!r} and goes on with it"
            raise ConfigError(name, given[name], reason)

    def nothing_left(self, config: Config) -> str | None:
        """Why there is nothing left to do with these settings, None where there is.

        Raises `ConfigError` where they end the run before the step, or the time, that it has already come to.
        """
        if self.config is None or self.checkpoint is None:
            return None
        step, minutes = self.checkpoint.step, self.checkpoint.wall_seconds / 60
        where = f"the run in {shown(self.path)}"
        if step >= config.total_steps:
            if config.total_steps != self.config.total_steps:
                raise ConfigError(
                    "total_steps", config.total_steps, f"{where} is at step {step} and goes on only beyond"
                )
            return f"{where} has its {config.total_steps:,} steps: it is at step {step:,}"
        if config.max_minutes and minutes >= config.max_minutes:
            if config.max_minutes != self.config.max_minutes:
                allowed = f"{where} has trained for {minutes:.2f} minutes and goes on only beyond"
                raise ConfigError("max_minutes", config.max_minutes, allowed)
            return f"{where} has its {config.max_minutes:g} minutes: it is at step {step:,}"
        last = [episode_return for episode_return, _ in self.checkpoint.recent_episodes]
        if config.stop_at_return is not None and len(last) >= 100 and sum(last) / len(last) >= config.stop_at_return:
            return f"{where} has its mean return of {config.stop_at_return:g}: it is at step {step:,}"
        if config.evaluate_every and (limit := reached(config, read_evaluations(self.path))) is not None:
            return f"{where} has come to its {limit}, {getattr(config, limit):g}: it is at step {step:,}"
        return None
