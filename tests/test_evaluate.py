"""`a3c-fast evaluate`: scores, their protocol, and every damaged or foreign checkpoint in one sentence."""

from __future__ import annotations

import dataclasses
import json
import random
import shutil
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import EVALUATE, FAKE, Result, run, run_cold, start

from a3c_fast import Config, Trainer, envs
from a3c_fast import checkpoint as checkpoints
from a3c_fast.core_config import kernels_of
from a3c_fast.errors import ConfigError
from a3c_fast.evaluate import _picture, evaluate

CARTPOLE = envs.spec_of(Config(env_id="CartPole-v1"))


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on CartPole with two checkpoints, the newer one of a better agent."""
    run_dir = tmp_path_factory.mktemp("evaluate") / "run"
    with Trainer(Config(env_id="CartPole-v1", num_workers=1, total_steps=60_000, run_dir=run_dir)) as trainer:
        trainer.run(500)
        trainer.run()
    assert len(checkpoints.paths(run_dir / "checkpoints")) == 2
    return run_dir


@pytest.fixture
def run_dir(original: Path, tmp_path: Path) -> Path:
    """A copy of it to damage."""
    return Path(shutil.copytree(original, tmp_path / "run"))


def older_and_newest(run_dir: Path) -> tuple[Path, Path]:
    older, newest = checkpoints.paths(run_dir / "checkpoints")
    return older, newest


def scores(*flags: str, **options: Any) -> dict[str, Any]:
    result = run(EVALUATE, *flags, "--json", **options)
    assert (result.status, result.stderr) == (0, "")
    (line,) = result.stdout.splitlines()
    found: dict[str, Any] = json.loads(line)
    return found


def refused(result: Result, *parts: str) -> None:
    assert result.status == 2, result
    sentence = result.error
    for part in parts:
        assert part in sentence, sentence


def test_the_policys_own_network_plays_whatever_the_settings_say() -> None:
    with Trainer(Config(env_id="CartPole-v1", num_workers=1, total_steps=3000, activation="relu")) as trainer:
        trainer.run()
        policy, config = trainer.policy(), trainer.config
    found = [
        evaluate(policy, settings, episodes=5, greedy=True)["mean_return"]
        for settings in (config, config.replace(activation="tanh", hidden_sizes=(8,), separate_value=True))
    ]
    assert found[0] == found[1]


def test_the_limit_that_was_in_force_is_in_the_protocol() -> None:
    config = Config(env_id="CartPole-v1", num_workers=1, total_steps=1000)
    with Trainer(config) as trainer:
        policy = trainer.policy()
    for asked, limit in ((None, 500), (7, 7), (99_999, 500)):
        protocol = evaluate(policy, config, episodes=2, max_episode_steps=asked)["protocol"]
        assert protocol["max_episode_steps"] == limit


def test_pictures_are_shown_as_people_see_them() -> None:
    colours = np.arange(3 * 4 * 5, dtype=np.uint8).reshape(3, 4, 5)
    assert (_picture(colours)[2, 3] == colours[:, 2, 3]).all()
    stack = np.arange(4 * 6 * 6, dtype=np.uint8).reshape(4, 6, 6)
    assert (_picture(stack) == stack[3]).all()


# What it prints ------------------------------------------------------------------------------------------------------


def test_the_object_and_its_protocol(original: Path, tmp_path: Path) -> None:
    import envpool

    result = run_cold(EVALUATE, str(original), "--episodes", "5", "--json", cwd=tmp_path)
    assert (result.status, result.stderr) == (0, "")
    found = json.loads(result.stdout)
    assert found.pop("step") == checkpoints.load(older_and_newest(original)[1]).step
    assert found.pop("env_id") == "CartPole-v1"
    assert found.pop("episodes") == 5
    assert found.pop("protocol") == {
        "policy": "sampled",
        "noop_max": 0,
        "sticky_probability": 0.0,
        "frame_skip": 1,
        "episodic_life": False,
        "reward_clip": False,
        "max_episode_steps": 500,
        "seed": 1,
        "kernels": kernels_of(Config(env_id="CartPole-v1"), CARTPOLE),
        "envpool": envpool.__version__,
    }
    assert set(found) == {"mean_return", "std_return", "min_return", "max_return", "mean_length", "human_normalized"}
    assert found["human_normalized"] is None
    assert 8 <= found["min_return"] <= found["mean_return"] <= found["max_return"] <= 500
    assert found["mean_length"] == found["mean_return"]
    assert 0 < found["std_return"] <= found["max_return"] - found["min_return"]
    assert list(tmp_path.iterdir()) == []  # it writes nothing


def test_a_line_of_text_without_json(original: Path) -> None:
    result = run(EVALUATE, str(original), "--episodes", "3", "--greedy")
    assert (result.status, result.stderr) == (0, "")
    (line,) = result.stdout.splitlines()
    assert line.startswith("CartPole-v1 at step ")
    assert line.endswith("over 3 greedy episodes")


def test_seed_and_policy_decide_the_scores(original: Path) -> None:
    flags = (str(original), "--episodes", "8")
    first = scores(*flags)
    assert scores(*flags) == first
    other = scores(*flags, "--seed", "2")
    assert other["mean_return"] != first["mean_return"]
    assert other["protocol"]["seed"] == 2
    greedy = scores(*flags, "--greedy")
    assert greedy["protocol"]["policy"] == "greedy"
    assert greedy["mean_return"] != first["mean_return"]
    assert scores(*flags, "--greedy") == greedy


def test_a_checkpoint_can_be_named(original: Path) -> None:
    older, newest = older_and_newest(original)
    found = [scores(str(original), "--episodes", "10", "--checkpoint", str(path)) for path in (older, newest)]
    assert [one["step"] for one in found] == [checkpoints.load(path).step for path in (older, newest)]
    assert found[0]["mean_return"] < 60  # 500 steps teach nothing
    assert found[1]["mean_return"] > found[0]["mean_return"]
    assert scores(str(original), "--episodes", "10") == found[1]


def test_a_checkpoint_of_another_run_is_played_where_its_agent_is_the_same(original: Path, tmp_path: Path) -> None:
    saved = checkpoints.load(older_and_newest(original)[1])
    path = tmp_path / "elsewhere.safetensors"
    checkpoints.save(dataclasses.replace(saved, config={**saved.config, "seed": 99, "optimizer": "rmsprop"}), path)
    flags = ("--episodes", "2", "--checkpoint")
    assert scores(str(original), *flags, str(path))["step"] == saved.step
    for name, value in (("env_id", "Acrobot-v1"), ("hidden_sizes", [8]), ("lstm_size", 4)):
        path.unlink()
        checkpoints.save(dataclasses.replace(saved, config={**saved.config, name: value}), path)
        refused(
            run(EVALUATE, str(original), *flags, str(path)),
            *("checkpoint is", str(path), f"it is of another run, with {name} {value!r}", str(original)),
        )
    (tmp_path / "empty").mkdir()
    refused(run(EVALUATE, str(tmp_path / "empty"), *flags, str(path)), "run_dir is", "there is no run in it")


# Refusals ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flags", "parts"),
    [
        (("--episodes", "0"), ("episodes", "0", "from 1 to")),
        (("--episodes", "-3"), ("episodes", "-3", "from 1 to")),
        (("--run-dir", "elsewhere"), ("--run-dir", "comes without one", "a3c-fast evaluate elsewhere")),
        (("--run_dir=elsewhere",), ("--run_dir", "comes without one", "a3c-fast evaluate elsewhere")),
        (("--n-episodes", "3"), ("--n-episodes", "did you mean --episodes?")),
        (("--deterministic",), ("--deterministic", "did you mean --greedy?")),
        (("--sticky", "2"), ("sticky", "2", "at most 1")),
        (("--episodes", "many"), ("episodes", "'many'")),
        (("--seed", "-1"), ("seed", "-1")),
        (("--seed", str(2**70)), ("seed", str(2**70))),
        (("--bogus",), ("--bogus",)),
        (("--checkpoint", "missing.safetensors"), ("missing.safetensors", "cannot be read")),
        (("--video", "x.txt"), ("video", "'x.txt'", "it must end in .mp4 or .gif")),
        (("--video", "none/x.gif"), ("video", "'none/x.gif'", "none is no directory")),
    ],
    ids=lambda value: " ".join(value) if value[0].startswith("--") else "",
)
def test_bad_flags(original: Path, tmp_path: Path, flags: tuple[str, ...], parts: tuple[str, ...]) -> None:
    refused(run(EVALUATE, str(original), *flags, "--json", cwd=tmp_path), *parts)
    assert list(tmp_path.iterdir()) == []


def test_no_run(tmp_path: Path) -> None:
    refused(run(EVALUATE, "missing", cwd=tmp_path), "missing", "no directory of a run")
    refused(run(EVALUATE, str(tmp_path)), str(tmp_path), "no checkpoint")
    refused(run(EVALUATE), "required")


def test_a_scripted_environment_has_no_scores(tmp_path: Path) -> None:
    with Trainer(Config(env_id=FAKE, num_workers=1, run_dir=tmp_path)) as trainer:
        trainer.run(500)
    refused(run(EVALUATE, str(tmp_path)), "env_id", FAKE)


# Damage --------------------------------------------------------------------------------------------------------------


def flip(path: Path, bit: int) -> None:
    content = bytearray(path.read_bytes())
    content[bit // 8] ^= 1 << bit % 8
    path.write_bytes(content)


def damage(kind: str, path: Path) -> None:
    """Damages the checkpoint `path`."""
    content = path.read_bytes()
    if kind == "missing":
        path.unlink()
    elif kind == "truncated":
        path.write_bytes(content[: random.Random(1).randrange(len(content))])
    elif kind == "empty":
        path.write_bytes(b"")
    else:  # "bit 3 of tensors", "bit 3 of text"
        _, bit, _, where = kind.split()
        first = content.find(b"a3c_fast")
        end = 8 + int.from_bytes(content[:8], "little")
        span = (first, content.find(b"wall_seconds", first)) if where == "text" else (end, len(content))
        flip(path, 8 * random.Random(bit).randrange(*span) + int(bit))


KINDS = [
    *("missing", "truncated", "empty"),
    *(f"bit {number} of {where}" for number in range(4) for where in ("text", "tensors")),
]


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_newest_is_damaged(run_dir: Path, kind: str) -> None:
    older, newest = older_and_newest(run_dir)
    damage(kind, newest)
    flags = (str(run_dir), "--episodes", "1", "--json")
    result = run(EVALUATE, *flags)
    assert result.status == 0, result
    if kind == "missing":  # then the older one is the newest
        assert result.stderr == ""
    else:
        assert len(result.stderr.splitlines()) == 1, result
        assert result.stderr.startswith(f"warning: checkpoint {newest} "), result
        assert f"going back to {older.name}" in result.stderr
    assert json.loads(result.stdout)["step"] == checkpoints.load(older).step
    refused(run(EVALUATE, *flags, "--checkpoint", str(newest)), f"checkpoint {newest} ")


def test_all_are_damaged(run_dir: Path) -> None:
    for path in older_and_newest(run_dir):
        damage("truncated", path)
    refused(run(EVALUATE, str(run_dir), "--json"), f"checkpoint {path} is damaged")


def test_its_output_beside_a_checkpoint_is_no_part_of_it(run_dir: Path) -> None:
    _, newest = older_and_newest(run_dir)
    beside = newest.with_suffix(".json")
    beside.write_text("", encoding="utf-8")  # as the shell makes it before the command begins
    found = scores(str(run_dir), "--checkpoint", str(newest), "--episodes", "1")
    assert found["step"] == checkpoints.load(newest).step
    assert beside.read_text(encoding="utf-8") == ""


def test_settings_of_training_that_it_does_not_know_do_not_matter(run_dir: Path) -> None:
    expected = scores(str(run_dir), "--episodes", "2")
    for path in older_and_newest(run_dir):
        saved = checkpoints.load(path)
        config = {**saved.config, "format": 3, "curiosity": 0.5}
        del config["learning_rate"], config["t_max"]
        checkpoints.save(dataclasses.replace(saved, config=config), path)
    assert scores(str(run_dir), "--episodes", "2") == expected


@pytest.mark.parametrize(
    "change",
    [
        {"hidden_sizes": [32, 32]},
        {"hidden_sizes": [64]},
        {"env_id": "Acrobot-v1"},
        {"model": "paper"},
        {"model": "nature"},
        {"model": "transformer"},
        {"env_id": "NoGame-v0"},
        {"env_id": "Pendulum-v1"},
        {"separate_value": True},
        {"lstm_size": 4},
        {"normalize_observations": True},
        {"env_id": 5},
        {"hidden_sizes": 5},
    ],
    ids=str,
)
def test_a_config_of_another_network(run_dir: Path, change: dict[str, Any]) -> None:
    for path in older_and_newest(run_dir):
        saved = checkpoints.load(path)
        checkpoints.save(dataclasses.replace(saved, config={**saved.config, **change}), path)
    refused(run(EVALUATE, str(run_dir), "--json"))


def test_an_interrupt_ends_it(original: Path, tmp_path: Path) -> None:
    script = """
