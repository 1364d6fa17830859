"""metrics.jsonl, TensorBoard events and curve.png, apart from a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from helpers import read_lines
from hypothesis import given
from hypothesis import strategies as st

from a3c_fast import metrics

PNG = b"\x89PNG\r\n\x1a\n"


def line(step: int, **values: Any) -> dict[str, Any]:
    return {"step": step, "wall_seconds": step / 100, "mean_return_100": None, **values}


def scalars(run_dir: Path, name: str) -> list[tuple[int, float]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run_dir))
    events.Reload()
    if f"train/{name}" not in events.Tags()["scalars"]:
        return []
    return [(event.step, event.value) for event in events.Scalars(f"train/{name}")]


def test_a_line_goes_to_the_file_at_once_and_to_tensorboard(tmp_path: Path) -> None:
    writer = metrics.MetricsWriter(tmp_path, 0)
    assert writer.last_step == -1
    writer.write(line(10, entropy=0.5))
    writer.write(line(20, entropy=0.25, mean_return_100=3.0))
    assert writer.last_step == 20
    assert read_lines(tmp_path) == [line(10, entropy=0.5), line(20, entropy=0.25, mean_return_100=3.0)]
    assert metrics.read(tmp_path) == read_lines(tmp_path)
    writer.close()
    assert scalars(tmp_path, "entropy") == [(10, 0.5), (20, 0.25)]
    assert scalars(tmp_path, "mean_return_100") == [(20, 3.0)]  # None is nothing, not 0
    assert scalars(tmp_path, "step") == []


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
    assert scalars(tmp_path, "entropy") == [(10, 10.0), (20, 20.0), (25, 7.0)]


@given(cut=st.integers(0, 200))
def test_a_last_line_cut_short_by_a_crash_is_left_out(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    run_dir = tmp_path_factory.mktemp("run")
    rows = [line(10, entropy=0.5), line(20, entropy=0.25), line(30, entropy=0.125)]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (run_dir / "metrics.jsonl").write_text(text[: len(text) - cut])
    found = metrics.read(run_dir)
    assert found == rows[: len(found)]
    whole = text[: len(text) - cut].count("\n")
    assert len(found) >= whole


def test_no_file_is_no_lines(tmp_path: Path) -> None:
    assert metrics.read(tmp_path) == []


@pytest.mark.parametrize(
    "rows", [[], [line(0)], [line(0), line(10, mean_return_100=1.0)], [line(i, mean_return_100=i) for i in range(99)]]
)
def test_the_curve_is_an_image_whatever_there_is_to_show(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    from matplotlib.image import imread

    writer = metrics.MetricsWriter(tmp_path, 0)
    for row in rows:
        writer.write(row)
    writer.close()
    assert (tmp_path / "curve.png").read_bytes().startswith(PNG)
    image = imread(tmp_path / "curve.png")
    assert image.shape[0] > 200
    assert image.shape[1] > 500
    assert image[..., :3].min() < 0.5  # something is drawn: axes at least


def test_the_curve_shows_the_returns(tmp_path: Path) -> None:
    from matplotlib.image import imread

    images = []
    for name, returns in (("up", (0.0, 10.0)), ("down", (10.0, 0.0))):
        (tmp_path / name).mkdir()
        rows = [line(i + 1, mean_return_100=value) for i, value in enumerate(returns)]
        (tmp_path / name / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        metrics.draw_curve(tmp_path / name)
        images.append(imread(tmp_path / name / "curve.png"))
    assert (images[0] != images[1]).any()


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
