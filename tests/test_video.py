"""Videos: what is watched of an episode, how it is drawn, and the file that it is written to frame by frame."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import imageio.v3 as imageio
import numpy as np
import pytest
from helpers import EVALUATE, env_spec, run

from a3c_fast import Config, Trainer, envs
from a3c_fast.envs import drawn
from a3c_fast.envs.action_names import action_names
from a3c_fast.envs.families import spec_of
from a3c_fast.envs.spec import ActionSpec
from a3c_fast.errors import ConfigError
from a3c_fast.evaluate import evaluate
from a3c_fast.moment import Bar, Moment, bars_of
from a3c_fast.video import Frame, Video

SHORT_PONG = Config(env_id="Pong-v5", frame_skip=60, num_workers=1, envs_per_worker=1, envs_per_update=1, t_max=2)


def watched(config: Config, **options: Any) -> tuple[list[Moment], dict[str, Any], Any]:
    moments: list[Moment] = []
    with Trainer(config) as trainer:
        policy = trainer.policy()
    found = evaluate(policy, config, episodes=1, watch=moments.append, **options)
    return moments, found, policy


# What is watched ------------------------------------------------------------------------------------------------------


def test_the_first_episode_is_watched_and_plays_as_it_does_unwatched() -> None:
    moments, found, policy = watched(SHORT_PONG)
    assert len(moments) == found["mean_length"]
    assert [moment.step for moment in moments] == list(range(len(moments)))
    assert moments[-1].episode_return == found["mean_return"] + 1  # the last point is lost after it
    for moment in moments:
        assert (moment.picture.shape, moment.picture.dtype) == ((210, 160, 3), np.uint8)
        assert moment.seen is not None
        assert moment.seen.shape == (84, 84)
        assert sum(bar.size for bar in moment.bars) == pytest.approx(1)
        assert [bar.mark for bar in moment.bars].count(1.0) == 1
    unwatched = evaluate(policy, SHORT_PONG, episodes=1)
    assert {**unwatched} == {**found}


def test_the_colours_are_of_the_moment_that_the_agent_sees() -> None:
    """EnvPool draws the emulator that it steps: of all moments the one that is seen is most alike."""
    config = SHORT_PONG.replace(frame_skip=4)
    moments, _, _ = watched(config, max_episode_steps=120)
    weights = np.array([0.2989, 0.587, 0.114])  # of ALE's greys

    def small(picture: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        """The field with the paddles and the ball, in blocks."""
        inner = picture[len(picture) * 36 // 210 : len(picture) * 192 // 210].astype(float)
        rows, columns = (np.arange(42) * inner.shape[i] // 42 for i in (0, 1))
        return np.add.reduceat(np.add.reduceat(inner, rows, 0), columns, 1) / (inner.shape[0] * inner.shape[1] / 42**2)

    drawn_, seen = (
        [small(m.picture @ weights) for m in moments],
        [small(m.seen) for m in moments if m.seen is not None],
    )
    late = range(60, 115)
    distances = {
        shift: np.mean([np.abs(drawn_[i + shift] - seen[i]).mean() for i in late]) for shift in (-2, -1, 0, 1, 2)
    }
    assert min(distances, key=lambda shift: distances[shift]) == 0, distances


@pytest.mark.parametrize(
    ("env_id", "shape", "pace"),
    [("CartPole-v1", (400, 600, 3), 50), ("LunarLander-v3", (400, 600, 3), 50), ("MiniGrid-Empty-5x5-v0", None, 8)],
)
def test_envpools_environments_draw_themselves(env_id: str, shape: tuple[int, ...] | None, pace: float) -> None:
    config = Config(env_id=env_id, num_workers=1, envs_per_worker=1, total_steps=100)
    moments, _, _ = watched(config, max_episode_steps=4)
    assert len(moments) == 4
    assert moments[0].picture.ndim == 3
    assert shape in (None, moments[0].picture.shape)
    assert all(moment.seen is None for moment in moments)
    assert drawn.frames_per_second(config) == pace


def test_what_cannot_be_seen_is_refused() -> None:
    config = Config(env_id="FrozenLake-v1", num_workers=1, total_steps=1000)
    assert drawn.frames_per_second(config) == 0
    with pytest.raises(ConfigError, match="env_id is 'FrozenLake-v1', but it shows no pictures"):
        watched(config)


def test_the_bars_are_what_the_outputs_mean() -> None:
    config = Config(env_id="CartPole-v1")
    taken = np.array([1], np.float32)
    logits = np.log(np.array([0.25, 0.75], np.float32))
    assert bars_of(config, env_spec(choices=(2,)).action, logits, None, taken) == (
        Bar("left", pytest.approx(0.25), None),
        Bar("right", pytest.approx(0.75), 1.0),
    )
    forbidden = bars_of(config, env_spec(choices=(2,)).action, logits, np.array([0, 1], np.uint8), taken)
    assert [bar.size for bar in forbidden] == [0, 1]
    several = bars_of(config, ActionSpec((2, 3)), np.array([0, 0, 1, 3, 1], np.float32), None, np.array([1.0, 1.0]))
    assert [(bar.name, bar.mark) for bar in several] == [("0: 0", None), ("1: 1", 1.0)]
    continuous = ActionSpec(low=(-2.0, -2.0), high=(2.0, 2.0))
    outputs = np.array([0.5, -0.25, -1, -1], np.float32)
    assert bars_of(config, continuous, outputs, None, np.array([0.75, 0.0], np.float32)) == (
        Bar("0", 0.5, 0.75),
        Bar("1", -0.25, 0.0),
    )


def test_actions_have_their_names() -> None:
    assert action_names("Breakout-v5", "atari", 4) == ("noop", "fire", "right", "left")
    assert action_names("gymnasium:CartPole-v1", "gymnasium", 2) == ("left", "right")
    assert action_names("somebody:Else-v0", "gymnasium", 3) == ("0", "1", "2")
    registry = envs.families.import_envpool().registration.registry
    games = [name for name, entry in registry.specs.items() if entry[0] == "envpool.atari" and "/" not in name]
    assert len(games) > 50
    for game in games[:: max(1, len(games) // 6)]:
        (count,) = spec_of(game).action.choices
        assert not action_names(game, "atari", count)[0].isdigit(), game


# How it is drawn ------------------------------------------------------------------------------------------------------


def moment(picture: Any, **values: Any) -> Moment:
    bars = (Bar("left", 0.25, None), Bar("right", 0.75, 1.0))
    plain: dict[str, Any] = {"seen": None, "step": 0, "episode_return": 0.0, "value": 0.5, "bars": bars}
    return Moment(picture=picture, is_continuous=False, **{**plain, **values})


@pytest.mark.parametrize(
    ("shape", "size"),
    [((30, 50, 3), (240, 680)), ((84, 84), (420, 700)), ((401, 601, 3), (402, 880)), ((3000, 1000, 3), (1280, 706))],
)
def test_a_frame_shows_the_picture_in_whole_pixels(shape: tuple[int, ...], size: tuple[int, int]) -> None:
    frame = Frame()
    first, second = (frame.draw(moment(np.full(shape, shade, np.uint8))) for shade in (90, 200))
    assert first.shape == second.shape == (*size, 3)
    assert first.dtype == np.uint8
    for drawn_, shade in ((first, 90), (second, 200)):
        assert (drawn_[size[0] // 2, 10 : size[1] - 300] == shade).all()


def test_each_thing_that_is_known_changes_the_frame() -> None:
    picture = np.zeros((84, 84), np.uint8)
    plain = moment(picture, seen=picture)
    others = [
        dataclasses.replace(plain, **change)
        for change in (
            {"value": 5.0},
            {"episode_return": 3.0},
            {"step": 7},
            {"bars": (Bar("left", 0.75, None), Bar("right", 0.25, 1.0))},
            {"bars": (Bar("left", 0.25, 1.0), Bar("right", 0.75, None))},
            {"is_continuous": True},
            {"seen": picture + 99},
            {"bars": tuple(Bar(str(i), 1 / 60, None) for i in range(60))},
        )
    ]
    drawn_ = [Frame().draw(each) for each in (plain, *others)]
    for i, one in enumerate(drawn_):
        for other in drawn_[:i]:
            assert one.shape != other.shape or (one != other).any(), i


# The file -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.mp4", "a.gif"])
def test_frames_are_written_one_by_one(tmp_path: Path, name: str) -> None:
    with Video(tmp_path / name, 10) as video:
        for shade in (0, 100, 200):
            video.add(moment(np.full((100, 60, 3), shade, np.uint8)))
            assert not (tmp_path / name).exists()
    frames = imageio.imread(tmp_path / name)
    assert frames.shape == (3, 400, 520, 3)
    assert frames[:, 200, 100].max(axis=1) == pytest.approx([0, 100, 200], abs=6)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_video_that_is_not_finished_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "a.gif").write_bytes(b"before")

    def film() -> None:
        with Video(tmp_path / "a.gif", 10) as video:
            video.add(moment(np.zeros((30, 30, 3), np.uint8)))
            raise RuntimeError("the environment broke")

    with pytest.raises(RuntimeError, match="the environment broke"):
        film()
    assert (tmp_path / "a.gif").read_bytes() == b"before"
    assert len(list(tmp_path.iterdir())) == 1


@pytest.fixture(scope="module")
def pong(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of an untrained agent whose games are short."""
    run_dir = tmp_path_factory.mktemp("video") / "run"
    with Trainer(SHORT_PONG.replace(run_dir=run_dir)) as trainer:
        trainer.run(2)
    return run_dir


def test_the_command_films_the_first_episode(pong: Path, tmp_path: Path) -> None:
    result = run(EVALUATE, str(pong), "--episodes", "1", "--video", "x.mp4", "--json", cwd=tmp_path)
    assert (result.status, result.stderr) == (0, "")
    frames = imageio.imread(tmp_path / "x.mp4")
    assert len(frames) == json.loads(result.stdout)["mean_length"]
    assert frames.shape[1:3] == (448, 600)


def test_a_video_without_ffmpeg_is_one_sentence(pong: Path, tmp_path: Path) -> None:
    script = """
import sys
sys.modules["imageio_ffmpeg"] = None  # importing it fails
from a3c_fast.evaluate import main
main(sys.argv[1:])
"""
    result = run("-c", script, str(pong), "--episodes", "1", "--video", "x.gif", cwd=tmp_path)
    assert result.status == 1
    assert "extra `video`" in result.error
    assert not (tmp_path / "x.gif").exists()
