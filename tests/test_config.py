"""Config: every default, every check, and the way through JSON."""

from __future__ import annotations

import ast
import copy
import dataclasses
import enum
import inspect
import itertools
import json
import math
import pickle
import re
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import FAKE, FAKE_CONTINUOUS, FAKE_IMAGE
from hypothesis import given, settings
from hypothesis import strategies as st

from a3c_fast import stored_settings
from a3c_fast.config import STRUCTURAL_FIELDS, Config
from a3c_fast.defaults import EPOCH_DEFAULTS, FAMILY_DEFAULTS, PRESETS, PROBLEM_DEFAULTS, defaults_of
from a3c_fast.envs import problem_of
from a3c_fast.errors import ConfigError
from a3c_fast.train import configure

FIELDS = {field.name: field for field in dataclasses.fields(Config)}
INFINITY = math.inf

# Lowest and highest allowed value.
INTEGERS = {
    "learning_rate_warmup": (0, 2**62),
    "entropy_decay_steps": (0, 2**62),
    "total_steps": (1, 2**62),
    "num_workers": (0, 4096),
    "envs_per_worker": (1, 4096),
    "envs_per_update": (1, 4096),
    "t_max": (1, 100_000),
    "update_epochs": (1, 1000),
    "lstm_size": (0, 4096),
    "frame_skip": (1, 100),
    "stack_num": (1, 32),
    "noop_max": (1, 10_000),
    "seed": (0, 2**31 - 1),
    "keep_checkpoints": (2, 1_000_000),
    "evaluate_every": (0, 2**62),
    "evaluate_episodes": (1, 100_000),
    "evaluate_patience": (0, 1_000_000),
}
# The same, and whether the lowest itself is allowed.
NUMBERS = {
    "learning_rate": (0, 1e3, False),
    "learning_rate_decay_power": (0, 100, True),
    "clip_coef": (0, 1, False),
    "gamma": (0, 1, True),
    "gae_lambda": (0, 1, True),
    "entropy_coef": (0, 1e3, True),
    "entropy_final_fraction": (0, 1, True),
    "value_coef": (0, 1e3, True),
    "max_grad_norm": (0, INFINITY, True),
    "rmsprop_alpha": (0, 0.999999, True),
    "adam_beta1": (0, 0.999999, True),
    "adam_beta2": (0, 0.999999, True),
    "optimizer_eps": (1e-30, 1, True),
    "sticky_probability": (0, 1, True),
    "observation_offset": (0, 1, True),
    "observation_scale": (0, 1e3, False),
    "initial_log_std": (-20, 5, True),
    "max_minutes": (0, INFINITY, True),
    "stop_at_return": (-INFINITY, INFINITY, True),
    "stop_at_evaluation": (-INFINITY, INFINITY, True),
    "log_every_seconds": (0, 1e6, False),
    "checkpoint_every_seconds": (0, 1e9, False),
    "watchdog_seconds": (0, 1e6, False),
    "exchange_every_seconds": (0, 1e6, True),
    "host_timeout_seconds": (0, 1e6, False),
}
FLAGS = (
    *("normalize_advantages", "normalize_observations", "normalize_rewards", "separate_value"),
    *("episodic_life", "reward_clip", "resume", "evaluate_greedy"),
)
# Beside what a setting has an effect, where it has none beside the defaults.
BESIDE: dict[str, dict[str, Any]] = {
    "hidden_sizes": {"env_id": "CartPole-v1"},
    "initial_log_std": {"env_id": FAKE_CONTINUOUS},
    "rmsprop_alpha": {"optimizer": "rmsprop"},
    "stop_at_evaluation": {"evaluate_every": 1},
    "evaluate_patience": {"evaluate_every": 1},
}
CHOICES = ("model", "activation", "optimizer", "precision", "preset")
OTHERS = ("env_id", "hidden_sizes", "network", "run_dir", "schedules", "track")