from pathlib import Path
from a3c_fast import envs, evaluate
make_client = envs.make_client
def make_and_tell(*arguments, **options):
    client = make_client(*arguments, **options)
    Path("plays").touch()
    return client
envs.make_client = make_and_tell
evaluate.main()
"""
    process = start("-c", script, str(original), "--episodes", "1000000", "--json", cwd=tmp_path)
    process.until((tmp_path / "plays").exists)
    process.send(signal.SIGINT)
    result = process.result()
    assert (result.status, result.stdout, result.stderr) == (130, "", "")


# How it plays --------------------------------------------------------------------------------------------------------


class ScriptedClient:
    """Environment i pays 1 in each of the i + 1 steps of its episodes. The reset step ignores its action and pays 9,
    which is nobody's. What would be learned from is another number."""

    def __init__(self, first: int, num_envs: int) -> None:
        self.lengths = np.arange(first, first + num_envs) + 1
        self.age = np.zeros(num_envs, int)
        self.resetting = np.zeros(num_envs, bool)
        self.seen: list[np.ndarray] = []
        self.ready: dict[str, np.ndarray] | None = None
        self._answer(np.zeros(num_envs), valid=np.zeros(num_envs, bool), starts=np.ones(num_envs, bool))

    def send(self, actions: np.ndarray) -> None:
        assert self.ready is None  # environments step when all that they have answered is received
        assert actions.shape == (len(self.age), 1)
        self.seen.append(actions)
        reset = self.resetting
        self.age = np.where(reset, 0, self.age + 1)
        self.resetting = (self.age == self.lengths) & ~reset
        self._answer(np.where(reset, 9, 1), valid=~reset, starts=reset)

    def _answer(self, raw_reward: np.ndarray, valid: np.ndarray, starts: np.ndarray) -> None:
        flags = {"valid": valid, "starts": starts, "done": self.resetting, "episode_ended": self.resetting}
        self.ready = {
            "observations": np.zeros((len(self.age), CARTPOLE.observation.row_bytes), np.uint8),
            "raw_reward": raw_reward.astype(np.float32),
            "reward": np.full(len(self.age), 0.125, np.float32),
            "bootstraps": np.ones(len(self.age), np.uint8),
            "action_masks": None,
            **{name: flag.astype(np.uint8) for name, flag in flags.items()},
        }

    def recv(self) -> dict[str, np.ndarray]:
        assert self.ready is not None  # real ones would wait for ever
        ready, self.ready = self.ready, None
        return ready


