"""`export`: a trained policy as a file that other programs run, held to the policy before it has its name."""

from __future__ import annotations

import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from a3c_fast import files, stored_settings, values
from a3c_fast.errors import ConfigError
from a3c_fast.exports import agreement
from a3c_fast.exports.formats import FORMATS, Format, facts_of, failed, quiet
from a3c_fast.exports.program import Program, facts
from a3c_fast.loading import loaded
from a3c_fast.observing import Policy
from a3c_fast.paths import shown
from a3c_fast.torch_state import NewThreadTorch
from a3c_fast.user_network import exporting

if TYPE_CHECKING:
    from a3c_fast.checkpoint import Checkpoint

NUM_OBSERVATIONS = 320


@dataclass(frozen=True)
class Exported:
    """A file that was made, and how near it is to the policy."""

    path: Path
    format: str
    facts: dict[str, Any]
    """What the file says of itself: docs/export.md."""
    difference: float
    """The largest of any output between the file, loaded again, and the policy, for 1, 3 and 64 observations at a time,
    and for recurrent ones also from step to step; as a share where the policy's own number is beyond 1."""
    num_observations: int
    origin: str
    """Of these observations, in words."""


def export(
    source: str | os.PathLike[str] | Policy,
    output: str | os.PathLike[str] | None = None,
    *,
    format: str = "onnx",  # noqa: A002
    observations: Any = None,
    network: Any = None,
    draw: bool = False,
) -> Exported:
    """Writes a trained policy to a file that runs without a3c_fast: `onnx`, `torch.export` or `aoti`.

        a3c_fast.export("runs/pong", "pong.onnx")

    `source` is a run directory, a checkpoint, or a policy as `load_policy` and `Trainer.policy()` return it. Without
    `output` the file is policy.onnx, policy.pt2 or policy.aoti.pt2 beside the checkpoints, or in the working directory
    for a checkpoint alone; a policy needs one. What goes in and comes out is in docs/export.md.

    The file is loaded and compared with the policy: on `observations` [N, ...] as the environment gives them, or on 320
    of the run's own environments, which are played at random, or on random numbers, with `draw` and where the
    environments cannot be made. `network` is as for `load_policy`.

    Raises `ConfigError` for settings that cannot be, a network that cannot be exported, and where `output` is a file
    that a3c_fast has not exported; as `load_policy`; `ImportError` and `RuntimeError` where ONNX or a compiler is not
    installed; `RuntimeError` for a difference of more than 1e-4; `OSError`. Then nothing has been written.
    """
    kind = FORMATS.get(format)
    if kind is None:
        raise ConfigError("format", format, f"it must be one of {', '.join(FORMATS)}")
    if isinstance(source, Policy) and output is None:
        raise ConfigError("output", None, "it must be given for a policy, which has no directory")
    path = _output(source, output, kind)
    kind.check()
    checkpoint = None
    if isinstance(source, Policy):
        policy = source
    else:
        policy, checkpoint = loaded(source, network=network)
    _check_policy(policy)
    program = Program(policy)
    sample = _observations(policy, checkpoint, observations, draw=draw)
    about = facts(program, {"format": format, **_about(checkpoint)})
    exported = program.exported()
    with tempfile.TemporaryDirectory(prefix="a3c_fast_") as directory:
        made = Path(directory) / f"policy{kind.suffix}"
        with exporting, NewThreadTorch(), quiet():
            try:
                kind.write(exported, program, json.dumps(about), made)
                run = kind.load(made)
            except Exception as error:
                reason = f"its network cannot be exported to {format}: {failed(kind, error)}"
                raise ConfigError("format", format, reason) from error
        difference = _difference(run, policy, program, sample)
        if not difference <= agreement.TOLERANCE:
            raise RuntimeError(
                f"the exported program differs from the policy by {difference:.2g}, more than {agreement.TOLERANCE:g}, "
                f"on {sample.count} observations {sample.origin}: nothing was written"
            )
        files.write(path, made.read_bytes())
    return Exported(path, format, about, difference, sample.count, sample.origin)


def _output(source: Any, output: Any, kind: Format) -> Path:
    """Where the file goes. Raises `ConfigError` where it cannot."""
    if output is None:
        place = Path(source).expanduser()
        output = (place if place.is_dir() else Path()) / kind.default_name
    path = values.path(output)
    if not isinstance(path, Path):
        raise ConfigError("output", output, "it must be a path")
    if path.suffix != kind.suffix:
        raise ConfigError("output", str(output), f"the name of a file of {kind.name} ends in {kind.suffix}")
    if not path.parent.is_dir():
        raise ConfigError("output", str(output), f"{shown(path.parent)} is no directory")
    if os.path.lexists(path) and (not files.is_regular(path) or facts_of(path) is None):
        raise ConfigError("output", str(output), "there is something that a3c_fast has not exported: give another name")
    return path


def _check_policy(policy: Policy) -> None:
    like = policy._like()
    if like.dtype != torch.float32 or like.device.type != "cpu":
        raise ConfigError("source", f"{like.dtype} on {like.device}", "a policy is exported in float32 from the CPU")


def _about(checkpoint: Checkpoint | None) -> dict[str, Any]:
    from importlib import metadata

    versions = {"a3c_fast": metadata.version("a3c-fast"), "torch": torch.__version__}
    if checkpoint is None:
        return {"env_id": None, "step": None, "network": None, "versions": versions}
    settings = stored_settings.network(checkpoint.config)
    network = settings.network or settings.model
    return {"env_id": settings.env_id, "step": checkpoint.step, "network": network, "versions": versions}


def _observations(
    policy: Policy, checkpoint: Checkpoint | None, observations: Any, *, draw: bool
) -> agreement.Observations:
    if observations is not None:
        return agreement.given(policy, observations)
    if draw:
        return agreement.drawn(policy, NUM_OBSERVATIONS, "as was asked for")
    if checkpoint is None:
        return agreement.drawn(policy, NUM_OBSERVATIONS, "as a policy does not know its environment")
    try:
        config = checkpoint.measured(stored_settings.playing(checkpoint.config))
        return agreement.played(policy, config, NUM_OBSERVATIONS)
    except (ConfigError, ImportError, RuntimeError, OSError) as error:
        return agreement.drawn(policy, NUM_OBSERVATIONS, f"as the environment cannot be played here ({error})")


def _difference(run: Any, policy: Policy, program: Program, sample: agreement.Observations) -> float:
    wanted = agreement.expected(policy, program, sample)
    with NewThreadTorch(), torch.no_grad(), agreement.one_thread():
        found = [agreement.difference(run, wanted, batch) for batch in agreement.BATCHES]
        if policy.state_size:
            found.append(agreement.difference_over_time(run, wanted))
    return max(found)