def _wrong_values() -> list[tuple[str, Any]]:
    cases: list[tuple[str, Any]] = []
    for name, (low, high) in INTEGERS.items():
        cases += [(name, value) for value in (low - 1, high + 1, -(10**30), 1.5, "1.5", "x", "", True)]
        cases += [(name, value) for value in (np.float32(1.5), np.True_, np.array([1, 2]), math.nan, [1], 1e30, 1j)]
    for name, (low, high, inclusive) in NUMBERS.items():
        values: list[Any] = [math.nan, INFINITY, -INFINITY, "x", "", "nan", True, np.True_, [0.5], 10**400, 1j]
        if low > -INFINITY:
            values += [low - 1e-3, -(10**30)]
        if not inclusive:
            values.append(low)
        if high < INFINITY:
            values += [high * 1.000001, 10**30]
        cases += [(name, value) for value in values]
    for name in FLAGS:
        cases += [(name, value) for value in (0, 1, "yes", "true", 0.0, [True])]
    for name in CHOICES:
        cases += [(name, value) for value in ("x", "", "PAPER", 1, True, ["adam"])]
    cases += [
        ("hidden_sizes", v) for v in ((), (0,), (-1,), (64, 65537), (1.5,), (True,), ("a",), (8,) * 17, 5, "ab", b"ab")
    ]
    cases += [("track", v) for v in (5, "x", ("wandb", "wandb"), [None], "a:", ":A")]
    cases += [("schedules", v) for v in (5, "x", ("gamma=1@0",), {"clip_coef": "x"}, [None])]
    cases += [("env_id", v) for v in ("", "Pogn-v5", "pong-v5", 5, None, True, b"Pong-v5", ["Pong-v5"], math.nan)]
    cases += [("network", v) for v in (5, "", "mlp", "module:", ":name", dict, "a:b.<lambda>")]
    cases += [("run_dir", v) for v in (5, True, 1.5, ["runs"], "", "a\0b", b"runs")]
    return cases


def _case_name(case: tuple[str, Any]) -> str:
    text = repr(case[1])
    return f"{case[0]}={text if len(text) < 24 else text[:20] + '...'}"


WRONG_VALUES = _wrong_values()


def test_the_tables_of_this_file_cover_every_field() -> None:
    assert {*INTEGERS, *NUMBERS, *FLAGS, *CHOICES, *OTHERS} == set(FIELDS)


def test_every_field_has_a_default_and_a_docstring() -> None:
    (body,) = (n.body for n in ast.parse(inspect.getsource(Config)).body if isinstance(n, ast.ClassDef))
    documented = set()
    for node, following in itertools.pairwise(body):
        if isinstance(node, ast.AnnAssign) and isinstance(following, ast.Expr):
            text = ast.literal_eval(following.value)
            assert isinstance(text, str)
            assert text.endswith("."), text
            documented.add(ast.unparse(node.target))
    assert documented == set(FIELDS)
    for name, field in FIELDS.items():
        assert field.default is not dataclasses.MISSING, name


# One of each kind of problem.
PROBLEMS = {
    "Pong-v5": "atari",
    "CartPole-v1": "discrete",
    "MiniGrid-Empty-8x8-v0": "image",
    "HalfCheetah-v4": "continuous",
    FAKE: "fake",
}


@pytest.mark.parametrize("env_id", PROBLEMS)
def test_defaults_of_each_kind_of_problem(env_id: str) -> None:
    assert set(PROBLEMS.values()) == set(PROBLEM_DEFAULTS)
    config = Config(env_id=env_id)
    assert problem_of(env_id) == PROBLEMS[env_id]
    for name in FIELDS:
        if name not in ("network", "run_dir", "stop_at_return", "stop_at_evaluation"):
            assert getattr(config, name) is not None, name
    defaults = defaults_of(problem_of(env_id), config.family, "default", None)
    for name, value in defaults.items():
        if (env_id, name) != ("MiniGrid-Empty-8x8-v0", "model"):  # images of 7x7 are too small for the paper's
            assert getattr(config, name) == value, name
    # A default that is filled in later is one that some family has.
    late = {name for name, field in FIELDS.items() if field.default is None}
    assert late - {"network", "run_dir", "stop_at_return", "stop_at_evaluation"} == set(defaults)


