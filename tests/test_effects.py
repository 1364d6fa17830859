"""Settings that have no effect beside others: refused where they are said, kept where an earlier run has them."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from helpers import DATA, FAKE, FAKE_CONTINUOUS, FAKE_IMAGE

from a3c_fast import Config, ConfigError, Trainer, stored_settings
from a3c_fast.effects import why_without_effect
from a3c_fast.train import configure

CARTPOLE = {"env_id": "CartPole-v1"}

# What is said last has no effect beside the rest, and would have one beside what is given then.
CASES: list[tuple[dict[str, Any], str, Any, dict[str, Any]]] = [
    ({}, "activation", "tanh", CARTPOLE),
    ({"model": "nature"}, "hidden_sizes", (64, 64), {"model": "mlp"}),
    ({"env_id": FAKE_IMAGE, "model": "small"}, "activation", "relu", {"model": "mlp"}),
    (CARTPOLE, "initial_log_std", -0.5, {"env_id": "Pendulum-v1"}),
    ({}, "initial_log_std", -1.0, {"env_id": FAKE_CONTINUOUS}),
    ({"preset": "paper"}, "clip_coef", 0.1, {"update_epochs": 2}),
    (CARTPOLE, "entropy_final_fraction", 0.2, {"entropy_decay_steps": 10}),
    ({}, "rmsprop_alpha", 0.9, {"optimizer": "rmsprop"}),
    ({"preset": "paper"}, "adam_beta1", 0.9, {"optimizer": "adam"}),
    ({"optimizer": "rmsprop"}, "adam_beta2", 0.999, {"optimizer": "adam"}),
    ({}, "normalize_observations", True, CARTPOLE),
    ({"schedules": {"learning_rate": 1e-3}}, "learning_rate_warmup", 20_000, {"schedules": ()}),
    ({**CARTPOLE, "network": "user_networks:Mlp"}, "lstm_size", 8, {"network": None}),
    ({"env_id": FAKE_IMAGE, "network": "user_networks:Mlp"}, "observation_offset", 0.5, {"network": None}),
    ({"update_epochs": 1}, "schedules", ("clip_coef=0.1@0",), {"update_epochs": 2}),
]


@pytest.mark.parametrize(("settings", "name", "value", "others"), CASES, ids=[case[1] for case in CASES])
def test_what_has_no_effect_is_refused_where_it_is_said(
    settings: dict[str, Any], name: str, value: Any, others: dict[str, Any]
) -> None:
    with_effect = Config(**{**settings, **others, name: value})
    assert getattr(with_effect, name) == value
    back = {other: settings.get(other, "Pong-v5" if other == "env_id" else None) for other in others}
    for make in (
        lambda: Config(**{**settings, name: value}),
        lambda: Config(**settings).replace(**{name: value}),
        lambda: with_effect.replace(**back),
    ):
        with pytest.raises(ConfigError) as caught:
            make()
        assert caught.value.field == name


def test_what_belongs_to_nothing_is_told_by_what_it_belongs_to() -> None:
    with pytest.raises(ConfigError, match="activation is 'relu', but it is of the mlp, and the model is nature"):
        Config(model="nature", activation="relu")
    with pytest.raises(ConfigError, match=r"clip_coef is 0\.3, but it has no effect where update_epochs is 1"):
        configure(["--clip-coef", "0.3", "--update-epochs", "1"])


def test_a_number_at_the_end_of_its_range_makes_nothing_else_wrong() -> None:
    Config(t_max=1, gae_lambda=0.9, entropy_coef=0, entropy_decay_steps=100, entropy_final_fraction=0.5)
    own = {"env_id": FAKE_IMAGE, "network": "user_networks:Mlp"}
    Config(**own, lstm_size=0, separate_value=False, observation_offset=0, observation_scale=1)
    Config(normalize_observations=False)


def test_defaults_are_said_by_nobody() -> None:
    for settings in ({}, CARTPOLE, {"preset": "paper"}, {"preset": "paper-lstm"}, {"env_id": "CarRacing-v3"}):
        config = Config(**settings)
        for same in (config.replace(seed=2), dataclasses.replace(config, seed=2), Config.from_json(config.to_json())):
            assert same.replace(seed=1) == config
    assert why_without_effect("clip_coef", Config(preset="paper"))


def stored(run_dir: Path, **changes: Any) -> Config:
    """A run as an earlier version, which refused nothing, stored it."""
    values = {**Config(env_id=FAKE, num_workers=1, update_epochs=1).to_json(), **changes}
    (run_dir / "config.json").write_text(json.dumps(stored_settings.sealed(values)), encoding="utf-8")
    return Config.from_json(values)


IDLE = {"clip_coef": 0.37, "rmsprop_alpha": 0.5, "entropy_final_fraction": 0.9, "initial_log_std": -2.0}


def test_a_run_of_an_earlier_version_has_them_and_goes_on(tmp_path: Path) -> None:
    config = stored(tmp_path, **IDLE)
    again = configure(["--run-dir", str(tmp_path), "--resume", "--learning-rate", "0.5"])
    for one in (config, config.replace(seed=3), dataclasses.replace(config, seed=3), again, again.replace(seed=9)):
        assert {name: getattr(one, name) for name in IDLE} == IDLE
    assert again.learning_rate == 0.5
    for make in (
        lambda: configure(["--run-dir", str(tmp_path), "--resume", "--clip-coef", "0.2"]),
        lambda: config.replace(clip_coef=0.2),
        lambda: dataclasses.replace(config, clip_coef=0.2),
    ):
        with pytest.raises(ConfigError, match=r"clip_coef is .* update_epochs is 1"):
            make()
    assert config.replace(update_epochs=2).clip_coef == 0.37


def test_another_network_than_the_mlp_keeps_the_layers_that_it_has_not(tmp_path: Path) -> None:
    few = {"envs_per_worker": 1, "envs_per_update": 1, "t_max": 4, "total_steps": 8}
    values = {"env_id": FAKE_IMAGE, "model": "paper", "hidden_sizes": [8], "activation": "elu", **few}
    config = stored(tmp_path, **values).replace(run_dir=tmp_path, resume=True)
    with Trainer(config) as trainer:
        trainer.run()
    with Trainer.from_checkpoint(tmp_path, total_steps=16) as trainer:
        assert trainer.kind == "resumed"
        assert trainer.config.hidden_sizes == (8,)
        assert trainer.run()["step"] >= 16


@pytest.mark.parametrize("path", sorted(DATA.glob("*/config.json")), ids=lambda path: path.parent.name)
def test_every_run_that_was_ever_stored_loads(path: Path) -> None:
    config = Config.from_json(json.loads(path.read_text(encoding="utf-8")))
    assert Config.from_json(config.to_json()) == config


def test_a_run_under_way_refuses_them_too() -> None:
    with Trainer(Config(env_id=FAKE, num_workers=1, total_steps=10**6, update_epochs=1)) as trainer:
        with pytest.raises(ConfigError, match=r"clip_coef is 0\.3, but it has no effect"):
            trainer.set(clip_coef=0.3)
        assert trainer.changes == []
