"""Weights & Biases."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import wandb

from a3c_fast.events import Reason
from a3c_fast.tags import STEP
from a3c_fast.trackers import PROJECT, RunInfo, Tracker


class WandbTracker(Tracker):
    """A run of Weights & Biases, as its environment variables say: WANDB_PROJECT, WANDB_NAME, WANDB_MODE and others.

    `settings` are for `wandb.init`, such as `project`, `group` and `tags`.
    """

    def __init__(self, **settings: Any) -> None:
        self._settings = settings

    def start(self, run: RunInfo) -> None:
        settings = {
            "project": os.environ.get("WANDB_PROJECT") or PROJECT,
            "name": os.environ.get("WANDB_NAME") or run.name,
            "id": os.environ.get("WANDB_RUN_ID") or run.id,
            "resume": "allow",
            "config": dict(run.settings),
            "reinit": "create_new",  # the program and other trainers may have runs of their own
            **self._settings,
        }
        self._run: Any = wandb.init(**settings)
        # W&B's own steps only rise, and a run that goes on from a checkpoint takes some of its steps again.
        self._run.define_metric(STEP, hidden=True)
        self._run.define_metric("*", step_metric=STEP)

    def log(self, values: Mapping[str, float], step: int) -> None:
        self._run.log({**values, STEP: step})

    def finish(self, reason: Reason) -> None:
        self._run.summary["end_reason"] = reason
        self._run.finish(exit_code=1 if reason == "failed" else 0)
