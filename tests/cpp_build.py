"""Builds the C++ tests with the torch of this environment: for pytest, and for the sanitizers."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def units() -> list[str]:
    """The test programs, by the names of their sources."""
    return sorted(path.stem for path in (ROOT / "tests" / "cpp").glob("*_test.cc"))


def tool(name: str) -> str:
    """A program of this environment, or of the machine."""
    beside = Path(sys.executable).with_name(name)
    found = str(beside) if beside.exists() else shutil.which(name)
    if found is None:
        raise RuntimeError(f"{name} is not there: the extra `test` installs it")
    return found


def build(name: str, *options: str) -> Path:
    """Configures and builds all test programs in build/NAME; returns the directory they are in."""
    directory = ROOT / "build" / name
    configure = [
        tool("cmake"),
        "-S",
        str(ROOT),
        "-B",
        str(directory),
        "-G",
        "Ninja",
        f"-DCMAKE_MAKE_PROGRAM={tool('ninja')}",
        f"-DPython_EXECUTABLE={sys.executable}",
        "-DA3C_BUILD_EXTENSION=OFF",
        "-DA3C_BUILD_TESTS=ON",
        *options,
    ]
    for command in (configure, [tool("cmake"), "--build", str(directory)]):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{' '.join(command)} failed:\n{done.stdout[-8000:]}\n{done.stderr[-4000:]}")
    return directory / "tests" / "cpp"
