"""Runs the C++ unit tests, one program a unit."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from cpp_build import build, units


@pytest.fixture(scope="session")
def programs() -> Path:
    return build("cpp-tests")


@pytest.mark.parametrize("unit", units())
def test_unit(programs: Path, unit: str) -> None:
    done = subprocess.run([programs / unit], capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
