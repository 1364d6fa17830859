"""YAML as its version 1.2 has it, for settings: needs PyYAML, which reads version 1.1."""

from __future__ import annotations

import re
from typing import Any, ClassVar

import yaml

_DEEPEST = 20


class Loader(yaml.SafeLoader):  # type: ignore[misc]  # PyYAML says no types
    """Plain values are those of YAML 1.2's core schema, keys come once, and nothing refers to anything else.

    In 1.1 7e-4 is text, `off` is false, 010 is eight and 1:30 ninety. In both a key that comes twice has the last value
    in most programs, which nobody has meant.
    """

    yaml_implicit_resolvers: ClassVar[dict[str, list[tuple[str, re.Pattern[str]]]]] = {}  # none of 1.1

    _depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()
            raise yaml.composer.ComposerError(None, None, "aliases are not allowed", event.start_mark)
        self._depth += 1
        if self._depth > _DEEPEST:  # PyYAML takes seconds to find a thousand too many
            raise RecursionError
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node

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


# By their tags, how they are written, and what they may begin with.
_PLAIN: dict[str, tuple[str, str]] = {
    "null": (r"~|null|Null|NULL|", "~nN"),
    "bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "int": (r"[-+]?[0-9]+(_[0-9]+)*", "-+0123456789"),
    "float": (
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
}
for _name, (_pattern, _first) in _PLAIN.items():
    Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_name}", re.compile(f"(?:{_pattern})$"), ["", *_first])
Loader.add_constructor("tag:yaml.org,2002:int", Loader.construct_whole)
