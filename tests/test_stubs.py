"""The stub of the extension names what the extension has: every function, class, method and argument, and no other."""

from __future__ import annotations

import ast
import re
import types
from pathlib import Path
from typing import Any

import pytest

import a3c_fast._core  # noqa: F401  (loads the libraries of the extension)
import a3c_fast_core as core

STUB = ast.parse((Path(__file__).parents[1] / "cpp" / "a3c_fast_core.pyi").read_text())


def argument_names(signature: str) -> list[str]:
    """`name(self: X, a: int = 3, *, b: str) -> None`, as pybind11 writes it -> [a, b]."""
    inside = re.sub(r"\[[^\[\]]*\]", "", re.sub(r"\[[^\[\]]*\]", "", signature[signature.index("(") + 1 :]))
    names = re.findall(r"(?:^|, )(\w+): ", inside.split(") ->")[0])
    return [name for name in names if name != "self"]


def stub_names(function: ast.FunctionDef) -> list[str]:
    return [a.arg for a in function.args.args + function.args.kwonlyargs if a.arg != "self"]


def assert_same_arguments(function: ast.FunctionDef, runtime: Any) -> None:
    signature = (runtime.__doc__ or "").splitlines()[0]
    assert argument_names(signature) == stub_names(function), f"{function.name}: {signature}"


def is_static(function: ast.FunctionDef) -> bool:
    return any(isinstance(d, ast.Name) and d.id == "staticmethod" for d in function.decorator_list)


def functions_of(module: Any) -> set[str]:
    found = {name for name in dir(module) if not name.startswith("__")}
    return {n for n in found if callable(getattr(module, n)) and not isinstance(getattr(module, n), type)}


CLASSES = {node.name: node for node in STUB.body if isinstance(node, ast.ClassDef)}
SUBMODULES = {name for name in CLASSES if isinstance(getattr(core, name, None), types.ModuleType)}


def test_functions_and_attributes() -> None:
    stubbed = {node.name: node for node in STUB.body if isinstance(node, ast.FunctionDef)}
    assert functions_of(core) == set(stubbed)
    for name, function in stubbed.items():
        assert_same_arguments(function, getattr(core, name))


def test_submodules() -> None:
    modules = {name for name, value in vars(core).items() if isinstance(value, types.ModuleType)}
    assert modules == SUBMODULES == {"learning"}
    for module in modules:
        stubbed = {node.name: node for node in CLASSES[module].body if isinstance(node, ast.FunctionDef)}
        assert functions_of(getattr(core, module)) == set(stubbed)
        for name, function in stubbed.items():
            assert is_static(function), name
            assert_same_arguments(function, getattr(getattr(core, module), name))


def test_classes() -> None:
    stubbed = {name: node for name, node in CLASSES.items() if name not in SUBMODULES}
    assert {name for name in dir(core) if isinstance(getattr(core, name), type)} == set(stubbed)
    for name, node in stubbed.items():
        methods = {item.name: item for item in node.body if isinstance(item, ast.FunctionDef)}
        fields = {item.target.id for item in node.body if isinstance(item, ast.AnnAssign)}  # type: ignore[union-attr]
        runtime_class = getattr(core, name)
        runtime = {key for key in vars(runtime_class) if not key.startswith("_")}
        if "kwargs" in (runtime_class.__init__.__doc__ or ""):  # a plain struct: its members are its arguments
            assert runtime == set(stub_names(methods["__init__"])), name
            assert fields <= runtime, name
            continue
        assert runtime == {key for key in methods if not key.startswith("_")}, name
        for key, function in methods.items():
            if isinstance(vars(runtime_class).get(key), property):
                assert any(isinstance(d, ast.Name) and d.id == "property" for d in function.decorator_list), key
            elif key in vars(runtime_class) and getattr(runtime_class, key).__doc__:
                assert_same_arguments(function, getattr(runtime_class, key))


@pytest.mark.parametrize(
    "name", ["ObservationSpec", "ActionSpec", "EnvSpec", "OptimizerConfig", "ModelConfig", "TrainConfig"]
)
def test_a_struct_needs_what_the_stub_says_and_takes_nothing_else(name: str) -> None:
    methods = {item.name: item for item in CLASSES[name].body if isinstance(item, ast.FunctionDef)}
    arguments = methods["__init__"].args
    assert [argument.arg for argument in arguments.args] == ["self"]
    needed = [a.arg for a, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if default is None]
    struct = getattr(core, name)
    with pytest.raises(TypeError, match=f"{name} has no bogus"):
        struct(bogus=1)
    if not needed:
        struct()
        return
    with pytest.raises(TypeError, match=f"{name} needs {needed[0]}"):
        struct()
