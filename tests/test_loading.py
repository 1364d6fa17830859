"""`load_policy` and `Trainer.from_checkpoint`: what becomes of the files of a run in other programs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
import user_envs
from children import modules_of_the_tests  # noqa: F401
from helpers import FAKE, FAKE_CONTINUOUS, FAKE_IMAGE, FAKE_MULTI, PATIENCE, python, snapshot_of_files

from a3c_fast import CheckpointError, Config, ConfigError, Trainer, load_policy
from a3c_fast import checkpoint as checkpoints
from a3c_fast.envs.spec import ActionSpec, restored, stored


def trained(run: Path, env_id: str = FAKE, steps: int = 2000, **settings: Any) -> Any:
    with Trainer(Config(env_id=env_id, total_steps=10**6, run_dir=run, num_workers=1, **settings)) as trainer:
        trainer.run(steps)
        return trainer.policy()


def some(policy: Any, count: int) -> Any:
    numbers = np.random.default_rng(1)
    found = {}
    for part in policy.observation.parts:
        shape = (count, *part.shape)
        found[part.name] = (
            numbers.integers(0, 256, shape).astype(part.dtype)
            if part.is_array
            else numbers.integers(part.first, part.first + part.values, shape)
            if part.kind == "one_hot"
            else numbers.normal(size=shape).astype(np.float32)
        )
    return found[""] if list(found) == [""] else found


@pytest.mark.parametrize(
    ("env_id", "settings"),
    [
        (FAKE, {}),
        (FAKE, {"lstm_size": 8}),
        (FAKE_IMAGE, {}),
        (FAKE_IMAGE, {"model": "nature", "lstm_size": 8}),
        (FAKE_CONTINUOUS, {}),
        (FAKE_CONTINUOUS, {"normalize_observations": True, "separate_value": True}),
        (FAKE_MULTI, {"hidden_sizes": (8, 8, 8), "activation": "elu"}),
    ],
)
def test_a_policy_is_that_of_the_trainer(env_id: str, settings: dict[str, Any], tmp_path: Path) -> None:
    ours = trained(tmp_path / "run", env_id, 200, **settings)
    before = snapshot_of_files(tmp_path)
    (newest,) = (tmp_path / "run" / "checkpoints").glob("*.safetensors")
    for path in (tmp_path / "run", str(tmp_path / "run"), newest):
        loaded = load_policy(path)
        assert isinstance(loaded, torch.nn.Module)
        assert not loaded.training
        observations = some(loaded, 5)
        state = loaded.initial_state(5)
        for theirs, mine in zip(ours.step(observations, state), loaded.step(observations, state), strict=True):
            assert torch.equal(theirs, mine)
    assert snapshot_of_files(tmp_path) == before  # nothing was written


def test_it_needs_neither_the_extension_nor_envpool(tmp_path: Path) -> None:
    policy = trained(tmp_path / "run", "CartPole-v1", 2000, lstm_size=4)
    observations = some(policy, 3)
    expected = policy(observations)[0].detach().numpy()
    np.save(tmp_path / "observations.npy", observations)
    code = f"""
import sys
import numpy as np

class Refused:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("a3c_fast_core", "a3c_fast_steps", "envpool", "gymnasium"):
            raise ImportError(f"{{name}} is not there")

