"""What must be true of a module, and of its forward(), before workers may run its graph.

A graph is what forward() did once. It is the network only where forward() does the same each time: for one observation
as for many, with autograd and without, and with nothing that it remembers outside its state.
"""

from __future__ import annotations

import copy
import itertools
import operator
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn

from a3c_fast.envs.spec import EnvSpec
from a3c_fast.lowering import RefusedError, line_of
from a3c_fast.user_policy import Rows

Tensors = tuple[torch.Tensor, ...]

_FEW = 5  # observations for what need not be checked with many
_MOST_STATE = 2**20


def check_module(module: Any) -> None:
    """Raises `RefusedError` for what no worker could train, whatever its forward() does."""
    if isinstance(module, torch.jit.ScriptModule) or not isinstance(module, nn.Module):
        raise RefusedError(f"it makes a {type(module).__name__}, and must make a plain torch.nn.Module")
    if hasattr(module, "_orig_mod"):
        raise RefusedError("it went through torch.compile: give the module itself")
    state_size_of(module)
    for name, parameter in module.named_parameters():
        if isinstance(parameter, nn.parameter.UninitializedParameter):
            raise RefusedError(f"its parameter {name} has no shape yet: call it once with observations")
        if parameter.dtype != torch.float32 or parameter.device.type != "cpu":
            found = f"{str(parameter.dtype).removeprefix('torch.')} on {parameter.device}"
            raise RefusedError(f"its parameter {name} is {found}, and must be float32 on the CPU")
        if parameter.layout != torch.strided:
            raise RefusedError(f"its parameter {name} is {parameter.layout}, and must be a dense tensor")
        if not parameter.isfinite().all():
            raise RefusedError(f"its parameter {name} has numbers that are not finite")
        if parameter._backward_hooks or getattr(parameter, "_post_accumulate_grad_hooks", None):
            raise RefusedError(f"its parameter {name} has a hook on its gradient, which no worker would call")
    for name, buffer in module.named_buffers():
        if buffer.layout != torch.strided or buffer.is_quantized or buffer.device.type != "cpu":
            raise RefusedError(
                f"its buffer {name} is {buffer.dtype}, {buffer.layout} on {buffer.device}: no worker has it"
            )
    if not any(parameter.requires_grad for parameter in module.parameters()):
        raise RefusedError("it has no parameters to train")
    _check_memory_of_its_own(module)
    for name, part in module.named_modules():
        where = name or type(part).__name__
        if part._backward_hooks or part._backward_pre_hooks:
            raise RefusedError(f"its {where} has a hook on its gradients, which no worker would call")
        if part.training and isinstance(part, nn.modules.batchnorm._BatchNorm):
            raise RefusedError(
                f"its {where} is a {type(part).__name__}, whose statistics workers cannot share: use GroupNorm or "
                "LayerNorm, or call eval() on it"
            )
        if part.training and isinstance(part, nn.modules.dropout._DropoutNd) and part.p > 0:
            raise RefusedError(
                f"its {where} is a {type(part).__name__}: it would act by one network and learn by another; leave it "
                "out, or call eval() on it"
            )


def state_size_of(module: nn.Module) -> int:
    """Numbers of an environment's state; 0 where the module has none. Raises `RefusedError`."""
    size = getattr(module, "state_size", 0)
    try:
        number = -1 if isinstance(size, bool) else operator.index(size)
    except TypeError:
        number = -1
    if not 0 <= number <= _MOST_STATE:
        raise RefusedError(f"its state_size is {size!r}, and must be a whole number from 0 to {_MOST_STATE}")
    return number


def _check_memory_of_its_own(module: nn.Module) -> None:
    """Raises `RefusedError` where a trained parameter shares memory with something else: it would not in a worker."""
    places = []
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        if tensor.numel() > 0:
            extent = 1 + sum((n - 1) * abs(s) for n, s in zip(tensor.shape, tensor.stride(), strict=True))
            begin = tensor.data_ptr()
            places.append((begin, begin + extent * tensor.element_size(), name, tensor.requires_grad))
    places.sort(key=lambda place: place[:2])
    for (_, end, first, trained), (begin, _, second, also) in itertools.pairwise(places):
        if begin < end and (trained or also):
            raise RefusedError(f"its {first} and {second} are views of the same memory: use one parameter for both")


