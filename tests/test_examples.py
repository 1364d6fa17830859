"""The programs of the pages in docs/ and those of examples/, as they stand there but for the number of steps."""

from __future__ import annotations

import re
from importlib.util import find_spec
from pathlib import Path

import pytest
from helpers import run

ROOT = Path(__file__).parents[1]
PROGRAMS = [
    program
    for name in ("environments.md", "embedding.md", "migrating.md", "tracking.md")
    for program in re.findall(r"```python\n(.*?)```", (ROOT / "docs" / name).read_text(), re.DOTALL)
    if "run_dir=" in program and "MyEnv" not in program
]
# play_onnx.py plays what was exported: tests/test_export.py runs it.
EXAMPLES = sorted(path for path in (ROOT / "examples").glob("*.py") if path.name != "play_onnx.py")
NOTEBOOK = ROOT / "examples" / "notebook.ipynb"

# Asks the program of examples/fastapi_policy.py, imported as `program`.
ASKS = """
from fastapi.testclient import TestClient
import program

client = TestClient(program.app)
answer = client.post("/act", json={"observations": [[0, 0, 0.02, 0], [0, 0, -0.02, 0]]})
assert answer.status_code == 200 and set(answer.json()["actions"]) <= {0, 1}, answer.text
answer = client.post("/act", json={"observations": [[0]]})
assert answer.status_code == 422 and "shape" in answer.json()["detail"], answer.text
"""


def skip_unless_installed(*names: str) -> None:
    missing = sorted({name for name in names if find_spec(name) is None})
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed")


def needs(program: str) -> list[str]:
    """The packages that a program imports."""
    return re.findall(r"^(?:import|from) (\w+)", program, re.MULTILINE)


def shortened(program: str) -> str:
    workers = "" if "num_workers" in program else "num_workers=1, "
    short = re.sub(r"total_steps=[\d_]+", f"total_steps=500, {workers}t_max=5", program)
    short = re.sub(r"every_steps=[\d_]+", "every_steps=200", short)
    short = re.sub(r"evaluate_every=[\d_]+", "evaluate_every=300", short)
    short = re.sub(r"n_trials=\d+", "n_trials=2", short)
    assert short != program
    return short


def test_there_are_programs() -> None:
    assert len(PROGRAMS) == 14
    assert len(EXAMPLES) == 8


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: re.search(r"runs/(\w+)", program)[1])
def test_a_program_of_a_page_runs(program: str, tmp_path: Path) -> None:
    skip_unless_installed(*needs(program))
    done = run("-c", shortened(program), cwd=tmp_path)
    assert done.status == 0, done
    assert list(tmp_path.glob("runs/*/checkpoints/*.safetensors"))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.stem)
def test_an_example_runs(example: Path, tmp_path: Path) -> None:
    program = example.read_text()
    assert 15 <= len(program.splitlines()) <= 60
    is_served = "FastAPI" in program
    skip_unless_installed(*needs(program), *(["httpx"] if is_served else []))
    (tmp_path / "program.py").write_text(shortened(program))
    begins = "import os, runpy, sys; os.environ['WANDB_MODE'] = 'offline'; sys.path.insert(0, ''); "
    done = run(
        "-c", begins + (ASKS if is_served else "runpy.run_path('program.py', run_name='__main__')"), cwd=tmp_path
    )
    assert done.status == 0, done
    assert "run_dir" not in program or list(tmp_path.glob("runs/*/checkpoints/*.safetensors"))


def test_the_notebook_runs(tmp_path: Path) -> None:
    skip_unless_installed("nbclient", "nbformat", "ipykernel")
    import nbclient
    import nbformat

    notebook = nbformat.read(NOTEBOOK, 4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert all(not cell.outputs and cell.execution_count is None for cell in cells)
    for cell in cells:
        cell.source = cell.source.replace("300_000", "2_000").replace("150_000", "1_000")
    nbclient.NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [output["data"].get("text/html", "") for cell in cells for output in cell.outputs if "data" in output]
    assert any("<progress" in html and "mean return" in html for html in shown)