sys.meta_path.insert(0, Refused())
import a3c_fast
policy = a3c_fast.load_policy({str(tmp_path / "run")!r})
observations = np.load({str(tmp_path / "observations.npy")!r})
actions, state = policy.act(observations, greedy=True)
assert actions.dtype == np.int64 and actions.shape == (3,) and state.shape == (3, 8)
print(policy(observations)[0].detach().numpy().tolist())
"""
    done = python(code)
    assert done.returncode == 0, done.stderr
    np.testing.assert_allclose(json.loads(done.stdout), expected, rtol=1e-6)


def test_a_network_of_ones_own(tmp_path: Path) -> None:
    ours = trained(tmp_path / "run", FAKE, 200, network="a3c_fast.networks:Gru")
    loaded = load_policy(tmp_path / "run")
    observations = some(loaded, 3)
    assert torch.equal(ours(observations)[0], loaded(observations)[0])


def test_a_checkpoint_of_an_earlier_version_does_not_say_its_spaces(tmp_path: Path) -> None:
    trained(tmp_path / "run", "CartPole-v1")
    saved = checkpoints.load_newest(tmp_path / "run" / "checkpoints")
    assert saved.spaces is not None
    saved = checkpoints.Checkpoint(**{**vars(saved), "spaces": None})
    path = checkpoints.save(saved, tmp_path / "old.safetensors")
    assert checkpoints.load(path).spaces is None
    assert load_policy(path).action == ActionSpec((2,))


def test_what_is_none_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing", tmp_path / "nothing.safetensors", tmp_path):
        with pytest.raises(CheckpointError):
            load_policy(path)
    (tmp_path / "text").write_text("no checkpoint")
    with pytest.raises(CheckpointError):
        load_policy(tmp_path / "text")


@pytest.mark.parametrize(
    "env_id", ["CartPole-v1", "Pendulum-v1", "FrozenLake-v1", "HalfCheetah-v4", "BinPack-v2", "Pong-v5"]
)
def test_spaces_are_read_as_they_were_written(env_id: str) -> None:
    from a3c_fast import envs

    spec = envs.spec_of(Config(env_id=env_id))
    assert restored(json.loads(json.dumps(stored(spec), allow_nan=False))) == spec
    unbounded = envs.EnvSpec(spec.observation, ActionSpec(low=(-np.inf, 0.0), high=(1.0, np.inf)))
    assert restored(json.loads(json.dumps(stored(unbounded), allow_nan=False))) == unbounded
    with pytest.raises(ValueError, match="its spaces cannot be read"):
        restored({"observation": []})


# act() ---------------------------------------------------------------------------------------------------------------


def test_actions_are_as_the_environment_takes_them(tmp_path: Path) -> None:
    for env_id in ("CartPole-v1", "Pendulum-v1", "MountainCarContinuous-v0", "Acrobot-v1"):
        policy = trained(tmp_path / env_id, f"gymnasium:{env_id}", 64)
        for make in (gymnasium.make, lambda name: gymnasium.make_vec(name, 3, vectorization_mode="sync")):
            env = make(env_id)
            observation, _ = env.reset(seed=1)
            state = None
            for step in range(5):
                action, state = policy.act(observation, state, greedy=step % 2 == 0)
                assert env.action_space.contains(action) or env.action_space.contains(int(action)), (env_id, action)
                observation, *_ = env.step(action)
            env.close()


def test_a_sample_is_of_the_policy_and_the_greedy_one_its_mode(tmp_path: Path) -> None:
    policy = trained(tmp_path / "discrete", FAKE_MULTI)
    one = some(policy, 1)
    many = np.repeat(one, 20_000, 0)
    logits = policy(one)[0][0].detach()
    torch.manual_seed(1)
    actions, _ = policy.act(many)
    assert actions.shape == (20_000, 2)
    for i, part in enumerate(logits.split((3, 2))):
        shares = np.bincount(actions[:, i], minlength=len(part)) / 20_000
        np.testing.assert_allclose(shares, part.softmax(0).numpy(), atol=0.015)
        assert (policy.act(many, greedy=True)[0][:, i] == int(part.argmax())).all()

    policy = trained(tmp_path / "continuous", FAKE_CONTINUOUS, initial_log_std=-2.0)
    one = some(policy, 1) * 0.1
    mean, log_std = policy(one)[0][0].detach().chunk(2)
    half = np.array([2.0, 1.0])
    actions, _ = policy.act(np.repeat(one, 20_000, 0))
    np.testing.assert_allclose(actions.mean(0), mean * half, atol=0.02)
    np.testing.assert_allclose(actions.std(0), log_std.exp() * half, rtol=0.05)
    np.testing.assert_allclose(policy.act(one, greedy=True)[0][0], mean * half, rtol=1e-5)
    far, _ = policy.act(np.repeat(one, 1000, 0) * 1e4)
    assert (np.abs(far) <= half).all()


def test_one_and_many_arrays_and_tensors(tmp_path: Path) -> None:
    policy = trained(tmp_path / "run", FAKE, lstm_size=4)
    observations = some(policy, 3)
    actions, state = policy.act(observations, greedy=True)
    assert isinstance(actions, np.ndarray)
    assert isinstance(state, np.ndarray)
    alone = [policy.act(observation, greedy=True) for observation in observations]
    assert [int(action) for action, _ in alone] == actions.tolist()
    assert alone[0][0].shape == ()
    as_tensors, tensor_state = policy.act(torch.from_numpy(observations), greedy=True)
    assert isinstance(as_tensors, torch.Tensor)
    assert isinstance(tensor_state, torch.Tensor)
    assert as_tensors.tolist() == actions.tolist()
    assert not tensor_state.requires_grad
    again, _ = policy.act(observations, state, greedy=True)
    assert again.shape == (3,)
    with pytest.raises(ValueError, match="state has the shape"):
        policy.act(observations, state[:2])


def test_what_is_not_allowed_is_never_done(tmp_path: Path) -> None:
    policy = trained(tmp_path / "run", FAKE)
    observations = some(policy, 300)
    masks = np.zeros((300, 3), bool)
    masks[np.arange(300), np.arange(300) % 3] = True
    for greedy in (False, True):
        actions, _ = policy.act(observations, greedy=greedy, action_masks=masks)
        assert (actions == np.arange(300) % 3).all()
        assert policy.act(observations[0], greedy=greedy, action_masks=masks[2])[0] == 2
    with pytest.raises(ValueError, match="action_masks have the shape"):
        policy.act(observations, action_masks=masks[:5])


def test_choices_that_begin_elsewhere(tmp_path: Path) -> None:
    with Trainer(Config(num_workers=1, total_steps=64, run_dir=tmp_path / "run"), env=user_envs.Corridor) as trainer:
        trainer.run()
        policy = trainer.policy()
    env = user_envs.Corridor()
    observation, _ = env.reset(seed=1)
    for loaded in (policy, load_policy(tmp_path / "run")):
        action, _ = loaded.act(observation)
        assert action in (3, 4)
        env.step(action)


# from_checkpoint -----------------------------------------------------------------------------------------------------


def test_a_trainer_from_a_run_directory_goes_on_in_it(tmp_path: Path) -> None:
    trained(tmp_path / "run", seed=7)
    with Trainer.from_checkpoint(tmp_path / "run", total_steps=10_000, learning_rate=1e-4) as trainer:
        assert trainer.config.seed == 7
        assert trainer.config.learning_rate == 1e-4
        assert trainer.stats()["step"] >= 2000
        trainer.run()
    assert checkpoints.load_newest(tmp_path / "run" / "checkpoints").step >= 10_000
    with pytest.raises(CheckpointError, match="there is no run in"):
        Trainer.from_checkpoint(tmp_path)


def test_a_trainer_from_a_checkpoint_is_a_run_of_its_own(tmp_path: Path) -> None:
    ours = trained(tmp_path / "run", seed=7)
    (newest,) = (tmp_path / "run" / "checkpoints").glob("*.safetensors")
    path = shutil.copy(newest, tmp_path / "some.safetensors")
    before = snapshot_of_files(tmp_path)
    with Trainer.from_checkpoint(path) as trainer:
        assert trainer.config.run_dir is None
        assert trainer.stats()["step"] >= 2000
        for name, value in trainer.policy().state_dict().items():
            assert torch.equal(value, ours.state_dict()[name])
        trainer.run(4000)
    assert snapshot_of_files(tmp_path) == before
    with Trainer.from_checkpoint(path, run_dir=tmp_path / "other") as trainer:
        trainer.start()
        assert trainer.pause()
        trainer.resume()
        trainer.stop()
    assert load_policy(tmp_path / "other")
    assert checkpoints.load_newest(tmp_path / "other" / "checkpoints").step >= 2000
    with pytest.raises(ConfigError, match=r"run_dir is .* a run is already there"):
        Trainer.from_checkpoint(path, run_dir=tmp_path / "run")
    with pytest.raises(CheckpointError, match="the checkpoint is of another network"):
        Trainer.from_checkpoint(path, hidden_sizes=(8,))


def test_a_trainer_from_a_checkpoint_goes_on_exactly(tmp_path: Path) -> None:
    learned = []
    for how in ("at once", "from a checkpoint"):
        with Trainer(Config(env_id=FAKE, num_workers=1, total_steps=4000, seed=5)) as trainer:
            trainer.run(2000)
            path = trainer.save(tmp_path / f"{how}.safetensors")
            if how == "at once":
                trainer.run()
                learned.append(trainer.state_dict())
    with Trainer.from_checkpoint(path) as trainer:
        assert trainer.wait(PATIENCE)
        trainer.run()
        learned.append(trainer.state_dict())
    assert all((value == learned[1][name]).all() for name, value in learned[0].items())


def test_environments_and_networks_that_have_no_names_are_given_again(tmp_path: Path) -> None:
    def make() -> Any:
        return user_envs.Corridor()

    run = tmp_path / "run"
    with Trainer(Config(num_workers=1, total_steps=64, run_dir=run), env=make) as trainer:
        trainer.run()
    with Trainer.from_checkpoint(run, env=make, total_steps=128) as trainer:
        trainer.run()
    assert load_policy(run).action.starts == (3,)


def test_what_goes_on_in_its_directory_has_no_other(tmp_path: Path) -> None:
    trained(tmp_path / "run")
    for settings in ({"run_dir": tmp_path / "other"}, {"resume": False}):
        with pytest.raises(ConfigError, match="a run goes on in its own directory"):
            Trainer.from_checkpoint(tmp_path / "run", **settings)
    with pytest.raises(CheckpointError, match="is no run directory and no checkpoint"):
        Trainer.from_checkpoint(tmp_path / "nothing")


def test_numbers_that_are_none_are_refused(tmp_path: Path) -> None:
    for env_id in (FAKE, FAKE_CONTINUOUS):
        policy = trained(tmp_path / env_id.replace("/", "_"), env_id)
        for value in (np.nan, np.inf):
            for greedy in (False, True):
                with pytest.raises(ValueError, match="outputs are not finite"):
                    policy.act(np.full(4, value, np.float32), greedy=greedy)


def test_masks_that_cannot_be_are_refused(tmp_path: Path) -> None:
    policy = trained(tmp_path / "multi", FAKE_MULTI)
    observations = some(policy, 2)
    actions, _ = policy.act(observations, action_masks=np.tile([0, 1, 0, 1, 0], (2, 1)))
    assert actions.tolist() == [[1, 0], [1, 0]]
    for masks, sentence in (
        ([[0, 1, 0, 0, 0]] * 2, "allow nothing at all of a choice"),
        ([[0, 1, 0, 1, np.nan]] * 2, "must be 0 or 1"),
        ([[0, 1, 0, 1, 2]] * 2, "must be 0 or 1"),
        ([[0, 1, 0, 1]] * 2, "have the shape"),
    ):
        with pytest.raises(ValueError, match=sentence):
            policy.act(observations, action_masks=masks)
    policy = trained(tmp_path / "continuous", FAKE_CONTINUOUS)
    with pytest.raises(ValueError, match="the actions are continuous"):
        policy.act(some(policy, 2), action_masks=[[1, 1]] * 2)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
@pytest.mark.parametrize("env_id", [FAKE, FAKE_CONTINUOUS])
def test_parameters_of_other_types(dtype: torch.dtype, env_id: str, tmp_path: Path) -> None:
    policy = trained(tmp_path / "run", env_id, lstm_size=4).to(dtype)
    actions, state = policy.act(some(policy, 3))
    assert actions.dtype == (np.int64 if env_id == FAKE else np.float32)
    actions, state = policy.act(some(policy, 3), state)
    assert len(actions) == 3
