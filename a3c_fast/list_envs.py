"""`a3c-fast list-envs [PATTERN]`: the environments that there are."""

from __future__ import annotations

import json as json_module
import sys
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tyro.conf import Positional

from a3c_fast.envs.listing import list_envs
from a3c_fast.output import Output, let_go_of_what_is_unwritten, occupy_standard_files
from a3c_fast.values import words

_PROGRAM = "a3c-fast list-envs"


@dataclass(frozen=True)
class Arguments:
    """Lists the environments of EnvPool, what they show and take, and whether they can be trained on."""

    pattern: Positional[str] = ""
    """A part of a name, a family such as mujoco.gym, or a name with wildcards such as 'MiniGrid-*'; all without it."""
    json: bool = False
    """Print one JSON list of objects."""

    @classmethod
    def said(cls, written: Mapping[str, Any]) -> Arguments:
        """From the flags as `cli.said` has them. Raises `ConfigError` for more than one pattern."""
        from a3c_fast.errors import ConfigError

        patterns = written.get("pattern", ())
        if len(patterns) > 1:
            raise ConfigError("pattern", " ".join(patterns), "one pattern is allowed: put it in quotes")
        return cls(next(iter(patterns), ""), bool(written.get("json", False)))


def main(arguments: Sequence[str] | None = None) -> None:
    """The command. Exit status: 0 done; 1 where nothing matches; 2 a flag that cannot be."""
    from a3c_fast import cli
    from a3c_fast.errors import ConfigError

    of_process = arguments is None
    if of_process:
        occupy_standard_files()
    output = Output(says_so=False)
    try:
        written = cli.said(Arguments, sys.argv[1:] if arguments is None else words(arguments), prog=_PROGRAM)
        if written.pop("help", False):
            cli.show_help(Arguments, prog=_PROGRAM)
        try:
            args = Arguments.said(written)
            entries = list_envs(args.pattern)
        except ConfigError as error:
            cli.fail(cli.EXIT_BAD_CONFIG, error)
        except ImportError as error:
            cli.fail(cli.EXIT_FAILED, error)
        output.say(json_module.dumps(entries) if args.json else _in_words(entries))
        if not entries and not args.json:
            cli.fail(cli.EXIT_FAILED, f"no environment's name has {args.pattern!r} in it")
    finally:
        if of_process:
            let_go_of_what_is_unwritten()


def _in_words(entries: Sequence[Mapping[str, Any]]) -> str:
    lines = []
    for family in dict.fromkeys(entry["family"] for entry in entries):
        lines.append(f"{family}:")
        for entry in entries:
            if entry["family"] == family:
                what = f"{entry['observation']} -> {entry['action']}" if entry["trainable"] else f"no: {entry['why']}"
                needs = f", needs {entry['needs']}" if entry["trainable"] and entry["needs"] else ""
                lines.append(f"  {entry['id']:<40} {what}{needs}")
    trainable, tried = (sum(entry[key] for entry in entries) for key in ("trainable", "tried"))
    return "\n".join([*lines, f"{trainable} of {len(entries)} can be trained on, {tried} were tried"])


class _Function(types.ModuleType):
    """The package has a function of this name, too, which an import of this module would hide."""

    def __call__(self, pattern: str = "") -> list[dict[str, Any]]:
        return list_envs(pattern)


sys.modules[__name__].__class__ = _Function

if __name__ == "__main__":
    main()
