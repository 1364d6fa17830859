"""The stub of the extension names what the extension has: every function, class, method and argument, and no other."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

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


def test_functions_and_attributes() -> None:
    stubbed = {node.name: node for node in STUB.body if isinstance(node, ast.FunctionDef)}
    runtime = {
        name for name in dir(core) if callable(getattr(core, name)) and not isinstance(getattr(core, name), type)
    }
    assert {name for name in runtime if not name.startswith("__")} == set(stubbed)
    for name, function in stubbed.items():
        assert_same_arguments(function, getattr(core, name))


def test_classes() -> None:
    stubbed = {node.name: node for node in STUB.body if isinstance(node, ast.ClassDef)}
    assert {name for name in dir(core) if isinstance(getattr(core, name), type)} == set(stubbed)
    for name, node in stubbed.items():
        methods = {item.name: item for item in node.body if isinstance(item, ast.FunctionDef)}
        runtime_class = getattr(core, name)
        runtime = {key for key in vars(runtime_class) if not key.startswith("_")}
        assert runtime == {key for key in methods if not key.startswith("_")}, name
        for key, function in methods.items():
            if isinstance(vars(runtime_class).get(key), property):
                assert any(isinstance(d, ast.Name) and d.id == "property" for d in function.decorator_list), key
            elif key in vars(runtime_class) and getattr(runtime_class, key).__doc__:
                assert_same_arguments(function, getattr(runtime_class, key))
