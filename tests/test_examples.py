"""The programs of docs/environments.md and docs/embedding.md, as they stand there but for the number of steps."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[1] / "docs"
PROGRAMS = [
    program
    for name in ("environments.md", "embedding.md")
    for program in re.findall(r"```python\n(.*?)```", (DOCS / name).read_text(), re.DOTALL)
    if "run_dir=" in program and "MyEnv" not in program
]


def needs(program: str) -> list[str]:
    """The packages that a program imports."""
    return re.findall(r"^(?:import|from) (\w+)", program, re.MULTILINE)


def test_there_are_programs() -> None:
    assert len(PROGRAMS) == 12


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: re.search(r"runs/(\w+)", program)[1])
def test_a_program_runs(program: str, tmp_path: Path) -> None:
    missing = sorted({name for name in needs(program) if find_spec(name) is None})
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed")
    workers = "" if "num_workers" in program else "num_workers=1, "
    short = re.sub(r"total_steps=[\d_]+", f"total_steps=500, {workers}t_max=5", program)
    short = re.sub(r"every_steps=[\d_]+", "every_steps=200", short)
    short = re.sub(r"evaluate_every=[\d_]+", "evaluate_every=300", short)
    assert short != program
    script = tmp_path / "program.py"
    script.write_text(short)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done
    assert list(tmp_path.glob("runs/*/checkpoints/*.safetensors"))
