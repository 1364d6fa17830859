"""What EnvPool has and cannot be trained on: each refusal is one true sentence."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from a3c_fast import Config, envs
from a3c_fast.envs import families
from a3c_fast.errors import ConfigError
from a3c_fast.imports import import_envpool


def refusal(env_id: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        envs.spec_of(Config(env_id=env_id))
    assert caught.value.field == "env_id"
    assert caught.value.value == env_id
    assert "\n" not in str(caught.value)
    return caught.value.allowed


@pytest.mark.parametrize(
    ("env_id", "sentence"),
    [
        ("Pogn-v5", "EnvPool has no such environment; did you mean Pong-v5"),
        ("Chess-v1", "it has 2 players, and environments of one player are supported"),
        ("SparrowMahjong-v1", "it has 3 players, and environments of one player are supported"),
        ("Sudoku-v0", "this environment is not supported: its puzzles are not part of EnvPool's package"),
        (
            "Jumanji/Sudoku-very-easy-v0",
            "this environment is not supported: its puzzles are not part of EnvPool's pack",
        ),
        ("Cig-v1", "this environment is not supported: it is made for several players over a network, and kills"),
        ("VizdoomCustom-v1", "this environment is not supported: its scenario is a file that must be given"),
        (5, "it must be the name of an environment"),
    ],
)
def test_what_cannot_be_trained_on_is_refused(env_id: Any, sentence: str) -> None:
    assert refusal(env_id).startswith(sentence)


def test_every_tenth_environment_is_supported_or_refused_in_one_sentence() -> None:
    reasons = {}
    for env_id in sorted(import_envpool().registration.registry.specs)[::10]:
        try:
            families.spec_of(env_id)
        except ConfigError as error:
            reasons[env_id] = error.allowed
    assert 0 < len(reasons) < 20
    for env_id, reason in reasons.items():
        assert any(part in reason for part in (" players, and ", "is not supported: ", "Procgen needs")), (
            env_id,
            reason,
        )
        assert "\n" not in reason


def test_a_name_that_is_like_none_is_answered_with_where_the_names_are() -> None:
    assert refusal("qqqqqq").startswith("EnvPool has no such environment; a3c_fast.list_envs()")


@pytest.fixture
def _forgetful() -> Any:
    """What was found out of environments is found out anew, before and after."""
    families.spec_of.cache_clear()
    yield
    families.spec_of.cache_clear()


def array(dtype: str, shape: tuple[int, ...], low: Any, high: Any) -> Any:
    """As EnvPool's ArraySpec."""
    return SimpleNamespace(dtype=np.dtype(dtype), shape=shape, minimum=low, maximum=high)


def pretend(monkeypatch: pytest.MonkeyPatch, **changes: Any) -> None:
    """CartPole-v1 has other arrays from now on, or cannot be made."""
    envpool = import_envpool()
    real = envpool.make_spec("CartPole-v1")
    error = changes.pop("error", None)

    def make_spec(*_: Any, **__: Any) -> Any:
        if error is not None:
            raise error
        arrays = {
            "config": SimpleNamespace(max_num_players=changes.get("players", 1)),
            "action_array_spec": changes.get("action", real.action_array_spec),
            "state_array_spec": changes.get("state", real.state_array_spec),
        }
        return SimpleNamespace(**arrays)

    monkeypatch.setattr(
        families, "import_envpool", lambda: SimpleNamespace(make_spec=make_spec, registration=envpool.registration)
    )


ACTION = {"env_id": None, "players.env_id": None}


