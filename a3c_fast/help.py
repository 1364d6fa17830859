"""What `--help` shows of a command: its flags in groups, as tyro draws them, and examples."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import inspect
import io
import itertools
import re
import shutil
import textwrap
import typing
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from a3c_fast.commands import COMMANDS
from a3c_fast.groups import Group


def help_text(
    cls: type, *, prog: str, default: Any = None, beside: Any = None, groups: Sequence[Group] = (), about: str = ""
) -> str:
    """The help of a command whose flags are the fields of the dataclass `cls`, and those of `beside`, an object.

    With `groups` each has a box; a flag that is in none has a place in none. `about` takes the place of the docstring.
    As wide as the terminal is, or as COLUMNS says.
    """
    import tyro

    helped = {field.name: field for field in _helped(cls, default)}
    if beside is not None:
        helped |= {field.name: field for field in _helped(type(beside), beside)}
    about = _one_paragraph(about or (cls.__doc__ or ""))
    if groups:
        boxes = []
        for group in groups:
            fields = [helped[name] for name in group.names if name in helped]
            made = dataclasses.make_dataclass(group.title, [(f.name, f.type, f) for f in fields])
            made.__doc__ = group.about
            boxes.append((group.title, made, dataclasses.field(default_factory=made)))
        shown = dataclasses.make_dataclass("Help", boxes)
    else:
        ordered = sorted(helped.values(), key=lambda field: field.default is not dataclasses.MISSING)
        shown = dataclasses.make_dataclass("Help", [(f.name, f.type, f) for f in ordered])
    columns = shutil.get_terminal_size().columns
    shown.__doc__ = about
    markers = (tyro.conf.OmitArgPrefixes, tyro.conf.PositionalMetavarFromFieldName)
    with contextlib.redirect_stdout(io.StringIO()) as text, contextlib.suppress(SystemExit):
        tyro.cli(shown, args=["--help"], prog=prog, description=about, config=markers)
    drawn = text.getvalue().rstrip().replace(about, textwrap.fill(about, columns), 1)  # tyro makes it one line
    for group in groups:  # tyro says "workers options"
        drawn = re.sub(rf"^(\W+)({group.title}) options (.)", r"\1\2 \3\3\3\3\3\3\3\3\3", drawn, flags=re.MULTILINE)
    return "\n".join([drawn, *_examples(prog, columns)])


def _helped(cls: type, default: Any) -> Iterator[dataclasses.Field[Any]]:
    """The fields of a dataclass as tyro is to show them: what their docstrings say as running text, and `default`."""
    import tyro

    hints = typing.get_type_hints(cls, include_extras=True)
    documented = field_docs(cls)
    for field in dataclasses.fields(cls):
        made: dataclasses.Field[Any] = dataclasses.field(
            default=field.default if default is None else getattr(default, field.name)
        )
        made.name = field.name
        hint = hints[field.name]
        kinds = [kind for kind in typing.get_args(hint) if kind is not type(None)]
        is_optional = len(kinds) == 1 and len(typing.get_args(hint)) == 2 and type(None) in typing.get_args(hint)
        shown = tyro.conf.arg(
            help=documented.get(field.name, ""),
            metavar=_metavar(kinds[0]) if is_optional else None,
            help_behavior_hint="" if made.default is None else None,
        )
        made.type = Annotated[hint, shown]
        yield made


def _metavar(kind: Any) -> str:
    """As tyro writes a value that is never None."""
    if typing.get_origin(kind) is typing.Literal:
        return f"{{{','.join(typing.get_args(kind))}}}"
    return "PATH" if kind is Path else str(kind.__name__).upper()


def field_docs(cls: type) -> Mapping[str, str]:
    """What the string below each field of a dataclass says, in one line."""
    (body,) = (node.body for node in ast.parse(textwrap.dedent(inspect.getsource(cls))).body if hasattr(node, "body"))
    found = {}
    for node, following in itertools.pairwise(body):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and isinstance(following, ast.Expr):
            found[node.target.id] = _one_paragraph(str(ast.literal_eval(following.value)))
    return found


def _one_paragraph(text: str) -> str:
    return " ".join(text.split())


def _examples(prog: str, columns: int) -> list[str]:
    command = COMMANDS.get(prog.rpartition(" ")[2])
    if command is None or not command.examples:
        return []
    width = max(len(line) for line, _ in command.examples)
    if width + max(len(what) for _, what in command.examples) + 4 <= columns:
        return ["", "examples:", *(f"  {line:<{width}}  {what}".rstrip() for line, what in command.examples)]
    return ["", "examples:", *(text for line, what in command.examples for text in (f"  # {what}", f"  {line}"))]
