"""Networks of the user's own: which are taken, that they learn as they would in Python, and how they are named."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reference
import test_worker
import torch
import user_networks
from helpers import EVALUATE, FAKE, FAKE_CONTINUOUS, FAKE_IMAGE, FAKE_MULTI, TRAIN, run
from torch import nn

from a3c_fast import CheckpointError, Config, ConfigError, Trainer, _core, checkpoint, envs, network_factory
from a3c_fast.envs import ActionSpec, EnvSpec, ObservationSpec, Part, scripted
from a3c_fast.evaluate import evaluate, load_policy
from a3c_fast.network_factory import find, register
from a3c_fast.policy import to_named
from a3c_fast.user_network import UserNetwork

HERE = Path(__file__).parent
NUMBERS = EnvSpec(
    ObservationSpec((Part("", "float32", (user_networks.NUMBERS,), "numbers"),)), ActionSpec((user_networks.ACTIONS,))
)
IMAGES = EnvSpec(ObservationSpec((Part("", "uint8", user_networks.IMAGE, "array"),)), NUMBERS.action)


def own(network: Any, spec: EnvSpec, seed: int = 3) -> UserNetwork:
    """Made and exported for 2 and 6 observations."""
    config = Config("CartPole-v1", network=register(network), seed=seed)
    found = UserNetwork(config, spec)
    found.export({2, 6})
    return found


def in_the_core(network: UserNetwork, rows: Any) -> Any:
    """A _core.Network of the initial parameters, for so many rows."""
    model = _core.ModelConfig(
        kind="mlp",
        observation=network.spec.observation.core(),
        num_outputs=network.spec.action.num_outputs,
        hidden_sizes=[],
        exported=network.core,
    )
    found = _core.Network(model, len(rows))
    flat = np.zeros(network.size, np.float32)
    for name, shape, channels_last, offset in network.specs:
        value = network.trained[name].detach()
        assert tuple(value.shape) == shape
        value = value.permute(0, 2, 3, 1) if channels_last else value
        flat[offset : offset + value.numel()] = value.reshape(-1).numpy()
    found.set_parameters(flat)
    return found


@pytest.mark.parametrize("name", user_networks.works)
def test_a_network_that_is_taken_has_the_outputs_and_gradients_of_the_module(name: str) -> None:
    cls = user_networks.works[name]
    spec = IMAGES if cls.image else NUMBERS  # type: ignore[attr-defined]
    network = own(cls, spec)
    module, numbers = network.module, np.random.default_rng(5)
    for count in (2, 6):
        if cls.image:  # type: ignore[attr-defined]
            seen = numbers.integers(0, 256, (count, *user_networks.IMAGE), dtype=np.uint8)
        else:
            seen = numbers.normal(size=(count, user_networks.NUMBERS)).astype(np.float32)
        rows = np.ascontiguousarray(seen).reshape(count, -1).view(np.uint8)
        core = in_the_core(network, rows)
        d_outputs, d_values = numbers.normal(size=(count, 3)).astype(np.float32), numbers.normal(size=count)
        # A second step goes on where the first has ended, but for an environment that begins an episode.
        state = torch.zeros(count, network.state_size)
        for starts in (np.ones(count, np.uint8), np.arange(count).astype(np.uint8) % 2):
            outputs, values = core.act(rows, starts)
            state = state.masked_fill(torch.from_numpy(starts[:, None].astype(bool)), 0).detach()
            inputs = (torch.from_numpy(seen), state) if network.state_size else (torch.from_numpy(seen),)
            module.zero_grad()
            expected = module(*inputs)
            wanted = expected[1].reshape(count)
            np.testing.assert_allclose(outputs, expected[0].detach(), rtol=1e-4, atol=1e-5)
            np.testing.assert_allclose(values, wanted.detach(), rtol=1e-4, atol=1e-5)
            if network.state_size:
                state = expected[2]
        (expected[0] * torch.from_numpy(d_outputs)).sum().backward(retain_graph=True)
        (wanted * torch.from_numpy(d_values).float()).sum().backward()
        gradient, square = core.gradients(rows, d_outputs, d_values.astype(np.float32))
        found = to_named(gradient, network.specs)
        assert square == pytest.approx(float((gradient.astype(np.float64) ** 2).sum()), rel=1e-5)
        for key, parameter in network.trained.items():
            wanted = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            scale = max(float(wanted.abs().max()), 1e-3)
            np.testing.assert_allclose(found[key] / scale, wanted / scale, atol=1e-4, err_msg=key)


@pytest.mark.parametrize("name", user_networks.refused)
def test_a_network_that_cannot_be_is_refused_in_one_sentence(name: str) -> None:
    network, reason = user_networks.refused[name]
    with pytest.raises(ConfigError) as caught:
        own(network, NUMBERS)
    sentence = str(caught.value)
    assert reason in sentence
    assert sentence.startswith(f"network is 'user_networks:{name}', but ")
    assert "\n" not in sentence
    assert caught.value.field == "network"


def test_there_are_forty_of_them() -> None:
    assert len(user_networks.works) + len(user_networks.refused) >= 40


# What it learns ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("lstm_size", "network"), [(0, user_networks.Mlp), (32, user_networks.MlpWithLstm)])
def test_a_users_mlp_learns_what_ours_learns_to_the_last_bit(
    lstm_size: int, network: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("A3C_FAST_ISA", "libtorch")
    config = Config("CartPole-v1", num_workers=1, total_steps=10**6, seed=3)
    with Trainer(config.replace(lstm_size=lstm_size)) as trainer:
        start = trainer.state_dict()
        trainer.run(2048)
        expected, steps = trainer.state_dict(), trainer.stats()["step"]
    with Trainer(config, network=network) as trainer:
        assert trainer.isa == "libtorch"
        trainer.load_state_dict(start)
        trainer.run(2048)
        found = trainer.state_dict()
        assert trainer.stats()["step"] == steps
    for name, value in expected.items():
        assert not torch.equal(value, start[name])
        if lstm_size:  # ours gives LibTorch's LSTM cell its gates in one piece, nn.LSTMCell in two: the sums differ
            torch.testing.assert_close(found[name], value, atol=1e-5, rtol=0)
        else:
            assert torch.equal(found[name], value)


SETTINGS: list[dict[str, Any]] = [
    {"optimizer": "adam"},
    {"optimizer": "rmsprop", "envs_per_update": 2, "update_epochs": 2, "normalize_advantages": True, "t_max": 7},
    {"optimizer": "adam", "normalize_observations": True, "normalize_rewards": True, "gae_lambda": 0.95},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
@pytest.mark.parametrize("network", [user_networks.AnyActions, user_networks.GruOfAnyActions])
@pytest.mark.parametrize("env_id", [FAKE, FAKE_CONTINUOUS, FAKE_MULTI])
def test_the_worker_with_a_users_network_is_the_a3c_of_the_paper(
    env_id: str, network: Any, settings: dict[str, Any]
) -> None:
    until, spec, limit = 600, scripted.SPECS[env_id], 40
    config = Config(
        env_id,
        num_workers=1,
        network=register(network),
        **{
            "envs_per_worker": 4,
            "envs_per_update": 4,
            "t_max": 5,
            "gamma": 0.99,
            "gae_lambda": 1.0,
            "entropy_coef": 0.01,
            "value_coef": 0.5,
            "max_grad_norm": 0.5,
            "learning_rate": 1e-3,
            "total_steps": 2 * until,
            **settings,
        },
    )
    with Trainer(config, clients=[scripted.make_client(env_id, [5, 0, 0, 0], max_episode_steps=limit)]) as trainer:
        policy = trainer.policy()
        policy.normalize_observations = False  # the reference does it itself
        names = {field.name for field in dataclasses.fields(reference.Settings)} - {"optimizer"}
        python = reference.A3C(
            policy,
            [reference.FakeEnv(5, i, spec, limit) for i in range(4)],
            reference.Settings(
                optimizer=reference.Optimizer(config.optimizer), **{name: getattr(config, name) for name in names}
            ),
        )
        trainer.run(until)
        python.run(until)
        python.parameters = lambda: {  # type: ignore[method-assign]
            name.removeprefix("network."): value
            for name, value in reference.A3C.parameters(python).items()
            if name.startswith("network.")
        }
        test_worker.assert_same_run(trainer, python, 1e-5)


def test_images_and_what_is_measured_of_them() -> None:
    config = Config(FAKE_IMAGE, num_workers=1, envs_per_worker=2, t_max=5, network=register(user_networks.Measured))
    with Trainer(config) as trainer:
        measured = trainer.config
        assert isinstance(measured.observation_offset, float)
        assert trainer.policy().network.offset == measured.observation_offset
        trainer.run(40)
        assert trainer.stats()["updates"] > 0


def test_other_networks_measure_nothing() -> None:
    config = Config(FAKE_IMAGE, network=register(user_networks.Plain))
    assert (config.observation_offset, config.observation_scale) == (0, 1)


def test_workers_run_it_while_python_is_busy() -> None:
    config = Config("CartPole-v1", num_workers=2, total_steps=10**9)
    with Trainer(config, network=user_networks.Mlp) as trainer:
        trainer.start()
        while trainer.stats()["step"] == 0:
            time.sleep(0.01)
        before = trainer.stats()["step"]
        end = time.monotonic() + 2
        switch = sys.getswitchinterval()
        sys.setswitchinterval(100)
        try:
            while time.monotonic() < end:  # holds the interpreter
                pass
            gained = trainer.stats()["step"] - before
        finally:
            sys.setswitchinterval(switch)
        trainer.stop()
    assert gained > 1000


# Names, files and policies -------------------------------------------------------------------------------------------


def test_a_run_goes_on_and_is_evaluated(tmp_path: Path) -> None:
    config = Config("CartPole-v1", num_workers=1, total_steps=4000, run_dir=tmp_path / "run")
    observations = torch.randn(3, 4)
    with Trainer(config, network=user_networks.MlpWithLstm) as trainer:
        trainer.run()
        state, policy = trainer.state_dict(), trainer.policy()
        expected = policy(observations)
    with Trainer(config.replace(resume=True, total_steps=8000), network=user_networks.MlpWithLstm) as trainer:
        assert trainer.kind == "resumed"
        assert all(torch.equal(value, state[name]) for name, value in trainer.state_dict().items())
        assert torch.equal(trainer.policy()(observations)[0], expected[0])
        trainer.run()
        assert trainer.stats()["step"] >= 8000
    found, settings = load_policy(checkpoint.load_newest(tmp_path / "run/checkpoints"))
    assert settings.network == "user_networks:MlpWithLstm"
    assert evaluate(found, settings, episodes=2)["episodes"] == 2
    module = user_networks.MlpWithLstm(envs_space(4), type("Space", (), {"n": 2}))
    module.load_state_dict(state)  # by the names of its own


def envs_space(size: int) -> Any:
    return type("Space", (), {"shape": (size,)})


def test_the_command_imports_it_from_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text((HERE / "user_networks.py").read_text())
    flags = ["--env-id", "CartPole-v1", "--total-steps", "3000", "--num-workers", "1", "--run-dir", "run"]
    first = run(TRAIN, *flags, "--network", "mine:small_mlp", cwd=tmp_path)
    assert first.status == 0, first.stderr
    assert "mine:small_mlp network with 139 parameters on libtorch kernels" in first.stdout
    again = run(TRAIN, "--run-dir", "run", "--resume", "--total-steps", "5000", cwd=tmp_path)
    assert again.status == 0, again.stderr
    assert "goes on from step" in again.stdout
    other = run(TRAIN, "--run-dir", "run", "--resume", "--network", "mine:Mlp", "--total-steps", "9000", cwd=tmp_path)
    assert other.status == 2
    assert "was made with 'mine:small_mlp'" in other.stderr
    scores = run(EVALUATE, "run", "--episodes", "2", "--json", cwd=tmp_path)
    assert scores.status == 0, scores.stderr
    assert json.loads(scores.stdout)["episodes"] == 2


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("mlp", "it must be module:name"),
        ("no_such_module:Net", "it cannot be imported: ModuleNotFoundError"),
        ("user_networks:Nothing", "it cannot be imported: AttributeError"),
        ("user_networks:not_callable", "it must be a class or a callable, and it is a int"),
        ("__main__:Net", "in a program give it again, Trainer(config, network=...)"),
        ("a:b.<locals>.Net", "in a program give it again, Trainer(config, network=...)"),
        ("user_networks:Plain()", "in a program give it again, Trainer(config, network=...)"),
    ],
)
def test_names_that_lead_nowhere(name: str, reason: str) -> None:
    with pytest.raises(ConfigError, match="network") as caught:
        Trainer(Config("CartPole-v1", network=name))
    assert reason in str(caught.value)


class Makes:
    def __call__(self, observation_space: Any, action_space: Any) -> Any:
        return user_networks.Mlp(observation_space, action_space)

    def make(self, observation_space: Any, action_space: Any) -> Any:
        return self(observation_space, action_space)


@pytest.mark.parametrize(
    ("network", "name"),
    [
        (user_networks.Mlp, "user_networks:Mlp"),
        (user_networks.fails, "user_networks:fails"),
        (user_networks.small_mlp, "user_networks:Mlp()"),
        (user_networks.Plain(), "user_networks:Plain()"),
        (Makes(), "test_networks:Makes()"),
        (Makes().make, "test_networks:Makes.make()"),
        (lambda: user_networks.Plain(), "test_networks:<lambda>"),
    ],
)
def test_what_is_given_has_the_name_under_which_it_is_found(network: Any, name: str) -> None:
    assert register(network) == name
    if name.endswith("()"):  # another thing is found there by those who import it
        network_factory._registered.pop(name)
        with pytest.raises(ConfigError, match="give it again"):
            find(name)


def test_what_is_no_network_is_refused() -> None:
    config = Config("CartPole-v1")
    with pytest.raises(ConfigError, match="a name goes into Config"):
        Trainer(config, network="user_networks:Mlp")
    with pytest.raises(ConfigError, match=r"it must be a torch.nn.Module, its class, or a callable"):
        Trainer(config, network=3)
    with pytest.raises(ConfigError, match=r"Trainer\(config, network=...\) takes objects"):
        Config("CartPole-v1", network=user_networks.Mlp)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "settings",
    [
        {"model": "paper"},
        {"lstm_size": 8},
        {"hidden_sizes": (8,)},
        {"activation": "relu"},
        {"separate_value": True},
        {"initial_log_std": 0.0},
        {"precision": "bf16"},
    ],
    ids=str,
)
def test_settings_that_it_would_not_obey_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ConfigError) as caught:
        Config("CartPole-v1", network="user_networks:Mlp", **settings)
    assert caught.value.field == next(iter(settings))


def test_a_module_itself_begins_with_its_own_parameters_and_stays_as_it_is() -> None:
    module = user_networks.Mlp(envs_space(4), type("Space", (), {"n": 2}))
    before = {name: value.clone() for name, value in module.state_dict().items()}
    with Trainer(Config("CartPole-v1", num_workers=1, total_steps=2000), network=module) as trainer:
        assert all(torch.equal(value, before[name]) for name, value in trainer.state_dict().items())
        trainer.run()
        assert not torch.equal(trainer.state_dict()["fc1.weight"], before["fc1.weight"])
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())


def test_one_seed_is_one_run_and_the_programs_random_numbers_stay() -> None:
    config = Config("CartPole-v1", num_workers=1, total_steps=1000)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    states = []
    for _ in range(2):
        with Trainer(config, network=user_networks.Mlp) as trainer:
            trainer.run()
            states.append(trainer.state_dict())
    assert torch.equal(torch.rand(3), expected)
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


class Frozen(user_networks.Net):
    """With a frozen part, buffers and tied weights, over CartPole's four numbers."""

    def __init__(self) -> None:
        super().__init__(4, nn.Linear(4, 4))
        self.policy = nn.Linear(4, 2)
        self.fixed = nn.Linear(4, 4).requires_grad_(False)
        self.tied = nn.Linear(4, 4)
        self.tied.weight = self.body.weight
        self.register_buffer("shift", torch.randn(4))
        self.register_buffer("mask", torch.rand(4) > 0.5)
        self.register_buffer("limit", torch.full((4,), float("inf")))

    def forward(self, observations: Any) -> Any:
        x = torch.minimum(torch.tanh(self.tied(self.body(self.fixed(observations) + self.shift))), self.limit)
        return self.heads(x * self.mask)


