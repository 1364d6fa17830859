"""Checkpoints: exact, atomic, and refused in one sentence when any bit of them is not as it was written."""

from __future__ import annotations

import dataclasses
import json
import random
import shutil
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from helpers import FAKE

from a3c_fast import Config, Trainer
from a3c_fast import checkpoint as checkpoints
from a3c_fast.checkpoint import Checkpoint
from a3c_fast.errors import CheckpointError, ConfigError


def example(step: int = 1234, value: float = 0.5) -> Checkpoint:
    rng = np.random.default_rng(step)
    names = {"fc1.weight": (8, 4), "fc1.bias": (8,), "value_head.weight": (1, 8)}
    vectors = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in names.items()}
    vectors["fc1.bias"][:3] = (value, -0.0, 1e-45)
    state = {
        "random": 2**63 + 5,
        "env": bytes(range(256)),
        "previous_done": [0, 1],
        "previous_ended": [0, 1],
        "starts": [1, 0],
        "recurrent_state": [0.25, -1e-7],
        "episode_return": [1.5, -2.0],
        "episode_length": [3, 0],
    }
    return Checkpoint(
        config=Config(env_id=FAKE, learning_rate=1e-5, run_dir=Path("runs/x")).to_json(),
        step=step,
        updates=17,
        episodes=5,
        wall_seconds=12.345678901234567,
        parameters=vectors,
        statistics={"first_moment": {n: v * 2 for n, v in vectors.items()}, "second_moment": dict(vectors)},
        workers=[state, {**state, "random": 0, "env": b""}],
        versions={"torch": "2.13.0"},
    )


def same(a: Checkpoint, b: Checkpoint) -> bool:
    def plain(c: Checkpoint) -> dict[str, Any]:
        as_bytes = {name: (value.shape, value.dtype.str, value.tobytes()) for name, value in c.parameters.items()}
        stats = {k: {name: value.tobytes() for name, value in named.items()} for k, named in c.statistics.items()}
        return {**dataclasses.asdict(c), "parameters": as_bytes, "statistics": stats}

    return plain(a) == plain(b)


def flip(path: Path, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


def whole_steps(directory: Path) -> list[int]:
    found = []
    for path in checkpoints.paths(directory):
        try:
            found.append(checkpoints.load(path).step)
        except CheckpointError:
            continue
    return found


# One checkpoint ------------------------------------------------------------------------------------------------------


def test_round_trip_is_exact(tmp_path: Path) -> None:
    path = checkpoints.save(example(), tmp_path / "new" / "a.safetensors")
    assert same(checkpoints.load(path), example())
    assert sorted(p.name for p in path.parent.iterdir()) == ["a.json", "a.safetensors"]


def test_the_files_are_what_their_names_say(tmp_path: Path) -> None:
    path = checkpoints.save(example(), tmp_path / "a.safetensors")
    tensors = safetensors.numpy.load(path.read_bytes())
    assert set(tensors) == {
        f"{kind}/{name}"
        for kind in ("parameters", "optimizer/first_moment", "optimizer/second_moment")
        for name in example().parameters
    }
    description = json.loads(path.with_suffix(".json").read_text())
    assert (description["step"], description["format"]) == (1234, checkpoints.FORMAT)
    assert Config.from_json(description["config"]).learning_rate == 1e-5


def test_strided_arrays_are_saved_by_value(tmp_path: Path) -> None:
    transposed = np.arange(32, dtype=np.float32).reshape(4, 8).T
    content = dataclasses.replace(example(), parameters={"fc1.weight": transposed}, statistics={})
    loaded = checkpoints.load(checkpoints.save(content, tmp_path / "a.safetensors"))
    np.testing.assert_array_equal(loaded.parameters["fc1.weight"], transposed)


def test_a_name_without_its_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must end in \.safetensors"):
        checkpoints.save(example(), tmp_path / "a.pt")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", [".safetensors", ".json"])
def test_a_missing_half_is_named(tmp_path: Path, suffix: str) -> None:
    path = checkpoints.save(example(), tmp_path / "a.safetensors")
    path.with_suffix(suffix).unlink()
    with pytest.raises(CheckpointError, match=f"cannot be read: No such file or directory: .*a{suffix}$"):
        checkpoints.load(path)


@pytest.mark.parametrize("suffix", [".safetensors", ".json"])
def test_a_truncated_file_is_refused(tmp_path: Path, suffix: str) -> None:
    path = checkpoints.save(example(), tmp_path / "a.safetensors")
    content = path.with_suffix(suffix).read_bytes()
    for size in (0, 1, 7, 8, 9, len(content) // 2, len(content) - 1):
        path.with_suffix(suffix).write_bytes(content[:size])
        with pytest.raises(CheckpointError, match="is damaged"):
            checkpoints.load(path)
    path.with_suffix(suffix).write_bytes(content + b"0")
    with pytest.raises(CheckpointError, match="is damaged"):
        checkpoints.load(path)


def test_one_flipped_bit_of_the_tensors_is_found(tmp_path: Path) -> None:
    path = checkpoints.save(example(), tmp_path / "a.safetensors")
    for bit in random.Random(1).sample(range(8 * path.stat().st_size), 500):
        flip(path, bit)
        with pytest.raises(CheckpointError, match="is damaged"):
            checkpoints.load(path)
        flip(path, bit)
    assert same(checkpoints.load(path), example())


def test_one_flipped_bit_of_the_json_is_found_or_changes_nothing(tmp_path: Path) -> None:
    # 1e-05 and 1E-05 differ in a bit and mean the same; nothing else of the kind may be let through.
    path = checkpoints.save(example(), tmp_path / "a.safetensors")
    description = path.with_suffix(".json")
    content = description.read_text()
    exponents = [8 * i + 5 for i in range(1, len(content)) if content[i] == "e" and content[i - 1].isdigit()]
    bits = [*random.Random(2).sample(range(8 * len(content)), 1500), *exponents]
    refused = 0
    for bit in bits:
        flip(description, bit)
        try:
            assert same(checkpoints.load(path), example()), f"bit {bit} changed what was loaded"
        except CheckpointError as error:
            assert "\n" not in str(error)
            refused += 1
        flip(description, bit)
    assert refused > 1400


def test_a_later_format_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "FORMAT", 99)
    path = checkpoints.save(example(), tmp_path / "a.safetensors")
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match="has format 99, and this version of a3c_fast reads 1"):
        checkpoints.load(path)


