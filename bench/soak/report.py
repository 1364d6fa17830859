"""What a program has done and what broke on the way."""

from __future__ import annotations

import contextlib
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Report:
    """Counts and sentences; a sentence is also told on standard error at once."""

    done: Counter[str] = field(default_factory=Counter)
    """How often each thing was done or seen."""
    broken: list[str] = field(default_factory=list)
    """One sentence for each thing that is not as it must be."""
    kept: str | None = None
    """The directory of the program's runs, which stays where anything broke."""

    def fail(self, sentence: str) -> None:
        """Notes `sentence`, which says what is not as it must be."""
        self.broken.append(sentence)
        print(f"broken: {sentence}", file=sys.stderr, flush=True)

    def check(self, as_it_must_be: bool, sentence: str) -> bool:
        """Notes `sentence` unless all is as it must be; returns the first argument."""
        if not as_it_must_be:
            self.fail(sentence)
        return as_it_must_be


@contextlib.contextmanager
def directory_of(report: Report) -> Iterator[Path]:
    """A new directory for the program's runs, deleted at the end unless something broke."""
    directory = Path(tempfile.mkdtemp(prefix="a3c-fast-soak-"))
    try:
        yield directory
    finally:
        if report.broken:
            report.kept = str(directory)
        else:
            shutil.rmtree(directory, ignore_errors=True)
