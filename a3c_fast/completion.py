"""`a3c-fast completion bash|zsh|fish`: a script with which a shell completes commands, flags, choices and environments.

shtab writes it, from the flags that the commands have. Names of environments are asked for when they are first needed,
by `a3c-fast completion environments`.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import importlib.util
import re
import sys
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata, resources
from pathlib import Path
from typing import Any

from tyro.conf import Positional

from a3c_fast.commands import COMMANDS
from a3c_fast.output import Output, let_go_of_what_is_unwritten, occupy_standard_files
from a3c_fast.values import words

_PROGRAM = "a3c-fast completion"
_SHELLS = ("bash", "zsh", "fish")
_ENVIRONMENTS = "environments"  # beside the names of shells

# Called by what completes --env-id: the names, which a shell keeps as long as it runs.
_PREAMBLE = {
    "bash": """\
_a3c_fast_environments() {
  [[ -n "$_A3C_FAST_ENVIRONMENTS" ]] || _A3C_FAST_ENVIRONMENTS=$(a3c-fast completion environments 2>/dev/null)
  compgen -W "$_A3C_FAST_ENVIRONMENTS" -- "$1"
}
""",
    "zsh": """\
_a3c_fast_environments() {
  if [[ -z $_a3c_fast_environments_found ]]; then
    typeset -ga _a3c_fast_environments_found
    _a3c_fast_environments_found=(${(f)"$(a3c-fast completion environments 2>/dev/null)"})
  fi
  compadd -a _a3c_fast_environments_found
}
""",
    "fish": """\
function __a3c_fast_environments
  if not set -q __a3c_fast_environments_found
    set -g __a3c_fast_environments_found (a3c-fast completion environments 2>/dev/null)
  end
  printf '%s\\\\n' $__a3c_fast_environments_found
end
""",
}
_COMPLETES_ENVIRONMENTS = {
    "bash": "_a3c_fast_environments",
    "zsh": "_a3c_fast_environments",
    "fish": "(__a3c_fast_environments)",
}


@dataclass(frozen=True)
class Arguments:
    """Prints a script with which a shell completes the commands of a3c-fast."""

    shell: Positional[str]
    """bash, zsh or fish; `environments` prints the names of EnvPool's environments, one a line."""


def main(arguments: Sequence[str] | None = None) -> None:
    """The command. Exit status: 0 done; 2 for another shell; 1 where shtab is missing."""
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
        shell = " ".join(written.get("shell", ()))
        if shell == _ENVIRONMENTS:
            output.say("\n".join(environments()))
        elif shell in _SHELLS:
            output.say(script(shell).rstrip("\n"))
        else:
            from a3c_fast.suggestions import did_you_mean

            allowed = f"it must be one of {', '.join(_SHELLS)}{did_you_mean(shell, _SHELLS)}"
            cli.fail(cli.EXIT_BAD_CONFIG, ConfigError("shell", shell, allowed))
    except ImportError as error:
        cli.fail(cli.EXIT_FAILED, error)
    finally:
        if of_process:
            let_go_of_what_is_unwritten()


def environments() -> list[str]:
    """The names of EnvPool's environments: those that were tried with this version of it, else all of its registry.

    The first takes a hundredth of the second, which imports EnvPool.
    """
    version, *ids = (resources.files("a3c_fast.envs") / "tried.txt").read_text("utf-8").splitlines()
    if version == f"EnvPool {metadata.version('envpool')}":
        return ids
    from a3c_fast.imports import import_envpool

    return sorted(import_envpool().registration.registry.specs)


def script(shell: str) -> str:
    """The script for a shell. Raises `ImportError` where shtab is missing."""
    try:
        import shtab
    except ImportError as error:
        raise ImportError("shell completion needs shtab: pip install shtab") from error
    parser = argparse.ArgumentParser(prog="a3c-fast", add_help=False)
    parser.add_argument("--help", action="store_true", help="show the commands")
    parser.add_argument("--version", action="store_true", help="show versions and kernels")
    commands = parser.add_subparsers()
    for name, command in COMMANDS.items():
        summary = command.summary.rstrip(".")
        _add_flags(commands.add_parser(name, help=summary, description=summary, add_help=False), command.module)
    preamble: Any = _PREAMBLE  # shtab takes one for each shell, and its annotation says a string
    text: str = shtab.complete(parser, shell=shell, preamble=preamble)
    return text


def _add_flags(parser: argparse.ArgumentParser, module: str) -> None:
    """The flags of a command: the fields of its `Arguments`, or those of training."""
    from a3c_fast.help import field_docs

    parser.add_argument("--help", action="store_true", help="show all flags")
    if module == "completion":
        parser.add_argument("shell", choices=_SHELLS)
        return
    if module == "train":
        from a3c_fast.config import Config
        from a3c_fast.train import FileFlags

        classes: Sequence[Any] = (Config, FileFlags)
    else:
        classes = (importlib.import_module(f"a3c_fast.{module}").Arguments,)
    for cls in classes:
        hints = typing.get_type_hints(cls)
        documented = field_docs(cls)
        with_extras = typing.get_type_hints(cls, include_extras=True)
        for field in dataclasses.fields(cls):
            about = re.split(r"[.,;:(]", documented.get(field.name, "").replace("`", ""))[0].strip().replace("%", "%%")
            is_flag = typing.get_origin(with_extras[field.name]) is not typing.Annotated
            _add(parser, field.name, hints[field.name], about, is_flag=is_flag)


def _add(parser: argparse.ArgumentParser, name: str, hint: Any, about: str, *, is_flag: bool) -> None:
    import shtab

    flag = f"--{name.replace('_', '-')}" if is_flag else name
    if hint is bool:
        parser.add_argument(flag, action="store_true", help=about)
        parser.add_argument(f"--no-{flag.removeprefix('--')}", action="store_true", help=f"not: {about}")
        return
    kinds = typing.get_args(hint) if typing.get_origin(hint) is not typing.Literal else (hint,)
    kinds = kinds or (hint,)
    choices = [
        choice for kind in kinds if typing.get_origin(kind) is typing.Literal for choice in typing.get_args(kind)
    ]
    several = "*" if typing.get_origin(hint) is tuple else None
    action: Any = parser.add_argument(flag, help=about, nargs=several, choices=choices or None)
    if name == "env_id":
        action.complete = _COMPLETES_ENVIRONMENTS
    elif name in ("run_dir", "run_dirs", "runs"):
        action.complete = shtab.DIRECTORY
    elif Path in kinds:
        action.complete = shtab.FILE
