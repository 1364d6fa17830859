"""Our declarations of the XLA FFI against jaxlib's own header, where jaxlib is installed."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def compiles(*options: str) -> subprocess.CompletedProcess[str]:
    jaxlib = pytest.importorskip("jaxlib", reason="the header to compare with is in jaxlib")
    compiler = shutil.which("c++")
    assert compiler is not None
    include = Path(jaxlib.__file__).parent / "include"
    source = ROOT / "tests" / "cpp" / "xla_ffi_header_check.cc"
    command = [compiler, "-std=c++20", "-fsyntax-only", f"-I{include}", f"-I{ROOT / 'cpp'}", *options, str(source)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_declarations_are_xlas() -> None:
    done = compiles()
    assert done.returncode == 0, done.stderr


def test_a_difference_would_show() -> None:
    assert "static assertion failed" in compiles("-DA3C_BREAK_THE_CHECK").stderr
