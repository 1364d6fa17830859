"""Weights & Biases, MLflow and Trackio as they are installed, offline."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from helpers import FAKE

from a3c_fast import Config, Trainer


@pytest.fixture(autouse=True)
def _offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "WANDB_MODE": "offline",
        "WANDB_DIR": str(tmp_path),
        "WANDB_SILENT": "true",
        "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db",
        "MLFLOW_EXPERIMENT_NAME": "tests",
        "TRACKIO_DIR": str(tmp_path / "trackio"),
        "HF_HUB_OFFLINE": "1",
    }.items():
        monkeypatch.setenv(name, value)


def trained_twice(run_dir: Path, track: str) -> tuple[int, dict[str, Any]]:
    """A run and its going on; its step between, and its last statistics."""
    config = Config(env_id=FAKE, num_workers=1, total_steps=20_000, run_dir=run_dir, track=(track,))
    with Trainer(config) as trainer:
        trainer.run(10_000)
        between: int = trainer.stats()["step"]
    with Trainer(config.replace(resume=True)) as trainer:
        trainer.run()
        return between, trainer.stats()


@pytest.mark.filterwarnings("error:the tracker")
def test_mlflow(tmp_path: Path) -> None:
    mlflow = pytest.importorskip("mlflow", reason="pip install 'a3c-fast[mlflow]'")
    between, stats = trained_twice(tmp_path / "run", "mlflow")
    client = mlflow.MlflowClient()
    experiment = client.get_experiment_by_name("tests")
    (run,) = client.search_runs([experiment.experiment_id])
    assert (run.info.run_name, run.info.status, run.data.tags["end_reason"]) == ("run", "FINISHED", "total_steps")
    assert (run.data.params["env_id"], run.data.params["hidden_sizes"]) == (FAKE, "64, 64")
    steps = [metric.step for metric in client.get_metric_history(run.info.run_id, "time/total_timesteps")]
    assert between in steps
    assert steps[-1] == stats["step"]
    assert run.data.metrics["rollout/ep_rew_mean"] == stats["mean_return_100"]
    assert mlflow.active_run() is None  # the program's own


@pytest.mark.filterwarnings("error:the tracker")
def test_trackio(tmp_path: Path) -> None:
    trackio = pytest.importorskip("trackio", reason="pip install 'a3c-fast[trackio]'")
    between, stats = trained_twice(tmp_path / "run", "trackio")
    (run,) = trackio.Api().runs("a3c-fast")
    assert run.name.startswith("run-")
    assert run.config["env_id"] == FAKE
    storage = pytest.importorskip("trackio.sqlite_storage").SQLiteStorage
    rows = storage.get_logs("a3c-fast", run.name)
    lines = [row for row in rows if "rollout/ep_rew_mean" in row]
    assert [row["time/total_timesteps"] for row in lines if row["time/total_timesteps"] == between] == [between]
    assert lines[-1]["rollout/ep_rew_mean"] == pytest.approx(stats["mean_return_100"])


@pytest.mark.filterwarnings("error:the tracker")
def test_weights_and_biases(tmp_path: Path) -> None:
    wandb = pytest.importorskip("wandb", reason="pip install 'a3c-fast[wandb]'")
    trained_twice(tmp_path / "run", "wandb")
    files = sorted(tmp_path.glob("wandb/offline-run-*/*.wandb"))
    assert len(files) == 2
    assert files[0].name == files[1].name  # of one run, which `wandb sync` puts together
    for file in files:
        content = file.read_bytes()
        for wanted in ("rollout/ep_rew_mean", "train/explained_variance", "end_reason", "total_steps", FAKE):
            assert wanted.encode() in content, wanted
    assert wandb.run is None  # the program's own
