"""Checkpoints: one safetensors file with the numbers, and a JSON text in its metadata with everything else.

It is written under another name, flushed to disk and renamed, so that what has its name is whole, whatever killed the
writer. A SHA-256 over the text and over every tensor's name, type, shape and bytes tells what was changed since.

Format 1, which earlier versions wrote, had the text in a JSON file beside the tensors; it is still read.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.numpy

from a3c_fast import files, stored_settings
from a3c_fast.envs.spec import EnvSpec, restored, stored
from a3c_fast.errors import CheckpointError, ConfigError
from a3c_fast.machine import memory_bytes
from a3c_fast.paths import shown

if TYPE_CHECKING:
    from a3c_fast.config import Config

FORMAT = 2
MOST_RECENT_EPISODES = 100
Floats = npt.NDArray[np.float32]

_OURS = "a3c_fast"  # the key of the text in safetensors' metadata; that of its hash is sha256
_NAME = re.compile(r"step_([0-9]+)\.safetensors")
_MOST_HEADER_BYTES = 16 * 2**20
_MOST_JSON_BYTES = 64 * 2**20
_MOST_LISTINGS = 1000  # of a directory whose files go while they are read
_TYPES: dict[str, np.dtype[Any]] = {
    "F32": np.dtype("<f4"),
    "F64": np.dtype("<f8"),
    "I64": np.dtype("<i8"),
    "U64": np.dtype("<u8"),
    "U8": np.dtype("u1"),
}
# What only grows by squares.
_NEVER_NEGATIVE = ("second_moment", "mean_square")
# A worker's arrays with one element an environment: name, type of the elements.
_OF_ENVIRONMENTS = {
    "starts": np.uint8,
    "episode_return": np.float64,
    "episode_length": np.int64,
    "discounted_return": np.float64,
}
# Of each kind, the moments of a run that normalizes.
_MOMENTS = {
    kind: tuple(f"{kind}_{what}" for what in ("count", "mean", "squares")) for kind in ("observation", "return")
}
# All of a worker's arrays in a file, where those of all workers follow each other.
_OF_WORKERS = {
    "num_envs": np.int64,
    "random": np.uint64,
    "env_bytes": np.int64,
    "env": np.uint8,
    "recurrent_size": np.int64,
    "recurrent_state": np.float32,
    **_OF_ENVIRONMENTS,
}


@dataclass(frozen=True)
class Checkpoint:
    """What a run needs to go on: parameters, optimizer statistics, counters, and the workers where it was at rest."""

    config: dict[str, Any]
    """`Config.to_json()` of the run; what is stored of it says neither its directory nor that it goes on."""
    step: int
    updates: int
    episodes: int
    wall_seconds: float
    parameters: dict[str, Floats]
    """By name, float32, in the shapes of `a3c_fast.policy.ActorCritic`."""
    statistics: dict[str, dict[str, Floats]]
    """The optimizer's vectors by their name, each like `parameters`."""
    constants: dict[str, npt.NDArray[Any]] = field(default_factory=dict)
    """Of a network of the user's own, what is not trained of its state_dict(): floating-point numbers as float32 or
    float64, whole ones as int64, truths as uint8."""
    probe: dict[str, npt.NDArray[Any]] = field(default_factory=dict)
    """Of a network of the user's own: some `observations` uint8 [n, row_bytes], and what it made of them with these
    parameters, `outputs` float32 [n, num_outputs + 1], the last of them the value."""
    normalization: dict[str, npt.NDArray[np.float64]] = field(default_factory=dict)
    """Moments of the numbers that are observed and of the discounted return, where the run normalizes by them:
    `observation_count` [1], `observation_mean` and `observation_squares` [F], the sum of squared deviations, and the
    same of `return`."""
    workers: list[dict[str, Any]] = field(default_factory=list)
    """Random numbers and environments of each worker; empty when it was taken while they ran."""
    versions: dict[str, str] = field(default_factory=dict)
    spaces: EnvSpec | None = None
    """What the environments of the run show and take; None in those of earlier versions."""
    changes: list[tuple[int, str, float | str]] = field(default_factory=list)
    """Settings that changed while the run was under way: from which agent step on, which, and to what; oldest first."""
    skipped_updates: int = 0
    recent_episodes: list[tuple[float, int]] = field(default_factory=list)
    """Return and length (agent steps) of the last finished episodes, oldest first, 100 at most."""

    def measured(self, config: Config) -> Config:
        """`config` with the offset and scale of observations that this network was trained with.

        Raises `CheckpointError` where the checkpoint does not say both.
        """
        values = stored_settings.upgrade(self.config)
        found: dict[str, Any] = {name: values.get(name) for name in ("observation_offset", "observation_scale")}
        for name, value in found.items():
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise CheckpointError(f"the checkpoint's {name} is {value!r}, but it must be a number")
        return dataclasses.replace(config, **found)


