"""MLflow."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Metric, Param

from a3c_fast.events import Reason
from a3c_fast.trackers import PROJECT, RunInfo, Tracker

_RUN_TAG = "a3c_fast.run"  # by which a run that goes on is found
_STATUS = {"failed": "FAILED", "stopped": "KILLED"}


class MlflowTracker(Tracker):
    """A run of MLflow, as its environment variables say: MLFLOW_TRACKING_URI, MLFLOW_EXPERIMENT_NAME and others.

    `experiment` and `run_name` are names that come before those of the environment.
    """

    def __init__(self, experiment: str | None = None, run_name: str | None = None) -> None:
        self._experiment_name, self._run_name = experiment, run_name

    def start(self, run: RunInfo) -> None:
        self._client: Any = MlflowClient()  # what the program has under way with mlflow.start_run() is its own
        experiment = self._experiment()
        found = self._client.search_runs([experiment], f"tags.`{_RUN_TAG}` = '{run.id}'", max_results=1)
        if found:
            self._id = found[0].info.run_id
            self._client.update_run(self._id, status="RUNNING")
            return
        name = self._run_name or os.environ.get("MLFLOW_RUN_NAME") or run.name
        self._id = self._client.create_run(experiment, run_name=name, tags={_RUN_TAG: run.id}).info.run_id
        self._client.log_batch(self._id, params=[Param(key, str(value)) for key, value in run.settings.items()])

    def log(self, values: Mapping[str, float], step: int) -> None:
        now = int(1000 * time.time())
        self._client.log_batch(self._id, metrics=[Metric(tag, value, now, step) for tag, value in values.items()])

    def finish(self, reason: Reason) -> None:
        self._client.set_tag(self._id, "end_reason", reason)
        self._client.set_terminated(self._id, status=_STATUS.get(reason, "FINISHED"))

    def _experiment(self) -> str:
        """Its id; made where there is none of that name."""
        experiment_id = os.environ.get("MLFLOW_EXPERIMENT_ID")
        if experiment_id and self._experiment_name is None:
            return experiment_id
        name = self._experiment_name or os.environ.get("MLFLOW_EXPERIMENT_NAME") or PROJECT
        found = self._client.get_experiment_by_name(name)
        return str(found.experiment_id if found is not None else self._client.create_experiment(name))
