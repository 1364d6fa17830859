"""Trackio."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import trackio

from a3c_fast.events import Reason
from a3c_fast.trackers import PROJECT, RunInfo, Tracker


class TrackioTracker(Tracker):
    """A run of Trackio, as its environment variables say: TRACKIO_DIR, TRACKIO_SPACE_ID, TRACKIO_SERVER_URL and others.

    `settings` are for `trackio.init`, such as `project` and `group`.
    """

    def __init__(self, **settings: Any) -> None:
        self._settings = settings

    def start(self, run: RunInfo) -> None:
        settings = {
            "project": PROJECT,
            "name": f"{run.name}-{run.id[:8]}",  # Trackio finds a run that goes on by its name
            "resume": "allow",
            "config": dict(run.settings),
            **self._settings,
        }
        self._run: Any = trackio.init(**settings)

    def log(self, values: Mapping[str, float], step: int) -> None:
        self._run.log(dict(values), step=step)

    def finish(self, reason: Reason) -> None:
        level = trackio.AlertLevel.ERROR if reason == "failed" else trackio.AlertLevel.INFO
        self._run.alert(f"The run has ended: {reason}", level=level)
        self._run.finish()
