"""Files are written whole or not at all, through no link, and read within limits."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from a3c_fast import files
from a3c_fast.paths import shown


@pytest.mark.parametrize("step", ["write", "fsync", "replace"])
def test_a_write_that_fails_names_the_file_and_leaves_the_old_one_and_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = tmp_path / "config.json"
    files.write(path, b"old")

    def no_space(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path if step == "replace" else os, step, no_space)
    with pytest.raises(OSError, match="No space left on device") as caught:
        files.write(path, b"new")
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(path))
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_name_of_any_length_that_is_allowed_is_written(tmp_path: Path) -> None:
    path = tmp_path / ("x" * 255)
    files.write(path, b"new")
    assert path.read_bytes() == b"new"


def test_a_write_follows_no_link(tmp_path: Path) -> None:
    target, soft, hard = tmp_path / "target", tmp_path / "soft", tmp_path / "hard"
    target.write_bytes(b"mine")
    soft.symlink_to(target)
    hard.hardlink_to(target)
    for path in (soft, hard):
        files.write(path, b"new")
        assert path.read_bytes() == b"new"
    assert target.read_bytes() == b"mine"


def test_permissions_are_those_of_any_new_file(tmp_path: Path) -> None:
    files.write(tmp_path / "ours", b"")
    (tmp_path / "theirs").touch()
    assert (tmp_path / "ours").stat().st_mode == (tmp_path / "theirs").stat().st_mode


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        files.write(tmp_path / "missing" / "x", b"")
    assert caught.value.filename == str(tmp_path / "missing" / "x")


def test_reading_waits_for_no_pipe_and_stops_at_the_limit(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(bytes(11))
    for path in (tmp_path / "pipe", tmp_path / "large", tmp_path / "missing", Path("/dev/zero")):
        with pytest.raises(OSError, match=r"no regular file|larger than|No such file") as caught:
            files.read(path, 10)
        assert caught.value.filename == str(path)
    assert files.read(tmp_path / "large", 11) == bytes(11)


def test_what_killed_writers_left_is_cleared_and_nothing_else(tmp_path: Path) -> None:
    left = [".a3c_fast.77.0123abcd.tmp", ".step_000000000005.safetensors.77.tmp", ".step_5.json.1.tmp"]
    others = [".a3c_fast.tmp", "a3c_fast.77.0123abcd.tmp", ".step_best.safetensors.77.tmp", "x.tmp"]
    for name in (*left, *others):
        (tmp_path / name).touch()
    (tmp_path / ".a3c_fast.78.0123abcd.tmp").symlink_to("x.tmp")
    files.clear_temporary(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {*others, ".a3c_fast.78.0123abcd.tmp"}


def test_a_piece_that_cannot_be_written_to_its_end_is_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = files.AppendedFile(tmp_path / "lines", b"one\n")
    write = os.write

    def half(descriptor: int, content: Any) -> int:
        if len(content) == 1:
            raise OSError(errno.EDQUOT, "Disk quota exceeded")
        return write(descriptor, content[: (len(content) + 1) // 2])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", half)
        with pytest.raises(OSError, match="Disk quota exceeded") as caught:
            file.append(b"two\n")
    assert caught.value.filename == str(tmp_path / "lines")
    assert (tmp_path / "lines").read_bytes() == b"one\n"
    file.append(b"three\n")
    file.close()
    assert (tmp_path / "lines").read_bytes() == b"one\nthree\n"


def test_a_file_that_was_deleted_is_told_and_begins_anew(tmp_path: Path) -> None:
    directory = tmp_path / "run"
    directory.mkdir()
    file = files.AppendedFile(directory / "lines", b"one\n")
    (directory / "lines").unlink()
    directory.rmdir()
    for _ in range(2):
        with pytest.raises(FileNotFoundError) as caught:
            file.append(b"two\n")
        assert caught.value.filename == str(directory / "lines")
    directory.mkdir()
    file.append(b"three\n")
    file.close()
    assert (directory / "lines").read_bytes() == b"three\n"


def test_a_new_file_is_never_written_over_another(tmp_path: Path) -> None:
    (tmp_path / "target").write_bytes(b"mine")
    (tmp_path / "link").symlink_to("target")
    for name in ("target", "link"):
        with pytest.raises(FileExistsError):
            files.AppendedFile(tmp_path / name, b"new")
    assert (tmp_path / "target").read_bytes() == b"mine"


def test_paths_are_shown_as_text_that_can_be_printed() -> None:
    assert shown(os.fsdecode(b"caf\xe9/\xc3\xa9")) == "caf\\xe9/é"
