"""What a report says of a run, as plain values for JSON: read from the run's directory alone."""

from __future__ import annotations

import base64
import contextlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from a3c_fast import checkpoint as checkpoints
from a3c_fast import evaluation_log, files, metrics, sessions
from a3c_fast.errors import CheckpointError
from a3c_fast.human_scores import SCORES, human_normalized
from a3c_fast.paths import shown
from a3c_fast.run_directory import CHECKPOINTS, stored_config

STAGE_GROUPS = ("environments", "forward", "backward", "shared parameters", "else")
"""The stages of `Trainer.stage_seconds()` in groups."""

SERIES = (
    *("mean_return_100", "std_return_100", "steps_per_second", "policy_loss", "value_loss", "entropy", "grad_norm"),
    *("learning_rate", "entropy_coef", "mean_length_100"),
)
_MOST_POINTS = 1200  # of a curve: more than a screen shows
_VIDEOS = {".mp4": "video/mp4", ".gif": "image/gif"}
_NOT_OF_A_RUN = {"run_dir", "resume", "format", "sha256"}
_MOST_SHOWN = 1e100  # browsers compute with squares of what they show


def run_data(path: Path, number: int, name: str, video_bytes: int) -> dict[str, Any]:
    """Of the run in a directory; `number` is its place among those compared, a video may have `video_bytes`.

    Raises `CheckpointError` where there is no run, `OSError` with the path of a file that cannot be read.
    """
    config = stored_config(path) if path.is_dir() else None
    if config is None:
        raise CheckpointError(f"there is no run in {shown(path)}")
    lines = metrics.read(path)
    env_id = config.env_id
    evaluations: list[dict[str, Any]] = [
        {
            "step": e.step,
            "minutes": _rounded(e.wall_seconds / 60),
            "mean": _rounded(e.mean_return),
            "std": _rounded(e.std_return),
            "human": e.human_normalized,
            "episodes": e.episodes,
            "best": False,
        }
        for e in evaluation_log.read(path)
    ]
    if evaluations:
        max(evaluations, key=lambda e: e["mean"])["best"] = True
    last = lines[-1] if lines else {}
    times = sessions.read(path)
    seconds = last.get("wall_seconds") or 0.0
    return {
        "id": number,
        "name": name,
        "env": env_id,
        "seed": config.seed,
        "human": SCORES.get(env_id),
        "step": last.get("step", 0),
        "minutes": seconds / 60,
        "rate": last["step"] / seconds if seconds else None,
        "episodes": last.get("episodes"),
        "score": _score(env_id, lines, evaluations),
        "series": _series(lines),
        "evaluations": evaluations,
        "resumes": [{"step": session.first_step} for session in times[1:]],
        "sessions": [
            {
                "began": session.began,
                "first_step": session.first_step,
                "kernels": session.kernels,
                "cores": session.cores,
                "versions": session.versions,
            }
            for session in times
        ],
        "changes": _changes(path),
        "stages": _stages(times),
        "config": {name: value for name, value in config.to_json().items() if name not in _NOT_OF_A_RUN},
        "video": _video(path, video_bytes),
    }


def _score(
    env_id: str, lines: Sequence[dict[str, Any]], evaluations: Sequence[dict[str, Any]]
) -> dict[str, Any] | None:
    """What stands first of a run: its best evaluation, or its last training returns where it has none."""
    for e in evaluations:
        if e["best"]:
            count = "" if e["episodes"] is None else f", {e['episodes']} episodes"
            return {"mean": e["mean"], "std": e["std"], "human": e["human"], "what": f"best evaluation{count}"}
    for line in reversed(lines):
        if (mean := line.get("mean_return_100")) is not None:
            return {
                "mean": mean,
                "std": line.get("std_return_100"),
                "human": human_normalized(env_id, mean),
                "what": "return, last 100 training episodes",
            }
    return None


def _series(lines: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    """Columns of the metrics; of a long run every n-th line and the last."""
    lines = [line for line in lines if line.get("wall_seconds") is not None]
    every = math.ceil(len(lines) / _MOST_POINTS) or 1
    kept = [*lines[:-1:every], *lines[-1:]]
    found: dict[str, list[Any]] = {"step": [line["step"] for line in kept]}
    found["minutes"] = [_rounded(line["wall_seconds"] / 60) for line in kept]
    for name in SERIES:
        found[name] = [_rounded(line.get(name)) for line in kept]
    return found


def _rounded(value: float | None) -> float | None:
    """Five digits, which is more than a screen shows."""
    if value is None or not abs(value) <= _MOST_SHOWN:
        return None
    return float(f"{value:.5g}")


def _changes(path: Path) -> list[dict[str, Any]]:
    """What `Trainer.set` changed, as the newest whole checkpoint has it."""
    with contextlib.suppress(CheckpointError):
        if checkpoints.candidates(path / CHECKPOINTS):
            newest = checkpoints.load_newest(path / CHECKPOINTS, warns=False)
            return [{"step": step, "name": name, "value": value} for step, name, value in newest.changes]
    return []


def _stages(of_run: Sequence[sessions.Session]) -> list[dict[str, Any]]:
    """Seconds of all sessions together, in the order in which a worker passes through the stages."""
    seconds: dict[str, float] = {}
    for session in of_run:
        for name, value in session.stage_seconds.items():
            seconds[name] = seconds.get(name, 0.0) + value
    return [{"name": name, "seconds": value, "group": _group(name)} for name, value in seconds.items()]


def _group(stage: str) -> int:
    if stage in ("send", "wait_for_environment"):
        return 0
    if stage.endswith("_forward") or stage in ("convert_observation", "sample_actions", "keep_activations"):
        return 1
    if stage.endswith(("_backward", "_gradient")) or stage in ("loss", "unpack_gradients"):
        return 2
    return 3 if stage in ("pull", "pack_weights", "clip", "push") else 4


def _video(path: Path, most_bytes: int) -> dict[str, str] | None:
    """The newest video of the directory that is small enough, as a data URL."""
    found = [file for file in path.iterdir() if file.suffix.lower() in _VIDEOS and files.is_regular(file)]
    for file in sorted(found, key=lambda file: file.stat().st_mtime, reverse=True):
        if 0 < file.stat().st_size <= most_bytes:
            content = base64.b64encode(files.read(file, most_bytes)).decode("ascii")
            return {"name": file.name, "source": f"data:{_VIDEOS[file.suffix.lower()]};base64,{content}"}
    return None
