"""Settings that follow a function of the agent step."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from a3c_fast import Config, ConfigError, Schedule, Trainer, constant, linear, points
from a3c_fast.schedules import parse

ENV = "CartPole-v1"

some_points = st.dictionaries(st.integers(0, 10**6), st.floats(-1e6, 1e6), min_size=1, max_size=6)


def short(**settings: Any) -> Config:
    return Config(**{"env_id": ENV, "num_workers": 1, "envs_per_worker": 2, "total_steps": 4000} | settings)


def learned(**settings: Any) -> dict[str, bytes]:
    with Trainer(short(**settings)) as trainer:
        trainer.run()
        return {name: value.numpy().tobytes() for name, value in trainer.state_dict().items()}


@given(some_points, st.booleans(), st.lists(st.integers(0, 2 * 10**6), max_size=20))
def test_a_schedule_is_what_numpy_interpolates(chosen: dict[int, float], to_end: bool, steps: list[int]) -> None:
    total = 10**6 + 1
    x, y = zip(*sorted(chosen.items()), strict=True)
    schedule = Schedule(tuple(zip(x, y, strict=True)) + (((None, 3.0),) if to_end else ()))
    if to_end:
        x, y = (*x, total), (*y, 3.0)
    expected = np.interp(steps, x, y)
    np.testing.assert_allclose([schedule.at(step, total) for step in steps], expected, rtol=1e-9, atol=1e-6)
    assert parse(str(schedule)) == schedule


def test_a_run_that_ends_before_a_point_comes_to_no_end_of_its_schedule() -> None:
    schedule = points((0, 1.0), (500, 0.5), (2000, 0.1), (None, 0.0))
    assert schedule.through(1000) == [(0, 1.0), (500, 0.5), (2000, 0.1)]
    assert schedule.through(2001) == [(0, 1.0), (500, 0.5), (2000, 0.1), (2001, 0.0)]
    assert points((500_000, 1e-3), (None, 0.0)).at(0, 100_000) == 1e-3
    assert linear(1, 0).at(250, 1000) == 0.75
    assert linear(1, 0, 500).at(250, 1000) == 0.5
    assert constant(3).at(7, 1000) == 3


def test_workers_learn_at_the_rate_of_the_schedule() -> None:
    schedule = points((0, 1e-3), (2000, 2e-4), (None, 0.0))
    falls = linear(0.02, 0.01)
    with Trainer(short(schedules={"learning_rate": schedule, "entropy_coef": falls})) as trainer:
        for until in (1000, 2500, 4000):
            stats = trainer.run(until)
            assert stats["learning_rate"] == pytest.approx(schedule.at(stats["step"], 4000))
            assert stats["entropy_coef"] == pytest.approx(falls.at(stats["step"], 4000))


# What a schedule says is what the settings say that it takes the place of, to the last bit.
@pytest.mark.parametrize(
    ("settings", "schedules"),
    [
        ({"learning_rate": 2e-3, "learning_rate_decay_power": 0}, {"learning_rate": 2e-3}),
        ({"value_coef": 0.9}, {"value_coef": constant(0.9)}),
        ({"clip_coef": 0.05}, {"clip_coef": points((0, 0.05))}),
        ({"max_grad_norm": 0.01}, {"max_grad_norm": linear(0.01, 0.01)}),
        ({"entropy_coef": 0.3, "entropy_decay_steps": 0}, {"entropy_coef": 0.3}),
    ],
    ids=str,
)
def test_a_constant_is_the_setting(settings: dict[str, Any], schedules: dict[str, Any]) -> None:
    others = {"learning_rate_warmup": 0} if "learning_rate" in settings else {}
    by_schedule = learned(schedules=schedules)
    assert by_schedule == learned(**settings, **others)
    assert by_schedule != learned()


def test_a_schedule_changes_what_is_learned_where_it_leaves_the_constant() -> None:
    for name in ("value_coef", "clip_coef", "max_grad_norm"):
        value = getattr(short(), name)
        assert learned(schedules={name: linear(value, value)}) == learned()
        assert learned(schedules={name: linear(value, value / 100)}) != learned(), name


def test_a_schedule_may_come_and_go_while_it_runs(tmp_path: Path) -> None:
    config = short(run_dir=tmp_path / "run", schedules={"clip_coef": linear(0.2, 0.1)}, learning_rate=3e-3)
    with Trainer(config) as trainer:
        trainer.run(1000)
        trainer.set(learning_rate=linear(1e-3, 0), entropy_coef=0.5)
        assert trainer.config.schedules == ("clip_coef=0.2@0,0.1@end", "learning_rate=0.001@0,0.0@end")
        assert trainer.run(2000)["learning_rate"] == pytest.approx(1e-3 * (1 - trainer.stats()["step"] / 4000))
        assert trainer.config.entropy_coef == 0.5
        trainer.set(clip_coef=0.15)
        assert trainer.config.schedules == ("learning_rate=0.001@0,0.0@end",)
        assert trainer.config.clip_coef == 0.15
        with pytest.raises(ConfigError, match="learning_rate is None, but it must be a number or a schedule"):
            trainer.set(learning_rate=None)
        with pytest.raises(ConfigError, match="clip_coef must be above 0 and at most 1"):
            trainer.set(clip_coef=linear(2, 1))
        assert [(name, value) for _, name, value in trainer.changes] == [
            ("learning_rate", "0.001@0,0.0@end"),
            ("entropy_coef", 0.5),
            ("clip_coef", 0.15),
        ]
        changes = trainer.changes
    with Trainer.from_checkpoint(tmp_path / "run") as trainer:
        assert trainer.changes == changes
        stats = trainer.run(3000)
        assert stats["learning_rate"] == pytest.approx(1e-3 * (1 - stats["step"] / 4000))


@pytest.mark.parametrize(
    ("schedules", "sentence"),
    [
        (3, "it must be a mapping from settings to schedules"),
        ({"learning_rate": "fast"}, "it must be name=value@step"),
        ({"learning_rate": linear(-1, 0)}, "learning_rate must be at least 0 and at most 1000"),
        ({"max_grad_norm": -1}, "max_grad_norm must be at least 0"),
        ({"clip_coef": 0}, "clip_coef must be above 0 and at most 1"),
        ({"gamma": 0.9}, "only learning_rate, entropy_coef, value_coef, clip_coef, max_grad_norm can follow"),
        (("value_coef=1@0", "value_coef=2@0"), "value_coef has another one already"),
        (("learning_rate=1@10,2@0",), "it must be name=value@step"),
        (("learning_rate=1@end,2@0",), "it must be name=value@step"),
        (("learning_rate=nan@0",), "it must be name=value@step"),
        ([1], "it must be name=value@step"),
    ],
    ids=str,
)
def test_what_is_no_schedule_is_refused_in_a_sentence(schedules: Any, sentence: str) -> None:
    with pytest.raises(ConfigError, match=f"^schedules is .*{sentence}"):
        short(schedules=schedules)


@pytest.mark.parametrize(
    ("of", "replaced"),
    [
        ("learning_rate", {"learning_rate": 1e-5}),
        ("learning_rate", {"learning_rate_decay_power": 3}),
        ("learning_rate", {"learning_rate_warmup": 77}),
        ("entropy_coef", {"entropy_final_fraction": 0.5}),
        ("clip_coef", {"clip_coef": 0.33}),
    ],
    ids=str,
)
def test_what_a_schedule_takes_the_place_of_is_refused(of: str, replaced: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"{of} follows the schedule 0.1@0: leave one of them out"):
        short(schedules={of: 0.1}, **replaced)


@pytest.mark.parametrize(
    "bad", [(), ((0,),), ((1, 1.0), (1, 2.0)), ((None, 1.0), (5, 1.0)), ((0, float("nan")),)], ids=str
)
def test_points_that_cannot_be(bad: Any) -> None:
    with pytest.raises(ValueError, match="pairs of an agent step and a finite number, by rising steps"):
        points(*bad)


def test_settings_are_kept_whatever_wrote_them() -> None:
    config = short(schedules="learning_rate=7e-4@0,1e-4@5e6 value_coef=1@0,0.5@end")
    assert config.schedules == ("learning_rate=0.0007@0,0.0001@5000000", "value_coef=1.0@0,0.5@end")
    assert config == short(
        schedules={"learning_rate": points((0, 7e-4), (5_000_000, 1e-4)), "value_coef": linear(1, 0.5)}
    )
    assert Config.from_json(json.loads(json.dumps(config.to_json()))) == config
    assert config.replace(gamma=0.9).schedules == config.schedules
