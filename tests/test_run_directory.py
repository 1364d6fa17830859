"""The directory of a run: whose it is, who may train in it, and that nothing outside of it is touched."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
import signal
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from helpers import DATA, FAKE, PATIENCE, Process, read_lines, start

from a3c_fast import Config, Trainer, files, metrics
from a3c_fast import checkpoint as checkpoints
from a3c_fast.curve import draw_curve
from a3c_fast.errors import CheckpointError, ConfigError
from a3c_fast.run_directory import RunDirectory

NAMES = (
    *(".lock", "config.json", "metrics.jsonl", "curve.png", "sessions.json", "checkpoints"),
    "events.out.tfevents.1.host.1.0",
)


def config_of(run_dir: Path, **changes: Any) -> Config:
    return Config(env_id=FAKE, num_workers=1, total_steps=2000, run_dir=run_dir, **changes)


def snapshot(directory: Path) -> dict[str, Any]:
    """Everything in a directory, whatever it is, but for the times."""
    found: dict[str, Any] = {}
    for path in sorted(directory.rglob("*")):
        status = path.lstat()
        content = path.read_bytes() if files.is_regular(path) else None
        found[str(path)] = (status.st_mode, status.st_ino, content, path.readlink() if path.is_symlink() else None)
    return found


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("run") / "run"
    with Trainer(config_of(run_dir)) as trainer:
        trainer.run(1000)
    return run_dir


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


@pytest.fixture
def dead(copy: Path) -> Path:
    """A run that died before its first checkpoint."""
    for path in checkpoints.paths(copy / "checkpoints"):
        path.unlink()
    (copy / "curve.png").unlink()
    return copy


def refused(config: Config, *parts: str) -> str:
    with pytest.raises((ConfigError, CheckpointError)) as caught:
        Trainer(config)
    sentence = str(caught.value)
    assert "\n" not in sentence
    for part in parts:
        assert part in sentence, sentence
    return sentence


# Links ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """What is not the run's: a file, and a directory with a checkpoint's name in it."""
    directory = tmp_path / "outside"
    (directory / "checkpoints").mkdir(parents=True)
    (directory / "file").write_text("mine", encoding="utf-8")
    for step in (1, 2, 10**9):
        (directory / "checkpoints" / f"{checkpoints.file_stem(step)}.safetensors").write_text("mine", encoding="utf-8")
    return directory


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("resume", [True, False])
@pytest.mark.parametrize("target", ["file", "checkpoints", "missing"])
def test_a_link_under_a_name_of_the_run_is_refused(
    copy: Path, outside: Path, name: str, resume: bool, target: str
) -> None:
    run_dir = copy
    if not resume:
        run_dir = copy.with_name("new")
        run_dir.mkdir()
    elif name == "checkpoints":
        shutil.rmtree(run_dir / name)
    else:
        (run_dir / name).unlink(missing_ok=True)
    (run_dir / name).symlink_to(outside / target)
    before = snapshot(outside), snapshot(run_dir)
    refused(config_of(run_dir, resume=resume), f"its {name} is a symbolic link")
    assert (snapshot(outside), snapshot(run_dir)) == before


def test_the_directory_itself_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "run").symlink_to(tmp_path / "disk")
    with Trainer(config_of(tmp_path / "run")) as trainer:
        trainer.run(1000)
    assert checkpoints.load_newest(tmp_path / "disk" / "checkpoints").step >= 1000


def test_another_name_of_a_file_of_the_run_keeps_its_content(copy: Path, tmp_path: Path) -> None:
    names = ("config.json", "metrics.jsonl", "curve.png", "sessions.json", ".lock")
    for name in names:
        (tmp_path / f"kept_{name}").hardlink_to(copy / name)
    before = {name: (copy / name).read_bytes() for name in names}
    with Trainer(config_of(copy, resume=True, seed=2)) as trainer:
        trainer.run()
    assert {name: (tmp_path / f"kept_{name}").read_bytes() for name in names} == before
    assert len(read_lines(copy)) > before["metrics.jsonl"].count(b"\n")


def test_a_link_that_comes_later_is_not_followed(tmp_path: Path, outside: Path) -> None:
    run_dir = tmp_path / "run"
    before = snapshot(outside)
    with Trainer(config_of(run_dir)) as trainer:
        trainer.run(500)
        (run_dir / "curve.png").symlink_to(outside / "file")
        shutil.move(run_dir / "checkpoints", tmp_path / "elsewhere")
        (run_dir / "checkpoints").symlink_to(outside / "checkpoints")
        with pytest.raises(OSError, match="symbolic link"):
            trainer.save()
    assert snapshot(outside) == before


# Ownership -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("resume", [True, False])
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("config.json", '{"name": "mine"}'),
        ("config.json", ""),
        ("config.json", "[]"),
        ("curve.png", "mine"),
        ("sessions.json", "[]"),
        (".lock", ""),
        (".lock", "1234\n"),
        ("metrics.jsonl", "mine"),
        ("metrics.jsonl", '{"loss": 1}\n'),
        ("metrics.jsonl", '{"step": 1}\n'),
        ("checkpoints/epoch_3.ckpt", "mine"),
    ],
)
def test_somebodys_files_under_the_names_of_a_run_are_refused(
    tmp_path: Path, name: str, text: str, resume: bool
) -> None:
    path = tmp_path / "run" / name
    path.parent.mkdir(parents=True)
    path.write_text(text, encoding="utf-8")
    before = snapshot(tmp_path)
    refused(config_of(tmp_path / "run", resume=resume), f"its {Path(name).parts[0]} ", "choose another")
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("name", NAMES)
def test_what_is_of_another_kind_than_a_runs_is_refused(tmp_path: Path, name: str) -> None:
    path = tmp_path / "run" / name
    path.parent.mkdir()
    if name == "checkpoints":
        path.write_text("mine", encoding="utf-8")
    else:
        path.mkdir()
    before = snapshot(tmp_path)
    refused(config_of(tmp_path / "run"), f"its {name} is no ")
    assert snapshot(tmp_path) == before


def test_other_files_do_not_matter_and_stay(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine", encoding="utf-8")
    (tmp_path / "data").mkdir()
    with Trainer(config_of(tmp_path)) as trainer:
        assert trainer._run_directory is not None
        assert trainer._run_directory.kind == "new"
        trainer.run(500)
    assert (tmp_path / "notes.txt").read_text(encoding="utf-8") == "mine"
    assert (tmp_path / "data").is_dir()


def test_a_refused_start_leaves_no_directory(tmp_path: Path, copy: Path) -> None:
    before = snapshot(tmp_path)
    refused(config_of(copy), "a run is already there", "--resume")
    refused(config_of(copy / "config.json"), "it cannot be made")
    refused(config_of(copy / "config.json" / "deeper"), "it cannot be made")
    assert snapshot(tmp_path) == before


def test_an_empty_lock_of_an_earlier_version_is_accepted_beside_its_run(tmp_path: Path) -> None:
    run_dir = Path(shutil.copytree(DATA / "format_1_fake", tmp_path / "run"))
    (run_dir / ".lock").touch()
    config = Config(env_id=FAKE, hidden_sizes=(8,), lstm_size=4, num_workers=1, run_dir=run_dir, resume=True)
    with Trainer(config) as trainer:
        assert trainer.stats()["step"] == 1206


# New, restarted, resumed ---------------------------------------------------------------------------------------------


def kind_of(config: Config) -> str:
    assert config.run_dir is not None
    directory = RunDirectory(config.run_dir, config)
    directory.close()
    return directory.kind


def test_resume_starts_where_there_is_nothing(tmp_path: Path) -> None:
    for run_dir in (tmp_path / "missing" / "deeper", tmp_path):
        assert kind_of(config_of(run_dir, resume=True)) == "new"
        assert kind_of(config_of(run_dir, resume=True)) == "new"  # one that died as it began
        with Trainer(config_of(run_dir, resume=True)) as trainer:
            assert trainer.run(500)["step"] >= 500


def test_resume_goes_on_where_there_is_a_run(copy: Path) -> None:
    assert kind_of(config_of(copy, resume=True)) == "resumed"
    with Trainer(config_of(copy, resume=True)) as trainer:
        assert trainer.stats()["step"] >= 1000


def test_a_run_that_died_before_its_first_checkpoint_begins_again(dead: Path) -> None:
    lines = (dead / "metrics.jsonl").read_bytes()
    assert lines
    refused(config_of(dead), "ended before its first checkpoint", "--resume")
    assert kind_of(config_of(dead, resume=True)) == "restarted"
    with Trainer(config_of(dead, resume=True)) as trainer:
        assert trainer.stats()["step"] == 0
        line = trainer.run(500)
    assert [row["step"] for row in metrics.read(dead)] == [line["step"]]
    assert (dead / "earlier_metrics.jsonl").read_bytes() == lines
    assert kind_of(config_of(dead, resume=True)) == "resumed"


def test_one_that_died_with_nothing_but_its_settings_begins_again(dead: Path) -> None:
    (dead / "metrics.jsonl").unlink()
    assert kind_of(config_of(dead, resume=True)) == "restarted"


def test_a_resume_with_all_checkpoints_damaged_is_refused(copy: Path) -> None:
    (path,) = checkpoints.paths(copy / "checkpoints")
    path.write_bytes(b"")
    before = snapshot(copy)
    refused(config_of(copy, resume=True), path.name, "is damaged")
    assert snapshot(copy) == before


# The lock ------------------------------------------------------------------------------------------------------------

_JOB = """
import sys, time
from pathlib import Path
from a3c_fast import Config, Trainer
from a3c_fast.errors import ConfigError
config = Config(env_id="a3c_fast/Fake-v0", num_workers=1, total_steps=10**9, run_dir=Path(sys.argv[1]), resume=True,
                checkpoint_every_seconds=0.1)
