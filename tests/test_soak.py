"""Each program of bench/soak, briefly: nothing breaks, and it counts what it has done. And what breaks is told."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from helpers import PATIENCE
from test_bench import run

from bench.soak import flips, load
from bench.soak.processes import Process, call, returned
from bench.soak.report import Report, directory_of


@pytest.fixture(autouse=True)
def _where_runs_are_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # those in which something broke are kept


def soak(name: str, *flags: str) -> dict[str, int]:
    result: dict[str, Any] = run("soak", name, *flags)
    assert (result["program"], result["broken"], result["kept"]) == (name, [], None)
    assert result["machine"]["cores"] > 0
    done: dict[str, int] = result["done"]
    return done


def test_kills() -> None:
    done = soak("kills", "--kills", "2", "--most-seconds", "1")
    assert done == {"kills at any moment from the start": 1, "kills while it trained": 1}


def test_flips() -> None:
    done = soak("flips", "--count", "2", "--commands", "1")
    assert done["cut of checkpoint.load.safetensors: refused"] == 2
    assert sum(count for what, count in done.items() if what.startswith("flip of metrics.read")) == 2
    assert sum(count for what, count in done.items() if what.startswith(("evaluate", "train --resume"))) == 2


def test_forks() -> None:
    done = soak("forks", "--forks", "2", "--workers", "4", "--states", "ended", "running")
    assert done == {"forks, ended": 2, "forks, running": 2}


def test_exits() -> None:
    done = soak("exits", "--programs", "1", "--calls", "run", "state_dict")
    assert done == {"run: status 0": 1, "state_dict: status 0": 1}


def test_threads() -> None:
    done = soak("threads", "--minutes", "0.05", "--most-seconds", str(PATIENCE))
    assert done["close"] == 1
    assert done["stats"] > 0


def test_jobs() -> None:
    assert soak("jobs", "--rounds", "1") == {"rounds": 1, "refused": 2}


def test_children() -> None:
    done = soak("children", "--rounds", "12", "--many", "3")
    assert done.pop("processes of one run") == 3
    del done["seconds until they were made"], done["seconds until they were closed"]
    assert sum(done.values()) == 12


def test_load() -> None:
    # Not at nice 19: beside one more busy process, such as a compiler, the tests would take an hour to be imported.
    done = soak("load", "--busy", "1", "--nice", "0", "--tests", "tests/test_soak.py::test_a_test")
    (summary,) = done
    assert "1 passed" in summary


def test_a_test() -> None:
    """What `test_load` runs."""


def test_what_breaks_is_told_and_its_files_are_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    report = Report()
    with directory_of(report) as directory:
        load.soak(load.Arguments(busy=1, nice=0, tests=("tests/no_such_test.py",)), directory, report)
    (sentence,) = report.broken
    assert "no_such_test.py" in sentence
    assert capsys.readouterr().err == f"broken: {sentence}\n"
    assert report.kept == str(directory)
    assert directory.is_dir()


def test_no_program() -> None:
    result = Process("-m", "bench.soak", "kill").result()
    assert (result.status, result.stdout) == (2, "")
    assert result.stderr.startswith("error: NAME is 'kill', but it must be one of kills, ")


@pytest.mark.parametrize("damage", flips.DAMAGES)
@pytest.mark.parametrize("content", [b"", b"\0", bytes(range(200))])
def test_a_damage_changes_something(damage: Any, content: bytes) -> None:
    for seed in range(20):
        assert damage(content, random.Random(seed)) != content or (damage is flips.cut and not content)


def test_how_processes_end() -> None:
    assert Process("-c", "raise SystemExit(3)").result().status == 3
    assert Process("-c", "import os; os.kill(os.getpid(), 9)").result().status == -9
    hung = Process("-c", "print('here', flush=True); import time; time.sleep(1000)")
    assert hung.until(lambda: hung.stdout)
    result = hung.result(0)
    assert (result.status, result.stdout) == (None, "here\n")
    assert "most recent call first" in result.stderr
    assert str(result).startswith("it hung")
    assert returned(call(json.dumps, [1, "a"]).result()) == '[1, "a"]'
    assert returned(call(json.loads, "no").result()) is None
