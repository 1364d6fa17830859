"""Where a run is tracked besides its directory: what a tracker is, and those that have a name."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from a3c_fast.errors import ConfigError
from a3c_fast.suggestions import did_you_mean

if TYPE_CHECKING:
    from a3c_fast.events import Reason

# Each is a module here, an extra of a3c-fast and a package, all of that name, and the class in the module.
_CLASSES: Mapping[str, str] = {"wandb": "WandbTracker", "mlflow": "MlflowTracker", "trackio": "TrackioTracker"}
_ALLOWED = f"it must be one of {', '.join(_CLASSES)}, or module:Class of a Tracker of your own"
NAMES = tuple(_CLASSES)
PROJECT = "a3c-fast"  # where the tracker's own environment variables name no other


@dataclass(frozen=True)
class RunInfo:
    """What a tracker is told of a run when it begins."""

    id: str
    """Of this run alone, and the same again where it goes on in its directory."""
    name: str
    """For people: the name of the run directory, or else of the environment and the seed."""
    settings: Mapping[str, bool | int | float | str | None]
    """The hyper-parameters: those fields of `Config` that say what is learned and how, and `kernels`."""
    said: frozenset[str]
    """Those of them that somebody chose, for what shows only some: not at their defaults, `env_id` and `seed`."""
    first_step: int
    """Agent steps that it has had: above 0 where it goes on."""
    run_dir: Path | None
    """Its directory, where it has one."""


class Tracker:
    """Base class of those that follow a run. Each has a thread of its own, the only one that calls it.

    Neither the workers nor the program wait for it. What it raises is told in a warning, once, and ends nothing.
    """

    def start(self, run: RunInfo) -> None:
        """When the run starts for the first time, before anything else. One that raises here is not called again."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Finite numbers by their tags, as docs/tracking.md has them, at `step` agent steps of the whole run."""
        raise NotImplementedError

    def finish(self, reason: Reason) -> None:
        """When the trainer is closed, with the reason why its run ended; `Trainer.close()` waits a while for it."""


def check_names(names: Any) -> None:
    """Raises `ConfigError` for what `Config.track` cannot be; imports nothing."""
    if not isinstance(names, tuple):
        raise ConfigError("track", names, "it must be a list of names of trackers")
    for name in names:
        if not isinstance(name, str) or (name not in _CLASSES and not _is_of_a_module(name)):
            raise ConfigError("track", name, f"{_ALLOWED}{did_you_mean(name, _CLASSES)}")
    if len(set(names)) < len(names):
        raise ConfigError("track", names, "a tracker can be named once")


def make(names: Sequence[str]) -> dict[str, Tracker]:
    """A tracker of each name. Raises `ConfigError` for a package that is not there and for what makes no tracker."""
    return {name: _made(name) for name in names}


def checked(trackers: Sequence[Any]) -> dict[str, Tracker]:
    """Those that a program gives, by the names of their classes. Raises `ConfigError` for what is no tracker."""
    if isinstance(trackers, (str, Tracker)) or not isinstance(trackers, Sequence):
        raise ConfigError("trackers", trackers, "it must be a list of trackers; names go into Config(track=...)")
    found: dict[str, Tracker] = {}
    for tracker in trackers:
        _require_tracker("trackers", tracker, tracker)
        name, number = type(tracker).__name__, 2
        while name in found:
            name, number = f"{type(tracker).__name__} {number}", number + 1
        found[name] = tracker
    return found


def _made(name: str) -> Tracker:
    if name in _CLASSES:
        if importlib.util.find_spec(name) is None:
            raise ConfigError("track", name, f"it is not installed: install a3c-fast with the extra `{name}`")
        module, attribute = f"{__name__}.{name}", _CLASSES[name]
    else:
        module, _, attribute = name.partition(":")
    try:
        found: Any = _imported(module)
        for part in attribute.split("."):
            found = getattr(found, part)
        tracker = found()
    except (Exception, SystemExit) as error:
        raise ConfigError("track", name, f"to make it failed: {type(error).__name__}: {error}") from error
    _require_tracker("track", name, tracker)
    return tracker  # type: ignore[no-any-return]


def _imported(module: str) -> Any:
    """As `python -m` finds it, also where the program has not the working directory among its paths."""
    here = str(Path.cwd())
    missing = here not in sys.path and "" not in sys.path
    if missing:
        sys.path.append(here)
    try:
        return importlib.import_module(module)
    finally:
        if missing:
            sys.path.remove(here)


def _require_tracker(field: str, value: Any, tracker: Any) -> None:
    if isinstance(tracker, type) or not all(callable(getattr(tracker, name, None)) for name in _METHODS):
        raise ConfigError(field, value, f"it must be a Tracker, with the methods {', '.join(_METHODS)}")


def _is_of_a_module(name: str) -> bool:
    module, colon, attribute = name.partition(":")
    return bool(colon) and all(part.isidentifier() for part in (*module.split("."), *attribute.split(".")))


_METHODS = ("start", "log", "finish")
