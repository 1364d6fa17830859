"""What the commands share: flags from a dataclass, errors in one sentence, exit statuses."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Sequence
from typing import NoReturn, TypeVar

T = TypeVar("T")

EXIT_BAD_CONFIG = 2
EXIT_FAILED = 1


def fail(status: int, error: object) -> NoReturn:
    """Prints one sentence on standard error and exits."""
    print(f"error: {error}", file=sys.stderr)
    raise SystemExit(status)


def parse(cls: type[T], arguments: Sequence[str] | None, *, prog: str, default: T | None = None) -> T:
    """The command line as a `cls`; exits with status 2 and one sentence when it is not one.

    tyro explains an error in a box of several lines; the sentence in it is taken out.
    """
    import tyro

    captured = io.StringIO()
    try:
        with contextlib.redirect_stderr(captured):
            if default is None:
                return tyro.cli(cls, args=arguments, prog=prog)
            return tyro.cli(cls, args=arguments, prog=prog, default=default)
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
