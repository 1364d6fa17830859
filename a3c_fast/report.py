"""`a3c-fast report RUN_DIR [RUN_DIR ...]`: one HTML page about one run, or about several side by side.

The page holds its charts, its data and its script, and fetches nothing.
"""

from __future__ import annotations

import html
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata, resources
from pathlib import Path
from typing import Any

from tyro.conf import Positional

from a3c_fast import cli, files
from a3c_fast.errors import CheckpointError, ConfigError
from a3c_fast.output import Output, let_go_of_what_is_unwritten, occupy_standard_files
from a3c_fast.paths import shown
from a3c_fast.report_data import STAGE_GROUPS, run_data
from a3c_fast.values import words

_PROGRAM = "a3c-fast report"
_GENERATOR = b'<meta name="generator" content="a3c-fast">'
_MOST_BYTES = 2**28  # of a page that is replaced
_VIDEO_BYTES = 6 * 2**20  # of all runs together, so that a page stays below 10 MB


@dataclass(frozen=True)
class Arguments:
    """Writes an HTML page about runs: curves, scores, settings and where the time went."""

    run_dirs: Positional[tuple[Path, ...]]
    """Directories of the runs, which may be under way."""
    output: Path = Path("report.html")
    """The page; an earlier report is replaced, and no other file."""


def report(run_dirs: Sequence[Path]) -> str:
    """The page about the runs in these directories.

    Raises `CheckpointError` where there is no run, `ConfigError` for settings that this version does not have,
    `OSError` with the path of a file that cannot be read.
    """
    video_bytes = _VIDEO_BYTES // max(1, len(run_dirs))
    names = _names(run_dirs)
    runs = [
        run_data(path, number, name, video_bytes)
        for number, (path, name) in enumerate(zip(run_dirs, names, strict=True))
    ]
    games = list(dict.fromkeys(run["env"] for run in runs))
    title = games[0] if len(games) == 1 else f"{len(games)} environments"
    data: dict[str, Any] = {
        "title": title,
        "subtitle": _subtitle(runs, games),
        "made": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "version": metadata.version("a3c-fast"),
        "stage_groups": STAGE_GROUPS,
        "runs": runs,
    }
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    pieces = {
        "title": html.escape(f"{title}: a3c-fast"),
        "style": _piece("page.css"),
        "script": _piece("page.js"),
        "data": text.replace("<", "\\u003c"),  # nothing in it ends the element that it stands in
    }
    head, *parts = _piece("page.html").split("{{")
    page = [head]
    for part in parts:  # one pass: what is put in is not looked at again
        name, _, rest = part.partition("}}")
        page += [pieces[name], rest]
    return "".join(page)


def main(arguments: Sequence[str] | None = None) -> None:
    """The command. Exit status: 0 done; 2 a flag or a run that cannot be; 1 else."""
    of_process = arguments is None
    output = Output(says_so=False)
    if of_process:
        occupy_standard_files()
    try:
        _main(sys.argv[1:] if arguments is None else words(arguments), output)
    finally:
        if of_process:
            let_go_of_what_is_unwritten()


def _main(arguments: Sequence[str], output: Output) -> None:
    args = cli.parse(Arguments, arguments, prog=_PROGRAM)
    place = args.output.expanduser()
    try:
        if not args.run_dirs:
            raise ConfigError("run_dirs", "", f"at least one directory is required: {_PROGRAM} RUN_DIR")
        if place.suffix.lower() not in (".html", ".htm"):
            raise ConfigError("output", str(place), "it must end in .html")
        if not place.parent.is_dir():
            raise ConfigError("output", str(place), f"{shown(place.parent)} is no directory")
        if place.exists() and _GENERATOR not in files.read(place, _MOST_BYTES)[:4096]:
            raise ConfigError("output", str(place), "there is a file that is no report: choose another name")
        page = report([path.expanduser() for path in args.run_dirs])
    except (ConfigError, CheckpointError) as error:
        cli.fail(cli.EXIT_BAD_CONFIG, error)
    except OSError as error:
        cli.fail(cli.EXIT_FAILED, error)
    try:
        files.write(place, page.encode("utf-8"))
    except OSError as error:
        cli.fail(cli.EXIT_FAILED, error)
    output.say(f"{shown(place)}, {len(page) / 1e3:,.0f} kB: open it in a browser")
    raise SystemExit(0)


def _names(run_dirs: Sequence[Path]) -> list[str]:
    """The directories' own names, or as much of their paths as tells them apart."""
    whole = [path.absolute().parts for path in run_dirs]
    for count in range(1, max(map(len, whole), default=0) + 1):
        names = ["/".join(parts[-count:]) for parts in whole]
        if len(set(names)) == len(names):
            return names
    return [f"{'/'.join(parts[-1:])} ({i})" for i, parts in enumerate(whole, 1)]  # one directory twice


def _subtitle(runs: Sequence[dict[str, Any]], games: Sequence[str]) -> str:
    if len(runs) == 1:
        run = runs[0]
        return f"{run['name']}, seed {run['seed']}"
    seeds = {run["seed"] for run in runs}
    return (
        f"{len(runs)} runs"
        + (f" of {', '.join(games)}" if len(games) > 1 else "")
        + (f", {len(seeds)} seeds" if len(seeds) > 1 else "")
    )


def _piece(name: str) -> str:
    return resources.files("a3c_fast").joinpath("page", name).read_text(encoding="utf-8")


if __name__ == "__main__":
    main()
