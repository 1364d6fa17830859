"""Build-time metadata: an extension runs only with the torch it was built for, so the wheel depends on exactly that.

In an isolated build this is the torch of build-system.requires; with --no-build-isolation, whatever torch is there. A
wheel with extensions for several torches (A3C_TORCHES, see CMakeLists.txt) takes every release of their minor versions.
"""

from __future__ import annotations

import os
import re
from importlib import metadata
from pathlib import Path
from typing import Any


def dynamic_metadata(field: str, settings: dict[str, Any]) -> list[str]:
    """The dependencies of the wheel: those of pyproject.toml and the torch, or torches, at hand."""
    if field != "dependencies":
        raise ValueError(f"this provider knows dependencies and not {field}")
    folders = [folder for folder in os.environ.get("A3C_TORCHES", "").split(";") if folder]
    pin = _range(folders) if folders else f"torch=={metadata.version('torch').partition('+')[0]}"
    return [pin, *settings["beside-torch"]]


def _range(folders: list[str]) -> str:
    """All releases of the minor versions of torch in these folders, which must leave none out."""
    minors = sorted(_minor(Path(folder) / "torch" / "version.py") for folder in folders)
    (major, first), (_, last) = minors[0], minors[-1]
    if minors != [(major, minor) for minor in range(first, last + 1)]:
        raise ValueError(f"A3C_TORCHES must hold consecutive minor versions of torch, one of each: {minors}")
    return f"torch>={major}.{first},<{major}.{last + 1}"


def _minor(version_file: Path) -> tuple[int, int]:
    found = re.search(r"__version__ = '(\d+)\.(\d+)\.", version_file.read_text())
    if found is None:
        raise ValueError(f"no version of torch in {version_file}")
    return int(found[1]), int(found[2])