def test_the_preset_of_the_paper() -> None:
    config = Config(preset="paper")
    assert (config.num_workers, config.envs_per_worker, config.envs_per_update, config.t_max) == (16, 1, 1, 5)
    assert (config.optimizer, config.rmsprop_alpha, config.gamma, config.entropy_coef) == ("rmsprop", 0.99, 0.99, 0.01)
    assert (config.gae_lambda, config.update_epochs, config.learning_rate_decay_power) == (1.0, 1, 1)
    assert Config(preset="paper", t_max=20).t_max == 20  # what is said goes before what the preset says
    assert Config.from_json(config.to_json()) == config
    for names in (PRESETS[name] for name in PRESETS):
        assert set(names) <= set(defaults_of("atari", "atari", "default", None))


@pytest.mark.parametrize(("problem", "family"), FAMILY_DEFAULTS, ids=str)
def test_what_is_known_better_of_a_family_goes_before_its_kind_of_problem(problem: Any, family: str) -> None:
    known = FAMILY_DEFAULTS[problem, family]
    for epochs in (1, 4):
        of_problem = defaults_of(problem, "no family", "default", epochs)
        assert set(known) <= set(of_problem)
        assert any(of_problem[name] != value for name, value in known.items())
        assert defaults_of(problem, family, "default", epochs) == {**of_problem, **known}
    paper = defaults_of(problem, family, "paper", None)
    assert {name: paper[name] for name in PRESETS["paper"]} == PRESETS["paper"]


def test_small_tasks_are_learned_as_they_are_and_others_normalized() -> None:
    for env_id, normalized in (("CartPole-v1", False), ("Taxi-v3", False), ("Snake-v1", True), ("Ant-v4", True)):
        config = Config(env_id=env_id)
        assert (config.normalize_observations, config.normalize_rewards) == (normalized, normalized)


def test_images_have_the_network_of_the_paper_where_they_are_large_enough() -> None:
    assert Config(env_id="MiniGrid-Empty-8x8-v0").model == "small"
    assert Config(env_id="CarRacing-v3").model == "paper"
    for env_id in ("MiniGrid-Empty-8x8-v0", "CarRacing-v3"):
        config = Config(env_id=env_id)
        assert (config.observation_scale, config.normalize_observations, config.normalize_rewards) == (
            *("auto", False, True),
        )


def test_the_value_has_layers_of_its_own_in_an_mlp_alone() -> None:
    assert Config(env_id="HalfCheetah-v4").separate_value
    assert not Config(env_id="HalfCheetah-v4", lstm_size=8).separate_value
    assert not Config(env_id="CartPole-v1").separate_value
    for wrong in ({"env_id": "HalfCheetah-v4", "lstm_size": 8}, {"env_id": "Pong-v5"}):
        with pytest.raises(ConfigError, match="separate_value is True, but only an mlp without an LSTM has layers of"):
            Config(**wrong, separate_value=True)


@pytest.mark.parametrize("env_id", ["CartPole-v1", "HalfCheetah-v4"])
def test_where_a_rollout_is_learned_from_again_the_defaults_of_small_problems_are_others(env_id: str) -> None:
    flags = ["--env-id", env_id]
    once, again = EPOCH_DEFAULTS[problem_of(env_id)]
    assert set(once) == set(again) != set()
    alike = {"CartPole-v1": set(), "HalfCheetah-v4": {"t_max"}}
    assert {name for name in once if once[name] == again[name]} == alike[env_id]
    for epochs, expected in ((1, once), (4, again)):
        for config in (
            Config(env_id=env_id, update_epochs=epochs),
            configure([*flags, "--update-epochs", str(epochs)]),
            configure([*flags, f"--update_epochs={epochs}"]),
        ):
            assert config.update_epochs == epochs
            assert {name: getattr(config, name) for name in expected} == dict(expected)
        assert Config(env_id=env_id, update_epochs=epochs, t_max=9).t_max == 9
        assert configure([*flags, "--update-epochs", str(epochs), "--t-max", "9"]).t_max == 9
    twice = Config(env_id=env_id, update_epochs=2)
    assert twice == dataclasses.replace(Config(env_id=env_id, update_epochs=4), update_epochs=2)
    assert twice == configure([*flags, "--update-epochs", "2"]).replace(run_dir=None)
    default = Config(env_id=env_id)
    assert default == Config(env_id=env_id, update_epochs=default.update_epochs)


