"""Whether a program of another kind makes of observations what the policy makes of them."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch

from a3c_fast.envs.spec import ObservationSpec, Part, flattened
from a3c_fast.errors import ConfigError
from a3c_fast.exports.program import Program, dtype_of
from a3c_fast.torch_state import NewThreadTorch

if TYPE_CHECKING:
    from a3c_fast.config import Config
    from a3c_fast.exports.formats import Run
    from a3c_fast.observing import Policy

TOLERANCE = 1e-4
BATCHES = (1, 3, 64)
_ENVS = 4
_STREAM = 2**36  # of seeds: nobody else's
_MOST_BYTES = 2**28  # of observations


@dataclass(frozen=True)
class Observations:
    """Observations as an environment gives them, one batch after the other: `steps` of `num_envs` environments."""

    parts: dict[str, npt.NDArray[Any]]
    """By the parts' names, each [steps * num_envs, ...]."""
    num_envs: int
    origin: str
    """Where they come from, in words."""

    @property
    def count(self) -> int:
        """How many there are."""
        return len(next(iter(self.parts.values())))


@dataclass(frozen=True)
class Expected:
    """What the policy makes of observations."""

    inputs: list[torch.Tensor]
    """Of the program, the state that the policy itself had come to included, each [count, ...]."""
    outputs: list[torch.Tensor]
    num_envs: int