def test_what_is_not_trained_is_kept_with_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = Config("CartPole-v1", num_workers=1, total_steps=2000, run_dir=tmp_path / "run")
    with Trainer(config, network=Frozen) as trainer:
        start = trainer.state_dict()
        trainer.run()
        state = trainer.state_dict()
        trainer.load_state_dict(state)
        changed = {**state, "fixed.weight": state["fixed.weight"] + 1}
        with pytest.raises(ValueError, match=r"its fixed.weight is not trained and differs from the network's"):
            trainer.load_state_dict(changed)
    fresh = Frozen()
    fresh.load_state_dict(state)
    assert torch.equal(state["tied.weight"], state["body.weight"])
    for name in ("fixed.weight", "shift", "mask", "limit"):
        assert torch.equal(state[name], start[name])
    stored = checkpoint.load_newest(tmp_path / "run/checkpoints")
    assert set(stored.constants) == {"fixed.weight", "fixed.bias", "shift", "mask", "limit"}
    # Another seed would make other ones: those of the run count.
    with Trainer(config.replace(resume=True, seed=9, total_steps=4000), network=Frozen) as trainer:
        assert torch.equal(trainer.state_dict()["fixed.weight"], state["fixed.weight"])
        assert trainer.state_dict()["mask"].dtype == torch.bool
        trainer.run()
    policy, _ = load_policy(stored)
    assert torch.equal(policy.network.fixed.weight, state["fixed.weight"])
    monkeypatch.setattr(sys.modules[__name__], "Frozen", Other)  # changed since
    with pytest.raises(CheckpointError, match="of another network"):
        Trainer(config.replace(resume=True, total_steps=6000), network=Other)