@pytest.mark.parametrize(
    ("other", "default"), [({"env_id": FAKE}, 1), ({"preset": "paper"}, 1), ({"env_id": "Pong-v5"}, 2)], ids=str
)
def test_what_has_one_set_of_settings_keeps_it_with_any_number_of_epochs(other: dict[str, Any], default: int) -> None:
    config = Config(**other)
    assert config.update_epochs == default
    flags = [f"--{name}={value}" for name, value in other.items()]
    for epochs in (1, 4):
        expected = dataclasses.replace(config, update_epochs=epochs)
        assert Config(**other, update_epochs=epochs) == expected
        assert configure([*flags, f"--update-epochs={epochs}"]).replace(run_dir=None) == expected


@pytest.mark.parametrize("value", ["0", "-1", "x", "1.5"])
def test_a_number_of_epochs_that_cannot_be(value: str) -> None:
    with pytest.raises(ConfigError) as caught:
        configure([f"--update-epochs={value}"])
    assert caught.value.field == "update_epochs"


def test_the_default_environment_is_pong_with_the_network_of_the_paper() -> None:
    config = Config()
    assert (config.env_id, config.model, config.frame_skip, config.stack_num) == ("Pong-v5", "paper", 4, 4)
    assert Config(env_id="CartPole-v1").model == "mlp"


@pytest.mark.parametrize(("envs_per_worker", "envs_per_update"), [(1, 1), (3, 1), (4, 2), (16, 2)])
def test_the_environments_of_an_update_divide_those_of_a_worker(envs_per_worker: int, envs_per_update: int) -> None:
    assert Config(env_id="CartPole-v1").envs_per_update == 2
    flags = ["--env-id", "CartPole-v1", "--envs-per-worker", str(envs_per_worker)]
    for config in (Config(env_id="CartPole-v1", envs_per_worker=envs_per_worker), configure(flags)):
        assert config.envs_per_update == envs_per_update
    with pytest.raises(ConfigError, match="envs_per_update is 5, but it must divide envs_per_worker"):
        Config(env_id="CartPole-v1", envs_per_worker=envs_per_worker, envs_per_update=5)


def test_a_given_value_wins_over_the_default_of_the_family() -> None:
    for name, value in {"t_max": 7, "model": "nature", "episodic_life": False, "learning_rate": 1e-6}.items():
        assert getattr(Config(**{name: value}), name) == value


@pytest.mark.parametrize(("name", "value"), WRONG_VALUES, ids=map(_case_name, WRONG_VALUES))
def test_a_wrong_value_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        Config(**{name: value})
    error = caught.value
    assert isinstance(error, ValueError)
    assert error.field == name
    if name not in ("hidden_sizes", "schedules", "track"):  # tuples by then
        assert error.value is value or (isinstance(value, str) and name not in OTHERS)
    assert str(error) == f"{name} is {error.value!r}, but {error.allowed}"
    assert len(error.allowed) > 10
    if name in INTEGERS:
        assert error.allowed == f"it must be a whole number from {INTEGERS[name][0]} to {INTEGERS[name][1]}"
    if name in CHOICES:
        allowed = {
            "model": "small",
            "activation": "tanh",
            "optimizer": "rmsprop",
            "precision": "fp32",
            "preset": "paper",
        }
        assert allowed[name] in error.allowed


@pytest.mark.parametrize("name", INTEGERS)
def test_the_ends_of_a_whole_number_are_allowed(name: str) -> None:
    for value in INTEGERS[name]:
        more = {"envs_per_worker": value} if name == "envs_per_update" else {}
        more |= {"envs_per_update": 1} if name == "envs_per_worker" else {}
        assert getattr(Config(**{name: value}, **more, **BESIDE.get(name, {})), name) == value