def check_forward(network: nn.Module, spec: EnvSpec, inputs: Tensors, batches: Iterable[int]) -> None:
    """Raises `RefusedError` for a forward() that is no function of each observation by itself.

    `inputs`, as `Rows` takes them, are as many as the largest of `batches`, the numbers for which it is exported.
    """
    module = copied(network)
    buffers = {name: value.clone() for name, value in module.named_buffers()}
    trained = {name: parameter.requires_grad for name, parameter in module.named_parameters()}
    few = tuple(x[:_FEW] for x in inputs)
    found = called_once(module, spec, few)
    _check_what_it_has(module, buffers, trained)
    remembered = _remembered(module)
    again = called_once(module, spec, few)
    _check_what_it_has(module, buffers, trained)
    for name, value in zip(("outputs", "values", "state"), found, strict=False):
        if not value.isfinite().all():
            raise RefusedError(f"its {name} are not finite for observations of the environment")
    if not all(torch.equal(a, b) for a, b in zip(found, again, strict=True)):
        raise RefusedError(
            "its forward() gives something else the second time: it must depend on the observations alone, and what is "
            "remembered must go through its state"
        )
    if changed := _first_difference(remembered, _remembered(module)):
        raise RefusedError(
            f"its forward() changes its attribute {changed}, which no worker would see: what is remembered must go "
            "through its state"
        )
    recorded = called_once(module, spec, few, recorded=True)
    if not all(_close(a, b) for a, b in zip(found, recorded, strict=True)):
        raise RefusedError("its forward() gives something else where autograd records it")
    if function := _function_of_its_own(recorded):
        raise RefusedError(
            f"its forward() uses the torch.autograd.Function {function}, and torch.export keeps no backward() of one: "
            "write it with torch's own functions"
        )
    whole = called_once(module, spec, inputs)
    for count in sorted({2, *batches}):
        part = called_once(module, spec, tuple(x[:count] for x in inputs))
        if not all(_close(a[:count], b) for a, b in zip(whole, part, strict=True)):
            raise RefusedError(
                f"what its forward() makes of an observation depends on those beside it: {count} give something else "
                f"than the same among {len(inputs[0])}"
            )


def copied(network: nn.Module) -> nn.Module:
    """A copy. Raises `RefusedError` where there can be none."""
    try:
        return copy.deepcopy(network)
    except Exception as error:
        raise RefusedError(f"it cannot be copied: {line_of(error)}") from error


def called_once(network: nn.Module, spec: EnvSpec, inputs: Tensors, *, recorded: bool = False) -> Tensors:
    """What `Rows` of it returns, recorded by autograd or not; whatever it raises as a `RefusedError`."""
    given = tuple(x.clone() for x in inputs)
    try:
        with torch.set_grad_enabled(recorded):
            found = tuple(Rows(network, spec)(*given))
    except RefusedError:
        raise
    except (Exception, SystemExit) as error:
        raise RefusedError(f"its forward() of {len(inputs[0])} observations failed: {line_of(error)}") from error
    for x, before in zip(given, inputs, strict=True):
        if not torch.equal(x, before):
            raise RefusedError("its forward() changes what it is given in place: work on a copy")
    return found


def _check_what_it_has(module: nn.Module, buffers: dict[str, torch.Tensor], trained: dict[str, bool]) -> None:
    for name, value in module.named_buffers():
        if name in buffers and not torch.equal(torch.nan_to_num(value), torch.nan_to_num(buffers[name])):
            raise RefusedError(f"its forward() changes its buffer {name}: workers share parameters alone")
    for name, parameter in module.named_parameters():
        if name not in trained:
            raise RefusedError(f"its forward() makes its parameter {name}: call it once with observations")
        if parameter.requires_grad != trained[name]:
            raise RefusedError(f"its forward() changes whether its parameter {name} is trained: say that beforehand")


def _remembered(module: nn.Module) -> dict[str, Any]:
    """The attributes of all its parts, as far as one can see whether they change."""
    found: dict[str, Any] = {}
    for where, part in module.named_modules():
        for key, value in vars(part).items():
            if key.startswith("_") and key in vars(nn.Module()):
                continue
            name = f"{where}.{key}" if where else key
            found[name] = value if not isinstance(value, (list, dict, set)) else (value, len(value))
    return found


def _first_difference(before: dict[str, Any], after: dict[str, Any]) -> str | None:
    for name in after:
        old, new = before.get(name, _first_difference), after[name]
        if isinstance(new, (bool, int, float, str, bytes, type(None))):
            same = type(old) is type(new) and (old == new or old != old)
        elif isinstance(new, tuple) and len(new) == 2 and isinstance(new[0], (list, dict, set)):
            same = isinstance(old, tuple) and old[0] is new[0] and old[1] == len(new[0]) == new[1]
        else:
            same = old is new
        if not same:
            return name
    return None


def _close(a: torch.Tensor, b: torch.Tensor) -> bool:
    return torch.allclose(a, b, atol=1e-4, rtol=1e-3)


def _function_of_its_own(outputs: Tensors) -> str | None:
    """The name of a torch.autograd.Function, written in Python, through which gradients would go."""
    seen: set[Any] = set()
    left = [output.grad_fn for output in outputs if output.grad_fn is not None]
    while left:
        node = left.pop()
        if node in seen:
            continue
        seen.add(node)
        if isinstance(node, torch.autograd.function.BackwardCFunction):
            return type(node).__name__.removesuffix("Backward")
        left += [following for following, _ in node.next_functions if following is not None]
    return None