class _NewerError(CheckpointError):
    """A whole checkpoint that a later version wrote."""


# One file ------------------------------------------------------------------------------------------------------------


def save(checkpoint: Checkpoint, path: Path) -> Path:
    """Writes `path` (named *.safetensors) and returns it.

    Raises `ConfigError`, a `ValueError`, for another name and where something else than a checkpoint would be replaced;
    `CheckpointError` for what `load` would refuse; `OSError` with the path when it cannot be written. Then nothing has
    changed.
    """
    if path.suffix != ".safetensors":
        raise ConfigError("path", shown(path), "a checkpoint's name must end in .safetensors")
    if os.path.lexists(path) and not _is_ours(path):
        raise ConfigError("path", shown(path), "something is there that is no checkpoint: choose another name")
    tensors = {name: np.ascontiguousarray(value) for name, value in _tensors_of(checkpoint).items()}
    try:
        text = _text_of(checkpoint)
        _checkpoint(msgspec.json.decode(text, type=_Description), tensors)
    except ValueError as error:
        raise CheckpointError(f"no checkpoint is written, and the last one stands: {error}") from error
    path.parent.mkdir(parents=True, exist_ok=True)
    metadata = {_OURS: text, "sha256": _hash(text, tensors)}
    files.write(path, safetensors.numpy.save(tensors, metadata))
    return path


def load(path: Path) -> Checkpoint:
    """Reads what `save` wrote. Raises `CheckpointError` in one sentence when any bit of it is not as it was."""
    what = f"checkpoint {shown(path)}"
    content = _read(path, what, _most_bytes())
    try:
        header = _header(content)
        tensors = _arrays(content)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{what} is damaged: it is no safetensors file as they are written") from error
    metadata = header.get("__metadata__", {})
    if _OURS not in metadata:
        return _load_format_1(path, what, content, tensors)
    text = metadata[_OURS]
    if metadata.get("sha256") != _hash(text, tensors):
        raise CheckpointError(f"{what} is damaged: its SHA-256 is not the one that was written with it")
    try:
        number = msgspec.json.decode(text, type=_Numbered).format
        if number != FORMAT:
            kind = _NewerError if number > FORMAT else CheckpointError
            raise kind(f"{what} has format {number}, and this version of a3c_fast reads 1 to {FORMAT}")
        return _checkpoint(msgspec.json.decode(text, type=_Description), tensors)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{what} has contents that cannot be: {_sentence(error)}") from error


def _most_bytes() -> int:
    """A file is in memory twice while it is read."""
    return memory_bytes() // 4


def _read(path: Path, what: str, limit: int) -> bytes:
    try:
        return files.read(path, limit)
    except OSError as error:
        raise CheckpointError(f"{what} cannot be read: {error.strerror}: {shown(path)}") from error


def _header(content: bytes) -> dict[str, Any]:
    """The JSON object at the beginning of a safetensors file. Raises `ValueError`."""
    size = int.from_bytes(content[:8], "little")
    if len(content) < 8 or size > min(_MOST_HEADER_BYTES, len(content) - 8):
        raise ValueError("no header")
    header = msgspec.json.decode(content[8 : 8 + size], type=dict[str, dict[str, Any]])
    if not all(isinstance(value, str) for value in header.get("__metadata__", {}).values()):
        raise ValueError("no metadata")
    return header


def _arrays(content: bytes) -> dict[str, npt.NDArray[Any]]:
    """The tensors of a safetensors file whose header is of a size that can be. Raises `ValueError`."""
    try:
        found: list[tuple[str, dict[str, Any]]] = safetensors.deserialize(content)  # type: ignore[no-untyped-call]
    except safetensors.SafetensorError as error:
        raise ValueError(str(error)) from error
    arrays = {}
    for name, tensor in found:
        if tensor["dtype"] not in _TYPES:
            raise ValueError(f"{name!r} has type {tensor['dtype']}")
        arrays[name] = np.frombuffer(tensor["data"], _TYPES[tensor["dtype"]]).reshape(tensor["shape"])
    return arrays