@pytest.mark.parametrize("text", ["[]", "3", "null", '"x"', "{}", "{", '{"sha256": "0"}', "\ufeff{}"])
def test_json_that_is_no_description_is_refused(tmp_path: Path, text: str) -> None:
    path = checkpoints.save(example(), tmp_path / "a.safetensors")
    path.with_suffix(".json").write_text(text)
    with pytest.raises(CheckpointError, match="is damaged"):
        checkpoints.load(path)


def test_a_write_that_fails_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "config.json"
    checkpoints.write_atomically(path, b"old")

    def no_space(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints.os, "fsync", no_space)
    with pytest.raises(OSError, match="No space left"):
        checkpoints.write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


# A directory of them -------------------------------------------------------------------------------------------------


def fill(directory: Path, steps: tuple[int, ...]) -> list[Path]:
    return [checkpoints.save(example(s), directory / f"{checkpoints.file_stem(s)}.safetensors") for s in steps]


def test_the_newest_is_the_one_of_the_highest_step(tmp_path: Path) -> None:
    fill(tmp_path, (100_000, 20_000, 1_000_000_000, 9))
    assert [p.stem for p in checkpoints.paths(tmp_path)] == [
        checkpoints.file_stem(step) for step in (9, 20_000, 100_000, 1_000_000_000)
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert checkpoints.load_newest(tmp_path).step == 1_000_000_000


@pytest.mark.parametrize("harm", ["no json", "no tensors", "flip", "truncate"])
def test_a_damaged_newest_falls_back_with_a_warning(tmp_path: Path, harm: str) -> None:
    _, older, newest = fill(tmp_path, (1, 2, 3))
    if harm == "no json":
        newest.with_suffix(".json").unlink()
    elif harm == "no tensors":
        newest.write_bytes(b"")
    elif harm == "flip":
        flip(newest, 8000)
    else:
        newest.with_suffix(".json").write_bytes(newest.with_suffix(".json").read_bytes()[:-20])
    with pytest.warns(UserWarning, match=f"{newest.name}.*; going back to {older.name}") as caught:
        assert checkpoints.load_newest(tmp_path).step == 2
    assert len(caught) == 1


def test_all_damaged_names_the_newest(tmp_path: Path) -> None:
    for path in fill(tmp_path, (1, 2)):
        flip(path, 999)
    with pytest.raises(CheckpointError, match=f"{checkpoints.file_stem(2)}.*is damaged"):
        checkpoints.load_newest(tmp_path)


@pytest.mark.parametrize("directory", ["", "missing"])
def test_nothing_there_is_said(tmp_path: Path, directory: str) -> None:
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        checkpoints.load_newest(tmp_path / directory)


def test_pruning_keeps_the_newest_whole_and_clears_up_after_a_killed_writer(tmp_path: Path) -> None:
    fill(tmp_path, (1, 2, 3, 4))
    (tmp_path / f".{checkpoints.file_stem(5)}.safetensors.77.tmp").write_bytes(b"half")
    checkpoints.prune(tmp_path, 2)
    assert whole_steps(tmp_path) == [3, 4]
    assert len(list(tmp_path.iterdir())) == 4


def test_going_on_from_before_damaged_checkpoints_keeps_what_is_whole(tmp_path: Path) -> None:
    # The run goes on from the first, and the two damaged ones are at higher steps than what it saves next.
    config = Config(env_id=FAKE, num_workers=1, run_dir=tmp_path, keep_checkpoints=3, total_steps=100_000)
    with Trainer(config) as trainer:
        for until in (1000, 50_000, 60_000):
            trainer.run(until)
    _, *damaged = checkpoints.paths(tmp_path / "checkpoints")
    for path in damaged:
        flip(path, 5000)
    resumed = dataclasses.replace(config, resume=True, keep_checkpoints=2)
    with pytest.warns(UserWarning, match="going back"), Trainer(resumed) as trainer:
        line = trainer.run(2000)
    assert line["step"] in whole_steps(tmp_path / "checkpoints")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert checkpoints.load_newest(tmp_path / "checkpoints").step == line["step"]


# What a trainer makes of them ----------------------------------------------------------------------------------------


def test_a_trainer_keeps_so_many(tmp_path: Path) -> None:
    config = Config(env_id=FAKE, num_workers=1, run_dir=tmp_path, keep_checkpoints=2)
    with Trainer(config) as trainer:
        steps = [trainer.run(until)["step"] for until in (1000, 2000, 3000, 4000)]
    assert whole_steps(tmp_path / "checkpoints") == steps[-2:]


@pytest.mark.parametrize("field", ["parameters", "statistics"])
def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path, field: str) -> None:
    config = Config(env_id=FAKE, num_workers=1, run_dir=tmp_path)
    with Trainer(config) as trainer:
        trainer.run(1000)
    (path,) = checkpoints.paths(tmp_path / "checkpoints")
    saved = checkpoints.load(path)
    other = {name: value[..., :3].copy() for name, value in saved.parameters.items()}
    change: dict[str, Any] = {field: other if field == "parameters" else dict.fromkeys(saved.statistics, other)}
    checkpoints.save(dataclasses.replace(saved, **change), path)
    with pytest.raises(CheckpointError, match="is of another network"):
        Trainer(dataclasses.replace(config, resume=True))


