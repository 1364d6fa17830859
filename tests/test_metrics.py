"""metrics.jsonl, apart from a run."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from random import Random
from typing import Any

import pytest
from helpers import read_lines
from hypothesis import given
from hypothesis import strategies as st

from a3c_fast import files, metrics


def line(step: int, **values: Any) -> dict[str, Any]:
    return {"step": step, "wall_seconds": step / 100, "mean_return_100": None, **values}


def test_a_line_goes_to_the_file_at_once(tmp_path: Path) -> None:
    writer = metrics.MetricsWriter(tmp_path, 0)
    assert writer.last_step == -1
    writer.write(line(10, entropy=0.5))
    writer.write(line(20, entropy=0.25, mean_return_100=3.0))
    assert writer.last_step == 20
    assert read_lines(tmp_path) == [line(10, entropy=0.5), line(20, entropy=0.25, mean_return_100=3.0)]
    assert metrics.read(tmp_path) == read_lines(tmp_path)
    writer.close()


def test_lines_beyond_the_checkpoint_are_cut(tmp_path: Path) -> None:
    first = metrics.MetricsWriter(tmp_path, 0)
    for step in (10, 20, 30):
        first.write(line(step, entropy=step))
    first.close()
    second = metrics.MetricsWriter(tmp_path, 20)
    assert second.last_step == 20
    assert [row["step"] for row in read_lines(tmp_path)] == [10, 20]
    second.write(line(25, entropy=7))
    second.close()
    assert [row["step"] for row in read_lines(tmp_path)] == [10, 20, 25]


@given(cut=st.integers(0, 200))
def test_a_last_line_cut_short_by_a_crash_is_left_out(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    run_dir = tmp_path_factory.mktemp("run")
    rows = [line(10, entropy=0.5), line(20, entropy=0.25), line(30, entropy=0.125)]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (run_dir / "metrics.jsonl").write_text(text[: len(text) - cut], encoding="utf-8")
    found = metrics.read(run_dir)
    assert found == rows[: len(found)]
    whole = text[: len(text) - cut].count("\n")
    assert len(found) >= whole


NO_LINES = [
    *(b"[1]", b'{"a": 1}', b"5", b"null", b'{"step": "5"}', b'{"step": 1.5}', b'{"step": -1}', b'{"step": true}'),
    *(b'{"step": 9223372036854775808}', b'{"step": 15, "entropy": NaN}', b'{"step": 15, "entropy": 1e999}'),
    *(b'{"step": 15, "entropy": "x"}', b"\xff\xfe", b'{"step": 15, "x\xff": 1}', b"[" * 100_000, b"my notes", b"{"),
]


@pytest.mark.parametrize("text", NO_LINES, ids=lambda text: repr(text[:30]))
def test_what_is_no_line_of_metrics_is_left_out_and_kept_aside(tmp_path: Path, text: bytes) -> None:
    rows = [line(10, mean_return_100=1.0), line(20, mean_return_100=2.0), line(30, mean_return_100=3.0)]
    first, *others = (json.dumps(row).encode() + b"\n" for row in rows)
    content = first + text + b"\n" + b"".join(others)
    (tmp_path / "metrics.jsonl").write_bytes(content)
    assert metrics.read(tmp_path) == rows
    with pytest.warns(UserWarning, match=r"metrics\.jsonl is damaged: it is kept as damaged_metrics\.jsonl") as caught:
        writer = metrics.MetricsWriter(tmp_path, 20)
    assert len(caught) == 1
    writer.write(line(25))
    writer.close()
    assert read_lines(tmp_path) == [*rows[:2], line(25)]
    assert (tmp_path / "damaged_metrics.jsonl").read_bytes() == content


def test_flipped_bits_and_truncations_end_in_no_error_and_lose_nothing(tmp_path: Path) -> None:
    rows = [line(step, mean_return_100=step / 7, entropy=0.5) for step in range(10, 60, 10)]
    content = "".join(json.dumps(row) + "\n" for row in rows).encode()
    random = Random(1)
    for repetition in range(300):
        changed = bytearray(content)
        bit = random.randrange(8 * len(content))
        changed[bit // 8] ^= 1 << bit % 8
        (tmp_path / "metrics.jsonl").write_bytes(changed if repetition % 2 else content[: bit // 8])
        found = metrics.read(tmp_path)
        assert len(found) >= (3 if repetition % 2 else content[: bit // 8].count(b"\n"))
        assert metrics.holds_metrics(tmp_path)


def test_a_run_that_begins_again_keeps_the_lines_of_the_one_before(tmp_path: Path) -> None:
    for repetition, name in enumerate(("metrics", "earlier_metrics", "earlier_metrics_2")):
        writer = metrics.MetricsWriter(tmp_path, 0)
        assert writer.last_step == -1
        writer.write(line(10 + repetition, entropy=repetition))
        writer.close()
        assert (tmp_path / f"{name}.jsonl").is_file()
    assert [row["step"] for row in read_lines(tmp_path)] == [12]
    kept = [json.loads((tmp_path / f"earlier_metrics{end}.jsonl").read_text(encoding="utf-8")) for end in ("", "_2")]
    assert [row["step"] for row in kept] == [10, 11]


def test_numbers_that_are_not_finite_are_none(tmp_path: Path) -> None:
    writer = metrics.MetricsWriter(tmp_path, 0)
    writer.write(line(10, value_loss=float("inf"), entropy=float("nan"), grad_norm=1e300))
    writer.close()
    assert metrics.read(tmp_path) == [line(10, value_loss=None, entropy=None, grad_norm=1e300)]


def test_a_full_disk_is_told_with_the_file_and_the_next_line_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = metrics.MetricsWriter(tmp_path, 0)
    writer.write(line(10, entropy=0.5))

    def full(file: files.AppendedFile, piece: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(file.path))

    with monkeypatch.context() as patch:
        patch.setattr(files.AppendedFile, "append", full)
        with pytest.raises(OSError, match="No space left on device") as caught:
            writer.write(line(20, entropy=0.25))
    assert Path(caught.value.filename).name == "metrics.jsonl"
    writer.write(line(30, entropy=0.125))
    writer.close()
    assert [row["step"] for row in read_lines(tmp_path)] == [10, 30]


def test_no_file_is_no_lines(tmp_path: Path) -> None:
    assert metrics.read(tmp_path) == []


def test_rate_over_the_last_seconds() -> None:
    meter = metrics.RateMeter(window=10)
    assert meter.update(100.0, 5000) == 0
    assert meter.update(101.0, 5200) == 200
    assert meter.update(105.0, 6000) == 200
    # Ten seconds on, the beginning no longer counts: 3,000 steps between 105 s and 115 s.
    assert meter.update(115.0, 9000) == 300
    assert meter.update(115.0, 9000) == 300


def test_rate_of_a_run_that_stands_still_goes_to_zero() -> None:
    meter = metrics.RateMeter(window=1)
    meter.update(0.0, 0)
    meter.update(1.0, 100)
    for i in range(5):
        rate = meter.update(2.0 + i, 100)
    assert rate == 0


def test_numbers_that_no_line_holds_are_put_aside(tmp_path: Path) -> None:
    whole = line(10, mean_return_100=1.0)
    huge = [json.dumps(line(30)).replace("null", "1" + 350 * "0"), json.dumps(line(20, mean_return_100=1e308))]
    (tmp_path / "metrics.jsonl").write_text("\n".join([json.dumps(whole), *huge, ""]), encoding="utf-8")
    assert [row["step"] for row in metrics.read(tmp_path)] == [10, 20]
    with pytest.warns(UserWarning, match="is damaged: it is kept as damaged_metrics"):
        metrics.MetricsWriter(tmp_path, 100).close()


def test_more_than_any_run_writes_is_put_aside(tmp_path: Path) -> None:
    with (tmp_path / "metrics.jsonl").open("wb") as file:
        file.truncate(2**30 + 1)  # takes no room
    with pytest.warns(UserWarning, match="is damaged: it is kept as damaged_metrics"):
        metrics.MetricsWriter(tmp_path, 100).close()
    assert (tmp_path / "damaged_metrics.jsonl").stat().st_size == 2**30 + 1
