"""What the commands share: flags from a dataclass, errors in one sentence, exit statuses."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import shlex
import sys
import threading
import typing
from collections.abc import Iterator, Sequence
from typing import Any, NoReturn, TypedDict, TypeVar

from a3c_fast.output import Output
from a3c_fast.suggestions import flag_like, looks_like_environment

T = TypeVar("T")

# The streams are the process's: of two threads that lead them elsewhere at a time, one would put back the other's.
_redirecting = threading.RLock()

EXIT_BAD_CONFIG = 2
EXIT_FAILED = 1


def fail(status: int, error: object) -> NoReturn:
    """Prints one sentence on standard error and exits."""
    Output().complain(f"error: {error}")
    raise SystemExit(status)


def parse(cls: type[T], arguments: Sequence[str] | None, *, prog: str) -> T:
    """The command line as a `cls`; exits with status 2 and one sentence when it is not one."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    if {"--help", "-h"} & set(given):
        show_help(cls, prog=prog)
    known, rest = parse_known(cls, given, prog=prog)
    refuse_unknown(cls, rest, prog=prog)
    return known


def parse_known(cls: type[T], arguments: Sequence[str] | None = None, *, prog: str) -> tuple[T, list[str]]:
    """What of the command line is a `cls`, and the arguments that are none of it; exits like `parse`."""
    import tyro

    with _box_in_one_sentence(cls, prog):
        known, rest = tyro.cli(cls, args=arguments, prog=prog, return_unknown_args=True)
    return known, list(rest)


def said(cls: type, arguments: Sequence[str], *, prog: str, beside: type | None = None) -> dict[str, Any]:
    """The fields of the dataclasses `cls` and `beside` that the command line names, as they were written.

    Exits like `parse`.

    Strings, tuples of strings, and bools for flags that take no value; None for one that may be None and is said to
    be; True under "help" where help is asked for. What the strings mean is left to the class: one place says what is
    allowed.
    """
    import tyro

    classes = (cls,) if beside is None else (cls, beside)
    hints = {name: hint for one in classes for name, hint in typing.get_type_hints(one, include_extras=True).items()}
    fields = {field.name: _as_written(hints[field.name]) for one in classes for field in dataclasses.fields(one)}
    fields["help"] = typing.Annotated[bool, tyro.conf.arg(aliases=["-h"])]
    written: Any = TypedDict(cls.__name__, fields, total=False)  # type: ignore[misc]  # made while the program runs
    with _box_in_one_sentence(cls, prog):
        found, rest = tyro.cli(written, args=arguments, prog=prog, return_unknown_args=True, add_help=False)
    if not found.get("help"):
        refuse_unknown(cls, rest, prog=prog, beside=beside)
    optional = {name for name, hint in hints.items() if type(None) in typing.get_args(hint)}
    return {name: None if value == "None" and name in optional else value for name, value in found.items()}


def show_help(cls: type[T], *, prog: str, default: T | None = None, **groups: Any) -> NoReturn:
    """Prints what `--help` asks for, as wide as the terminal is, and exits with 0; `groups` as for `help_text`."""
    from a3c_fast.help import help_text

    with _redirecting:
        text = help_text(cls, prog=prog, default=default, **groups)
    Output().say(text)
    raise SystemExit(0)


def refuse_unknown(cls: type, rest: Sequence[str], *, prog: str, beside: type | None = None) -> None:
    """Exits with status 2 for arguments that are no flags of the classes, and names the one that was probably meant."""
    if not rest:
        return
    there = [*dataclasses.fields(cls), *(dataclasses.fields(beside) if beside else ())]
    fields = {f"--{field.name.replace('_', '-')}": str(field.type) for field in there}
    place = next((i for i, argument in enumerate(rest) if argument.startswith("--")), 0)
    name, _, value = rest[place].partition("=")
    meant = flag_like(name, fields) if name.startswith("--") else None
    if meant is not None and "Positional" in fields[meant]:
        value = value or next(iter(rest[place + 1 :]), meant.removeprefix("--").upper())
        fail(EXIT_BAD_CONFIG, f"{name} is no flag: what it names comes without one, as in {prog} {shlex.quote(value)}")
    if meant is not None:
        fail(EXIT_BAD_CONFIG, f"{name} is no flag; did you mean {meant}?")
    if "--env-id" in fields and looks_like_environment(name):
        fail(EXIT_BAD_CONFIG, f"{name!r} comes after a flag; did you mean --env-id {shlex.quote(name)}?")
    shown = name if name.startswith("-") else repr(name)
    fail(EXIT_BAD_CONFIG, f"{shown} is no flag: --help names those that there are")


def _as_written(hint: Any) -> Any:
    from tyro.conf import Positional

    if hint is bool:
        return bool
    several = typing.get_origin(hint) is tuple
    if typing.get_origin(hint) is typing.Annotated:  # tyro's Positional
        return Positional[tuple[str, ...]]
    return tuple[str, ...] if several else str


@contextlib.contextmanager
def _box_in_one_sentence(cls: type, prog: str) -> Iterator[None]:
    """tyro explains an error in a box of several lines; the sentence in it is taken out."""
    captured = io.StringIO()
    try:
        with _redirecting, contextlib.redirect_stderr(captured):
            yield
    except SystemExit as exit_:
        if exit_.code in (0, None):
            raise
        fail(EXIT_BAD_CONFIG, _sentence(captured.getvalue(), cls.__name__) or f"{prog} cannot read its flags")


def _sentence(box: str, class_name: str) -> str:
    words: list[str] = []
    for line in box.splitlines()[1:]:
        text = line.strip("│| \t")
        if text.startswith(("─", "╰", "-----", "+--")):
            break
        words.append(text)
    return " ".join(words).removeprefix(f"Error parsing {class_name}: ")