@pytest.mark.parametrize(
    ("name", "value"),
    [("hidden_sizes", (32,)), ("env_id", "a3c_fast/FakeImage-v0"), ("optimizer", "rmsprop"), ("model", "paper")],
)
def test_resume_with_another_structure_is_refused_by_name(tmp_path: Path, name: str, value: Any) -> None:
    # Image observations, which both networks can read: only the difference to the run can be refused.
    env_id = "a3c_fast/FakeImage-v0" if name == "model" else FAKE
    config = Config(env_id=env_id, num_workers=1, envs_per_worker=1, envs_per_update=1, t_max=4, run_dir=tmp_path)
    with Trainer(config) as trainer:
        trainer.run(4)
    before = {path.name: path.read_bytes() for path in (tmp_path / "checkpoints").iterdir()}
    with pytest.raises(ConfigError) as caught:
        Trainer(dataclasses.replace(config, resume=True, **{name: value}))
    assert caught.value.field == name
    assert {path.name: path.read_bytes() for path in (tmp_path / "checkpoints").iterdir()} == before
    assert json.loads((tmp_path / "config.json").read_text())[name] == config.to_json()[name]
    with Trainer(dataclasses.replace(config, resume=True)) as trainer:  # the refused one holds no lock
        assert trainer.stats()["step"] == 4


def test_resume_of_a_run_that_is_not_there_makes_no_directory(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        Trainer(Config(env_id=FAKE, run_dir=tmp_path / "missing", resume=True))
    assert not (tmp_path / "missing").exists()


def test_parameters_that_are_not_finite_are_not_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = Config(env_id=FAKE, num_workers=1, run_dir=tmp_path)
    with Trainer(config) as trainer:
        trainer.run(1000)
        state = trainer.state_dict()
        state["fc1.bias"][0] = float("nan")
        with monkeypatch.context() as patch:
            patch.setattr(np, "isfinite", np.ones_like)  # load_state_dict would refuse it
            trainer.load_state_dict(state)
        with pytest.raises(CheckpointError, match=r"not finite.*the last one stands"):
            trainer.save()
        with pytest.raises(CheckpointError, match="not finite"):
            trainer.save(tmp_path / "x.safetensors")
    assert not (tmp_path / "x.safetensors").exists()
    assert len(whole_steps(tmp_path / "checkpoints")) == 1


def test_a_checkpoint_of_one_run_opens_in_another_directory(tmp_path: Path) -> None:
    config = Config(env_id=FAKE, num_workers=1, run_dir=tmp_path / "a")
    with Trainer(config) as trainer:
        trainer.run(1000)
        expected = trainer.state_dict()
    shutil.copytree(tmp_path / "a", tmp_path / "b")
    with Trainer(dataclasses.replace(config, run_dir=tmp_path / "b", resume=True)) as trainer:
        found = trainer.state_dict()
    assert all((found[name] == value).all() for name, value in expected.items())
