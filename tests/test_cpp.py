"""The C++ unit tests, one test here for each executable there."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import sanitize

UNITS = sorted(path.stem for path in (Path(__file__).parent / "cpp").glob("*_test.cc"))


@pytest.mark.parametrize("unit", UNITS)
def test_unit(unit: str, cpp_tests: Path) -> None:
    # ctest sets the environment of a test and ends it when it hangs.
    command = sanitize.ctest(cpp_tests, "--tests-regex", f"^{unit}$")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
