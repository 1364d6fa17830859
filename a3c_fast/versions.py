"""The versions that a run depends on, and the check that the extension meets the torch it was built for."""

from __future__ import annotations

import platform
from importlib import metadata


def versions() -> dict[str, str]:
    """What to write beside a result."""
    names = {"a3c_fast": "a3c-fast", "torch": "torch", "envpool": "envpool", "gymnasium": "gymnasium", "numpy": "numpy"}
    found = {name: metadata.version(distribution) for name, distribution in names.items()}
    return {**found, "python": platform.python_version()}


def check() -> None:
    """Raises `ImportError` in one sentence unless the extension is this package's and was built for this torch."""
    import torch  # before the extension, whose libraries lie in torch's wheel

    # An extension runs only with the torch it was built for. The wheel's metadata names it without loading anything.
    found = torch.__version__.partition("+")[0]
    pins = [line.partition("==")[2] for line in metadata.requires("a3c-fast") or [] if line.startswith("torch==")]
    if pins and pins[0] != found:
        raise ImportError(
            f"a3c_fast was built for torch {pins[0]} and finds torch {found}: "
            f"install torch {pins[0]}, or build a3c_fast again with `pip install .`"
        )
    import a3c_fast_core

    ours = metadata.version("a3c-fast")
    if a3c_fast_core.__version__ != ours:
        raise ImportError(
            f"a3c_fast is version {ours} and its extension version {a3c_fast_core.__version__}: "
            "install both again with `pip install .`"
        )
