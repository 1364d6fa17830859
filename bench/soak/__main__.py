"""`python -m bench.soak NAME`: one of the programs of this folder. Exit status 1 when anything broke."""

from __future__ import annotations

import importlib
import json as json_module
import sys
import time
from pathlib import Path
from typing import Any

from a3c_fast.cli import EXIT_FAILED, parse
from a3c_fast.errors import ConfigError
from bench.command import check_positive, errors_in_one_sentence
from bench.machine import machine
from bench.soak.report import Report, directory_of

PROGRAMS = ("kills", "flips", "forks", "exits", "threads", "jobs", "children", "load")


def _program(name: str) -> Any:
    """The module of a program: its `Arguments`, those of them that must be `POSITIVE`, and `soak`."""
    return importlib.import_module(f"bench.soak.{name}")


def _print_help() -> None:
    print("usage: python -m bench.soak NAME [--json] [OPTIONS]\n")
    for name in PROGRAMS:
        print(f"{name:<8} {_program(name).Arguments.__doc__}")
    print("\n`python -m bench.soak NAME --help` tells the options.")


def measure(name: str, args: Any) -> dict[str, Any]:
    """Runs a program and returns what was done, what broke and the facts about the machine."""
    facts = machine()
    report = Report()
    begin = time.monotonic()
    with directory_of(report) as directory:
        _program(name).soak(args, directory, report)
    return {
        "program": name,
        "arguments": {key: str(value) if isinstance(value, Path) else value for key, value in vars(args).items()},
        "done": dict(report.done),
        "broken": report.broken,
        "kept": report.kept,
        "seconds": round(time.monotonic() - begin, 1),
        "machine": facts,
    }


@errors_in_one_sentence()
def main() -> None:
    """The command."""
    name, *rest = sys.argv[1:] or ["--help"]
    if name in ("-h", "--help"):
        _print_help()
        return
    if name not in PROGRAMS:
        raise ConfigError("NAME", name, f"it must be one of {', '.join(PROGRAMS)}")
    program = _program(name)
    args: Any = parse(program.Arguments, rest, prog=f"python -m bench.soak {name}")
    check_positive(args, *program.POSITIVE)
    result = measure(name, args)
    if args.json:
        print(json_module.dumps(result))
    else:
        done = ", ".join(f"{count} {what}" for what, count in result["done"].items())
        print(f"{name}: {done}; {len(result['broken'])} broke, in {result['seconds'] / 60:.1f} minutes")
    if result["broken"]:
        raise SystemExit(EXIT_FAILED)


if __name__ == "__main__":
    main()