def _is_ours(path: Path) -> bool:
    """Whether `path` may be replaced by a checkpoint: another one, damaged or not, or a file with nothing in it."""
    if not files.is_regular(path):
        return False
    try:
        content = files.read(path, _most_bytes())
        header = _header(content) if content else {}
    except (OSError, ValueError, RecursionError):
        return False
    if "__metadata__" in header:
        return _OURS in header["__metadata__"]
    return all(name.startswith(("parameters/", "optimizer/")) for name in header)  # format 1


# Its contents --------------------------------------------------------------------------------------------------------

_Count = Annotated[int, msgspec.Meta(ge=0, lt=2**62)]
_Seconds = Annotated[float, msgspec.Meta(ge=0)]


class _Numbered(msgspec.Struct):
    format: int


class _Description(msgspec.Struct, kw_only=True):
    """The text of a checkpoint."""

    format: int
    step: _Count
    updates: _Count
    episodes: _Count
    skipped_updates: _Count = 0
    wall_seconds: _Seconds
    config: dict[str, Any]
    versions: dict[str, str]
    spaces: dict[str, Any] | None = None  # of versions that have load_policy()
    changes: list[tuple[_Count, str, float | str]] = []


class _Worker(msgspec.Struct):
    """The state of a worker in the JSON of format 1; the first versions had no more than the first four."""

    random: Annotated[int, msgspec.Meta(ge=0)]
    env: str
    episode_return: list[float]
    episode_length: list[int]
    starts: list[int] | None = None
    recurrent_state: list[float] | None = None


class _Description1(_Description, kw_only=True):
    tensors_sha256: str
    workers: list[_Worker]


def _text_of(checkpoint: Checkpoint) -> str:
    description = _Description(
        format=FORMAT,
        step=checkpoint.step,
        updates=checkpoint.updates,
        episodes=checkpoint.episodes,
        skipped_updates=checkpoint.skipped_updates,
        wall_seconds=checkpoint.wall_seconds,
        config=stored_settings.portable(checkpoint.config),
        versions=checkpoint.versions,
        spaces=None if checkpoint.spaces is None else stored(checkpoint.spaces),
        changes=checkpoint.changes,
    )
    return json.dumps(msgspec.to_builtins(description), allow_nan=False)


def _tensors_of(checkpoint: Checkpoint) -> dict[str, npt.NDArray[Any]]:
    """Everything that is numbers, by the names of the file."""
    tensors: dict[str, npt.NDArray[Any]] = {}
    for name, value in checkpoint.parameters.items():
        tensors[f"parameters/{name}"] = value
    for statistic, values in checkpoint.statistics.items():
        for name, value in values.items():
            tensors[f"optimizer/{statistic}/{name}"] = value
    for name, constant in checkpoint.constants.items():
        tensors[f"constants/{name}"] = constant
    for name, array in checkpoint.probe.items():
        tensors[f"probe/{name}"] = array
    for name, moments in checkpoint.normalization.items():
        tensors[f"normalization/{name}"] = moments
    if checkpoint.workers:
        tensors |= {f"workers/{name}": value for name, value in _pack(checkpoint.workers).items()}
    # A return may be what an environment should not have paid; for the mean of the last ones it is as if it were not.
    episodes = [episode for episode in checkpoint.recent_episodes if math.isfinite(episode[0])]
    if episodes:
        returns, lengths = zip(*episodes[-MOST_RECENT_EPISODES:], strict=True)
        tensors["episodes/return"] = np.array(returns, np.float64)
        tensors["episodes/length"] = np.array(lengths, np.int64)
    return tensors


def _pack(workers: list[dict[str, Any]]) -> dict[str, npt.NDArray[Any]]:
    """The states of all workers, one after the other."""
    lists: dict[str, list[Any]] = {
        "num_envs": [len(worker["starts"]) for worker in workers],
        "random": [worker["random"] for worker in workers],
        "env_bytes": [len(worker["env"]) for worker in workers],
        "env": list(b"".join(worker["env"] for worker in workers)),
        "recurrent_size": [len(worker["recurrent_state"]) for worker in workers],
    }
    for name in ("recurrent_state", *_OF_ENVIRONMENTS):
        lists[name] = [value for worker in workers for value in worker[name]]
    return {name: np.array(lists[name], dtype) for name, dtype in _OF_WORKERS.items()}