@pytest.mark.parametrize("name", NUMBERS)
def test_the_ends_of_a_number_are_allowed(name: str) -> None:
    low, high, inclusive = NUMBERS[name]
    values = [1e-12 if not inclusive else low if low > -INFINITY else -1e300, high if high < INFINITY else 1e300]
    for value in values:
        assert getattr(Config(**{name: value}, **BESIDE.get(name, {})), name) == value


@given(name=st.sampled_from(sorted(INTEGERS)), data=st.data())
def test_no_whole_number_outside_its_bounds_is_accepted(name: str, data: st.DataObject) -> None:
    low, high = INTEGERS[name]
    value = data.draw(st.integers(max_value=low - 1) | st.integers(min_value=high + 1))
    with pytest.raises(ConfigError, match=f"^{name} is "):
        Config(**{name: value})


_anything = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.binary(max_size=3),
    st.lists(st.integers(), max_size=2),
    st.tuples(st.floats()),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=1),
)


@settings(max_examples=400)
@given(name=st.sampled_from(sorted(FIELDS)), value=_anything)
def test_whatever_a_field_is_given_the_only_error_is_a_config_error(name: str, value: Any) -> None:
    try:
        config = Config(**{name: value})
    except ConfigError as error:
        assert error.field in (name, "envs_per_update")  # it must divide envs_per_worker
    else:
        json.dumps(config.to_json())


def test_envs_per_update_must_divide_envs_per_worker() -> None:
    with pytest.raises(ConfigError, match="envs_per_update is 3, but it must divide envs_per_worker, which is 8"):
        Config(envs_per_worker=8, envs_per_update=3)