class Other(Frozen):
    __module__, __qualname__ = Frozen.__module__, Frozen.__qualname__

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("more", torch.zeros(1))


class RandomFeatures(user_networks.Mlp):
    """With random numbers that are neither parameters nor in its state_dict()."""

    numpy = False

    def __init__(self, observation_space: Any, action_space: Any) -> None:
        super().__init__(observation_space, action_space)
        self.register_buffer("shift", torch.randn(4), persistent=False)
        # So large that others make other outputs of CartPole's observations, which are near 0.
        self.features = torch.from_numpy(np.random.randn(4)).float() * 100 if self.numpy else torch.randn(4)

    def forward(self, observations: Any) -> Any:
        return super().forward(torch.cos(observations * self.features + self.shift))


def test_a_policy_is_made_with_the_seed_of_its_run(tmp_path: Path) -> None:
    config = Config("CartPole-v1", num_workers=1, total_steps=500, run_dir=tmp_path / "run", seed=3)
    observations = torch.randn(5, 4)
    with Trainer(config, network=RandomFeatures) as trainer:
        trainer.run()
        expected = trainer.policy()(observations)[0]
    policy, settings = load_policy(checkpoint.load_newest(tmp_path / "run/checkpoints"))
    assert torch.equal(policy(observations)[0], expected)
    assert settings.seed == 3


