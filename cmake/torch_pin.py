"""Build-time metadata: an extension runs only with the torch it was built for, so the wheel depends on exactly that.

In an isolated build this is the torch of build-system.requires; with --no-build-isolation, whatever torch is there.
"""

from __future__ import annotations

from importlib import metadata
from typing import Any


def dynamic_metadata(field: str, settings: dict[str, Any]) -> list[str]:
    """The dependencies of the wheel: those of pyproject.toml and the torch at hand."""
    if field != "dependencies":
        raise ValueError(f"this provider knows dependencies and not {field}")
    version = metadata.version("torch").partition("+")[0]
    return [f"torch=={version}", *settings["beside-torch"]]
