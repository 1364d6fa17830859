"""The directory of a run: one trainer at a time, its settings, its metrics and its checkpoints."""

from __future__ import annotations

import fcntl
import json
from pathlib import Path

from a3c_fast import checkpoint as checkpoints
from a3c_fast.config import STRUCTURAL_FIELDS, Config
from a3c_fast.errors import CheckpointError, ConfigError
from a3c_fast.metrics import METRICS_FILE


class RunDirectory:
    """Made and locked when the object is made, and held until `close`.

    `resumed` is the newest checkpoint of a run that goes on, None where a run begins.
    """

    def __init__(self, path: Path, config: Config) -> None:
        """Raises `ConfigError` where `config` and the directory disagree, `CheckpointError` where no run can go on."""
        if config.resume and not path.is_dir():
            raise CheckpointError(f"{path} holds no checkpoint: it is no directory")
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError("run_dir", str(path), f"it cannot be made: {error.strerror}") from error
        self.path = path
        self.checkpoints = path / "checkpoints"
        self._lock()
        self.resumed: checkpoints.Checkpoint | None = None
        try:
            if config.resume:
                self.resumed = checkpoints.load_newest(self.checkpoints)
                self._check_structure(config, self.resumed)
            else:
                self._check_empty()
        except BaseException:
            self.close()
            raise

    def write_config(self, config: Config) -> None:
        """The settings of the run as config.json."""
        checkpoints.write_atomically(self.path / "config.json", json.dumps(config.to_json(), indent=1).encode())

    def close(self) -> None:
        """Lets another trainer in."""
        fcntl.flock(self._lock_file, fcntl.LOCK_UN)  # a child of a fork holds the file, too
        self._lock_file.close()

    def _lock(self) -> None:
        """An advisory lock that the system lets go with the process."""
        self._lock_file = (self.path / ".lock").open("w")
        try:
            fcntl.flock(self._lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._lock_file.close()
            raise ConfigError("run_dir", str(self.path), "another process trains in it: choose another") from error

    def _check_empty(self) -> None:
        if checkpoints.paths(self.checkpoints):
            raise ConfigError("run_dir", str(self.path), "a run is already there: choose another or pass resume")
        if (self.path / METRICS_FILE).exists():
            reason = "a run that ended before its first checkpoint is already there: choose another"
            raise ConfigError("run_dir", str(self.path), reason)

    def _check_structure(self, config: Config, resumed: checkpoints.Checkpoint) -> None:
        for name in STRUCTURAL_FIELDS:
            ours, theirs = config.to_json()[name], resumed.config.get(name)
            if ours not in (theirs, "auto"):
                raise ConfigError(name, ours, f"the run in {self.path} was made with {theirs!r} and goes on with it")