def played(policy: Policy, config: Config, count: int) -> Observations:
    """`count` observations, or a few more, of the environments of a run, which act at random, always the same ones.

    Raises as `a3c_fast.envs.random_play` where they cannot be made, and `ConfigError` where they are others now.
    """
    from a3c_fast import envs

    spec = envs.spec_of(config).observation
    if spec != policy.observation:
        raise ConfigError("env_id", config.env_id, f"the policy is for observations {policy.observation}")
    num_envs = envs.envs_at_once(config.env_id) or _ENVS
    steps = math.ceil(min(count, max(num_envs, _MOST_BYTES // spec.row_bytes)) / num_envs)
    play = envs.random_play(config, num_envs=num_envs, steps=steps, stream=_STREAM)
    rows = np.concatenate([np.array(batch) for batch in play])
    return Observations(_of_rows(spec, rows), num_envs, f"of {config.env_id}, played at random")


def drawn(policy: Policy, count: int, why: str) -> Observations:
    """`count` observations that no environment made, always the same ones."""
    numbers = np.random.default_rng(1)
    count = max(_ENVS, min(count, _MOST_BYTES // policy.observation.row_bytes)) // _ENVS * _ENVS
    parts = {part.name: _drawn(part, policy, numbers, count) for part in policy.observation.parts}
    return Observations(parts, _ENVS, f"drawn at random, {why}")


def given(policy: Policy, observations: Any) -> Observations:
    """Those of the caller, [N, ...] as the environment gives them. Raises as `Policy.forward`."""
    with torch.no_grad():
        policy(observations)  # looks at their parts, types and shapes
    leaves = {name: np.asarray(value) for name, value in flattened(observations)}
    parts = {}
    for part in policy.observation.parts:
        array = leaves[part.name].astype(part.dtype)
        parts[part.name] = array[None] if array.shape == part.shape else array
    return Observations(parts, 1, "of the caller")


def expected(policy: Policy, program: Program, observations: Observations) -> Expected:
    """The policy's own outputs. Where it is recurrent each environment's state goes on from step to step."""
    num_envs = observations.num_envs
    states, results = [], []
    with NewThreadTorch(), torch.no_grad(), one_thread():
        state = policy.initial_state(num_envs)
        for first in range(0, observations.count, num_envs):
            batch: Any = {name: array[first : first + num_envs] for name, array in observations.parts.items()}
            states.append(state)
            outputs, value, state = policy.step(batch[""] if list(batch) == [""] else batch, state)
            heads = outputs.chunk(2, 1) if policy.action.is_continuous else (outputs,)
            results.append((*heads, value, state)[: len(program.outputs)])
    inputs = [
        torch.from_numpy(np.ascontiguousarray(observations.parts[part.name])).to(dtype_of(port))
        for part, port in zip(policy.observation.parts, program.inputs, strict=False)
    ]
    if policy.state_size:
        inputs.append(torch.cat(states))
    return Expected(inputs, [torch.cat(column) for column in zip(*results, strict=True)], num_envs)


def difference(run: Run, wanted: Expected, batch: int) -> float:
    """The largest of any output for all observations, `batch` at a time; infinite where one is not finite.

    Absolute, and where the policy's own number is beyond 1 as a share of it.
    """
    count, worst = len(wanted.inputs[0]), 0.0
    for first in range(0, count, batch):
        found = run([x[first : first + batch] for x in wanted.inputs])
        worst = max(worst, _largest(found, [x[first : first + batch] for x in wanted.outputs]))
    return worst


def difference_over_time(run: Run, wanted: Expected) -> float:
    """As `difference`, of a recurrent program that goes on with its own states from the first step to the last."""
    state, worst = torch.zeros_like(wanted.inputs[-1][: wanted.num_envs]), 0.0
    for first in range(0, len(wanted.inputs[0]), wanted.num_envs):
        part = slice(first, first + wanted.num_envs)
        found = run([*(x[part] for x in wanted.inputs[:-1]), state])
        worst = max(worst, _largest(found, [x[part] for x in wanted.outputs]))
        state = found[-1]
    return worst


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Few observations at a time are no work for several, which on busy cores wait for each other without an end."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _largest(found: Sequence[torch.Tensor], wanted: Sequence[torch.Tensor]) -> float:
    worst = 0.0
    for ours, theirs in zip(found, wanted, strict=True):
        if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
            return math.inf
        if theirs.numel():
            error = float(((ours.detach() - theirs).abs() / theirs.abs().clamp(min=1)).max())
            worst = max(worst, error if math.isfinite(error) else math.inf)
    return worst


def _of_rows(spec: ObservationSpec, rows: npt.NDArray[np.uint8]) -> dict[str, npt.NDArray[Any]]:
    """Observations as the environment gave them, of what the core made of them."""
    numbers, count = spec.numbers_of(rows), len(rows)
    parts: dict[str, npt.NDArray[Any]] = {}
    for part in spec.parts:
        if part.is_array:
            array: npt.NDArray[Any] = spec.array_of(rows)
            array = array.transpose(0, 2, 3, 1) if part.kind == "channels_last" else array
        else:
            array = numbers[:, part.position : part.position + part.num_features]
            if part.kind == "one_hot":
                array = array.reshape(count, -1, part.values).argmax(-1) + part.first
            elif part.scale != 1:
                array = np.rint(array.astype(np.float64) / part.scale)
            array = array.reshape(count, *part.shape)
        parts[part.name] = np.ascontiguousarray(array, np.dtype(part.dtype))
    return parts


def _drawn(part: Part, policy: Policy, numbers: np.random.Generator, count: int) -> npt.NDArray[Any]:
    shape, dtype = (count, *part.shape), np.dtype(part.dtype)
    if part.kind == "one_hot":
        return numbers.integers(part.first, part.first + part.values, shape).astype(dtype)
    if dtype.kind == "b":
        return numbers.integers(0, 2, shape).astype(dtype)
    if dtype.kind in "iu":
        most = round(1 / part.scale) if part.scale != 1 else min(255, np.iinfo(dtype).max)
        return numbers.integers(0, most, shape, endpoint=True).astype(dtype)
    values = numbers.normal(size=shape)
    if policy.normalize_observations and not part.is_array:  # near what the run saw
        chosen = slice(part.position, part.position + part.num_features)
        mean, variance = (x[chosen].numpy(force=True) for x in (policy.observation_mean, policy.observation_variance))
        values = (values.reshape(count, -1) * np.sqrt(variance) + mean).reshape(shape)
    return values.astype(dtype)
