"""A module as torch.export sees it, turned into the list of ATen operators that the core runs: cpp/model/exported."""

from __future__ import annotations

import contextlib
import logging
import operator
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import nn
from torch.export.graph_signature import InputKind

# c10::ScalarType and c10::MemoryFormat.
_DTYPES = {
    torch.uint8: 0,
    torch.int8: 1,
    torch.int16: 2,
    torch.int32: 3,
    torch.int64: 4,
    torch.float16: 5,
    torch.float32: 6,
    torch.float64: 7,
    torch.bool: 11,
    torch.bfloat16: 15,
}
_MEMORY_FORMATS = {
    torch.contiguous_format: 0,
    torch.preserve_format: 1,
    torch.channels_last: 2,
    torch.channels_last_3d: 3,
}
_DROPOUT = ("dropout", "dropout_p", "p")  # what operators call its probability


class RefusedError(Exception):
    """Why a network cannot be used, as the end of a sentence that begins with its name."""


def line_of(error: BaseException) -> str:
    """An error of somebody else's in one line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines else type(error).__name__


class Graph:
    """The operators that `module` calls for these inputs, and for no other number of observations.

    `parameters` are the names of those that are trained; all other parameters and buffers become constants, which
    `constants` numbers. The attributes are what `_core.ExportedNetwork.add_graph` takes. Raises `RefusedError`.
    """

    def __init__(
        self,
        module: nn.Module,
        inputs: tuple[torch.Tensor, ...],
        parameters: Sequence[str],
        constants: Constants,
    ) -> None:
        self.num_slots = 0
        self.constants: list[tuple[int, int]] = []
        self.calls: list[tuple[str, str, list[Any], list[int], bool]] = []
        self.elements = 0
        """Of all that operators make anew, which autograd may keep."""
        self._numbered = constants
        self._slots: dict[Any, Any] = {}
        program = _exported(module, inputs)
        # Tied parameters have one name in named_parameters() and two in the program.
        first = {id(p): name for name, p in module.named_parameters()}
        names = {name: first[id(p)] for name, p in module.named_parameters(remove_duplicate=False)}
        of_parameters = {name: self._new() for name in parameters}
        of_user = []
        placeholders = [node for node in program.graph_module.graph.nodes if node.op == "placeholder"]
        for node, spec in zip(placeholders, program.graph_signature.input_specs, strict=True):
            if spec.kind is InputKind.PARAMETER and names[spec.target] in of_parameters:
                self._slots[node] = of_parameters[names[spec.target]]
            elif spec.kind is InputKind.USER_INPUT:
                self._slots[node] = self._new()
                of_user.append(self._slots[node])
            elif spec.kind in (InputKind.PARAMETER, InputKind.BUFFER, InputKind.CONSTANT_TENSOR):
                value = program.state_dict.get(spec.target)
                self._slots[node] = self._constant(program.constants[spec.target] if value is None else value)
            else:
                raise RefusedError(f"it needs an input of the kind {spec.kind.name.lower()}")
        self.outputs = self._walk(program.graph_module, no_grad=False)
        self.inputs = [*of_parameters.values(), *of_user]

    def _new(self) -> int:
        self.num_slots += 1
        return self.num_slots - 1

    def _constant(self, value: torch.Tensor) -> int:
        slot = self._new()
        self.constants.append((slot, self._numbered.number_of(value)))
        return slot

    def _walk(self, graph_module: Any, *, no_grad: bool, inputs: Sequence[Any] | None = None) -> Any:
        """Goes through a graph, and through those within it; the slots of its outputs."""
        given = iter(inputs or ())
        for node in graph_module.graph.nodes:
            if node.op == "placeholder":
                if inputs is not None:
                    self._slots[node] = next(given)
            elif node.op == "get_attr":
                value = operator.attrgetter(node.target)(graph_module)
                self._slots[node] = self._constant(value) if isinstance(value, torch.Tensor) else value
            elif node.op == "output":
                return [self._slots[output] for output in node.args[0]]
            elif node.target is operator.getitem:
                self._slots[node] = self._slots[node.args[0]][node.args[1]]
            elif node.target is torch.ops.higher_order.wrap_with_set_grad_enabled:
                enabled, body, *rest = node.args
                given_to_it = [self._slots[argument] for argument in rest]
                self._slots[node] = self._walk(self._slots[body], no_grad=no_grad or not enabled, inputs=given_to_it)
            elif isinstance(node.target, torch._ops.OpOverload):
                self._call(node, node.target, no_grad)
            else:
                name = getattr(node.target, "__name__", str(node.target))
                raise RefusedError(_needed(name, node.target))
        raise AssertionError("a graph has an output")

    def _call(self, node: Any, op: Any, no_grad: bool) -> None:
        schema = op._schema
        if op.namespace != "aten":
            raise RefusedError(f"its forward() calls {op}, which is none of LibTorch's own operators")
        if op in (torch.ops.aten.item.default, torch.ops.aten._local_scalar_dense.default):
            raise RefusedError("its forward() takes a number out of a tensor, by item() or the like: keep it a tensor")
        if schema.name.startswith("aten::_assert"):  # what was true when it was exported
            return
        values = [
            node.args[i] if i < len(node.args) else node.kwargs.get(argument.name)
            for i, argument in enumerate(schema.arguments)
        ]
        given = {argument.name: value for argument, value in zip(schema.arguments, values, strict=True)}
        dropout = [given[name] for name in _DROPOUT if name in given]
        # LSTMs and attention have the tag for their dropout's sake.
        draws = given.get("train") is not False and (not dropout or any(dropout))
        if torch.Tag.nondeterministic_seeded in op.tags and draws:
            raise RefusedError(f"its forward() draws random numbers, with {schema.name.removeprefix('aten::')}")
        for i, argument in enumerate(schema.arguments):
            if isinstance(values[i], int) and isinstance(argument.type, torch.ListType):  # int[2] takes one int
                values[i] = [values[i]]
        results = [self._new() for _ in range(self._count(node, schema))]
        is_list = len(schema.returns) == 1 and isinstance(schema.returns[0].type, torch.ListType)
        self._slots[node] = results[0] if len(results) == 1 and not is_list else results
        if not op.is_view:
            found = node.meta.get("val")
            for value in found if isinstance(found, (list, tuple)) else [found]:
                self.elements += value.numel() if isinstance(value, torch.Tensor) else 0
        arguments = [self._argument(value) for value in values]
        self.calls.append((schema.name, schema.overload_name, arguments, results, no_grad))

    def _count(self, node: Any, schema: Any) -> int:
        """Of an operator's results; of those in a list, up to the last that somebody reads."""
        if len(schema.returns) == 1 and isinstance(schema.returns[0].type, torch.ListType):
            return 1 + max((user.args[1] for user in node.users if user.target is operator.getitem), default=-1)
        return len(schema.returns)

    def _argument(self, value: Any) -> tuple[list[int], bool, Any]:
        """Slots, whether they are a list, and the constant where there are none."""
        if isinstance(value, torch.fx.Node):
            if not isinstance(self._slots[value], int):
                raise RefusedError("its forward() passes what is no tensor from one operator to the next")
            return [self._slots[value]], False, None
        if isinstance(value, (list, tuple)) and any(isinstance(element, torch.fx.Node) for element in value):
            return [-1 if element is None else self._slots[element] for element in value], True, None
        return [], False, _plain(value)