@pytest.fixture
def clients(monkeypatch: pytest.MonkeyPatch) -> list[ScriptedClient]:
    """The environments that are made from now on; they count on from client to client."""
    made: list[ScriptedClient] = []
    seen: list[int] = []

    def make_client(
        config: Config, seeds: list[int], *, training: bool, num_threads: int, render_mode: str
    ) -> ScriptedClient:
        assert not training
        assert num_threads >= 1
        assert render_mode == ""
        made.append(ScriptedClient(len(seen), len(seeds)))
        seen.extend(seeds)
        assert len(set(seen)) == len(seen)
        return made[-1]

    monkeypatch.setattr(envs, "make_client", make_client)
    return made


class EvenPolicy(torch.nn.Module):
    """Its state counts the steps of the episode."""

    def __init__(self) -> None:
        super().__init__()
        self.observation, self.action = CARTPOLE.observation, CARTPOLE.action
        self.counts: list[list[int]] = []

    def initial_state(self, num_envs: int) -> torch.Tensor:
        return torch.zeros(num_envs, 1)

    def step_rows(self, rows: np.ndarray, state: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        self.counts.append(state.int().squeeze(1).tolist())
        logits = torch.tensor([0.5, 0.4]).repeat(len(rows), 1)
        return logits, torch.zeros(len(rows)), state + 1


@pytest.mark.parametrize("episodes", [1, 3, 32, 33, 70])
def test_each_environment_plays_its_own_number_of_episodes(clients: list[ScriptedClient], episodes: int) -> None:
    # Counting whichever episodes end first would count the short ones too often and the long ones never.
    found = evaluate(EvenPolicy(), Config(env_id="CartPole-v1"), episodes=episodes)  # type: ignore[arg-type]
    expected = [i % min(episodes, 32) + 1 for i in range(episodes)]
    assert sum(len(client.age) for client in clients) == min(episodes, 32)
    assert len(clients) == min(episodes, 2)
    assert all(client.ready is None for client in clients)  # nothing is under way when it ends
    assert found["episodes"] == episodes
    assert found["mean_return"] == pytest.approx(np.mean(expected))
    assert found["std_return"] == pytest.approx(np.std(expected))
    assert (found["min_return"], found["max_return"]) == (min(expected), max(expected))
    assert found["mean_length"] == pytest.approx(np.mean(expected))


def test_the_state_begins_anew_with_each_episode(clients: list[ScriptedClient]) -> None:
    policy = EvenPolicy()
    evaluate(policy, Config(env_id="CartPole-v1"), episodes=8)  # type: ignore[arg-type]
    for first in (0, 1):  # the halves in turn, until the one with the shorter episodes is done
        steps = len(clients[first].seen)
        for env, length in enumerate(clients[first].lengths):
            counts = [
                policy.counts[2 * t + first if t < len(clients[0].seen) else len(clients[0].seen) + t][env]
                for t in range(steps)
            ]
            # An episode, the step that only resets, and the next episode.
            assert counts == [t % (length + 1) for t in range(steps)]


@pytest.mark.parametrize("greedy", [True, False])
def test_greedy_takes_the_mode_and_sampling_does_not(clients: list[ScriptedClient], greedy: bool) -> None:
    evaluate(EvenPolicy(), Config(env_id="CartPole-v1"), episodes=32, greedy=greedy)  # type: ignore[arg-type]
    actions = np.concatenate([actions for client in clients for actions in client.seen])
    if greedy:
        assert (actions == 0).all()
    else:
        assert 0.4 < actions.mean() < 0.55  # softmax(0.5, 0.4) gives action 1 a probability of 0.475


def test_no_episodes_are_refused() -> None:
    with pytest.raises(ConfigError, match="episodes is 0, but it must be a whole number from 1 to"):
        evaluate(EvenPolicy(), Config(env_id="CartPole-v1"), episodes=0)  # type: ignore[arg-type]


def test_scores_are_human_normalized_and_sticky_actions_are_in_the_protocol() -> None:
    with Trainer(Config(num_workers=1, envs_per_worker=1, envs_per_update=1)) as trainer:
        policy = trainer.policy()
    config = Config(env_id="Pong-v5", frame_skip=60, stack_num=4)  # a short game
    found = evaluate(policy, config, episodes=1)
    assert -21 <= found["mean_return"] <= 21
    assert found["human_normalized"] == pytest.approx((found["mean_return"] + 20.7) / (14.6 + 20.7))
    assert found["protocol"]["sticky_probability"] == 0
    assert evaluate(policy, config, episodes=1, sticky=0.25)["protocol"]["sticky_probability"] == 0.25
    with pytest.raises(ConfigError, match="sticky_probability is 2"):
        evaluate(policy, config, episodes=1, sticky=2)


def test_the_protocol_names_the_kernels_that_played(monkeypatch: pytest.MonkeyPatch) -> None:
    with Trainer(Config(num_workers=1, precision="fp32")) as trainer:
        policy, kernels = trainer.policy(), trainer.isa
    short = Config(env_id="Pong-v5", frame_skip=60, precision="fp32")
    assert evaluate(policy, short, episodes=1)["protocol"]["kernels"] == kernels
    # An agent trained in bfloat16 also plays where there is none.
    monkeypatch.setenv("A3C_FAST_ISA", "libtorch")
    trained = dataclasses.replace(short, precision="bf16")
    assert evaluate(policy, trained, episodes=1)["protocol"]["kernels"] == "libtorch"


def test_a_recurrent_agent_is_trained_saved_and_played(tmp_path: Path) -> None:
    config = Config(env_id="CartPole-v1", num_workers=1, lstm_size=8, total_steps=20_000, run_dir=tmp_path / "run")
    with Trainer(config) as trainer:
        trainer.run(10_000)
        played = evaluate(trainer.policy(), config, episodes=4)
    assert scores(str(tmp_path / "run"), "--episodes", "4")["mean_return"] == played["mean_return"]
    with Trainer(dataclasses.replace(config, resume=True)) as trainer:
        assert trainer.run()["step"] >= 20_000
    with pytest.raises(ConfigError, match="lstm_size is 0"):
        Trainer(dataclasses.replace(config, resume=True, lstm_size=0))
