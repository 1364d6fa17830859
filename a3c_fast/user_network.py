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

from a3c_fast.envs.spec import EnvSpec, ObservationSpec
from a3c_fast.errors import CheckpointError, ConfigError
from a3c_fast.lowering import Constants, Graph, RefusedError, line_of
from a3c_fast.memory import Sizes
from a3c_fast.network_checks import check_forward, state_size_of
from a3c_fast.network_factory import make
from a3c_fast.observing import FLOATS, observation_buffers
from a3c_fast.policy import to_flat, to_named
from a3c_fast.torch_state import NewThreadTorch
from a3c_fast.user_policy import Rows, UserPolicy

if TYPE_CHECKING:
    from a3c_fast.checkpoint import Checkpoint
    from a3c_fast.config import Config
    from a3c_fast.stored_settings import NetworkSettings

_LINE = 16  # floats in a cache line
_PROBED = 5  # observations of which a checkpoint keeps what the network made
_PROBE_TOLERANCE = 1e-2
# How far what the workers run may be from the module, as a share: roundings flip a ReLU here and there.
_OUTPUT_TOLERANCE, _GRADIENT_TOLERANCE = 1e-3, 1e-2

exporting = threading.Lock()  # torch.export is for one thread of the process at a time


class UserNetwork:
    """A module, and what the workers run of it: `core`, a `_core.ExportedNetwork`, once it has been exported."""

    core: Any = None
    elements = 0
    """Of the tensors that a forward pass makes for one observation."""

    def __init__(self, config: Config | NetworkSettings, spec: EnvSpec) -> None:
        """Makes the module; the observations have been measured. Raises `ConfigError`."""
        assert config.network is not None
        self.name = config.network
        self.spec = spec
        self.module = make(self.name, config, spec)
        self.state_size = state_size_of(self.module)
        self.trained = {name: p for name, p in self.module.named_parameters() if p.requires_grad}
        for name in ("observation_mean", "observation_variance"):
            if config.normalize_observations and name in dict(self.module.named_buffers()):
                reason = f"its {name} has the name of what observations are normalized by: call it something else"
                raise ConfigError("network", self.name, reason)

    def constants(self) -> dict[str, torch.Tensor]:
        """What a state_dict() of the module has beside what is trained: frozen parameters and buffers, as copies."""
        trained = {id(parameter) for parameter in self.trained.values()}
        return {
            name: value.detach().clone()
            for name, value in nn.Module.state_dict(self.module, keep_vars=True).items()
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

    def export(self, batches: Iterable[int], rows: npt.NDArray[np.uint8] | None = None) -> None:
        """Makes `core`, for each of these numbers of observations. Raises `ConfigError`.

        `rows` are observations as the core has them, as many as the largest of `batches`, by which the module is
        judged: of the environment, or random ones where there are none.
        """
        batches = sorted(set(batches))
        self._inputs = self._random_inputs(batches[-1]) if rows is None else self._inputs_of(rows)
        try:
            with exporting:
                check_forward(self.module, self.spec, self._inputs, batches)
                images = len(self.spec.observation.array_shape) == 3
                # Convolutions run fastest over channels-last memory; view() after one cannot, and wants the other.
                for channels_last in (True, False) if images else (False,):
                    try:
                        self._export(batches, channels_last)
                        self._compare_with_module(batches[0])
                        return
                    except RefusedError:
                        if not channels_last:
                            raise
        except RefusedError as reason:
            raise ConfigError("network", self.name, str(reason)) from reason
        except Exception as error:
            raise ConfigError("network", self.name, f"no graph can be made of it: {line_of(error)}") from error

    def compare(self) -> None:
        """Holds what the workers run to the module itself, for as many observations as it was exported for. Raises
        `ConfigError` where outputs or gradients differ."""
        try:
            with exporting:
                self._compare_with_module(len(self._inputs[0]))
        except RefusedError as reason:
            raise ConfigError("network", self.name, str(reason)) from reason

    def example(self, count: int) -> tuple[torch.Tensor, ...]:
        """The first of the inputs of `Rows` by which it is judged."""
        return tuple(x[:count].clone() for x in self._inputs)

    def _inputs_of(self, rows: npt.NDArray[np.uint8]) -> tuple[torch.Tensor, ...]:
        return inputs_of(self.spec.observation, rows, self._random_inputs(len(rows))[-1] if self.state_size else None)

    def _random_inputs(self, count: int) -> tuple[torch.Tensor, ...]:
        """Always the same."""
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

    def probe(self, parameters: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
        """What the module makes of a few observations with these parameters: a checkpoint keeps it, so that who loads
        it knows whether the network is the same. Rows [n, row_bytes]; outputs and value [n, num_outputs + 1]."""
        rows = self._rows_of(tuple(x[:_PROBED] for x in self._inputs))
        return {"observations": rows, "outputs": outputs_of(self.module, self.spec, parameters, rows)}

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
        from a3c_fast import _core  # only here: a policy that is loaded needs it not

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

    def _compare_with_module(self, count: int) -> None:
        """Outputs, the next state, and the gradients of a random combination of outputs and values."""
        inputs = self.example(count)
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
                    "hooks and nothing that changes gradients on their way; write it with torch's own functions"
                )

    def _core_network(self, num_envs: int) -> Any:
        from a3c_fast import _core

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
    with NewThreadTorch(), torch.no_grad():
        tensors = {name: torch.from_numpy(np.array(stored[name])).to(constants[name].dtype) for name in stored}
        nn.Module.load_state_dict(module, tensors, strict=False)


def policy_of(
    module: nn.Module, spec: EnvSpec, state: Mapping[str, torch.Tensor], *, normalize_observations: bool
) -> UserPolicy:
    """A copy of the module with these parameters, and the moments of observations where it is given normalized ones."""
    with NewThreadTorch():
        policy = UserPolicy(
            copy.deepcopy(module), spec.observation, spec.action, normalize_observations=normalize_observations
        )
        own = dict(policy.named_buffers(recurse=False))
        nn.Module.load_state_dict(policy, {name: state[name] for name in own}, strict=False)
        others = {name: value for name, value in state.items() if name not in own}
        nn.Module.load_state_dict(policy.network, others, strict=False)
    return policy


def inputs_of(
    spec: ObservationSpec, rows: npt.NDArray[np.uint8], state: torch.Tensor | None
) -> tuple[torch.Tensor, ...]:
    """What `Rows` takes, of observations as the core has them, [N, row_bytes]."""
    inputs = []
    if spec.array_shape:
        inputs.append(torch.from_numpy(np.array(spec.array_of(rows))))
    if spec.num_features:
        inputs.append(torch.from_numpy(np.array(spec.numbers_of(rows))))
    return (*inputs, state) if state is not None else tuple(inputs)


def outputs_of(
    module: nn.Module, spec: EnvSpec, parameters: Mapping[str, npt.NDArray[Any]], rows: npt.NDArray[np.uint8]
) -> npt.NDArray[np.float32]:
    """Outputs and values [N, num_outputs + 1] of a copy of the module with these parameters."""
    with NewThreadTorch(), torch.no_grad():
        module = copy.deepcopy(module)
        tensors = {name: torch.from_numpy(np.array(value)) for name, value in parameters.items()}
        nn.Module.load_state_dict(module, tensors, strict=False)
        size = state_size_of(module)
        inputs = inputs_of(spec.observation, rows, torch.zeros(len(rows), size, **FLOATS) if size else None)
        outputs, values = Rows(module, spec)(*inputs)[:2]
        found: npt.NDArray[np.float32] = torch.cat((outputs, values[:, None]), 1).numpy()
        return found


def check_probe(module: nn.Module, spec: EnvSpec, stored: Checkpoint, name: str) -> None:
    """Raises `CheckpointError` where the module, with a checkpoint's parameters, is not what it was."""
    if not stored.probe:
        return
    try:
        found = outputs_of(module, spec, stored.parameters, stored.probe["observations"])
        same = _difference(np.nan_to_num(found), np.nan_to_num(stored.probe["outputs"])) <= _PROBE_TOLERANCE
    except (Exception, SystemExit) as error:
        raise CheckpointError(f"the checkpoint is of another network than {name} is now: {line_of(error)}") from error
    if not same:
        raise CheckpointError(
            f"the checkpoint is of another network than {name} is now: with its parameters and buffers the outputs are "
            "others, so its forward() has changed, or what it holds beside them, which is not stored"
        )


def stored_policy(checkpoint: Checkpoint, config: Config | NetworkSettings, spec: EnvSpec) -> UserPolicy:
    """The policy of a checkpoint whose network is the user's own. Raises `CheckpointError` where it is another one."""
    network = UserNetwork(config, spec)
    network.load_constants(checkpoint.constants)
    found = {name: value.shape for name, value in checkpoint.parameters.items()}
    if found != {name: tuple(parameter.shape) for name, parameter in network.trained.items()}:
        raise CheckpointError(f"the checkpoint is of another network than {config.network} makes for {config.env_id}")
    check_probe(network.module, spec, checkpoint, str(config.network))
    state = dict(checkpoint.parameters)
    normalizes = config.normalize_observations and "observation_count" in checkpoint.normalization
    if normalizes:
        state |= observation_buffers(checkpoint.normalization)
    with NewThreadTorch():
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
