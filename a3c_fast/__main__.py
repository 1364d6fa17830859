"""`a3c-fast COMMAND`, which is `python -m a3c_fast COMMAND`: hands the rest of the line to the command's module.

Exit status 2 for a command that does not exist, else the command's own.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path

from a3c_fast.commands import COMMANDS
from a3c_fast.output import Output, let_go_of_what_is_unwritten, occupy_standard_files
from a3c_fast.values import words

_BAD_COMMAND = 2


def main(arguments: Sequence[str] | None = None) -> None:
    """The command. Ends with `SystemExit`; with `arguments` it is part of a program, as are those that it calls."""
    of_process = arguments is None
    if of_process:
        _look_in_working_directory()
    first, *rest = (sys.argv[1:] if arguments is None else words(arguments)) or ["--help"]
    if first in COMMANDS:
        module = importlib.import_module(f"a3c_fast.{COMMANDS[first].module}")
        if of_process:
            sys.argv[1:] = rest
        module.main(None if of_process else rest)
        raise SystemExit(0)
    if of_process:
        occupy_standard_files()
    try:
        _about(first, Output(says_so=False))
    finally:
        if of_process:
            let_go_of_what_is_unwritten()


def _look_in_working_directory() -> None:
    """Modules there can be imported, as with `python -m`: `--env-id my_package.envs:make_env` names one."""
    if sys.flags.safe_path or "" in sys.path:
        return
    with contextlib.suppress(OSError):  # it is gone
        here = str(Path.cwd())
        if here not in sys.path:
            sys.path.insert(0, here)


def _about(word: str, output: Output) -> None:
    if word in ("-h", "--help", "help"):
        output.say(_help())
        raise SystemExit(0)
    if word in ("-V", "--version", "version"):
        from a3c_fast.versions import described

        output.say(described())
        raise SystemExit(0)
    output.complain(f"error: {_unknown(word)}")
    raise SystemExit(_BAD_COMMAND)


def _help() -> str:
    width = max(map(len, COMMANDS)) + 2
    lines = ["usage: a3c-fast COMMAND ...", "", "Asynchronous advantage actor-critic on CPUs.", "", "commands:"]
    lines += [f"  {name:<{width}}{command.summary}" for name, command in COMMANDS.items()]
    lines += ["", f"  {'--help':<{width}}This. Each command has its own: a3c-fast train --help"]
    lines += [
        f"  {'--version':<{width}}The versions of what it runs on, and the kernels of this CPU.",
        "",
        "a first run:",
    ]
    return "\n".join(
        [*lines, "  a3c-fast train --env-id CartPole-v1 --run-dir runs/cartpole", "  a3c-fast evaluate runs/cartpole"]
    )


def _unknown(word: str) -> str:
    from a3c_fast.suggestions import did_you_mean

    if word.startswith("-"):
        return f"{word} comes after a command, as in a3c-fast train {word}; --help names the commands"
    meant = did_you_mean(word, COMMANDS) or "; a3c-fast --help names those that there are"
    return f"{word!r} is no command of a3c-fast{meant}"


if __name__ == "__main__":
    main()