def test_a_network_that_is_another_one_when_it_is_made_again_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(RandomFeatures, "numpy", True)
    config = Config("CartPole-v1", num_workers=1, total_steps=500, run_dir=tmp_path / "run")
    with Trainer(config, network=RandomFeatures) as trainer:
        trainer.run()
    with pytest.raises(CheckpointError, match="with its parameters and buffers the outputs are others"):
        load_policy(checkpoint.load_newest(tmp_path / "run/checkpoints"))
    with pytest.raises(CheckpointError, match="with its parameters and buffers the outputs are others"):
        Trainer(config.replace(resume=True, total_steps=1000), network=RandomFeatures)


def test_of_two_networks_one_is_refused() -> None:
    config = Config("CartPole-v1", network="user_networks:Plain")
    with pytest.raises(ConfigError, match="another one, user_networks:Mlp, is given to the Trainer"):
        Trainer(config, network=user_networks.Mlp)


def test_the_child_of_a_fork_trains_a_network_of_its_own() -> None:
    """torch's pool of threads does not cross: what is checked and exported is not done in the caller's thread."""
    script = """
import os
from a3c_fast import Config, Trainer
from bench.networks import Paper

def train():
    config = Config("Pong-v5", num_workers=1, envs_per_worker=16, total_steps=320)
    with Trainer(config, network=Paper) as trainer:
        trainer.run()

train()
child = os.fork()
if child == 0:
    train()
    os._exit(17)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 17
"""
    done = run("-c", script, cwd=HERE.parent)
    assert done.status == 0, done.stderr