def test_resume_needs_a_run_dir() -> None:
    with pytest.raises(ConfigError, match="resume is True, but run_dir"):
        Config(resume=True)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("frame_skip", 4), ("stack_num", 4), ("noop_max", 30), ("sticky_probability", 0.25)),
        *(("episodic_life", True), ("reward_clip", True)),
    ],
)
@pytest.mark.parametrize("env_id", ["CartPole-v1", FAKE])
def test_options_of_the_emulator_are_refused_elsewhere(env_id: str, name: str, value: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        Config(env_id=env_id, **{name: value})
    assert caught.value.field == name
    assert env_id in caught.value.allowed


def test_where_there_are_no_images_nothing_is_done_to_them() -> None:
    for value in (0.5, "auto"):
        with pytest.raises(ConfigError, match=r"observation_offset is .*CartPole-v1 has no images"):
            Config(env_id="CartPole-v1", observation_offset=value)
    with pytest.raises(ConfigError, match=r"observation_offset is 0\.5"):
        Config(env_id=FAKE, observation_offset=0.5)
    assert Config(env_id=FAKE_IMAGE, observation_offset="auto").observation_offset == "auto"
    assert Config(env_id=FAKE_IMAGE, observation_offset=0.5).observation_offset == 0.5
    assert Config(env_id="CartPole-v1").observation_offset == 0
    assert Config().observation_offset == "auto"
    assert Config().observation_scale == "auto"
    assert Config(preset="paper").observation_offset == 0
    for wrong in (0.5, "auto"):
        with pytest.raises(ConfigError, match=r"observation_scale is .*CartPole-v1 has no images: only 1"):
            Config(env_id="CartPole-v1", observation_scale=wrong)
    assert Config(env_id=FAKE_IMAGE, observation_scale=0.5).observation_scale == 0.5
    assert Config(preset="paper").observation_scale == 1


def test_a_misspelt_environment_is_answered_with_close_ones() -> None:
    with pytest.raises(ConfigError, match=r"env_id is 'Pogn-v5', but .*did you mean .*Pong-v5"):
        Config(env_id="Pogn-v5")


def test_it_is_frozen_and_hashable() -> None:
    config = Config(env_id=FAKE)
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.seed = 2  # type: ignore[misc]
    assert hash(config) == hash(Config(env_id=FAKE))
    assert config != Config(env_id=FAKE, seed=2)


def test_lists_and_strings_of_json_become_tuples_and_paths() -> None:
    config = Config.from_json(Config(env_id=FAKE).to_json() | {"hidden_sizes": [8, 16], "run_dir": "runs/x"})
    assert config.hidden_sizes == (8, 16)
    assert config.run_dir == Path("runs/x").absolute()


@given(
    env_id=st.sampled_from(["Pong-v5", "Breakout-v5", "CartPole-v1", "Acrobot-v1", FAKE]),
    values=st.fixed_dictionaries(
        {},
        optional={
            "total_steps": st.integers(1, 2**62),
            "num_workers": st.integers(0, 4096),
            "t_max": st.integers(1, 100_000),
            "hidden_sizes": st.lists(st.integers(1, 65536), min_size=1, max_size=16).map(tuple),
            "optimizer": st.sampled_from(["rmsprop", "adam"]),
            "learning_rate": st.floats(0, 1e3, exclude_min=True),
            "learning_rate_decay_power": st.floats(0, 100),
            "learning_rate_warmup": st.integers(0, 2**62),
            "entropy_decay_steps": st.integers(0, 2**62),
            "precision": st.sampled_from(["auto", "fp32", "bf16"]),
            "observation_offset": st.just(0.0),
            "observation_scale": st.just(1.0),
            "gamma": st.floats(0, 1),
            "max_grad_norm": st.floats(0, 1e300),
            "optimizer_eps": st.floats(1e-30, 1),
            "seed": st.integers(0, 2**31 - 1),
            "run_dir": st.sampled_from([None, Path("runs/x"), Path("/")]),
            "max_minutes": st.floats(0, 1e300),
            "stop_at_return": st.none() | st.floats(-1e300, 1e300),
            "watchdog_seconds": st.floats(0, 1e6, exclude_min=True),
        },
    ),
)
def test_json_round_trip(env_id: str, values: dict[str, Any]) -> None:
    if env_id in ("Pong-v5", "Breakout-v5"):
        values.pop("hidden_sizes", None)
    config = Config(env_id=env_id, **values)
    text = json.dumps(config.to_json(), allow_nan=False)
    assert Config.from_json(json.loads(text)) == config


def test_json_has_every_field() -> None:
    assert set(Config().to_json()) == {"format", *FIELDS}


def test_a_field_of_another_version_is_refused() -> None:
    with pytest.raises(ConfigError, match="num_wrokers is 3, but this version of a3c_fast has no such field"):
        Config.from_json({"num_wrokers": 3})


def test_fields_that_make_a_checkpoint_another_ones_exist() -> None:
    assert set(STRUCTURAL_FIELDS) <= set(FIELDS)
    assert {"env_id", "model", "hidden_sizes"} <= set(STRUCTURAL_FIELDS)


@pytest.mark.parametrize(("flag", "field"), [("--preset=paper", "preset"), ("--env-id=Breakout-v5", "env_id")])
def test_a_run_goes_on_with_what_its_defaults_came_from(tmp_path: Path, flag: str, field: str) -> None:
    stored = stored_settings.sealed(Config().to_json())
    (tmp_path / "config.json").write_text(json.dumps(stored), encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        configure(["--run-dir", str(tmp_path), "--resume", flag])
    assert caught.value.field == field
    assert "goes on with it" in str(caught.value)


# Settings as other libraries and shells have them ---------------------------------------------------------------------

MILLION = [1e6, "1e6", "1_000_000", "1000000.0", np.int64(10**6), np.float32(1e6), np.array(10**6), Fraction(10**6)]
MILLION += [Decimal("1e6"), np.uint32(10**6), np.float64(1e6), torch.tensor(10**6)]
THOUSANDTH = [1e-3, "1e-3", "0.001", np.float64(1e-3), np.array(1e-3), Decimal("0.001"), Fraction(1, 1000)]


@pytest.mark.parametrize("value", MILLION, ids=repr)
def test_a_whole_number_of_any_library_is_kept_as_an_int(value: Any) -> None:
    for name in ("total_steps", "learning_rate_warmup", "entropy_decay_steps", "seed"):
        kept = getattr(Config(**{name: value}), name)
        assert (type(kept), kept) == (int, 10**6)


@pytest.mark.parametrize("value", THOUSANDTH, ids=repr)
def test_a_real_number_of_any_library_is_kept_as_a_float(value: Any) -> None:
    for name in NUMBERS:
        kept = getattr(Config(**{name: value}, **BESIDE.get(name, {})), name)
        assert (type(kept), kept) == (float, 1e-3)


def test_whole_numbers_may_be_given_for_real_ones_and_are_exact() -> None:
    assert type(Config(gamma=1).gamma) is float
    assert Config(total_steps=np.int64(2**62)).total_steps == 2**62
    assert Config(total_steps=str(2**53 + 1)).total_steps == 2**53 + 1
    assert Config(learning_rate=np.float32(3e-4)).learning_rate == float(np.float32(3e-4))


def test_other_kinds_of_settings_of_other_libraries_are_kept_as_plain_ones(tmp_path: Path) -> None:
    class Name(enum.StrEnum):
        ADAM = "adam"

    for sizes in ([8, 16], np.array([8, 16]), ("8", 16.0), [np.int32(8), np.uint8(16)], range(8, 17, 8)):
        kept = Config(env_id="CartPole-v1", hidden_sizes=sizes).hidden_sizes
        assert (kept, {type(size) for size in kept}) == ((8, 16), {int})
    config = Config(env_id=np.str_("Pong-v5"), optimizer=Name.ADAM, reward_clip=np.False_, run_dir=FilePath(tmp_path))
    assert [type(getattr(config, name)) for name in ("env_id", "optimizer", "reward_clip")] == [str, str, bool]
    assert config.run_dir == tmp_path
    assert Config.from_json(json.loads(json.dumps(config.to_json()))) == config


class FilePath:
    """A path of somebody else's class."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __fspath__(self) -> str:
        return str(self.path)


def test_an_error_shows_even_what_has_no_repr() -> None:
    for value in (10**5000, "9" * 5000):
        with pytest.raises(ConfigError, match=r"seed is .*whole number") as caught:
            Config(seed=value)
        assert len(str(caught.value)) < 1000


def test_the_run_directory_stays_where_it_was_when_the_program_goes_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    config, at_home = Config(run_dir="runs/../x"), Config(run_dir=Path("~/y"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir("elsewhere")
    assert config.run_dir == tmp_path / "x"
    assert at_home.run_dir == tmp_path / "home/y"
    (tmp_path / "link").symlink_to("elsewhere")
    assert Config(run_dir=tmp_path / "link").run_dir == tmp_path / "link"
    (tmp_path / "elsewhere").rmdir()
    with pytest.raises(ConfigError, match="run_dir is 'z'"):
        Config(run_dir="z")


# Another configuration made from one ---------------------------------------------------------------------------------

CHANGES: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {"preset": "paper"}),
    ({"preset": "paper"}, {"preset": "default"}),
    ({"t_max": 20, "seed": 4}, {"preset": "paper"}),
    ({"env_id": "CartPole-v1"}, {"update_epochs": 1}),
    ({"env_id": "CartPole-v1", "update_epochs": 1}, {"update_epochs": 4}),
    ({"env_id": "CartPole-v1"}, {"env_id": "Pong-v5"}),
    ({}, {"env_id": "CartPole-v1"}),
    ({"env_id": FAKE, "t_max": 3}, {"env_id": "Acrobot-v1"}),
    ({"envs_per_worker": 1}, {"envs_per_worker": 16}),
    ({"envs_per_worker": 4}, {"envs_per_worker": 3}),
]


@pytest.mark.parametrize(("said", "changes"), CHANGES, ids=str)
def test_replace_derives_what_was_not_said_anew(said: dict[str, Any], changes: dict[str, Any]) -> None:
    expected = Config(**{**said, **changes})
    for config in (Config(**said), copy.deepcopy(Config(**said)), pickle.loads(pickle.dumps(Config(**said)))):
        assert config.replace(**changes) == expected
        assert config.__replace__(**changes) == expected
        assert dataclasses.replace(config, keep_checkpoints=9).replace(**changes, keep_checkpoints=3) == expected


@pytest.mark.parametrize(("said", "changes"), CHANGES, ids=str)
def test_dataclasses_replace_refuses_what_it_cannot_know(said: dict[str, Any], changes: dict[str, Any]) -> None:
    (changed,) = changes
    with pytest.raises(ConfigError, match=re.escape(f"use config.replace({changed}=")) as caught:
        dataclasses.replace(Config(**said), **changes)
    assert caught.value.field == changed


def test_dataclasses_replace_does_what_is_clear() -> None:
    config = Config(env_id="CartPole-v1", t_max=9)
    assert dataclasses.replace(config, env_id="Acrobot-v1") == Config(env_id="Acrobot-v1", t_max=9)
    assert dataclasses.replace(config, t_max=None) == Config(env_id="CartPole-v1")
    several = dataclasses.replace(config, envs_per_worker=1, envs_per_update=1, learning_rate=0.5)
    assert several == config.replace(envs_per_worker=1, envs_per_update=1, learning_rate=0.5)
    assert several.replace(update_epochs=1).learning_rate == 0.5
    everything = {name: getattr(Config(preset="paper"), name) for name in FIELDS}
    assert dataclasses.replace(Config(), **everything) == Config(preset="paper")


def test_copies_are_equal_and_have_the_same_hash() -> None:
    config = Config(env_id="CartPole-v1", t_max=9)
    for other in (copy.copy(config), copy.deepcopy(config), pickle.loads(pickle.dumps(config)), config.replace()):
        assert (other, hash(other), repr(other)) == (config, hash(config), repr(config))
    assert config == Config.from_json(config.to_json())


def test_what_differs_from_the_defaults_was_said_in_a_stored_configuration() -> None:
    stored = Config.from_json(Config(env_id="CartPole-v1", t_max=9).to_json())
    assert stored.replace(update_epochs=1) == Config(env_id="CartPole-v1", t_max=9, update_epochs=1)
    with pytest.raises(ConfigError, match="use config"):
        dataclasses.replace(stored, update_epochs=1)


# What was probably meant ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("env_id", "meant"),
    [
        *((name, "Pong-v5") for name in ("Pong", "pong", "ALE/Pong-v5", "PongNoFrameskip-v4", "Pong-v4", "PONG-V5")),
        *((name, "Pong-v5") for name in ("gymnasium:Pong-v5", "Pong-ramNoFrameskip-v4", "PongDeterministic-v0")),
        *((name, "CartPole-v1") for name in ("cartpole", "CartPole", "gym:CartPole-v1", "cart_pole", "CartPole-v7")),
        *((name, "SpaceInvaders-v5") for name in ("space_invaders", "SpaceInvadersNoFrameskip-v4", "Space Invaders")),
        ("Breakot-v5", "Breakout-v5"),
    ],
)
def test_the_environment_that_was_meant_is_named(env_id: str, meant: str) -> None:
    with pytest.raises(ConfigError, match=f"did you mean {meant}") as caught:
        Config(env_id=env_id)
    assert (caught.value.field, caught.value.value) == ("env_id", env_id)


@pytest.mark.parametrize(
    ("field", "value", "meant"),
    [
        *(("model", "Paper", "paper"), ("optimizer", "RMSProp", "rmsprop"), ("preset", "papr", "paper")),
        *(("precision", "BF16", "bf16"), ("optimizer", "Adam", "adam"), ("model", "MLP", "mlp")),
        *(("model", "smal", "small"), ("activation", "ReLU", "relu")),
    ],
)
def test_the_choice_that_was_meant_is_named(field: str, value: str, meant: str) -> None:
    with pytest.raises(ConfigError, match=f"did you mean {meant}\\?"):
        Config(**{field: value})
