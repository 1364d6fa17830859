"""Videos of a user's environments: what they draw themselves where their observations are no pictures."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import imageio.v3 as imageio
import numpy as np
import pytest
import user_envs
from children import HERE, modules_of_the_tests, no_child_is_left  # noqa: F401
from helpers import EVALUATE, run_cold

from a3c_fast import Config, Trainer
from a3c_fast.errors import ConfigError
from a3c_fast.evaluate import _pace, _write_video, evaluate


def frames_of(make: Callable[..., Any], **settings: Any) -> tuple[list[Any], Config]:
    frames: list[Any] = []
    with Trainer(Config(num_workers=1, total_steps=100, **settings), env=make) as trainer:
        evaluate(trainer.policy(), trainer.config, episodes=3, frames=frames)
        return frames, trainer.config


@pytest.mark.parametrize("make", [user_envs.Drawn, user_envs.several_that_are_drawn])
def test_what_the_environment_draws_is_a_frame(make: Callable[..., Any]) -> None:
    frames, config = frames_of(make)
    assert [frame.shape for frame in frames] == 5 * [(30, 50, 3)]
    assert [frame[0, 0, 0] for frame in frames] == [0, 1, 2, 3, 4]
    assert _pace(config) == 12


def test_what_draws_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"shows no pictures, and its environments have no render_mode 'rgb_array'"):
        frames_of(user_envs.Point)


@pytest.mark.parametrize(
    ("picture", "sentence"),
    [
        (ValueError("no light"), r"user_envs:Drawn.* cannot be drawn: the environment raised ValueError: no light"),
        (np.zeros((3, 3, 3)), r"cannot be drawn: its render\(\) returned float64\[3, 3, 3\], and uint8"),
    ],
)
def test_what_cannot_be_drawn_is_told(picture: Any, sentence: str) -> None:
    with pytest.raises(RuntimeError, match=sentence) as caught:
        frames_of(partial(user_envs.Drawn, picture=picture))
    assert "\n" not in str(caught.value)


def test_a_video_of_any_size(tmp_path: Path) -> None:
    for shape, expected in (((30, 50, 3), (128, 208)), ((100, 250, 3), (112, 256)), ((84, 84), (336, 336))):
        pictures = [np.full(shape, value, np.uint8) for value in (0, 100, 200)]
        _write_video(tmp_path / "a.gif", pictures, 12)
        assert imageio.imread(tmp_path / "a.gif").shape[1:3] == expected


def test_the_command_films_it(tmp_path: Path) -> None:
    shutil.copy(HERE / "user_envs.py", tmp_path)  # where the command is run
    config = Config(env_id="user_envs:Drawn", num_workers=1, total_steps=100, run_dir=tmp_path / "run")
    with Trainer(config) as trainer:
        trainer.run()
    done = run_cold(EVALUATE, "run", "--episodes", "1", "--video", "a.gif", cwd=tmp_path)
    assert done.status == 0, done
    assert imageio.imread(tmp_path / "a.gif").shape[1:3] == (128, 208)
