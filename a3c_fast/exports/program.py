"""`Program`: a policy as a function of tensors alone, which torch.export can follow for any number of observations."""

from __future__ import annotations

import copy
import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from a3c_fast.envs.spec import ActionSpec, EnvSpec, ObservationSpec, stored
from a3c_fast.errors import ConfigError
from a3c_fast.lowering import RefusedError, line_of, silent
from a3c_fast.observing import Policy, encoded
from a3c_fast.torch_state import NewThreadTorch
from a3c_fast.user_network import exporting
from a3c_fast.user_policy import UserPolicy

_TRACED = 3  # observations while torch.export follows: of one it could take the dimension for a constant


@dataclass(frozen=True)
class Port:
    """A tensor that goes into a program or comes out of it: [N, *shape]."""

    name: str
    dtype: str
    """As NumPy names it."""
    shape: tuple[int, ...]

    def stored(self) -> dict[str, Any]:
        """As JSON."""
        return {"name": self.name, "dtype": self.dtype, "shape": [None, *self.shape]}


def inputs_of(observation: ObservationSpec, state_size: int) -> tuple[Port, ...]:
    """The parts of observations in their order, as the environment gives them, and the state where there is one."""
    parts = [
        Port(f"observations.{part.name}" if part.name else "observations", part.dtype, part.shape)
        for part in observation.parts
    ]
    return (*parts, Port("state", "float32", (state_size,))) if state_size else tuple(parts)


def outputs_of(action: ActionSpec, state_size: int) -> tuple[Port, ...]:
    """What the distribution of actions is made of, the value, and the next state where there is one."""
    if action.is_continuous:
        ports = [Port("mean", "float32", (action.size,)), Port("log_std", "float32", (action.size,))]
    else:
        ports = [Port("logits", "float32", (action.num_outputs,))]
    ports.append(Port("value", "float32", ()))
    return (*ports, Port("next_state", "float32", (state_size,))) if state_size else tuple(ports)


class Program(nn.Module):
    """A policy that takes and returns tensors by `inputs` and `outputs`, in their order.

    It looks at nothing that it is given: who runs it in another program gives it the right types and shapes.
    """

    def __init__(self, policy: Policy) -> None:
        super().__init__()
        self.policy = policy
        self.inputs = inputs_of(policy.observation, policy.state_size)
        self.outputs = outputs_of(policy.action, policy.state_size)

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Tensors [N, ...] -> tensors [N, ...]."""
        array, numbers = None, []
        for part, x in zip(self.policy.observation.parts, inputs, strict=False):
            given = encoded(x, part, torch.float32)
            if part.is_array:
                array = given if given.dtype == torch.uint8 else given.float()
            else:
                numbers.append(given)
        state = inputs[-1] if self.policy.state_size else inputs[0].new_empty(0, dtype=torch.float32)
        joined = torch.cat(numbers, 1) if numbers else None
        outputs, value, state = self.policy._step(array, joined, state)
        heads = outputs.chunk(2, 1) if self.policy.action.is_continuous else (outputs,)
        return (*heads, value, state)[: len(self.outputs)]

    def exported(self) -> torch.export.ExportedProgram:
        """For any number of observations. Raises `ConfigError` for a network that no graph can be made of."""
        program = copy.deepcopy(self).requires_grad_(False)
        batch = torch.export.Dim("batch", min=1)
        fast_attention = torch.backends.mha.get_fastpath_enabled()
        with exporting, NewThreadTorch(), warnings.catch_warnings(), silent():
            warnings.simplefilter("ignore")
            example = tuple(torch.zeros(_TRACED, *port.shape, dtype=dtype_of(port)) for port in self.inputs)
            # It is one operator, which neither ONNX nor AOTInductor has.
            torch.backends.mha.set_fastpath_enabled(False)
            try:
                found = torch.export.export(
                    program, example, dynamic_shapes=(tuple({0: batch} for _ in example),), strict=False
                )
            except Exception as error:
                said = str(error) if isinstance(error, RefusedError) else line_of(error)
                allowed = f"no graph of it can be made for every number of observations: {said}"
                raise ConfigError("network", _named(self.policy), allowed) from error
            finally:
                torch.backends.mha.set_fastpath_enabled(fast_attention)
        for node in found.graph.nodes:
            node.meta.pop("stack_trace", None)  # files and lines of this machine
        return found


def dtype_of(port: Port) -> torch.dtype:
    """As torch names it."""
    dtype: torch.dtype = getattr(torch, np.dtype(port.dtype).name)
    return dtype


def facts(program: Program, about: Mapping[str, Any]) -> dict[str, Any]:
    """What a file says of itself beside `about`, as JSON has it."""
    policy = program.policy
    found: dict[str, Any] = {
        "metadata_format": 1,
        **about,
        "inputs": [port.stored() for port in program.inputs],
        "outputs": [port.stored() for port in program.outputs],
        "spaces": stored(EnvSpec(policy.observation, policy.action)),
    }
    return dict(json.loads(json.dumps(found)))


def _named(policy: Policy) -> str:
    return type(policy.network if isinstance(policy, UserPolicy) else policy).__name__
