"""curve.png, apart from a run and while one is under way."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import FAKE, wait_until

from a3c_fast import Config, Trainer, curve, record, sessions
from a3c_fast.curve import draw_curve

PNG = b"\x89PNG\r\n\x1a\n"


def line(step: int, **values: Any) -> dict[str, Any]:
    return {"step": step, "wall_seconds": step / 100, "mean_return_100": None, **values}


def image(run_dir: Path, rows: list[dict[str, Any]], env_id: str | None = None) -> np.ndarray[Any, Any]:
    """The curve of these lines as RGB."""
    from matplotlib.image import imread

    run_dir.mkdir(exist_ok=True)
    (run_dir / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    draw_curve(run_dir, None if env_id is None else Config(env_id=env_id))
    assert (run_dir / "curve.png").read_bytes().startswith(PNG)
    return np.asarray(imread(run_dir / "curve.png"))[..., :3]


RISING = [line(i + 1, mean_return_100=float(i)) for i in range(20)]


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [line(0)],
        [line(0), line(10, mean_return_100=1.0)],
        [line(10, mean_return_100=1.0), line(20, mean_return_100=1e308), line(30, mean_return_100=2.0)],
        [line(i, mean_return_100=i, std_return_100=1e308 if i % 2 else None) for i in range(99)],
    ],
)
def test_it_is_an_image_whatever_there_is_to_show(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    found = image(tmp_path, rows)
    assert found.shape[0] > 200
    assert found.shape[1] > 500
    assert found.min() < 0.5  # something is drawn: axes at least


def test_all_that_there_is_is_drawn(tmp_path: Path) -> None:
    """Each thing changes the picture, the returns themselves included."""
    plain = image(tmp_path, RISING)
    falling = [row | {"mean_return_100": 19 - row["mean_return_100"]} for row in RISING]
    others = [
        image(tmp_path, falling),
        image(tmp_path, [row | {"std_return_100": 3.0} for row in RISING]),
        image(tmp_path, RISING, "CartPole-v1"),  # a title
        image(tmp_path, RISING, "Pong-v5"),  # and references
    ]
    (tmp_path / "evaluations.jsonl").write_text(
        json.dumps({"step": 9, "wall_seconds": 0.1, "mean_return": 5.0, "std_return": 2.0, "min_return": 0.0})[:-1]
        + ', "max_return": 9, "mean_length": 4, "episodes": 3, "greedy": false, "seconds": 1, "best": true}\n',
        encoding="utf-8",
    )
    others.append(image(tmp_path, RISING))
    (tmp_path / "evaluations.jsonl").unlink()
    sessions.Sessions(tmp_path, 0, 0.0, "avx2").update(10, 0.1, {})
    assert (image(tmp_path, RISING) == plain).all()  # the first session is no resume
    sessions.Sessions(tmp_path, 10, 0.1, "avx2")
    others.append(image(tmp_path, RISING))
    for i, other in enumerate(others):
        for before in (plain, *others[:i]):
            assert other.shape != before.shape or (other != before).any(), i


def test_a_run_is_drawn_while_it_goes_on_and_at_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "FIRST_SECONDS", 0.0)
    monkeypatch.setattr(record, "EVERY_SECONDS", 0.0)
    drawn: list[str] = []

    def draw(run_dir: Path, config: Config | None) -> None:
        assert config is not None
        drawn.append(threading.current_thread().name)
        draw_curve(run_dir, config)

    monkeypatch.setattr(curve, "draw_curve", draw)
    config = Config(env_id=FAKE, num_workers=1, total_steps=10**9, run_dir=tmp_path / "run")
    with Trainer(config) as running:
        running.start()
        wait_until(lambda: len(drawn) >= 2)
        assert set(drawn) == {"a3c_fast curve"}
        running.stop()
        assert running.config.run_dir is not None
        wait_until((tmp_path / "run" / "curve.png").exists)
    assert drawn[-1] == threading.current_thread().name
    assert not [thread for thread in threading.enumerate() if thread.name == "a3c_fast curve"]


def learn_until_it_is_told(running: Trainer) -> None:
    with running:
        running.start()
        wait_until(lambda: "the curve" in running._kept().told)
        step = running.stats()["step"]
        wait_until(lambda: running.stats()["step"] > step)


def test_a_curve_that_cannot_be_written_ends_no_run_and_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record, "FIRST_SECONDS", 0.0)
    monkeypatch.setattr(record, "EVERY_SECONDS", 0.0)
    config = Config(env_id=FAKE, num_workers=1, total_steps=10**9, run_dir=tmp_path / "run")
    running = Trainer(config)
    (tmp_path / "run" / "curve.png").mkdir()
    with pytest.warns(RuntimeWarning, match=r"the curve could not be written.*curve\.png") as caught:
        learn_until_it_is_told(running)
    assert len(caught) == 1
    assert (tmp_path / "run" / "curve.png").is_dir()
    assert not list((tmp_path / "run").glob("*.tmp"))


def test_sessions_follow_a_run(tmp_path: Path) -> None:
    config = Config(env_id=FAKE, num_workers=1, total_steps=2000, run_dir=tmp_path)
    with Trainer(config) as running:
        running.run(500)
        first = running.stats()["step"]
        seconds = running.stage_seconds()
    (only,) = sessions.read(tmp_path)
    assert (only.first_step, only.last_step, only.first_wall_seconds) == (0, first, 0)
    assert only.stage_seconds == pytest.approx(seconds, abs=1e-4)
    with Trainer(config.replace(resume=True)) as running:
        running.run()
    _, second = sessions.read(tmp_path)
    assert second.first_step == first
    assert second.first_wall_seconds == only.last_wall_seconds
    assert second.last_step >= 2000
    # What is there is put aside where it cannot be read, and the run goes on.
    (tmp_path / "sessions.json").write_text("mine", encoding="utf-8")
    assert sessions.read(tmp_path) == []
    with (
        pytest.warns(UserWarning, match=r"it is kept as damaged_sessions\.json"),
        Trainer(config.replace(resume=True, total_steps=3000)) as running,
    ):
        running.run()
    assert len(sessions.read(tmp_path)) == 1
    assert (tmp_path / "damaged_sessions.json").read_text(encoding="utf-8") == "mine"
