"""`python -P __main__.py SOCKET MEMORY GO DONE LIFELINE`, file descriptors all: `main()` of process.py."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

NAME = "a3c_fast_child"  # a3c_fast itself, which the files lie in, would import torch


def load() -> None:
    """Makes a package of this directory."""
    spec = importlib.util.spec_from_file_location(NAME, Path(__file__).with_name("__init__.py"))
    assert spec is not None
    assert spec.loader is not None
    package = importlib.util.module_from_spec(spec)
    sys.modules[NAME] = package
    spec.loader.exec_module(package)


if __name__ == "__main__":
    load()
    importlib.import_module(f"{NAME}.process").main()
