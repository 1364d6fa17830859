"""Checkpoints: a safetensors file with the numbers, a JSON file beside it with everything else.

Both are written under another name, flushed to disk and renamed; the JSON, which carries the SHA-256 of the tensors
and of itself, comes last. A checkpoint whose JSON is there and whose hashes agree is whole, whatever killed the writer.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.numpy

from a3c_fast.errors import CheckpointError

if TYPE_CHECKING:
    from a3c_fast.config import Config

FORMAT = 1
Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Checkpoint:
    """What a run needs to go on: parameters, optimizer statistics, counters, and the workers where it was at rest."""

    config: dict[str, Any]
    """`Config.to_json()` of the run."""
    step: int
    updates: int
    episodes: int
    wall_seconds: float
    parameters: dict[str, Floats]
    """By name, float32, in the shapes of `a3c_fast.policy.ActorCritic`."""
    statistics: dict[str, dict[str, Floats]]
    """The optimizer's vectors by their name, each like `parameters`."""
    workers: list[dict[str, Any]] = field(default_factory=list)
    """Random numbers and environments of each worker; empty when it was taken while they ran."""
    versions: dict[str, str] = field(default_factory=dict)

    def measured(self, config: Config) -> Config:
        """`config` with the offset and scale of observations that this network was trained with.

        Raises `CheckpointError` where the checkpoint does not say both.
        """
        for name in ("observation_offset", "observation_scale"):
            if not isinstance(self.config.get(name), (int, float)):
                raise CheckpointError(f"the checkpoint does not say its {name}: an earlier version made it")
        offset, scale = self.config["observation_offset"], self.config["observation_scale"]
        return dataclasses.replace(config, observation_offset=offset, observation_scale=scale)


def file_stem(step: int) -> str:
    """Sorts by step."""
    return f"step_{step:012d}"


def write_atomically(path: Path, content: bytes) -> None:
    """Puts `content` at `path`, whole or not at all, and on disk before it returns."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)  # the rename itself
    finally:
        os.close(directory)


def save(checkpoint: Checkpoint, path: Path) -> Path:
    """Writes `path` (named *.safetensors) and the JSON beside it; returns `path`."""
    if path.suffix != ".safetensors":
        raise ValueError(f"path is {str(path)!r}, but a checkpoint's name must end in .safetensors")
    path.parent.mkdir(parents=True, exist_ok=True)
    tensors = {f"parameters/{name}": value for name, value in checkpoint.parameters.items()}
    for statistic, values in checkpoint.statistics.items():
        tensors |= {f"optimizer/{statistic}/{name}": value for name, value in values.items()}
    content = safetensors.numpy.save({name: np.ascontiguousarray(value) for name, value in tensors.items()})
    description: dict[str, Any] = {
        "format": FORMAT,
        "tensors_sha256": hashlib.sha256(content).hexdigest(),
        "step": checkpoint.step,
        "updates": checkpoint.updates,
        "episodes": checkpoint.episodes,
        "wall_seconds": checkpoint.wall_seconds,
        "config": checkpoint.config,
        "versions": checkpoint.versions,
        "workers": [{**worker, "env": worker["env"].hex()} for worker in checkpoint.workers],
    }
    description["sha256"] = _hash(description)
    write_atomically(path, content)
    write_atomically(path.with_suffix(".json"), json.dumps(description, indent=1).encode())
    return path


def load(path: Path) -> Checkpoint:
    """Reads what `save` wrote. Raises `CheckpointError` in one sentence when any bit of it is not as it was."""
    try:
        content = path.read_bytes()
        text = path.with_suffix(".json").read_bytes()
    except OSError as error:
        raise CheckpointError(f"checkpoint {path} cannot be read: {error.strerror}: {error.filename}") from error
    try:
        description = json.loads(text)
        written = description.pop("sha256")
        whole = written == _hash(description) and description["tensors_sha256"] == hashlib.sha256(content).hexdigest()
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise CheckpointError(f"checkpoint {path} is damaged: its JSON is not what was written") from error
    if not whole:
        raise CheckpointError(f"checkpoint {path} is damaged: its SHA-256 is not the one that was written with it")
    if description["format"] != FORMAT:
        raise CheckpointError(
            f"checkpoint {path} has format {description['format']}, and this version of a3c_fast reads {FORMAT}"
        )
    try:
        tensors = safetensors.numpy.load(content)
    except safetensors.SafetensorError as error:  # the hash agrees: it was written so
        raise CheckpointError(f"checkpoint {path} is no safetensors file: {error}") from error
    parameters: dict[str, Floats] = {}
    statistics: dict[str, dict[str, Floats]] = {}
    for key, value in tensors.items():
        kind, _, name = key.partition("/")
        if kind == "parameters":
            parameters[name] = value
        else:
            statistic, _, name = name.partition("/")
            statistics.setdefault(statistic, {})[name] = value
    return Checkpoint(
        config=description["config"],
        step=description["step"],
        updates=description["updates"],
        episodes=description["episodes"],
        wall_seconds=description["wall_seconds"],
        parameters=parameters,
        statistics=statistics,
        workers=[{**worker, "env": bytes.fromhex(worker["env"])} for worker in description["workers"]],
        versions=description["versions"],
    )


def paths(directory: Path) -> list[Path]:
    """The checkpoints of a directory, oldest first; not yet checked."""
    return sorted(directory.glob("step_*.safetensors"))


def load_newest(directory: Path) -> Checkpoint:
    """The newest whole checkpoint of a directory; warns of each newer one that is damaged.

    Raises `CheckpointError` when there is none.
    """
    candidates = paths(directory)
    if not candidates:
        raise CheckpointError(f"{directory} holds no checkpoint")
    errors: list[CheckpointError] = []
    for path in reversed(candidates):
        try:
            checkpoint = load(path)
        except CheckpointError as error:
            errors.append(error)
            continue
        for damage in errors:
            warnings.warn(f"{damage}; going back to {path.name}", stacklevel=2)
        return checkpoint
    raise errors[0]


def prune(directory: Path, keep: int) -> None:
    """Deletes all but the newest `keep` checkpoints, and what a writer that was killed left behind."""
    for path in paths(directory)[:-keep]:
        path.with_suffix(".json").unlink(missing_ok=True)  # first: tensors without it are no checkpoint
        path.unlink(missing_ok=True)
    for path in directory.glob(".step_*.tmp"):
        path.unlink(missing_ok=True)


def set_aside(directory: Path, step: int) -> None:
    """Renames the checkpoints beyond `step`, which a resume found damaged: they must not push whole ones out."""
    for path in paths(directory):
        if path.stem > file_stem(step):
            path.rename(path.with_name(f"damaged_{path.name}"))
            json_path = path.with_suffix(".json")
            if json_path.exists():
                json_path.rename(json_path.with_name(f"damaged_{json_path.name}"))


def _hash(description: Mapping[str, Any]) -> str:
    canonical = json.dumps(description, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