def test_one_that_cannot_be_imported_is_given_again(tmp_path: Path) -> None:
    config = Config("CartPole-v1", num_workers=1, total_steps=1000, run_dir=tmp_path / "run")
    local = type("Local", (user_networks.Mlp,), {"__qualname__": "here.<locals>.Local"})
    with Trainer(config, network=local) as trainer:
        trainer.run()
    stored = checkpoint.load_newest(tmp_path / "run/checkpoints")
    network_factory._registered.clear()  # as in another process
    with pytest.raises(ConfigError, match="it cannot be imported: in a program give it again"):
        load_policy(stored)
    with pytest.raises(ConfigError, match="network is 'user_networks:Mlp', but the run was made with"):
        load_policy(stored, network=user_networks.Mlp)
    policy, _ = load_policy(stored, network=local)
    assert isinstance(policy.network, local)


def test_parts_of_observations_come_by_their_names() -> None:
    seen: dict[str, Any] = {}

    class Parts(nn.Module):
        def __init__(self, observation_space: Any, action_space: Any) -> None:
            super().__init__()
            seen.update({name: space.shape for name, space in observation_space.items()})
            self.conv = nn.Conv2d(3, 4, 3)
            self.policy, self.value = nn.LazyLinear(int(action_space.n)), nn.LazyLinear(1)
            with torch.no_grad():
                self({name: torch.zeros(1, *space.shape) for name, space in observation_space.items()})

        def forward(self, observations: Any) -> Any:
            flat = [observations["image"].float()]
            x = torch.cat([self.conv(flat[0]).flatten(1), observations["direction"].flatten(1)], 1)
            return self.policy(x), self.value(x)

    config = Config("MiniGrid-Empty-5x5-v0", num_workers=1, envs_per_worker=2, total_steps=200)
    with Trainer(config, network=Parts) as trainer:
        trainer.run()
        policy = trainer.policy()
        rows = next(envs.random_play(trainer.config, num_envs=2, steps=1, stream=1))
        outputs, _, _ = policy.step_rows(rows, policy.initial_state(2))
    assert seen["image"] == (3, 7, 7)
    assert seen["direction"][-1] == 4
    assert outputs.shape == (2, 7)


