"""YAML as its version 1.2 has it, for settings: needs PyYAML, which reads version 1.1."""

from __future__ import annotations

import re
from typing import Any

import yaml


class Loader(yaml.SafeLoader):
    """Plain values are those of YAML 1.2's core schema, keys come once, and nothing refers to anything else.

    In 1.1 7e-4 is text, `off` is false, 010 is eight and 1:30 ninety. In both a key that comes twice has the last value
    in most programs, which nobody has meant.
    """

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}  # none of 1.1

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise yaml.composer.ComposerError(None, None, "aliases are not allowed", event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else None
            if name is None:
                raise yaml.constructor.ConstructorError(None, None, "a key must be a name", key.start_mark)
            if name in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{name!r} comes twice", key.start_mark)
            seen.add(name)
        return {key.value: self.construct_object(value, deep=True) for key, value in node.value}

    def construct_whole(self, node: Any) -> int:
        return int(str(self.construct_scalar(node)).replace("_", ""))


Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"~|null|Null|NULL|"), ["~", "n", "N", ""])
Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"true|True|TRUE|false|False|FALSE"), list("tTfF")
)
Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int", re.compile(r"[-+]?[0-9]+(?:_[0-9]+)*"), list("-+0123456789")
)
Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"),
    list("-+.0123456789"),
)
Loader.add_constructor("tag:yaml.org,2002:int", Loader.construct_whole)
