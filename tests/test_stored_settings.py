"""Settings of every version load, with what they meant then."""

from __future__ import annotations

import dataclasses
import json
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import DATA, EVALUATE, run

from a3c_fast import Config, Trainer, list_envs, metrics, stored_settings
from a3c_fast import checkpoint as checkpoints
from a3c_fast.config import STRUCTURAL_FIELDS
from a3c_fast.errors import ConfigError
from a3c_fast.evaluate import load_policy
from a3c_fast.run_directory import stored_config

RESULTS = Path(__file__).parents[1] / "bench" / "results"
FIELDS = [field.name for field in dataclasses.fields(Config)]
# Those of the first version.
FIRST = set(json.loads((DATA / "first_version_cartpole" / "config.json").read_text(encoding="utf-8")))
RUNS = sorted(path.name for path in DATA.iterdir())


def configs_in(values: Any) -> Iterator[dict[str, Any]]:
    """The stored configurations within a result."""
    if isinstance(values, dict):
        if {"env_id", "num_workers", "gamma"} <= values.keys():
            yield values
            return
        values = list(values.values())
    if isinstance(values, list):
        for value in values:
            yield from configs_in(value)


def results() -> list[Path]:
    return [path for path in sorted(RESULTS.rglob("*.json")) if '"env_id"' in path.read_text(encoding="utf-8")]


def test_every_configuration_among_the_results_loads() -> None:
    loaded = 0
    needs_qt = {entry["id"] for entry in list_envs("procgen") if not entry["trainable"]}
    for path in results():
        for values in configs_in(json.loads(path.read_text(encoding="utf-8"))):
            if values["env_id"] in needs_qt:
                continue
            config = Config.from_json(values)
            played = stored_settings.playing(values)
            for name, value in values.items():
                if name in FIELDS and name not in ("preset", "precision", "run_dir", "resume"):
                    assert config.to_json()[name] == value, (path, name)
            assert all(getattr(played, name) == getattr(config, name) for name in stored_settings.PLAYING_FIELDS)
            loaded += 1
    assert loaded >= 170


def test_every_setting_is_of_the_first_version_or_has_its_meaning_before() -> None:
    assert set(FIELDS) == (FIRST - {"learning_rate_decay"}) | set(stored_settings.MEANT_BEFORE)
    assert set(STRUCTURAL_FIELDS) - {"optimizer"} <= set(stored_settings.PLAYING_FIELDS)


def test_what_the_first_version_did_is_what_is_loaded() -> None:
    values = json.loads((DATA / "first_version_cartpole" / "config.json").read_text(encoding="utf-8"))
    config = Config.from_json(values)
    assert (config.update_epochs, config.lstm_size, config.normalize_advantages) == (1, 0, False)
    assert (config.learning_rate_decay_power, config.learning_rate_warmup, config.entropy_decay_steps) == (1.0, 0, 0)
    assert (config.observation_offset, config.observation_scale) == (0.0, 1.0)
    assert (config.max_grad_norm, config.value_coef) == (0.5, 0.5)  # its own, not what is the default today
    assert (config.run_dir, config.resume) == (None, False)  # not where it once lay
    assert Config.from_json(values | {"learning_rate_decay": False}).learning_rate_decay_power == 0.0


def test_auto_meant_float32_before_there_was_bfloat16() -> None:
    values = json.loads((DATA / "first_version_cartpole" / "config.json").read_text(encoding="utf-8"))
    assert values["precision"] == "auto"
    assert Config.from_json(values).precision == "fp32"
    assert Config.from_json(Config().to_json()).precision == "auto"


def test_a_preset_that_is_no_longer_there_is_only_a_name() -> None:
    values = Config(env_id="CartPole-v1").to_json() | {"preset": "reuse", "update_epochs": 4}
    del values["format"]
    config = Config.from_json(values)
    assert (config.preset, config.update_epochs) == ("default", 4)


def test_stored_settings_say_their_format() -> None:
    assert Config().to_json()["format"] == stored_settings.FORMAT
    config = Config(env_id="CartPole-v1", run_dir=Path("/tmp/x"), resume=True)
    assert Config.from_json(config.to_json()) == config


def test_a_newer_versions_settings_are_refused_by_name_and_played() -> None:
    values = Config(env_id="CartPole-v1").to_json() | {"format": 3, "curiosity": 0.5}
    del values["learning_rate"]
    with pytest.raises(ConfigError, match=r"no such field: a newer one wrote these settings, in format 3$") as caught:
        Config.from_json(values)
    assert caught.value.field == "curiosity"
    assert stored_settings.playing(values).env_id == "CartPole-v1"
    del values["model"]
    with pytest.raises(ConfigError, match="model is None, but stored settings must say it: a newer one"):
        stored_settings.playing(values)


@pytest.mark.parametrize("name", ["gamma", "t_max", "learning_rate"])
def test_a_setting_that_was_always_there_must_be(name: str) -> None:
    values = Config(env_id="CartPole-v1").to_json()
    del values[name]
    with pytest.raises(ConfigError, match=f"{name} is None"):
        Config.from_json(values)
    stored_settings.playing(values)


