"""`python -m bench.results_page`: the tables of README.md and docs/results.md, made from the files of bench/results.

bench/results/index.toml says which files make which table. A page has `<!-- table NAME -->` before each and
`<!-- end of table -->` after it; what is between them is written by this program, and the rest by people.
"""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass

from a3c_fast.cli import parse
from bench.command import errors_in_one_sentence
from bench.result_tables import KINDS, RESULTS, Entry

ROOT = RESULTS.parents[1]
PAGES = {"README.md": "bench/results", "docs/results.md": "../bench/results"}  # and the way to the files from there

_TABLE = re.compile(r"(<!-- table (\w+) -->\n).*?(<!-- end of table -->)", re.DOTALL)


@dataclass(frozen=True)
class Arguments:
    """Makes the tables of README.md and docs/results.md from the files of bench/results."""

    check: bool = False
    """Write nothing; status 1 where a page is not as it would be made."""


def index() -> dict[str, Entry]:
    """The tables by their names."""
    return tomllib.loads((RESULTS / "index.toml").read_text())


def table(entry: Entry, way: str) -> str:
    """Markdown, with links to the files by their `way` from the page."""
    header, rows = KINDS[entry["kind"]](entry)
    lines = [header, ["---"] * len(header), *rows]
    used = [column for column in range(len(header)) if column == 0 or any(row[column] for row in rows)]
    text = "\n".join("| " + " | ".join(line[column] for column in used) + " |" for line in lines)
    return text.replace("{results}", way).replace("|  |", "| |")


def made(text: str, way: str) -> str:
    """A page with its tables made anew. Raises `KeyError` for a table that the index does not have."""
    tables = index()
    return _TABLE.sub(lambda match: f"{match[1]}\n{table(tables[match[2]], way)}\n\n{match[3]}", text)


@errors_in_one_sentence()
def main() -> None:
    """The command."""
    args = parse(Arguments, None, prog="python -m bench.results_page")
    stale = {}
    for page, way in PAGES.items():
        text = (ROOT / page).read_text()
        if (new := made(text, way)) != text:
            stale[page] = new
    if args.check and stale:
        raise RuntimeError(f"{', '.join(stale)} is not what `python -m bench.results_page` makes")
    for page, new in stale.items():
        (ROOT / page).write_text(new)


if __name__ == "__main__":
    main()
