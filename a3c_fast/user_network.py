"""`UserNetwork`: a network of the user's own, exported for the workers and held to itself before they run it.

Every refusal is a `ConfigError` in one sentence.
"""

from __future__ import annotations

import copy
import math
import threading
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from a3c_fast import _core
from a3c_fast.envs.spec import EnvSpec
from a3c_fast.errors import CheckpointError, ConfigError
from a3c_fast.lowering import Constants, Graph, RefusedError, line_of
from a3c_fast.memory import Sizes
from a3c_fast.network_factory import make
from a3c_fast.observing import FLOATS, observation_buffers
from a3c_fast.policy import to_flat, to_named
from a3c_fast.user_policy import Rows, UserPolicy, first_call

if TYPE_CHECKING:
    from a3c_fast.checkpoint import Checkpoint
    from a3c_fast.config import Config

_LINE = 16  # floats in a cache line
_FEW = 5  # observations for what is checked before it is exported
# How far what the workers run may be from the module, as a share: roundings flip a ReLU here and there.
_OUTPUT_TOLERANCE, _GRADIENT_TOLERANCE = 1e-3, 1e-2

_exporting = threading.Lock()  # torch.export is for one thread of the process at a time


class UserNetwork:
    """A module, and what the workers run of it: `core`, a `_core.ExportedNetwork`, once it has been exported."""

    core: Any = None
    elements = 0
    """Of the tensors that a forward pass makes for one observation."""

    def __init__(self, config: Config, spec: EnvSpec) -> None:
        """Makes the module; the observations have been measured. Raises `ConfigError`."""
        assert config.network is not None
        self.name = config.network
        self.spec = spec
        self.module = make(self.name, config, spec)
        self.state_size = int(getattr(self.module, "state_size", 0))
        self.trained = {name: p for name, p in self.module.named_parameters() if p.requires_grad}
        for name in ("observation_mean", "observation_variance"):
            if config.normalize_observations and name in self.module.state_dict():
                reason = f"its {name} has the name of what observations are normalized by: call it something else"
                raise ConfigError("network", self.name, reason)

    def constants(self) -> dict[str, torch.Tensor]:
        """What a state_dict() of the module has beside what is trained: frozen parameters and buffers, as copies."""
        trained = {id(parameter) for parameter in self.trained.values()}
        return {
            name: value.detach().clone()
            for name, value in self.module.state_dict(keep_vars=True).items()
            if isinstance(value, torch.Tensor) and id(value) not in trained
        }

    def stored_constants(self) -> dict[str, npt.NDArray[Any]]:
        """As a checkpoint has them."""
        return {name: _stored(value) for name, value in self.constants().items()}

    def sizes(self) -> Sizes:
        """What a run's memory depends on, once it has been exported."""
        sizes = [parameter.numel() for parameter in self.trained.values()]
        return Sizes(parameters=sum(sizes), largest=max(sizes), elements=self.elements)

    def without_constants(self, state: Mapping[str, Any]) -> Mapping[str, Any]:
        """What is trained of a state_dict(). Raises `ValueError` where the rest is not as it is in this network: the
        workers have it as constants."""
        if not isinstance(state, Mapping):
            return state  # who reads it refuses it
        constants, tied = self.constants(), self.tied()
        for name in constants.keys() & state.keys():
            if not np.array_equal(
                _stored(constants[name]), np.asarray(state[name]).astype(_stored(constants[name]).dtype)
            ):
                raise ValueError(f"its {name} is not trained and differs from the network's: give the network with it")
        return {name: value for name, value in state.items() if name not in constants and name not in tied}

    def tied(self) -> dict[str, str]:
        """Further names of what is trained -> its first one."""
        first = {id(parameter): name for name, parameter in self.trained.items()}
        everything = self.module.named_parameters(remove_duplicate=False)
        return {name: first[id(p)] for name, p in everything if id(p) in first and name != first[id(p)]}

    def load_constants(self, stored: Mapping[str, npt.NDArray[Any]]) -> None:
        """Those of a checkpoint. Raises `CheckpointError` where they are another network's."""
        load_constants(self.module, self.constants(), stored)

    def export(self, batches: Iterable[int]) -> None:
        """Makes `core`, for each of these numbers of observations. Raises `ConfigError`."""
        with _exporting:
            self._export_for(sorted(set(batches)))

    def _export_for(self, batches: list[int]) -> None:
        try:
            self._check_forward()
            images = len(self.spec.observation.array_shape) == 3
            # Convolutions run fastest over channels-last memory; view() after one cannot, and wants the other.
            for channels_last in (True, False) if images else (False,):
                try:
                    self._export(batches, channels_last)
                    self._compare_with_module(self.example(min(batches)))
                    return
                except RefusedError:
                    if not channels_last:
                        raise
        except RefusedError as reason:
            raise ConfigError("network", self.name, str(reason)) from reason

    def compare(self, rows: npt.NDArray[np.uint8]) -> None:
        """Holds what the workers run to the module itself, on observations as the core has them, [N, row_bytes], N one
        of the numbers it was exported for. Raises `ConfigError` where outputs or gradients differ."""
        spec = self.spec.observation
        inputs = []
        if spec.array_shape:
            inputs.append(torch.from_numpy(np.array(spec.array_of(rows))))
        if spec.num_features:
            inputs.append(torch.from_numpy(np.array(spec.numbers_of(rows))))
        if self.state_size:
            inputs.append(self.example(len(rows))[-1])
        try:
            self._compare_with_module(tuple(inputs))
        except RefusedError as reason:
            raise ConfigError("network", self.name, str(reason)) from reason

    def example(self, count: int) -> tuple[torch.Tensor, ...]:
        """Random inputs of `Rows`, always the same."""
        spec, generator = self.spec.observation, torch.Generator("cpu").manual_seed(count)
        inputs = []
        if spec.array_shape:
            shape = (count, *spec.array_shape)
            if spec.array_type == "uint8":
                inputs.append(torch.randint(0, 256, shape, dtype=torch.uint8, device="cpu", generator=generator))
            else:
                inputs.append(torch.randn(shape, generator=generator, **FLOATS))
        if spec.num_features:
            inputs.append(self._numbers(torch.randn(count, spec.num_features, generator=generator, **FLOATS)))
        if self.state_size:
            inputs.append(0.1 * torch.randn(count, self.state_size, generator=generator, **FLOATS))
        return tuple(inputs)

    def _numbers(self, numbers: torch.Tensor) -> torch.Tensor:
        """Random numbers with those of whole numbers as they come: one of them 1, the others 0."""
        for part in self.spec.observation.parts:
            if part.kind == "one_hot":
                chosen = numbers[:, part.position : part.position + part.num_features]
                chosen = chosen.view(len(numbers), -1, part.values)
                chosen.copy_(nn.functional.one_hot(chosen.argmax(-1), part.values))
        return numbers

    def _check_forward(self) -> None:
        """Raises `RefusedError` for a forward() that is no function of each observation by itself."""
        try:
            module = copy.deepcopy(self.module)
        except Exception as error:
            raise RefusedError(f"it cannot be copied: {line_of(error)}") from error
        inputs = self.example(_FEW)
        buffers = {name: value.clone() for name, value in module.named_buffers()}
        found = first_call(module, self.spec, inputs)
        for name, value in module.named_buffers():
            if name in buffers and not torch.equal(value, buffers[name]):
                raise RefusedError(f"its forward() changes its buffer {name}: workers share parameters alone")
        again = first_call(module, self.spec, inputs)
        if not all(torch.equal(a, b) for a, b in zip(found, again, strict=True)):
            raise RefusedError(
                "its forward() gives something else the second time: it must depend on the observations alone, and "
                "what is remembered must go through its state"
            )
        fewer = first_call(module, self.spec, tuple(x[:2] for x in inputs))
        if not all(torch.allclose(a[:2], b, atol=1e-4, rtol=1e-3) for a, b in zip(found, fewer, strict=True)):
            raise RefusedError("what its forward() makes of an observation depends on those beside it")

    def _in_memory_order(self, channels_last: bool) -> nn.Module:
        module = copy.deepcopy(self.module)
        return module.to(memory_format=torch.channels_last) if channels_last else module  # type: ignore[call-overload]

    def _export(self, batches: list[int], channels_last: bool) -> None:
        module = self._in_memory_order(channels_last)
        self.specs, offset, flat = [], 0, []
        for name, parameter in module.named_parameters():
            if not parameter.requires_grad:
                continue  # a constant
            last = channels_last and parameter.dim() == 4
            self.specs.append((name, tuple(parameter.shape), last, offset))
            values = (parameter.permute(0, 2, 3, 1) if last else parameter).detach().reshape(-1).numpy()
            flat.append(np.pad(values, (0, -values.size % _LINE)))
            offset += flat[-1].size
        self.size, self.channels_last = offset, channels_last
        core = _core.ExportedNetwork(
            parameters=self.specs,
            initial=np.concatenate(flat),
            state_size=self.state_size,
            channels_last=channels_last,
        )
        constants = Constants(core)
        rows = Rows(module, self.spec)
        trained = [f"network.{name}" for name, *_ in self.specs]
        for count in batches:
            graph = Graph(rows, self._in_core_order(self.example(count)), trained, constants)
            core.add_graph(
                num_observations=count,
                num_slots=graph.num_slots,
                inputs=graph.inputs,
                outputs=graph.outputs,
                constants=graph.constants,
                calls=graph.calls,
            )
            self.elements = max(self.elements, math.ceil(graph.elements / count))
        self.core = core

    def _in_core_order(self, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        """The image as the core brings it."""
        if not self.channels_last:
            return inputs
        return (inputs[0].contiguous(memory_format=torch.channels_last), *inputs[1:])

    def _compare_with_module(self, inputs: tuple[torch.Tensor, ...]) -> None:
        """Outputs, the next state, and the gradients of a random combination of outputs and values."""
        count = len(inputs[0])
        network = self._core_network(count)
        module = self._in_memory_order(self.channels_last)
        rows = Rows(module, self.spec)
        tensors = inputs[: len(inputs) - bool(self.state_size)]
        observations, starts = self._rows_of(tensors), np.ones(count, np.uint8)
        generator = torch.Generator("cpu").manual_seed(0)
        d_outputs = torch.randn(count, self.spec.action.num_outputs, generator=generator, **FLOATS) / count
        d_values = torch.randn(count, generator=generator, **FLOATS) / count
        given = self._in_core_order(tensors)
        if self.state_size:  # two steps: the first begins an episode, the second goes on with its state
            with torch.no_grad():
                state = rows(*given, torch.zeros(count, self.state_size, **FLOATS))[2]
            _act(network, observations, starts)
            starts, given = np.zeros(count, np.uint8), (*given, state)
        found = _act(network, observations, starts)
        with torch.enable_grad():
            expected = rows(*given)
            parameters = {name: p for name, p in module.named_parameters() if p.requires_grad}
            results, d_results = _that_need_gradients(expected, (d_outputs, d_values))
            if not results:
                raise RefusedError("no output of its forward() depends on a parameter that is trained")
            gradients = torch.autograd.grad(results, list(parameters.values()), d_results, allow_unused=True)
        for what, ours, theirs in zip(("outputs", "values"), found, expected, strict=False):
            if _difference(ours, theirs.detach().numpy()) > _OUTPUT_TOLERANCE:
                raise RefusedError(f"its exported graph gives other {what} than the module itself")
        flat, _ = network.gradients(observations, d_outputs.numpy(), d_values.numpy())
        named = to_named(flat, self.specs)
        norms = [float(gradient.norm()) for gradient in gradients if gradient is not None]
        least = 1e-4 * math.sqrt(sum(norm**2 for norm in norms))
        for name, theirs in zip(parameters, gradients, strict=True):
            wanted = np.zeros_like(named[name]) if theirs is None else theirs.numpy()
            if _difference(named[name], wanted, least) > _GRADIENT_TOLERANCE:
                raise RefusedError(
                    f"its exported graph has another gradient at {name} than the module itself: torch.export keeps no "
                    "backward() of a torch.autograd.Function; write it with torch's own functions"
                )

    def _core_network(self, num_envs: int) -> Any:
        model = _core.ModelConfig(
            kind="mlp",  # of no meaning here
            observation=self.spec.observation.core(),
            num_outputs=self.spec.action.num_outputs,
            hidden_sizes=[],
            exported=self.core,
        )
        network = _core.Network(model, num_envs)
        values = {name: p.detach().numpy() for name, p in self.trained.items()}
        network.set_parameters(to_flat(values, self.specs, self.size))
        return network

    def _rows_of(self, tensors: tuple[torch.Tensor, ...]) -> npt.NDArray[np.uint8]:
        """The inverse of what the core makes of rows."""
        spec = self.spec.observation
        rows = np.zeros((len(tensors[0]), spec.row_bytes), np.uint8)
        given = list(tensors)
        if spec.array_shape:
            spec.array_of(rows)[:] = given.pop(0).numpy()
        if spec.num_features:
            spec.numbers_of(rows)[:] = given.pop(0).numpy()
        return rows


def _stored(value: torch.Tensor) -> npt.NDArray[Any]:
    value = value.detach().cpu()
    if value.is_floating_point():
        value = value if value.dtype == torch.float64 else value.float()
    else:
        value = value.to(torch.uint8 if value.dtype in (torch.bool, torch.uint8) else torch.int64)
    array: npt.NDArray[Any] = value.contiguous().numpy()
    return array


def load_constants(
    module: nn.Module, constants: Mapping[str, torch.Tensor], stored: Mapping[str, npt.NDArray[Any]]
) -> None:
    """Puts what was stored in the place of `constants`, which are the module's. Raises `CheckpointError`."""
    if {name: tuple(value.shape) for name, value in constants.items()} != {
        name: value.shape for name, value in stored.items()
    }:
        raise CheckpointError("the checkpoint is of another network: its frozen parameters and buffers are others")
    with _core.NewThreadTorch(), torch.no_grad():
        tensors = {name: torch.from_numpy(np.array(stored[name])).to(constants[name].dtype) for name in stored}
        module.load_state_dict(tensors, strict=False)


def policy_of(
    module: nn.Module, spec: EnvSpec, state: Mapping[str, torch.Tensor], *, normalize_observations: bool
) -> UserPolicy:
    """A copy of the module with these parameters, and the moments of observations where it is given normalized ones."""
    policy = UserPolicy(
        copy.deepcopy(module), spec.observation, spec.action, normalize_observations=normalize_observations
    )
    buffers = {name: value for name, value in state.items() if name in dict(policy.named_buffers(recurse=False))}
    with _core.NewThreadTorch():
        policy.load_state_dict(buffers, strict=False)
        policy.network.load_state_dict(
            {name: value for name, value in state.items() if name not in buffers}, strict=False
        )
    return policy


def stored_policy(checkpoint: Checkpoint, config: Config, spec: EnvSpec) -> UserPolicy:
    """The policy of a checkpoint whose network is the user's own. Raises `CheckpointError` where it is another one."""
    network = UserNetwork(config, spec)
    network.load_constants(checkpoint.constants)
    found = {name: value.shape for name, value in checkpoint.parameters.items()}
    if found != {name: tuple(parameter.shape) for name, parameter in network.trained.items()}:
        raise CheckpointError(f"the checkpoint is of another network than {config.network} makes for {config.env_id}")
    state = dict(checkpoint.parameters)
    normalizes = config.normalize_observations and "observation_count" in checkpoint.normalization
    if normalizes:
        state |= observation_buffers(checkpoint.normalization)
    with _core.NewThreadTorch():
        tensors = {name: torch.from_numpy(np.array(value)) for name, value in state.items()}
    return policy_of(network.module, spec, tensors, normalize_observations=normalizes)


def _that_need_gradients(
    tensors: tuple[torch.Tensor, ...], gradients: tuple[torch.Tensor, ...]
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    pairs = [(tensor, gradient) for tensor, gradient in zip(tensors, gradients, strict=False) if tensor.requires_grad]
    return [tensor for tensor, _ in pairs], [gradient for _, gradient in pairs]


def _act(network: Any, observations: npt.NDArray[np.uint8], starts: npt.NDArray[np.uint8]) -> Any:
    try:
        return network.act(observations, starts)
    except (RuntimeError, ValueError) as error:
        raise RefusedError(f"no worker can run its exported graph: {line_of(error)}") from error


def _difference(ours: npt.NDArray[Any], theirs: npt.NDArray[Any], least: float = 1e-6) -> float:
    """As a share of theirs, infinite where either is not finite."""
    error = float(np.linalg.norm((ours - theirs).astype(np.float64)) / (np.linalg.norm(theirs) + least))
    return error if math.isfinite(error) else math.inf
