"""Checkpoints: exact, atomic, and refused in one sentence when any bit of them is not as it was written."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import random
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from helpers import DATA, FAKE

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
        "starts": [1, 0],
        "recurrent_state": [0.25, -0.125],
        "episode_return": [1.5, -2.0],
        "episode_length": [3, 0],
        "discounted_return": [0.75, -3.5],
    }
    moments = {
        "observation_count": [7.0],
        "observation_mean": [0.1, -1e300],
        "observation_squares": [0.0, 5e-324],
        "return_count": [0.0],
        "return_mean": [0.0],
        "return_squares": [0.0],
    }
    return Checkpoint(
        config=Config(env_id=FAKE, learning_rate=1e-5).to_json(),
        step=step,
        updates=17,
        episodes=5,
        wall_seconds=12.345678901234567,
        parameters=vectors,
        statistics={"first_moment": dict(vectors), "second_moment": {n: v**2 for n, v in vectors.items()}},
        normalization={name: np.array(value) for name, value in moments.items()},
        workers=[state, {**state, "random": 0, "env": b""}],
        versions={"torch": "2.13.0"},
        skipped_updates=2,
        recent_episodes=[(1.5, 3), (-2.0, 0)],
    )


def same(a: Checkpoint, b: Checkpoint) -> bool:
    def plain(c: Checkpoint) -> dict[str, Any]:
        def of(named: dict[str, np.ndarray]) -> dict[str, Any]:
            return {name: (value.shape, value.dtype.str, value.tobytes()) for name, value in named.items()}

        as_bytes = of(c.parameters)
        stats = {k: {name: value.tobytes() for name, value in named.items()} for k, named in c.statistics.items()}
        moments = of(c.normalization)
        return {**dataclasses.asdict(c), "parameters": as_bytes, "statistics": stats, "normalization": moments}

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
    assert [p.name for p in path.parent.iterdir()] == ["a.safetensors"]


def test_a_checkpoint_without_workers_and_episodes_comes_back(tmp_path: Path) -> None:
    content = dataclasses.replace(example(), workers=[], recent_episodes=[], statistics={})
    assert same(checkpoints.load(checkpoints.save(content, tmp_path / "a.safetensors")), content)


def test_workers_of_different_sizes_come_back(tmp_path: Path) -> None:
    small = {name: value[:1] if isinstance(value, list) else value for name, value in example().workers[0].items()}
    content = dataclasses.replace(example(), workers=[*example().workers, {**small, "env": b"ab"}])
    assert same(checkpoints.load(checkpoints.save(content, tmp_path / "a.safetensors")), content)


def test_a_checkpoint_from_before_rewards_could_be_normalized_is_read(tmp_path: Path) -> None:
    tensors = checkpoints._tensors_of(example())
    older = {name: value for name, value in tensors.items() if "normalization" not in name and "discounted" not in name}
    loaded = checkpoints.load(written(tmp_path / "a.safetensors", checkpoints._text_of(example()), older))
    assert loaded.normalization == {}
    assert [worker["discounted_return"] for worker in loaded.workers] == [[0.0, 0.0]] * 2
    assert [worker["episode_return"] for worker in loaded.workers] == [[1.5, -2.0]] * 2


def test_the_file_is_read_by_plain_safetensors(tmp_path: Path) -> None:
    path = checkpoints.save(example(), tmp_path / "a.safetensors")
    tensors = safetensors.numpy.load_file(path)
    kinds = ("parameters", "optimizer/first_moment", "optimizer/second_moment")
    assert {name for name in tensors if not name.startswith(("workers/", "episodes/", "normalization/"))} == {
        f"{kind}/{name}" for kind in kinds for name in example().parameters
    }
    np.testing.assert_array_equal(tensors["parameters/fc1.bias"], example().parameters["fc1.bias"])
    np.testing.assert_array_equal(tensors["episodes/return"], [1.5, -2.0])
    np.testing.assert_array_equal(tensors["normalization/observation_mean"], [0.1, -1e300])
    np.testing.assert_array_equal(tensors["workers/discounted_return"], [0.75, -3.5] * 2)
    with safetensors.safe_open(path, "numpy") as file:
        description = json.loads(file.metadata()["a3c_fast"])
    assert (description["step"], description["format"]) == (1234, checkpoints.FORMAT)
    assert Config.from_json(description["config"]).learning_rate == 1e-5


def test_what_is_stored_names_no_directory(tmp_path: Path) -> None:
    path = checkpoints.save(example(), tmp_path / "a.safetensors")
    assert b"runs/x" not in path.read_bytes()
    config = Config(env_id=FAKE, run_dir=Path("runs/x"), resume=True)
    loaded = checkpoints.load(checkpoints.save(dataclasses.replace(example(), config=config.to_json()), path))
    assert (loaded.config["run_dir"], loaded.config["resume"]) == (None, False)


def test_strided_arrays_are_saved_by_value(tmp_path: Path) -> None:
    transposed = np.arange(32, dtype=np.float32).reshape(4, 8).T
    content = dataclasses.replace(example(), parameters={"fc1.weight": transposed}, statistics={})
    loaded = checkpoints.load(checkpoints.save(content, tmp_path / "a.safetensors"))
    np.testing.assert_array_equal(loaded.parameters["fc1.weight"], transposed)


def test_a_name_without_its_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must end in \.safetensors"):
        checkpoints.save(example(), tmp_path / "a.pt")
    assert list(tmp_path.iterdir()) == []


def test_saving_leaves_the_json_of_the_same_name_alone(tmp_path: Path) -> None:
    (tmp_path / "pong.json").write_text("my notes")
    checkpoints.save(example(), tmp_path / "pong.safetensors")
    assert (tmp_path / "pong.json").read_text() == "my notes"
    assert same(checkpoints.load(tmp_path / "pong.safetensors"), example())


def somebodys_tensors(path: Path) -> None:
    path.write_bytes(safetensors.numpy.save({"model.weight": np.ones(3, np.float32)}))


@pytest.mark.parametrize(
    "make",
    [
        lambda path: path.write_text("my notes"),
        somebodys_tensors,
        lambda path: path.mkdir(),
        lambda path: path.symlink_to(path.with_name("elsewhere")),
        lambda path: os.mkfifo(path),
    ],
    ids=["text", "other tensors", "directory", "link", "pipe"],
)
def test_what_is_no_checkpoint_is_not_replaced_by_one(tmp_path: Path, make: Callable[[Path], object]) -> None:
    path = tmp_path / "a.safetensors"
    (tmp_path / "elsewhere").write_text("my notes")
    make(path)
    before = path.lstat()
    with pytest.raises(ValueError, match="something is there that is no checkpoint") as caught:
        checkpoints.save(example(), path)
    assert "\n" not in str(caught.value)
    after = path.lstat()
    assert (after.st_ino, after.st_size, after.st_mtime_ns) == (before.st_ino, before.st_size, before.st_mtime_ns)
    assert (tmp_path / "elsewhere").read_text() == "my notes"
    assert len(list(tmp_path.iterdir())) == 2


def test_checkpoints_and_empty_files_are_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.touch()
    for step in (1, 2):
        assert checkpoints.load(checkpoints.save(example(step), path)).step == step
    flip(path, 8 * (path.stat().st_size - 1))
    assert checkpoints.load(checkpoints.save(example(3), path)).step == 3


def test_a_file_of_the_longest_name_is_saved(tmp_path: Path) -> None:
    path = tmp_path / f"{'x' * (255 - len('.safetensors'))}.safetensors"
    assert same(checkpoints.load(checkpoints.save(example(), path)), example())


def test_paths_of_bytes_that_are_no_text(tmp_path: Path) -> None:
    directory = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    path = checkpoints.save(example(), directory / "a.safetensors")
    flip(path, 8 * (path.stat().st_size - 1))
    with pytest.raises(CheckpointError) as caught:
        checkpoints.load(path)
    str(caught.value).encode("utf-8")  # it can be printed


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"cannot be read: No such file or directory: .*a\.safetensors$"):
        checkpoints.load(tmp_path / "a.safetensors")


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = checkpoints.save(example(), tmp_path / "a.safetensors")
    content = path.read_bytes()
    for size in {
        *(0, 1, 7, 8, 9, len(content) // 2, len(content) - 1),
        *random.Random(3).sample(range(len(content)), 300),
    }:
        path.write_bytes(content[:size])
        with pytest.raises(CheckpointError, match="is damaged") as caught:
            checkpoints.load(path)
        assert "\n" not in str(caught.value)
    path.write_bytes(content + b"0")
    with pytest.raises(CheckpointError, match="is damaged"):
        checkpoints.load(path)


def test_one_flipped_bit_is_found_or_changes_nothing(tmp_path: Path) -> None:
    path = checkpoints.save(example(), tmp_path / "a.safetensors")
    header = 8 * (8 + int.from_bytes(path.read_bytes()[:8], "little"))
    bits = [*range(64), *random.Random(1).sample(range(header), 1500)]
    bits += random.Random(2).sample(range(header, 8 * path.stat().st_size), 500)
    refused = 0
    for bit in bits:
        flip(path, bit)
        try:
            assert same(checkpoints.load(path), example()), f"bit {bit} changed what was loaded"
        except CheckpointError as error:
            assert "\n" not in str(error)
            refused += 1
        flip(path, bit)
    assert refused > 1950  # what is let through is the white space at the header's end
    assert same(checkpoints.load(path), example())


def test_a_later_format_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "FORMAT", 99)
    path = checkpoints.save(example(), tmp_path / "a.safetensors")
    monkeypatch.undo()
    with pytest.raises(CheckpointError, match="has format 99, and this version of a3c_fast reads 1 to 2"):
        checkpoints.load(path)
    path.rename(tmp_path / f"{checkpoints.file_stem(1234)}.safetensors")
    fill(tmp_path, (1,))
    with pytest.raises(CheckpointError, match="has format 99"):  # it is not damaged, and no reason to go back
        checkpoints.load_newest(tmp_path)


def test_what_could_not_be_read_back_is_not_written(tmp_path: Path) -> None:
    path = checkpoints.save(example(), tmp_path / "a.safetensors")
    infinite = {name: np.full_like(value, np.inf) for name, value in example().parameters.items()}
    worker = {**example().workers[0], "episode_return": [float("nan"), 0.0]}
    for change in (
        {"statistics": {"first_moment": infinite}},
        {"parameters": infinite},
        {"workers": [worker]},
        {"step": -1},
        {"wall_seconds": float("nan")},
    ):
        with pytest.raises(CheckpointError, match="no checkpoint is written, and the last one stands"):
            checkpoints.save(dataclasses.replace(example(), **change), path)
        assert same(checkpoints.load(path), example())


def test_the_last_hundred_episodes_are_kept_and_only_finite_returns(tmp_path: Path) -> None:
    episodes = [(float(i), i) for i in range(150)]
    content = dataclasses.replace(example(), recent_episodes=[*episodes, (float("nan"), 3)])
    loaded = checkpoints.load(checkpoints.save(content, tmp_path / "a.safetensors"))
    assert loaded.recent_episodes == episodes[-100:]


def written(path: Path, text: str, tensors: dict[str, np.ndarray]) -> Path:
    """A file of this text and these tensors whose hash is right."""
    metadata = {"a3c_fast": text, "sha256": checkpoints._hash(text, tensors)}
    path.write_bytes(safetensors.numpy.save(tensors, metadata))
    return path


IMPOSSIBLE_NUMBERS = ["-1", "1.5", '"5"', "null", str(2**63), str(2**62), "true", "[]", "1e999", "NaN"]
IMPOSSIBLE_TEXTS = [
    *("[]", "3", "null", '"x"', "{}", "{", "\ufeff{}", "", '{"format": 2}', '{"format": "2"}', '{"format": null}'),
    '{"format": 2, "x": ' + "[" * 100_000 + "]" * 100_000 + "}",
    "[" * 100_000,
]


def text_with(name: str, value: str) -> str:
    """The text of the example with a field that is `value`, JSON of some kind."""
    description = json.loads(checkpoints._text_of(example()))
    del description[name]
    return json.dumps(description)[:-1] + f', "{name}": {value}}}'


@pytest.mark.parametrize(
    "text",
    [
        *IMPOSSIBLE_TEXTS,
        *(text_with(name, value) for name in ("step", "updates", "episodes") for value in IMPOSSIBLE_NUMBERS),
        *(text_with("skipped_updates", value) for value in IMPOSSIBLE_NUMBERS),
        *(text_with("wall_seconds", value) for value in ("-1", '"5"', "null", "1e999", "NaN", "-Infinity", "[]")),
        *(text_with("config", value) for value in ("5", "null", "[]", '"x"', '{"format": -1}', '{"format": "x"}')),
        *(text_with("config", "[" * 100_000 + "]" * 100_000), text_with("versions", "5")),
        *(text_with("versions", '{"torch": 5}'), text_with("format", "0"), text_with("format", "-3")),
    ],
    ids=lambda text: text[-40:],
)
def test_contents_that_cannot_be_are_refused_though_the_hash_is_right(tmp_path: Path, text: str) -> None:
    path = written(tmp_path / "a.safetensors", text, checkpoints._tensors_of(example()))
    with pytest.raises(CheckpointError, match=r"a\.safetensors has ") as caught:
        checkpoints.load(path)
    assert "\n" not in str(caught.value)


def changed(name: str, value: Any) -> dict[str, np.ndarray]:
    tensors = {key: np.array(array) for key, array in checkpoints._tensors_of(example()).items()}
    if value is None:
        del tensors[name]
    else:
        tensors[name] = np.array(value)
    return tensors


def with_number(name: str, number: float) -> dict[str, np.ndarray]:
    tensors = changed(name, checkpoints._tensors_of(example())[name])
    tensors[name].flat[-1] = number
    return tensors


@pytest.mark.parametrize(
    "tensors",
    [
        *(with_number("parameters/fc1.weight", number) for number in (np.nan, np.inf, -np.inf)),
        *(with_number("optimizer/first_moment/fc1.weight", number) for number in (np.nan, np.inf)),
        *(with_number("optimizer/second_moment/fc1.weight", number) for number in (np.nan, np.inf, -1e-3)),
        *(with_number("workers/episode_return", number) for number in (np.nan, np.inf)),
        *(with_number("workers/recurrent_state", number) for number in (np.nan, np.inf)),
        *(with_number("workers/discounted_return", number) for number in (np.nan, np.inf)),
        *(with_number("normalization/observation_count", number) for number in (np.nan, np.inf, -1)),
        *(with_number("normalization/observation_squares", number) for number in (np.nan, np.inf, -1e-3)),
        *(with_number("normalization/return_mean", number) for number in (np.nan, np.inf)),
        *(changed(f"normalization/{kind}_count", None) for kind in ("observation", "return")),
        *(changed("normalization/observation_mean", value) for value in (None, np.zeros(3), np.zeros((2, 1)))),
        changed("normalization/observation_mean", np.zeros(2, np.float32)),
        changed("normalization/action_mean", np.zeros(2)),
        changed("workers/discounted_return", np.zeros(3)),
        *(with_number("workers/episode_length", -1), with_number("workers/starts", 2)),
        *(with_number("workers/num_envs", number) for number in (0, 1, -1, 3, 2**62)),
        *(with_number("workers/env_bytes", number) for number in (-1, 1, 2**62)),
        *(with_number("workers/recurrent_size", number) for number in (-1, 1, 3)),
        *(changed("workers/random", value) for value in (None, np.uint64(5), np.zeros((2, 1), np.uint64), [1.0, 2.0])),
        *(changed(f"workers/{name}", None) for name in ("env", "starts", "num_envs")),
        changed("workers/more", np.zeros(2, np.uint8)),
        changed("workers/starts", np.zeros(3, np.uint8)),
        *(with_number("episodes/return", np.nan), with_number("episodes/length", -1)),
        *(changed("episodes/length", value) for value in (None, np.zeros(3, np.int64), np.zeros(2, np.float64))),
        changed("parameters/fc1.weight", np.zeros(3, np.float64)),
        changed("elsewhere", np.zeros(3, np.float32)),
        {},
    ],
)
def test_numbers_that_no_run_has_are_refused(tmp_path: Path, tensors: dict[str, np.ndarray]) -> None:
    path = written(tmp_path / "a.safetensors", checkpoints._text_of(example()), tensors)
    with pytest.raises(CheckpointError, match="has contents that cannot be") as caught:
        checkpoints.load(path)
    assert "\n" not in str(caught.value)


def test_a_pipe_a_device_and_a_directory_are_no_checkpoints(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.safetensors"
    os.mkfifo(pipe)
    for path in (pipe, Path("/dev/zero"), tmp_path):
        with pytest.raises(CheckpointError, match=r"cannot be read: (it is no regular file|Is a directory)"):
            checkpoints.load(path)


def test_a_file_larger_than_memory_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    with path.open("wb") as file:
        file.truncate(2**43)  # a hole: it takes no space
    with pytest.raises(CheckpointError, match="it is larger than the"):
        checkpoints.load(path)


def test_a_header_that_is_too_large_is_refused_before_it_is_parsed(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    entry = {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}
    text = json.dumps({f"parameters/{i:012d}": entry for i in range(300_000)}).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text)
    with pytest.raises(CheckpointError, match="is damaged"):
        checkpoints.load(path)
    path.write_bytes((2**63).to_bytes(8, "little") + b"{}")
    with pytest.raises(CheckpointError, match="is damaged"):
        checkpoints.load(path)


def test_tensors_of_another_program_are_no_checkpoint(tmp_path: Path) -> None:
    somebodys_tensors(tmp_path / "a.safetensors")
    (tmp_path / "a.json").write_text("[]")
    with pytest.raises(CheckpointError):
        checkpoints.load(tmp_path / "a.safetensors")


@pytest.mark.parametrize("suffix", [".safetensors", ".json"])
def test_a_damaged_file_of_the_first_format_is_refused_or_the_same(tmp_path: Path, suffix: str) -> None:
    directory = Path(shutil.copytree(DATA / "format_1_fake" / "checkpoints", tmp_path / "checkpoints"))
    (path,) = checkpoints.paths(directory)
    whole, target = checkpoints.load(path), path.with_suffix(suffix)
    content = target.read_bytes()
    numbers, refused = random.Random(1), 0
    for repetition in range(300):
        changed = bytearray(content)
        bit = numbers.randrange(8 * len(content))
        changed[bit // 8] ^= 1 << bit % 8
        target.write_bytes(changed if repetition % 2 else content[: bit // 8])
        try:
            assert same(checkpoints.load(path), whole)
        except CheckpointError as error:
            assert "\n" not in str(error)
            refused += 1
    assert refused > 200  # JSON has white space
    target.unlink()
    with pytest.raises(CheckpointError, match=f"cannot be read|without its {path.stem}.json"):
        checkpoints.load(path)


@pytest.mark.parametrize("change", [{"workers": 5}, {"workers": [5]}, {"workers": [{}]}, {"step": -1}, {"format": "1"}])
def test_contents_of_the_first_format_that_cannot_be_are_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    directory = Path(shutil.copytree(DATA / "format_1_fake" / "checkpoints", tmp_path / "checkpoints"))
    (path,) = checkpoints.paths(directory)
    values = json.loads(path.with_suffix(".json").read_text(encoding="utf-8")) | change
    del values["sha256"]
    canonical = json.dumps(values, sort_keys=True, separators=(",", ":"))
    values["sha256"] = hashlib.sha256(canonical.encode()).hexdigest()
    path.with_suffix(".json").write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"has (contents that cannot be|format '1')"):
        checkpoints.load(path)


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


@pytest.mark.parametrize("harm", ["no tensors", "flip", "truncate", "pipe"])
def test_a_damaged_newest_falls_back_with_a_warning(tmp_path: Path, harm: str) -> None:
    _, older, newest = fill(tmp_path, (1, 2, 3))
    if harm == "no tensors":
        newest.write_bytes(b"")
    elif harm == "flip":
        flip(newest, 8000)
    elif harm == "truncate":
        newest.write_bytes(newest.read_bytes()[:-20])
    else:
        newest.unlink()
        os.mkfifo(newest)
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


def test_steps_are_numbers_of_any_length(tmp_path: Path) -> None:
    fill(tmp_path, (10**12 - 1, 10**12, 10**13))
    assert checkpoints.load_newest(tmp_path).step == 10**13
    checkpoints.prune(tmp_path, 2)
    assert whole_steps(tmp_path) == [10**12, 10**13]


def test_what_is_not_named_by_a_step_is_left_alone(tmp_path: Path) -> None:
    first, *_ = fill(tmp_path, (1, 2, 3, 4))
    others = [
        *("step_best.safetensors", f"{checkpoints.file_stem(1)}_mine.safetensors", "step_12x.safetensors"),
        *("step_.safetensors", "step_5.safetensors.bak", f"{checkpoints.file_stem(1)}.json", "step_٣.safetensors"),
    ]
    for name in others:
        shutil.copy(first, tmp_path / name)
    (tmp_path / f"{checkpoints.file_stem(7)}.safetensors").mkdir()
    (tmp_path / f"{checkpoints.file_stem(0)}.safetensors").symlink_to(first)
    with pytest.warns(UserWarning, match="Is a directory"):
        assert checkpoints.load_newest(tmp_path).step == 4
    checkpoints.set_aside(tmp_path, 4)
    checkpoints.prune(tmp_path, 2)
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {*others, *(f"{checkpoints.file_stem(step)}.safetensors" for step in (0, 3, 4, 7))}


def test_a_copy_under_the_name_of_a_later_step_is_not_the_newest(tmp_path: Path) -> None:
    first, _ = fill(tmp_path, (1, 2))
    shutil.copy(first, tmp_path / f"{checkpoints.file_stem(9)}.safetensors")
    with pytest.warns(UserWarning, match="is that of step 1; going back to"):
        assert checkpoints.load_newest(tmp_path).step == 2


def test_setting_aside_overwrites_nothing(tmp_path: Path) -> None:
    for value in (1.0, 2.0, 3.0):
        checkpoints.save(example(5, value), tmp_path / f"{checkpoints.file_stem(5)}.safetensors")
        checkpoints.set_aside(tmp_path, 4)
    found = {float(checkpoints.load(path).parameters["fc1.bias"][0]) for path in tmp_path.iterdir()}
    assert found == {1.0, 2.0, 3.0}


def test_pruning_deletes_the_json_of_the_first_format_and_no_other(tmp_path: Path) -> None:
    directory = shutil.copytree(DATA / "format_1_fake" / "checkpoints", tmp_path / "checkpoints")
    fill(directory, (5000, 6000))
    (directory / f"{checkpoints.file_stem(5000)}.json").write_text("my notes")
    fill(directory, (7000, 8000))
    checkpoints.prune(directory, 2)
    assert {path.name for path in directory.iterdir()} == {
        f"{checkpoints.file_stem(5000)}.json",
        *(f"{checkpoints.file_stem(step)}.safetensors" for step in (7000, 8000)),
    }


def test_reading_beside_a_run_that_saves_and_deletes_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Each file that is about to be read has just been deleted, and newer ones are there.
    fill(tmp_path, (1, 2))
    load, newer = checkpoints.load, iter(range(3, 9))

    def late(path: Path) -> Checkpoint:
        step = next(newer, None)
        if step is not None:
            fill(tmp_path, (step, step + 1))
            checkpoints.prune(tmp_path, 1)
        return load(path)

    monkeypatch.setattr(checkpoints, "load", late)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert checkpoints.load_newest(tmp_path).step == 9


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
    other = {name: abs(value[..., :3]) for name, value in saved.parameters.items()}
    change: dict[str, Any] = {field: other if field == "parameters" else dict.fromkeys(saved.statistics, other)}
    checkpoints.save(dataclasses.replace(saved, **change), path)
    with pytest.raises(CheckpointError, match="is of another network"):
        Trainer(dataclasses.replace(config, resume=True))


def test_a_state_of_workers_that_is_not_the_networks_is_refused(tmp_path: Path) -> None:
    config = Config(env_id=FAKE, num_workers=1, run_dir=tmp_path)
    with Trainer(config) as trainer:
        trainer.run(1000)
    (path,) = checkpoints.paths(tmp_path / "checkpoints")
    saved = checkpoints.load(path)
    (worker,) = saved.workers
    half = {name: value[: len(value) // 2] if isinstance(value, list) else value for name, value in worker.items()}
    checkpoints.save(dataclasses.replace(saved, workers=[half]), path)
    with pytest.raises(CheckpointError, match="is of another network: the saved state is of another number"):
        Trainer(dataclasses.replace(config, resume=True))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("hidden_sizes", (32,)), ("env_id", "a3c_fast/FakeImage-v0"), ("optimizer", "rmsprop"), ("model", "paper")),
        *(("activation", "relu"), ("separate_value", True)),
        *(("normalize_observations", True), ("normalize_rewards", True)),
    ],
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


def test_parameters_that_are_not_finite_are_not_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = Config(env_id=FAKE, num_workers=1, run_dir=tmp_path)
    trainer = Trainer(config)
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
    with pytest.raises(CheckpointError, match="not finite"):
        trainer.close()
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
