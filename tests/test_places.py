"""Training where the system is not as a developer's is: no home, nothing to write in, other locales."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import read_lines

_TRAIN = "from a3c_fast.train import main; main()"


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"HOME": None}, id="no home"),
        pytest.param({"HOME": "/proc/nonexistent"}, id="a home that cannot be written"),
        pytest.param({"TMPDIR": "/nonexistent"}, id="no folder for temporary files"),
        pytest.param({"LC_ALL": "C"}, id="C"),
        pytest.param({"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, id="POSIX without UTF-8"),
        pytest.param({"LC_ALL": "tr_TR.UTF-8"}, id="Turkish"),
    ],
)
def test_it_trains(tmp_path: Path, changes: dict[str, str | None]) -> None:
    environment = {**os.environ, **{name: value for name, value in changes.items() if value is not None}}
    for name, value in changes.items():
        if value is None:
            environment.pop(name, None)
    command = [sys.executable, "-c", _TRAIN, "--env-id", "CartPole-v1", "--total-steps", "2000", "--num-workers", "1"]
    done = subprocess.run(
        [*command, "--run-dir", str(tmp_path / "run")],
        cwd="/proc",  # where nothing can be written
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done
    assert read_lines(tmp_path / "run")[-1]["step"] >= 2000