def test_it_may_be_made_in_any_thread_and_whatever_torch_is_set_to() -> None:
    found: list[Any] = []

    def train() -> None:
        with torch.inference_mode(), Trainer(Config("CartPole-v1", num_workers=1, total_steps=500), network=first) as t:
            t.run()
            found.append(t.stats()["step"])

    first = user_networks.Mlp(envs_space(4), type("Space", (), {"n": 2}))
    threads = [threading.Thread(target=train) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 2
    assert torch.is_grad_enabled()
    assert os.environ.get("TORCH_LOGS") is None


# Those worth having --------------------------------------------------------------------------------------------------


def actions_of(kind: str) -> ActionSpec:
    return {
        "discrete": ActionSpec((5,)),
        "multi": ActionSpec((3, 2)),
        "box": ActionSpec(low=(-1.0, -2.0), high=(1.0, 2.0)),
    }[kind]


@pytest.mark.parametrize("kind", ["discrete", "multi", "box"])
@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("Impala", (Part("", "uint8", (4, 40, 36), "array"),)),
        ("Gru", (Part("", "float32", (3, 2), "numbers"),)),
        ("FrameTransformer", (Part("", "uint8", (3, 36, 36), "array"),)),
        (
            "ImageAndVector",
            (
                Part("image", "uint8", (8, 9, 3), "channels_last"),
                Part("inside.0", "int64", (), "one_hot", values=4),
                Part("numbers", "float64", (2, 2), "numbers", position=4),
            ),
        ),
    ],
)
def test_networks_worth_having_take_every_kind_of_action(name: str, parts: tuple[Part, ...], kind: str) -> None:
    spec = EnvSpec(ObservationSpec(parts), actions_of(kind))
    network = UserNetwork(Config("CartPole-v1", network=f"a3c_fast.networks:{name}"), spec)
    rows = np.random.default_rng(1).integers(0, 255, (6, spec.observation.row_bytes), dtype=np.uint8)
    if spec.observation.num_features:
        spec.observation.numbers_of(rows)[:] = np.random.default_rng(1).normal(size=(6, spec.observation.num_features))
    network.export({2, 6}, rows)
    network.compare()  # outputs and gradients
    outputs = in_the_core(network, rows).act(rows, np.ones(6, np.uint8))[0]
    if kind == "box":
        np.testing.assert_array_equal(outputs[:, 2:], np.float32(-0.5))
    else:
        assert np.abs(outputs).max() < 1  # every choice is about as likely


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Impala", "it needs images [channels, height, width], and the observations are Box"),
        ("FrameTransformer", "it needs images [channels, height, width]"),
        ("ImageAndVector", "it is for a Dict of one image and numbers"),
    ],
)
def test_networks_worth_having_say_what_they_are_for(name: str, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        UserNetwork(Config("CartPole-v1", network=f"a3c_fast.networks:{name}"), NUMBERS)
    assert reason in str(caught.value)


def test_a_memory_of_ones_own_remembers() -> None:
    """Recall shows a cue at the beginning and asks for it at the end: without a state nobody can know."""
    settings: dict[str, Any] = {"num_workers": 1, "total_steps": 120_000, "seed": 2, "learning_rate": 3e-3}
    config = Config("a3c_fast/Recall-v0", stop_at_return=0.9, **settings)
    with Trainer(config, network=Remembers) as trainer:
        trainer.run()
        assert trainer.stats()["mean_return_100"] >= 0.9


class Remembers(nn.Module):
    state_size = 32

    def __init__(self, observation_space: Any, action_space: Any) -> None:
        super().__init__()
        self.gru = nn.GRUCell(observation_space.shape[0], 32)
        self.policy, self.value = nn.Linear(32, int(action_space.n)), nn.Linear(32, 1)

    def forward(self, observations: Any, state: Any) -> Any:
        state = self.gru(observations, state)
        return self.policy(state), self.value(state), state
