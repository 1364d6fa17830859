"""The errors that a3c_fast raises on purpose. Each message is one sentence that a user can act on."""

from __future__ import annotations

from typing import Any


class ConfigError(ValueError):
    """A setting that cannot be: names the field, the value and what is allowed."""

    def __init__(self, field: str, value: Any, allowed: str) -> None:
        self.field = field
        self.value = value
        self.allowed = allowed
        super().__init__(f"{field} is {value!r}, but {allowed}")


class CheckpointError(RuntimeError):
    """A checkpoint that is missing, damaged, or of another network."""


class WorkerError(RuntimeError):
    """A worker failed or hung: `worker` is its index, the message is its own."""

    def __init__(self, worker: int, message: str) -> None:
        self.worker = worker
        super().__init__(f"worker {worker} failed: {message}")