@pytest.mark.parametrize("value", [0, -1, 1.5, "2", None, True, [2]])
def test_a_format_that_is_none_is_refused(value: Any) -> None:
    with pytest.raises(ConfigError, match="format is "):
        Config.from_json(Config().to_json() | {"format": value})


# Whole runs of earlier versions --------------------------------------------------------------------------------------


@pytest.fixture(params=RUNS)
def old_run(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A copy of a run that an earlier version made, at another place than it was made."""
    return Path(shutil.copytree(DATA / request.param, tmp_path / "moved"))


def test_a_run_of_an_earlier_version_evaluates(old_run: Path) -> None:
    saved = checkpoints.load_newest(old_run / "checkpoints")
    policy, config = load_policy(saved)
    assert policy.state_dict().keys() == saved.parameters.keys()
    assert config.hidden_sizes == (8,)
    assert config.env_id == saved.config["env_id"]


def test_a_cartpole_run_of_the_first_version_is_played(tmp_path: Path) -> None:
    run_dir = shutil.copytree(DATA / "first_version_cartpole", tmp_path / "moved")
    result = run(EVALUATE, str(run_dir), "--episodes", "3", "--json")
    assert (result.status, result.stderr) == (0, "")
    assert json.loads(result.stdout)["step"] == 1211


def test_a_run_of_an_earlier_version_goes_on(old_run: Path) -> None:
    config = stored_config(old_run)
    assert config is not None
    before = checkpoints.load_newest(old_run / "checkpoints")
    lines = metrics.read(old_run)
    with Trainer(dataclasses.replace(config, run_dir=old_run, resume=True)) as trainer:
        assert trainer.stats()["step"] == before.step
        for name, value in trainer.state_dict().items():
            np.testing.assert_array_equal(value.numpy(), before.parameters[name])
        line = trainer.run()
    assert line["step"] >= 4000
    assert metrics.read(old_run)[: len(lines)] == lines
    assert checkpoints.load_newest(old_run / "checkpoints").step == line["step"]


def test_a_run_at_rest_of_the_first_format_goes_on_exactly(tmp_path: Path) -> None:
    # The version that made it was at step 4013, with this sum of the parameters, when it had run to the end.
    run_dir = shutil.copytree(DATA / "format_1_fake", tmp_path / "moved")
    config = stored_config(run_dir)
    assert config is not None
    with Trainer(dataclasses.replace(config, run_dir=run_dir, resume=True)) as trainer:
        assert trainer.run()["step"] == 4013
        total = sum(float(value.double().sum()) for value in trainer.state_dict().values())
    assert total == pytest.approx(11.786944879990187, rel=1e-4)


# config.json ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    config = Config(env_id="a3c_fast/Fake-v0", num_workers=1, total_steps=2000, run_dir=tmp_path / "run")
    with Trainer(config) as trainer:
        trainer.run(1000)
    return tmp_path / "run"


def test_config_json_says_neither_where_it_lies_nor_how_it_was_begun(run_dir: Path) -> None:
    values = json.loads((run_dir / "config.json").read_text(encoding="utf-8"))
    assert (values["run_dir"], values["resume"], values["format"]) == (None, False, stored_settings.FORMAT)
    assert Config.from_json(values).total_steps == 2000


@pytest.mark.parametrize(
    "text", [None, b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000, b'{"env_id": NaN}', b"{}", b'{"a": 1}']
)
def test_a_run_with_a_damaged_config_json_has_the_settings_of_its_checkpoint(run_dir: Path, text: bytes | None) -> None:
    whole = stored_config(run_dir)
    if text is None:
        (run_dir / "config.json").unlink()
        assert stored_config(run_dir) == whole
    else:
        (run_dir / "config.json").write_bytes(text)
        with pytest.warns(UserWarning, match=r"config\.json is not as it was written"):
            assert stored_config(run_dir) == whole
    assert whole is not None
    with Trainer(dataclasses.replace(whole, run_dir=run_dir, resume=True)) as trainer:
        assert trainer.run()["step"] >= 2000


def test_a_flipped_bit_of_config_json_is_found_or_changes_nothing(run_dir: Path) -> None:
    whole, content = stored_config(run_dir), (run_dir / "config.json").read_bytes()
    warned = 0
    for bit in np.random.default_rng(1).choice(8 * len(content), 300, replace=False):
        changed = bytearray(content)
        changed[bit // 8] ^= 1 << bit % 8
        (run_dir / "config.json").write_bytes(changed)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert stored_config(run_dir) == whole
        warned += len(caught)
    assert warned > 250  # what changes nothing is white space


def test_a_directory_without_a_run_has_no_settings(tmp_path: Path) -> None:
    assert stored_config(tmp_path) is None
    assert stored_config(tmp_path / "missing") is None
    (tmp_path / "config.json").write_text('{"a": 1}', encoding="utf-8")
    assert stored_config(tmp_path) is None