try:
    trainer = Trainer(config)
except ConfigError as error:
    print(error, flush=True)
    raise SystemExit(2)
print("trains", trainer._run_directory.kind, flush=True)
trainer.run()
"""


@pytest.fixture
def jobs() -> Iterator[Callable[[Path], Process]]:
    begun: list[Process] = []

    def begin(run_dir: Path) -> Process:
        begun.append(start("-c", _JOB, str(run_dir)))
        return begun[-1]

    yield begin
    for process in begun:
        if not process.ended():
            process.send(signal.SIGKILL)
            process.ended(PATIENCE)


def test_of_jobs_started_together_one_trains_and_after_its_death_the_next(
    tmp_path: Path, jobs: Callable[[Path], Process]
) -> None:
    run_dir = tmp_path / "new" / "run"
    for repetition in range(3):
        three = [jobs(run_dir) for _ in range(3)]
        for process in three:
            process.until(lambda process=process: process.stdout() or process.ended())
        trains = [process for process in three if process.stdout().startswith("trains")]
        assert len(trains) == 1, [process.stdout() for process in three]
        for process in three:
            if process not in trains:
                result = process.result()
                assert result.status == 2
                assert "another process trains in it" in result.stdout
        assert trains[0].stdout() == f"trains {'resumed' if repetition else 'new'}\n"
        count = len(checkpoints.candidates(run_dir / "checkpoints"))
        trains[0].until(lambda count=count: len(checkpoints.candidates(run_dir / "checkpoints")) > min(count, 2))
        trains[0].send(signal.SIGKILL)
        assert trains[0].ended(PATIENCE)


def test_a_child_of_a_fork_does_not_keep_the_lock(tmp_path: Path) -> None:
    directory = RunDirectory(tmp_path, config_of(tmp_path))
    (child_reads, parent_writes), (parent_reads, child_writes) = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(child_writes, b"x")
        os.read(child_reads, 1)
        os._exit(0)
    try:
        assert os.read(parent_reads, 1) == b"x"
        assert directory._lock_file is not None
        directory._lock_file.close()  # as at the end of a process that is killed
        directory._lock_file = None
        assert kind_of(config_of(tmp_path, resume=True)) == "new"
    finally:
        os.write(parent_writes, b"x")
        os.waitpid(pid, 0)
        for file in (child_reads, parent_writes, parent_reads, child_writes):
            os.close(file)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EIO])
def test_a_file_system_without_locks_is_warned_of_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def no_lock(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", no_lock)
    with pytest.warns(UserWarning, match="cannot be locked") as caught, Trainer(config_of(tmp_path / "run")) as trainer:
        trainer.run(500)
    assert len([warning for warning in caught if "locked" in str(warning.message)]) == 1
    assert checkpoints.load_newest(tmp_path / "run" / "checkpoints").step >= 500


def test_a_file_system_without_hard_links_has_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    directory = RunDirectory(tmp_path, config_of(tmp_path))
    refused(config_of(tmp_path, resume=True), "another process trains in it")
    directory.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "checkpoints"]


def test_the_lock_says_whose_it_is(finished: Path) -> None:
    assert (finished / ".lock").read_text(encoding="utf-8").startswith("a3c_fast: ")


# What cannot be written ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["", "checkpoints"])
def test_a_directory_that_cannot_be_written_is_known_at_the_start(
    copy: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    # Whoever runs the tests may write everywhere, root may; so the system's answer is made up.
    make = os.open

    def denied(path: Any, flags: int, *rest: Any, **more: Any) -> int:
        if flags & os.O_CREAT and Path(path).parent == copy / where:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return make(path, flags, *rest, **more)

    before = snapshot(copy)
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", denied)
        refused(config_of(copy, resume=True), "cannot be written: Permission denied", where)
    assert snapshot(copy) == before


def test_a_save_that_fails_names_its_file_and_the_next_one_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with Trainer(config_of(tmp_path)) as trainer:
        trainer.run(500)
        trainer.load_state_dict(trainer.state_dict())
        before = snapshot(tmp_path / "checkpoints")
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            with pytest.raises(OSError, match="No space left") as caught:
                trainer.save()
        assert str(caught.value.filename).startswith(str(tmp_path / "checkpoints" / "step_"))
        assert snapshot(tmp_path / "checkpoints") == before
        assert trainer.save().is_file()


def test_a_directory_that_is_deleted_while_it_trains_is_told_and_not_made_again(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    config = config_of(run_dir)
    directory = RunDirectory(run_dir, config)
    with Trainer(config_of(tmp_path / "other")) as trainer:
        trainer.run(500)
    saved = checkpoints.load_newest(tmp_path / "other" / "checkpoints")
    writer = metrics.MetricsWriter(run_dir, 0)
    shutil.rmtree(run_dir)
    for call in (
        lambda: directory.save(saved, 3),
        lambda: writer.write({"step": 5}),
        lambda: directory.write_config(config),
        lambda: draw_curve(run_dir, config),
    ):
        with pytest.raises(FileNotFoundError) as caught:
            call()
        assert str(caught.value.filename).startswith(str(run_dir))
    assert not run_dir.exists()
    writer.close()
    directory.close()


def test_checkpoints_that_were_deleted_are_made_again(tmp_path: Path) -> None:
    with Trainer(config_of(tmp_path)) as trainer:
        trainer.run(500)
        shutil.rmtree(tmp_path / "checkpoints")
        trainer.run(1000)
    assert checkpoints.load_newest(tmp_path / "checkpoints").step >= 1000


def test_a_run_in_a_directory_whose_name_is_no_text(tmp_path: Path) -> None:
    run_dir = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        with Trainer(config_of(run_dir)) as trainer:
            trainer.run(500)
        with Trainer(config_of(run_dir, resume=True)) as trainer:
            trainer.run(1000)
    assert (run_dir / "curve.png").is_file()
    assert json.loads((run_dir / "config.json").read_text(encoding="utf-8"))["total_steps"] == 2000
    refused(config_of(run_dir), "a run is already there").encode("utf-8")


def test_a_run_in_a_directory_of_the_longest_name(tmp_path: Path) -> None:
    run_dir = tmp_path / ("x" * 255)
    with Trainer(config_of(run_dir)) as trainer:
        trainer.run(500)
    assert checkpoints.load_newest(run_dir / "checkpoints").step >= 500