@pytest.mark.usefixtures("_forgetful")
@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"players": 4}, "it has 4 players, and environments of one player are supported"),
        (
            {"action": {**ACTION, "left": array("int32", (), 0, 1), "right": array("int32", (), 0, 1)}},
            "its actions, left, right, are not supported: one array is",
        ),
        (
            {"action": {**ACTION, "action": array("int32", (2,), np.array([0, 1]), np.array([3, 3]))}},
            "its choices begin with different numbers, which is not supported",
        ),
        (
            {"action": {**ACTION, "action": array("int32", (), 3, 2)}},
            "its choices begin with different numbers, which is not supported",
        ),
        (
            {"state": {"obs:map": array("float32", (300, 300), 0, 1), "obs:x": array("float32", (2,), 0, 1)}},
            "its observations are too large: 90,002 numbers, most of them in map float32[300x300], and 65,536 are",
        ),
        ({"error": RuntimeError("no\nlicence")}, "EnvPool cannot make it: no"),
        ({"error": ImportError("libX.so: missing\nat all")}, "EnvPool's classic_control cannot be loaded: libX.so: m"),
    ],
    ids=str,
)
def test_arrays_that_are_not_supported(monkeypatch: pytest.MonkeyPatch, changes: Any, sentence: str) -> None:
    pretend(monkeypatch, **changes)
    assert refusal("CartPole-v1").startswith(sentence)


@pytest.mark.usefixtures("_forgetful")
def test_an_image_that_is_too_large_is_refused_as_what_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, state={"obs": array("uint8", (3, 2000, 2000), 0, 255)})
    assert refusal("CartPole-v1") == (
        "its images are too large: 12,000,000 bytes in uint8[3x2000x2000], and 4,194,304 are supported"
    )


def test_procgen_without_qt_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    envpool = import_envpool()

    def make_spec(*_: Any, **__: Any) -> Any:
        raise ImportError("libQt5Gui.so.5: cannot open shared object file: No such file or directory")

    families.spec_of.cache_clear()
    monkeypatch.setattr(
        families, "import_envpool", lambda: SimpleNamespace(make_spec=make_spec, registration=envpool.registration)
    )
    assert refusal("BigfishEasy-v0") == (
        "Procgen needs the system's Qt 5, on Debian and Ubuntu: apt-get install libqt5gui5"
    )
    families.spec_of.cache_clear()


@pytest.mark.usefixtures("_forgetful")
def test_choices_that_begin_elsewhere_and_bounds_that_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    def action(found: Any) -> envs.ActionSpec:
        families.spec_of.cache_clear()
        pretend(monkeypatch, action={**ACTION, "action": found})
        return families.spec_of("CartPole-v1").action

    assert action(array("int32", (), 1, 4)) == envs.ActionSpec((4,), first=1)
    assert action(array("int64", (3,), -1, np.array([1, 2, 0]))) == envs.ActionSpec((3, 4, 2), first=-1)
    largest, smallest = np.finfo(np.float32).max, np.finfo(np.float32).tiny
    assert action(array("float32", (2,), -largest, largest)).low == (-math.inf, -math.inf)
    assert action(array("float32", (), smallest, 1e10)) == envs.ActionSpec(low=(-math.inf,), high=(math.inf,))
    assert action(array("float64", (2,), np.array([-1.0, 0.0]), 3.0)) == envs.ActionSpec(low=(-1, 0), high=(3, 3))


@pytest.mark.parametrize(
    ("model", "env_id", "sentence"),
    [
        (
            "paper",
            "MiniGrid-Empty-8x8-v0",
            "it needs images of at least 20x20 and MiniGrid-Empty-8x8-v0 has .*use small",
        ),
        (
            "nature",
            "MiniGrid-Empty-8x8-v0",
            "it needs images of at least 36x36 and MiniGrid-Empty-8x8-v0 has .*use small",
        ),
        ("small", "HalfCheetah-v4", "it needs images of at least 5x5 and HalfCheetah-v4 has observations .*use mlp"),
        ("paper", "CheetahRun-v1", "has observations position float64.8., velocity float64.9.: use mlp"),
    ],
)
def test_a_network_for_images_of_another_size_is_refused_with_the_one_to_take(
    model: Any, env_id: str, sentence: str
) -> None:
    from a3c_fast import Trainer

    with pytest.raises(ConfigError, match=sentence) as caught:
        Trainer(Config(env_id=env_id, model=model, num_workers=1, separate_value=False))
    assert (caught.value.field, caught.value.value) == ("model", model)
