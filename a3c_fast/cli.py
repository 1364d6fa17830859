"""What the commands share: flags from a dataclass, errors in one sentence, exit statuses."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Iterator, Sequence
from typing import NoReturn, TypeVar

T = TypeVar("T")

EXIT_BAD_CONFIG = 2
EXIT_FAILED = 1


def fail(status: int, error: object) -> NoReturn:
    """Prints one sentence on standard error and exits."""
    print(f"error: {error}", file=sys.stderr)
    raise SystemExit(status)


def parse(cls: type[T], arguments: Sequence[str] | None, *, prog: str, default: T | None = None) -> T:
    """The command line as a `cls`; exits with status 2 and one sentence when it is not one."""
    import tyro

    with _box_in_one_sentence(cls, prog):
        if default is None:
            return tyro.cli(cls, args=arguments, prog=prog)
        return tyro.cli(cls, args=arguments, prog=prog, default=default)


def parse_known(cls: type[T], *, prog: str) -> tuple[T, list[str]]:
    """What of the command line is a `cls`, and the arguments that are none of it; exits like `parse`."""
    import tyro

    with _box_in_one_sentence(cls, prog):
        known, rest = tyro.cli(cls, prog=prog, return_unknown_args=True)
    return known, list(rest)


def value_of(arguments: Sequence[str], flag: str) -> str | None:
    """The value of a flag before the flags are parsed, None where it is not given; the last one where it is twice."""
    names = (f"--{flag}", f"--{flag.replace('-', '_')}")
    value = None
    for i, argument in enumerate(arguments):
        name, equals, rest = argument.partition("=")
        if name in names:
            value = rest if equals else next(iter(arguments[i + 1 :]), None)
    return value


@contextlib.contextmanager
def _box_in_one_sentence(cls: type, prog: str) -> Iterator[None]:
    """tyro explains an error in a box of several lines; the sentence in it is taken out."""
    captured = io.StringIO()
    try:
        with contextlib.redirect_stderr(captured):
            yield
    except SystemExit as exit_:
        if exit_.code in (0, None):
            raise
        fail(EXIT_BAD_CONFIG, _sentence(captured.getvalue(), cls.__name__) or f"{prog} cannot read its flags")


def _sentence(box: str, class_name: str) -> str:
    words: list[str] = []
    for line in box.splitlines()[1:]:
        text = line.strip("│ \t")
        if text.startswith(("─", "╰")):
            break
        words.append(text)
    return " ".join(words).removeprefix(f"Error parsing {class_name}: ")
