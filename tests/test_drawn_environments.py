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
from a3c_fast.envs.drawn import frames_per_second
from a3c_fast.errors import ConfigError
from a3c_fast.evaluate import evaluate
from a3c_fast.moment import Moment


def moments_of(make: Callable[..., Any], **settings: Any) -> tuple[list[Moment], Config]:
    moments: list[Moment] = []
    with Trainer(Config(num_workers=1, total_steps=100, **settings), env=make) as trainer:
        evaluate(trainer.policy(), trainer.config, episodes=3, watch=moments.append)
        return moments, trainer.config


@pytest.mark.parametrize("make", [user_envs.Drawn, user_envs.several_that_are_drawn])
def test_what_the_environment_draws_is_watched(make: Callable[..., Any]) -> None:
    moments, config = moments_of(make)
    assert [moment.picture.shape for moment in moments] == 5 * [(30, 50, 3)]
    assert [moment.picture[0, 0, 0] for moment in moments] == [0, 1, 2, 3, 4]
    assert [moment.step for moment in moments] == [0, 1, 2, 3, 4]
    assert frames_per_second(config) == 12


def test_what_draws_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"no pictures, and its environments have no render_mode 'rgb_array'"):
        moments_of(user_envs.Point)


@pytest.mark.parametrize(
    ("picture", "sentence"),
    [
        (ValueError("no light"), r"user_envs:Drawn.* cannot be drawn: the environment raised ValueError: no light"),
        (np.zeros((3, 3, 3)), r"cannot be drawn: its render\(\) returned float64\[3, 3, 3\], and uint8"),
    ],
)
def test_what_cannot_be_drawn_is_told(picture: Any, sentence: str) -> None:
    with pytest.raises(RuntimeError, match=sentence) as caught:
        moments_of(partial(user_envs.Drawn, picture=picture))
    assert "\n" not in str(caught.value)


def test_the_command_films_it(tmp_path: Path) -> None:
    shutil.copy(HERE / "user_envs.py", tmp_path)  # where the command is run
    config = Config(env_id="user_envs:Drawn", num_workers=1, total_steps=100, run_dir=tmp_path / "run")
    with Trainer(config) as trainer:
        trainer.run()
    done = run_cold(EVALUATE, "run", "--episodes", "1", "--video", "a.gif", cwd=tmp_path)
    assert done.status == 0, done
    frames = imageio.imread(tmp_path / "a.gif")
    assert len(frames) == 5
    assert frames.shape[1:3] == (240, 680)  # eight times as large, and the panel beside it