class Constants:
    """Those of all graphs of a network, each once."""

    def __init__(self, core: Any) -> None:
        self._core = core  # a _core.ExportedNetwork
        self._numbers: dict[tuple[Any, ...], int] = {}
        self._kept: list[torch.Tensor] = []  # an address names a tensor only while it is there

    def number_of(self, value: torch.Tensor) -> int:
        """Its position among the network's. Raises `RefusedError` for one that no worker can hold."""
        value = value.detach()
        if value.dtype not in _DTYPES or value.layout != torch.strided or value.device.type != "cpu":
            raise RefusedError(f"it holds a tensor of {value.dtype}, {value.layout} on {value.device}")
        key = (value.data_ptr(), value.dtype, tuple(value.shape), value.stride())
        if key not in self._numbers:
            self._kept.append(value)
            channels_last = (
                value.dim() == 4
                and not value.is_contiguous()
                and value.is_contiguous(memory_format=torch.channels_last)
            )
            dense = (value.permute(0, 2, 3, 1) if channels_last else value).contiguous()
            strides = (dense.permute(0, 3, 1, 2) if channels_last else dense).stride()
            content = dense.reshape(-1).view(torch.uint8).numpy().tobytes() if dense.numel() else b""
            self._numbers[key] = self._core.add_constant(
                shape=list(value.shape), strides=list(strides), scalar_type=_DTYPES[value.dtype], content=content
            )
        return self._numbers[key]


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Without what torch writes to its log where it gives up, dozens of lines: the sentence tells."""
    handlers = [*logging.getLogger("torch").handlers, *logging.getLogger("torch.fx").handlers]
    for handler in handlers:
        handler.addFilter(_nothing)
    try:
        yield
    finally:
        for handler in handlers:
            handler.removeFilter(_nothing)


def _nothing(record: logging.LogRecord) -> bool:
    return False


def _exported(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> Any:
    """The torch.export.ExportedProgram. Raises `RefusedError`."""
    with warnings.catch_warnings(), silent():
        warnings.simplefilter("ignore")
        try:
            program = torch.export.export(module, inputs, strict=False)
            # What is written to shows only after this.
            signature = program.run_decompositions({}).graph_signature
        except Exception as error:
            if "DataDependent" in type(error).__name__ or "data-dependent" in str(error):
                raise RefusedError(
                    "its forward() takes a number out of a tensor or branches on one: keep it a tensor, and use "
                    "torch.where"
                ) from error
            if "fake tensor" in str(error):
                raise RefusedError("its forward() uses .data, which no graph can follow: use detach()") from error
            raise RefusedError(f"torch.export cannot make a graph of it: {line_of(error)}") from error
    written: Mapping[str, str] = signature.buffers_to_mutate
    if written:
        name = next(iter(written.values())).removeprefix("network.")
        raise RefusedError(f"its forward() changes its buffer {name}: workers share parameters alone")
    if signature.user_inputs_to_mutate:
        raise RefusedError("its forward() changes what it is given in place: work on a copy")
    if getattr(signature, "parameters_to_mutate", {}):
        raise RefusedError("its forward() changes its parameters: that is the optimizer's to do")
    return program


def _needed(name: str, target: Any) -> str:
    if "autocast" in name:
        return "its forward() needs torch.autocast, which no worker can run: leave it out"
    if getattr(target, "__module__", "") in ("_operator", "operator", "builtins", "math"):
        return "its forward() makes tensors whose size depends on the numbers in one: use torch.where"
    return f"its forward() needs {name}, which no worker can run: write it with torch's own functions"


def _plain(value: Any) -> Any:
    """What the core takes for a constant."""
    if isinstance(value, torch.dtype):
        if value not in _DTYPES:
            raise RefusedError(f"its forward() makes tensors of {value}, which no worker can")
        return _DTYPES[value]
    if isinstance(value, torch.memory_format):
        return _MEMORY_FORMATS[value]
    if isinstance(value, torch.layout):
        return 0  # strided
    if isinstance(value, torch.device):
        return str(value)
    if isinstance(value, (list, tuple)):
        return [_plain(element) for element in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    raise RefusedError(f"its forward() gives an operator a {type(value).__name__}")