def _unpack(packed: Mapping[str, npt.NDArray[Any]]) -> list[dict[str, Any]]:
    """The inverse of `_pack`. Raises `ValueError` where lengths do not fit."""
    if not packed:
        return []
    if packed.keys() == _OF_WORKERS.keys() - {"discounted_return"}:  # before rewards could be normalized
        packed = {**packed, "discounted_return": np.zeros(len(packed["episode_return"]), np.float64)}
    if packed.keys() != _OF_WORKERS.keys():
        raise ValueError("its workers have other fields than those of this format")
    for name, dtype in _OF_WORKERS.items():
        if packed[name].dtype != dtype or packed[name].ndim != 1:
            raise ValueError(f"workers/{name} is no list of {np.dtype(dtype).name}")
    workers = len(packed["random"])

    def parts(name: str, sizes: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
        array = packed[name]
        possible = len(sizes) == workers and (sizes >= 0).all() and (sizes <= len(array)).all()
        if not possible or int(sizes.sum()) != len(array):
            raise ValueError(f"workers/{name} has another length than its workers have")
        return np.split(array, np.cumsum(sizes)[:-1])

    env = parts("env", packed["env_bytes"])
    recurrent = parts("recurrent_state", packed["recurrent_size"])
    of_environments = {name: parts(name, packed["num_envs"]) for name in _OF_ENVIRONMENTS}
    return [
        {
            "random": int(packed["random"][i]),
            "env": env[i].tobytes(),
            "recurrent_state": recurrent[i].tolist(),
            **{name: values[i].tolist() for name, values in of_environments.items()},
        }
        for i in range(workers)
    ]


def _checkpoint(
    description: _Description, tensors: Mapping[str, npt.NDArray[Any]], workers: list[dict[str, Any]] | None = None
) -> Checkpoint:
    """What a file says, once it is known to be as it was written. Raises `ValueError` for what no run has."""
    parameters: dict[str, Floats] = {}
    statistics: dict[str, dict[str, Floats]] = {}
    packed: dict[str, npt.NDArray[Any]] = {}
    episodes: dict[str, npt.NDArray[Any]] = {}
    normalization: dict[str, npt.NDArray[Any]] = {}
    constants: dict[str, npt.NDArray[Any]] = {}
    probe: dict[str, npt.NDArray[Any]] = {}
    for key, value in tensors.items():
        kind, _, name = key.partition("/")
        if kind == "parameters":
            parameters[name] = _finite(key, value, np.float32)
        elif kind == "optimizer":
            statistic, _, name = name.partition("/")
            statistics.setdefault(statistic, {})[name] = _finite(key, value, np.float32)
            if statistic in _NEVER_NEGATIVE and (value < 0).any():
                raise ValueError(f"{key!r} has numbers below 0")
        elif kind == "constants":
            constants[name] = value
        elif kind == "probe":
            probe[name] = value
        elif kind == "normalization":
            normalization[name] = _finite(key, value, np.float64)
        elif kind == "workers":
            packed[name] = value
        elif kind == "episodes":
            episodes[name] = value
        else:
            raise ValueError(f"nothing is known of {key!r}")
    if not parameters:
        raise ValueError("it has no parameters")
    return Checkpoint(
        config=stored_settings.upgrade(description.config),
        step=description.step,
        updates=description.updates,
        episodes=description.episodes,
        wall_seconds=description.wall_seconds,
        parameters=parameters,
        statistics=statistics,
        constants=constants,
        probe=_possible_probe(probe),
        normalization=_possible_moments(normalization),
        workers=_possible(_unpack(packed) if workers is None else workers),
        versions=description.versions,
        spaces=None if description.spaces is None else restored(description.spaces),
        changes=description.changes,
        skipped_updates=description.skipped_updates,
        recent_episodes=_recent(episodes),
    )


def _possible_probe(probe: dict[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
    """What a network made of observations. Raises `ValueError` for what none has."""
    if not probe:
        return probe
    kinds = {"observations": np.uint8, "outputs": np.float32}
    if {name: array.dtype for name, array in probe.items()} != {name: np.dtype(kind) for name, kind in kinds.items()}:
        raise ValueError("its probe must be observations and outputs")
    if any(array.ndim != 2 or len(array) != len(probe["outputs"]) for array in probe.values()):
        raise ValueError("its probe must have as many outputs as observations")
    return probe


def _finite(name: str, value: npt.NDArray[Any], dtype: type) -> npt.NDArray[Any]:
    if value.dtype != dtype:
        raise ValueError(f"{name!r} has numbers of another type")
    if not np.isfinite(value).all():
        raise ValueError(f"{name!r} has numbers that are not finite")
    return value


def _possible_moments(moments: dict[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
    """The moments. Raises `ValueError` for some that no run has."""
    unknown = set(moments) - {name for names in _MOMENTS.values() for name in names}
    if unknown:
        raise ValueError(f"nothing is known of normalization/{min(unknown)}")
    for kind, names in _MOMENTS.items():
        found = [moments[name] for name in names if name in moments]
        if not found:
            continue
        if len(found) != len(names):
            raise ValueError(f"its normalization lacks a part of {kind}")
        count, mean, squares = found
        if count.shape != (1,) or count[0] < 0 or mean.ndim != 1 or mean.shape != squares.shape or (squares < 0).any():
            raise ValueError(f"its normalization of {kind} is none that a run has")
    return moments


def _recent(episodes: Mapping[str, npt.NDArray[Any]]) -> list[tuple[float, int]]:
    if not episodes:
        return []
    if episodes.keys() != {"return", "length"}:
        raise ValueError("its episodes have other fields than return and length")
    returns, lengths = _finite("episodes/return", episodes["return"], np.float64), episodes["length"]
    if returns.shape != lengths.shape or returns.ndim != 1 or len(returns) > MOST_RECENT_EPISODES:
        raise ValueError(f"it must have as many returns as lengths of episodes, {MOST_RECENT_EPISODES} at most")
    if lengths.dtype != np.int64 or (lengths < 0).any():
        raise ValueError("the length of an episode is a whole number from 0")
    return list(zip(returns.tolist(), lengths.tolist(), strict=True))


def _possible(workers: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The workers' states. Raises `ValueError` for one that no worker has."""
    for i, worker in enumerate(workers):
        num_envs = len(worker["starts"])
        if num_envs == 0 or any(len(worker[name]) != num_envs for name in _OF_ENVIRONMENTS):
            raise ValueError(f"worker {i} has arrays of different lengths")
        if len(worker["recurrent_state"]) % num_envs or not 0 <= worker["random"] < 2**64:
            raise ValueError(f"worker {i} has a state that no worker has")
        if not set(worker["starts"]) <= {0, 1} or not all(0 <= length < 2**62 for length in worker["episode_length"]):
            raise ValueError(f"worker {i} has a state that no worker has")
        numbers = np.array(
            [*worker["episode_return"], *worker["discounted_return"], *worker["recurrent_state"]], np.float64
        )
        if not np.isfinite(numbers).all():
            raise ValueError(f"worker {i} has numbers that are not finite")
    return workers


def _hash(text: str, tensors: Mapping[str, npt.NDArray[Any]]) -> str:
    digest = hashlib.sha256(text.encode("utf-8"))
    for name, value in sorted(tensors.items()):
        digest.update(json.dumps([name, value.dtype.str, list(value.shape)]).encode("utf-8"))
        digest.update(np.ascontiguousarray(value).data.cast("B") if value.size else b"")
    return digest.hexdigest()


def _sentence(error: BaseException) -> str:
    return "it is nested too deeply" if isinstance(error, RecursionError) else str(error)


# Format 1: the tensors, and a JSON file beside them ------------------------------------------------------------------


def _load_format_1(path: Path, what: str, content: bytes, tensors: Mapping[str, npt.NDArray[Any]]) -> Checkpoint:
    json_path = path.with_suffix(".json")
    if not os.path.lexists(json_path):
        raise CheckpointError(f"{what} is none of a3c_fast, or of an earlier version and without its {json_path.name}")
    text = _read(json_path, what, _MOST_JSON_BYTES)
    try:
        values = json.loads(text)
        written = values.pop("sha256")
        canonical = json.dumps(values, sort_keys=True, separators=(",", ":"))
        whole = (
            written == hashlib.sha256(canonical.encode()).hexdigest()
            and values["tensors_sha256"] == hashlib.sha256(content).hexdigest()
        )
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise CheckpointError(f"{what} is damaged: its JSON is not what was written") from error
    if not whole:
        raise CheckpointError(f"{what} is damaged: its SHA-256 is not the one that was written with it")
    if values.get("format") != 1:
        raise CheckpointError(f"{what} has format {values.get('format')!r}, and a JSON beside it belongs to format 1")
    try:
        description = msgspec.json.decode(json.dumps(values, allow_nan=False), type=_Description1)
        return _checkpoint(description, tensors, _workers_1(description.workers))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{what} has contents that cannot be: {_sentence(error)}") from error


def _workers_1(workers: list[_Worker]) -> list[dict[str, Any]]:
    """The states of the workers; none for the first versions, which did not have all of them."""
    found = []
    for worker in workers:
        state = msgspec.structs.asdict(worker)
        if None in (worker.starts, worker.recurrent_state):
            return []
        zeros = [0.0] * len(worker.episode_return)
        found.append({**state, "env": bytes.fromhex(worker.env), "discounted_return": zeros})
    return found


# A directory of them -------------------------------------------------------------------------------------------------


def file_stem(step: int) -> str:
    """The name, without its ending, of the checkpoint of this step in a run's directory."""
    return f"step_{step:012d}"


def paths(directory: Path) -> list[Path]:
    """The checkpoints of a directory, oldest first; not yet checked. Regular files alone: nothing else is ours."""
    return [path for path in candidates(directory) if files.is_regular(path)]


def candidates(directory: Path) -> list[Path]:
    """What is named like a checkpoint, oldest first: links and other things, too, which are read and never changed."""
    return [path for _, path in _numbered(directory)]


def load_newest(directory: Path, *, warns: bool = True) -> Checkpoint:
    """The newest whole checkpoint of a directory; `warns` of each newer one that is damaged.

    Another process may write and delete there meanwhile. Raises `CheckpointError` when there is none, and when the
    newest is of a later version: that is no damage.
    """
    for _ in range(_MOST_LISTINGS):
        errors: list[CheckpointError] = []
        for step, path in reversed(_numbered(directory)):
            try:
                checkpoint = load(path)
                if checkpoint.step != step:
                    raise CheckpointError(f"checkpoint {shown(path)} is that of step {checkpoint.step}")
            except CheckpointError as error:
                if isinstance(error, _NewerError):
                    raise
                if not os.path.lexists(path):
                    break  # deleted since it was listed: a newer one is there, or nothing
                errors.append(error)
                continue
            for damage in errors if warns else []:
                warnings.warn(f"{damage}; going back to {path.name}", stacklevel=2)
            return checkpoint
        else:
            if errors:
                raise errors[0]
            break
    raise CheckpointError(f"{shown(directory)} holds no checkpoint")


def prune(directory: Path, keep: int) -> None:
    """Deletes all but the newest `keep` checkpoints."""
    for path in paths(directory)[:-keep]:
        if _has_json(path):  # first: tensors without it are no checkpoint
            path.with_suffix(".json").unlink(missing_ok=True)
        path.unlink(missing_ok=True)


def set_aside(directory: Path, step: int) -> None:
    """Renames the checkpoints beyond `step`, which a resume found damaged: they must not push whole ones out."""
    for number, path in _numbered(directory):
        if number <= step or not files.is_regular(path):
            continue
        has_json = _has_json(path)
        target = files.unused(path.with_name(f"damaged_{path.name}"))
        path.rename(target)
        if has_json:
            path.with_suffix(".json").rename(files.unused(target.with_suffix(".json")))


def _has_json(path: Path) -> bool:
    """Whether a checkpoint has a JSON of format 1 beside it. Another of that name is not ours."""
    try:
        beside = path.with_suffix(".json")
        return files.is_regular(beside) and b'"tensors_sha256"' in files.read(beside, _MOST_JSON_BYTES)
    except OSError:
        return False


def _numbered(directory: Path) -> list[tuple[int, Path]]:
    """What is named like a checkpoint, with its step, lowest first."""
    try:
        names = [path.name for path in directory.iterdir()]
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise CheckpointError(f"{shown(directory)} cannot be read: {error.strerror}") from error
    found = [(int(match[1]), directory / name) for name in names if (match := _NAME.fullmatch(name))]
    return sorted(found)
